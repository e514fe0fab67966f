//! `create`: a product comes into the catalog. Nothing about it can be wrong that its schema did
//! not refuse.

use events::product::{Create, Created};

pub fn decide(command: &Create) -> Created {
    let Create {
        name,
        department,
        unit_price_minor,
        currency,
        brand,
        category,
        description,
        package_size,
    } = command.clone();
    Created {
        name,
        department,
        unit_price_minor,
        currency,
        brand,
        category,
        description,
        package_size,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::*;

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
