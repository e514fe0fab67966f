use highwater_protocol::{
    entry::{CommandMetadata, EventBody, OutcomeBody, Part, Verdict},
    fold::Commit,
    position::Witness,
    time::Micros,
    wire::{Fingerprint, Meta, Reason, RecordedEvent},
};
use uuid::Uuid;

use super::*;
use crate::runner::What;

/// The log's first writer.
const LOG: Uuid = Uuid::from_u128(1);

/// In the log of these tests, whose fence is its first record. Offset 0 is before it.
fn at(offset: u64) -> Position<Wire> {
    if offset == 0 {
        return Position::start();
    }
    let witness = Witness { offset: offset - 1, epoch: 1, writer: LOG, seq: offset.checked_sub(2) };
    Position {
        identity: Some(LOG),
        offset,
        epoch: 1,
        writer: Some(LOG),
        witness: Some(witness),
        ..Position::start()
    }
}

fn of_another_log(offset: u64) -> Position<Wire> {
    Position { identity: Some(Uuid::from_u128(2)), ..at(offset) }
}

fn metadata() -> CommandMetadata<Wire> {
    CommandMetadata {
        aggregate: Uuid::nil(),
        command: Uuid::nil(),
        fingerprint: Fingerprint { key_number: 0, hmac: [0; 32] },
        meta: Meta::default(),
        source: None,
    }
}

fn commit(first: u64, end: u64) -> Item {
    let event = RecordedEvent { event_type: "a".into(), schema: "a.v1".into(), data: Vec::new() };
    let body =
        EventBody { metadata: metadata(), version: 1, part: Part::WHOLE, time: Micros(0), event };
    let events = (first..end).map(|_| body.clone()).collect();
    Item { what: What::Commit(Commit { first, end, last_seq: end - 1, events }), after: at(end) }
}

fn outcome(offset: u64) -> Item {
    let body = OutcomeBody {
        metadata: metadata(),
        version: 0,
        verdict: Verdict::Rejected,
        reason: Reason(Vec::new()),
    };
    Item { what: What::Outcome { offset, body }, after: at(offset + 1) }
}

/// Offsets 0 and 4 are void for projections: a fence and a barrier. The fold stands at 9.
fn items() -> Arc<[Item]> {
    [commit(1, 4), outcome(5), commit(6, 8)].into()
}

const END: u64 = 9;

fn topic_partition() -> TopicPartition {
    TopicPartition::of_events("a", 3)
}

fn job(from: u64) -> Job {
    let (from, items) = (at(from), items());
    let first = had_at(&from, &items);
    Job {
        key: Key { projection: "x", topic_partition: topic_partition() },
        from,
        to: at(END),
        end: items.len(),
        first,
        items,
    }
}

/// Where what is left begins: the first offsets of the items that are still to be applied.
fn left(job: &Job) -> Vec<u64> {
    job.items().iter().map(|item| item.what.start()).collect()
}

fn rebased(job: Job, to: u64) -> Vec<u64> {
    match rebase(job, &at(to)) {
        Rebase::Job(job) => {
            assert_eq!((&job.from, &job.to), (&at(to), &at(END)));
            left(&job)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_begins_at_a_checkpoint_is_not_in_it_and_what_ends_there_is() {
    let had: Vec<usize> =
        [0, 1, 4, 5, 6, 8, 9].map(|offset| had_at(&at(offset), &items())).to_vec();
    assert_eq!(had, [0, 0, 1, 1, 2, 3, 3]);
}

#[test]
fn each_projection_gets_what_it_lacks_and_one_that_lacks_nothing_no_job() {
    let checkpoints: Checkpoints = [
        ("start", at(0)),
        ("first", at(4)),
        ("last", at(8)),
        ("end", at(END)),
        ("ahead", at(END + 3)),
    ]
    .into();
    let jobs = jobs(&topic_partition(), &checkpoints, &items(), &at(END));
    let mut found: Vec<_> =
        jobs.iter().map(|job| (job.key.projection, job.from.offset, left(job))).collect();
    found.sort_by_key(|(_, from, _)| *from);
    // One that lacks nothing visible still moves: its checkpoint says how far it is.
    assert_eq!(found, [("start", 0, vec![1, 5, 6]), ("first", 4, vec![5, 6]), ("last", 8, vec![])]);
    for job in jobs {
        assert_eq!(
            (&job.key.topic_partition, &job.to, &job.from),
            (&topic_partition(), &at(END), &checkpoints[job.key.projection])
        );
    }
}

#[test]
fn a_checkpoint_is_moved_when_its_offset_or_its_log_differs() {
    let job = job(4);
    assert!(!is_moved(&job, &at(4)));
    assert!(is_moved(&job, &at(5)) && is_moved(&job, &at(1)));
    assert!(is_moved(&job, &of_another_log(4)));
}

#[test]
fn a_job_goes_on_where_another_runner_left_its_checkpoint() {
    assert_eq!(rebased(job(0), 1), [1, 5, 6]);
    assert_eq!(rebased(job(0), 4), [5, 6]);
    assert_eq!(rebased(job(0), 5), [5, 6], "what begins at the checkpoint is not in it");
    assert_eq!(rebased(job(0), 6), [6]);
    assert_eq!(
        rebased(job(0), 8),
        [0_u64; 0],
        "the rest shows nothing, and the checkpoint still moves"
    );
}

#[test]
fn a_job_whose_checkpoint_is_where_it_was_left_is_done_as_it_is() {
    for from in [1, 4, 5] {
        assert_eq!(rebase(job(from), &at(from)), Rebase::Job(Box::new(job(from))));
    }
}

#[test]
fn a_job_that_begins_within_the_items_keeps_the_place_of_its_first() {
    let job = job(4);
    assert_eq!((job.first, left(&job)), (1, vec![5, 6]));
    assert_eq!(rebased(job.clone(), 6), [6]);
    assert_eq!(rebased(job, 5), [5, 6]);
}

#[test]
fn a_job_is_done_when_its_checkpoint_stands_at_its_end_or_behind_it() {
    assert_eq!(rebase(job(4), &at(END)), Rebase::Done);
    assert_eq!(rebase(job(4), &at(END + 1)), Rebase::Done);
    assert_ne!(rebase(job(4), &at(END - 1)), Rebase::Done);
}

#[test]
fn a_checkpoint_that_fell_back_is_elsewhere() {
    assert_eq!(rebase(job(4), &at(1)), Rebase::Elsewhere);
    assert_eq!(rebase(job(5), &at(4)), Rebase::Elsewhere, "although nothing visible lies between");
    assert_eq!(rebase(job(4), &at(0)), Rebase::Elsewhere);
}

#[test]
fn a_checkpoint_of_another_log_or_of_another_past_is_elsewhere() {
    for offset in [4, 5, END, END + 1] {
        assert_eq!(rebase(job(4), &of_another_log(offset)), Rebase::Elsewhere, "{offset}");
    }
    // Where this job has been, too: any other record there is another past.
    let other_past = Position {
        witness: Some(Witness { offset: 5, epoch: 1, writer: LOG, seq: Some(9) }),
        ..at(6)
    };
    assert_eq!(rebase(job(4), &other_past), Rebase::Elsewhere);
    assert_eq!(rebased(job(4), 6), [6], "and the same record is the same past");
}

/// Positions of the command queue say of no log that they belong to it.
#[test]
fn what_lies_behind_a_job_of_the_command_queue_is_not_believed() {
    let anonymous = |offset: u64| Position { identity: None, ..at(offset) };
    let items: Arc<[Item]> =
        [Item { after: anonymous(6), ..outcome(5) }, Item { after: anonymous(7), ..outcome(6) }]
            .into();
    let key = Key { projection: "x", topic_partition: TopicPartition::of_commands("a", 3) };
    let job = Job { key, from: anonymous(5), to: anonymous(7), first: 0, end: items.len(), items };
    assert_eq!(rebase(job.clone(), &anonymous(8)), Rebase::Elsewhere);
    assert_eq!(rebase(job.clone(), &anonymous(7)), Rebase::Done);
    assert!(matches!(rebase(job, &anonymous(6)), Rebase::Job(job) if left(&job) == [6]));
}

#[test]
fn a_stored_checkpoint_is_further_only_in_the_same_log() {
    assert_eq!(compare(&at(4), &at(4)), None);
    assert_eq!(compare(&at(4), &at(5)), Some(Moved::Further));
    assert_eq!(compare(&at(4), &at(3)), Some(Moved::Elsewhere));
    assert_eq!(compare(&at(4), &of_another_log(5)), Some(Moved::Elsewhere));
    assert_eq!(compare(&at(4), &at(0)), Some(Moved::Elsewhere));
    // It is not known whose they are.
    let anonymous = |offset: u64| Position { identity: None, ..at(offset) };
    assert_eq!(compare(&anonymous(4), &anonymous(5)), Some(Moved::Elsewhere));
    assert_eq!(compare(&at(0), &at(5)), Some(Moved::Elsewhere));
}

#[test]
fn following_begins_at_the_lowest_checkpoint_and_every_other_is_named_once() {
    let checkpoints: Checkpoints =
        [("a", at(6)), ("b", at(4)), ("c", at(8)), ("d", at(6)), ("e", at(4))].into();
    assert_eq!(beginning(&checkpoints), Some((at(4), vec![at(6), at(8)])));
    // One at the same offset that saw another record there is another one.
    let other_past = Position {
        witness: Some(Witness { offset: 3, epoch: 1, writer: LOG, seq: Some(9) }),
        ..at(4)
    };
    let checkpoints: Checkpoints = [("a", at(4)), ("b", other_past.clone())].into();
    assert_eq!(beginning(&checkpoints), Some((at(4), vec![other_past])));
    assert_eq!(beginning(&Checkpoints::new()), None);
}
