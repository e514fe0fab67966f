//! What `LocalLog` acknowledges is on the disk. Between the process and the kernel lies a library that makes every sync fail once it is told
//! to: what is acknowledged then was not waited for. Needs a C compiler, as librdkafka does.
#![cfg(target_os = "linux")]

use std::{path::Path, process::Command, sync::Arc};

use eventlog::{Appended, LocalLog, Log, Partition, Topic, TopicKind, local::Settings};

use crate::fixture::{Folder, Reports, numbered, soon};

const CHILD: &str = "EVENTLOG_TEST_SYNCS_FOLDER";
/// While there is such a file in the folder, no sync succeeds.
const BROKEN: &str = "broken";
const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
static int sync_by(long call, int fd) {
    char path[4096];
    const char *folder = getenv("EVENTLOG_TEST_SYNCS_FOLDER");
    snprintf(path, sizeof path, "%s/broken", folder ? folder : "");
    if (access(path, F_OK) == 0) { errno = EIO; return -1; }
    return syscall(call, fd);
}
int fsync(int fd) { return sync_by(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_by(SYS_fdatasync, fd); }
"#;

/// In the child: what is appended before and after syncs fail.
async fn append(folder: &Path) {
    let log: Arc<dyn Log> = Arc::new(LocalLog::open(folder.join("log"), Settings::default()).unwrap());
    soon(log.prepare(vec![Topic { name: "things".into(), partitions: 1, kind: TopicKind::Events }])).await.unwrap();
    let (to, mut reports) = (Partition { topic: "things".into(), index: 0 }, Reports::new());
    for n in 0..3 {
        log.append(&to, numbered(n), reports.reply(n)).unwrap();
        assert_eq!(reports.next().await.result, Ok(Appended::At(n)));
    }
    std::fs::write(folder.join(BROKEN), "").unwrap();
    log.append(&to, numbered(3), reports.reply(3)).unwrap();
    let result = reports.next().await.result;
    assert!(result.is_err(), "{result:?}: acknowledged without a sync");
    println!("nothing was acknowledged without a sync");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_before_it_is_on_the_disk() {
    if let Some(folder) = std::env::var_os(CHILD) {
        return append(Path::new(&folder)).await;
    }
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path()).unwrap();
    let (source, library) = (folder.path().join("syncs.c"), folder.path().join("syncs.so"));
    std::fs::write(&source, LIBRARY).unwrap();
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).output().unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "syncs::nothing_is_acknowledged_before_it_is_on_the_disk", "--nocapture"])
        .env(CHILD, folder.path())
        .env("LD_PRELOAD", &library)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains("nothing was acknowledged without a sync"), "{said}");
}
