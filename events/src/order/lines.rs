//! The lines of an order, and what is added up over them.

use std::{collections::BTreeMap, ops::Deref};

use serde::{Deserialize, Serialize};

use super::DepartmentSum;
use crate::{
    id::ProductId,
    number::{Money, Quantity},
    text::Text,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub product_id: ProductId,
    pub department: Text<100>,
    pub quantity: Quantity,
    pub unit_price_minor: Money,
}

/// At least one line, with every sum over them within [`crate::number::MAX`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(try_from = "Vec<Line>", into = "Vec<Line>")]
pub struct Lines(Vec<Line>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("must have at least one line")]
    Empty,
    #[error("the sums of quantities and of amounts must be at most 2^53 - 1")]
    Overflow,
}

impl Lines {
    pub fn units(&self) -> Quantity {
        self.0
            .iter()
            .skip(1)
            .fold(self.0[0].quantity, |sum, line| sum.saturating_plus(line.quantity))
    }

    pub fn total_minor(&self) -> Money {
        self.0.iter().fold(Money::ZERO, |sum, line| sum.saturating_plus(line.amount()))
    }

    /// One entry a department, by name.
    pub fn by_department(&self) -> Vec<DepartmentSum> {
        let mut sums: BTreeMap<&Text<100>, DepartmentSum> = BTreeMap::new();
        for line in &self.0 {
            let first = || DepartmentSum {
                department: line.department.clone(),
                lines: Quantity::ONE,
                units: line.quantity,
                total_minor: line.amount(),
            };
            let add = |sum: &mut DepartmentSum| {
                sum.lines = sum.lines.saturating_plus(Quantity::ONE);
                sum.units = sum.units.saturating_plus(line.quantity);
                sum.total_minor = sum.total_minor.saturating_plus(line.amount());
            };
            sums.entry(&line.department).and_modify(add).or_insert_with(first);
        }
        sums.into_values().collect()
    }
}

impl Line {
    /// Its bound is proven for a line of [`Lines`].
    fn amount(&self) -> Money {
        self.unit_price_minor.times(self.quantity).unwrap_or_default()
    }
}

impl TryFrom<Vec<Line>> for Lines {
    type Error = Unfit;

    fn try_from(lines: Vec<Line>) -> Result<Self, Unfit> {
        let (first, rest) = lines.split_first().ok_or(Unfit::Empty)?;
        rest.iter()
            .try_fold(first.quantity, |sum, line| sum.plus(line.quantity))
            .ok_or(Unfit::Overflow)?;
        let add = |sum: Money, line: &Line| sum.plus(line.unit_price_minor.times(line.quantity)?);
        lines.iter().try_fold(Money::ZERO, add).ok_or(Unfit::Overflow)?;
        Ok(Self(lines))
    }
}

impl From<Lines> for Vec<Line> {
    fn from(lines: Lines) -> Vec<Line> {
        lines.0
    }
}

impl Deref for Lines {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::number::MAX;

    fn line(department: &str, quantity: i64, price: i64) -> Line {
        Line {
            product_id: ProductId(Uuid::nil()),
            department: Text::try_from(department).unwrap(),
            quantity: Quantity::try_from(quantity).unwrap(),
            unit_price_minor: Money::try_from(price).unwrap(),
        }
    }

    #[test]
    fn adds_up_by_department() {
        let lines = Lines::try_from(vec![
            line("GROCERY", 2, 199),
            line("DRUG GM", 1, 5),
            line("GROCERY", 3, 100),
        ])
        .unwrap();
        assert_eq!((lines.units().get(), lines.total_minor().get()), (6, 703));
        let sums = lines.by_department();
        let sums: Vec<_> = sums
            .iter()
            .map(|sum| {
                (
                    sum.department.to_string(),
                    sum.lines.get(),
                    sum.units.get(),
                    sum.total_minor.get(),
                )
            })
            .collect();
        assert_eq!(sums, [("DRUG GM".to_owned(), 1, 1, 5), ("GROCERY".to_owned(), 2, 5, 698)]);
    }

    #[test]
    fn keeps_every_sum_within_the_bound() {
        assert!(Lines::try_from(vec![line("A", 1, MAX)]).is_ok());
        assert!(Lines::try_from(vec![line("A", MAX, 1)]).is_ok());
        assert_eq!(Lines::try_from(vec![]), Err(Unfit::Empty));
        assert_eq!(Lines::try_from(vec![line("A", 2, MAX)]), Err(Unfit::Overflow));
        assert_eq!(Lines::try_from(vec![line("A", 1, MAX), line("B", 1, 1)]), Err(Unfit::Overflow));
        assert_eq!(Lines::try_from(vec![line("A", MAX, 0), line("B", 1, 0)]), Err(Unfit::Overflow));
    }
}
