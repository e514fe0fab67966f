use futures_util::FutureExt;
use highwater_runtime::clock::ManualClock;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::*;
use crate::runner::tests::history::{History, Shelf};

fn key(projection: &'static str, partition: u32) -> Key {
    Key { projection, topic_partition: TopicPartition::of_events("thing", partition) }
}

fn busy(why: &str) -> Failure {
    Failure::Transient(why.to_owned())
}

fn fails(progress: &Progress) -> Vec<Key> {
    progress.failing(Duration::ZERO).into_keys().collect()
}

#[test]
fn what_was_reached_is_known_until_its_partition_is_forgotten() {
    let progress = Progress::default();
    for (key, offset) in [(key("a", 0), 5), (key("b", 0), 7), (key("a", 1), 3)] {
        progress.reached(key.clone(), offset);
        assert_eq!(progress.offset(&key), Some(offset));
    }
    progress.reached(key("a", 0), 6);
    assert_eq!(progress.all(), [(key("a", 0), 6), (key("b", 0), 7), (key("a", 1), 3)].into());
    progress.halted(key("b", 0), 7);
    progress.halted(key("b", 1), 2);
    progress.fails(&key("a", 0), None, &busy("a"));
    progress.fails(&key("a", 1), None, &busy("a"));
    assert_eq!(progress.offset(&key("c", 0)), None);

    progress.forget(&key("a", 0).topic_partition);
    assert_eq!(progress.all(), [(key("a", 1), 3)].into());
    assert_eq!(progress.all_halted(), [(key("b", 1), 2)].into());
    assert_eq!(fails(&progress), [key("a", 1)]);
    // The command queue of the same number is another topic-partition.
    progress.forget(&TopicPartition::of_commands("thing", 1));
    assert_eq!(progress.offset(&key("a", 1)), Some(3));
}

#[test]
fn who_has_halted_does_not_fail() {
    let progress = Progress::default();
    progress.fails(&key("a", 0), Some(5), &busy("a"));
    assert!(!progress.is_halted(&key("a", 0)));
    progress.halted(key("a", 0), 4);
    assert!(progress.is_halted(&key("a", 0)) && !progress.is_halted(&key("a", 1)));
    assert_eq!(fails(&progress), []);
}

#[test]
fn a_transaction_that_failed_is_over_where_it_was_to_go_and_nowhere_before() {
    let progress = Progress::default();
    progress.fails(&key("a", 0), Some(5), &busy("a"));
    progress.reached(key("b", 0), 5);
    progress.reached(key("a", 0), 4);
    assert_eq!(fails(&progress), [key("a", 0)]);
    progress.reached(key("a", 0), 5);
    assert_eq!(fails(&progress), []);
    // The last one counts.
    progress.fails(&key("a", 0), Some(5), &busy("a"));
    progress.fails(&key("a", 0), Some(9), &busy("a"));
    progress.reached(key("a", 0), 8);
    assert_eq!(fails(&progress), [key("a", 0)]);
    progress.reached(key("a", 0), 10);
    assert_eq!(fails(&progress), []);
}

#[test]
fn a_beginning_mends_no_transaction_and_a_transaction_no_beginning() {
    let (progress, key) = (Progress::default(), key("a", 0));
    progress.fails(&key, None, &busy("a"));
    progress.works(&key, Stage::Transaction);
    progress.reached(key.clone(), 9);
    assert_eq!(fails(&progress), std::slice::from_ref(&key));
    progress.works(&key, Stage::Beginning);
    assert_eq!(fails(&progress), []);

    for first in [None, Some(5)] {
        progress.fails(&key, first, &busy("a"));
        progress.fails(&key, Some(20), &busy("a"));
        // It could not even begin afterwards.
        progress.fails(&key, None, &busy("a"));
        progress.works(&key, Stage::Beginning);
        progress.reached(key.clone(), 19);
        assert_eq!(fails(&progress), std::slice::from_ref(&key));
        progress.works(&key, Stage::Transaction);
        assert_eq!(fails(&progress), []);
    }
}

#[tokio::test(start_paused = true)]
async fn it_has_failed_since_the_first_time_with_the_last_error() {
    let (progress, second) = (Progress::default(), Duration::from_secs(1));
    progress.fails(&key("a", 0), Some(5), &busy("first"));
    tokio::time::advance(second).await;
    progress.fails(&key("a", 0), Some(5), &busy("last"));
    progress.fails(&key("b", 0), Some(5), &busy("young"));
    tokio::time::advance(second).await;
    let failing = progress.failing(2 * second);
    assert_eq!(failing, [(key("a", 0), busy("last").to_string())].into());
    assert!(progress.failing(2 * second + Duration::from_millis(1)).is_empty());
}

struct Shown {
    recorder: PrometheusRecorder,
    metrics: PrometheusHandle,
}

impl Shown {
    fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        Self { metrics: recorder.handle(), recorder }
    }

    fn of(&self, name: &str, projection: &str, partition: u32) -> Option<f64> {
        let series = format!(
            "{name}{{category=\"thing\",partition=\"{partition}\",projection=\"{projection}\"}} "
        );
        let text = self.metrics.render();
        text.lines()
            .find_map(|line| line.strip_prefix(&series))
            .and_then(|value| value.parse().ok())
    }

    /// Records and seconds.
    fn lag(&self, projection: &str, partition: u32) -> (Option<f64>, Option<f64>) {
        let of = |name| self.of(name, projection, partition);
        (of("highwater_projection_lag_events"), of("highwater_projection_lag_seconds"))
    }
}

fn queue(projection: &'static str, partition: u32) -> Key {
    Key { projection, topic_partition: TopicPartition::of_commands("thing", partition) }
}

/// Command queues of three and of five records, appended at 1,000, 1,001 ms and so on; what lies in
/// the second one has all been read.
fn behind() -> (Shelf, Topics, Progress) {
    let queues = [3, 5].map(|records| Arc::new(History::of_queue(&vec![true; records])));
    let progress = Progress::default();
    for (key, offset) in [(queue("a", 0), 1), (queue("b", 0), 0), (queue("a", 1), 5)] {
        progress.reached(key, offset);
    }
    (Shelf::new(&[], &queues, 5, 5), Topics::of("test", &["thing"]), progress)
}

#[tokio::test]
async fn the_lag_is_what_lies_behind_a_checkpoint_and_the_age_of_the_first_of_it() {
    let (log, topics, progress) = behind();
    progress.reached(
        Key { projection: "a", topic_partition: TopicPartition::of_events("unknown", 0) },
        0,
    );
    let shown = Shown::new();
    let _local = metrics::set_default_local_recorder(&shown.recorder);
    show_all(&log, &topics, &progress, &ManualClock::at(3_501_999)).await;
    assert_eq!(shown.lag("a", 0), (Some(2.0), Some(2.5)));
    assert_eq!(shown.lag("b", 0), (Some(3.0), Some(2.501)));
    assert_eq!(shown.lag("a", 1), (Some(0.0), Some(0.0)), "nothing lies there, however old it was");
    // A clock that is behind the one that stamped the record.
    show_all(&log, &topics, &progress, &ManualClock::at(500_000)).await;
    assert_eq!(shown.lag("a", 0), (Some(2.0), Some(0.0)));
}

#[tokio::test]
async fn of_a_partition_that_is_anothers_no_lag_and_no_halt_is_shown() {
    let progress = Progress::default();
    let shown = Shown::new();
    let _local = metrics::set_default_local_recorder(&shown.recorder);
    progress.reached(key("a", 0), 5);
    progress.halted(key("b", 0), 5);
    progress.reached(key("a", 1), 5);
    for key in [key("a", 0), key("b", 0), key("a", 1)] {
        show(&key, 7, 7.0);
        gauge!("highwater_projection_halted", &labels(&key)).set(1.0);
    }
    progress.forget(&key("a", 0).topic_partition);
    for (projection, partition, left) in [("a", 0, 0.0), ("b", 0, 0.0), ("a", 1, 7.0)] {
        assert_eq!(shown.lag(projection, partition), (Some(left), Some(left)));
        assert_eq!(
            shown.of("highwater_projection_halted", projection, partition),
            Some(left.min(1.0))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_lag_is_shown_every_interval_until_the_end() {
    let (log, topics, progress) = behind();
    let (second, stop, clock) =
        (Duration::from_secs(1), CancellationToken::new(), Arc::new(ManualClock::at(3_501_000)));
    let shown = Shown::new();
    let _local = metrics::set_default_local_recorder(&shown.recorder);
    let watch = watch(Arc::new(log), topics, progress.clone(), clock, second, stop.clone());
    tokio::pin!(watch);
    assert_eq!((&mut watch).now_or_never(), None);
    assert_eq!(shown.lag("a", 0).0, Some(2.0));
    progress.reached(queue("a", 0), 2);
    tokio::time::advance(second / 2).await;
    assert_eq!((&mut watch).now_or_never(), None);
    assert_eq!(shown.lag("a", 0).0, Some(2.0), "not yet");
    tokio::time::advance(second / 2).await;
    assert_eq!((&mut watch).now_or_never(), None);
    assert_eq!(shown.lag("a", 0).0, Some(1.0));
    stop.cancel();
    assert_eq!(watch.now_or_never(), Some(()));
}
