//! Compares the tables beside the live ones with these, row by row, at the same checkpoints:
//! readers see the live tables as they were at one moment, and those beside are filled up to that
//! moment meanwhile. Projectors go on.

use std::{cmp::Ordering, pin::Pin};

use futures_util::{Stream, TryStreamExt};
use highwater_tables::generations;
use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, PgConnection};

pub use super::why::Since;
use super::{Error, How, Rebuild, places};

/// A moment is looked for so often at which nothing beside is further than what is live.
const MOMENTS: u32 = 50;

/// What the tables say otherwise than those beside them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// How many rows the live tables have, and how many those beside them.
    pub live: u64,
    pub beside: u64,
    /// How many rows differ.
    pub differ: u64,
    /// The first of these.
    pub rows: Vec<Difference>,
}

/// A row that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub table: String,
    /// Its key, as a JSON array.
    pub key: String,
    /// The aggregate that it is of, if it has a column `id`.
    pub id: Option<uuid::Uuid>,
    pub partition: Option<u32>,
    /// `None`: the row is not there as a whole.
    pub columns: Option<Vec<Column>>,
    /// Whether it is the live one that has the row.
    pub is_live: bool,
    pub is_beside: bool,
    /// Since which event, where that is known.
    pub since: Option<Since>,
}

/// A column that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub live: Value,
    pub beside: Value,
}

impl Rebuild {
    /// Compares every row, and names the first `most` that differ.
    pub async fn compare(&self, most: usize) -> Result<Compared, Error> {
        let mut live = self.moment().await?;
        let mut beside = self.begin().await?;
        sqlx::query("SET LOCAL statement_timeout = 0").execute(&mut *beside).await?;
        let mut compared = Compared::default();
        for table in self.projection.tables() {
            tables(table, &mut live, &mut beside, most, &mut compared).await?;
        }
        live.rollback().await?;
        beside.rollback().await?;
        self.explain(&mut compared).await?;
        Ok(compared)
    }

    /// A transaction that sees the live tables as they are now; those beside them have the same
    /// events when it is there.
    async fn moment(&self) -> Result<crate::runner::PostgresTx, Error> {
        for _ in 0..MOMENTS {
            let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
                         SET LOCAL statement_timeout = 0; \
                         SET LOCAL idle_in_transaction_session_timeout = 0";
            let mut live = self.pool.begin_with(begin).await?;
            let at = places(&mut live, &*self.projection).await?;
            let beside = self.beside(&mut live).await?;
            let is_further =
                beside.iter().any(|(place, offset)| at.get(place).copied().unwrap_or(0) < *offset);
            if !is_further {
                self.fill_to(&at, How::BehindTheLive).await?;
                return Ok(live);
            }
            live.rollback().await?;
            tokio::time::sleep(super::AFTER_ATTEMPT).await;
        }
        Err(Error::Unsettled)
    }

    async fn beside(&self, connection: &mut PgConnection) -> Result<super::Places, Error> {
        let found = generations::beside_offsets(connection, self.name()).await?;
        Ok(found
            .into_iter()
            .map(|(category, partition, offset)| ((category, partition), offset))
            .collect())
    }
}

/// Both in the sequence of their keys, so that neither is held in memory.
async fn tables(
    table: &str,
    live: &mut PgConnection,
    beside: &mut PgConnection,
    most: usize,
    compared: &mut Compared,
) -> Result<(), Error> {
    let key = generations::key_of(live, table).await?;
    let name = table.replace('"', "\"\"");
    let columns: Vec<String> =
        key.iter().map(|column| format!("t.\"{}\"", column.replace('"', "\"\""))).collect();
    let key = match columns.is_empty() {
        true => "to_jsonb(t)".to_owned(),
        false => format!("jsonb_build_array({})", columns.join(", ")),
    };
    let sql = format!(
        "SELECT key, row FROM (SELECT {key}::text AS key, to_jsonb(t)::text AS row \
         FROM \"{name}\" AS t) AS rows ORDER BY key COLLATE \"C\""
    );
    let (mut of_live, mut of_beside) = (rows(&sql, live), rows(&sql, beside));
    let (mut row, mut other) = (of_live.try_next().await?, of_beside.try_next().await?);
    loop {
        let order = match (&row, &other) {
            (Some((key, _)), Some((other, _))) => key.as_bytes().cmp(other.as_bytes()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return Ok(()),
        };
        let (has_live, has_beside) = (order != Ordering::Greater, order != Ordering::Less);
        let (one, two) = (row.as_ref().filter(|_| has_live), other.as_ref().filter(|_| has_beside));
        if one.map(|(_, row)| row) != two.map(|(_, row)| row) {
            compared.differ += 1;
            if compared.rows.len() < most {
                compared.rows.extend(difference(table, one, two));
            }
        }
        if has_live {
            compared.live += 1;
            row = of_live.try_next().await?;
        }
        if has_beside {
            compared.beside += 1;
            other = of_beside.try_next().await?;
        }
    }
}

type Text = (String, String);
type Texts<'a> = Pin<Box<dyn Stream<Item = Result<Text, sqlx::Error>> + Send + 'a>>;

fn rows<'a>(sql: &str, connection: &'a mut PgConnection) -> Texts<'a> {
    Box::pin(sqlx::query_as(AssertSqlSafe(sql.to_owned())).fetch(connection))
}

fn difference(table: &str, live: Option<&Text>, beside: Option<&Text>) -> Option<Difference> {
    let (key, _) = live.or(beside)?;
    let (one, two) = (live.map(object), beside.map(object));
    let of = one.as_ref().or(two.as_ref())?;
    let id = of.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
    let partition = of.get("partition").and_then(Value::as_u64);
    let columns = one.as_ref().zip(two.as_ref()).map(|(one, two)| {
        let differ = one.iter().filter(|(name, value)| two.get(*name) != Some(*value));
        let column = |(name, value): (&String, &Value)| Column {
            name: name.clone(),
            live: value.clone(),
            beside: two.get(name).cloned().unwrap_or(Value::Null),
        };
        differ.map(column).collect()
    });
    Some(Difference {
        table: table.to_owned(),
        key: key.clone(),
        id,
        partition: partition.and_then(|partition| u32::try_from(partition).ok()),
        columns,
        is_live: one.is_some(),
        is_beside: two.is_some(),
        since: None,
    })
}

fn object((_, row): &Text) -> Map<String, Value> {
    match serde_json::from_str(row) {
        Ok(Value::Object(columns)) => columns,
        _ => Map::new(),
    }
}
