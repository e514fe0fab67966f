//! A log written again with a fault in it: a LocalLog only appends, so what it has is read and
//! appended to a new one.

use std::{fs, time::Duration};

use highwater::log::{
    Appended, LocalLog, LocalReader, Log, Reply, Ticket, Topic, TopicKind, local,
};
use highwater::protocol::record::Record;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::world::{Outcome, Scratch};

const EVENTS: &str = ".events";

/// Topics of events only. `keep` may change a record; `false` leaves it out.
pub async fn rewrite(folder: &Scratch, mut keep: impl FnMut(&mut Record) -> bool) -> Outcome {
    let (old, new) = (folder.0.join("log"), folder.0.join("log.new"));
    {
        let reader = LocalReader::open(&old).await?;
        let topics: Vec<_> = reader
            .topics()
            .await?
            .into_iter()
            .filter(|topic| topic.name.ends_with(EVENTS))
            .collect();
        fs::create_dir_all(&new)?;
        let log = LocalLog::open(&new, local::Settings::default())?;
        let kinds = topics.iter().map(|t| Topic {
            name: t.name.as_str().into(),
            partitions: t.partitions,
            kind: TopicKind::Events,
        });
        log.prepare(kinds.collect()).await?;
        let (to, mut reports) = mpsc::unbounded_channel();
        for partition in topics.iter().flat_map(|topic| topic.each()) {
            let end = reader.end(&partition).await?;
            let mut next = 0;
            while next < end {
                for stored in reader.fetch(&partition, next, 1_000).await? {
                    next = stored.offset + 1;
                    let mut record = stored.record;
                    if keep(&mut record) {
                        let ticket = Ticket { writer: Uuid::nil(), seq: Some(stored.offset) };
                        log.append(&partition, record, Reply { ticket, to: to.clone() })?;
                        let report = reports.recv().await.ok_or("every append is reported")?;
                        assert!(matches!(report.result, Ok(Appended::At(_))), "{report:?}");
                    }
                }
            }
        }
        log.close(Duration::from_secs(10)).await;
    }
    fs::remove_dir_all(&old)?;
    Ok(fs::rename(new, old)?)
}
