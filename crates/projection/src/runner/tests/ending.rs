//! How a runner ends, and how it lets partitions go: it projects on until others do, for as long as
//! that may take.

use std::{pin::Pin, time::Duration};

use highwater_log::MembershipEvent;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    super::{Key, Progress, Step},
    alone::Alone,
    history::Shelf,
    memory::{Memory, topic_partition},
    play,
    single::{SECOND, singles, stands},
    standstill::unless_it_spins,
    turns::Play,
};

const MS: Duration = Duration::from_millis(1);

/// A runner that was told to end, and what it works on.
struct Ending {
    running: Pin<Box<dyn Future<Output = ()>>>,
    since: Instant,
    shelf: Shelf,
    store: Memory,
    progress: Progress,
}

impl Ending {
    /// Has run for a second before.
    async fn of(play: &Play, handoff: Duration) -> Self {
        let mut alone = play.alone();
        alone.runner.limits.handoff = handoff;
        let Alone { shelf, store, runner, progress, changes, .. } = alone;
        let soft = CancellationToken::new();
        let running = {
            let soft = soft.clone();
            async move {
                runner.run(soft).await;
                drop(changes);
            }
        };
        let mut ending =
            Self { running: Box::pin(running), since: Instant::now(), shelf, store, progress };
        assert!(!ending.ends_within(SECOND).await, "it was not told to");
        soft.cancel();
        Self { since: Instant::now(), ..ending }
    }

    async fn ends_within(&mut self, time: Duration) -> bool {
        unless_it_spins(timeout(time, &mut self.running)).await.is_ok()
    }

    /// When it ended, since it was told to.
    async fn end(mut self) -> Duration {
        assert!(self.ends_within(1_000 * SECOND).await);
        assert!(self.progress.all().is_empty(), "{:?}", self.progress.all());
        self.since.elapsed()
    }

    fn stands(&self, partition: u32) -> u64 {
        self.store.server().tables.checkpoints
            [&Key { projection: "a", topic_partition: topic_partition(partition) }]
            .offset
    }

    /// Another runner is one event further.
    fn taken_over(&self, play: &Play, partition: u32, offset: u64) {
        let history = &play.histories[partition as usize];
        for projection in &play.projections {
            let key = Key { projection, topic_partition: topic_partition(partition) };
            self.store.server().tables.stand(key, history, offset);
        }
    }
}

fn quiet() -> Play {
    Play { visible: 3, ..play(vec![singles(20), singles(20)], 1) }
}

#[tokio::test(start_paused = true)]
async fn who_has_nothing_ends_at_once() {
    let play = Play { histories: Vec::new(), ..quiet() };
    assert_eq!(Ending::of(&play, 10 * SECOND).await.end().await, Duration::ZERO);
    assert_eq!(
        Ending::of(&quiet(), Duration::ZERO).await.end().await,
        Duration::ZERO,
        "and so does one that hands nothing over"
    );
}

#[tokio::test(start_paused = true)]
async fn where_no_other_takes_over_a_runner_that_ends_projects_until_the_handoff_does() {
    let mut ending = Ending::of(&quiet(), 10 * SECOND).await;
    for arrived in 1..=9 {
        ending.shelf.grow(1);
        assert!(!ending.ends_within(SECOND).await);
        assert_eq!((ending.stands(0), ending.stands(1)), (3 + arrived, 3 + arrived));
    }
    assert_eq!(ending.end().await, 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn who_ends_and_sees_one_partition_taken_over_waits_a_second_for_the_quiet_ones() {
    let play = quiet();
    let mut ending = Ending::of(&play, 10 * SECOND).await;
    assert!(!ending.ends_within(3 * SECOND).await);
    ending.taken_over(&play, 0, 4);
    ending.shelf.grow(1);
    let ended = ending.end().await;
    // The last transaction of the other one came 200 ms later at most.
    assert!(4 * SECOND <= ended && ended <= 4 * SECOND + 200 * MS, "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn what_could_still_be_projected_is_no_others_yet_and_is_projected_on() {
    let play = quiet();
    let mut ending = Ending::of(&play, 5 * SECOND).await;
    ending.taken_over(&play, 0, 4);
    for arrived in 1..=8 {
        ending.shelf.grow(1);
        assert!(!ending.ends_within(SECOND / 2).await, "{arrived}");
        assert_eq!((ending.stands(0), ending.stands(1)), (4, 3 + arrived));
    }
    // But no longer than the handoff takes.
    ending.shelf.grow(1);
    assert_eq!(ending.end().await, 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn who_ends_is_done_when_everything_was_taken_over() {
    let play = quiet();
    let ending = Ending::of(&play, 10 * SECOND).await;
    ending.taken_over(&play, 0, 4);
    ending.taken_over(&play, 1, 4);
    ending.shelf.grow(1);
    let ended = ending.end().await;
    assert!(ended <= 200 * MS, "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_handed_over_is_projected_now_and_then_so_that_others_are_first() {
    let play = Play { visible: 3, ..play(vec![singles(200), singles(200)], 1) };
    let mut alone = play.alone();
    alone.runner.limits.handoff = 10 * SECOND;
    alone.go_on_for(SECOND).await;
    // Of two, so that the other one is projected at once.
    alone
        .changes
        .send(MembershipEvent::Revoked { partitions: play.partitions()[..1].to_vec(), lost: false })
        .expect("a runner");
    let (mut own, mut handed_over) = (0, 0);
    let mut known = alone.progress.all();
    for _ in 0..100 {
        alone.shelf.grow(1);
        alone.go_on_for(10 * MS).await;
        let of = |partition| Key { projection: "a", topic_partition: topic_partition(partition) };
        let now = alone.progress.all();
        handed_over += u32::from(now[&of(0)] != known[&of(0)]);
        own += u32::from(now[&of(1)] != known[&of(1)]);
        known = now;
    }
    assert_eq!((handed_over, own), (5, 100));
}

#[tokio::test(start_paused = true)]
async fn what_is_handed_over_has_its_turn_though_nothing_more_arrives() {
    let play = quiet();
    let mut alone = play.alone();
    (alone.runner.limits.handoff, alone.runner.limits.verify_every) = (10 * SECOND, 100 * SECOND);
    alone.go_on_for(SECOND).await;
    alone
        .changes
        .send(MembershipEvent::Revoked { partitions: play.partitions(), lost: false })
        .expect("a runner");
    // The first of them at once, and the second as soon as the others had their time.
    for (arrived, within) in [(1, MS), (2, 200 * MS)] {
        alone.shelf.grow(1);
        alone.go_on_for(within).await;
        assert_eq!(stands(&alone, "a"), 3 + arrived);
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_before_it_was_handed_over_is_kept() {
    let play = quiet();
    let mut alone = play.alone();
    alone.go_on_for(SECOND).await;
    alone
        .changes
        .send(MembershipEvent::Revoked { partitions: play.partitions(), lost: false })
        .expect("a runner");
    alone.go_on_for(200 * MS).await;
    alone.changes.send(MembershipEvent::Assigned(play.partitions())).expect("a runner");
    let steps = alone.go_on_for(SECOND).await;
    assert!(!steps.contains(&Step::Resumed), "it was never let go: {steps:?}");
    alone.shelf.grow(1);
    alone.go_on_for(MS).await;
    assert_eq!(stands(&alone, "a"), 4);
}

#[tokio::test(start_paused = true)]
async fn without_a_handoff_what_is_taken_back_is_let_go_at_once() {
    let play = quiet();
    let mut alone = play.alone();
    alone.runner.limits.handoff = Duration::ZERO;
    alone.go_on_for(SECOND).await;
    alone
        .changes
        .send(MembershipEvent::Revoked { partitions: play.partitions()[..1].to_vec(), lost: true })
        .expect("a runner");
    alone.shelf.grow(1);
    alone.go_on_for(SECOND).await;
    assert_eq!((stands(&alone, "a"), alone.progress.all().len()), (3, 2));
    assert!(alone.progress.all().into_keys().all(|key| key.topic_partition == topic_partition(1)));
}
