//! Which way a command goes, and what goes with it: to an owner here, one hop away, or into the
//! command queue. One way, and as long as its caller waits.

use std::{sync::Arc, time::Duration};

use axum::http::{HeaderMap, HeaderValue};
use highwater_command::{
    owner::{
        Delivery,
        hop::{HOP, Hop, HopRequest},
    },
    settings::QueueSettings,
};
use highwater_http::server::HttpSettings;
use highwater_protocol::{
    command_queue::{AcceptedCommand, decode},
    partition::partition_of,
    wire::{Meta, Reason, Wire},
    writer::{Answer, Busy, Expected, Limits, Outcome, Submission},
};
use highwater_runtime::{
    clock::{Clock, Ids, SystemClock, SystemIds},
    identity::DeploymentKeys,
};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use uuid::Uuid;

use crate::{
    harness::{Add, KEYS, Owner, SOON, TestSnapshots, World, add, keys, soon, world},
    http::{Instance, header, in_queue, takes_one},
};

/// Longer than any test waits for anything.
const ENDLESS: Duration = Duration::from_secs(3_600);

async fn instance(world: &World, ownerless_wait: Duration) -> Instance {
    Instance::limited(world, QueueSettings::default(), HttpSettings::default(), ownerless_wait)
        .await
}

/// An owner that answers everything so.
fn answering(instance: &Instance, answer: Answer<Wire>) {
    let (intake, mut deliveries) = mpsc::channel::<Delivery<Add>>(1);
    instance.table.insert(0, intake);
    tokio::spawn(async move {
        while let Some(delivery) = deliveries.recv().await {
            // The request that asked may have gone.
            let _ = delivery.reply.send(answer.clone());
        }
    });
}

async fn code(response: Response) -> Value {
    soon(response.json::<Value>()).await.unwrap()["code"].clone()
}

async fn waiting(world: &World) -> Vec<AcceptedCommand> {
    let records = world.log.fetch(&world.commands, 0, 100).await.unwrap();
    records.into_iter().map(|stored| decode(stored.record).unwrap()).collect()
}

#[tokio::test]
async fn what_was_decided_in_time_does_not_go_into_the_command_queue_as_well() {
    let world = world().await;
    let instance = instance(&world, SOON).await;
    let owner =
        Owner::start(&world, world.log.clone(), TestSnapshots::default(), Limits::default());
    instance.owned_by(&owner);
    for (key, body, status) in [
        ("one", "{}", StatusCode::CREATED),
        ("two", r#"{"events":0}"#, StatusCode::CONFLICT),
        ("one", "{}", StatusCode::CREATED),
    ] {
        let response =
            soon(instance.create(key, body).header("Prefer", "wait=60").send()).await.unwrap();
        assert_eq!(response.status(), status, "{key}");
    }
    assert_eq!(in_queue(&world).await, 0);
}

#[tokio::test]
async fn a_hot_aggregate_does_not_fill_the_command_queue_and_a_busy_partition_may() {
    let world = world().await;
    let instance = instance(&world, SOON).await;
    answering(&instance, Answer::Busy(Busy::Aggregate));
    let hot = instance.send("one", "wait=60").await;
    assert_eq!((hot.status(), in_queue(&world).await), (StatusCode::SERVICE_UNAVAILABLE, 0));
    assert_eq!(code(hot).await, "aggregate.busy");
    answering(&instance, Answer::Busy(Busy::Partition));
    let busy = instance.send("one", "wait=60").await;
    assert_eq!((busy.status(), in_queue(&world).await), (StatusCode::ACCEPTED, 1));
}

#[tokio::test]
async fn an_owner_whose_queue_is_full_is_not_waited_for() {
    let world = world().await;
    let instance = instance(&world, ENDLESS).await;
    let (intake, _deliveries) = takes_one(&instance);
    let (reply, _answer) = oneshot::channel();
    let first = Delivery { submission: add(1, 1, 1), reply, deadline: Instant::now() + SOON };
    assert!(intake.try_send(first).is_ok());
    assert_eq!(code(instance.send("one", "").await).await, "partition.busy");
}

#[tokio::test]
async fn a_command_that_its_owner_sends_away_goes_to_the_next_which_looks_it_up() {
    let world = world().await;
    let instance = instance(&world, SOON).await;
    let (intake, mut owner) = takes_one(&instance);
    let create = instance
        .client
        .post(&instance.url)
        .header("Content-Type", "application/json")
        .body("{}")
        .send();
    let create = tokio::spawn(async move { create.await.unwrap() });
    let first = soon(owner.recv()).await.unwrap();
    assert!(first.submission.fresh);
    // It was deposed: what it had appended may be in the log all the same.
    instance.table.remove(0, &intake);
    let (_intake, mut next) = takes_one(&instance);
    first.reply.send(Answer::Moved).unwrap();
    let again = soon(next.recv()).await.unwrap();
    assert!(!again.submission.fresh && !again.submission.new_aggregate);
    assert_eq!(again.submission.command, first.submission.command);
    again.reply.send(Answer::Busy(Busy::Deadline)).unwrap();
    assert_eq!(code(soon(create).await.unwrap()).await, "command.undecided");
}

#[tokio::test]
async fn no_caller_waits_longer_than_the_deadline_allows_or_than_was_wanted() {
    let world = world().await;
    // An owner that never answers, and a deadline of 300 ms.
    let slow = instance(&world, Duration::from_millis(50)).await;
    let (_intake, _owner) = takes_one(&slow);
    assert_eq!(slow.send("one", "wait=3600").await.status(), StatusCode::ACCEPTED);
    // No owner, and a wait for one that is longer than the caller's.
    let ownerless = instance(&world, ENDLESS).await;
    assert_eq!(ownerless.send("two", "wait=1").await.status(), StatusCode::ACCEPTED);
    assert_eq!(in_queue(&world).await, 2);
}

#[tokio::test]
async fn a_forwarded_command_waits_no_longer_than_who_sent_it_on() {
    let world = world().await;
    let instance = instance(&world, ENDLESS).await;
    let (_intake, _owner) = takes_one(&instance);
    let sent_ms = SystemClock.now().div_euclid(1_000);
    let hop = Hop {
        to: instance.announcements.instance,
        nonce: SystemIds.v4(),
        sent_ms,
        within_ms: 100,
        minted: false,
    };
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("idempotency-key", HeaderValue::from_static("\"chosen\""));
    let seal = hop.seal(
        &instance.announcements.deployment,
        HopRequest { path: "/v1/counters", headers: &headers, body: b"{}" },
    );
    let response = soon(
        instance.client.post(&instance.url).headers(headers).header(HOP, seal).body("{}").send(),
    )
    .await
    .unwrap();
    assert!(header(&response, "highwater-hop").starts_with("may-wait"));
    assert_eq!(code(response).await, "command.undecided");
}

#[tokio::test]
async fn what_waits_says_whose_key_it_has_and_which_version_it_expects() {
    let world = world().await;
    let instance = instance(&world, SOON).await;
    let json = |request: reqwest::RequestBuilder| {
        request.header("Content-Type", "application/json").header("Prefer", "respond-async")
    };
    let conditional = instance
        .create("chosen", "{}")
        .header("Prefer", "respond-async")
        .header("If-Match", "\"v7\", \"v8\"");
    let minted = json(instance.client.post(&instance.url)).body("{}");
    for request in [conditional, minted] {
        assert_eq!(soon(request.send()).await.unwrap().status(), StatusCode::ACCEPTED);
    }
    let said: Vec<_> =
        waiting(&world).await.into_iter().map(|waits| (waits.caller_key, waits.expected)).collect();
    assert_eq!(said, [(true, Expected::OneOf(vec![7, 8])), (false, Expected::Anything)]);
    // Nor is the condition forgotten on the way to an owner.
    let (_intake, mut owner) = takes_one(&instance);
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let conditional = instance
        .create("another", "{}")
        .header("If-Match", "\"v7\"")
        .header("traceparent", traceparent)
        .send();
    let asked = tokio::spawn(async move { conditional.await.unwrap() });
    let submission = soon(owner.recv()).await.unwrap().submission;
    assert_eq!(submission.expected, Expected::OneOf(vec![7]));
    // What its events will say of it: who, within what, because of what.
    let Meta { actor, correlation, causation, traceparent: said, .. } = submission.meta;
    assert_eq!((actor, causation), (keys().actor_id("anonymous"), submission.command));
    assert_eq!(correlation, Uuid::from_u128(0x4bf92f3577b34da6a3ce929d0e0e4736));
    assert!(said.is_some_and(|said| said.starts_with(&traceparent[..36])), "the trace goes on");
    asked.abort();
}

/// A caller that names an id may mean an aggregate that is there, whether or not it chose the key.
#[tokio::test]
async fn only_an_id_that_was_derived_from_a_minted_key_is_new() {
    let world = world().await;
    let instance = instance(&world, SOON).await;
    let (_intake, mut owner) = takes_one(&instance);
    let id = Uuid::from_u128(7);
    let mut delivered = async |url: String, body: String| -> Submission<Wire, Add> {
        let request = instance
            .client
            .post(url)
            .header("Content-Type", "application/json")
            .header("If-Match", "\"v1\"")
            .body(body);
        let asked = tokio::spawn(request.send());
        let Delivery { submission, reply, .. } = soon(owner.recv()).await.unwrap();
        reply.send(Answer::Busy(Busy::Partition)).unwrap();
        assert_eq!(soon(asked).await.unwrap().unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
        submission
    };
    let named = delivered(instance.url.clone(), format!(r#"{{"id":"{id}"}}"#)).await;
    assert_eq!((named.aggregate, named.fresh, named.new_aggregate), (id, true, false));
    let raised = delivered(format!("{}/{id}/raise", instance.url), "{}".to_owned()).await;
    assert_eq!((raised.aggregate, raised.fresh, raised.new_aggregate), (id, true, false));
    let derived = delivered(instance.url.clone(), "{}".to_owned()).await;
    assert_eq!((derived.fresh, derived.new_aggregate), (true, true));
    assert_eq!(partition_of(derived.aggregate.hyphenated().to_string().as_bytes(), 1), 0);
}

/// The keys were rotated between a command and its repetition.
#[tokio::test]
async fn a_command_says_what_its_body_is_by_every_key() {
    let world = world().await;
    let rotated = format!("{KEYS}\n2:{}\n3:{}", "a".repeat(64), "b".repeat(64));
    let all = Arc::new(DeploymentKeys::parse(&rotated).unwrap());
    let (queue, http) = (QueueSettings::default(), HttpSettings::default());
    let instance = Instance::of(&world, queue, http, SOON, 1, all.clone()).await;
    let (_intake, mut owner) = takes_one(&instance);
    let asked = tokio::spawn(instance.create("one", "{}").send());
    let submission = soon(owner.recv()).await.unwrap().submission;
    asked.abort();
    let older: Vec<_> =
        submission.older_fingerprints.iter().map(|older| (older.key_number, older.hmac)).collect();
    assert_eq!((submission.fingerprint.key_number, older.len()), (3, 2));
    assert_eq!(older, all.fingerprints("counter.add", b"{}")[1..]);
    assert!(older.contains(&keys().fingerprints("counter.add", b"{}")[0]), "that of the first");
}

#[tokio::test]
async fn a_rejection_has_its_status_its_version_and_its_place() {
    let world = world().await;
    let instance = instance(&world, SOON).await;
    // What was recorded of the command queue says its status; whatever that is, no caller is told
    // of a success or of an error of the server's.
    for (recorded, status) in [
        (None, 409),
        (Some(404), 404),
        (Some(422), 422),
        (Some(200), 409),
        (Some(503), 409),
        (Some(70_000), 409),
    ] {
        let mut reason = serde_json::json!({"code": "counter.no", "detail": "no", "left": 3});
        if let Some(recorded) = recorded {
            reason["status"] = recorded.into();
        }
        let outcome = Outcome::Rejected {
            version: 4,
            end: 9,
            reason: Reason(reason.to_string().into_bytes()),
        };
        answering(&instance, Answer::Done { outcome, replayed: true });
        let response = instance.send("one", "").await;
        assert_eq!(response.status().as_u16(), status, "{recorded:?}");
        let said = ["etag", "highwater-position", "idempotency-replayed"]
            .map(|name| header(&response, name));
        assert_eq!(said, ["\"v4\"", "counter/0@9", "true"]);
        let problem = soon(response.json::<Value>()).await.unwrap();
        assert_eq!(
            (&problem["code"], &problem["left"], &problem["status"]),
            (&"counter.no".into(), &3.into(), &status.into())
        );
    }
}
