//! The order's commands.

use highwater_protocol::time::Micros;
use serde_json::Value;

use super::{Line, Lines};
use crate::{
    body::Fields,
    currency::Currency,
    id::{ChosenId, CustomerId},
    invalid::Invalid,
    text::Text,
    timestamp::Timestamp,
};

pub const MOST_LINES: usize = 500;
/// How far a client's clock may be ahead of ours.
const MOST_AHEAD_MICROS: i64 = 5 * 60 * 1_000_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    Place(Place),
    Confirm,
    Cancel(Cancel),
    Ship(Ship),
    Deliver,
    Return(Return),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub customer_id: CustomerId,
    pub currency: Currency,
    pub lines: Lines,
    /// For imports; without it the time of the decision counts.
    pub placed_at: Option<Timestamp>,
    /// Placed and confirmed in one commit. From version 2 on.
    pub confirm: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cancel {
    pub reason: Text<500>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ship {
    pub carrier: Option<Text<100>>,
    pub tracking: Option<Text<100>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Return {
    pub reason: Text<500>,
}

impl Command {
    /// Reads a body that passed the command's schema; any other body is refused as well. `now`
    /// bounds `placed_at`. An `id` in the body of `place` is checked and left to the caller, who
    /// chose the aggregate by it.
    pub fn parse(
        name: &str,
        version: u32,
        body: &Value,
        now: Micros,
    ) -> Result<Command, Vec<Invalid>> {
        match (name, version) {
            ("place", 1) => Fields::read(body, |fields| place(fields, now)).map(Command::Place),
            ("place", 2) => Fields::read(body, |fields| place_v2(fields, now)).map(Command::Place),
            ("confirm", 1) => Fields::read(body, |_| Some(Command::Confirm)),
            ("cancel", 1) => {
                Fields::read(body, |fields| Some(Cancel { reason: fields.required("reason")? }))
                    .map(Command::Cancel)
            }
            ("ship", 1) => Fields::read(body, ship).map(Command::Ship),
            ("deliver", 1) => Fields::read(body, |_| Some(Command::Deliver)),
            ("return", 1) => {
                Fields::read(body, |fields| Some(Return { reason: fields.required("reason")? }))
                    .map(Command::Return)
            }
            _ => Err(Invalid::unknown("order", name, version)),
        }
    }
}

fn place(fields: &mut Fields<'_>, now: Micros) -> Option<Place> {
    let id = fields.optional::<ChosenId>("id");
    let customer_id = fields.required("customer_id");
    let currency = fields.required("currency");
    let lines = fields.list("lines", MOST_LINES, line).map(Lines::try_from);
    let placed_at = fields.optional::<Timestamp>("placed_at");
    if let Some(Err(unfit)) = &lines {
        fields.refuse("lines", unfit.to_string());
    }
    if placed_at.flatten().is_some_and(|at| at.micros() > now.0.saturating_add(MOST_AHEAD_MICROS)) {
        fields.refuse("placed_at", "must be at most five minutes ahead");
    }
    id?;
    Some(Place {
        customer_id: customer_id?,
        currency: currency?,
        lines: lines?.ok()?,
        placed_at: placed_at?,
        confirm: false,
    })
}

fn place_v2(fields: &mut Fields<'_>, now: Micros) -> Option<Place> {
    let (place, confirm) = (place(fields, now), fields.optional("confirm"));
    Some(Place { confirm: confirm?.unwrap_or(false), ..place? })
}

fn line(fields: &mut Fields<'_>) -> Option<Line> {
    let (product_id, department) = (fields.required("product_id"), fields.required("department"));
    let (quantity, unit_price_minor) =
        (fields.required("quantity"), fields.required("unit_price_minor"));
    Some(Line {
        product_id: product_id?,
        department: department?,
        quantity: quantity?,
        unit_price_minor: unit_price_minor?,
    })
}

fn ship(fields: &mut Fields<'_>) -> Option<Ship> {
    let (carrier, tracking) = (fields.optional("carrier"), fields.optional("tracking"));
    Some(Ship { carrier: carrier?, tracking: tracking? })
}
