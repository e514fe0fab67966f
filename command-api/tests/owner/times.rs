//! A partition whose last event was dated by a clock that was far ahead.

use std::time::Duration;

use command_api::owner::actor::End;
use protocol::{time::Micros, writer::Limits};
use service::clock::{Clock, SystemClock};

use crate::{
    documented::Row,
    harness::{Owner, TestSnapshots, accepted, add, history, world},
};

const TWENTY_YEARS: Duration = Duration::from_secs(20 * 365 * 86_400);

#[tokio::test]
async fn a_partition_whose_last_event_is_of_the_future_is_served_only_when_that_is_accepted() {
    let world = world().await;
    let ahead = i64::try_from(TWENTY_YEARS.as_micros()).unwrap();
    let wrong = Owner::start(&world, world.log.clone(), TestSnapshots::default(), Limits::default());
    let mut command = add(1, 7, 1);
    command.at = Micros(SystemClock.now() + ahead);
    assert!(accepted(&wrong.ask(command).await).is_some());
    wrong.stop.cancel();
    wrong.ended().await;
    let fences = history(&world).await.fences;

    let end = Owner::start(&world, world.log.clone(), TestSnapshots::default(), Limits::default()).ended().await;
    let End::TimesAhead { ahead_ms, .. } = &end else { panic!("{end}") };
    let said = end.to_string();
    assert!(said.contains(&format!("owner.accept_ahead_ms = {ahead_ms}")) && said.contains("set the clock right"), "{said}");
    assert_eq!(history(&world).await.fences, fences, "whoever has the right clock finds no fence of this one");

    let accept = Duration::from_millis(u64::try_from(*ahead_ms).unwrap());
    let owner = Owner::accepting(&world, world.log.clone(), TestSnapshots::default(), Limits::default(), accept);
    assert_eq!(accepted(&owner.ask(add(2, 7, 1)).await).map(|(version, _)| version), Some(2));
    Row {
        id: "P10",
        situation: "the clock was 20 years ahead when the last event of a partition was written, and is right now",
        answer: "no fence is sent and the partition is not served: an error names the date, `/readyz` is `degraded` with `owner.times`; \
                 `owner.accept_ahead_ms` serves it with that date until the clock has come so far",
        test: (file!(), "a_partition_whose_last_event_is_of_the_future_is_served_only_when_that_is_accepted"),
    }
    .check();
}
