//! What `LocalLog` acknowledges is on the disk. Between the process and the kernel lies a library
//! that makes every sync fail once it is told to: what is acknowledged then was not waited for. It
//! also notes what was synced. Needs a C compiler, as librdkafka does.
#![cfg(target_os = "linux")]

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use highwater_log::{
    Appended, LocalLog, Log, Partition, Topic, TopicKind,
    local::{
        Settings,
        durable::{create_folder, replace_file},
    },
};

use crate::fixture::{Folder, Reports, numbered, soon};

const CHILD: &str = "EVENTLOG_TEST_SYNCS_FOLDER";
/// While there is such a file in the folder, no sync succeeds.
const BROKEN: &str = "broken";
/// What has been synced, one path a line, as it was called then.
const SYNCED: &str = "synced";
const DONE: &str = "everything that was done was waited for";
const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
static int sync_by(long call, int fd) {
    char path[4096], synced[4096], line[4098];
    const char *folder = getenv("EVENTLOG_TEST_SYNCS_FOLDER");
    snprintf(path, sizeof path, "%s/broken", folder ? folder : "");
    if (access(path, F_OK) == 0) { errno = EIO; return -1; }
    int result = syscall(call, fd);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(path, synced, sizeof synced - 1);
    if (result == 0 && length > 0) {
        synced[length] = 0;
        snprintf(path, sizeof path, "%s/synced", folder ? folder : "");
        int to = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        length = snprintf(line, sizeof line, "%s\n", synced);
        if (to >= 0) {
            if (write(to, line, length) != length) result = -1;
            close(to);
        }
    }
    return result;
}
int fsync(int fd) { return sync_by(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_by(SYS_fdatasync, fd); }
"#;

/// The folder of this process, if it is the child; else runs the same test in one.
fn child(test: &str) -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os(CHILD) {
        return Some(folder.into());
    }
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path()).unwrap();
    let (source, library) = (folder.path().join("syncs.c"), folder.path().join("syncs.so"));
    std::fs::write(&source, LIBRARY).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("syncs::{test}"), "--nocapture"])
        .env(CHILD, folder.path())
        .env("LD_PRELOAD", &library)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned()
        + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains(DONE), "{said}");
    None
}

fn topic(name: &str, kind: TopicKind) -> Topic {
    Topic { name: name.into(), partitions: 1, kind }
}

fn first_of(topic: &str) -> Partition {
    Partition { topic: topic.into(), index: 0 }
}

async fn log(folder: &Path, settings: Settings) -> Arc<dyn Log> {
    let log: Arc<dyn Log> = Arc::new(LocalLog::open(folder.join("log"), settings).unwrap());
    soon(
        log.prepare(vec![
            topic("things", TopicKind::Events),
            topic("accepted", TopicKind::Commands),
        ]),
    )
    .await
    .unwrap();
    log
}

async fn append(log: &Arc<dyn Log>, topic: &str, records: std::ops::Range<u64>) {
    let mut reports = Reports::new();
    for n in records {
        log.append(&first_of(topic), numbered(n), reports.reply(n)).unwrap();
        assert_eq!(reports.next().await.result, Ok(Appended::At(n)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_before_it_is_on_the_disk() {
    let Some(folder) = child("nothing_is_acknowledged_before_it_is_on_the_disk") else { return };
    let log = log(&folder, Settings::default()).await;
    append(&log, "things", 0..3).await;
    std::fs::write(folder.join(BROKEN), "").unwrap();
    let mut reports = Reports::new();
    log.append(&first_of("things"), numbered(3), reports.reply(3)).unwrap();
    let result = reports.next().await.result;
    assert!(result.is_err(), "{result:?}: acknowledged without a sync");
    println!("{DONE}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_topic_is_made_before_it_is_on_the_disk() {
    let Some(folder) = child("no_topic_is_made_before_it_is_on_the_disk") else { return };
    let log = log(&folder, Settings::default()).await;
    std::fs::write(folder.join(BROKEN), "").unwrap();
    assert!(soon(log.prepare(vec![topic("later", TopicKind::Events)])).await.is_err());
    println!("{DONE}");
}

/// What was forgotten and comes back would have offsets that readers have been told are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_forgotten_before_that_is_on_the_disk() {
    let Some(folder) = child("nothing_is_forgotten_before_that_is_on_the_disk") else { return };
    let now_ms = Arc::new(AtomicI64::new(0));
    let clock = now_ms.clone();
    let settings = Settings {
        keep_commands: Duration::from_secs(60),
        forget_every: Duration::from_millis(1),
        clock: Arc::new(move || clock.load(Ordering::Acquire)),
        ..Settings::default()
    };
    let log = log(&folder, settings).await;
    append(&log, "accepted", 0..3).await;
    std::fs::write(folder.join(BROKEN), "").unwrap();
    now_ms.store(3_600_000, Ordering::Release);
    soon(async {
        while log.health().await.is_ok() {
            assert_eq!(
                log.begin(&first_of("accepted")).await.unwrap(),
                0,
                "forgotten without a sync"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    println!("{DONE}");
}

/// A power cut takes nothing away of what is there when the first record is acknowledged: neither a
/// file's content nor a name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_folder_and_the_file_that_says_its_format_are_on_the_disk_with_their_names() {
    let Some(folder) =
        child("every_folder_and_the_file_that_says_its_format_are_on_the_disk_with_their_names")
    else {
        return;
    };
    drop(LocalLog::open(folder.join("deep/log"), Settings::default()).unwrap());
    let synced = std::fs::read_to_string(folder.join(SYNCED)).unwrap();
    let is = |path: &'static str| {
        let path = folder.join(path);
        move |line: &str| Path::new(line.trim_end_matches('/')) == path.components().as_path()
    };
    let (first, last) = (
        |path| synced.lines().position(is(path)),
        |path| synced.lines().collect::<Vec<_>>().into_iter().rposition(is(path)),
    );
    // The file before it is renamed into place, its new name afterwards, and before there is a
    // store: one without a format is refused.
    assert!(
        first("deep/log/FORMAT.new").is_some() && first("deep/log/FORMAT.new") < first("deep/log"),
        "{synced}"
    );
    assert!(first("deep/log") < first("deep/log/store"), "{synced}");
    // What names a folder, after that was made.
    assert!(first("").is_some() && first("deep").is_some(), "{synced}");
    assert!(
        first("deep/log/store").is_some() && first("deep/log/store") < last("deep/log"),
        "{synced}"
    );
    println!("{DONE}");
}

/// What else lies in a data folder is made by the same three functions.
#[tokio::test]
async fn what_is_made_by_hand_is_on_the_disk_with_its_name() {
    let Some(folder) = child("what_is_made_by_hand_is_on_the_disk_with_its_name") else { return };
    let synced = |path: &str| {
        let synced = std::fs::read_to_string(folder.join(SYNCED)).unwrap_or_default();
        synced.lines().any(|line| {
            Path::new(line.trim_end_matches('/')) == folder.join(path).components().as_path()
        })
    };
    create_folder(&folder.join("new/er/data"), 0o711).unwrap();
    assert!(["new/er", "new", ""].map(synced) == [true; 3] && !synced("new/er/data"));
    std::fs::remove_file(folder.join(SYNCED)).unwrap();
    create_folder(&folder.join("new/er/data"), 0o711).unwrap();
    assert!(synced("new/er"), "another process may have made it a moment ago");
    replace_file(&folder.join("new/er/data/version"), b"1\n").unwrap();
    assert!(synced("new/er/data/version.new") && synced("new/er/data"));
    assert_eq!(std::fs::read(folder.join("new/er/data/version")).unwrap(), b"1\n");
    println!("{DONE}");
}
