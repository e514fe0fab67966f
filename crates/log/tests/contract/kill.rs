//! `LocalLog` and the death of its process: what was acknowledged is there, and other processes
//! read meanwhile.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use highwater_log::{LocalLog, LocalReader, Log, Partition, Topic, TopicKind, local::Settings};

use crate::fixture::{Folder, Reports, numbered, soon, take};

const CHILD: &str = "EVENTLOG_TEST_CHILD_FOLDER";
const PARTITIONS: u32 = 2;

/// Kills on drop: the child never outlives the test.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn partition(index: u32) -> Partition {
    Partition { topic: "things".into(), index }
}

async fn open(folder: &Path) -> Arc<dyn Log> {
    let log: Arc<dyn Log> = Arc::new(LocalLog::open(folder, Settings::default()).unwrap());
    soon(log.prepare(vec![Topic {
        name: "things".into(),
        partitions: PARTITIONS,
        kind: TopicKind::Events,
    }]))
    .await
    .unwrap();
    log
}

/// In the child: appends for ever, and says what was acknowledged.
async fn append_until_killed(folder: &Path) {
    let log = open(folder).await;
    let (mut reports, mut seq) = (Reports::new(), 0);
    let mut next = [0, 0];
    for p in 0..PARTITIONS {
        next[p as usize] = soon(log.end(&partition(p))).await.unwrap();
    }
    loop {
        let (from, batch) = (next, 32);
        for n in 0..batch {
            for p in 0..PARTITIONS {
                log.append(&partition(p), numbered(from[p as usize] + n), reports.reply(seq))
                    .unwrap();
                seq += 1;
            }
        }
        for _ in 0..batch * u64::from(PARTITIONS) {
            reports.next().await.result.unwrap();
        }
        next = from.map(|n| n + batch);
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {} {}", next[0], next[1]).unwrap();
        out.flush().unwrap();
    }
}

fn spawn(folder: &Path) -> (Killed, impl Iterator<Item = [u64; 2]>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::what_was_acknowledged_survives_kill_9", "--nocapture"])
        .env(CHILD, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let acknowledged = lines.map_while(Result::ok).filter_map(|line| {
        let mut numbers =
            line.split("acknowledged ").nth(1)?.split(' ').map(|n| n.parse().unwrap());
        Some([numbers.next()?, numbers.next()?])
    });
    (Killed(child), acknowledged)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_9() {
    if let Some(folder) = std::env::var_os(CHILD) {
        return append_until_killed(Path::new(&folder)).await;
    }
    let folder = Folder::new();
    let folder = folder.path().join("log");
    let mut before = 0;
    for round in 1..=3 {
        let (child, mut acknowledged) = spawn(&folder);
        let ends = acknowledged.by_ref().take(5 * round).last().expect("the child ended by itself");
        assert!(ends[0] > before, "the child went on where its predecessor died");
        drop(child);
        // What it said before it died counts, too.
        let ends = acknowledged.last().unwrap_or(ends);
        let log = open(&folder).await;
        for p in 0..PARTITIONS {
            let end = soon(log.end(&partition(p))).await.unwrap();
            assert!(
                end >= ends[p as usize],
                "{} of {} acknowledged records are there",
                end,
                ends[p as usize]
            );
            let mut subscription = log.read(&partition(p), 0).unwrap();
            for (n, stored) in (0..).zip(take(&mut subscription, end as usize).await) {
                assert_eq!((stored.offset, stored.record), (n, numbered(n)));
            }
        }
        before = ends[0];
        soon(log.close(std::time::Duration::from_secs(30))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_one_process_writes_another_reads_and_a_second_writer_is_refused() {
    let folder = Folder::new();
    let folder = folder.path().join("log");
    let (child, mut acknowledged) = spawn(&folder);
    let ends = acknowledged.nth(1).expect("the child ended by itself");
    let reader = LocalReader::open(&folder).await.unwrap();
    assert_eq!(reader.topics().await.unwrap()[0].partitions, PARTITIONS);
    assert!(reader.end(&partition(1)).await.unwrap() >= ends[1]);
    let fetched = reader.fetch(&partition(1), 3, 2).await.unwrap();
    assert_eq!(
        fetched.into_iter().map(|stored| stored.record).collect::<Vec<_>>(),
        [numbered(3), numbered(4)]
    );
    let refused = LocalLog::open(&folder, Settings::default()).unwrap_err().to_string();
    assert!(
        refused.contains("in use by another process") && refused.contains(folder.to_str().unwrap()),
        "{refused}"
    );
    drop(child);
    let gone = reader.end(&partition(0)).await.unwrap_err().to_string();
    assert!(gone.contains(folder.to_str().unwrap()), "{gone}");
    let reader = LocalReader::open(&folder).await.unwrap();
    assert!(
        reader.end(&partition(0)).await.unwrap() >= ends[0],
        "directly, past the socket that the dead process left"
    );
}
