//! `create`: a product comes into the catalog. Nothing about it can be wrong that its schema did not refuse.

use events::product::{Create, Created};

pub fn decide(command: &Create) -> Created {
    let Create { name, department, unit_price_minor, currency, brand, category, description, package_size } = command.clone();
    Created { name, department, unit_price_minor, currency, brand, category, description, package_size }
}
