//! The product's commands.

use highwater_protocol::time::Micros;
use serde_json::Value;

use crate::{
    body::{Change, Fields},
    currency::Currency,
    id::ChosenId,
    invalid::Invalid,
    number::Money,
    text::Text,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    Create(Create),
    Describe(Describe),
    SetPrice(SetPrice),
    Discontinue,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Create {
    pub name: Text<200>,
    pub department: Text<100>,
    pub unit_price_minor: Money,
    pub currency: Currency,
    pub brand: Option<Text<100>>,
    pub category: Option<Text<100>>,
    pub description: Option<Text<4000>>,
    pub package_size: Option<Text<100>>,
}

/// A partial change: what is not named stays.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Describe {
    pub name: Option<Text<200>>,
    pub department: Option<Text<100>>,
    pub brand: Change<Text<100>>,
    pub category: Change<Text<100>>,
    pub description: Change<Text<4000>>,
    pub package_size: Change<Text<100>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SetPrice {
    pub unit_price_minor: Money,
    pub currency: Currency,
}

impl Command {
    /// Reads a body that passed the command's schema; any other body is refused as well. No product
    /// command looks at `now`. An `id` in the body of `create` is checked and left to the caller,
    /// who chose the aggregate by it.
    pub fn parse(
        name: &str,
        version: u32,
        body: &Value,
        _now: Micros,
    ) -> Result<Command, Vec<Invalid>> {
        match (name, version) {
            ("create", 1) => Fields::read(body, create).map(Command::Create),
            ("describe", 1) => Fields::read(body, describe).map(Command::Describe),
            ("set-price", 1) => Fields::read(body, set_price).map(Command::SetPrice),
            ("discontinue", 1) => Fields::read(body, |_| Some(Command::Discontinue)),
            _ => Err(Invalid::unknown("product", name, version)),
        }
    }
}

fn create(fields: &mut Fields<'_>) -> Option<Create> {
    let id = fields.optional::<ChosenId>("id");
    let (name, department) = (fields.required("name"), fields.required("department"));
    let (unit_price_minor, currency) =
        (fields.required("unit_price_minor"), fields.required("currency"));
    let (brand, category) = (fields.optional("brand"), fields.optional("category"));
    let (description, package_size) =
        (fields.optional("description"), fields.optional("package_size"));
    id?;
    Some(Create {
        name: name?,
        department: department?,
        unit_price_minor: unit_price_minor?,
        currency: currency?,
        brand: brand?,
        category: category?,
        description: description?,
        package_size: package_size?,
    })
}

fn describe(fields: &mut Fields<'_>) -> Option<Describe> {
    let (name, department) = (fields.optional("name"), fields.optional("department"));
    let (brand, category) = (fields.change("brand"), fields.change("category"));
    let (description, package_size) = (fields.change("description"), fields.change("package_size"));
    Some(Describe {
        name: name?,
        department: department?,
        brand: brand?,
        category: category?,
        description: description?,
        package_size: package_size?,
    })
}

fn set_price(fields: &mut Fields<'_>) -> Option<SetPrice> {
    let (unit_price_minor, currency) =
        (fields.required("unit_price_minor"), fields.required("currency"));
    Some(SetPrice { unit_price_minor: unit_price_minor?, currency: currency? })
}
