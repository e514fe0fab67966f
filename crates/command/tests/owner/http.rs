//! The command queue as a caller sees it: an instance with routes, and an owner only where a
//! test starts one.

use std::{collections::BTreeSet, num::NonZeroUsize, sync::Arc, time::Duration};

use axum::http::{HeaderMap, HeaderValue};
use highwater_command::{
    category::Commands,
    command_queue::{CommandQueue, Ends},
    http::{App, Figures, routes},
    owner::{
        Delivery,
        announcements::Announcements,
        hop::{HOP, Hop, HopRequest},
        table::Table,
    },
    settings::{OwnerSettings, QueueSettings},
};
use highwater_http::server::{BulkheadSettings, HttpSettings, layers};
use highwater_log::{
    FaultyLog,
    faulty::{Faults, Takes},
};
use highwater_protocol::{
    partition::partition_of,
    writer::{Answer, Busy, Limits},
};
use highwater_runtime::{
    clock::{Clock, Ids, SystemClock, SystemIds},
    context::Context,
    identity::DeploymentKeys,
};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
};
use uuid::Uuid;

use crate::documented::Row;
use crate::{
    harness::{
        Add, Counters, Owner, SOON, TestSnapshots, World, forwarder, history, keys, owners, soon,
        world,
    },
    moves::until,
};

pub struct Instance {
    pub url: String,
    pub announcements: Arc<Announcements>,
    /// Requests that it has answered.
    answered: watch::Receiver<usize>,
    app: Arc<App<Counters>>,
    pub table: Arc<Table<Add>>,
    pub client: reqwest::Client,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Instance {
    pub async fn start(world: &World, queue: QueueSettings) -> Self {
        Self::limited(world, queue, HttpSettings::default(), Duration::from_millis(50)).await
    }

    pub async fn limited(
        world: &World,
        queue: QueueSettings,
        http: HttpSettings,
        ownerless_wait: Duration,
    ) -> Self {
        Self::of(world, queue, http, ownerless_wait, 1, keys()).await
    }

    pub async fn of(
        world: &World,
        queue: QueueSettings,
        http: HttpSettings,
        ownerless_wait: Duration,
        partitions: u32,
        keys: Arc<DeploymentKeys>,
    ) -> Self {
        let ctx = Context {
            clock: Arc::new(SystemClock),
            ids: Arc::new(SystemIds),
            ..Context::for_tests()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (announcements, reports) = Announcements::new(
            world.log.clone(),
            owners(),
            keys.clone(),
            url.clone(),
            SystemIds.v4(),
        );
        let (announcements, table) = (Arc::new(announcements), Arc::new(Table::new()));
        let following = tokio::spawn(announcements.clone().follow(reports));
        let app = Arc::new(App::<Counters> {
            collection: "counters",
            ctx: ctx.clone(),
            keys,
            commands: Arc::new(Commands::of::<Counters>().unwrap()),
            table: table.clone(),
            announcements: announcements.clone(),
            forwarder: forwarder(&announcements),
            hop_age: Duration::from_secs(30),
            partitions,
            figures: Figures::new("counter"),
            waiting: Semaphore::new(2),
            settings: OwnerSettings {
                ownerless_wait_ms: u64::try_from(ownerless_wait.as_millis()).unwrap(),
                deadline_ms: u64::try_from(ownerless_wait.as_millis()).unwrap() + 250,
                ..OwnerSettings::default()
            },
            command_queue: CommandQueue {
                log: world.log.clone(),
                announcements: announcements.clone(),
                category: "counter",
                topic: world.commands.topic.clone(),
                settings: queue,
                room: Arc::new(Semaphore::new(1 << 20)),
                shutdown: ctx.shutdown.clone(),
                ends: Ends::default(),
            },
        });
        let (answers, answered) = watch::channel(0);
        let counted = axum::middleware::from_fn(move |request, next: axum::middleware::Next| {
            let answers = answers.clone();
            async move {
                let response = next.run(request).await;
                answers.send_modify(|count| *count += 1);
                response
            }
        });
        let router = layers(routes(app.clone()), &http, &ctx).layer(counted);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let (url, tasks) = (format!("{url}/v1/counters"), [serving, following]);
        Self {
            url,
            announcements,
            answered,
            app,
            table,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            tasks,
        }
    }

    /// A create with this key.
    pub fn create(&self, key: &str, body: &str) -> RequestBuilder {
        let request = self
            .client
            .post(&self.url)
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", key);
        request.body(body.to_owned())
    }

    pub async fn send(&self, key: &str, prefer: &str) -> Response {
        let request = self.create(key, "{}");
        let request = if prefer.is_empty() { request } else { request.header("Prefer", prefer) };
        soon(request.send()).await.unwrap()
    }

    /// Sends until it is created: an owner that has just begun, or has much to do, is not held to a
    /// deadline here.
    async fn created(&self, key: &str) -> Response {
        soon(async {
            loop {
                let response = self.send(key, "").await;
                if response.status() != StatusCode::SERVICE_UNAVAILABLE {
                    assert_eq!(response.status(), StatusCode::CREATED);
                    return response;
                }
            }
        })
        .await
    }

    pub fn owned_by(&self, owner: &Owner) {
        self.table.insert(0, owner.intake.clone());
    }
}

pub fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
}

/// The command id in the URL of an operation, and the position behind it.
fn operation(location: &str) -> (Uuid, &str) {
    let (path, accepted) = location.split_once('?').unwrap_or((location, ""));
    (path.strip_prefix("/v1/operations/").unwrap().parse().unwrap(), accepted)
}

pub async fn in_queue(world: &World) -> u64 {
    world.log.end(&world.commands).await.unwrap()
}

#[tokio::test]
async fn without_an_owner_a_command_is_accepted_and_decided_later_as_if_it_had_been_waited_for() {
    let world = world().await;
    let instance = Instance::start(&world, QueueSettings::default()).await;
    let response = instance.send("one", "respond-async").await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let applied = ["retry-after", "preference-applied", "idempotency-key"]
        .map(|name| header(&response, name));
    assert_eq!(applied, ["1", "respond-async", "\"one\""]);
    let location = header(&response, "location");
    let (command, accepted) = operation(&location);
    assert_eq!(accepted, "accepted=counter/0@1");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["operation"], location.as_str());

    let owner =
        Owner::start(&world, world.log.clone(), TestSnapshots::default(), Limits::default());
    instance.owned_by(&owner);
    let waited: Value = instance.created("one").await.json().await.unwrap();
    assert_eq!(waited["id"], body["id"], "the same aggregate");
    let history = history(&world).await;
    assert_eq!(history.commits.keys().copied().collect::<Vec<_>>(), [command]);
}

#[tokio::test]
async fn who_does_not_allow_the_command_queue_gets_503_with_the_operation() {
    let world = world().await;
    let instance = Instance::start(&world, QueueSettings::default()).await;
    let response = instance.send("one", "").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let location = header(&response, "location");
    let (refused, _) = operation(&location);
    let problem: Value = response.json().await.unwrap();
    assert_eq!(
        (&problem["code"], &problem["operation"]),
        (&Value::from("partition.ownerless"), &Value::from(location.as_str()))
    );
    assert_eq!(in_queue(&world).await, 0);
    for (nth, prefer) in (1..).zip(["wait=0", "wait=1", "wait=1, respond-async"]) {
        let response = instance.send("one", prefer).await;
        assert_eq!(
            (response.status(), in_queue(&world).await),
            (StatusCode::ACCEPTED, nth),
            "{prefer}"
        );
        let location = header(&response, "location");
        assert_eq!(operation(&location).0, refused, "the same operation");
    }
}

#[tokio::test]
async fn commands_that_wait_for_an_owner_keep_no_other_out() {
    let world = world().await;
    // One permit, and two may wait without one.
    let commands = BulkheadSettings {
        limit: NonZeroUsize::MIN,
        waiting: 0,
        waiting_ms: 2_000,
        ..BulkheadSettings::default()
    };
    let http = HttpSettings { commands, ..HttpSettings::default() };
    let instance = Instance::limited(&world, QueueSettings::default(), http, SOON).await;
    let other = async || {
        let response = soon(instance.create("other", r#"{"unknown":1}"#).send()).await.unwrap();
        (response.status(), soon(response.json::<Value>()).await.unwrap()["code"].clone())
    };
    // One that finds the permit taken, by an answer that is still going out, comes again.
    let ownerless = |key: &str, prefer: &'static str| {
        let request = instance.create(key, "{}").header("Prefer", prefer);
        tokio::spawn(async move {
            loop {
                let response = request.try_clone().unwrap().send().await.unwrap();
                if response.headers().contains_key("location") {
                    return response;
                }
                assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            }
        })
    };
    let places = &instance.app.waiting;
    // The first would rather wait in the command queue than hear no, when its time is over.
    let first = ownerless("first", "wait=50");
    until("the first waits without a permit", || places.available_permits() == 1).await;
    let second = ownerless("second", "");
    until("the second waits without a permit", || places.available_permits() == 0).await;
    soon(async { while other().await.0 != StatusCode::UNPROCESSABLE_ENTITY {} }).await;
    // In the place of the second comes one that finds none, and keeps its permit.
    second.abort();
    until("the second is gone", || places.available_permits() == 1).await;
    let taken = places.try_acquire().unwrap();
    let third = ownerless("third", "");
    let refused = soon(async {
        loop {
            let answer = other().await;
            if answer.0 != StatusCode::UNPROCESSABLE_ENTITY {
                return answer;
            }
        }
    });
    assert_eq!(refused.await, (StatusCode::SERVICE_UNAVAILABLE, "overloaded".into()));
    // Whatever became of its permit, each hears how to ask again and where.
    let is_told = async |waiting: JoinHandle<Response>| {
        let response = soon(waiting).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            header(&response, "location").starts_with("/v1/operations/")
                && !header(&response, "idempotency-key").is_empty()
        );
    };
    // The first finds no permit when it looks again, and must not go on without.
    is_told(first).await;
    let (intake, mut deliveries) = mpsc::channel::<Delivery<Add>>(1);
    instance.table.insert(0, intake);
    tokio::spawn(async move {
        while let Some(delivery) = deliveries.recv().await {
            delivery.reply.send(Answer::Busy(Busy::Partition)).unwrap();
        }
    });
    is_told(third).await;
    assert_eq!(
        in_queue(&world).await,
        0,
        "a command waits in the command queue, and its caller was told otherwise"
    );
    drop(taken);
    soon(async { while other().await.0 != StatusCode::UNPROCESSABLE_ENTITY {} }).await;
    Row {
        id: "W5b",
        situation: "more commands than `http.commands` has permits, for partitions without an \
                    owner or whose owner is another instance",
        answer: "`owner.waiting_limit` of them wait without a permit, so that commands for other \
                 partitions are decided meanwhile; more \
                 keep theirs",
        test: (file!(), "commands_that_wait_for_an_owner_keep_no_other_out"),
    }
    .check();
}

/// An owner that takes one command and is told what came of it.
pub fn takes_one(
    instance: &Instance,
) -> (mpsc::Sender<Delivery<Add>>, mpsc::Receiver<Delivery<Add>>) {
    let (intake, deliveries) = mpsc::channel(1);
    instance.table.insert(0, intake.clone());
    (intake, deliveries)
}

#[tokio::test]
async fn after_a_hop_a_command_may_have_been_seen() {
    let world = world().await;
    let wait = Duration::from_secs(10);
    let peer =
        Instance::limited(&world, QueueSettings::default(), HttpSettings::default(), wait).await;
    let asked =
        Instance::limited(&world, QueueSettings::default(), HttpSettings::default(), wait).await;
    peer.announcements.publish("counter", 0, 1);
    let mut heard = asked.announcements.watch();
    while asked.announcements.other("counter", 0).is_none() {
        soon(heard.changed()).await.unwrap();
    }
    // No caller chose its key: none can have sent it before.
    let create =
        asked.client.post(&asked.url).header("Content-Type", "application/json").body("{}").send();
    let create = tokio::spawn(async move { create.await.unwrap() });
    let mut answered = peer.answered.clone();
    soon(answered.wait_for(|answered| *answered > 0)).await.unwrap();
    let (_intake, mut owner) = takes_one(&asked);
    let delivery = soon(owner.recv()).await.unwrap();
    assert!(
        !delivery.submission.fresh && !delivery.submission.new_aggregate,
        "its ids are looked up"
    );
    drop((delivery, owner, create));
}

#[tokio::test]
async fn after_its_owner_ended_a_command_may_have_been_seen() {
    let world = world().await;
    let instance =
        Instance::limited(&world, QueueSettings::default(), HttpSettings::default(), SOON).await;
    let create = instance
        .client
        .post(&instance.url)
        .header("Content-Type", "application/json")
        .body("{}")
        .send();
    let (intake, mut owner) = takes_one(&instance);
    let create = tokio::spawn(async move { create.await.unwrap() });
    let first = soon(owner.recv()).await.unwrap().submission;
    assert!(
        first.fresh && first.new_aggregate && !first.caller_key,
        "no caller can have sent it before"
    );
    // It may have appended the command, and ends.
    instance.table.remove(0, &intake);
    drop(owner);
    let (_intake, mut owner) = takes_one(&instance);
    let again = soon(owner.recv()).await.unwrap().submission;
    assert!(!again.fresh && !again.new_aggregate && !again.caller_key, "its ids are looked up");
    assert_eq!(
        (again.command, again.aggregate, again.fingerprint),
        (first.command, first.aggregate, first.fingerprint)
    );
    create.abort();

    let chosen = instance.create("chosen", "{}").send();
    let chosen = tokio::spawn(async move { chosen.await.unwrap() });
    let first = soon(owner.recv()).await.unwrap().submission;
    assert!(
        !first.fresh && !first.new_aggregate && first.caller_key,
        "the caller that chose the key may have sent it before"
    );
    chosen.abort();
}

#[tokio::test]
async fn a_command_goes_to_the_owner_of_its_aggregates_partition() {
    const PARTITIONS: u32 = 8;
    let world = world().await;
    let instance = Instance::of(
        &world,
        QueueSettings::default(),
        HttpSettings::default(),
        SOON,
        PARTITIONS,
        keys(),
    )
    .await;
    let (decided, mut decides) = mpsc::unbounded_channel();
    for partition in 0..PARTITIONS {
        let (intake, mut deliveries) = mpsc::channel::<Delivery<Add>>(1);
        instance.table.insert(partition, intake);
        let decided = decided.clone();
        tokio::spawn(async move {
            while let Some(delivery) = deliveries.recv().await {
                decided.send((partition, delivery.submission.aggregate)).unwrap();
                delivery.reply.send(Answer::Busy(Busy::Partition)).unwrap();
            }
        });
    }
    let mut partitions = BTreeSet::new();
    for key in 0..40 {
        assert_eq!(
            instance.send(&format!("key {key}"), "").await.status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        let (partition, aggregate) = soon(decides.recv()).await.unwrap();
        assert_eq!(
            partition,
            partition_of(aggregate.hyphenated().to_string().as_bytes(), PARTITIONS)
        );
        partitions.insert(partition);
    }
    assert!(partitions.len() > 4, "only {partitions:?}");
}

#[tokio::test]
async fn an_instance_whose_owner_ended_with_a_command_does_not_say_that_nothing_was_decided() {
    let world = world().await;
    let instance = Instance::limited(
        &world,
        QueueSettings::default(),
        HttpSettings::default(),
        Duration::from_secs(10),
    )
    .await;
    let (intake, mut owner) = takes_one(&instance);
    let hop = Hop {
        to: instance.announcements.instance,
        nonce: SystemIds.v4(),
        sent_ms: SystemClock.now().div_euclid(1_000),
        within_ms: 5_000,
        minted: true,
    };
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("idempotency-key", HeaderValue::from_static("\"minted\""));
    let seal = hop.seal(
        &instance.announcements.deployment,
        HopRequest { path: "/v1/counters", headers: &headers, body: b"{}" },
    );
    let sent =
        instance.client.post(&instance.url).headers(headers).header(HOP, seal).body("{}").send();
    let sent = tokio::spawn(async move { sent.await.unwrap() });
    let delivery = soon(owner.recv()).await.unwrap();
    let hopped = &delivery.submission;
    assert!(
        !hopped.fresh && !hopped.new_aggregate && !hopped.caller_key,
        "its sender may have had it before"
    );
    // It has appended the command, ends, and may not have the partition back.
    instance.table.remove(0, &intake);
    drop((delivery, owner));
    let response = soon(sent).await.unwrap();
    let end = header(&response, "highwater-hop");
    assert!(end.starts_with("may-wait"), "{}: {end}", response.status());
    assert_eq!(soon(response.json::<Value>()).await.unwrap()["code"], "command.undecided");
}

#[tokio::test]
async fn an_owner_that_is_too_slow_decides_what_was_deferred_once() {
    let world = world().await;
    let instance = Instance::start(&world, QueueSettings::default()).await;
    let slow = Arc::new(FaultyLog::new(world.log.clone(), 1, Faults::default()).unwrap());
    let owner = Owner::start(&world, slow.clone(), TestSnapshots::default(), Limits::default());
    instance.owned_by(&owner);
    instance.created("before").await;
    slow.hold(&world.partition);
    let undecided = instance.send("slow", "").await;
    assert_eq!(undecided.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(undecided.json::<Value>().await.unwrap()["code"], "command.undecided");
    let deferred = instance.send("slow", "wait=1").await;
    assert_eq!(deferred.status(), StatusCode::ACCEPTED);
    let location = header(&deferred, "location");
    slow.release();
    instance.created("slow").await;
    let history = history(&world).await;
    assert!(history.commits.contains_key(&operation(&location).0));
    assert_eq!(history.commits.len(), 2);
}

#[tokio::test]
async fn what_can_be_refused_without_the_owner_never_waits() {
    let world = world().await;
    let instance = Instance::start(&world, QueueSettings::default()).await;
    let asynchronous =
        |request: RequestBuilder| soon(request.header("Prefer", "respond-async").send());
    let wrong = asynchronous(instance.create("one", r#"{"events":"many"}"#)).await.unwrap();
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        asynchronous(instance.create("one", "{")).await.unwrap().status(),
        StatusCode::BAD_REQUEST
    );
    let text = instance.client.post(&instance.url).header("Content-Type", "text/plain").body("{}");
    assert_eq!(asynchronous(text).await.unwrap().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let large = instance.create("one", &format!("{{\"events\":{}}}", " ".repeat(300_000)));
    assert_eq!(asynchronous(large).await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(in_queue(&world).await, 0);
}

#[tokio::test]
async fn a_command_queue_that_is_full_says_so_and_keeps_the_key() {
    let world = world().await;
    let instance =
        Instance::start(&world, QueueSettings { max_backlog: 1, ..QueueSettings::default() }).await;
    assert_eq!(instance.send("one", "respond-async").await.status(), StatusCode::ACCEPTED);
    let full = instance.send("two", "respond-async").await;
    assert_eq!(
        (full.status(), header(&full, "idempotency-key")),
        (StatusCode::SERVICE_UNAVAILABLE, "\"two\"".to_owned())
    );
    assert!(!header(&full, "retry-after").is_empty() && !header(&full, "location").is_empty());
    assert_eq!(full.json::<Value>().await.unwrap()["code"], "queue.full");
}

#[tokio::test]
async fn a_record_that_the_log_refuses_is_said_with_when_to_come_again() {
    let world = world().await;
    let instance = Instance::start(&world, QueueSettings::default()).await;
    let log = Arc::new(FaultyLog::new(world.log.clone(), 1, Faults::default()).unwrap());
    let owner = Owner::start(&world, log.clone(), TestSnapshots::default(), Limits::default());
    instance.owned_by(&owner);
    instance.created("before").await;
    // The fence.
    let smallest = world.log.fetch(&world.partition, 0, 1).await.unwrap()[0].record.size_bytes();
    log.take(Takes::UpTo(smallest));
    let refused = async {
        loop {
            let response = instance.send("one", "").await;
            let (status, after) = (response.status(), header(&response, "retry-after"));
            // Until the owner has found out why.
            if response.json::<Value>().await.unwrap()["code"] == "log.refused" {
                return (status, after);
            }
        }
    };
    let (status, after) = soon(refused).await;
    assert!(
        status == StatusCode::SERVICE_UNAVAILABLE
            && after.parse::<u64>().is_ok_and(|seconds| seconds > 0),
        "{status} {after}"
    );
}

#[tokio::test]
async fn w4_what_waits_is_as_small_as_it_can_be_said() {
    let world = world().await;
    let instance = Instance::start(&world, QueueSettings::default()).await;
    let asynchronous = async |key: &str, body: &str| {
        soon(instance.create(key, body).header("Prefer", "respond-async").send()).await.unwrap()
    };
    let spacious =
        format!("{{\n\t\"must_exist\" :  false,{}\"events\": 1.0e0 }}", " ".repeat(262_000));
    assert_eq!(asynchronous("one", &spacious).await.status(), StatusCode::ACCEPTED);
    let again = asynchronous("one", r#"{"events":1,"must_exist":false}"#).await;
    assert_eq!(again.status(), StatusCode::ACCEPTED);
    let records = world.log.fetch(&world.commands, 0, 10).await.unwrap();
    let decoded: Vec<_> = records
        .iter()
        .map(|stored| highwater_protocol::command_queue::decode(stored.record.clone()).unwrap())
        .collect();
    let bodies: Vec<_> =
        decoded.iter().map(|command| String::from_utf8_lossy(&command.body)).collect();
    assert_eq!(bodies, [r#"{"events":1,"must_exist":false}"#; 2]);
    assert_eq!(
        (decoded[0].command, &decoded[0].fingerprint),
        (decoded[1].command, &decoded[1].fingerprint),
        "the same command"
    );
    let largest = records.iter().map(|stored| stored.record.size_bytes()).max().unwrap_or_default();
    assert!(largest < 1_000, "{largest} bytes");
    Row {
        id: "W4",
        situation: "`Prefer: respond-async` with a small body and 262 kB of white space",
        answer: "202; less than 1,000 bytes in the log: the body's canonical form. \
                 `queue.max_backlog_bytes` bounds what waits",
        test: (file!(), "w4_what_waits_is_as_small_as_it_can_be_said"),
    }
    .check();
}
