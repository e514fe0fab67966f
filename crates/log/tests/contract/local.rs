//! The suite on `LocalLog`.

use std::sync::Arc;

use highwater_log::{LocalLog, local::Settings};

use crate::fixture::{Fixture, Folder};

async fn local() -> Fixture {
    let folder = Folder::new();
    let log = LocalLog::open(folder.path().join("log"), Settings::default()).unwrap();
    Fixture::new(Arc::new(log), folder).await
}

crate::contract!(local());
