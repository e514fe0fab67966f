//! What an order has come to, as far as decisions ask.

use std::sync::Arc;

use events::{
    order::{DepartmentSum, OrderEvent, Placed},
    timestamp::Timestamp,
};
use highwater_protocol::domain::Unreadable;
use serde::{Deserialize, Serialize};

/// Cheap to clone: the writer keeps one for each commit in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    pub stage: Stage,
    pub placed_at: Timestamp,
    /// What a cancellation takes back.
    pub departments: Departments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Placed,
    Confirmed,
    Shipped,
    Delivered { delivered_at: Timestamp },
    Returned,
    Cancelled,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(from = "Vec<DepartmentSum>", into = "Vec<DepartmentSum>")]
pub struct Departments(Arc<[DepartmentSum]>);

impl From<Vec<DepartmentSum>> for Departments {
    fn from(sums: Vec<DepartmentSum>) -> Self {
        Self(sums.into())
    }
}

impl From<Departments> for Vec<DepartmentSum> {
    fn from(departments: Departments) -> Self {
        departments.0.to_vec()
    }
}

impl Order {
    pub fn placed(event: &Placed) -> Self {
        Self {
            stage: Stage::Placed,
            placed_at: event.placed_at,
            departments: event.lines.by_department().into(),
        }
    }

    /// The event is a fact, whatever this release would have decided.
    pub fn after(&self, event: &OrderEvent) -> Self {
        let stage = match event {
            OrderEvent::Placed(event) => return Self::placed(event),
            OrderEvent::Confirmed(_) => Stage::Confirmed,
            OrderEvent::Cancelled(_) => Stage::Cancelled,
            OrderEvent::Shipped(_) => Stage::Shipped,
            OrderEvent::Delivered(event) => Stage::Delivered { delivered_at: event.delivered_at },
            OrderEvent::Returned(_) => Stage::Returned,
        };
        Self { stage, ..self.clone() }
    }
}

/// Applies an event read from the log. An order begins with `order.placed`, and only once.
pub fn evolve(order: Option<&Order>, event: &OrderEvent) -> Result<Order, Unreadable> {
    let why = match (order, event) {
        (None, OrderEvent::Placed(event)) => return Ok(Order::placed(event)),
        (Some(_), OrderEvent::Placed(_)) => "the order was placed before",
        (Some(order), event) => return Ok(order.after(event)),
        (None, _) => "there is no order before it",
    };
    Err(Unreadable::Malformed { what: event.encode().schema.into_owned(), why: why.to_owned() })
}
