//! The store's own words, for people who try it, and real shopping baskets to fill it with. Speaks
//! to the store over HTTP alone, as every client does.
//!
//! Everything that is sent has an id and an `Idempotency-Key` that follow from the files
//! (`identity`), so that a second run, or one after a crash of either side, finds its own work and
//! changes nothing.
//!
//! | module | what it owns |
//! |---|---|
//! | `subcommand` | `store demo`: its end and its exit code |
//! | `args` | the options of `store demo` |
//! | `identity` | ids and keys |
//! | `source` | a file, or what is built in: opened, unpacked, read by column name |
//! | `baskets` | rows become baskets |
//! | `survey` | the first pass: what the whole file sells, and whether it can be sent at all |
//! | `command` | what is sent |
//! | `client` | sending it until it is answered |
//! | `load` | products, stock, then every basket |
//! | `progress`, `summary` | what a person sees meanwhile and at the end |

mod args;
mod baskets;
mod client;
mod command;
mod error;
mod identity;
mod load;
mod progress;
mod source;
mod subcommand;
mod summary;
mod survey;

pub use args::Args;
pub use error::Error;
pub use load::run;
pub use subcommand::Demo;
pub use summary::Summary;

/// A first command, as a line for a shell.
pub fn first_command(url: &str) -> String {
    let body = concat!(
        r#"{"name":"Espresso beans","department":"GROCERY","#,
        r#""unit_price_minor":1250,"currency":"EUR"}"#
    );
    format!(
        "curl -i {url}/v1/products -H 'Content-Type: application/json' -H 'Idempotency-Key: first' \
         -d '{body}'"
    )
}
