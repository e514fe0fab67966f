//! The rules of all categories behind one face: serialized state in, events, serialized state out.

use highwater_protocol::{
    domain::{Durable, Unreadable},
    wire::RecordedEvent,
};

/// One category's rules, as far as snapshots need them.
pub trait Aggregates: Send + Sync + 'static {
    fn category(&self) -> &'static str;

    /// The present form of serialized states.
    fn format(&self) -> i16;

    /// The serialized state after `events`, which follow `state`.
    fn fold(&self, state: Option<&[u8]>, events: &[&RecordedEvent]) -> Result<Vec<u8>, Unreadable>;
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

    fn fold(&self, state: Option<&[u8]>, events: &[&RecordedEvent]) -> Result<Vec<u8>, Unreadable> {
        let mut state = state.map(|serialized| self.domain.deserialize(serialized)).transpose()?;
        for event in events {
            state = Some(self.domain.evolve(state.as_ref(), event)?);
        }
        let state = state.ok_or_else(|| Unreadable::Malformed {
            what: "an aggregate".to_owned(),
            why: "it has no events".to_owned(),
        })?;
        Ok(self.domain.serialize(&state))
    }
}

#[cfg(test)]
mod tests {
    use highwater_protocol::{
        domain::{Decision, Domain},
        time::Micros,
        wire::{Reason, Wire},
    };

    use super::*;

    /// Its state is the types of the events that it has seen.
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Names;

    impl Domain<Wire> for Names {
        type State = Vec<String>;
        type Command = ();

        fn must_exist(&self, (): &()) -> bool {
            false
        }

        fn decide(
            &self,
            _: Option<&Vec<String>>,
            (): &(),
            _: Micros,
        ) -> Result<Decision<Vec<String>, RecordedEvent>, Reason> {
            Ok(Decision::Nothing)
        }

        fn evolve(
            &self,
            state: Option<&Vec<String>>,
            event: &RecordedEvent,
        ) -> Result<Vec<String>, Unreadable> {
            if &*event.event_type == "newer" {
                return Err(Unreadable::Newer { what: "newer".to_owned() });
            }
            Ok(state.into_iter().flatten().cloned().chain([event.event_type.to_string()]).collect())
        }
    }

    impl Durable for Names {
        const FORMAT: i16 = 7;

        fn serialize(&self, state: &Vec<String>) -> Vec<u8> {
            state.join(" ").into_bytes()
        }

        fn deserialize(&self, serialized: &[u8]) -> Result<Vec<String>, Unreadable> {
            Ok(String::from_utf8_lossy(serialized).split(' ').map(str::to_owned).collect())
        }
    }

    fn event(event_type: &'static str) -> RecordedEvent {
        RecordedEvent { event_type: event_type.into(), schema: event_type.into(), data: Vec::new() }
    }

    #[test]
    fn a_category_is_its_domain_by_its_name_from_bytes_to_bytes() {
        let names = Category { name: "thing", domain: Names };
        assert_eq!((names.category(), names.format()), ("thing", 7));
        let (a, b) = (event("a"), event("b"));
        assert_eq!(names.fold(None, &[&a, &b]), Ok(b"a b".to_vec()));
        assert_eq!(names.fold(Some(b"x y"), &[&b, &a]), Ok(b"x y b a".to_vec()));
        assert_eq!(names.fold(Some(b"x y"), &[]), Ok(b"x y".to_vec()));
    }

    #[test]
    fn what_has_no_events_is_no_aggregate_and_what_is_newer_says_so() {
        let names = Category { name: "thing", domain: Names };
        assert!(matches!(names.fold(None, &[]), Err(Unreadable::Malformed { .. })));
        assert!(matches!(names.fold(None, &[&event("newer")]), Err(Unreadable::Newer { .. })));
    }
}
