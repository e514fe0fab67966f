//! The product: what its records and its requests say.

use highwater::prelude::*;

pub type ProductId = Id<ProductEvent>;

#[derive(Event)]
#[event(category = "product")]
pub enum ProductEvent {
    /// A product came into the catalog.
    #[event("created")]
    Created(Created),
    #[event("described")]
    Described(Described),
    #[event("price-set")]
    PriceSet(PriceSet),
    /// A product left the catalog.
    #[event("discontinued")]
    Discontinued,
}

#[derive(Command)]
pub enum ProductCommand {
    /// Brings a product into the catalog.
    #[command(creates)]
    Create(Created),
    #[command(codes("discontinued"))]
    Describe(Describe),
    #[command(codes("currency-mismatch", "discontinued"))]
    SetPrice(SetPrice),
    /// Takes a product out of the catalog.
    Discontinue,
}

/// What a product begins with: nothing about it can be wrong that its schema does not refuse.
#[derive(Data)]
pub struct Created {
    pub name: Text<200>,
    pub department: Text<100>,
    /// Minor units of the currency.
    pub unit_price_minor: Money,
    pub currency: Currency,
    pub brand: Option<Text<100>>,
    pub category: Option<Text<100>>,
    pub description: Option<Text<4000>>,
    pub package_size: Option<Text<100>>,
}

/// A product's description changed; this is all of it, as it is from now on.
#[derive(Data)]
pub struct Described {
    pub name: Text<200>,
    pub department: Text<100>,
    pub brand: Option<Text<100>>,
    pub category: Option<Text<100>>,
    pub description: Option<Text<4000>>,
    pub package_size: Option<Text<100>>,
}

/// A product's price changed.
#[derive(Data)]
pub struct PriceSet {
    /// Minor units of the currency.
    pub unit_price_minor: Money,
    pub currency: Currency,
    pub previous_unit_price_minor: Money,
}

/// Changes a product's description; null clears an optional field, an absent one stays.
#[derive(Data)]
pub struct Describe {
    pub name: Option<Text<200>>,
    pub department: Option<Text<100>>,
    pub brand: Change<Text<100>>,
    pub category: Change<Text<100>>,
    pub description: Change<Text<4000>>,
    pub package_size: Change<Text<100>>,
}

/// Changes a product's price, in the currency that it has.
#[derive(Copy, Data)]
pub struct SetPrice {
    /// Minor units of the currency.
    pub unit_price_minor: Money,
    pub currency: Currency,
}
