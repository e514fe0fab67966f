//! The lines of an order, and what is added up over them.

use std::ops::Deref;

use highwater::prelude::*;

use crate::product::ProductId;

pub const MOST_LINES: usize = 500;

#[derive(Data)]
pub struct Line {
    /// The product that was bought.
    pub product_id: ProductId,
    pub department: Text<100>,
    pub quantity: Quantity,
    /// Minor units of the order's currency.
    pub unit_price_minor: Money,
}

/// At least one line, with every sum over them within [`highwater::value::MAX`].
#[derive(Data)]
#[data(try_from)]
pub struct Lines(List<Line, MOST_LINES>);

/// One entry a department, by name.
pub type Departments = List<DepartmentSum, MOST_LINES>;

/// An order's lines in one department, added up.
#[derive(Data)]
pub struct DepartmentSum {
    pub department: Text<100>,
    #[data(max = 500)]
    pub lines: Quantity,
    pub units: Quantity,
    pub total_minor: Money,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sums of quantities and of amounts must be at most 2^53 - 1")]
pub struct Overflow;

impl Lines {
    pub fn units(&self) -> Quantity {
        let quantities = self.0.iter().map(|line| line.quantity);
        quantities.reduce(Quantity::saturating_plus).unwrap_or(Quantity::ONE)
    }

    pub fn total_minor(&self) -> Money {
        self.0.iter().map(Line::amount).fold(Money::ZERO, Money::saturating_plus)
    }

    pub fn by_department(&self) -> Departments {
        let first = |line: &Line| DepartmentSum {
            department: line.department.clone(),
            lines: Quantity::ONE,
            units: line.quantity,
            total_minor: line.amount(),
        };
        self.0.fold_by(
            |line| line.department.clone(),
            first,
            |sum, line| {
                sum.lines = sum.lines.saturating_plus(Quantity::ONE);
                sum.units = sum.units.saturating_plus(line.quantity);
                sum.total_minor = sum.total_minor.saturating_plus(line.amount());
            },
        )
    }
}

impl Line {
    /// Its bound is proven for a line of [`Lines`].
    fn amount(&self) -> Money {
        self.unit_price_minor.times(self.quantity).unwrap_or_default()
    }
}

impl TryFrom<List<Line, MOST_LINES>> for Lines {
    type Error = Overflow;

    fn try_from(lines: List<Line, MOST_LINES>) -> Result<Self, Overflow> {
        let units = |sum: Count, line: &Line| sum.plus(line.quantity);
        let amount =
            |sum: Money, line: &Line| sum.plus(line.unit_price_minor.times(line.quantity)?);
        lines.iter().try_fold(Count::ZERO, units).ok_or(Overflow)?;
        lines.iter().try_fold(Money::ZERO, amount).ok_or(Overflow)?;
        Ok(Self(lines))
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
    use highwater::value::MAX;

    use super::*;

    fn lines(lines: Vec<Line>) -> Result<Lines, Overflow> {
        List::try_from(lines).unwrap().try_into()
    }

    fn line(department: &str, quantity: i64, price: i64) -> Line {
        Line {
            product_id: "5c1a6f0e-4b7e-5a55-9d3f-0f6f6a1f2a01".try_into().unwrap(),
            department: Text::try_from(department).unwrap(),
            quantity: Quantity::try_from(quantity).unwrap(),
            unit_price_minor: Money::try_from(price).unwrap(),
        }
    }

    #[test]
    fn adds_up_by_department() {
        let sums =
            lines(vec![line("GROCERY", 2, 199), line("DRUG GM", 1, 5), line("GROCERY", 3, 100)])
                .unwrap();
        assert_eq!((sums.units().get(), sums.total_minor().get()), (6, 703));
        let sums = sums.by_department();
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
        assert!(lines(vec![line("A", 1, MAX)]).is_ok());
        assert!(lines(vec![line("A", MAX, 1)]).is_ok());
        assert_eq!(lines(vec![line("A", 2, MAX)]), Err(Overflow));
        assert_eq!(lines(vec![line("A", 1, MAX), line("B", 1, 1)]), Err(Overflow));
        assert_eq!(lines(vec![line("A", MAX, 0), line("B", 1, 0)]), Err(Overflow));
    }
}
