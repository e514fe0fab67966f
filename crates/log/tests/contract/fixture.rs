//! A log to test, and how to talk to it.

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use highwater_log::{
    Appended, Delivery, Log, Partition, Reply, Report, ReportError, Subscription, Ticket, Topic,
    TopicKind,
};
use highwater_protocol::record::{Header, Record, StoredRecord};
use tokio::sync::mpsc;
use uuid::Uuid;

pub const PARTITIONS: u32 = 3;

/// A log with one topic of [`PARTITIONS`] partitions.
pub struct Fixture {
    pub log: Arc<dyn Log>,
    pub topic: Topic,
    /// What must outlive the log.
    _kept: Box<dyn Send + Sync>,
}

impl Fixture {
    pub async fn new(log: Arc<dyn Log>, kept: impl Send + Sync + 'static) -> Self {
        let topic = Topic {
            name: unique("contract").into(),
            partitions: PARTITIONS,
            kind: TopicKind::Events,
        };
        soon(log.prepare(vec![topic.clone()])).await.unwrap();
        Self { log, topic, _kept: Box::new(kept) }
    }

    pub fn partition(&self, index: u32) -> Partition {
        Partition { topic: Arc::clone(&self.topic.name), index }
    }

    /// Appends and returns where; the test is the only writer of the partition, so that the log's
    /// end tells, if the report does not.
    pub async fn append(&self, to: &Partition, record: Record) -> Result<Appended, ReportError> {
        let mut reports = Reports::new();
        self.log.append(to, record, reports.reply(0)).unwrap();
        match reports.next().await.result? {
            Appended::At(offset) => Ok(Appended::At(offset)),
            Appended::Somewhere => Ok(Appended::At(soon(self.log.end(to)).await.unwrap() - 1)),
        }
    }

    /// Appends `n` numbered records, some at a time, and waits until all are acknowledged.
    pub async fn fill(&self, to: &Partition, n: u64) {
        let before = soon(self.log.end(to)).await.unwrap();
        let mut reports = Reports::new();
        let mut appended = 0;
        while appended < n {
            let some = (n - appended).min(5_000);
            for i in appended..appended + some {
                self.log.append(to, numbered(i), reports.reply(i)).unwrap();
            }
            for _ in 0..some {
                reports.next().await.result.unwrap();
            }
            appended += some;
        }
        // A report without offset proves nothing.
        assert_eq!(soon(self.log.end(to)).await.unwrap(), before + n);
    }
}

/// Where the reports of a test's appends arrive.
pub struct Reports {
    writer: Uuid,
    to: mpsc::UnboundedSender<Report>,
    from: mpsc::UnboundedReceiver<Report>,
}

impl Reports {
    pub fn new() -> Self {
        let (to, from) = mpsc::unbounded_channel();
        Self { writer: fresh(), to, from }
    }

    pub fn reply(&self, seq: u64) -> Reply {
        Reply { ticket: Ticket { writer: self.writer, seq: Some(seq) }, to: self.to.clone() }
    }

    pub async fn next(&mut self) -> Report {
        let report = soon(self.from.recv()).await.unwrap();
        assert_eq!(report.ticket.writer, self.writer);
        report
    }

    /// What came without waiting.
    pub fn waiting(&mut self) -> Option<Report> {
        self.from.try_recv().ok()
    }
}

/// Reads until `n` records have come.
pub async fn take(subscription: &mut Subscription, n: usize) -> Vec<StoredRecord> {
    let mut records = Vec::new();
    while records.len() < n {
        match soon(subscription.deliveries.recv()).await.unwrap() {
            Delivery::Records(more) => records.extend(more),
            Delivery::CaughtUp(_) | Delivery::Trouble(_) => {}
            Delivery::Failed(error) => panic!("{error}"),
        }
    }
    records
}

/// Reads until the log says that there is no more; returns its end.
pub async fn caught_up(subscription: &mut Subscription) -> u64 {
    loop {
        match soon(subscription.deliveries.recv()).await.unwrap() {
            Delivery::CaughtUp(end) => return end,
            Delivery::Records(_) | Delivery::Trouble(_) => {}
            Delivery::Failed(error) => panic!("{error}"),
        }
    }
}

pub fn numbered(n: u64) -> Record {
    Record {
        key: Some(n.to_string().into_bytes()),
        value: Some(vec![b'v'; 100]),
        headers: vec![Header::new("n", n.to_string())],
    }
}

/// Fails the test instead of waiting for ever.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("did not happen in time")
}

#[expect(clippy::disallowed_methods, reason = "names must differ between test runs")]
pub fn fresh() -> Uuid {
    Uuid::new_v4()
}

pub fn unique(what: &str) -> String {
    format!("{what}-{}", fresh().simple())
}

/// A folder that goes with the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(unique("eventlog"));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
