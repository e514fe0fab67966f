use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::owner::announcements::tests::Scratch;

#[tokio::test]
async fn a_command_queue_that_skips_an_offset_is_served_up_to_there() {
    let mut intake = reading();
    let record = |key: u8| Record { key: Some(vec![key]), ..Record::default() };
    intake.buffer.extend([4, 5, 7].map(|offset| StoredRecord {
        offset,
        appended_at_ms: 0,
        record: record(offset.try_into().unwrap()),
    }));
    assert_eq!((intake.take(4), intake.take(5)), (Some(record(4)), Some(record(5))));
    assert!(intake.is_served());
    assert_eq!(intake.take(6), None, "what was accepted and is missing is not passed over");
    assert!(!intake.is_served() && !intake.is_buffered());
}

fn reading() -> Intake {
    let mut intake = Intake::new(Partition { topic: "queue".into(), index: 0 }, "thing");
    let (_to, deliveries) = mpsc::channel(1);
    intake.state =
        State::Reading(Subscription { deliveries, guard: CancellationToken::new().drop_guard() });
    intake
}

#[tokio::test(start_paused = true)]
async fn others_hear_how_far_a_command_queue_has_come_at_once_by_steps_and_now_and_then() {
    let mut intake = reading();
    assert_eq!(
        (intake.announcement(7, 10), intake.announcement(7, 10)),
        (Some(7), None),
        "at once, and once"
    );
    assert_eq!(
        (intake.announcement(16, 10), intake.announcement(17, 10), intake.announcement(18, 10)),
        (None, Some(17), None)
    );
    tokio::time::advance(HINT - Duration::from_millis(1)).await;
    assert_eq!(intake.announcement(18, 10), None);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(
        (intake.announcement(17, 10), intake.announcement(18, 10), intake.announcement(18, 10)),
        (None, Some(18), None)
    );
    // Not what a command queue has come to that is not read: the owner that reads it next says
    // more.
    intake.try_again("trouble");
    assert_eq!(intake.announcement(99, 10), None);
}

#[tokio::test(start_paused = true)]
async fn a_command_queue_that_stopped_is_looked_at_again_and_begins_with_nothing() {
    let lacking = "commands are missing";
    for (stop, again) in [(None, AGAIN), (Some(lacking), REFUSED)] {
        let mut intake = reading();
        intake.buffer.push_back(StoredRecord {
            offset: 4,
            appended_at_ms: 0,
            record: Record::default(),
        });
        match stop {
            Some(why) => intake.refuse(why),
            None => intake.try_again("trouble"),
        }
        assert!(!intake.is_served() && !intake.is_buffered());
        let began = Instant::now();
        assert!(matches!(intake.next().await, Arrived::Again));
        assert_eq!(began.elapsed(), again);
    }
}

#[tokio::test]
async fn a_command_queue_that_pauses_is_not_looked_at_again() {
    let mut intake = reading();
    intake.buffer.push_back(StoredRecord {
        offset: 4,
        appended_at_ms: 0,
        record: Record::default(),
    });
    intake.pause(3, "newer");
    assert!(!intake.is_served() && !intake.is_buffered());
    assert!(futures_util::poll!(Box::pin(intake.next())).is_pending());
}

/// What the owner has no room for stays in the log, where it costs no memory.
#[tokio::test]
async fn nothing_more_is_read_while_something_waits_to_be_taken() {
    let mut intake = reading();
    let (to, deliveries) = mpsc::channel(1);
    intake.state =
        State::Reading(Subscription { deliveries, guard: CancellationToken::new().drop_guard() });
    to.try_send(Delivery::Records(Vec::new())).unwrap();
    intake.buffer.push_back(StoredRecord {
        offset: 4,
        appended_at_ms: 0,
        record: Record::default(),
    });
    assert!(futures_util::poll!(Box::pin(intake.next())).is_pending());
    assert_eq!(intake.take(4), Some(Record::default()));
    assert!(matches!(intake.next().await, Arrived::Delivery(Some(Delivery::Records(_)))));
}

#[tokio::test]
async fn where_a_command_queue_begins_is_asked_once_and_again_after_it_stopped() {
    let scratch =
        Scratch(std::env::temp_dir().join(format!("highwater-queue-{}", std::process::id())));
    let log: Arc<dyn Log> = Arc::new(
        highwater_log::LocalLog::open(&scratch.0, highwater_log::local::Settings::default())
            .unwrap(),
    );
    let mut intake = reading();
    intake.open(&log);
    assert!(intake.is_served(), "a second fence goes on with what is read");
    intake.try_again("trouble");
    intake.arrived(Arrived::Again, 4, &log);
    assert!(matches!(intake.state, State::Asking(_)));
    // Where it must go on lies outside of what there is.
    for (begin, end) in [(5, 9), (0, 3)] {
        intake.arrived(Arrived::Range(Ok((begin, end))), 4, &log);
        let again = Instant::now() + AGAIN;
        assert!(
            matches!(intake.state, State::Stopped(until) if until > again),
            "not soon: {begin} to {end}"
        );
    }
}

#[test]
fn what_a_record_names_is_named_in_its_outcome() {
    let reason = |reason: Reason| serde_json::from_slice::<Value>(&reason.0).unwrap();
    let error = FieldError::pointer("/lines", "too many");
    assert_eq!(
        reason(malformed("no", &[])),
        json!({"code": "command.malformed", "detail": "no", "status": 422})
    );
    assert_eq!(reason(malformed("no", std::slice::from_ref(&error)))["errors"], json!([error]));
}
