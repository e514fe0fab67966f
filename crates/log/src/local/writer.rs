//! The one thread that writes: collects what waits into a group commit, assigns dense offsets,
//! reports after the fsync, wakes readers. After an I/O error nothing is written before the store
//! has been closed and opened again; a full disk leaves it readable.

use std::{
    collections::HashMap,
    fs,
    io::{self, Write as _},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use highwater_protocol::record::Record;
use tokio::time::Instant;

use super::{
    codec,
    shared::{Shared, TopicState},
    store::{self, Row},
};
use crate::log::{Appended, Reply, Report, ReportError};

const FORGET_ON_AFTER: Duration = Duration::from_millis(100);

/// One append that waits for the next group commit.
pub struct PendingAppend {
    pub topic: Arc<TopicState>,
    pub partition: u32,
    pub record: Record,
    pub size_bytes: usize,
    pub reply: Reply,
}

/// Runs until every sender of `queue` is gone, then closes the store.
pub fn run(shared: &Shared, queue: &Receiver<PendingAppend>) {
    let mut forget_at = Instant::now() + shared.settings.forget_every;
    loop {
        let healthy = shared.trouble().is_none();
        if healthy && forget_at <= Instant::now() {
            forget_at = Instant::now() + forget(shared);
        }
        let left = if healthy {
            forget_at.saturating_duration_since(Instant::now())
        } else {
            shared.settings.retry_every
        };
        match queue.recv_timeout(left) {
            Ok(first) => commit(shared, collect(shared, first, queue)),
            Err(RecvTimeoutError::Timeout) if healthy => {}
            Err(RecvTimeoutError::Timeout) => recover(shared),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    shared.closed.cancel();
    shared.release();
}

/// Returns when to look again.
fn forget(shared: &Shared) -> Duration {
    match shared.forget() {
        // What waits has its turn first.
        Ok(true) => FORGET_ON_AFTER,
        Ok(false) => shared.settings.forget_every,
        Err(error) => {
            tracing::error!(%error, "the local log could not forget old commands; appends wait \
                                     until its store has been opened again");
            shared.set_trouble(Some(error.to_string()));
            shared.settings.forget_every
        }
    }
}

fn collect(
    shared: &Shared,
    first: PendingAppend,
    queue: &Receiver<PendingAppend>,
) -> Vec<PendingAppend> {
    let mut bytes = first.size_bytes;
    let mut batch = vec![first];
    while batch.len() < shared.settings.commit_records && bytes < shared.settings.commit_bytes {
        let Ok(next) = queue.try_recv() else { break };
        bytes += next.size_bytes;
        batch.push(next);
    }
    shared.unreserve(bytes);
    batch
}

fn commit(shared: &Shared, batch: Vec<PendingAppend>) {
    if let Some(trouble) = shared.trouble() {
        return report_all(&batch, &ReportError::Unsent(trouble));
    }
    let (rows, offsets) = rows(shared, &batch);
    let started = Instant::now();
    match shared.commit(rows) {
        Ok(()) => {
            metrics::histogram!("highwater_log_commit_seconds", "log" => "local")
                .record(started.elapsed().as_secs_f64());
            metrics::counter!("highwater_log_appended_records_total", "log" => "local")
                .increment(batch.len() as u64);
            publish(&batch, &offsets);
        }
        Err(error) => {
            metrics::counter!("highwater_log_append_errors_total", "log" => "local")
                .increment(batch.len() as u64);
            tracing::error!(%error, records = batch.len(), "the local log could not write; appends \
                wait until its store has been opened again");
            shared.set_trouble(Some(error.to_string()));
            report_all(&batch, &ReportError::Failed(error.to_string()));
            recover(shared);
        }
    }
}

fn rows(shared: &Shared, batch: &[PendingAppend]) -> (Vec<Row>, Vec<u64>) {
    let appended_at_ms = (shared.settings.clock)();
    let mut next: HashMap<(u32, u32), u64> = HashMap::new();
    let (mut rows, mut offsets) =
        (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
    for queued in batch {
        let (topic, partition) = (queued.topic.row.id, queued.partition);
        let next =
            next.entry((topic, partition)).or_insert_with(|| *queued.topic.end(partition).borrow());
        let mut bytes = Vec::with_capacity(queued.size_bytes + 64);
        codec::encode(appended_at_ms, &queued.record, &mut bytes);
        rows.push(Row { topic, partition, offset: *next, bytes });
        offsets.push(*next);
        *next += 1;
    }
    (rows, offsets)
}

/// Readers first: what is reported can be read.
fn publish(batch: &[PendingAppend], offsets: &[u64]) {
    let mut ends: HashMap<(u32, u32), (&PendingAppend, u64)> = HashMap::new();
    for (queued, offset) in batch.iter().zip(offsets) {
        ends.insert((queued.topic.row.id, queued.partition), (queued, offset + 1));
    }
    for (queued, end) in ends.into_values() {
        queued.topic.end(queued.partition).send_replace(end);
    }
    for (queued, offset) in batch.iter().zip(offsets) {
        report(queued, Ok(Appended::At(*offset)));
    }
}

fn report_all(batch: &[PendingAppend], error: &ReportError) {
    for queued in batch {
        report(queued, Err(error.clone()));
    }
}

fn report(queued: &PendingAppend, result: Result<Appended, ReportError>) {
    // An appender that dropped the receiver does not want to know.
    let _ = queued.reply.to.send(Report { ticket: queued.reply.ticket, generation: 0, result });
}

/// Opens the store again once there is room for it. Until then the old one goes on answering reads.
fn recover(shared: &Shared) {
    if let Err(error) = probe(shared) {
        let full =
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let what = if full { "the disk is full" } else { "the disk cannot be written" };
        return shared.set_trouble(Some(format!("{what}: {}: {error}", shared.folder.display())));
    }
    match shared.reopen() {
        Ok(()) => {
            tracing::warn!(folder = %shared.folder.display(), "the local log was opened again and \
                takes appends");
            shared.set_trouble(None);
        }
        Err(error) => {
            let error: store::Error = error;
            tracing::error!(%error, "the local log cannot be opened again yet");
            shared.set_trouble(Some(error.to_string()));
        }
    }
}

/// Whether a file of some size can be written and synced beside the store.
fn probe(shared: &Shared) -> io::Result<()> {
    #[cfg(test)]
    shared.faults.probe()?;
    let path = shared.folder.join("space.probe");
    let written = (|| {
        let mut file = fs::File::create(&path)?;
        let block = vec![0xa5; 1 << 16];
        let mut left = shared.settings.spare_bytes;
        while left > 0 {
            let n = left.min(block.len());
            file.write_all(&block[..n])?;
            left -= n;
        }
        file.sync_all()
    })();
    // Room again, whatever happened: best effort, the file is overwritten by the next probe.
    let _ = fs::remove_file(&path);
    written
}
