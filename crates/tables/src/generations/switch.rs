//! The exchange of the live tables with those beside them.
//!
//! Projectors move the live checkpoints by compare and swap, and lock them before they touch a
//! table. The switch locks them first as well, then the tables: a projector that waits meanwhile
//! finds the checkpoints of the tables that are live then, and either goes on from them, because
//! they are where it left them, or loses, and reads again. So no release of a projector has to know
//! of switches.

use sqlx::PgConnection;

use super::{
    Beside, Error,
    beside::{check_form, execute, is_there},
    quoted, schema,
};
use crate::{
    checkpoints::{BESIDE, GENERATION},
    postgres::SCHEMA,
};

/// Checkpoints that are named at most.
const SHOWN: usize = 5;

/// A partition on which the generation beside the live one lacks something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    pub category: String,
    pub partition: i32,
    pub live: i64,
    pub beside: i64,
}

pub(super) fn shown(behind: &[Behind]) -> String {
    let named = behind.iter().take(SHOWN).map(|one| {
        let Behind { category, partition, live, beside } = one;
        format!("{category}/{partition} ({beside} of {live})")
    });
    let named = named.collect::<Vec<_>>().join(", ");
    match behind.len().saturating_sub(SHOWN) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// Where the live generation stands on each partition that it has been on: no projector moves it
/// there until the transaction ends.
pub async fn lock_live(
    connection: &mut PgConnection,
    projection: &str,
) -> Result<Vec<(String, u32, u64)>, Error> {
    let rows = sqlx::query!(
        "SELECT category, partition, next_offset FROM checkpoints
         WHERE projection = $1 AND generation = $2
         ORDER BY category, partition
         FOR UPDATE",
        projection,
        GENERATION,
    )
    .fetch_all(connection)
    .await?;
    let places = rows
        .into_iter()
        .map(|row| (row.category, row.partition.unsigned_abs(), row.next_offset.unsigned_abs()));
    Ok(places.collect())
}

/// Locks both sets of checkpoints until the transaction ends. Where the generation beside the live
/// one is behind.
async fn lock(connection: &mut PgConnection, projection: &str) -> Result<Vec<Behind>, Error> {
    for (has, lacks) in [(GENERATION, BESIDE), (BESIDE, GENERATION)] {
        sqlx::query!(
            "INSERT INTO checkpoints (projection, generation, category, partition, next_offset, \
             epoch, next_seq, drained, sealed)
             SELECT projection, $3, category, partition, 0, 0, 0, 0, false FROM checkpoints
             WHERE projection = $1 AND generation = $2
             ORDER BY category, partition
             ON CONFLICT DO NOTHING",
            projection,
            has,
            lacks,
        )
        .execute(&mut *connection)
        .await?;
    }
    lock_live(connection, projection).await?;
    sqlx::query!(
        "SELECT next_offset FROM checkpoints
         WHERE projection = $1 AND generation = $2
         ORDER BY category, partition
         FOR UPDATE",
        projection,
        BESIDE,
    )
    .fetch_all(&mut *connection)
    .await?;
    // A statement of its own: it sees what was committed while the locks were waited for.
    let behind = sqlx::query_as!(
        Behind,
        "SELECT l.category, l.partition, l.next_offset AS live, b.next_offset AS beside
         FROM checkpoints l
         JOIN checkpoints b ON (b.projection, b.category, b.partition)
                               = (l.projection, l.category, l.partition)
         WHERE l.projection = $1 AND l.generation = $2 AND b.generation = $3
           AND b.next_offset < l.next_offset
         ORDER BY l.category, l.partition",
        projection,
        GENERATION,
        BESIDE,
    )
    .fetch_all(connection)
    .await?;
    Ok(behind)
}

/// Exchanges the live tables with those beside them, if these have everything that the live ones
/// have; `from` says what must lie there. In one transaction, which may have begun with
/// [`lock_live`]. The number of what is shown then.
pub async fn switch(
    connection: &mut PgConnection,
    projection: &str,
    tables: &[&str],
    from: Beside,
) -> Result<i32, Error> {
    is_there(connection, projection, from).await?;
    let behind = lock(connection, projection).await?;
    if !behind.is_empty() {
        return Err(Error::Behind(behind));
    }
    check_log(connection, projection).await?;
    let parked = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM parked_aggregates
           WHERE projection = $1 AND generation = $2"#,
        projection,
        BESIDE,
    )
    .fetch_one(&mut *connection)
    .await?;
    if parked > 0 {
        return Err(Error::Parked(parked));
    }
    check_form(connection, projection, tables).await?;
    exchange_tables(connection, projection, tables).await?;
    exchange_checkpoints(connection, projection).await?;
    let beside = match from {
        Beside::Next => "previous",
        Beside::Previous => "next",
    };
    sqlx::query!("UPDATE generations SET beside = $2 WHERE projection = $1", projection, beside)
        .execute(&mut *connection)
        .await?;
    Ok(super::renumber(connection, projection).await?)
}

async fn check_log(connection: &mut PgConnection, projection: &str) -> Result<(), Error> {
    let others = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM checkpoints l
           JOIN checkpoints b ON (b.projection, b.category, b.partition)
                                 = (l.projection, l.category, l.partition)
           WHERE l.projection = $1 AND l.generation = $2 AND b.generation = $3
             AND l.identity <> b.identity"#,
        projection,
        GENERATION,
        BESIDE,
    )
    .fetch_one(connection)
    .await?;
    if others == 0 { Ok(()) } else { Err(Error::OtherLog) }
}

async fn exchange_tables(
    connection: &mut PgConnection,
    projection: &str,
    tables: &[&str],
) -> Result<(), Error> {
    let beside = schema(projection)?;
    // Names of tables and indexes are the same on both sides.
    let between = quoted(&format!("highwater_switch_{projection}"));
    execute(connection, format!("CREATE SCHEMA {between}")).await?;
    for table in tables {
        let name = quoted(table);
        for (from, to) in [(SCHEMA, &*between), (&*beside, SCHEMA), (&*between, &*beside)] {
            execute(connection, format!("ALTER TABLE {from}.{name} SET SCHEMA {to}")).await?;
        }
    }
    execute(connection, format!("DROP SCHEMA {between}")).await?;
    Ok(())
}

/// Their positions change places, and their keys stay: a projector that waits for one of them finds
/// it.
async fn exchange_checkpoints(
    connection: &mut PgConnection,
    projection: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE checkpoints c
         SET identity = o.identity, next_offset = o.next_offset, epoch = o.epoch,
             writer = o.writer, next_seq = o.next_seq, drained = o.drained, sealed = o.sealed,
             last_time_us = o.last_time_us, witness_offset = o.witness_offset,
             witness_epoch = o.witness_epoch, witness_writer = o.witness_writer,
             witness_seq = o.witness_seq
         FROM checkpoints o
         WHERE c.projection = $1
           AND (o.projection, o.category, o.partition) = (c.projection, c.category, c.partition)
           AND ((c.generation = $2 AND o.generation = $3)
                OR (c.generation = $3 AND o.generation = $2))",
        projection,
        GENERATION,
        BESIDE,
    )
    .execute(&mut *connection)
    .await?;
    // The other one has nothing parked.
    sqlx::query!(
        "UPDATE parked_aggregates SET generation = $3 WHERE projection = $1 AND generation = $2",
        projection,
        GENERATION,
        BESIDE,
    )
    .execute(connection)
    .await?;
    Ok(())
}
