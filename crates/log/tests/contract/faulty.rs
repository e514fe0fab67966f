//! The suite on `FaultyLog` over `LocalLog`: without faults, and with delays, which promise the
//! same.

use std::{sync::Arc, time::Duration};

use highwater_log::{FaultyLog, LocalLog, faulty::Faults, local::Settings};

use crate::fixture::{Fixture, Folder};

async fn faulty(faults: Faults) -> Fixture {
    let folder = Folder::new();
    let log = LocalLog::open(folder.path().join("log"), Settings::default()).unwrap();
    Fixture::new(Arc::new(FaultyLog::new(Arc::new(log), 1, faults).unwrap()), folder).await
}

mod without_faults {
    crate::contract!(super::faulty(super::Faults::default()));
}

mod with_delays {
    use super::{Duration, Faults};

    crate::contract!(super::faulty(Faults {
        delayed: 20,
        reported_late: 20,
        delay_up_to: Duration::from_millis(3),
        ..Faults::default()
    }));
}
