//! The first pass over both files, before anything is sent: what each product was sold for at
//! first, how much of it is sold in all, what it is called; and whether every row can be sent.
//! Holds something for each product that is sold, and 16 bytes for each basket.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::{
    Error,
    baskets::{Basket, Baskets, MAX},
    identity,
    source::Source,
};

/// What the whole file sells.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Survey {
    pub(super) digest: String,
    pub(super) baskets: u64,
    /// In the sequence in which they are first sold.
    pub(super) products: Vec<Product>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Product {
    pub(super) number: String,
    pub(super) unit_price_minor: u64,
    pub(super) units: u64,
    pub(super) listing: Option<Listing>,
}

/// What the file of products says of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) department: Option<String>,
    pub(super) brand: Option<String>,
    pub(super) category: Option<String>,
    pub(super) name: Option<String>,
    pub(super) package_size: Option<String>,
}

#[derive(Deserialize)]
struct ProductRecord {
    product_id: String,
    department: Option<String>,
    brand: Option<String>,
    product_category: Option<String>,
    product_type: Option<String>,
    package_size: Option<String>,
}

#[derive(Default)]
struct ProductIndex {
    products: Vec<Product>,
    /// Where in `products` a number is.
    places: HashMap<String, usize>,
}

impl Survey {
    pub(super) fn of(baskets: &Source, products: &Source) -> Result<Self, Error> {
        let mut sold = ProductIndex::default();
        let mut seen = HashSet::new();
        let mut reader = Baskets::of(baskets)?;
        while let Some(basket) = reader.next()? {
            if !seen.insert(identity::order(&basket.number)) {
                let what = format!(
                    "basket {} was there before: the lines of a basket must stand together",
                    basket.number
                );
                return Err(reader.refused(basket.begins, what));
            }
            sold.add(&basket).map_err(|what| reader.refused(basket.begins, what))?;
        }
        sold.list(products)?;
        Ok(Self { digest: reader.digest(), baskets: seen.len() as u64, products: sold.products })
    }
}

impl ProductIndex {
    fn add(&mut self, basket: &Basket) -> Result<(), String> {
        for line in &basket.lines {
            let Some(product) =
                self.places.get(&line.product).and_then(|place| self.products.get_mut(*place))
            else {
                self.places.insert(line.product.clone(), self.products.len());
                let (number, unit_price_minor) = (line.product.clone(), line.unit_price_minor);
                self.products.push(Product {
                    number,
                    unit_price_minor,
                    units: line.quantity,
                    listing: None,
                });
                continue;
            };
            let units = product.units.checked_add(line.quantity).filter(|units| *units <= MAX);
            product.units = units.ok_or_else(|| {
                format!("of product {} more than {MAX} units are sold", line.product)
            })?;
        }
        Ok(())
    }

    fn list(&mut self, source: &Source) -> Result<(), Error> {
        let mut rows = source.rows::<ProductRecord>()?;
        while let Some(row) = rows.next()? {
            let (line, listed) = (row.line, row.row);
            let place = self.places.get(&listed.product_id);
            let Some(product) = place.and_then(|place| self.products.get_mut(*place)) else {
                continue;
            };
            if product.listing.replace(listed.into()).is_some() {
                let what = format!("product {} was listed before", product.number);
                return Err(Error::Row { file: rows.file().to_owned(), line, what });
            }
        }
        Ok(())
    }
}

impl From<ProductRecord> for Listing {
    fn from(listed: ProductRecord) -> Self {
        let ProductRecord {
            product_id: _,
            department,
            brand,
            product_category: category,
            product_type: name,
            package_size,
        } = listed;
        Self { department, brand, category, name, package_size }
    }
}

#[cfg(test)]
mod tests;
