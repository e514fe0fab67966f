//! `describe`: everything about a product but its price.

use events::product::{Change, Describe, Described};

use super::{Product, Rejection, Stage};

pub fn decide(product: &Product, command: &Describe) -> Result<Option<Described>, Rejection> {
    if product.stage == Stage::Discontinued {
        return Err(Rejection::Discontinued);
    }
    let before: &Described = &product.description;
    let after = Described {
        name: command.name.as_ref().unwrap_or(&before.name).clone(),
        department: command.department.as_ref().unwrap_or(&before.department).clone(),
        brand: changed(&before.brand, &command.brand),
        category: changed(&before.category, &command.category),
        description: changed(&before.description, &command.description),
        package_size: changed(&before.package_size, &command.package_size),
    };
    Ok((after != *before).then_some(after))
}

fn changed<T: Clone>(before: &Option<T>, change: &Change<T>) -> Option<T> {
    match change {
        Change::Keep => before.clone(),
        Change::Clear => None,
        Change::Set(value) => Some(value.clone()),
    }
}
