//! Which log a subcommand reads.

use std::{path::PathBuf, sync::Arc};

use eventlog::RawReader;

use super::Error;
use crate::{folder, log};

#[derive(Debug, clap::Args)]
pub(super) struct Source {
    /// The data folder of `highwater up`, which may be running
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
    /// Read the log on this Kafka instead, as host:port,host:port
    #[arg(long, value_name = "BOOTSTRAP", conflicts_with = "data")]
    kafka: Option<String>,
}

impl Source {
    pub(super) async fn open(&self) -> Result<Arc<dyn RawReader>, Error> {
        Ok(match &self.kafka {
            Some(bootstrap) => log::read_kafka(bootstrap)?,
            None => log::read_local(&folder::log_in(&self.data)).await?,
        })
    }
}
