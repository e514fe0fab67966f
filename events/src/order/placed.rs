//! `order.placed` in its versions, and what is added up over an order's lines.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::DepartmentSum;
use crate::{
    currency::Currency,
    id::{CustomerId, ProductId},
    number::{Money, Quantity},
    text::Text,
    timestamp::Timestamp,
};

/// `order.placed.v2`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Placed {
    pub customer_id: CustomerId,
    pub currency: Currency,
    pub lines: Vec<Line>,
    pub total_minor: Money,
    pub units: Quantity,
    pub placed_at: Timestamp,
}

/// `order.placed.v1`: as v2, without the sum of the quantities.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PlacedV1 {
    pub customer_id: CustomerId,
    pub currency: Currency,
    pub lines: Vec<Line>,
    pub total_minor: Money,
    pub placed_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub product_id: ProductId,
    pub department: Text<100>,
    pub quantity: Quantity,
    pub unit_price_minor: Money,
}

impl PlacedV1 {
    /// `None` where no lines, or quantities above the bound, leave nothing to say for `units`.
    pub fn upcast(self) -> Option<Placed> {
        let units = units(&self.lines)?;
        let Self { customer_id, currency, lines, total_minor, placed_at } = self;
        Some(Placed { customer_id, currency, lines, total_minor, units, placed_at })
    }
}

/// `None` without lines, or above [`crate::number::MAX`].
pub fn units(lines: &[Line]) -> Option<Quantity> {
    let (first, rest) = lines.split_first()?;
    rest.iter().try_fold(first.quantity, |sum, line| sum.plus(line.quantity))
}

/// `None` above [`crate::number::MAX`].
pub fn total(lines: &[Line]) -> Option<Money> {
    lines.iter().try_fold(Money::ZERO, |sum, line| sum.plus(line.unit_price_minor.times(line.quantity)?))
}

/// One entry a department, by name. `None` above [`crate::number::MAX`].
pub fn by_department(lines: &[Line]) -> Option<Vec<DepartmentSum>> {
    let mut sums: BTreeMap<&Text<100>, DepartmentSum> = BTreeMap::new();
    for line in lines {
        let total_minor = line.unit_price_minor.times(line.quantity)?;
        match sums.get_mut(&line.department) {
            Some(sum) => {
                sum.lines = sum.lines.plus(Quantity::ONE)?;
                sum.units = sum.units.plus(line.quantity)?;
                sum.total_minor = sum.total_minor.plus(total_minor)?;
            }
            None => {
                let department = line.department.clone();
                let sum = DepartmentSum { department, lines: Quantity::ONE, units: line.quantity, total_minor };
                sums.insert(&line.department, sum);
            }
        }
    }
    Some(sums.into_values().collect())
}
