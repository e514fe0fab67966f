//! What a list of one's own is written with: `use highwater::list::*`.
//!
//! ```
//! use highwater::{list::*, uuid::Uuid};
//! # mod voucher {
//! # use highwater::prelude::*;
//! # #[derive(Data)] pub struct Issued { pub amount_minor: Money }
//! # #[derive(Event)] #[event(category = "voucher")]
//! # pub enum VoucherEvent { #[event("issued")] Issued(Issued) }
//! # #[derive(Command)] pub enum VoucherCommand {
//! #     /// Issues a voucher.
//! #     #[command(creates)] Issue(Issued)
//! # }
//! # #[derive(Rejection)] pub enum Refusal { #[rejection("gone", "it is gone")] Gone }
//! # #[derive(State)] #[state(format = 1)] pub struct Voucher { amount_minor: Money }
//! # impl Aggregate for Voucher {
//! #     type Command = VoucherCommand;
//! #     type Event = VoucherEvent;
//! #     type Rejection = Refusal;
//! #     fn decide(_: Option<&Self>, command: &VoucherCommand, _: &Context) -> Decision<Self> {
//! #         match command { VoucherCommand::Issue(issue) => accept(issue.clone()) }
//! #     }
//! #     fn evolve(_: Option<&Self>, event: &VoucherEvent) -> Result<Self, Unreadable> {
//! #         let VoucherEvent::Issued(issued) = event;
//! #         Ok(Self { amount_minor: issued.amount_minor })
//! #     }
//! # }
//! # #[derive(Row)] #[row(table = "vouchers")] pub struct VoucherRow { amount_minor: Money }
//! # impl Fold for VoucherRow {
//! #     type Of = Voucher;
//! #     fn fold(_: Option<Self>, event: &Recorded<VoucherEvent>) -> Result<Self, Unreadable> {
//! #         let VoucherEvent::Issued(issued) = &event.event;
//! #         Ok(Self { amount_minor: issued.amount_minor })
//! #     }
//! # }
//! # }
//! # use voucher::{Voucher, VoucherRow};
//!
//! /// `GET /v1/vouchers?of_at_least=500`
//! pub struct Vouchers {
//!     of_at_least: i64,
//! }
//!
//! impl List for Vouchers {
//!     type Row = Item<VoucherRow>;
//!     type Key = Uuid;
//!
//!     const PROJECTION: &'static str = VoucherRow::TABLE;
//!     const CATEGORY: &'static str = "voucher";
//!     const FILTERS: &'static [&'static str] = &["of_at_least"];
//!     const FIELDS: &'static [&'static str] = VoucherRow::FIELDS;
//!
//!     fn filtered(given: &Parameters) -> Result<Self, Problem> {
//!         Ok(Self { of_at_least: given.integer("of_at_least", 0, i64::MAX)?.unwrap_or(0) })
//!     }
//!
//!     fn select(&self, page: &Page<Uuid>, sql: &mut QueryBuilder<Postgres>) {
//!         sql.push("SELECT ").push(Self::Row::columns()).push(" FROM vouchers");
//!         sql.push(" WHERE amount_minor >= ").push_bind(self.of_at_least);
//!         if let Some(id) = page.after {
//!             sql.push(" AND id > ").push_bind(id);
//!         }
//!         sql.push(" ORDER BY id LIMIT ").push_bind(page.rows());
//!     }
//!
//!     fn key(&self, row: &Self::Row, _: &str) -> Uuid {
//!         row.id
//!     }
//! }
//! # highwater::App::new("shop").aggregate::<Voucher>("vouchers").row::<VoucherRow>()
//! #     .list::<Vouchers>("/v1/vouchers").build().expect("they go together");
//! ```

pub use highwater_http::problem::Problem;
pub use highwater_query::{
    list::{
        Combination, DEFAULT_LIMIT, LARGEST_LIMIT, List, MOST_IDS, Page, Parameters, SelectByIds,
        check_served,
    },
    rows::{Item, by_ids},
};
pub use sqlx::{Postgres, QueryBuilder};

pub use crate::Row;
