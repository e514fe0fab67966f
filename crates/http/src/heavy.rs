//! Owns the place of what takes milliseconds of a processor: beside the threads that answer
//! requests, and few at once, so that some processors are left to them. Must never be asked for
//! what waits.

use std::sync::LazyLock;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// What is done with fewer bytes of a body is done where it comes up: going elsewhere costs more
/// than that.
const LARGE: usize = 16 * 1024;

/// Half of the processors.
static PLACES: LazyLock<Semaphore> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    Semaphore::new((processors / 2).max(1))
});

/// Whether work on so many bytes belongs here.
pub fn is_large(bytes: usize) -> bool {
    bytes >= LARGE
}

/// Does `work` in its turn. It is done to its end even when its caller does not wait for it any
/// more.
pub async fn done<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    // The semaphore is never closed.
    let place = PLACES.acquire().await;
    match spawn_blocking(move || {
        // For as long as the work takes, whether or not its caller still waits.
        let _place = place;
        work()
    })
    .await
    {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_thread_that_answers_requests_goes_on_meanwhile() {
        let (told, heard) = mpsc::channel();
        // On the one thread of this runtime no task could tell it anything.
        let work = tokio::spawn(done(move || heard.recv_timeout(Duration::from_secs(10))));
        tokio::task::yield_now().await;
        assert_eq!((told.send(()), work.await.ok()), (Ok(()), Some(Ok(()))));
    }
}
