//! What contracts and rules need: `use highwater::prelude::*;`.

pub use crate::{
    Aggregate, Change, Command, Context, Count, Currency, Data, Decision, Delta, Event, Events,
    FieldError, Fold, Id, List, Map, Missing, Money, Quantity, Recorded, Rejection, Row, State,
    Text, Timestamp, Unreadable,
    aggregate::{accept, accept_all, nothing, reject},
};
