//! Which log a subcommand reads.

use std::{path::PathBuf, sync::Arc};

use eventlog::{KafkaReader, LocalReader, RawReader, kafka};

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
}

impl Source {
    pub(super) async fn open(&self) -> Result<Arc<dyn RawReader>, Error> {
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
