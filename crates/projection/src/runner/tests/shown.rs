//! What operators see of a runner: metrics, and lines that are not said again and again.

use std::{sync::Arc, time::Duration};

use highwater_log::MembershipEvent;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use super::{
    history::{Act, History},
    play,
    single::{SECOND, key, singles, stands},
    turns::Play,
};
use crate::lines::Lines;

/// The value of a series; `None` if it is not shown.
pub fn value(recorder: &PrometheusRecorder, series: &str) -> Option<f64> {
    let text = recorder.handle().render();
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.and_then(|value| value.trim().parse().ok())
}

pub fn of(name: &str, projection: &str) -> String {
    format!("{name}{{category=\"thing\",partition=\"0\",projection=\"{projection}\"}} ")
}

#[tokio::test(start_paused = true)]
async fn what_was_projected_is_counted_by_its_events() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let mut alone = Play { visible: 4, ..play(vec![singles(6)], 1) }.alone();
    alone.go_on_for(SECOND).await;
    for projection in ["a", "b"] {
        assert_eq!(
            value(&recorder, &of("highwater_projection_events_total", projection)),
            Some(3.0)
        );
        assert_eq!(value(&recorder, &of("highwater_projection_halted", projection)), Some(0.0));
    }
    alone.shelf.grow(2);
    alone.go_on_for(SECOND).await;
    assert_eq!(value(&recorder, &of("highwater_projection_events_total", "b")), Some(5.0));
    assert_eq!(value(&recorder, "highwater_projection_conflicts_total "), None);
}

#[tokio::test(start_paused = true)]
async fn a_halt_is_shown_until_its_partition_is_anothers() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let play = play(vec![singles(3)], 1);
    let mut alone = play.alone();
    alone.store.server().poison.insert(("b", 2));
    alone.go_on_for(SECOND).await;
    let halted = |projection| value(&recorder, &of("highwater_projection_halted", projection));
    assert_eq!((halted("a"), halted("b")), (Some(0.0), Some(1.0)));
    alone
        .changes
        .send(MembershipEvent::Revoked { partitions: play.partitions(), lost: true })
        .expect("a runner");
    alone.go_on_for(SECOND).await;
    assert_eq!((halted("a"), halted("b")), (Some(0.0), Some(0.0)));
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_that_is_elsewhere_is_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let mut alone = play(vec![singles(3)], 1).alone();
    alone.go_on_for(SECOND).await;
    alone.store.server().fall_back(0);
    alone.go_on_for(SECOND).await;
    assert_eq!(value(&recorder, "highwater_projection_conflicts_total "), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn void_records_are_counted_and_a_log_without_them_shows_none() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let voids = History::of(&[
        Act::Fence,
        Act::Void,
        Act::Commit(1),
        Act::Void,
        Act::Void,
        Act::Torn(2),
        Act::Commit(1),
    ]);
    let mut alone = play(vec![singles(2), Arc::new(voids)], 1).alone();
    alone.go_on_for(SECOND).await;
    let voids = |partition| {
        let series = format!(
            "highwater_projection_void_records_total{{category=\"thing\",\
             partition=\"{partition}\"}} "
        );
        value(&recorder, &series)
    };
    // A part of a commit that never came to its end is no void record: its writer wrote it.
    assert_eq!((voids(0), voids(1)), (None, Some(3.0)));
}

#[tokio::test(start_paused = true)]
async fn that_one_is_left_behind_is_said_once_however_long_it_lasts_and_when_it_is_over() {
    let lines = Lines::default();
    let _said = lines.listen();
    let mut alone = play(vec![singles(3)], 1).alone();
    alone.store.server().busy.insert("b", usize::MAX);
    alone.go_on_for(10 * SECOND).await;
    assert_eq!((lines.with(["is left behind"]), lines.with(["goes on"])), (1, 0));
    alone.store.server().busy.clear();
    alone.go_on_for(SECOND).await;
    assert_eq!((stands(&alone, "b"), lines.with(["goes on"])), (4, 1));
    // Another time is said again.
    alone.store.server().busy.insert("b", usize::MAX);
    alone.store.server().tables.checkpoints.remove(&key("b"));
    alone.store.server().tables.rows.remove(&key("b"));
    alone.go_on_for(10 * SECOND).await;
    assert_eq!(lines.with(["is left behind"]), 2);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_stops_again_and_again_is_said_once_and_waited_for_longer_each_time() {
    let lines = Lines::default();
    let _said = lines.listen();
    let mut alone = play(vec![singles(3)], 1).alone();
    alone.go_on_for(SECOND).await;
    let mut waits = Vec::new();
    for _ in 0..4 {
        alone.shelf.stop();
        let stopped = tokio::time::Instant::now();
        alone.runner.step().await;
        while !alone.shelf.is_read() && stopped.elapsed() < SECOND {
            alone.go_on_for(Duration::from_millis(1)).await;
        }
        waits.push(stopped.elapsed().as_millis() / 10 * 10);
    }
    assert_eq!((waits, lines.with(["the log stopped"])), (vec![50, 100, 200, 200], 1));
    // It was followed for longer than twice the longest wait.
    alone.go_on_for(SECOND).await;
    alone.shelf.stop();
    alone.go_on_for(Duration::from_millis(60)).await;
    assert!(alone.shelf.is_read());
    assert_eq!(lines.with(["the log stopped"]), 2);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_stops_is_said_again_of_what_has_gone_and_come_back_and_of_nothing_else() {
    let lines = Lines::default();
    let _said = lines.listen();
    let (play, ms) = (play(vec![singles(3), singles(3)], 1), Duration::from_millis(1));
    let mut alone = play.alone();
    alone.runner.limits.handoff = Duration::ZERO;
    alone.go_on_for(SECOND).await;
    let said = || {
        [0, 1].map(|partition| lines.with(["the log stopped", &format!("partition={partition} ")]))
    };
    alone.shelf.stop();
    alone.go_on_for(60 * ms).await;
    assert_eq!(said(), [1, 1]);
    let first = || play.partitions()[..1].to_vec();
    alone
        .changes
        .send(MembershipEvent::Revoked { partitions: first(), lost: true })
        .expect("a runner");
    alone.changes.send(MembershipEvent::Assigned(first())).expect("a runner");
    alone.go_on_for(60 * ms).await;
    alone.shelf.stop();
    alone.go_on_for(60 * ms).await;
    assert_eq!(said(), [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn that_a_partition_cannot_begin_is_said_once_and_when_all_of_them_have() {
    let lines = Lines::default();
    let _said = lines.listen();
    let mut alone = play(vec![singles(3), singles(3)], 1).alone();
    let said =
        || (lines.with(["partitions cannot be begun"]), lines.with(["every partition has begun"]));
    // The other one begins.
    alone.store.server().refused = [1].into();
    alone.go_on_for(Duration::from_millis(20)).await;
    assert_eq!((said(), alone.progress.all().len()), ((1, 0), 2));
    alone.store.server().away = 2;
    alone.go_on_for(Duration::from_millis(160)).await;
    assert_eq!(said(), (1, 0));
    alone.go_on_for(SECOND).await;
    assert_eq!((said(), alone.progress.all().len()), ((1, 1), 4));
}
