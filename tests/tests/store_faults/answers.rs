//! Every answer against the log: what was acknowledged is there, once, and as it was said; what was
//! refused without a record is not; and nothing else is there.

use std::collections::{HashMap, HashSet};

use highwater_runtime::identity::DeploymentKeys;
use serde_json::Value;
use uuid::Uuid;

use super::{
    client::{Answer, Attempt, Sent},
    load::PRINCIPAL,
    log::{LogRead, Outcome, What},
};

pub fn command_id(keys: &DeploymentKeys, sent: &Sent) -> Uuid {
    let request = &sent.request;
    keys.command_id(PRINCIPAL, request.category, request.aggregate, &request.key)
}

/// What clients must never see: any 5xx but 503 with Retry-After, a silence, a final status that
/// the mix cannot lead to.
pub fn wrong_answers(sent: &[Sent]) -> Vec<String> {
    let mut wrong = Vec::new();
    for sent in sent {
        let request = &sent.request;
        for attempt in &sent.attempts {
            if let Attempt::Wrong(what) = attempt {
                wrong.push(format!("{} {}: {what}", request.name, request.key));
            }
        }
        if ![200, 201, 409, 412].contains(&sent.answer.status) {
            wrong.push(format!(
                "{} {}: {} {}",
                request.name, request.key, sent.answer.status, sent.answer.body
            ));
        }
    }
    wrong
}

pub fn differences(keys: &DeploymentKeys, sent: &[Sent], log: &LogRead) -> Vec<String> {
    let mut found = Vec::new();
    let mut ours = HashSet::new();
    for sent in sent {
        let command = command_id(keys, sent);
        ours.insert(command);
        let outcomes: Vec<&Outcome> = log
            .by_command
            .get(&command)
            .into_iter()
            .flatten()
            .map(|at| &log.outcomes[*at])
            .collect();
        let said =
            format!("{} {} ({})", sent.request.category, sent.request.name, sent.request.key);
        match (sent.answer.status, outcomes.as_slice()) {
            (412, []) => {}
            (412, _) => found.push(format!("{said} was answered 412 and is in the log")),
            (status, [outcome]) => found
                .extend(difference(sent, outcome).map(|what| format!("{said}, {status}: {what}"))),
            (status, outcomes) => found.push(format!(
                "{said} was answered {status} and is in the log {} times",
                outcomes.len()
            )),
        }
    }
    for outcome in log.outcomes.iter().filter(|outcome| !ours.contains(&outcome.command)) {
        found.push(format!(
            "no client sent command {} at {:?}@{}",
            outcome.command, outcome.place, outcome.end
        ));
    }
    found
}

/// What a repeated command was answered, where it is not what it was answered before.
pub fn others(sent: &[Sent], again: &[Sent]) -> Vec<String> {
    let before: HashMap<&str, &Answer> =
        sent.iter().map(|sent| (sent.request.key.as_str(), &sent.answer)).collect();
    let mut found = Vec::new();
    for repeated in again {
        let (first, second) = (before[repeated.request.key.as_str()], &repeated.answer);
        let essence = |answer: &Answer| {
            let mut body = answer.body.clone();
            // A problem's trace is the request's own.
            if let Some(members) = body.as_object_mut() {
                members.remove("trace_id");
            }
            (answer.status, body, answer.etag.clone(), answer.position.clone())
        };
        if essence(first) != essence(second) || !second.replayed {
            found.push(format!("{}: {first:?} and then {second:?}", repeated.request.key));
        }
    }
    found
}

fn difference(sent: &Sent, outcome: &Outcome) -> Option<String> {
    let (request, answer) = (&sent.request, &sent.answer);
    let position =
        answer.position.as_ref().map(|at| (at.category.as_str(), at.partition, at.offset));
    let (category, partition) = outcome.place;
    if position != Some((category, partition, outcome.end)) || outcome.place != request.place {
        return Some(format!(
            "the answer says position {position:?}, the log {:?}@{}",
            outcome.place, outcome.end
        ));
    }
    if outcome.aggregate != request.aggregate {
        return Some(format!("the log has aggregate {}", outcome.aggregate));
    }
    if answer.etag != Some(format!("\"v{}\"", outcome.version))
        || answer.version() != Some(outcome.version)
    {
        return Some(format!(
            "ETag {:?}, version {:?}, the log says {}",
            answer.etag,
            answer.version(),
            outcome.version
        ));
    }
    let same = match &outcome.what {
        What::Accepted(events) => {
            let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
            answer.status == if request.creates { 201 } else { 200 }
                && answer.events() == kinds
                && answer.body.get("id").and_then(Value::as_str)
                    == Some(outcome.aggregate.to_string().as_str())
        }
        What::Unchanged(_) => answer.status == 200 && answer.events().is_empty(),
        What::Rejected(reason) => {
            answer.status == 409 && answer.body.get("code") == reason.get("code")
        }
    };
    (!same).then(|| format!("the answer is {}, the log says {:?}", answer.body, outcome.what))
}
