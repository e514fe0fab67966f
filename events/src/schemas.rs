//! The JSON Schemas of `schemas/`, embedded, so that a binary and its contracts cannot differ.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Event,
    Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Schema {
    /// The file's name without `.json`: `order.placed.v2`, `order.place.v1`.
    pub stem: &'static str,
    pub kind: Kind,
    /// JSON Schema 2020-12.
    pub text: &'static str,
}

pub fn events() -> impl Iterator<Item = &'static Schema> {
    ALL.iter().filter(|schema| schema.kind == Kind::Event)
}

pub fn commands() -> impl Iterator<Item = &'static Schema> {
    ALL.iter().filter(|schema| schema.kind == Kind::Command)
}

pub fn find(stem: &str) -> Option<&'static Schema> {
    ALL.iter().find(|schema| schema.stem == stem)
}

macro_rules! schema {
    ($kind:ident, $folder:literal, $stem:literal) => {
        Schema {
            stem: $stem,
            kind: Kind::$kind,
            text: include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../schemas/",
                $folder,
                "/",
                $stem,
                ".json"
            )),
        }
    };
}

static ALL: &[Schema] = &[
    schema!(Event, "events", "order.cancelled.v1"),
    schema!(Event, "events", "order.confirmed.v1"),
    schema!(Event, "events", "order.delivered.v1"),
    schema!(Event, "events", "order.placed.v1"),
    schema!(Event, "events", "order.placed.v2"),
    schema!(Event, "events", "order.returned.v1"),
    schema!(Event, "events", "order.shipped.v1"),
    schema!(Event, "events", "product.created.v1"),
    schema!(Event, "events", "product.described.v1"),
    schema!(Event, "events", "product.discontinued.v1"),
    schema!(Event, "events", "product.price-set.v1"),
    schema!(Event, "events", "stock.adjusted.v1"),
    schema!(Event, "events", "stock.received.v1"),
    schema!(Event, "events", "stock.released.v1"),
    schema!(Event, "events", "stock.reserved.v1"),
    schema!(Event, "events", "stock.shipped.v1"),
    schema!(Command, "commands", "order.cancel.v1"),
    schema!(Command, "commands", "order.confirm.v1"),
    schema!(Command, "commands", "order.deliver.v1"),
    schema!(Command, "commands", "order.place.v1"),
    schema!(Command, "commands", "order.place.v2"),
    schema!(Command, "commands", "order.return.v1"),
    schema!(Command, "commands", "order.ship.v1"),
    schema!(Command, "commands", "product.create.v1"),
    schema!(Command, "commands", "product.describe.v1"),
    schema!(Command, "commands", "product.discontinue.v1"),
    schema!(Command, "commands", "product.set-price.v1"),
    schema!(Command, "commands", "stock.adjust.v1"),
    schema!(Command, "commands", "stock.receive.v1"),
    schema!(Command, "commands", "stock.release.v1"),
    schema!(Command, "commands", "stock.reserve.v1"),
    schema!(Command, "commands", "stock.ship.v1"),
];
