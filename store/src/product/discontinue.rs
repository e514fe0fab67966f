//! `discontinue`: a product leaves the catalog, for good.

use events::product::ProductEvent;
use highwater::prelude::*;

use super::{Product, Stage};

pub fn decide(product: &Product) -> Decision<Product> {
    match product.stage {
        Stage::Active => accept(ProductEvent::Discontinued),
        Stage::Discontinued => nothing(),
    }
}

#[cfg(test)]
mod tests {
    use crate::product::fixtures::*;

    #[test]
    fn a_product_is_discontinued() {
        given([created()]).when(discontinue()).then([discontinued()]);
    }

    #[test]
    fn discontinuing_twice_changes_nothing() {
        given([created(), discontinued()]).when(discontinue()).then_nothing();
    }
}
