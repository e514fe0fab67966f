//! What a test's own thread says to the log of its process.
//!
//! One subscriber hears all threads: tracing asks the subscriber of the thread that meets a call
//! first whether it is wanted, and keeps the answer for all of them. With a subscriber on one
//! thread alone, what a test without one met first would never be heard.

use std::{
    cell::RefCell,
    io,
    sync::{Arc, Once},
};

use parking_lot::Mutex;

#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

thread_local! {
    static HEARD: RefCell<Option<Lines>> = const { RefCell::new(None) };
}

/// For as long as it lives, what this thread says is heard.
pub struct Listening;

impl Lines {
    pub fn listen(&self) -> Listening {
        static SUBSCRIBED: Once = Once::new();
        SUBSCRIBED.call_once(|| {
            let subscriber =
                tracing_subscriber::fmt().with_writer(|| Mouth).with_ansi(false).finish();
            if let Err(error) = tracing::subscriber::set_global_default(subscriber) {
                panic!("another subscriber listens to this process: {error}");
            }
            // Of what was met between the two.
            tracing::callsite::rebuild_interest_cache();
        });
        HEARD.with_borrow_mut(|heard| *heard = Some(self.clone()));
        Listening
    }

    /// How many have each of `texts` in them.
    pub fn with<const N: usize>(&self, texts: [&str; N]) -> usize {
        let bytes = self.0.lock();
        let text = String::from_utf8_lossy(&bytes);
        text.lines().filter(|line| texts.iter().all(|text| line.contains(text))).count()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        HEARD.with_borrow_mut(|heard| *heard = None);
    }
}

/// Of the thread that writes.
struct Mouth;

impl io::Write for Mouth {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        HEARD.with_borrow(|heard| {
            if let Some(Lines(lines)) = heard {
                lines.lock().extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
