//! `discontinue`: a product leaves the catalog, for good.

use events::product::Discontinued;

use super::{Product, Stage};

pub fn decide(product: &Product) -> Option<Discontinued> {
    (product.stage == Stage::Active).then_some(Discontinued {})
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::*;

    #[test]
    fn a_product_is_discontinued() {
        given([created()]).when(discontinue()).then([discontinued()]);
    }

    #[test]
    fn discontinuing_twice_changes_nothing() {
        given([created(), discontinued()]).when(discontinue()).then_nothing();
    }
}
