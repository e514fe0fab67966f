//! Seeded faults under an owner, with a client that retries: what is acknowledged is in the log
//! once, whatever the log did.

use std::{sync::Arc, time::Duration};

use highwater_log::{FaultyLog, faulty::Faults};
use highwater_protocol::writer::{Answer, Limits, Outcome};

use crate::harness::{Owner, TestSnapshots, accepted, add, history, soon, world};

const COMMANDS: u128 = 120;

async fn faulty_run(seed: u64, faults: Faults) {
    let world = world().await;
    let log = Arc::new(FaultyLog::new(world.log.clone(), seed, faults).unwrap());
    let limits = Limits { read_back_deadline_ms: 200, in_flight_records: 16, ..Limits::default() };
    let mut owner = Owner::start(&world, log.clone(), TestSnapshots::default(), limits);
    let mut acknowledged = Vec::new();
    for batch in 0..COMMANDS / 12 {
        let ids: Vec<_> = (batch * 12..(batch + 1) * 12).collect();
        let mut open: Vec<_> = ids.iter().map(|id| (*id, owner.send(command(*id)))).collect();
        while let Some((id, answer)) = open.pop() {
            match soon(answer).await {
                Ok(Answer::Done { outcome, .. }) => acknowledged.push((id, outcome)),
                Ok(Answer::Busy(_) | Answer::Moved) | Err(_) => {
                    if !owner.is_running() {
                        owner = Owner::start(&world, log.clone(), TestSnapshots::default(), limits);
                    }
                    open.push((id, owner.send(command(id))));
                }
                Ok(other) => panic!("seed {seed}: command {id} was answered {other:?}"),
            }
        }
    }
    let history = history(&world).await;
    assert_eq!(acknowledged.len() as u128, COMMANDS);
    for (id, outcome) in acknowledged {
        let command = uuid::Uuid::from_u128(1000 + id);
        match outcome {
            Outcome::Accepted { version, end, .. } => {
                assert_eq!(
                    history.commits.get(&command),
                    Some(&(version, end)),
                    "seed {seed}: command {id} is not where it was acknowledged"
                );
            }
            Outcome::Rejected { .. } => {
                assert!(
                    history.rejected.contains_key(&command),
                    "seed {seed}: the rejection of {id} is not in the log"
                )
            }
            Outcome::Unchanged { .. } => panic!("nothing here does nothing"),
        }
    }
}

/// Every seventh is rejected, every third makes three events.
fn command(
    id: u128,
) -> highwater_protocol::writer::Submission<highwater_protocol::wire::Wire, crate::harness::Add> {
    let events = if id.is_multiple_of(7) {
        0
    } else if id.is_multiple_of(3) {
        3
    } else {
        1
    };
    add(1000 + id, id % 5, events)
}

#[tokio::test]
async fn what_is_acknowledged_is_in_the_log_once_whatever_the_log_did() {
    let delay_up_to = Duration::from_millis(5);
    let kinds = [
        Faults { dropped: 50, delay_up_to, ..Faults::default() },
        Faults { misreported: 50, delay_up_to, ..Faults::default() },
        Faults { stripped: 200, delay_up_to, ..Faults::default() },
        Faults { duplicated: 100, foreign: 100, delay_up_to, ..Faults::default() },
        Faults {
            dropped: 20,
            duplicated: 50,
            stripped: 100,
            misreported: 20,
            foreign: 50,
            delayed: 100,
            reported_late: 100,
            delay_up_to,
        },
    ];
    for (n, faults) in kinds.into_iter().enumerate() {
        for seed in 0..3 {
            faulty_run(seed + 10 * n as u64, faults.clone()).await;
        }
    }
}

/// The client goes away, the command stays: the same key later gets the recorded outcome.
#[tokio::test]
async fn a_command_sent_again_is_answered_as_it_was_decided() {
    let world = world().await;
    let owner =
        Owner::start(&world, world.log.clone(), TestSnapshots::default(), Limits::default());
    drop(owner.send(add(1, 1, 2)));
    let first = owner.ask(add(1, 1, 2)).await;
    assert_eq!(accepted(&first), Some((2, 3)));
    let mut other = add(1, 1, 2);
    other.fingerprint.hmac = [9; 32];
    assert_eq!(owner.ask(other).await, Answer::KeyReused);
    let rejected = owner.ask(add(2, 1, 0)).await;
    assert!(matches!(
        &rejected,
        Answer::Done { outcome: Outcome::Rejected { version: 2, .. }, replayed: false }
    ));
    owner.stop.cancel();
    owner.ended().await;

    let next = Owner::start(&world, world.log.clone(), TestSnapshots::default(), Limits::default());
    let again = next.ask(add(1, 1, 2)).await;
    assert!(matches!(again, Answer::Done { replayed: true, .. }));
    assert_eq!(accepted(&again), accepted(&first));
    assert!(matches!(
        next.ask(add(2, 1, 0)).await,
        Answer::Done { outcome: Outcome::Rejected { version: 2, .. }, replayed: true }
    ));
}
