//! What was done, as a table for people.

use std::fmt;

use super::baskets::Basket;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub(super) products: Count,
    pub(super) stock: Count,
    pub(super) created: Sum,
    pub(super) replayed: Sum,
}

/// Commands that did something now, and those that found it done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) created: u64,
    pub(super) there: u64,
}

/// Of orders. The sums of many files are no concern of JSON, and fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    baskets: u128,
    lines: u128,
    units: u128,
    total_minor: u128,
}

impl Summary {
    pub(super) fn placed(&mut self, basket: &Basket, replayed: bool) {
        let sum = if replayed { &mut self.replayed } else { &mut self.created };
        sum.baskets += 1;
        sum.lines += basket.lines.len() as u128;
        sum.units += u128::from(basket.units);
        sum.total_minor += u128::from(basket.total_minor);
    }
}

impl Count {
    pub(super) fn add(&mut self, there: bool) {
        *(if there { &mut self.there } else { &mut self.created }) += 1;
    }
}

impl std::ops::Add for Sum {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            baskets: self.baskets + other.baskets,
            lines: self.lines + other.lines,
            units: self.units + other.units,
            total_minor: self.total_minor + other.total_minor,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<10}{:>12}{:>16}", "", "created", "already there")?;
        for (name, Count { created, there }) in [("products", self.products), ("stock", self.stock)]
        {
            writeln!(f, "{name:<10}{created:>12}{there:>16}")?;
        }
        writeln!(
            f,
            "\n{:<10}{:>12}{:>12}{:>12}{:>16}",
            "baskets", "orders", "lines", "units", "minor units"
        )?;
        for (name, sum) in [
            ("created", self.created),
            ("replayed", self.replayed),
            ("total", self.created + self.replayed),
        ] {
            let Sum { baskets, lines, units, total_minor } = sum;
            writeln!(f, "{name:<10}{baskets:>12}{lines:>12}{units:>12}{total_minor:>16}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_created_and_what_was_there_add_up() {
        let basket = |units, total_minor| Basket {
            number: String::new(),
            household: String::new(),
            placed_at: chrono::DateTime::UNIX_EPOCH,
            lines: Vec::new(),
            units,
            total_minor,
            begins: 2,
        };
        let mut summary = Summary::default();
        [false, true, true].into_iter().for_each(|there| summary.products.add(there));
        summary.stock.add(false);
        summary.placed(&basket(3, 200), false);
        summary.placed(&basket(2, 199), true);
        summary.placed(&basket(1, 1), true);
        let said = [
            "               created   already there",
            "products             1               2",
            "stock                1               0",
            "",
            "baskets         orders       lines       units     minor units",
            "created              1           0           3             200",
            "replayed             2           0           3             200",
            "total                3           0           6             400",
        ];
        assert_eq!(summary.to_string().lines().collect::<Vec<_>>(), said);
    }
}
