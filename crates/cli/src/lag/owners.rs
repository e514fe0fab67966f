//! What the `owners` topic says: the last announcement for every partition, its last terms, and the
//! database that owners load from. Announcements are shown, not believed.

use std::collections::BTreeMap;

use highwater_command::owner::{
    announcements::{Announcement, TERMS, terms_of},
    term::Term,
};
use highwater_log::{RawReader, check_values};

/// Records in one read.
const READ_RECORDS: usize = 1_000;

#[derive(Debug, Default)]
pub struct OwnersTopic {
    /// By category and partition.
    pub announcements: BTreeMap<(String, u32), Announcement>,
    /// The same, by epoch; the last [`TERMS`].
    pub terms: BTreeMap<(String, u32), BTreeMap<u64, Term>>,
    pub database: Option<String>,
}

/// Nothing was said where there is no such topic.
pub async fn read(log: &dyn RawReader, prefix: &str) -> Result<OwnersTopic, highwater_log::Error> {
    let partition = check_values::partition(prefix);
    let mut said = OwnersTopic::default();
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

impl OwnersTopic {
    fn hear(&mut self, key: &str, value: &[u8]) {
        if key == check_values::DATABASE {
            // The first record has the say.
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
                self.hear_of_term(place, key, value);
            }
            return;
        }
        let (Some(place), Ok(announcement)) =
            (place, serde_json::from_slice::<Announcement>(value))
        else {
            return;
        };
        if self.announcements.get(&place).is_none_or(|before| before.epoch <= announcement.epoch) {
            self.announcements.insert(place, announcement);
        }
    }

    /// What was said later of an epoch counts.
    fn hear_of_term(&mut self, place: (String, u32), key: &str, value: &[u8]) {
        if !key.starts_with(&terms_of(&place.0, place.1)) {
            return;
        }
        let Ok(term) = serde_json::from_slice::<Term>(value) else { return };
        let terms = self.terms.entry(place).or_default();
        terms.insert(term.epoch, term);
        while u64::try_from(terms.len()).is_ok_and(|count| count > TERMS) {
            terms.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_database_and_the_highest_epoch_count() {
        let mut said = OwnersTopic::default();
        let announcement = |epoch: u64| {
            format!(
                r#"{{"url":"http://h:{epoch}","epoch":{epoch},"instance":"{}"}}"#,
                uuid::Uuid::nil()
            )
        };
        let term = |epoch: u64, end: &str| {
            let id = uuid::Uuid::nil();
            format!(
                r#"{{"epoch":{epoch},"writer":"{id}","instance":"{id}","url":"http://h",
                    "why":"assigned","since":"2026-01-01T00:00:01Z"{end}}}"#
            )
        };
        for (key, value) in [
            ("database", "a".to_owned()),
            ("database", "b".to_owned()),
            ("note/1", announcement(2)),
            ("note/1", announcement(1)),
            ("note/x", announcement(3)),
            ("note/2", "no announcement".to_owned()),
            ("note/1/commands", r#"{"drained":7}"#.to_owned()),
            ("note/1/term/2", term(2, "")),
            ("note/1/term/1", term(1, r#","until":"2026-01-01T00:00:02Z","ended":"drained""#)),
            ("note/1/term/2", term(34, "")),
            ("note/1/term/3", "no term".to_owned()),
        ] {
            said.hear(key, value.as_bytes());
        }
        assert_eq!(said.database.as_deref(), Some("a"));
        let announcements: Vec<_> = said
            .announcements
            .iter()
            .map(|(place, announcement)| (place.clone(), announcement.epoch))
            .collect();
        assert_eq!(announcements, [(("note".to_owned(), 1), 2)]);
        let terms = &said.terms[&("note".to_owned(), 1)];
        let ends: Vec<_> = terms.values().map(|term| (term.epoch, term.ended.as_deref())).collect();
        assert_eq!(ends, [(1, Some("drained")), (2, None), (34, None)]);
        for epoch in 35..100 {
            said.hear("note/1/term/0", term(epoch, "").as_bytes());
        }
        assert_eq!(
            said.terms[&("note".to_owned(), 1)].len(),
            32,
            "a log that is not compacted shows no more than one that is"
        );
    }
}
