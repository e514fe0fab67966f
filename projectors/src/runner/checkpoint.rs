//! A position of the fold as a row of `checkpoints`, and back. Loses nothing; refuses a row that no fold can have written.

use protocol::{
    position::{Position, Witness},
    time::Micros,
    wire::Wire,
};
use uuid::Uuid;

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
            witness_seq: witness.and_then(|w| w.seq).map(|seq| signed("witness seq", seq)).transpose()?,
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
        for position in [Position::start(), somewhere(), Position { witness: Some(fence), ..somewhere() }] {
            assert_eq!(Position::try_from(Row::try_from(&position)?)?, position);
        }
        Ok(())
    }

    #[test]
    fn refuses_what_no_fold_wrote() -> Result<(), Error> {
        let row = Row::try_from(&somewhere())?;
        assert_eq!(Position::<Wire>::try_from(Row { witness_writer: None, ..row.clone() }), Err(Error::HalfWitness));
        assert_eq!(Position::<Wire>::try_from(Row { next_offset: -1, ..row }), Err(Error::Negative("next_offset")));
        assert_eq!(Row::try_from(&Position { offset: u64::MAX, ..somewhere() }), Err(Error::TooLarge("offset")));
        Ok(())
    }
}
