//! `create`: a product comes into the catalog.

use events::product::Created;
use highwater::prelude::*;

use super::Product;

pub fn decide(command: &Created) -> Decision<Product> {
    accept(command.clone())
}

#[cfg(test)]
mod tests {
    use crate::product::fixtures::*;

    #[test]
    fn a_product_is_created() {
        given([]).when(create()).then([created()]);
    }

    #[test]
    fn a_product_is_created_once() {
        given([created()]).when(create()).then_rejected("product.already-exists");
    }

    #[test]
    fn a_discontinued_product_is_not_created_again() {
        given([created(), discontinued()]).when(create()).then_rejected("product.already-exists");
    }
}
