//! The audit's own decoder and fold reproduce every golden vector: verdicts, commits, and the
//! position after each record; also when they are resumed at any position on the way. So does its
//! reader of `commands`, as far as the audit judges what lies there.

use std::{error::Error, fs, path::Path};

use highwater_audit::{
    fold::{Fold, Position, Verdict, Void, Witness},
    placement::partition_for,
    record::{Entry, Id, command::CommandRecord},
};
use highwater_protocol::record::{Header, Record};
use serde::Deserialize;
use uuid::Uuid;

#[derive(Deserialize)]
struct Vector {
    name: String,
    records: Vec<Expected>,
}

#[derive(Deserialize)]
struct Bare {
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<(String, Bytes)>,
}

#[derive(Deserialize)]
struct Expected {
    #[serde(flatten)]
    record: Bare,
    verdict: String,
    first: Option<u64>,
    position: Place,
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Bytes {
    Text(String),
    Hex { hex: String },
}

#[derive(Deserialize)]
struct Place {
    identity: Option<Uuid>,
    offset: u64,
    epoch: u64,
    writer: Option<Uuid>,
    next_seq: u64,
    drained: u64,
    sealed: bool,
    last_time: Option<String>,
    witness: Option<Seen>,
}

#[derive(Deserialize)]
struct Seen {
    offset: u64,
    epoch: u64,
    writer: Uuid,
    seq: Option<u64>,
}

impl Bytes {
    fn read(&self) -> Result<Vec<u8>, Box<dyn Error>> {
        match self {
            Self::Text(text) => Ok(text.clone().into_bytes()),
            Self::Hex { hex } => (0..hex.len() / 2)
                .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).map_err(Into::into))
                .collect(),
        }
    }
}

impl Bare {
    fn read(&self) -> Result<Record, Box<dyn Error>> {
        let headers =
            self.headers.iter().map(|(name, value)| Ok(Header::new(name.clone(), value.read()?)));
        Ok(Record {
            key: self.key.as_ref().map(Bytes::read).transpose()?,
            value: self.value.as_ref().map(Bytes::read).transpose()?,
            headers: headers.collect::<Result<_, Box<dyn Error>>>()?,
        })
    }
}

impl Place {
    fn read(&self) -> Result<Position, Box<dyn Error>> {
        let witness = self.witness.as_ref();
        Ok(Position {
            identity: self.identity.map(Uuid::into_bytes),
            offset: self.offset,
            epoch: self.epoch,
            writer: self.writer.map(Uuid::into_bytes),
            next_seq: self.next_seq,
            drained: self.drained,
            sealed: self.sealed,
            last_time: self
                .last_time
                .as_ref()
                .map(|time| time.as_bytes().try_into())
                .transpose()?,
            witness: witness.map(|w| Witness {
                offset: w.offset,
                epoch: w.epoch,
                writer: w.writer.into_bytes(),
                seq: w.seq,
            }),
        })
    }
}

/// A record of `commands`, and which rule decides about it.
#[derive(Deserialize)]
struct OfTheCommandQueue {
    name: String,
    partitions: u32,
    partition: u32,
    #[serde(flatten)]
    record: Bare,
    rule: Option<u8>,
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Void(Void::Unreadable(_)) => "void:undecodable",
        Verdict::Void(Void::AfterSealed) => "void:sealed",
        Verdict::Void(Void::StaleFence) => "void:stale-fence",
        Verdict::Void(Void::Stranger | Void::AfterHole | Void::Again) => "void:unexpected",
        Verdict::Fence => "fence",
        Verdict::Barrier => "barrier",
        Verdict::Sealed => "sealed",
        Verdict::Unknown => "unknown",
        Verdict::Outcome => "outcome",
        Verdict::Opened => "opened",
        Verdict::Ineffective => "ineffective",
        Verdict::Commit(_) => "commit",
    }
}

/// Folds the records from `start.offset` on and compares each verdict and position.
fn compare(vector: &Vector, start: Position) -> Result<(), Box<dyn Error>> {
    let from = usize::try_from(start.offset)?;
    let mut fold = Fold::from(start);
    for (offset, expected) in vector.records.iter().enumerate().skip(from) {
        let place = format!("{} @{offset}, from {from}", vector.name);
        let entry = Entry::read(&expected.record.read()?);
        let (verdict, _) = fold.apply(entry.as_ref().map_err(Clone::clone));
        assert_eq!(word(&verdict), expected.verdict, "{place}: {entry:?}");
        if let Verdict::Commit(commit) = verdict {
            assert_eq!(Some(commit.first), expected.first, "{place}");
        }
        assert_eq!(*fold.position(), expected.position.read()?, "{place}");
    }
    Ok(())
}

#[test]
fn the_audits_fold_reproduces_every_golden_vector() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/vectors/fold");
    let mut vectors = 0;
    for file in fs::read_dir(folder)? {
        let text = fs::read_to_string(file?.path())?;
        for vector in serde_json::from_str::<Vec<Vector>>(&text)? {
            compare(&vector, Position::default())?;
            for record in &vector.records {
                compare(&vector, record.position.read()?)?;
            }
            vectors += 1;
        }
    }
    assert!(vectors >= 40, "only {vectors} vectors");
    Ok(())
}

#[test]
fn the_audits_reader_of_the_command_queue_reproduces_every_vector() -> Result<(), Box<dyn Error>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../protocol/vectors/command-queue-verdicts.json");
    let vectors = serde_json::from_str::<Vec<OfTheCommandQueue>>(&fs::read_to_string(file)?)?;
    assert!(vectors.len() >= 90, "only {} vectors", vectors.len());
    for vector in vectors {
        let here = |aggregate: Id| {
            partition_for(Uuid::from_bytes(aggregate).to_string().as_bytes(), vector.partitions)
                == vector.partition
        };
        let rule = match CommandRecord::of(&vector.record.read()?) {
            CommandRecord::Newer => 1,
            CommandRecord::Nothing => 2,
            CommandRecord::Command(command) if !here(command.aggregate) => 2,
            CommandRecord::Command(command) if command.deadline.is_none() => 3,
            CommandRecord::Command(_) => 4,
        };
        // Which names and bodies an owner knows is no concern of the audit.
        assert_eq!(rule, vector.rule.unwrap_or(4).min(4), "{}", vector.name);
    }
    Ok(())
}
