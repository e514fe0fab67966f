//! Instances that send commands to each other. Every documented request gets the same answer at the
//! owner of its partition and at another instance; what has the address of an instance, and is
//! none, is not believed; and neither is what anybody may write into the log.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

#[path = "commands_hops/announcements.rs"]
mod announcements;
#[path = "../../tests/support/documented.rs"]
mod documented;
#[path = "../../crates/command/tests/support/instance.rs"]
mod instance;
#[path = "../../crates/command/tests/support/raw.rs"]
mod raw;
#[path = "commands_hops/requests.rs"]
mod requests;
#[path = "commands_hops/strangers.rs"]
mod strangers;

use std::collections::{BTreeMap, BTreeSet};

use documented::Row;
use highwater::Rules;
use highwater_command::category::{Category, Commands};
use instance::{Instance, KEYS, Place};
use raw::Answer;
use requests::Request;
use store::{Order, Product, Stock};

type Orders = Rules<Order>;
type Products = Rules<Product>;
type Stocks = Rules<Stock>;

const CATEGORIES: [&str; 3] = [Orders::NAME, Products::NAME, Stocks::NAME];

/// An instance of the store on `place`.
async fn instance(place: &Place, key_file: &str) -> Instance {
    let mut instance = Instance::new(place, key_file).await;
    instance.add(Orders::new(), "orders");
    instance.add(Products::new(), "products");
    instance.add(Stocks::new(), "stock");
    instance
}

/// Every answer of a log of its own, where all is sent to the owner, or all to an instance that
/// owns nothing.
async fn answers(requests: &[Request], at_the_owner: bool) -> Vec<Answer> {
    let place = Place::new(&CATEGORIES).await;
    let (mut owner, mut other) = (instance(&place, KEYS).await, instance(&place, KEYS).await);
    owner.serve();
    other.serve();
    owner.own();
    other.knows(&CATEGORIES, &owner).await;
    let mut answers = Vec::new();
    for request in requests {
        let asked = if at_the_owner { owner.address } else { other.address };
        answers.push(raw::ask(asked, &request.head, &request.body).await);
    }
    answers
}

#[tokio::test]
async fn every_request_gets_the_same_answer_at_the_owner_and_at_another_instance() {
    let requests = requests::all();
    let (owner, other) = (answers(&requests, true).await, answers(&requests, false).await);
    let mut differ = Vec::new();
    for (request, (owner, other)) in requests.iter().zip(owner.iter().zip(&other)) {
        assert_eq!(owner.status, request.status, "{} at the owner: {owner:?}", request.what);
        let (owner, other) = (Masks::default().mask(owner), Masks::default().mask(other));
        if owner != other {
            differ.push(format!("{}:\n  owner {owner:?}\n  other {other:?}", request.what));
        }
    }
    assert!(
        differ.is_empty(),
        "{} of {} requests:\n{}",
        differ.len(),
        requests.len(),
        differ.join("\n")
    );
    every_command_succeeded(&requests);
    Row {
        id: "S1",
        situation: "every command of every category, and each documented header in each of its \
                    forms, sent to the owner of the partition and to an \
                    instance that does not own it",
        answer: "status, headers and body are the same",
        test: (
            "store/tests/commands_hops.rs",
            "every_request_gets_the_same_answer_at_the_owner_and_at_another_instance",
        ),
    }
    .check();
}

/// What is made anew for each request: ids by the sequence in which they appear, the span and,
/// where it was not given, the trace.
#[derive(Default)]
struct Masks(BTreeMap<String, String>);

impl Masks {
    fn mask(&mut self, answer: &Answer) -> Answer {
        let headers =
            answer.headers.iter().filter(|(name, _)| name != "date" && name != "content-length");
        let masked = headers.map(|(name, value)| match name.as_str() {
            "traceparent" if value.contains(requests::TRACE) => {
                (name.clone(), requests::TRACE.to_owned())
            }
            "traceparent" => (name.clone(), "new".to_owned()),
            // Jittered.
            "retry-after" => (name.clone(), "some seconds".to_owned()),
            _ => (name.clone(), self.ids(value)),
        });
        Answer {
            status: answer.status,
            headers: masked.collect(),
            body: self.ids(&self.without_trace(&answer.body)),
        }
    }

    fn without_trace(&self, body: &str) -> String {
        match body.split_once("\"trace_id\":\"") {
            Some((before, rest)) if !rest.starts_with(requests::TRACE) => {
                format!("{before}{}", &rest[32..])
            }
            _ => body.to_owned(),
        }
    }

    /// Ids that are no part of the request.
    fn ids(&mut self, text: &str) -> String {
        let mut masked = String::new();
        let mut rest = text;
        while !rest.is_empty() {
            let id = rest
                .get(..36)
                .filter(|id| uuid::Uuid::try_parse(id).is_ok() && !requests::is_fixed(id));
            match id {
                Some(id) => {
                    let number = self.0.len();
                    masked.push_str(
                        self.0.entry(id.to_owned()).or_insert_with(|| format!("<id {number}>")),
                    );
                    rest = &rest[36..];
                }
                None => {
                    let next = rest.chars().next().map_or(1, char::len_utf8);
                    masked.push_str(&rest[..next]);
                    rest = &rest[next..];
                }
            }
        }
        masked
    }
}

/// A route that is added must be added to the requests.
fn every_command_succeeded(requests: &[Request]) {
    fn known<C: Category>() -> impl Iterator<Item = String> {
        let commands = Commands::of::<C>().unwrap();
        let names: Vec<_> = commands.names().map(|name| format!("{}.{name}", C::NAME)).collect();
        names.into_iter()
    }
    let known: BTreeSet<String> =
        known::<Orders>().chain(known::<Products>()).chain(known::<Stocks>()).collect();
    let succeeded: BTreeSet<String> = requests
        .iter()
        .filter(|request| request.status < 300)
        .filter_map(Request::command)
        .collect();
    assert_eq!(known, succeeded);
}
