//! The tables of vouchers, holders and counters, and what projects them: a row for each of them,
//! and sums by day, kept for each partition.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::BoxFuture;
use highwater_projection::{
    Projections,
    builtin::aggregates::{Aggregates, Category},
    runner::{Failure, PostgresTx, Projection, Slice, Start, TopicPartition},
    table::{Folding, Table},
};
use highwater_protocol::{domain::Unreadable, entry::EventBody, wire::Wire};
use highwater_rows::{Cell, Column, ColumnSpec, Row, UnfitCell, of_cell};
use highwater_tables::{
    checkpoints,
    migrations::{Application, migrate},
    rows,
};
use sqlx::{
    PgPool, SqlStr,
    migrate::{Migration, MigrationType},
    postgres::PgConnectOptions,
};
use uuid::Uuid;

use crate::{
    domain::{Event, Said},
    world,
};

const TABLES: [&str; 4] = ["vouchers", "worth_daily", "holders", "counters"];

const MIGRATION: &str = "
    CREATE TABLE vouchers (
        id uuid PRIMARY KEY,
        partition integer NOT NULL,
        version bigint NOT NULL CHECK (version > 0),
        status text NOT NULL,
        kind text NOT NULL,
        worth bigint NOT NULL,
        holder uuid
    );
    CREATE TABLE holders (
        id uuid PRIMARY KEY,
        partition integer NOT NULL,
        version bigint NOT NULL CHECK (version > 0),
        name text NOT NULL,
        has_left boolean NOT NULL
    );
    CREATE TABLE counters (
        id uuid PRIMARY KEY,
        partition integer NOT NULL,
        version bigint NOT NULL CHECK (version > 0),
        count bigint NOT NULL
    );
    CREATE TABLE worth_daily (
        day text NOT NULL,
        kind text NOT NULL,
        partition integer NOT NULL,
        vouchers bigint NOT NULL,
        worth bigint NOT NULL,
        PRIMARY KEY (day, kind, partition)
    )";

pub fn projections() -> Projections {
    let aggregates = ["voucher", "holder", "counter"]
        .map(|name| Box::new(Category { name, domain: Said }) as Box<dyn Aggregates>);
    let own: [Arc<dyn Projection<PostgresTx>>; 4] = [
        Arc::new(Table::<VoucherRow>::new()),
        Arc::new(WorthDaily),
        Arc::new(Table::<HolderRow>::new()),
        Arc::new(Table::<CounterRow>::new()),
    ];
    Projections::new(aggregates.into(), own.into(), application())
}

pub fn application() -> Application {
    let sql = SqlStr::from_static(MIGRATION);
    Application {
        name: "vouchers",
        migrations: vec![Migration::new(1, "tables".into(), MigrationType::Simple, sql, false)],
        rows: vec![
            rows::Table::of::<VoucherRow>(),
            rows::Table::of::<HolderRow>(),
            rows::Table::of::<CounterRow>(),
        ],
    }
}

/// A database of its own with all tables.
pub async fn tables(test: &str) -> PgPool {
    tables_with(crate::postgres::database(test).await).await
}

pub async fn tables_with(options: PgConnectOptions) -> PgPool {
    let pool = PgPool::connect_with(options).await.expect("a connection");
    migrate(&pool, Some(&application())).await.expect("the tables");
    pool
}

pub async fn dump(pool: &PgPool) -> String {
    world::dump(pool, &TABLES).await
}

const fn column<T: Column>(name: &'static str) -> ColumnSpec {
    ColumnSpec { name, kind: T::KIND, nullable: T::NULLABLE, choices: T::CHOICES }
}

/// What `#[derive(Row)]` makes of it.
macro_rules! row {
    ($row:ident in $table:literal { $($field:ident: $kind:ty),* }) => {
        #[derive(Clone, Debug)]
        struct $row {
            $($field: $kind),*
        }

        impl Row for $row {
            const TABLE: &'static str = $table;
            const COLUMNS: &'static [ColumnSpec] = &[$(column::<$kind>(stringify!($field))),*];
            const FIELDS: &'static [&'static str] = &["id", "version", $(stringify!($field)),*];
            const FILTERS: &'static [&'static str] = &[];
            const SORTS: &'static [&'static str] = &[];

            fn cells(&self) -> Vec<Cell> {
                vec![$(self.$field.cell()),*]
            }

            fn from_cells(cells: Vec<Cell>) -> Result<Self, UnfitCell> {
                let mut cells = cells.into_iter();
                Ok(Self { $($field: of_cell(cells.next(), stringify!($field))?),* })
            }
        }
    };
}

row!(VoucherRow in "vouchers" { status: String, kind: String, worth: i64, holder: Option<Uuid> });
row!(HolderRow in "holders" { name: String, has_left: bool });
row!(CounterRow in "counters" { count: i64 });

impl Folding for VoucherRow {
    type Row = Self;

    const CATEGORY: &'static str = "voucher";

    fn fold(row: Option<Self>, body: &EventBody<Wire>, _: u32) -> Result<Self, Unreadable> {
        Ok(match (row, Event::decode(&body.event)?) {
            (None, Event::Issued(issued)) => Self {
                status: "issued".to_owned(),
                kind: issued.kind,
                worth: issued.worth,
                holder: None,
            },
            (Some(row), Event::GivenAway(given)) => Self { holder: Some(given.to), ..row },
            (Some(row), Event::Redeemed) => Self { status: "redeemed".to_owned(), ..row },
            (Some(row), Event::Withdrawn(_)) => Self { status: "withdrawn".to_owned(), ..row },
            _ => return Err(unexpected(body)),
        })
    }
}

impl Folding for HolderRow {
    type Row = Self;

    const CATEGORY: &'static str = "holder";

    fn fold(row: Option<Self>, body: &EventBody<Wire>, _: u32) -> Result<Self, Unreadable> {
        Ok(match (row, Event::decode(&body.event)?) {
            (None, Event::Registered(named)) => Self { name: named.name, has_left: false },
            (Some(row), Event::Renamed(named)) => Self { name: named.name, ..row },
            (Some(row), Event::Left) => Self { has_left: true, ..row },
            _ => return Err(unexpected(body)),
        })
    }
}

impl Folding for CounterRow {
    type Row = Self;

    const CATEGORY: &'static str = "counter";

    fn fold(_: Option<Self>, body: &EventBody<Wire>, _: u32) -> Result<Self, Unreadable> {
        match Event::decode(&body.event)? {
            Event::Counted(counted) => Ok(Self { count: counted.count }),
            _ => Err(unexpected(body)),
        }
    }
}

fn unexpected(body: &EventBody<Wire>) -> Unreadable {
    let (what, why) = (body.event.event_type.to_string(), "does not come here".to_owned());
    Unreadable::Malformed { what, why }
}

/// What was issued and not withdrawn, by day and kind. Sums cannot tell whether an event is in them
/// already: a partition that begins at zero begins without rows.
struct WorthDaily;

impl Projection<PostgresTx> for WorthDaily {
    fn name(&self) -> &'static str {
        "worth_daily"
    }

    fn categories(&self) -> &[&'static str] {
        &["voucher"]
    }

    fn apply<'a>(
        &'a self,
        tx: &'a mut PostgresTx,
        slices: &'a [Slice<'a>],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move { store(tx, add_up(slices)?).await })
    }

    fn resume<'a>(
        &'a self,
        tx: &'a mut PostgresTx,
        topic_partition: &'a TopicPartition,
    ) -> BoxFuture<'a, Result<Start, Failure>> {
        Box::pin(begin_without_rows(tx, topic_partition))
    }
}

/// Vouchers and worth by day, kind and partition.
type Sums = BTreeMap<(String, String, i32), (i64, i64)>;

fn add_up(slices: &[Slice<'_>]) -> Result<Sums, Failure> {
    let mut sums = Sums::new();
    for slice in slices {
        for (_, body) in slice.events() {
            let (sign, issued) = match Event::decode(&body.event)? {
                Event::Issued(issued) => (1, issued),
                Event::Withdrawn(issued) => (-1, issued),
                _ => continue,
            };
            let key = (issued.day, issued.kind, number(slice.topic_partition));
            let (vouchers, worth) = sums.entry(key).or_default();
            *vouchers += sign;
            *worth += sign * issued.worth;
        }
    }
    Ok(sums)
}

/// Row by row, in the sequence of their keys.
async fn store(tx: &mut PostgresTx, sums: Sums) -> Result<(), Failure> {
    for ((day, kind, partition), (vouchers, worth)) in sums {
        sqlx::query(
            "INSERT INTO worth_daily AS stored (day, kind, partition, vouchers, worth)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (day, kind, partition) DO UPDATE
             SET vouchers = stored.vouchers + excluded.vouchers,
                 worth = stored.worth + excluded.worth",
        )
        .bind(day)
        .bind(kind)
        .bind(partition)
        .bind(vouchers)
        .bind(worth)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// With the checkpoint locked, so that no other transaction adds meanwhile.
async fn begin_without_rows(
    tx: &mut PostgresTx,
    topic_partition: &TopicPartition,
) -> Result<Start, Failure> {
    let partition = number(topic_partition);
    sqlx::query(
        "INSERT INTO checkpoints (projection, generation, category, partition, next_offset, epoch, \
         next_seq, drained, sealed)
         VALUES ('worth_daily', $1, $2, $3, 0, 0, 0, 0, false)
         ON CONFLICT DO NOTHING",
    )
    .bind(checkpoints::GENERATION)
    .bind(&*topic_partition.category)
    .bind(partition)
    .execute(&mut **tx)
    .await?;
    let next_offset: i64 = sqlx::query_scalar(
        "SELECT next_offset FROM checkpoints WHERE (projection, generation, category, partition) = \
         ('worth_daily', $1, $2, $3) FOR UPDATE",
    )
    .bind(checkpoints::GENERATION)
    .bind(&*topic_partition.category)
    .bind(partition)
    .fetch_one(&mut **tx)
    .await?;
    if next_offset == 0 {
        sqlx::query("DELETE FROM worth_daily WHERE partition = $1")
            .bind(partition)
            .execute(&mut **tx)
            .await?;
    }
    Ok(Start::AtCheckpoint)
}

fn number(topic_partition: &TopicPartition) -> i32 {
    i32::try_from(topic_partition.partition).expect("few")
}
