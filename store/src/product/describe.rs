//! `describe`: everything about a product but its price.

use events::product::{Describe, Described};
use highwater::prelude::*;

use super::Product;

pub fn decide(product: &Product, command: &Describe) -> Decision<Product> {
    product.still_active()?;
    let before = &*product.description;
    let after = Described {
        name: command.name.as_ref().unwrap_or(&before.name).clone(),
        department: command.department.as_ref().unwrap_or(&before.department).clone(),
        brand: command.brand.apply(&before.brand),
        category: command.category.apply(&before.category),
        description: command.description.apply(&before.description),
        package_size: command.package_size.apply(&before.package_size),
    };
    if after == *before { nothing() } else { accept(after) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::product::fixtures::*;

    #[test]
    fn what_is_named_changes_and_the_rest_stays() {
        let describe = describe(json!({ "name": "Brown bread", "category": "BREAD" }));
        given([created()]).when(describe).then([described(
            "Brown bread",
            Some("Private"),
            Some("BREAD"),
        )]);
    }

    #[test]
    fn null_clears() {
        given([created()]).when(describe(json!({ "brand": null }))).then([described(
            "White bread",
            None,
            None,
        )]);
    }

    #[test]
    fn it_builds_on_the_description_before() {
        let before = [created(), described("Brown bread", None, None)];
        given(before).when(describe(json!({ "category": "BREAD" }))).then([described(
            "Brown bread",
            None,
            Some("BREAD"),
        )]);
    }

    #[test]
    fn without_a_difference_nothing_changes() {
        for body in [
            json!({}),
            json!({ "name": "White bread", "brand": "Private" }),
            json!({ "category": null }),
        ] {
            given([created()]).when(describe(body)).then_nothing();
        }
    }

    #[test]
    fn a_discontinued_product_is_not_described() {
        for body in [json!({}), json!({ "name": "Brown bread" })] {
            given([created(), discontinued()])
                .when(describe(body))
                .then_rejected("product.discontinued");
        }
    }
}
