//! What is said of a command that is put into the command queue, by what the log says of it: 202
//! only for what is in the log for certain.

use std::sync::Arc;

use highwater_command::{
    command_queue::{CommandQueue, Ends, Refusal},
    owner::announcements::Announcements,
    settings::QueueSettings,
};
use highwater_log::{FaultyLog, Log, faulty::Faults};
use highwater_protocol::command_queue::encode;
use highwater_runtime::{
    clock::{Ids, SystemIds},
    shutdown::Shutdown,
};
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    command_queue::{put, waiting},
    harness::{SOON, World, keys, owners, soon, world},
    moves::until,
};

fn queue(world: &World, log: Arc<dyn Log>, max_backlog: u64, room: usize) -> CommandQueue {
    let (announcements, _reports) = Announcements::new(
        world.log.clone(),
        owners(),
        keys(),
        "http://127.0.0.1:1".into(),
        SystemIds.v4(),
    );
    CommandQueue {
        log,
        announcements: Arc::new(announcements),
        category: "counter",
        topic: world.commands.topic.clone(),
        settings: QueueSettings { max_backlog, ..QueueSettings::default() },
        room: Arc::new(Semaphore::new(room)),
        shutdown: Shutdown::new(),
        ends: Ends::default(),
    }
}

async fn accept(queue: &CommandQueue, command: u128) -> Result<u64, Refusal> {
    soon(queue.accept(0, &waiting(command, command), Instant::now() + SOON)).await
}

#[tokio::test]
async fn what_the_log_may_have_lost_is_not_accepted() {
    let always = [
        Faults { stripped: 1_000, ..Faults::default() },
        Faults { dropped: 1_000, ..Faults::default() },
        Faults { misreported: 1_000, ..Faults::default() },
    ];
    for faults in always {
        let world = world().await;
        let log = Arc::new(FaultyLog::new(world.log.clone(), 1, faults.clone()).unwrap());
        let queue = queue(&world, log.clone(), 100, 1 << 20);
        assert_eq!(accept(&queue, 1).await, Err(Refusal::Unknown), "{faults:?}");
        assert_eq!(log.asked(), 3, "it is tried again, and not for ever: {faults:?}");
    }
}

#[tokio::test]
async fn nothing_is_accepted_before_the_log_has_it_and_its_bytes_count_until_then() {
    let world = world().await;
    let log = Arc::new(FaultyLog::new(world.log.clone(), 1, Faults::default()).unwrap());
    let size = encode(&waiting(1, 1)).size_bytes();
    let queue = queue(&world, log.clone(), 100, size * 3 / 2);
    log.hold(&world.commands);
    // Its caller goes, and the command is on its way all the same.
    assert_eq!(queue.accept(0, &waiting(1, 1), Instant::now()).await, Err(Refusal::Unknown));
    assert_eq!(log.waiting(&world.commands), 1);
    assert_eq!(accept(&queue, 2).await, Err(Refusal::NoRoom));
    log.release();
    until("the first is in the log", || queue.room.available_permits() == size * 3 / 2).await;
    assert_eq!(accept(&queue, 2).await, Ok(2), "below the offset after it");
}

#[tokio::test]
async fn what_other_instances_put_into_the_command_queue_counts_too() {
    let world = world().await;
    for command in 1..=2 {
        put(&world, encode(&waiting(command, command))).await;
    }
    let queue = queue(&world, world.log.clone(), 2, 1 << 20);
    assert_eq!(accept(&queue, 3).await, Err(Refusal::Full));
}
