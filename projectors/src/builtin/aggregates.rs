//! The rules of all categories behind one face: frozen state in, events, frozen state out.

use protocol::{
    domain::{Durable, Unreadable},
    wire::Fact,
};

/// One category's rules, as far as snapshots need them.
pub trait Aggregates: Send + Sync + 'static {
    fn category(&self) -> &'static str;

    /// The present form of frozen states.
    fn format(&self) -> i16;

    /// The frozen state after `events`, which follow `state`.
    fn fold(&self, state: Option<&[u8]>, events: &[&Fact]) -> Result<Vec<u8>, Unreadable>;
}

/// A durable domain under the name of its category.
pub struct Category<D> {
    pub name: &'static str,
    pub domain: D,
}

impl<D: Durable> Aggregates for Category<D> {
    fn category(&self) -> &'static str {
        self.name
    }

    fn format(&self) -> i16 {
        D::FORMAT
    }

    fn fold(&self, state: Option<&[u8]>, events: &[&Fact]) -> Result<Vec<u8>, Unreadable> {
        let mut state = state.map(|frozen| self.domain.thaw(frozen)).transpose()?;
        for event in events {
            state = Some(self.domain.evolve(state.as_ref(), event)?);
        }
        let state = state.ok_or_else(|| Unreadable::Malformed { what: "an aggregate".to_owned(), why: "it has no events".to_owned() })?;
        Ok(self.domain.freeze(&state))
    }
}
