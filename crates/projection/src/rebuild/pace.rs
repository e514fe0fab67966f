//! How fast tables are made anew: at a rate, and only while the live projection keeps up.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use highwater_protocol::record::StoredRecord;
use highwater_runtime::clock::Clock;
use tokio::{sync::Mutex, time::Instant};

use super::{Error, Places, Rebuild};

/// How often it is looked where the live projection is.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A live projection that has not moved for so long while there was something to do is not running,
/// and is not waited for.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(10);
/// Records that are looked at to find one that is waited for.
const LOOK_RECORDS: usize = 20;

pub(super) struct Pace {
    events_per_second: Option<u64>,
    live_waits: Duration,
    clock: Arc<dyn Clock>,
    /// When the next event may come.
    next: Mutex<Option<Instant>>,
    look: Mutex<Look>,
}

#[derive(Default)]
struct Look {
    at: Option<Instant>,
    live: Places,
    /// When it was seen to move, or to have nothing to do.
    moved: Option<Instant>,
}

impl Pace {
    pub(super) fn new(
        events_per_second: Option<u64>,
        live_waits: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (next, look) = (Mutex::default(), Mutex::default());
        Self { events_per_second, live_waits, clock, next, look }
    }

    /// Until the live projection keeps up.
    pub(super) async fn wait(&self, rebuild: &Rebuild) -> Result<(), Error> {
        let mut look = self.look.lock().await;
        loop {
            let now = Instant::now();
            if look.at.is_some_and(|at| now < at + LOOK_EVERY) {
                break;
            }
            let live = rebuild.live().await?;
            let waits = self.waits(rebuild, &live).await?;
            if !waits || live != look.live || look.moved.is_none() {
                look.moved = Some(now);
            }
            look.live = live;
            look.at = Some(now);
            let stands = look.moved.is_some_and(|at| now > at + GIVEN_UP_AFTER);
            rebuild.progress.waits.store(waits && !stands, Ordering::Relaxed);
            if !waits || stands {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Whether a record waits for the live projection for too long.
    async fn waits(&self, rebuild: &Rebuild, live: &Places) -> Result<bool, Error> {
        let ends: BTreeMap<_, _> = rebuild.ends().await?;
        let now_ms = self.clock.now() / 1_000;
        let most = i64::try_from(self.live_waits.as_millis()).unwrap_or(i64::MAX);
        for ((category, index), end) in &ends {
            let at = live.get(&(category.clone(), *index)).copied().unwrap_or(0);
            if at >= *end {
                continue;
            }
            let partition = rebuild.partition(category, *index);
            let records = rebuild.log.fetch(&partition, at, LOOK_RECORDS).await?;
            let first = records.iter().find(|stored| is_waited_for(stored));
            if first.is_some_and(|stored| now_ms.saturating_sub(stored.appended_at_ms) > most) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// So many events were brought: waits as long as they may take.
    pub(super) async fn took(&self, events: u64) {
        let Some(rate) = self.events_per_second.filter(|rate| *rate > 0) else { return };
        let until = {
            let (mut next, now) = (self.next.lock().await, Instant::now());
            let from = next.unwrap_or(now).max(now);
            let micros = events.saturating_mul(1_000_000) / rate;
            *next.insert(from + Duration::from_micros(micros))
        };
        tokio::time::sleep_until(until).await;
    }
}

/// Fences and barriers change no table.
fn is_waited_for(stored: &StoredRecord) -> bool {
    matches!(stored.record.header("hw-kind"), Some(b"event" | b"rejected" | b"unchanged"))
}
