//! The options of `store demo`.

use std::{path::PathBuf, time::Duration};

use reqwest::Url;

use super::source::Source;

pub(super) const BASKETS: &[u8] = include_bytes!("../../data/baskets-small.csv.gz");
pub(super) const PRODUCTS: &[u8] = include_bytes!("../../data/products.csv.gz");

/// Fill the store with real shopping baskets: products and stock first, then every basket as an
/// order.
///
/// Without files of your own it sends 2,000 baskets of a grocery, which are built in. Every command
/// has an Idempotency-Key that follows from the files: run it again, after a crash of either side
/// or just so, and nothing is there twice. CSV, gzip or plain, is read by column name: basket_id,
/// household_id, placed_at, product_id, quantity and unit_price_minor of baskets; product_id,
/// department, brand, product_category, product_type and package_size of products.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the store cannot be reached or \
                  takes no commands"
)]
pub struct Args {
    /// Where the store is
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", value_parser = base)]
    pub(super) url: Url,
    /// What was sold, a row a line of a basket, the rows of a basket together [default: 2,000
    /// baskets that are built in]
    #[arg(long, value_name = "FILE")]
    baskets: Option<PathBuf>,
    /// What the products are called [default: 24,410 products that are built in]
    #[arg(long, value_name = "FILE")]
    products: Option<PathBuf>,
    /// How many commands are under way at once
    #[arg(
        long,
        value_name = "N",
        default_value = "32",
        value_parser = clap::value_parser!(u16).range(1..=1024)
    )]
    pub(super) concurrency: u16,
    /// Place only the first so many baskets; products and stock are those of the whole file
    #[arg(long, value_name = "BASKETS")]
    pub(super) limit: Option<u64>,
    /// For how long a command is sent again while the store cannot be reached or refuses for the
    /// moment
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "60",
        value_parser = clap::value_parser!(u64).range(0..=86_400)
    )]
    patience: u64,
}

impl Args {
    pub(super) fn baskets(&self) -> Source {
        self.baskets
            .clone()
            .map_or(Source::BuiltIn { name: "baskets-small.csv.gz", bytes: BASKETS }, Source::File)
    }

    pub(super) fn products(&self) -> Source {
        self.products
            .clone()
            .map_or(Source::BuiltIn { name: "products.csv.gz", bytes: PRODUCTS }, Source::File)
    }

    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs(self.patience)
    }
}

fn base(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("it must begin with http:// or https:// and name a host".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it must have neither query nor fragment".to_owned());
    }
    let path = format!("{}/", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::base;

    #[test]
    fn a_base_url_keeps_its_path() {
        let joined = |url| {
            base(url)
                .and_then(|url| url.join("v1/orders").map_err(|error| error.to_string()))
                .map(String::from)
        };
        assert_eq!(
            joined("http://127.0.0.1:8080"),
            Ok("http://127.0.0.1:8080/v1/orders".to_owned())
        );
        assert_eq!(
            joined("https://shop.example/api/"),
            Ok("https://shop.example/api/v1/orders".to_owned())
        );
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        for text in [
            "127.0.0.1:8080",
            "localhost",
            "ftp://host/",
            "http://",
            "http://host/?a=b",
            "http://host/#a",
            "",
        ] {
            assert!(base(text).is_err(), "{text}");
        }
    }
}
