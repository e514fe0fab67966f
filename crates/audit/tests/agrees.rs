//! Two folds, written apart from the same text, on the same random logs: the audit's and the one of
//! the services. They agree on every verdict and position; where they would not, one of them is
//! wrong.

use highwater_audit::{
    self as audit,
    fold::{Verdict, Void as Why},
    record,
};
use highwater_protocol::{
    fold::{Effect, Fold, Void},
    position::Position,
    record::{Header, Record},
    wire::{Wire, decode},
};
use proptest::{collection::vec, prelude::*, strategy::ValueTree};

const IDS: [u128; 2] = [0xa1, 0xa2];

/// How a record that would be right is spoiled.
#[derive(Clone, Debug)]
enum Damage {
    None,
    Drop(prop::sample::Index),
    Double(prop::sample::Index),
    Garble(prop::sample::Index, Vec<u8>),
    NoKey,
    NoValue,
}

#[derive(Clone, Debug)]
struct Draft {
    kind: &'static str,
    epoch: u64,
    writer: usize,
    /// Relative to where the sequence would be if all before it were valid.
    seq_off: i64,
    version: u64,
    part: Option<(u32, u32)>,
    command: usize,
    aggregate: usize,
    drained: Option<u64>,
    second: u8,
    /// Continues the record before, if both are events: below 8 as it should, else with one thing
    /// wrong.
    follows: Option<u8>,
    damage: Damage,
}

fn drafts() -> impl Strategy<Value = Vec<Draft>> {
    let kind = prop_oneof![
        24 => Just("event"),
        4 => Just("fence"),
        2 => Just("rejected"),
        2 => Just("unchanged"),
        2 => Just("barrier"),
        1 => Just("of-tomorrow"),
        1 => Just("sealed"),
    ];
    let damage = prop_oneof![
        60 => Just(Damage::None),
        1 => any::<prop::sample::Index>().prop_map(Damage::Drop),
        1 => any::<prop::sample::Index>().prop_map(Damage::Double),
        1 => (any::<prop::sample::Index>(), vec(any::<u8>(), 0..18))
            .prop_map(|(at, bytes)| Damage::Garble(at, bytes)),
        1 => Just(Damage::NoKey),
        1 => Just(Damage::NoValue),
    ];
    let part = prop::option::of((prop_oneof![4 => Just(1_u32), 1 => 2_u32..4], 2_u32..4));
    let place = (
        prop_oneof![20 => Just(0_i64), 1 => -1_i64..2],
        0_u64..4,
        0_usize..2,
        prop_oneof![20 => Just(0_u64), 1 => 1_u64..3],
    );
    let what = (
        part,
        0_usize..2,
        0_usize..2,
        prop::option::of(0_u64..9),
        (0_u8..60, prop::option::of(0_u8..13)),
    );
    let draft = (kind, place, what, damage).prop_map(
        |(
            kind,
            (seq_off, version, writer, ahead),
            (part, command, aggregate, drained, (second, follows)),
            damage,
        )| Draft {
            kind,
            epoch: ahead,
            writer,
            seq_off,
            version,
            part,
            command,
            aggregate,
            drained,
            second,
            follows,
            damage,
        },
    );
    vec(draft, 1..40)
}

impl Draft {
    fn after(&self, before: &Self) -> Self {
        let (Some(how), "event", "event", Some((index, of))) =
            (self.follows, self.kind, before.kind, before.part)
        else {
            return self.clone();
        };
        let mut next = Self { damage: self.damage.clone(), follows: None, ..before.clone() };
        (next.part, next.version) = (Some((index + 1, of)), before.version + 1);
        match how {
            8 => next.part = Some((index, of)),
            9 => next.part = Some((index + 1, of + 1)),
            10 => next.version = before.version,
            11 => next.command = 1 - before.command,
            12 => next.aggregate = 1 - before.aggregate,
            _ => {}
        }
        next
    }
}

/// Records that are mostly in sequence: without that hardly any would be valid.
fn records(drafts: &[Draft]) -> Vec<Record> {
    let mut guide = Fold::<Wire>::new();
    let mut before: Option<Draft> = None;
    let mut records = Vec::new();
    for (draft, offset) in drafts.iter().zip(0..) {
        let draft = before.as_ref().map_or_else(|| draft.clone(), |before| draft.after(before));
        let Position { epoch, writer, next_seq, .. } = *guide.head();
        let owner = writer.and_then(|writer| IDS.iter().position(|id| *id == writer.as_u128()));
        let (epoch, writer) = match owner.filter(|_| draft.kind != "fence") {
            Some(owner) if draft.epoch == 0 => (epoch, owner),
            Some(_) => (epoch + draft.epoch, draft.writer),
            None => (epoch + 1 + draft.epoch, draft.writer),
        };
        let kind = if owner.is_none() { "fence" } else { draft.kind };
        let seq = next_seq.saturating_add_signed(draft.seq_off);
        let record = record(&Draft { kind, ..draft.clone() }, epoch, writer, seq);
        let _ = guide.apply(offset, decode(record.clone()));
        records.push(record);
        before = Some(draft);
    }
    records
}

fn record(draft: &Draft, epoch: u64, writer: usize, seq: u64) -> Record {
    let id = |n: usize| IDS[n].to_be_bytes().to_vec();
    let aggregate = uuid::Uuid::from_u128(IDS[draft.aggregate]).to_string();
    let mut headers = vec![
        Header::new("hw-kind", draft.kind),
        Header::new("hw-epoch", epoch.to_string()),
        Header::new("hw-writer", id(writer)),
    ];
    if draft.kind != "fence" {
        headers.push(Header::new("hw-seq", seq.to_string()));
        headers.extend(draft.drained.map(|drained| Header::new("hw-drained", drained.to_string())));
    }
    let about = ["event", "rejected", "unchanged"].contains(&draft.kind);
    if about {
        headers.push(Header::new("hw-version", draft.version.to_string()));
        headers.push(Header::new("hw-command", id(draft.command)));
        headers.push(Header::new("hw-fingerprint", vec![7; 34]));
        headers.extend(
            ["hw-actor", "hw-correlation", "hw-causation"]
                .map(|name| Header::new(name, vec![9; 16])),
        );
    }
    if draft.kind == "event" {
        headers.extend(
            draft.part.map(|(index, of)| Header::new("hw-commit", format!("{index}/{of}"))),
        );
        let cloud = [
            ("content-type", "application/json"),
            ("ce_specversion", "1.0"),
            ("ce_source", "/test/note"),
            ("ce_type", "note.written"),
        ];
        headers.extend(cloud.map(|(name, value)| Header::new(name, value)));
        headers.push(Header::new("ce_id", aggregate.clone()));
        headers.push(Header::new("ce_subject", aggregate.clone()));
        headers.push(Header::new("ce_dataschema", "urn:highwater:schema:note.written.v1"));
        headers
            .push(Header::new("ce_time", format!("2026-11-22T21:34:{:02}.000000Z", draft.second)));
    }
    let mut record = Record {
        key: about.then(|| aggregate.into_bytes()),
        value: about.then(|| b"{}".to_vec()),
        headers,
    };
    match &draft.damage {
        Damage::None => {}
        Damage::Drop(at) => drop(record.headers.remove(at.index(record.headers.len()))),
        Damage::Double(at) => {
            record.headers.push(record.headers[at.index(record.headers.len())].clone())
        }
        Damage::Garble(at, bytes) => {
            let at = at.index(record.headers.len());
            record.headers[at].value = bytes.as_slice().into();
        }
        Damage::NoKey => record.key = None,
        Damage::NoValue => record.value = None,
    }
    record
}

fn of_services(effect: &Effect<Wire>) -> (&'static str, Option<u64>) {
    match effect {
        Effect::Void(Void::Undecodable(_)) => ("unreadable", None),
        Effect::Void(Void::Sealed) => ("after sealed", None),
        Effect::Void(Void::StaleFence) => ("stale fence", None),
        Effect::Void(Void::Unexpected) => ("unexpected", None),
        Effect::Fence { .. } => ("fence", None),
        Effect::Barrier => ("barrier", None),
        Effect::Sealed => ("sealed", None),
        Effect::Unknown => ("unknown", None),
        Effect::Outcome(_) => ("outcome", None),
        Effect::Opened => ("opened", None),
        Effect::Ineffective => ("ineffective", None),
        Effect::Commit(commit) => ("commit", Some(commit.first)),
    }
}

fn of_audit(verdict: &Verdict) -> (&'static str, Option<u64>) {
    match verdict {
        Verdict::Void(Why::Unreadable(_)) => ("unreadable", None),
        Verdict::Void(Why::AfterSealed) => ("after sealed", None),
        Verdict::Void(Why::StaleFence) => ("stale fence", None),
        Verdict::Void(Why::Stranger | Why::AfterHole | Why::Again) => ("unexpected", None),
        Verdict::Fence => ("fence", None),
        Verdict::Barrier => ("barrier", None),
        Verdict::Sealed => ("sealed", None),
        Verdict::Unknown => ("unknown", None),
        Verdict::Outcome => ("outcome", None),
        Verdict::Opened => ("opened", None),
        Verdict::Ineffective => ("ineffective", None),
        Verdict::Commit(commit) => ("commit", Some(commit.first)),
    }
}

/// The services' position in the audit's form.
fn position(of: &Position<Wire>) -> audit::fold::Position {
    let witness = of.witness.as_ref();
    audit::fold::Position {
        identity: of.identity.map(uuid::Uuid::into_bytes),
        offset: of.offset,
        epoch: of.epoch,
        writer: of.writer.map(uuid::Uuid::into_bytes),
        next_seq: of.next_seq,
        drained: of.drained,
        sealed: of.sealed,
        last_time: of.last_time.and_then(|time| time.to_text().into_bytes().try_into().ok()),
        witness: witness.map(|w| audit::fold::Witness {
            offset: w.offset,
            epoch: w.epoch,
            writer: w.writer.into_bytes(),
            seq: w.seq,
        }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn both_folds_say_the_same_of_every_record(drafts in drafts()) {
        let (mut theirs, mut ours) = (Fold::<Wire>::new(), audit::fold::Fold::default());
        for (record, offset) in records(&drafts).into_iter().zip(0..) {
            let entry = record::Entry::read(&record);
            let (verdict, _) = ours.apply(entry.as_ref().map_err(Clone::clone));
            let effect = theirs
                .apply(offset, decode(record.clone()))
                .map_err(|gap| TestCaseError::fail(gap.to_string()))?;
            prop_assert_eq!(
                of_audit(&verdict),
                of_services(&effect),
                "at {}: {:?}",
                offset,
                record
            );
            prop_assert_eq!(
                ours.position(),
                &position(theirs.position()),
                "at {}: {:?}",
                offset,
                record
            );
        }
    }
}

/// The generator is worth something only if all verdicts come out of it.
#[test]
fn the_random_logs_have_every_verdict() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..500 {
        let Ok(tree) = drafts().new_tree(&mut runner) else { continue };
        let mut fold = audit::fold::Fold::default();
        for record in records(&tree.current()) {
            let entry = record::Entry::read(&record);
            seen.insert(of_audit(&fold.apply(entry.as_ref().map_err(Clone::clone)).0).0);
        }
    }
    let all = [
        "after sealed",
        "barrier",
        "commit",
        "fence",
        "ineffective",
        "opened",
        "outcome",
        "sealed",
        "stale fence",
        "unexpected",
        "unknown",
        "unreadable",
    ];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
}
