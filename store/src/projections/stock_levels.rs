//! `stock_levels`: one row a product that ever had stock, with what its last event left behind.

use events::stock::StockEvent;
use futures_util::future::BoxFuture;
use highwater::Event as _;
use highwater_protocol::{domain::Unreadable, entry::EventBody, wire::Wire};
use uuid::Uuid;

use highwater_projection::{
    rows::{self, Row},
    runner::{Failure, PostgresTx, Projection, Slice},
};

pub struct StockLevels;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Level {
    id: Uuid,
    partition: i32,
    version: i64,
    on_hand: i64,
    reserved: i64,
}

impl Projection<PostgresTx> for StockLevels {
    fn name(&self) -> &'static str {
        "stock_levels"
    }

    fn categories(&self) -> &[&'static str] {
        &["stock"]
    }

    fn apply<'a>(
        &'a self,
        tx: &'a mut PostgresTx,
        slices: &'a [Slice<'a>],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let stored = load(tx, &rows::touched(slices)).await?;
            store(tx, rows::collapse(stored, slices)?).await
        })
    }
}

impl Row for Level {
    fn id(&self) -> Uuid {
        self.id
    }

    fn version(&self) -> i64 {
        self.version
    }

    /// Every event says what it left behind.
    fn evolve(
        _: Option<Self>,
        event: &EventBody<Wire>,
        version: i64,
        partition: i32,
    ) -> Result<Self, Unreadable> {
        let levels = StockEvent::decode(&event.event)?.levels();
        Ok(Self {
            id: event.origin.aggregate,
            partition,
            version,
            on_hand: levels.on_hand.get(),
            reserved: levels.reserved.get(),
        })
    }
}

async fn load(tx: &mut PostgresTx, ids: &[Uuid]) -> Result<Vec<Level>, Failure> {
    let rows = sqlx::query_as!(
        Level,
        "SELECT id, partition, version, on_hand, reserved FROM stock_levels WHERE id = ANY($1)",
        ids
    );
    Ok(rows.fetch_all(&mut **tx).await?)
}

async fn store(tx: &mut PostgresTx, rows: Vec<Level>) -> Result<(), Failure> {
    sqlx::query!(
        "INSERT INTO stock_levels (id, partition, version, on_hand, reserved)
         SELECT * FROM UNNEST($1::uuid[], $2::int[], $3::bigint[], $4::bigint[], $5::bigint[])
         ON CONFLICT (id) DO UPDATE
         SET version = excluded.version, on_hand = excluded.on_hand, reserved = excluded.reserved
         WHERE stock_levels.version < excluded.version",
        &rows.iter().map(|row| row.id).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.partition).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.version).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.on_hand).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.reserved).collect::<Vec<_>>(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
