//! What a transaction of a projector changed, as one notification for caches: which aggregates of
//! which partitions, up to which offset.
//!
//! The text is a list of `projection,projection=category/partition@offset:keys`, joined by spaces.
//! `keys` are the last twelve digits of the aggregates' ids, joined by dots, or `*`: any aggregate
//! of the partition. A text that is `*` as a whole: anything. A cache that hears of more than what
//! changed is right, so keys that happen to be equal do no harm.

use std::collections::BTreeSet;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::checkpoints;

/// Caches listen here.
pub const CHANNEL: &str = "highwater_changes";

/// Postgres refuses 8,000 bytes.
const LONGEST: usize = 7_900;

/// What changed in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// In whose tables.
    pub projections: Vec<&'a str>,
    pub category: &'a str,
    pub partition: u32,
    /// Everything below it is in the tables.
    pub offset: u64,
    /// `None`: any aggregate of the partition.
    pub keys: Option<BTreeSet<u64>>,
}

/// The part of an id that notifications name.
pub fn key_of(id: Uuid) -> u64 {
    id.as_u64_pair().1 & 0xffff_ffff_ffff
}

/// The notification of these changes; `None` if there are none.
pub fn text<'a>(changes: impl IntoIterator<Item = Change<'a>>) -> Option<String> {
    let items: Vec<String> = changes.into_iter().map(|change| change.text()).collect();
    let text = items.join(" ");
    match text.len() {
        0 => None,
        1..=LONGEST => Some(text),
        _ => Some("*".to_owned()),
    }
}

/// The other way round. `None`: it is not understood, so that anything may have changed.
pub fn parse(text: &str) -> Option<Vec<Change<'_>>> {
    text.split(' ').map(Change::parse).collect()
}

/// Tells the readers of positions that checkpoints moved, and caches what changed, as [`text`] says
/// it; both when the transaction commits.
pub async fn notify(
    connection: &mut PgConnection,
    changed: Option<&str>,
) -> Result<(), sqlx::Error> {
    match changed {
        None => {
            sqlx::query!("SELECT pg_notify($1, '')", checkpoints::CHANNEL)
                .execute(connection)
                .await?
        }
        Some(changed) => {
            let both = sqlx::query!(
                "SELECT pg_notify($1, $2) AS changes, pg_notify($3, '') AS checkpoints",
                CHANNEL,
                changed,
                checkpoints::CHANNEL
            );
            both.execute(connection).await?
        }
    };
    Ok(())
}

impl<'a> Change<'a> {
    fn text(&self) -> String {
        let Self { projections, category, partition, offset, keys } = self;
        let keys = match keys {
            None => "*".to_owned(),
            Some(keys) => {
                keys.iter().map(|key| format!("{key:012x}")).collect::<Vec<_>>().join(".")
            }
        };
        format!("{}={category}/{partition}@{offset}:{keys}", projections.join(","))
    }

    fn parse(text: &'a str) -> Option<Self> {
        let (projections, rest) = text.split_once('=')?;
        let (position, keys) = rest.split_once(':')?;
        let (category, numbers) = position.split_once('/')?;
        let (partition, offset) = numbers.split_once('@')?;
        let keys = match keys {
            "*" => None,
            keys => Some(
                keys.split('.')
                    .map(|key| u64::from_str_radix(key, 16).ok())
                    .collect::<Option<BTreeSet<u64>>>()?,
            ),
        };
        Some(Self {
            projections: projections.split(',').collect(),
            category,
            partition: partition.parse().ok()?,
            offset: offset.parse().ok()?,
            keys,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(partition: u32, keys: Option<&[u128]>) -> Change<'static> {
        let keys = keys.map(|ids| ids.iter().map(|id| key_of(Uuid::from_u128(*id))).collect());
        Change { projections: vec!["a", "b"], category: "x", partition, offset: 8, keys }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let changes = [change(1, Some(&[1, 0xf_0123_4567_89ab])), change(2, None)];
        let written = text(changes.clone());
        let expected = "a,b=x/1@8:000000000001.0123456789ab a,b=x/2@8:*";
        assert_eq!(written.as_deref(), Some(expected));
        assert_eq!(parse(expected), Some(changes.to_vec()));
    }

    #[test]
    fn nothing_is_no_notification_and_too_much_is_anything() {
        assert_eq!(text([]), None);
        let many = (0..500).map(|partition| change(partition, Some(&[1])));
        assert_eq!(text(many).as_deref(), Some("*"));
        assert_eq!(parse("*"), None);
    }

    #[test]
    fn what_is_not_understood_may_mean_anything() {
        for text in ["", "a", "a=x", "a=x/1", "a=x/1@8", "a=x/-1@8:*", "a=x/1@8:g", "a=x/1@8:* b"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
