//! Instances that send commands to each other. Every request gets the same answer at the owner of
//! its partition and at another instance; what has the address of an instance, and is none, is not
//! believed; and neither is what any process may write into the log.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

#[path = "../support/alike.rs"]
mod alike;
mod announcements;
mod cases;
#[path = "../support/counter.rs"]
mod counter;
#[path = "../../../../tests/support/documented.rs"]
mod documented;
#[path = "../support/instance.rs"]
mod instance;
#[path = "../support/raw.rs"]
mod raw;
mod requests;
mod schema;
mod strangers;
mod tallies;

use highwater_command::category::Category;

use cases::Cases;
use counter::Counters;
use instance::{Instance, Place};
use tallies::Tallies;

const CATEGORIES: [&str; 3] = [Cases::NAME, Counters::NAME, Tallies::NAME];

/// An instance with every category on `place`.
async fn instance(place: &Place, key_file: &str) -> Instance {
    let mut instance = Instance::new(place, key_file).await;
    instance.add(Cases, "cases");
    instance.add(Counters, "counters");
    // Its collection has the name of the category.
    instance.add(Tallies, "tally");
    instance
}
