//! Which log a subcommand reads, and whose topics in it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use eventlog::{LocalReader, LogSettings, Partition, RawReader, RawTopic};
use futures_util::future::BoxFuture;
use protocol::record::Stored;
use service::{
    config::{self, Config},
    process,
};

use super::Error;
use crate::folder;

/// The data folder, where none is named and the log is not on a Kafka.
pub(super) const DEFAULT_DATA: &str = "data";

#[derive(Debug, clap::Args)]
pub(super) struct Source {
    /// The data folder of `highwater up`, which may be running; beside --kafka, only its private Postgres is used [default: data]
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// Read the log on this Kafka instead, as host:port,host:port
    #[arg(long, value_name = "BOOTSTRAP")]
    pub(super) kafka: Option<String>,
    /// Only the topics of the deployment with this prefix, PREFIX.CATEGORY.events [default: `log.prefix`, if it is set; else all]
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Settings, of which section `log` is read: prefix, security, time-outs [default: highwater.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A log that is open, and the prefix if one was chosen.
pub(super) struct Opened {
    pub(super) log: Arc<dyn RawReader>,
    pub(super) prefix: Option<String>,
}

impl Source {
    pub(super) async fn open(&self) -> Result<Opened, Error> {
        let (settings, prefix) = self.settings()?;
        let log = self.open_all(&settings).await?;
        let Some(prefix) = prefix else { return Ok(Opened { log, prefix: None }) };
        check_prefix(&*log, &prefix).await?;
        Ok(Opened { log: Arc::new(Prefixed { log, prefix: prefix.clone() }), prefix: Some(prefix) })
    }

    /// From the file and the environment, as every process; flags win.
    fn settings(&self) -> Result<(LogSettings, Option<String>), Error> {
        let unusable = |error: config::Error| Error::Usage(process::chain(&error));
        let default = Path::new(process::DEFAULT_FILE);
        let file = self.config.as_deref().or_else(|| default.exists().then_some(default));
        let kafka = self.kafka.iter().map(|kafka| ("log.kafka".to_owned(), kafka.clone()));
        let prefix = self.prefix.iter().map(|prefix| ("log.prefix".to_owned(), prefix.clone()));
        let config = Config::load(file, kafka.chain(prefix).collect()).map_err(unusable)?;
        config.refuse_unknown(&process::SECTIONS).map_err(unusable)?;
        let settings: LogSettings = config.section("log").map_err(unusable)?;
        let prefix = config.redacted().contains_key("log.prefix").then(|| settings.prefix.clone());
        Ok((settings, prefix))
    }

    async fn open_all(&self, settings: &LogSettings) -> Result<Arc<dyn RawReader>, Error> {
        if self.kafka.is_some() {
            return Ok(settings.open_kafka_reader("highwater")?);
        }
        let folder = folder::log_in(self.data.as_deref().unwrap_or(Path::new(DEFAULT_DATA)));
        if !folder.is_dir() {
            let folder = std::path::absolute(&folder).unwrap_or(folder);
            return Err(
                eventlog::Error::Unreachable(format!("there is no log in {}; --data names another folder", folder.display())).into()
            );
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
