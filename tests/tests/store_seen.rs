//! Ids that were never seen cost no statement, and a command that was seen gets its first outcome,
//! however long ago that was: on real brokers and real tables, with projectors running.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "whatever cannot be set up must fail the test"
)]

#[path = "store_support/build.rs"]
mod build;
#[path = "store_seen/client.rs"]
mod client;
#[path = "store_seen/deployment.rs"]
mod deployment;
#[expect(dead_code, reason = "no broker is killed here")]
#[path = "store_faults/kafka.rs"]
mod kafka;
#[path = "store_faults/process.rs"]
mod process;
#[path = "store_seen/repeats.rs"]
mod repeats;
#[path = "store_seen/statements.rs"]
mod statements;

use client::{Client, Request};
use deployment::Deployment;
use highwater_runtime::clock::{Ids, SystemIds};
use repeats::{First, SHELF, firsts, later};
use serde_json::json;

const CONNECTIONS: usize = 256;
/// Half of them creates, half of them on warm aggregates.
const COMMANDS: usize = 3_072;
const WARM: usize = 96;
/// Far more than an owner keeps of them; `bin/long` sends 10,000.
const LATER: u64 = 2_000;
/// Below what one aggregate queues.
const LATER_CONNECTIONS: usize = 48;
/// With these an owner forgets everything that `snapshots` has, ten times a second.
const FORGETFUL: [(&str, &str); 3] = [
    ("OWNER__CACHED_AGGREGATES", "0"),
    ("OWNER__CACHED_OUTCOMES", "0"),
    ("OWNER__CHECKPOINT_INTERVAL_MS", "100"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_never_seen_asks_no_table_and_what_was_seen_gets_its_first_outcome() {
    let mut deployment = Deployment::start().await;
    deployment.command_apis(1, &[]).await;
    unseen_ids_cost_no_statement(&deployment).await;
    deployment.stop_command_apis().await;
    deployment.command_apis(2, &FORGETFUL).await;
    repeated_commands_get_their_first_outcome(&mut deployment).await;
    deployment.audit();
}

async fn unseen_ids_cost_no_statement(deployment: &Deployment) {
    let client = deployment.client();
    let warm: Vec<_> = (0..WARM).map(|_| SystemIds.v4()).collect();
    let received = warm
        .iter()
        // More than is taken, in whatever sequence the commands that follow are decided.
        .map(|id| Request::act("stock", *id, "receive", json!({"quantity": COMMANDS})))
        .collect();
    let ends = client.all(received, CONNECTIONS).await;
    deployment.caught_up(&ends).await;
    // So that an owner that forgets what `snapshots` has would have done so.
    deployment.statements.polled_by(1).await;

    let before = deployment.statements.without_polls().await;
    let ends =
        client.all((0..COMMANDS).map(|number| fresh(number, &warm)).collect(), CONNECTIONS).await;
    deployment.statements.polled_by(1).await;
    assert_eq!(
        deployment.statements.without_polls().await,
        before,
        "command-api asked the database"
    );
    deployment.caught_up(&ends).await;
}

/// A key of its own: for a create that derives its id, one that names it, or a command on a warm
/// aggregate.
fn fresh(number: usize, warm: &[uuid::Uuid]) -> Request {
    let product =
        json!({"name": "Cup", "department": "KITCHEN", "unit_price_minor": 250, "currency": "EUR"});
    let line = json!({
        "product_id": SystemIds.v4(), "department": "KITCHEN", "quantity": 2,
        "unit_price_minor": 250,
    });
    match number % 4 {
        0 => Request::create("products", product),
        1 => Request::create(
            "orders",
            json!({
                "id": SystemIds.v4(), "customer_id": SystemIds.v4(), "currency": "EUR",
                "lines": [line],
            }),
        ),
        2 => {
            Request::act("stock", warm[number / 4 % warm.len()], "receive", json!({"quantity": 3}))
        }
        _ => Request::act(
            "stock",
            warm[number / 4 % warm.len()],
            "adjust",
            json!({"delta": -1, "reason": "broken"}),
        ),
    }
}

async fn repeated_commands_get_their_first_outcome(deployment: &mut Deployment) {
    let client = deployment.client();
    let firsts = firsts(&client).await;
    let many = std::env::var("HIGHWATER_LATER").map_or(LATER, |many| many.parse().unwrap());
    let mut ends = client.all((0..many).map(later).collect(), LATER_CONNECTIONS).await;
    ends.extend(firsts.iter().map(|first| first.answer.position.clone()));
    deployment.caught_up(&ends).await;
    assert_eq!(deployment.version_of(SHELF).await, many + 2, "each of them once");
    deployment.statements.polled_by(2).await;
    repeat("after many later commands", deployment, &firsts).await;

    deployment.restart_command_apis().await;
    repeat("after a restart", deployment, &firsts).await;

    deployment.kill_the_owner_of(&firsts[0].answer.position).await;
    repeat("after a take-over", deployment, &firsts).await;
    assert_eq!(deployment.version_of(SHELF).await, many + 2, "and no repeat did anything");
}

/// Through every instance that runs, also with an expected version that is wrong, and with another
/// body.
async fn repeat(when: &str, deployment: &Deployment, firsts: &[First]) {
    let client: Client = deployment.client();
    for First { request, answer } in firsts {
        let looked_up = deployment.statements.loads().await;
        let again = client.settle(0, request).await;
        assert_eq!(again.outcome(), answer.outcome(), "{when}: {request:?}");
        assert!(again.replayed, "{when}: {request:?}");
        deployment.statements.loads_above(looked_up).await;
        for target in 0..client.targets() {
            let again = client.settle(target, &request.expecting_another_version()).await;
            assert_eq!(
                (again.outcome(), again.replayed),
                (answer.outcome(), true),
                "{when}, at {target}: {request:?}"
            );
        }
        let other = client.settle(0, &request.with_another_body()).await;
        assert_eq!(
            (other.status, &other.body["code"]),
            (422, &json!("idempotency-key.reused")),
            "{when}: {request:?}"
        );
    }
}
