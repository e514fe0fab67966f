//! What these tests show: vouchers, which are personal; books, which shared caches may keep; rooms,
//! whose list follows from their columns; and how many vouchers there are of each day. Nothing
//! projects them: tests write rows and checkpoints as a projector would.

mod books;
mod days;
mod rooms;
mod vouchers;

use highwater_query::{Views, rows::Detail};
use highwater_rows::{Cell, CellKind, ColumnSpec, UnfitCell};
use highwater_tables::{migrations::Application, rows::Table};
use sqlx::migrate::Migrator;

use books::{BookList, BookRow, Books};
use days::DayList;
use rooms::{RoomList, RoomRow, Rooms};
use vouchers::{VoucherList, VoucherRow, Vouchers};

pub use books::MOST_FOUND;

static TABLES: Migrator = sqlx::migrate!("tests/views/tables");

pub fn views() -> Views {
    Views::default()
        .of(vec!["voucher", "book", "room"], tables())
        .resource::<Detail<Vouchers>>("/v1/vouchers/{id}")
        .list::<VoucherList>("/v1/vouchers")
        .resource::<Detail<Books>>("/v1/books/{id}")
        .list::<BookList>("/v1/books")
        .resource::<Detail<Rooms>>("/v1/rooms/{id}")
        .list::<RoomList>("/v1/rooms")
        .list::<DayList>("/v1/days")
}

pub fn tables() -> Application {
    let rows = vec![Table::of::<VoucherRow>(), Table::of::<BookRow>(), Table::of::<RoomRow>()];
    Application { name: "shown", migrations: TABLES.iter().cloned().collect(), rows }
}

const fn column(name: &'static str, kind: CellKind) -> ColumnSpec {
    ColumnSpec { name, kind, nullable: false, choices: &[] }
}

/// The rows here are types without a value: what is shown is read as cells.
fn no_value<R>(_: Vec<Cell>) -> Result<R, UnfitCell> {
    Err(UnfitCell { column: "id".to_owned(), why: "no test makes one".to_owned() })
}
