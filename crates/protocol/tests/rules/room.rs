//! What one commit may be, and how much is in flight at once.

use highwater_protocol::{
    entry::{Body, Part},
    writer::{Answer, Limits},
};

use crate::{
    decide::at_version_five,
    harness::Driven,
    small::{Do, OUTCOME_BYTES, accepted, add, command, done},
};

#[test]
fn the_events_of_a_commit_are_numbered_and_say_how_many_they_are() {
    let mut driven = at_version_five();
    driven.submit(add(1, 1, &[6, 7, 8]));
    let events: Vec<_> = driven
        .out
        .iter()
        .filter_map(|entry| {
            if let Body::Event(event) = &entry.body {
                Some((event.version, event.part, event.event))
            } else {
                None
            }
        })
        .collect();
    let part = |index, of| Part { index, of };
    assert_eq!(
        events,
        [
            (4, part(1, 2), 5),
            (5, part(2, 2), 5),
            (6, part(1, 3), 6),
            (7, part(2, 3), 7),
            (8, part(3, 3), 8)
        ]
    );
    driven.land_all();
    assert_eq!(
        driven.heard()[1..],
        [(1, done(accepted(8, 9, &[6, 7, 8])))],
        "its last version, each event with its own, its end"
    );
}

#[test]
fn a_commit_has_so_many_events_and_bytes_and_no_more() {
    let mut driven =
        Driven::serving(Limits { commit_events: 3, commit_bytes: 30, ..Limits::default() });
    driven.submit(add(1, 1, &[10, 10, 10]));
    driven.submit(add(2, 2, &[1, 1, 1, 1]));
    driven.submit(add(3, 3, &[15, 16]));
    driven.submit(add(4, 4, &[]));
    driven.submit(add(5, 5, &[30]));
    assert_eq!(driven.commands_out(), [1, 1, 1, 5]);
    let too_large = [(2, 4, 4), (3, 2, 31), (4, 0, 0)]
        .map(|(token, events, bytes)| (token, Answer::TooLarge { events, bytes }));
    assert_eq!(driven.heard(), too_large);
}

#[test]
fn so_many_records_are_in_flight_and_no_more_and_a_commit_goes_whole() {
    let mut driven = Driven::serving(Limits { in_flight_records: 3, ..Limits::default() });
    driven.submit(add(1, 1, &[5]));
    driven.submit(add(2, 2, &[5, 5]));
    driven.submit(add(3, 3, &[5]));
    assert_eq!((driven.commands_out(), driven.writer.in_flight()), (vec![1, 2, 2], 3));
    driven.land();
    assert_eq!(driven.commands_out(), [2, 2, 3], "one goes as one has come");
    driven.submit(add(4, 4, &[5, 5]));
    driven.submit(add(5, 5, &[5]));
    driven.land();
    assert_eq!(
        driven.commands_out(),
        [2, 3],
        "the first of the others has room for two first: they stay in sequence"
    );
    driven.land();
    assert_eq!(driven.commands_out(), [3, 4, 4]);
}

#[test]
fn so_many_bytes_are_in_flight_and_no_more() {
    let mut driven = Driven::serving(Limits { in_flight_bytes: 30, ..Limits::default() });
    driven.submit(add(1, 1, &[10]));
    driven.submit(add(2, 2, &[10, 10]));
    driven.submit(add(3, 3, &[10]));
    assert_eq!(driven.commands_out(), [1, 2, 2]);
    driven.land();
    assert_eq!(driven.commands_out(), [2, 2, 3]);
    driven.land();
    driven.submit(add(4, 4, &[11]));
    assert_eq!(driven.commands_out(), [2, 3]);
    driven.land_all();
    assert_eq!(driven.writer.in_flight(), 0);
    driven.submit(add(5, 5, &[31]));
    assert_eq!(driven.commands_out(), [5], "what is larger than the budget goes alone");
    driven.submit(add(6, 6, &[1]));
    assert_eq!(driven.commands_out(), [5]);
}

#[test]
fn a_recorded_outcome_waits_for_room_too() {
    let mut driven = Driven::serving(Limits { in_flight_bytes: 10, ..Limits::default() });
    driven.submit(add(1, 1, &[10 - OUTCOME_BYTES]));
    driven.submit(command(2, 2, Do::Nothing));
    assert_eq!(driven.commands_out(), [1, 2]);
    driven.submit(command(3, 3, Do::Nothing));
    assert_eq!(driven.commands_out(), [1, 2]);
    driven.land();
    assert_eq!(driven.commands_out(), [2, 3]);
}
