use highwater_protocol::{
    entry::{EventBody, Part},
    time::Micros,
    wire::{Meta, RecordedEvent},
};

use super::*;

fn metadata(command: u128) -> CommandMetadata<Wire> {
    CommandMetadata {
        aggregate: Uuid::from_u128(1),
        command: Uuid::from_u128(command),
        fingerprint: Fingerprint { key_number: 3, hmac: [7; 32] },
        meta: Meta { actor: Uuid::from_u128(2), ..Meta::default() },
        source: None,
    }
}

/// Of one command, whose events have these versions.
fn commit(
    event_type: &'static str,
    versions: std::ops::RangeInclusive<u64>,
    end: u64,
) -> Commit<Wire> {
    let event = |version| EventBody {
        metadata: metadata(9),
        version,
        part: Part::WHOLE,
        time: Micros(0),
        event: RecordedEvent {
            event_type: event_type.into(),
            schema: "thing.made.v1".into(),
            data: Vec::new(),
        },
    };
    let events: Vec<_> = versions.map(event).collect();
    Commit { first: end - events.len() as u64, end, last_seq: end, events }
}

fn body(verdict: entry::Verdict, reason: &[u8]) -> OutcomeBody<Wire> {
    OutcomeBody { metadata: metadata(9), version: 4, verdict, reason: Reason(reason.to_vec()) }
}

/// What an owner reads of what was written.
fn read(row: Row) -> OwnerRow {
    OwnerRow {
        command: row.command,
        aggregate: row.aggregate,
        fingerprint_key: row.fingerprint_key,
        fingerprint: row.fingerprint,
        verdict: row.verdict.text().to_owned(),
        version: row.version,
        next_offset: row.next_offset,
        events: row.events,
        reason: row.reason,
    }
}

fn accepted() -> Result<Row, TryFromIntError> {
    let row = Row::of_commit("thing", 3, &commit("thing.made", 5..=6, 12))?;
    Ok(row.expect("it has events"))
}

#[test]
fn what_is_written_is_what_an_owner_reads() -> Result<(), TryFromIntError> {
    let reason = br#"{"code":"a.b"}"#;
    let no = |verdict| Row::of_record("thing", 3, 20, &body(verdict, reason));
    let events = vec![("thing.made".into(), 5), ("thing.made".into(), 6)];
    let reason = || Reason(reason.to_vec());
    for (row, outcome) in [
        (accepted()?, Outcome::Accepted { version: 6, end: 12, events }),
        (
            no(entry::Verdict::Unchanged)?,
            Outcome::Unchanged { version: 4, end: 21, reason: reason() },
        ),
        (
            no(entry::Verdict::Rejected)?,
            Outcome::Rejected { version: 4, end: 21, reason: reason() },
        ),
    ] {
        let fingerprint = Fingerprint { key_number: 3, hmac: [7; 32] };
        let recorded = RecordedOutcome { aggregate: Uuid::from_u128(1), fingerprint, outcome };
        assert_eq!(read(row).recorded(), Ok((Uuid::from_u128(9), recorded)));
    }
    Ok(())
}

#[test]
fn every_column_holds_its_part_of_the_outcome() -> Result<(), TryFromIntError> {
    let expected = Row {
        command: Uuid::from_u128(9),
        category: "thing".to_owned(),
        partition: 3,
        aggregate: Uuid::from_u128(1),
        fingerprint_key: 3,
        fingerprint: vec![7; 32],
        actor: Uuid::from_u128(2),
        verdict: Verdict::Accepted,
        version: 6,
        next_offset: 12,
        events: Some(json!([
            {"type": "thing\u{fffd}made", "version": 5},
            {"type": "thing\u{fffd}made", "version": 6},
        ])),
        reason: None,
    };
    let accepted = Row::of_commit("thing", 3, &commit("thing\0made", 5..=6, 12))?;
    assert_eq!(accepted, Some(expected.clone()));
    let reason = Some(json!({"code": "a.b"}));
    let no = Row { version: 4, next_offset: 21, events: None, reason, ..expected };
    for (recorded, verdict) in [
        (entry::Verdict::Rejected, Verdict::Rejected),
        (entry::Verdict::Unchanged, Verdict::Unchanged),
    ] {
        assert_eq!(
            Row::of_record("thing", 3, 20, &body(recorded, br#"{"code":"a.b"}"#))?,
            Row { verdict, ..no.clone() }
        );
    }
    Ok(())
}

#[test]
fn a_commit_without_an_event_is_no_outcome() {
    let nothing = Commit { first: 1, end: 1, last_seq: 0, events: Vec::new() };
    assert_eq!(Row::of_commit("thing", 3, &nothing), Ok(None));
}

#[test]
fn numbers_that_no_column_holds_are_refused() {
    let large = u64::MAX / 2 + 1;
    let of_commit =
        |versions, end| Row::of_commit("thing", 3, &commit("thing.made", versions, end));
    assert!(of_commit(large..=large, 12).is_err());
    assert!(of_commit(5..=5, large).is_err());
    let largest = of_commit(5..=5, large - 1).map(|row| row.map(|row| row.next_offset));
    assert_eq!(largest, Ok(Some(i64::MAX)));
    let rejected = body(entry::Verdict::Rejected, b"{}");
    assert!(Row::of_record("thing", 3, large - 1, &rejected).is_err());
    assert!(Row::of_record("thing", u32::MAX, 20, &rejected).is_err());
    assert!(Row::of_commit("thing", u32::MAX, &commit("thing.made", 5..=5, 12)).is_err());
}

#[test]
fn a_row_that_no_release_wrote_is_refused() -> Result<(), TryFromIntError> {
    let row = read(accepted()?);
    let malformed = [
        (OwnerRow { version: -1, ..row.clone() }, Malformed::Negative),
        (OwnerRow { next_offset: -1, ..row.clone() }, Malformed::Negative),
        (OwnerRow { fingerprint: vec![7; 31], ..row.clone() }, Malformed::Fingerprint),
        (OwnerRow { fingerprint_key: 65_536, ..row.clone() }, Malformed::KeyNumber),
        (OwnerRow { fingerprint_key: -1, ..row.clone() }, Malformed::KeyNumber),
        (
            OwnerRow { verdict: "deferred".to_owned(), ..row.clone() },
            Malformed::Verdict("deferred".to_owned()),
        ),
        (OwnerRow { events: None, ..row.clone() }, Malformed::Null),
    ];
    for (row, malformed) in malformed {
        assert_eq!(row.clone().recorded(), Err(malformed), "{row:?}");
    }
    let events = Some(json!([{"type": "thing.made"}]));
    let refused = OwnerRow { events, ..row }.recorded();
    assert!(matches!(refused, Err(Malformed::Events(_))), "{refused:?}");
    Ok(())
}

#[test]
fn a_verdict_is_one_of_three_words() {
    for (verdict, text) in [
        (Verdict::Accepted, "accepted"),
        (Verdict::Unchanged, "unchanged"),
        (Verdict::Rejected, "rejected"),
    ] {
        assert_eq!((verdict.text(), Verdict::parse(text)), (text, Some(verdict)));
    }
    assert_eq!(Verdict::parse("Accepted"), None);
}

#[test]
fn a_reason_is_kept_as_far_as_jsonb_can_hold_it() {
    for (recorded, kept) in [
        (&br#"{"code":"a.b","detail":"c"}"#[..], json!({"code": "a.b", "detail": "c"})),
        (
            br#"{"code":"a\u0000b","more":[{"\u0000":1}]}"#,
            json!({"code": "a\u{fffd}b", "more": [{"\u{fffd}": 1}]}),
        ),
        (b"\xff\0no json", json!({"code": "unreadable", "detail": "\u{fffd}\u{fffd}no json"})),
        (
            br#"{"code":"\ud800"}"#,
            json!({"code": "unreadable", "detail": "{\"code\":\"\\ud800\"}"}),
        ),
    ] {
        assert_eq!(as_json(recorded), kept);
    }
}
