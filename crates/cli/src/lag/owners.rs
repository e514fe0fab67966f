//! What the `owners` topic says: the last hint for every partition, its last tenures, and the
//! database that owners load from. Hints are shown, not believed.

use std::collections::BTreeMap;

use highwater_command::owner::{
    hints::{Hint, TENURES, tenures_of},
    tenure::Tenure,
};
use highwater_log::{RawReader, check_values};

/// Records in one read.
const READ_RECORDS: usize = 1_000;

#[derive(Debug, Default)]
pub struct Said {
    /// By category and partition.
    pub hints: BTreeMap<(String, u32), Hint>,
    /// The same, by epoch; the last [`TENURES`].
    pub tenures: BTreeMap<(String, u32), BTreeMap<u64, Tenure>>,
    pub database: Option<String>,
}

/// Nothing was said where there is no such topic.
pub async fn read(log: &dyn RawReader, prefix: &str) -> Result<Said, highwater_log::Error> {
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
        let mut parts = key.splitn(3, '/');
        let (category, partition, rest) = (parts.next(), parts.next(), parts.next());
        let place = category
            .zip(partition.and_then(|partition| partition.parse().ok()))
            .map(|(category, partition)| (category.to_owned(), partition));
        if rest.is_some() {
            if let Some(place) = place {
                self.hear_of_tenure(place, key, value);
            }
            return;
        }
        let (Some(place), Ok(hint)) = (place, serde_json::from_slice::<Hint>(value)) else {
            return;
        };
        if self.hints.get(&place).is_none_or(|before| before.epoch <= hint.epoch) {
            self.hints.insert(place, hint);
        }
    }

    /// What was said later of an epoch counts.
    fn hear_of_tenure(&mut self, place: (String, u32), key: &str, value: &[u8]) {
        if !key.starts_with(&tenures_of(&place.0, place.1)) {
            return;
        }
        let Ok(tenure) = serde_json::from_slice::<Tenure>(value) else { return };
        let tenures = self.tenures.entry(place).or_default();
        tenures.insert(tenure.epoch, tenure);
        while u64::try_from(tenures.len()).is_ok_and(|count| count > TENURES) {
            tenures.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_database_and_the_highest_epoch_count() {
        let mut said = Said::default();
        let hint = |epoch: u64| {
            format!(
                r#"{{"url":"http://h:{epoch}","epoch":{epoch},"instance":"{}"}}"#,
                uuid::Uuid::nil()
            )
        };
        let tenure = |epoch: u64, end: &str| {
            let id = uuid::Uuid::nil();
            format!(
                r#"{{"epoch":{epoch},"writer":"{id}","instance":"{id}","url":"http://h",
                    "why":"assigned","since":"2026-01-01T00:00:01Z"{end}}}"#
            )
        };
        for (key, value) in [
            ("database", "a".to_owned()),
            ("database", "b".to_owned()),
            ("note/1", hint(2)),
            ("note/1", hint(1)),
            ("note/x", hint(3)),
            ("note/2", "no hint".to_owned()),
            ("note/1/commands", r#"{"drained":7}"#.to_owned()),
            ("note/1/tenure/2", tenure(2, "")),
            ("note/1/tenure/1", tenure(1, r#","until":"2026-01-01T00:00:02Z","ended":"drained""#)),
            ("note/1/tenure/2", tenure(34, "")),
            ("note/1/tenure/3", "no tenure".to_owned()),
        ] {
            said.hear(key, value.as_bytes());
        }
        assert_eq!(said.database.as_deref(), Some("a"));
        let hints: Vec<_> =
            said.hints.iter().map(|(place, hint)| (place.clone(), hint.epoch)).collect();
        assert_eq!(hints, [(("note".to_owned(), 1), 2)]);
        let tenures = &said.tenures[&("note".to_owned(), 1)];
        let ends: Vec<_> =
            tenures.values().map(|tenure| (tenure.epoch, tenure.ended.as_deref())).collect();
        assert_eq!(ends, [(1, Some("drained")), (2, None), (34, None)]);
        for epoch in 35..100 {
            said.hear("note/1/tenure/0", tenure(epoch, "").as_bytes());
        }
        assert_eq!(
            said.tenures[&("note".to_owned(), 1)].len(),
            32,
            "a log that is not compacted shows no more than one that is"
        );
    }
}
