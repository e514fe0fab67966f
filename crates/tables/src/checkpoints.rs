//! A position of the fold as a row of `checkpoints`, and back. Loses nothing; refuses a row that no
//! fold can have written: half a witness among them, because with none the log would be taken for
//! the one that was read before.
//!
//! | module | what it owns |
//! |---|---|
//! | `read` | where projections are, for those who only look |
//! | `moves` | checkpoints in the transaction that moves them: locked, compared and swapped |

mod moves;
mod read;

use highwater_protocol::{
    position::{Position, Witness},
    time::Micros,
    wire::Wire,
};
use uuid::Uuid;

pub use self::{
    moves::{Key, Moves, advance, find, lock, make, reset},
    read::{
        Checkpoint, Collection, ProjectionOffset, all, collection, live_offsets, offsets,
        offsets_of, position,
    },
};

/// The key of the generation that is live, whatever its number: so every release of a projector
/// moves the same rows, also while a switch puts another generation there
/// ([`generations`](crate::generations)).
pub const GENERATION: i32 = 1;

/// The key of the generation beside the live one: the next, or after a switch the previous one.
pub const BESIDE: i32 = 2;

/// The projection of states and outcomes, which owners begin from.
pub const SNAPSHOTS: &str = "snapshots";

/// The projection of what the command queue has accepted. Its checkpoints count the offsets of
/// `commands`, those of all others the offsets of `events`.
pub const OPERATIONS: &str = "operations";

/// The reader of a position listens here; the payload is empty.
pub const CHANNEL: &str = "highwater_checkpoints";

/// The columns behind the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub identity: Option<Uuid>,
    pub next_offset: i64,
    pub epoch: i64,
    pub writer: Option<Uuid>,
    pub next_seq: i64,
    pub drained: i64,
    pub sealed: bool,
    pub last_time_us: Option<i64>,
    pub witness_offset: Option<i64>,
    pub witness_epoch: Option<i64>,
    pub witness_writer: Option<Uuid>,
    pub witness_seq: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{0} of a position is beyond 2^63 - 1")]
    TooLarge(&'static str),
    #[error("{0} of a stored checkpoint is negative")]
    Negative(&'static str),
    #[error("a stored checkpoint has half a witness")]
    HalfWitness,
    #[error("partition number too large")]
    Partition,
}

impl TryFrom<&Position<Wire>> for Row {
    type Error = Error;

    fn try_from(at: &Position<Wire>) -> Result<Self, Error> {
        let witness = at.witness.as_ref();
        Ok(Self {
            identity: at.identity,
            next_offset: signed("offset", at.offset)?,
            epoch: signed("epoch", at.epoch)?,
            writer: at.writer,
            next_seq: signed("next_seq", at.next_seq)?,
            drained: signed("drained", at.drained)?,
            sealed: at.sealed,
            last_time_us: at.last_time.map(|time| time.0),
            witness_offset: witness.map(|w| signed("witness offset", w.offset)).transpose()?,
            witness_epoch: witness.map(|w| signed("witness epoch", w.epoch)).transpose()?,
            witness_writer: witness.map(|w| w.writer),
            witness_seq: witness
                .and_then(|w| w.seq)
                .map(|seq| signed("witness seq", seq))
                .transpose()?,
        })
    }
}

impl TryFrom<Row> for Position<Wire> {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let witness = match (row.witness_offset, row.witness_epoch, row.witness_writer) {
            (Some(offset), Some(epoch), Some(writer)) => Some(Witness {
                offset: unsigned("witness_offset", offset)?,
                epoch: unsigned("witness_epoch", epoch)?,
                writer,
                seq: row.witness_seq.map(|seq| unsigned("witness_seq", seq)).transpose()?,
            }),
            (None, None, None) => None,
            _ => return Err(Error::HalfWitness),
        };
        Ok(Self {
            identity: row.identity,
            offset: unsigned("next_offset", row.next_offset)?,
            epoch: unsigned("epoch", row.epoch)?,
            writer: row.writer,
            next_seq: unsigned("next_seq", row.next_seq)?,
            drained: unsigned("drained", row.drained)?,
            sealed: row.sealed,
            last_time: row.last_time_us.map(Micros),
            witness,
        })
    }
}

fn signed(what: &'static str, number: u64) -> Result<i64, Error> {
    i64::try_from(number).map_err(|_| Error::TooLarge(what))
}

fn unsigned(what: &'static str, number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(|_| Error::Negative(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn somewhere() -> Position<Wire> {
        let writer = Uuid::from_u128(7);
        Position {
            identity: Some(Uuid::from_u128(1)),
            offset: 1042,
            epoch: 3,
            writer: Some(writer),
            next_seq: 40,
            drained: 12,
            sealed: true,
            last_time: Some(Micros(1_795_383_264_123_456)),
            witness: Some(Witness { offset: 1041, epoch: 3, writer, seq: Some(39) }),
        }
    }

    #[test]
    fn every_position_survives_the_row() -> Result<(), Error> {
        let fence = Witness { offset: 0, epoch: 1, writer: Uuid::from_u128(7), seq: None };
        for position in
            [Position::start(), somewhere(), Position { witness: Some(fence), ..somewhere() }]
        {
            assert_eq!(Position::try_from(Row::try_from(&position)?)?, position);
        }
        Ok(())
    }

    #[test]
    fn every_column_holds_its_part_of_the_position() -> Result<(), Error> {
        let expected = Row {
            identity: Some(Uuid::from_u128(1)),
            next_offset: 1042,
            epoch: 3,
            writer: Some(Uuid::from_u128(7)),
            next_seq: 40,
            drained: 12,
            sealed: true,
            last_time_us: Some(1_795_383_264_123_456),
            witness_offset: Some(1041),
            witness_epoch: Some(3),
            witness_writer: Some(Uuid::from_u128(7)),
            witness_seq: Some(39),
        };
        assert_eq!(Row::try_from(&somewhere())?, expected);
        Ok(())
    }

    #[test]
    fn half_a_witness_is_refused_whichever_half_it_is() -> Result<(), Error> {
        let row = Row::try_from(&somewhere())?;
        let halves = [
            Row { witness_offset: None, ..row.clone() },
            Row { witness_epoch: None, ..row.clone() },
            Row { witness_writer: None, ..row.clone() },
            Row { witness_offset: None, witness_epoch: None, ..row.clone() },
            Row { witness_offset: None, witness_writer: None, ..row.clone() },
            Row { witness_epoch: None, witness_writer: None, ..row },
        ];
        for half in halves {
            assert_eq!(
                Position::<Wire>::try_from(half.clone()),
                Err(Error::HalfWitness),
                "{half:?}"
            );
        }
        Ok(())
    }

    #[test]
    fn a_number_that_no_fold_wrote_is_refused_by_its_name() -> Result<(), Error> {
        let row = Row::try_from(&somewhere())?;
        let negative = [
            ("next_offset", Row { next_offset: -1, ..row.clone() }),
            ("epoch", Row { epoch: -1, ..row.clone() }),
            ("next_seq", Row { next_seq: -1, ..row.clone() }),
            ("drained", Row { drained: -1, ..row.clone() }),
            ("witness_offset", Row { witness_offset: Some(-1), ..row.clone() }),
            ("witness_epoch", Row { witness_epoch: Some(-1), ..row.clone() }),
            ("witness_seq", Row { witness_seq: Some(-1), ..row }),
        ];
        for (name, row) in negative {
            assert_eq!(Position::<Wire>::try_from(row), Err(Error::Negative(name)));
        }
        Ok(())
    }

    #[test]
    fn a_number_that_no_column_holds_is_refused_by_its_name() {
        let large = u64::MAX / 2 + 1;
        let witness =
            || Witness { offset: 1041, epoch: 3, writer: Uuid::from_u128(7), seq: Some(39) };
        let of_witness = |witness| Position { witness: Some(witness), ..somewhere() };
        let too_large = [
            ("offset", Position { offset: large, ..somewhere() }),
            ("epoch", Position { epoch: large, ..somewhere() }),
            ("next_seq", Position { next_seq: large, ..somewhere() }),
            ("drained", Position { drained: large, ..somewhere() }),
            ("witness offset", of_witness(Witness { offset: large, ..witness() })),
            ("witness epoch", of_witness(Witness { epoch: large, ..witness() })),
            ("witness seq", of_witness(Witness { seq: Some(large), ..witness() })),
        ];
        for (name, position) in too_large {
            assert_eq!(Row::try_from(&position), Err(Error::TooLarge(name)));
        }
        let largest = Position { offset: large - 1, ..somewhere() };
        assert_eq!(Row::try_from(&largest).map(|row| row.next_offset), Ok(i64::MAX));
    }
}
