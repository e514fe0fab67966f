//! Requests that must get the same answer at the owner of their partition and at another instance.
//! Included by `#[path]`.

use std::collections::{BTreeMap, BTreeSet};

use highwater_command::category::{Category, Commands};

use crate::{
    instance::{Instance, Place},
    raw::{self, Answer},
};

/// A trace that the client began.
pub const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
pub const JSON: &str = "Content-Type: application/json";

/// A request with what it is about, and the status that it must get.
pub struct Request {
    what: String,
    head: Vec<u8>,
    body: Vec<u8>,
    status: u16,
    path: String,
}

pub fn post(status: u16, what: &str, path: &str, headers: &[&str], body: Option<&str>) -> Request {
    let mut headers: Vec<Vec<u8>> =
        headers.iter().map(|header| header.as_bytes().to_vec()).collect();
    if let Some(body) = body {
        headers.push(format!("Content-Length: {}", body.len()).into_bytes());
    }
    request(status, what, "POST", path, &headers, body.unwrap_or_default().as_bytes())
}

/// Byte by byte: whatever its body needs is among `headers`.
pub fn request(
    status: u16,
    what: &str,
    method: &str,
    path: &str,
    headers: &[Vec<u8>],
    body: &[u8],
) -> Request {
    let mut head = format!("{method} {path} HTTP/1.1\r\n").into_bytes();
    for header in headers {
        head.extend_from_slice(header);
        head.extend_from_slice(b"\r\n");
    }
    Request {
        what: format!("{what}: {method} {path}"),
        head,
        body: body.to_vec(),
        status,
        path: path.to_owned(),
    }
}

impl Request {
    /// `collection/command`, or the collection alone if it creates: of a path with such a form.
    fn route(&self) -> Option<String> {
        // The one letter that a request writes in percent-encoding.
        let path = self.path.split('?').next()?.replace("%61", "a");
        let mut parts = path.strip_prefix("/v1/")?.split('/');
        let collection = parts.next()?;
        Some(
            parts
                .nth(1)
                .map_or_else(|| collection.to_owned(), |command| format!("{collection}/{command}")),
        )
    }
}

/// The routes of the commands of `C`.
pub fn routes<C: Category>(collection: &str) -> Vec<String> {
    let commands = Commands::of::<C>().unwrap();
    let creating = commands.creating();
    let route = |name: &str| {
        if creating.contains(&name) {
            collection.to_owned()
        } else {
            format!("{collection}/{name}")
        }
    };
    commands.names().map(route).collect()
}

/// Sends each of `requests` in its sequence, to the owner, and on another log to an instance that
/// owns nothing. What they answer is the same, and has the status of the request; and every one of
/// `routes` has done something.
pub async fn check(
    requests: &[Request],
    routes: Vec<String>,
    categories: &[&str],
    instance: impl AsyncFn(&Place) -> Instance,
) {
    let owner = answers(requests, categories, &instance, true).await;
    let other = answers(requests, categories, &instance, false).await;
    let known = known(requests);
    let mut differ = Vec::new();
    for (request, (owner, other)) in requests.iter().zip(owner.iter().zip(&other)) {
        assert_eq!(owner.status, request.status, "{} at the owner: {owner:?}", request.what);
        assert_eq!(other.header("highwater-hop"), None, "{}: no caller is told", request.what);
        let (owner, other) = (Masks::new(&known).mask(owner), Masks::new(&known).mask(other));
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
    // A route that is added must be added to the requests.
    let succeeded = requests.iter().filter(|request| request.status < 300);
    let succeeded: BTreeSet<String> = succeeded.filter_map(Request::route).collect();
    assert_eq!(routes.into_iter().collect::<BTreeSet<_>>(), succeeded);
}

/// Every answer of a log of its own, where all is sent to the owner, or all to an instance that
/// owns nothing.
async fn answers(
    requests: &[Request],
    categories: &[&str],
    instance: impl AsyncFn(&Place) -> Instance,
    at_the_owner: bool,
) -> Vec<Answer> {
    let place = Place::new(categories).await;
    let (mut owner, mut other) = (instance(&place).await, instance(&place).await);
    owner.serve();
    other.serve();
    owner.own();
    other.knows(categories, &owner).await;
    let mut answers = Vec::new();
    for request in requests {
        let asked = if at_the_owner { owner.address } else { other.address };
        answers.push(raw::ask(asked, &request.head, &request.body).await);
    }
    answers
}

/// All that is sent, in lower case.
fn known(requests: &[Request]) -> String {
    let sent = requests.iter().flat_map(|request| [&request.head, &request.body]);
    sent.map(|text| String::from_utf8_lossy(text).to_ascii_lowercase()).collect()
}

/// What is made anew for each request: ids by the sequence in which they appear, the span and,
/// where it was not given, the trace.
struct Masks<'a> {
    /// An id that stands in it was not made for an answer.
    known: &'a str,
    made: BTreeMap<String, String>,
}

impl<'a> Masks<'a> {
    fn new(known: &'a str) -> Self {
        Self { known, made: BTreeMap::new() }
    }

    fn mask(&mut self, answer: &Answer) -> Answer {
        let headers =
            answer.headers.iter().filter(|(name, _)| name != "date" && name != "content-length");
        let masked = headers.map(|(name, value)| match name.as_str() {
            "traceparent" if value.contains(TRACE) => (name.clone(), TRACE.to_owned()),
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
            Some((before, rest)) if !rest.starts_with(TRACE) => {
                format!("{before}{}", &rest[32..])
            }
            _ => body.to_owned(),
        }
    }

    /// Ids that are no part of any request.
    fn ids(&mut self, text: &str) -> String {
        let mut masked = String::new();
        let mut rest = text;
        while !rest.is_empty() {
            let id =
                rest.get(..36).filter(|id| uuid::Uuid::try_parse(id).is_ok() && !self.is_known(id));
            match id {
                Some(id) => {
                    let number = self.made.len();
                    masked.push_str(
                        self.made.entry(id.to_owned()).or_insert_with(|| format!("<id {number}>")),
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

    fn is_known(&self, id: &str) -> bool {
        self.known.contains(&id.to_ascii_lowercase())
    }
}
