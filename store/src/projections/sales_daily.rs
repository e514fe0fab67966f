//! `sales_daily`: what was sold, by UTC day and department, from `order.placed` and
//! `order.cancelled` alone. Sums cannot tell whether an event is in them already, so they rest on
//! the checkpoint: a partition that begins at zero begins without rows.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate};
use events::order::{DepartmentSum, OrderEvent};
use futures_util::future::BoxFuture;
use highwater::protocol::{domain::Unreadable, entry::EventBody, wire::Wire};
use highwater::{Event as _, Timestamp};

use highwater::projection::runner::{
    Failure, PostgresTx, Projection, Slice, Start, TopicPartition,
};
use highwater::tables::checkpoints;

const NAME: &str = "sales_daily";

/// The department of the row that is a day as a whole. No department has this name: they are never
/// empty.
const WHOLE_DAY: &str = "";

pub struct SalesDaily;

/// Which row. Rows are locked in this sequence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    day: NaiveDate,
    department: String,
    partition: i32,
}

/// What a batch adds to a row; below zero where it takes more back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    orders: i64,
    lines: i64,
    units: i128,
    total_minor: i128,
}

impl Projection<PostgresTx> for SalesDaily {
    fn name(&self) -> &'static str {
        NAME
    }

    fn categories(&self) -> &[&'static str] {
        &["order"]
    }

    fn apply<'a>(
        &'a self,
        tx: &'a mut PostgresTx,
        slices: &'a [Slice<'a>],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let sums = add_up(slices)?;
            if sums.is_empty() { Ok(()) } else { store(tx, sums).await }
        })
    }

    fn resume<'a>(
        &'a self,
        tx: &'a mut PostgresTx,
        topic_partition: &'a TopicPartition,
    ) -> BoxFuture<'a, Result<Start, Failure>> {
        Box::pin(begin_without_rows(tx, topic_partition))
    }
}

fn add_up(slices: &[Slice<'_>]) -> Result<BTreeMap<Key, Sum>, Failure> {
    let mut sums = BTreeMap::new();
    for slice in slices {
        let partition = number(slice.topic_partition.partition)?;
        for (_, event) in slice.events() {
            add(&mut sums, event, partition)?;
        }
    }
    Ok(sums)
}

/// Every other event changes nothing here, but has to be one that this release knows.
fn add(
    sums: &mut BTreeMap<Key, Sum>,
    event: &EventBody<Wire>,
    partition: i32,
) -> Result<(), Unreadable> {
    let (sign, placed_at, departments) = match OrderEvent::decode(&event.event)? {
        OrderEvent::Placed(placed) => (1, placed.placed_at, placed.lines.by_department()),
        OrderEvent::Cancelled(cancelled) => (-1, cancelled.placed_at, cancelled.departments),
        OrderEvent::Confirmed(_)
        | OrderEvent::Shipped(_)
        | OrderEvent::Delivered(_)
        | OrderEvent::Returned(_) => return Ok(()),
    };
    let day = day_of(placed_at)?;
    let mut add_to = |department: &str, sum: Sum| {
        let row: &mut Sum =
            sums.entry(Key { day, department: department.to_owned(), partition }).or_default();
        *row = row.plus(sum);
    };
    let mut whole = Sum::default();
    for department in &departments {
        let sum = Sum::of(department, sign);
        add_to(&department.department, sum);
        whole = whole.plus(sum);
    }
    add_to(WHOLE_DAY, Sum { orders: sign, ..whole });
    Ok(())
}

fn day_of(placed_at: Timestamp) -> Result<NaiveDate, Unreadable> {
    let time = DateTime::from_timestamp_micros(placed_at.micros());
    let time = time.ok_or_else(|| Unreadable::Malformed {
        what: "placed_at".to_owned(),
        why: "is no time".to_owned(),
    })?;
    Ok(time.date_naive())
}

impl Sum {
    fn of(department: &DepartmentSum, sign: i64) -> Self {
        Self {
            orders: sign,
            lines: sign * department.lines.get(),
            units: i128::from(sign * department.units.get()),
            total_minor: i128::from(sign * department.total_minor.get()),
        }
    }

    /// Counts are far from their bound, whatever an event says.
    fn plus(self, other: Self) -> Self {
        Self {
            orders: self.orders.saturating_add(other.orders),
            lines: self.lines.saturating_add(other.lines),
            units: self.units + other.units,
            total_minor: self.total_minor + other.total_minor,
        }
    }
}

/// With the checkpoint locked, so that no other transaction adds meanwhile.
async fn begin_without_rows(
    tx: &mut PostgresTx,
    topic_partition: &TopicPartition,
) -> Result<Start, Failure> {
    let partition = number(topic_partition.partition)?;
    sqlx::query!(
        "INSERT INTO checkpoints (projection, generation, category, partition, next_offset, epoch, \
         next_seq, drained, sealed)
         VALUES ($1, $2, $3, $4, 0, 0, 0, 0, false)
         ON CONFLICT DO NOTHING",
        NAME,
        checkpoints::GENERATION,
        &*topic_partition.category,
        partition,
    )
    .execute(&mut **tx)
    .await?;
    let next_offset = sqlx::query_scalar!(
        "SELECT next_offset FROM checkpoints WHERE (projection, generation, category, partition) = \
         ($1, $2, $3, $4) FOR UPDATE",
        NAME,
        checkpoints::GENERATION,
        &*topic_partition.category,
        partition,
    )
    .fetch_one(&mut **tx)
    .await?;
    if next_offset == 0 {
        sqlx::query!("DELETE FROM sales_daily WHERE partition = $1", partition)
            .execute(&mut **tx)
            .await?;
    }
    Ok(Start::AtCheckpoint)
}

async fn store(tx: &mut PostgresTx, sums: BTreeMap<Key, Sum>) -> Result<(), Failure> {
    let (keys, sums): (Vec<Key>, Vec<Sum>) = sums.into_iter().unzip();
    sqlx::query!(
        "INSERT INTO sales_daily (day, department, partition, orders, lines, units, total_minor)
         SELECT day, department, partition, orders, lines, units::numeric, total_minor::numeric
         FROM UNNEST($1::date[], $2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::text[], \
         $7::text[])
              AS added(day, department, partition, orders, lines, units, total_minor)
         ON CONFLICT (day, department, partition) DO UPDATE
         SET orders = sales_daily.orders + excluded.orders, lines = sales_daily.lines + \
         excluded.lines,
             units = sales_daily.units + excluded.units, total_minor = sales_daily.total_minor + \
             excluded.total_minor",
        &keys.iter().map(|key| key.day).collect::<Vec<_>>(),
        &keys.iter().map(|key| key.department.clone()).collect::<Vec<_>>(),
        &keys.iter().map(|key| key.partition).collect::<Vec<_>>(),
        &sums.iter().map(|sum| sum.orders).collect::<Vec<_>>(),
        &sums.iter().map(|sum| sum.lines).collect::<Vec<_>>(),
        &sums.iter().map(|sum| sum.units.to_string()).collect::<Vec<_>>(),
        &sums.iter().map(|sum| sum.total_minor.to_string()).collect::<Vec<_>>(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn number(partition: u32) -> Result<i32, Failure> {
    i32::try_from(partition).map_err(|error| Failure::Deterministic(error.to_string()))
}
