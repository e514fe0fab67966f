//! From the types of an application to what the services ask: of the rules of an aggregate, and of
//! rows.

use std::marker::PhantomData;

use highwater_command::category;
use highwater_http::problem::FieldError;
use highwater_projection::table::Folding;
use highwater_protocol::{domain::Unreadable, entry::EventBody, time::Micros, wire::Wire};
use highwater_query::rows::RowView;
use serde_json::Value;

use crate::{Aggregate, Category, Event, Fold, Recorded, Rules};

impl<A: Aggregate> category::Category for Rules<A> {
    const NAME: &'static str = Rules::<A>::CATEGORY;

    fn schemas() -> Vec<(String, String)> {
        // What a command's schema says does not depend on the collection.
        let contracts = Category::of::<A>("").command_contracts().into_iter();
        contracts.map(|contract| (contract.stem, contract.schema.to_string())).collect()
    }

    fn parse(
        command: &str,
        version: u32,
        body: &Value,
        now: Micros,
    ) -> Result<A::Command, Vec<FieldError>> {
        Self::parse(command, version, body, now).map_err(|found| {
            found
                .into_iter()
                .map(|finding| FieldError::pointer(finding.pointer, finding.detail))
                .collect()
        })
    }
}

/// Rows as projectors write them and queries show them.
pub struct FoldedRows<R>(PhantomData<fn() -> R>);

impl<R: Fold> Folding for FoldedRows<R> {
    type Row = R;

    const CATEGORY: &'static str = <R::Of as Aggregate>::Event::CATEGORY;

    fn fold(row: Option<R>, event: &EventBody<Wire>, partition: u32) -> Result<R, Unreadable> {
        let recorded = Recorded { partition: Some(partition), ..Recorded::read(event)? };
        R::fold(row, &recorded)
    }
}

impl<R: Fold> RowView for FoldedRows<R> {
    type Row = R;

    const CATEGORY: &'static str = <R::Of as Aggregate>::Event::CATEGORY;
}
