//! A partition whose last event was dated by a clock that was far ahead.

use std::{sync::Arc, time::Duration};

use highwater_command::owner::{Delivery, actor::End, supervise::Assignable};
use highwater_protocol::{
    time::Micros,
    writer::{Limits, Submission},
};
use highwater_runtime::clock::{Clock, ManualClock, SystemClock};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    documented::Row,
    harness::{Owner, SOON, TestSnapshots, accepted, add, history, soon, world},
    moves::{Instance, until},
};

const MINUTE: Duration = Duration::from_secs(60);
const TWENTY_YEARS: Duration = Duration::from_secs(20 * 365 * 86_400);

#[tokio::test]
async fn a_partition_whose_last_event_is_of_the_future_is_served_only_when_that_is_accepted() {
    let world = world().await;
    let ahead = i64::try_from(TWENTY_YEARS.as_micros()).unwrap();
    let ahead = Arc::new(ManualClock::at(SystemClock.now() + ahead));
    // No check held it against the log's clock.
    let wrong = Owner::by_clock(&world, ahead.clone(), 2 * TWENTY_YEARS);
    let mut command = add(1, 7, 1);
    command.at = Micros(ahead.now());
    assert!(accepted(&wrong.ask(command).await).is_some());
    wrong.stop.cancel();
    wrong.ended().await;
    let fences = history(&world).await.fences;

    let end = Owner::start(&world, world.log.clone(), TestSnapshots::default(), Limits::default())
        .ended()
        .await;
    let End::TimesAhead { ahead_ms, .. } = &end else { panic!("{end}") };
    let said = end.to_string();
    assert!(
        said.contains(&format!("owner.accept_ahead_ms = {ahead_ms}"))
            && said.contains("set the clock right"),
        "{said}"
    );
    assert_eq!(
        history(&world).await.fences,
        fences,
        "an owner with the right clock finds no fence of this one"
    );

    let instance = Instance::start(&world, Duration::ZERO, Duration::ZERO).await;
    assert_eq!(instance.statuses.times(), Ok(()));
    instance.supervisors.assign(0);
    until("health names the partition", || {
        instance.statuses.times().is_err_and(|said| said.ends_with(": counter/0"))
    })
    .await;
    instance.supervisors.release(0).await;
    assert_eq!(instance.statuses.times(), Ok(()));

    let accept = Duration::from_millis(u64::try_from(*ahead_ms).unwrap());
    let owner = Owner::accepting(
        &world,
        world.log.clone(),
        TestSnapshots::default(),
        Limits::default(),
        accept,
    );
    assert_eq!(accepted(&owner.ask(add(2, 7, 1)).await).map(|(version, _)| version), Some(2));
    Row {
        id: "P10",
        situation: "the clock was 20 years ahead when the last event of a partition was written, \
                    and is right now",
        answer: "no fence is sent and the partition is not served: an error names the date, \
                 `/readyz` is `degraded` with `owner.times`; \
                 `owner.accept_ahead_ms` serves it with that date until the clock has come so far",
        test: (
            file!(),
            "a_partition_whose_last_event_is_of_the_future_is_served_only_when_that_is_accepted",
        ),
    }
    .check();
}

#[tokio::test]
async fn a_clock_that_steps_ahead_dates_no_event_before_another_fence() {
    let world = world().await;
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let owner = Owner::by_clock(&world, clock.clone(), MINUTE);
    let dated = |command: u128| Submission { at: Micros(clock.now()), ..add(command, 7, 1) };
    assert!(accepted(&owner.ask(dated(1)).await).is_some());
    // Within what is allowed.
    clock.advance(MINUTE / 2);
    assert!(accepted(&owner.ask(dated(2)).await).is_some());
    let commits = history(&world).await.commits;
    clock.advance(TWENTY_YEARS);
    // At once, so that it is the first to show it, before any tick; and known to be new, so that
    // nothing has to be looked up for it.
    let (reply, answer) = oneshot::channel();
    let submission = Submission { fresh: true, ..dated(5) };
    owner.intake.try_send(Delivery { submission, reply, deadline: Instant::now() + SOON }).unwrap();
    assert!(soon(answer).await.is_err(), "no owner decides it");
    let stepped = owner.ended().await;
    assert!(matches!(stepped, End::ClockStepped { .. }), "{stepped}");
    assert_eq!(history(&world).await.commits, commits, "an event of the future");

    // What was dated then and comes when the clock is right again, as what waited for an owner
    // does.
    let late = dated(5);
    let right = Owner::by_clock(&world, Arc::new(SystemClock), MINUTE);
    assert!(accepted(&right.ask(late).await).is_some());
    let last = history(&world).await.last_time.unwrap();
    assert!(
        last.0 <= SystemClock.now() + i64::try_from(MINUTE.as_micros()).unwrap(),
        "{}",
        last.to_text()
    );
    Row {
        id: "P10b",
        situation: "the clock goes ahead by 20 years at once while a partition is served (also: a \
                    machine that was suspended)",
        answer: "beyond `owner.clock_skew_ms` its owner decides nothing more before another fence, \
                 which on Kafka is held against the \
                 log's clock: no event is dated by it. A local log has no other clock, so there \
                 the warning is all",
        test: (file!(), "a_clock_that_steps_ahead_dates_no_event_before_another_fence"),
    }
    .check();
}
