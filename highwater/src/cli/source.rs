//! Which log a subcommand reads, and whose topics in it.

use std::{path::PathBuf, sync::Arc};

use eventlog::{KafkaReader, LocalReader, Partition, RawReader, RawTopic, kafka};
use futures_util::future::BoxFuture;
use protocol::record::Stored;

use super::Error;
use crate::folder;

#[derive(Debug, clap::Args)]
pub(super) struct Source {
    /// The data folder of `highwater up`, which may be running
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub(super) data: PathBuf,
    /// Read the log on this Kafka instead, as host:port,host:port
    #[arg(long, value_name = "BOOTSTRAP", conflicts_with = "data")]
    pub(super) kafka: Option<String>,
    /// Only the topics of the deployment with this prefix (`log.prefix`), `PREFIX.CATEGORY.events`
    #[arg(long, value_name = "PREFIX", env = "HIGHWATER__LOG__PREFIX")]
    pub(super) prefix: Option<String>,
}

impl Source {
    pub(super) async fn open(&self) -> Result<Arc<dyn RawReader>, Error> {
        let log = self.open_all().await?;
        match &self.prefix {
            None => Ok(log),
            Some(prefix) => {
                check_prefix(&*log, prefix).await?;
                Ok(Arc::new(Prefixed { log, prefix: prefix.clone() }))
            }
        }
    }

    async fn open_all(&self) -> Result<Arc<dyn RawReader>, Error> {
        if let Some(bootstrap) = &self.kafka {
            return Ok(Arc::new(KafkaReader::new(&kafka::Settings { lookups: 1, ..kafka::Settings::new(bootstrap) })?));
        }
        let folder = folder::log_in(&self.data);
        if !folder.is_dir() {
            return Err(eventlog::Error::Unreachable(format!("there is no log in {}", folder.display())).into());
        }
        Ok(LocalReader::open(folder).await?)
    }
}

/// An unknown prefix would look like an empty log.
async fn check_prefix(log: &dyn RawReader, wanted: &str) -> Result<(), Error> {
    let topics = log.topics().await?;
    let mut known: Vec<&str> =
        topics.iter().filter(|topic| topic.name.ends_with(".events")).filter_map(|topic| prefix_of(&topic.name)).collect();
    known.sort_unstable();
    known.dedup();
    if known.contains(&wanted) {
        return Ok(());
    }
    let known =
        if known.is_empty() { "there are no topics of events at all".to_owned() } else { format!("there are: {}", known.join(", ")) };
    Err(Error::Usage(format!("the log has no topics with the prefix {wanted}; {known}")))
}

/// Of `PREFIX.owners`, `PREFIX.CATEGORY.events` and `PREFIX.CATEGORY.commands`. A category has no dot in it, a prefix may.
fn prefix_of(topic: &str) -> Option<&str> {
    let (rest, kind) = topic.rsplit_once('.')?;
    match kind {
        "owners" => Some(rest),
        _ => rest.rsplit_once('.').map(|(prefix, _)| prefix),
    }
}

/// The topics of one deployment.
struct Prefixed {
    log: Arc<dyn RawReader>,
    prefix: String,
}

impl RawReader for Prefixed {
    fn topics(&self) -> BoxFuture<'_, Result<Vec<RawTopic>, eventlog::Error>> {
        Box::pin(async move {
            let mut topics = self.log.topics().await?;
            topics.retain(|topic| prefix_of(&topic.name) == Some(&self.prefix));
            Ok(topics)
        })
    }

    fn end(&self, of: &Partition) -> BoxFuture<'_, Result<u64, eventlog::Error>> {
        self.log.end(of)
    }

    fn fetch(&self, of: &Partition, offset: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Stored>, eventlog::Error>> {
        self.log.fetch(of, offset, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_may_have_dots() {
        for (topic, prefix) in [
            ("a.note.events", Some("a")),
            ("a.b.note.commands", Some("a.b")),
            ("a.b.owners", Some("a.b")),
            ("note.events", None),
            ("events", None),
        ] {
            assert_eq!(prefix_of(topic), prefix, "{topic}");
        }
    }
}
