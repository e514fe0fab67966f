use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

use super::*;

const KEY: Key = Key {
    projection: "rows",
    category: "thing",
    partition: 3,
    id: Uuid::from_u128(0x1_0000_0000_00ab),
};

fn cache(watermarks: usize) -> Cache {
    let settings =
        CacheSettings { bytes: 1 << 20, keep_ms: 60_000, watermarks, ..CacheSettings::default() };
    let cache = Cache::new(&settings, &[("rows", "thing")]);
    cache.hears();
    cache
}

fn kept(offset: u64, version: i64) -> CachedResource {
    CachedResource {
        generation: 1,
        offset,
        parked: false,
        row: Some((version, Bytes::from_static(b"{}"))),
    }
}

/// What one request gets while the database says `now`.
async fn read(cache: &Cache, key: Key, now: &CachedResource) -> (CachedResource, Status) {
    let load = || async { Ok::<_, ()>(now.clone()) };
    cache.get(key, load).await.unwrap_or_else(|_| panic!("the load cannot fail"))
}

#[tokio::test]
async fn a_load_that_a_commit_overtakes_brings_nothing_back() {
    let cache = cache(100);
    let (finish, finished) = oneshot::channel::<()>();
    let finished = Mutex::new(Some(finished));
    let loads = AtomicU64::new(0);
    let load = || {
        let waits = finished.lock().take();
        let number = loads.fetch_add(1, Ordering::SeqCst);
        async move {
            if let Some(waits) = waits {
                // The row was read; its answer is on the way.
                waits.await.map_err(|_| ())?;
            }
            Ok::<_, ()>(if number == 0 { kept(42, 1) } else { kept(50, 2) })
        }
    };
    let mut slow = Box::pin(cache.get(KEY, load));
    assert!(futures_util::poll!(&mut slow).is_pending());
    // The commit and its notification come first, then the slow load ends.
    cache.heard("other,rows=thing/3@50:0000000000ab");
    finish.send(()).unwrap_or_default();
    let (found, status) = slow.await.unwrap_or_else(|_| panic!("loaded"));
    assert_eq!(
        (found, status),
        (kept(50, 2), Status::Stale),
        "the reader gets what the commit wrote"
    );
    assert_eq!(loads.load(Ordering::SeqCst), 2);

    // What the slow load put in is not shown, then or later.
    assert_eq!(read(&cache, KEY, &kept(50, 2)).await, (kept(50, 2), Status::Stale));
    assert_eq!(read(&cache, KEY, &kept(99, 9)).await, (kept(50, 2), Status::Hit));
}

#[tokio::test]
async fn all_who_wait_for_a_load_share_it() {
    let cache = cache(100);
    let (finish, finished) = oneshot::channel::<()>();
    let finished = Mutex::new(Some(finished));
    let loads = AtomicU64::new(0);
    let load = || {
        let waits = finished.lock().take();
        loads.fetch_add(1, Ordering::SeqCst);
        async move {
            if let Some(waits) = waits {
                waits.await.map_err(|_| ())?;
            }
            Ok::<_, ()>(kept(42, 1))
        }
    };
    let mut waiting: Vec<_> = (0..50).map(|_| Box::pin(cache.get(KEY, load))).collect();
    for one in &mut waiting {
        assert!(futures_util::poll!(one).is_pending());
    }
    finish.send(()).unwrap_or_default();
    for one in waiting {
        assert_eq!(one.await.map(|(found, _)| found).ok(), Some(kept(42, 1)));
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn only_what_changed_is_dropped() {
    let cache = cache(100);
    let other = Key { id: Uuid::from_u128(7), ..KEY };
    let (old, new) = (kept(42, 1), kept(50, 2));
    for key in [KEY, other] {
        assert_eq!(read(&cache, key, &old).await.1, Status::Miss);
        assert_eq!(read(&cache, key, &new).await, (old.clone(), Status::Hit));
    }
    // Other projections, categories and keys; and what the entry has already.
    cache.heard(
        "other=thing/3@50:0000000000ab rows=thin/3@50:0000000000ab \
                 rows=thing/3@50:0000000000ac rows=thing/3@42:0000000000ab",
    );
    assert_eq!(read(&cache, KEY, &new).await, (old.clone(), Status::Hit));
    cache.heard("rows=thing/3@50:0000000000ab");
    assert_eq!(read(&cache, KEY, &new).await, (new.clone(), Status::Stale));
    assert_eq!(read(&cache, other, &new).await, (old.clone(), Status::Hit));
    // A whole partition, and not the next one.
    cache.heard("rows=thing/4@60:*");
    assert_eq!(read(&cache, other, &new).await.1, Status::Hit);
    cache.heard("rows=thing/3@50:*");
    assert_eq!(read(&cache, other, &new).await, (new, Status::Stale));
}

#[tokio::test]
async fn what_is_not_understood_may_mean_anything() {
    for payload in ["*", "", "rows", "rows=thing/3@x:*", "rows=thing/3@50:zz", "rows=thing/3@1:* ?"]
    {
        let cache = cache(100);
        read(&cache, KEY, &kept(42, 1)).await;
        cache.heard(payload);
        assert_eq!(
            read(&cache, KEY, &kept(50, 2)).await,
            (kept(50, 2), Status::Stale),
            "{payload}"
        );
        assert_eq!(read(&cache, KEY, &kept(99, 9)).await, (kept(50, 2), Status::Hit), "{payload}");
    }
}

#[tokio::test]
async fn more_watermarks_than_the_limit_become_watermarks_of_partitions() {
    let cache = cache(2);
    let other = Key { id: Uuid::from_u128(7), ..KEY };
    read(&cache, other, &kept(42, 1)).await;
    cache.heard("rows=thing/3@50:000000000001.000000000002");
    assert_eq!(read(&cache, other, &kept(60, 2)).await.1, Status::Hit);
    cache.heard("rows=thing/3@55:000000000003");
    assert_eq!(read(&cache, other, &kept(60, 2)).await, (kept(60, 2), Status::Stale));
}

/// Each partition that had watermarks of keys, and none lower than the highest of them.
#[tokio::test]
async fn watermarks_of_keys_become_watermarks_of_every_partition_that_has_some() {
    let cache = cache(2);
    let elsewhere = Key { partition: 4, id: Uuid::from_u128(7), ..KEY };
    cache.heard("rows=thing/3@50:0000000000ab rows=thing/4@45:000000000001");
    cache.heard("rows=thing/4@44:000000000002");
    for (key, watermark) in [(KEY, 50), (elsewhere, 45)] {
        let (below, at) = (kept(watermark - 1, 1), kept(watermark, 2));
        read(&cache, key, &below).await;
        assert_eq!(
            read(&cache, key, &at).await,
            (at.clone(), Status::Stale),
            "partition {}",
            key.partition
        );
        assert_eq!(
            read(&cache, key, &kept(99, 9)).await,
            (at, Status::Hit),
            "partition {}",
            key.partition
        );
    }
}

#[tokio::test]
async fn nothing_is_kept_while_nothing_is_heard() {
    let cache = cache(100);
    read(&cache, KEY, &kept(42, 1)).await;
    cache.lost();
    assert_eq!(read(&cache, KEY, &kept(50, 2)).await, (kept(50, 2), Status::Bypass));
    assert_eq!(read(&cache, KEY, &kept(51, 3)).await, (kept(51, 3), Status::Bypass));
    cache.hears();
    // Neither what was there before, nor a load that began before.
    assert_eq!(read(&cache, KEY, &kept(60, 4)).await, (kept(60, 4), Status::Miss));
    let renewed = cache.renew(KEY, async {
        cache.lost();
        cache.hears();
        Ok::<_, ()>(kept(61, 5))
    });
    assert_eq!(renewed.await, Ok((kept(61, 5), Status::Request)));
    assert_eq!(read(&cache, KEY, &kept(70, 6)).await.0, kept(70, 6));
}

#[tokio::test]
async fn what_is_renewed_is_shown_from_then_on() {
    let cache = cache(100);
    read(&cache, KEY, &kept(42, 1)).await;
    let renewed = cache.renew(KEY, async { Ok::<_, ()>(kept(43, 1)) }).await;
    assert_eq!(renewed, Ok((kept(43, 1), Status::Request)));
    assert_eq!(read(&cache, KEY, &kept(99, 9)).await, (kept(43, 1), Status::Hit));
}

#[tokio::test]
async fn an_error_is_not_kept() {
    let cache = cache(100);
    let failed = cache.get(KEY, || async { Err::<CachedResource, _>("away") }).await;
    assert_eq!(failed.map_err(|error| *error), Err("away"));
    assert_eq!(read(&cache, KEY, &kept(42, 1)).await.1, Status::Miss);
}

#[tokio::test]
async fn of_the_watermarks_of_a_key_and_of_its_partition_the_higher_one_counts() {
    let (of_key, of_partition) = (
        |offset: u64| format!("rows=thing/3@{offset}:0000000000ab"),
        |offset: u64| format!("rows=thing/3@{offset}:*"),
    );
    for (first, then) in [
        (of_key(50), of_partition(60)),
        (of_partition(50), of_key(60)),
        (of_key(50), of_key(60)),
        (of_partition(50), of_partition(60)),
    ] {
        let cache = cache(100);
        cache.heard(&first);
        assert_eq!(read(&cache, KEY, &kept(50, 1)).await.1, Status::Miss);
        assert_eq!(read(&cache, KEY, &kept(60, 2)).await.1, Status::Hit, "{first}");
        cache.heard(&then);
        assert_eq!(
            read(&cache, KEY, &kept(60, 2)).await,
            (kept(60, 2), Status::Stale),
            "{first}, {then}"
        );
        // One that comes late lowers nothing.
        cache.heard(&first);
        cache.0.entries.invalidate(&KEY).await;
        read(&cache, KEY, &kept(55, 1)).await;
        assert_ne!(read(&cache, KEY, &kept(60, 2)).await.1, Status::Hit, "{then}, {first}");
    }
}

/// A connection that begins to listen while a request reads.
struct Told<'a> {
    cache: &'a Cache,
    said: Option<&'static str>,
    fails: bool,
}

impl listener::Notifications for Told<'_> {
    async fn listen(&mut self) -> Result<(), sqlx::Error> {
        // A change of this moment is not heard of.
        assert_eq!(read(self.cache, KEY, &kept(42, 1)).await.1, Status::Bypass);
        if self.fails { Err(sqlx::Error::WorkerCrashed) } else { Ok(()) }
    }

    async fn next(&mut self) -> Result<Option<String>, sqlx::Error> {
        Ok(self.said.take().map(str::to_owned))
    }
}

#[tokio::test]
async fn what_is_read_before_it_listens_is_not_kept() {
    for (fails, said, status) in [
        (true, None, Status::Bypass),
        (false, None, Status::Hit),
        (false, Some("rows=thing/3@50:*"), Status::Stale),
    ] {
        let cache = Cache::new(
            &CacheSettings { bytes: 1 << 20, keep_ms: 60_000, ..CacheSettings::default() },
            &[("rows", "thing")],
        );
        let told = Told { cache: &cache, said, fails };
        let heard = listener::hear_from(told, &cache, || {});
        assert_eq!(heard.await.is_err(), fails);
        read(&cache, KEY, &kept(49, 1)).await;
        assert_eq!(read(&cache, KEY, &kept(50, 2)).await.1, status, "{said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_read_last_is_remembered_with_its_age_until_it_is_gone() {
    let cache = cache(100);
    assert_eq!(cache.last(&KEY).await, None);
    // Its age counts from when it was asked for: it may have changed since then.
    let slow = || async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        Ok::<_, ()>(kept(42, 1))
    };
    assert!(cache.get(KEY, slow).await.is_ok());
    assert_eq!(cache.last(&KEY).await, Some((kept(42, 1), Duration::from_secs(3))));
    cache.lost();
    assert_eq!(
        cache.last(&KEY).await.map(|(kept, _)| kept),
        Some(kept(42, 1)),
        "also while nothing is heard"
    );
    assert_eq!(read(&cache, KEY, &kept(43, 2)).await.1, Status::Bypass);
    assert_eq!(cache.last(&KEY).await.map(|(kept, _)| kept), Some(kept(43, 2)));
    let gone = cache
        .renew(KEY, async {
            Ok::<_, ()>(CachedResource { generation: 1, offset: 50, parked: false, row: None })
        })
        .await;
    assert!(gone.is_ok());
    assert_eq!(
        cache.last(&KEY).await,
        None,
        "what does not exist any more is not shown as if it did"
    );
}

#[test]
fn an_entry_weighs_its_body_and_what_it_takes_to_keep_it() {
    let kept = |body: usize| CachedResource {
        generation: 1,
        offset: 1,
        parked: false,
        row: Some((1, Bytes::from(vec![b'x'; body]))),
    };
    assert_eq!((kept(0).weight(), kept(1_000).weight()), (256, 1_256));
    assert_eq!(CachedResource { generation: 1, offset: 1, parked: false, row: None }.weight(), 256);
}

#[tokio::test]
async fn watermarks_are_of_one_view_and_of_all_ids_that_end_alike() {
    let cache = cache(100);
    let elsewhere = Key { projection: "others", ..KEY };
    for version in 1..3 {
        let now = kept(42, version);
        assert_eq!(
            read(&cache, elsewhere, &now).await,
            (now, Status::Stale),
            "of a view that nothing is heard of nothing is kept"
        );
    }
    // The last twelve digits are what a notification says: no more of them, and no less.
    let alike = Key { id: Uuid::from_u128(0x7_ffff_0000_0000_00ab), ..KEY };
    let unlike = Key { id: Uuid::from_u128(0x1_8000_0000_00ab), ..KEY };
    for key in [KEY, alike, unlike] {
        read(&cache, key, &kept(42, 1)).await;
    }
    cache.heard("rows=thing/3@50:0000000000ab");
    let read_again = async |key| read(&cache, key, &kept(60, 2)).await.1;
    assert_eq!(
        (read_again(KEY).await, read_again(alike).await, read_again(unlike).await),
        (Status::Stale, Status::Stale, Status::Hit)
    );
}
