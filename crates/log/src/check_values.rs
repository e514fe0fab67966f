//! What the `owners` topic says of the deployment: values that must be the same everywhere, each
//! under its name. Reads them; writes none.

use crate::log::{Error, Log, Partition, Topic, TopicKind};

/// The identity of the database from which owners load.
pub const DATABASE: &str = "database";
/// What the deployment keys are known by.
pub const DEPLOYMENT_KEY: &str = "deployment-key";

/// Records in one look-up.
const LOOKUP: usize = 1_000;

/// The topic that holds them.
pub fn topic(prefix: &str) -> Topic {
    Topic { name: format!("{prefix}.owners").into(), partitions: 1, kind: TopicKind::Owners }
}

/// The one partition of [`topic`].
pub fn partition(prefix: &str) -> Partition {
    Partition { topic: topic(prefix).name, index: 0 }
}

/// The first value of `name`: the process that came first has the say. `None`: none has said
/// anything yet.
pub async fn find(
    log: &dyn Log,
    partition: &Partition,
    name: &str,
) -> Result<Option<String>, Error> {
    let mut offset = 0;
    loop {
        let records = log.fetch(partition, offset, LOOKUP).await?;
        let Some(last) = records.last() else { return Ok(None) };
        offset = last.offset + 1;
        let mut named =
            records.iter().filter(|stored| stored.record.key.as_deref() == Some(name.as_bytes()));
        if let Some(value) = named.find_map(|stored| stored.record.value.as_deref()) {
            return Ok(Some(String::from_utf8_lossy(value).into_owned()));
        }
    }
}
