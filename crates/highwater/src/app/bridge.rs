//! From the rules of an aggregate to what the command side asks of a category.

use highwater_command::category;
use highwater_http::problem::FieldError;
use highwater_protocol::time::Micros;
use serde_json::Value;

use crate::{Aggregate, Category, Rules};

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
