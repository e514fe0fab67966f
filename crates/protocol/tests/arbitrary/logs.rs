//! Random logs in a vocabulary of small integers: writers that take over from one another, commits
//! whole and torn, and records that must be void. What a log means is known by how it was made, not
//! by folding it.

use highwater_protocol::{
    entry::{Body, CommandMetadata, Entry, EventBody, OutcomeBody, Part, Verdict},
    position::{Position, Witness},
    vocabulary::Vocabulary,
    wire::Defect,
};
use proptest::{collection::vec, prelude::*};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Small;

impl Vocabulary for Small {
    type Writer = u32;
    type Command = u8;
    type Aggregate = u8;
    type Time = u8;
    type Fingerprint = ();
    type Meta = ();
    type Event = ();
    type Reason = ();
    type Summary = ();

    fn size_bytes(_: &Body<Self>) -> usize {
        1
    }
    fn nothing_to_do() {}
    fn refused(_: &highwater_protocol::vocabulary::Refusal) {}
    fn summary((): &()) {}
}

pub type Row = Result<Entry<Small>, Defect>;

/// Aggregate, command and version of each event of a commit that its writer finished.
pub type Intended = Vec<(u8, u8, u64)>;

#[derive(Clone, Debug)]
pub struct Log {
    rows: Vec<Row>,
    pub intended: Vec<Intended>,
}

impl Log {
    pub fn rows(&self) -> Vec<Row> {
        self.rows.clone()
    }
}

/// Writers fence and write, one after the other; older ones go on writing; records come twice, are
/// lost, or are not decodable.
pub fn any() -> impl Strategy<Value = Log> {
    vec(action(), 0..25).prop_map(|actions| {
        let mut maker = Maker::default();
        actions.into_iter().for_each(|action| maker.act(action));
        Log { rows: maker.rows, intended: maker.intended }
    })
}

/// A record that is void wherever it lies: not decodable, a fence whose epoch is never the next, a
/// writer that never fenced.
pub fn void() -> impl Strategy<Value = Row> {
    let fence = prop_oneof![Just(0), Just(1_000_000)].prop_map(|epoch| {
        Ok(Entry { epoch, writer: STRANGER, seq: None, drained: None, body: Body::Fence })
    });
    let stranger = (0..6_u64, 0..6_u64, part(), any_byte()).prop_map(|(epoch, seq, part, time)| {
        Ok(entry((epoch, STRANGER), seq, Some(9), event(0, 0, 1, part, time)))
    });
    prop_oneof![Just(Err(Defect::Missing("hw-kind"))), fence, stranger]
}

/// Any entry at all, also such as no record can hold.
pub fn wild() -> impl Strategy<Value = Row> {
    let edge = || prop::sample::select(vec![0, 1, 2, 3, u64::MAX - 1, u64::MAX]);
    let part = (
        prop::sample::select(vec![0, 1, 2, 3, u32::MAX]),
        prop::sample::select(vec![0, 1, 2, 3, u32::MAX]),
    )
        .prop_map(|(index, of)| Part { index, of });
    let body = prop_oneof![
        Just(Body::Fence),
        Just(Body::Barrier),
        Just(Body::Sealed),
        Just(Body::Unknown),
        (edge(), part).prop_map(|(version, part)| event(0, 0, version, part, 0)),
    ];
    let entry = (edge(), 0..3_u32, prop::option::of(edge()), prop::option::of(edge()), body);
    entry.prop_map(|(epoch, writer, seq, drained, body)| {
        Ok(Entry { epoch, writer, seq, drained, body })
    })
}

pub fn wild_position() -> impl Strategy<Value = Position<Small>> {
    let edge = || prop::sample::select(vec![0, 1, 2, u64::MAX - 1, u64::MAX]);
    (edge(), 0..3_u32, edge(), edge(), prop::bool::ANY).prop_map(
        |(epoch, writer, next_seq, drained, sealed)| Position {
            identity: Some(writer),
            epoch,
            writer: Some(writer),
            next_seq,
            drained,
            sealed,
            witness: Some(Witness { offset: 0, epoch, writer, seq: None }),
            ..Position::start()
        },
    )
}

const STRANGER: u32 = u32::MAX;

#[derive(Clone, Debug)]
enum Action {
    Fence,
    Commit {
        aggregate: u8,
        of: u32,
        fault: Option<(u32, Fault)>,
        between: Vec<Row>,
        time: u8,
        drained: Option<u64>,
    },
    Control(Body<Small>, Option<u64>),
    /// An older writer goes on.
    Zombie {
        which: prop::sample::Index,
        of: u32,
        fences: bool,
    },
    /// A valid record is there again.
    Again(prop::sample::Index),
    /// A record of the present writer is lost; the writer goes on.
    Lost,
    Void(Row),
}

/// What goes wrong at one part of a commit.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The rest is never written.
    Cut,
    Command,
    Aggregate,
    Version,
    Index,
    Of,
}

fn action() -> impl Strategy<Value = Action> {
    let fault = prop::sample::select(vec![
        Fault::Cut,
        Fault::Cut,
        Fault::Command,
        Fault::Aggregate,
        Fault::Version,
        Fault::Index,
        Fault::Of,
    ]);
    let commit = (
        0..3_u8,
        1..=4_u32,
        prop::option::of((2..=4_u32, fault)),
        vec(void(), 0..3),
        any_byte(),
        prop::option::of(0..50_u64),
    );
    let control = prop_oneof![
        8 => Just(Body::Barrier),
        8 => outcome(),
        8 => Just(Body::Unknown),
        1 => Just(Body::Sealed),
    ];
    prop_oneof![
        3 => Just(Action::Fence),
        6 => commit.prop_map(|(aggregate, of, fault, between, time, drained)| {
            Action::Commit { aggregate, of, fault, between, time, drained }
        }),
        3 => (control, prop::option::of(0..50_u64))
            .prop_map(|(body, drained)| Action::Control(body, drained)),
        2 => (proptest::arbitrary::any::<prop::sample::Index>(), 1..=2_u32, prop::bool::ANY)
            .prop_map(|(which, of, fences)| Action::Zombie { which, of, fences }),
        2 => proptest::arbitrary::any::<prop::sample::Index>().prop_map(Action::Again),
        1 => Just(Action::Lost),
        2 => void().prop_map(Action::Void),
    ]
}

#[derive(Default)]
struct Maker {
    rows: Vec<Row>,
    /// Places of valid rows.
    valid: Vec<usize>,
    intended: Vec<Intended>,
    epoch: u64,
    /// 0 before the first fence: then everything is void.
    writer: u32,
    seq: u64,
    /// After a lost record nothing of this writer is valid.
    lost: bool,
    sealed: bool,
    /// Epoch, writer and next sequence of those who were replaced.
    old: Vec<(u64, u32, u64)>,
    commands: u8,
    versions: [u64; 3],
}

impl Maker {
    fn act(&mut self, action: Action) {
        match action {
            Action::Fence => self.fence(),
            Action::Commit { aggregate, of, fault, between, time, drained } => {
                self.commit(aggregate, of, fault, &between, time, drained)
            }
            Action::Control(body, drained) => {
                self.sealed |= self.write(body.clone(), drained) && body == Body::Sealed;
            }
            Action::Zombie { which, of, fences } => self.zombie(which, of, fences),
            Action::Again(which) if !self.valid.is_empty() => {
                self.rows.push(self.rows[self.valid[which.index(self.valid.len())]].clone())
            }
            Action::Lost => (self.seq, self.lost) = (self.seq + 1, true),
            Action::Void(row) => self.rows.push(row),
            Action::Again(_) => {}
        }
    }

    fn fence(&mut self) {
        let (epoch, writer) = (self.epoch + 1, self.writer + 1);
        if !self.sealed {
            self.old.push((self.epoch, self.writer, self.seq));
            (self.epoch, self.writer, self.seq, self.lost) = (epoch, writer, 0, false);
            self.valid.push(self.rows.len());
        }
        self.rows.push(Ok(Entry { epoch, writer, seq: None, drained: None, body: Body::Fence }));
    }

    /// Writes a record of the present writer, and says whether it is valid.
    fn write(&mut self, body: Body<Small>, drained: Option<u64>) -> bool {
        let valid = self.writer > 0 && !self.lost && !self.sealed;
        if valid {
            self.valid.push(self.rows.len());
        }
        self.rows.push(Ok(entry((self.epoch, self.writer), self.seq, drained, body)));
        self.seq += 1;
        valid
    }

    fn commit(
        &mut self,
        aggregate: u8,
        of: u32,
        fault: Option<(u32, Fault)>,
        between: &[Row],
        time: u8,
        drained: Option<u64>,
    ) {
        self.commands = self.commands.wrapping_add(1);
        let command = self.commands;
        let first = self.versions[usize::from(aggregate)] + 1;
        let mut intended = Vec::new();
        for index in 1..=of {
            let version = first + u64::from(index) - 1;
            let fault = fault.filter(|(at, _)| *at == index).map(|(_, fault)| fault);
            let part = Part { index, of };
            let body = match fault {
                None => event(aggregate, command, version, part, time),
                Some(Fault::Cut) => return,
                Some(Fault::Command) => {
                    event(aggregate, command.wrapping_add(100), version, part, time)
                }
                Some(Fault::Aggregate) => event(aggregate + 1, command, version, part, time),
                Some(Fault::Version) => event(aggregate, command, version + 1, part, time),
                Some(Fault::Index) => {
                    event(aggregate, command, version, Part { index: index + 1, of: of + 1 }, time)
                }
                Some(Fault::Of) => {
                    event(aggregate, command, version, Part { index, of: of + 1 }, time)
                }
            };
            if self.write(body, drained) && fault.is_none() {
                intended.push((aggregate, command, version));
            }
            if index < of {
                self.rows.extend_from_slice(between);
            }
        }
        if intended.len() == of as usize {
            self.versions[usize::from(aggregate)] += u64::from(of);
            self.intended.push(intended);
        }
    }

    fn zombie(&mut self, which: prop::sample::Index, of: u32, fences: bool) {
        if self.old.is_empty() {
            return;
        }
        let at = which.index(self.old.len());
        let (epoch, writer, seq) = &mut self.old[at];
        if fences {
            self.rows.push(Ok(Entry {
                epoch: *epoch,
                writer: *writer,
                seq: None,
                drained: None,
                body: Body::Fence,
            }));
        }
        for index in 1..=of {
            self.rows.push(Ok(entry(
                (*epoch, *writer),
                *seq,
                Some(99),
                event(0, 0, 1, Part { index, of }, 255),
            )));
            *seq += 1;
        }
    }
}

fn entry(
    (epoch, writer): (u64, u32),
    seq: u64,
    drained: Option<u64>,
    body: Body<Small>,
) -> Entry<Small> {
    Entry { epoch, writer, seq: Some(seq), drained, body }
}

fn event(aggregate: u8, command: u8, version: u64, part: Part, time: u8) -> Body<Small> {
    Body::Event(EventBody {
        metadata: metadata(aggregate, command),
        version,
        part,
        time,
        event: (),
    })
}

fn outcome() -> impl Strategy<Value = Body<Small>> {
    (0..3_u8, any_byte()).prop_map(|(aggregate, command)| {
        Body::Outcome(OutcomeBody {
            metadata: metadata(aggregate, command),
            version: 0,
            verdict: Verdict::Rejected,
            reason: (),
        })
    })
}

fn metadata(aggregate: u8, command: u8) -> CommandMetadata<Small> {
    CommandMetadata { aggregate, command, fingerprint: (), meta: (), source: None }
}

fn part() -> impl Strategy<Value = Part> {
    (1..=3_u32).prop_flat_map(|of| (1..=of).prop_map(move |index| Part { index, of }))
}

fn any_byte() -> proptest::num::u8::Any {
    proptest::num::u8::ANY
}
