//! Which log a subcommand reads, and whose topics in it: by the flags, else as the settings say, as
//! for every process. Says which, so that no reader takes the answer for that of another log.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use highwater_log::{LocalReader, LogSettings, Partition, RawReader, RawTopic};
use highwater_protocol::record::StoredRecord;
use highwater_runtime::config::Config;

use super::{
    Error,
    settings::{self, DEFAULT_DATA},
};
use crate::folder::{self, Kind};

#[derive(Debug, clap::Args)]
pub(super) struct Source {
    /// The data folder of `up`, which may be running; of a log on Kafka only its private
    /// Postgres is used [default: data]
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// Read the log on this Kafka, as host:port,host:port [default: `log.kafka`, if it is set; else
    /// the log in the data folder]
    #[arg(long, value_name = "BOOTSTRAP")]
    pub(super) kafka: Option<String>,
    /// Only the topics of the deployment with this prefix, PREFIX.CATEGORY.events [default:
    /// `log.prefix`, if it is set; else all]
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Settings: the log with its prefix, security, time-outs; the database [default:
    /// highwater.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A log that is open, and the prefix if one was chosen.
pub(super) struct OpenLog {
    pub(super) log: Arc<dyn RawReader>,
    pub(super) prefix: Option<String>,
    pub(super) kind: Kind,
    pub(super) config: Config,
}

impl Source {
    pub(super) async fn open(&self) -> Result<OpenLog, Error> {
        let kafka = self.kafka.iter().map(|kafka| ("log.kafka".to_owned(), kafka.clone()));
        let prefix = self.prefix.iter().map(|prefix| ("log.prefix".to_owned(), prefix.clone()));
        let config = settings::load(self.config.as_deref(), kafka.chain(prefix).collect())?;
        let settings: LogSettings = settings::section(&config, "log")?;
        let kind = self.kind(&settings)?;
        let log = self.open_all(&settings, kind).await?;
        if !config.redacted().contains_key("log.prefix") {
            return Ok(OpenLog { log, prefix: None, kind, config });
        }
        let prefix = settings.prefix;
        check_prefix(&*log, &prefix).await?;
        Ok(OpenLog {
            log: Arc::new(Prefixed { log, prefix: prefix.clone() }),
            prefix: Some(prefix),
            kind,
            config,
        })
    }

    /// A flag goes before what the settings say, and a folder that is named belongs to one log.
    fn kind(&self, settings: &LogSettings) -> Result<Kind, Error> {
        let named = match (&self.data, &self.kafka) {
            (Some(data), None) => folder::kind_of(data)?,
            _ => None,
        };
        if !settings.is_local() {
            return Ok(named.unwrap_or(Kind::Kafka));
        }
        let data = self.folder();
        if folder::kind_of(data)? == Some(Kind::Kafka) {
            let data = data.display();
            return Err(Error::Usage(format!(
                "{data} is the data folder of a log on Kafka: name that one with --kafka, or \
                 `log.kafka`"
            )));
        }
        Ok(Kind::Local)
    }

    async fn open_all(
        &self,
        settings: &LogSettings,
        kind: Kind,
    ) -> Result<Arc<dyn RawReader>, Error> {
        if kind == Kind::Kafka {
            let by = if self.kafka.is_some() { "--kafka" } else { "log.kafka" };
            eprintln!("highwater: the log is that on Kafka at {} ({by})", settings.kafka);
            return Ok(settings.open_kafka_reader("highwater")?);
        }
        let folder = folder::log_in(self.folder());
        let shown = std::path::absolute(&folder).unwrap_or_else(|_| folder.clone());
        if !folder.is_dir() {
            let missing = format!(
                "there is no log in {}; --data names another folder, --kafka a Kafka",
                shown.display()
            );
            return Err(highwater_log::Error::Unreachable(missing).into());
        }
        eprintln!("highwater: the log is the local one in {}", shown.display());
        Ok(LocalReader::open(folder).await?)
    }

    fn folder(&self) -> &Path {
        self.data.as_deref().unwrap_or(Path::new(DEFAULT_DATA))
    }
}

/// An unknown prefix would look like an empty log.
async fn check_prefix(log: &dyn RawReader, wanted: &str) -> Result<(), Error> {
    let topics = log.topics().await?;
    let mut known: Vec<&str> = topics
        .iter()
        .filter(|topic| topic.name.ends_with(".events"))
        .filter_map(|topic| prefix_of(&topic.name))
        .collect();
    known.sort_unstable();
    known.dedup();
    if known.contains(&wanted) {
        return Ok(());
    }
    let known = if known.is_empty() {
        "there are no topics of events at all".to_owned()
    } else {
        format!("there are: {}", known.join(", "))
    };
    Err(Error::Usage(format!("the log has no topics with the prefix {wanted}; {known}")))
}

/// Of `PREFIX.owners`, `PREFIX.CATEGORY.events` and `PREFIX.CATEGORY.commands`. A category has no
/// dot in it, a prefix may.
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
    fn topics(&self) -> BoxFuture<'_, Result<Vec<RawTopic>, highwater_log::Error>> {
        Box::pin(async move {
            let mut topics = self.log.topics().await?;
            topics.retain(|topic| prefix_of(&topic.name) == Some(&self.prefix));
            Ok(topics)
        })
    }

    fn end(&self, of: &Partition) -> BoxFuture<'_, Result<u64, highwater_log::Error>> {
        self.log.end(of)
    }

    fn fetch(
        &self,
        of: &Partition,
        offset: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, highwater_log::Error>> {
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
