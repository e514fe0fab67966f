//! The order's commands.

use std::time::Duration;

use highwater::prelude::*;

use super::{Customer, Lines};

/// How far a client's clock may be ahead of ours.
const MOST_AHEAD: Duration = Duration::from_secs(5 * 60);

#[derive(Command)]
pub enum OrderCommand {
    #[command(creates, check, codes("duplicate-line"), old(PlaceV1))]
    Place(Place),
    /// Confirms a placed order.
    #[command(codes("already-cancelled", "already-shipped"))]
    Confirm,
    /// Cancels an order that is not shipped.
    #[command(expects_version, codes("already-shipped"))]
    Cancel(Reason),
    #[command(expects_version, codes("already-cancelled", "already-shipped", "not-confirmed"))]
    Ship(Ship),
    /// Notes that a shipped order was delivered.
    #[command(codes("already-cancelled", "not-shipped"))]
    Deliver,
    /// Takes a delivered order back, up to 30 days after its delivery.
    #[command(expects_version, codes("already-cancelled", "not-delivered", "return-window-closed"))]
    Return(Reason),
}

/// Places an order, and confirms it at once where that is asked for: two events, or none of them.
#[derive(Data)]
pub struct Place {
    /// Who places it.
    pub customer_id: Id<Customer>,
    pub currency: Currency,
    pub lines: Lines,
    /// For imports: RFC 3339 in UTC, any past, at most five minutes ahead. Kept to the microsecond.
    pub placed_at: Option<Timestamp>,
    /// True: the shop confirms the order as it takes it, as of one that is paid already. Without it
    /// the order is confirmed by a command of its own.
    pub confirm: Option<bool>,
}

/// Places an order.
#[derive(Data)]
pub struct PlaceV1 {
    /// Who places it.
    pub customer_id: Id<Customer>,
    pub currency: Currency,
    pub lines: Lines,
    /// For imports: RFC 3339 in UTC, any past, at most five minutes ahead. Kept to the microsecond.
    pub placed_at: Option<Timestamp>,
}

impl From<PlaceV1> for Place {
    fn from(PlaceV1 { customer_id, currency, lines, placed_at }: PlaceV1) -> Self {
        Self { customer_id, currency, lines, placed_at, confirm: None }
    }
}

impl Place {
    fn check(&self, now: Timestamp) -> Result<(), Vec<FieldError>> {
        if self.placed_at.is_some_and(|at| at > now.after(MOST_AHEAD)) {
            return Err(vec![FieldError::new("/placed_at", "must be at most five minutes ahead")]);
        }
        Ok(())
    }
}

#[derive(Data)]
pub struct Reason {
    /// Not for personal data.
    pub reason: Text<500>,
}

/// Ships a confirmed order.
#[derive(Data)]
pub struct Ship {
    pub carrier: Option<Text<100>>,
    /// Not for personal data.
    pub tracking: Option<Text<100>>,
}
