//! `set-price`: another price, in the same currency.

use events::product::{PriceSet, SetPrice};
use highwater::prelude::*;

use super::{Product, ProductRejection};

pub fn decide(product: &Product, command: &SetPrice) -> Decision<Product> {
    product.still_active()?;
    let SetPrice { unit_price_minor, currency } = *command;
    if currency != product.currency {
        return reject(ProductRejection::CurrencyMismatch(product.currency, currency));
    }
    let previous_unit_price_minor = product.unit_price_minor;
    if unit_price_minor == previous_unit_price_minor {
        return nothing();
    }
    accept(PriceSet { unit_price_minor, currency, previous_unit_price_minor })
}

#[cfg(test)]
mod tests {
    use crate::product::fixtures::*;

    #[test]
    fn a_price_changes_and_says_what_it_was() {
        given([created()]).when(set_price(299, "USD")).then([price_set(299, 249)]);
    }

    #[test]
    fn the_previous_price_is_the_last_one() {
        given([created(), price_set(299, 249)]).when(set_price(0, "USD")).then([price_set(0, 299)]);
    }

    #[test]
    fn the_same_price_changes_nothing() {
        given([created()]).when(set_price(249, "USD")).then_nothing();
    }

    #[test]
    fn a_product_keeps_its_currency() {
        for price in [249, 299] {
            given([created()])
                .when(set_price(price, "EUR"))
                .then_rejected("product.currency-mismatch");
        }
    }

    #[test]
    fn a_discontinued_product_keeps_its_price() {
        given([created(), discontinued()])
            .when(set_price(299, "USD"))
            .then_rejected("product.discontinued");
    }
}
