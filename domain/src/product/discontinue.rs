//! `discontinue`: a product leaves the catalog, for good.

use events::product::Discontinued;

use super::{Product, Stage};

pub fn decide(product: &Product) -> Option<Discontinued> {
    (product.stage == Stage::Active).then_some(Discontinued {})
}
