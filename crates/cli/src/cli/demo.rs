//! `highwater demo`.

use std::io::{self, Write};

use super::{End, Error};
use crate::demo::{self, Args};

pub(super) async fn run(args: Args) -> Result<End, Error> {
    let summary = demo::run(args).await?;
    write!(io::stdout().lock(), "{summary}")?;
    Ok(End::Done)
}
