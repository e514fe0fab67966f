//! What the `owners` topic says: the last hint for every partition, and the database that owners load from. Hints are shown, not believed.

use std::collections::BTreeMap;

use command_api::owner::hints::Hint;
use eventlog::{RawReader, check_values};

/// Records in one read.
const READ_RECORDS: usize = 1_000;

#[derive(Debug, Default)]
pub struct Said {
    /// By category and partition.
    pub hints: BTreeMap<(String, u32), Hint>,
    pub database: Option<String>,
}

/// Nothing was said where there is no such topic.
pub async fn read(log: &dyn RawReader, prefix: &str) -> Result<Said, eventlog::Error> {
    let partition = check_values::partition(prefix);
    let mut said = Said::default();
    if !log.topics().await?.iter().any(|topic| *topic.name == *partition.topic) {
        return Ok(said);
    }
    let end = log.end(&partition).await?;
    let mut at = 0;
    while at < end {
        let records = log.fetch(&partition, at, READ_RECORDS).await?;
        let Some(last) = records.last() else { break };
        at = last.offset + 1;
        for stored in records {
            if let (Some(key), Some(value)) = (stored.record.key, stored.record.value) {
                said.hear(&String::from_utf8_lossy(&key), &value);
            }
        }
    }
    Ok(said)
}

impl Said {
    fn hear(&mut self, key: &str, value: &[u8]) {
        if key == check_values::DATABASE {
            // Whoever came first has the say.
            self.database.get_or_insert_with(|| String::from_utf8_lossy(value).into_owned());
            return;
        }
        let place = key.rsplit_once('/').and_then(|(category, partition)| Some((category.to_owned(), partition.parse().ok()?)));
        let (Some(place), Ok(hint)) = (place, serde_json::from_slice::<Hint>(value)) else { return };
        if self.hints.get(&place).is_none_or(|before| before.epoch <= hint.epoch) {
            self.hints.insert(place, hint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_database_and_the_highest_epoch_count() {
        let mut said = Said::default();
        let hint = |epoch: u64| format!(r#"{{"url":"http://h:{epoch}","epoch":{epoch},"instance":"{}"}}"#, uuid::Uuid::nil());
        for (key, value) in [
            ("database", "a".to_owned()),
            ("database", "b".to_owned()),
            ("note/1", hint(2)),
            ("note/1", hint(1)),
            ("note/x", hint(3)),
            ("note/2", "no hint".to_owned()),
        ] {
            said.hear(key, value.as_bytes());
        }
        assert_eq!(said.database.as_deref(), Some("a"));
        let hints: Vec<_> = said.hints.iter().map(|(place, hint)| (place.clone(), hint.epoch)).collect();
        assert_eq!(hints, [(("note".to_owned(), 1), 2)]);
    }
}
