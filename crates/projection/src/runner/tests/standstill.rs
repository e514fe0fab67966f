//! The clock of these tests moves on when every task waits. With a task that never waits it stands
//! still, and so no deadline ends that; counting does.

use std::{
    future::poll_fn,
    pin::pin,
    task::{Context, Poll},
};

use tokio::time::Instant;

/// No task has so much to do at the same moment.
const MOST_POLLS: usize = 500;

/// What `future` comes to. Fails if it goes on and on while the clock stands still.
pub async fn unless_it_spins<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let (mut at, mut polls) = (Instant::now(), 0);
    poll_fn(move |cx: &mut Context<'_>| -> Poll<T> {
        let now = Instant::now();
        polls = if now == at { polls + 1 } else { 0 };
        at = now;
        assert!(
            polls < MOST_POLLS,
            "it spins: it has something to do again and again, and no time passes"
        );
        future.as_mut().poll(cx)
    })
    .await
}
