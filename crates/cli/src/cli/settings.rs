//! The settings of a subcommand: those that every process has, from the file and the environment;
//! flags win.

use std::{path::Path, str::FromStr};

use highwater_runtime::{
    config::{self, Config},
    process,
};
use serde::de::DeserializeOwned;
use sqlx::postgres::PgConnectOptions;

use super::Error;

/// The data folder, where none is named.
pub(super) const DEFAULT_DATA: &str = "data";

/// `file`: that of `--config`.
pub(super) fn load(file: Option<&Path>, flags: Vec<(String, String)>) -> Result<Config, Error> {
    let default = Path::new(process::DEFAULT_FILE);
    let file = file.or_else(|| default.exists().then_some(default));
    let config = Config::load(file, flags).map_err(|error| unusable(&error))?;
    config.refuse_unknown(&process::SECTIONS).map_err(|error| unusable(&error))?;
    Ok(config)
}

pub(super) fn section<T: DeserializeOwned + Default>(
    config: &Config,
    name: &str,
) -> Result<T, Error> {
    config.section(name).map_err(|error| unusable(&error))
}

pub(super) fn unusable(error: &config::Error) -> Error {
    Error::Usage(process::chain(error))
}

/// A database without its user and password, and what names it.
pub(super) fn shown(url: &str, by: &str) -> String {
    match PgConnectOptions::from_str(url) {
        Ok(options) => {
            format!(
                "the database {} at {}:{} ({by})",
                options.get_database().unwrap_or_default(),
                options.get_host(),
                options.get_port()
            )
        }
        Err(_) => format!("the database of {by}"),
    }
}
