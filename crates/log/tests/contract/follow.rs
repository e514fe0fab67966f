//! Following and replaying a partition through the fold, and the proofs of identity.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use highwater_log::{
    Divergence, Follow, LocalLog, LocalReader, Log, Partition, RawReader, Replay, Topic, TopicKind,
    Until,
    follow::{self, check},
    local::Settings,
};
use highwater_protocol::{
    fold::{Effect, Fold},
    position::Position,
    record::Record,
    wire::{self, Wire},
};

use crate::{
    fixture::{Folder, soon},
    history::{event, eventful, fence, id, write},
};

struct World {
    log: Arc<dyn Log>,
    raw: Arc<dyn RawReader>,
    partition: Partition,
    _folder: Folder,
}

async fn world(records: Vec<Record>) -> World {
    let folder = Folder::new();
    let log = Arc::new(LocalLog::open(folder.path().join("log"), Settings::default()).unwrap());
    let raw: Arc<dyn RawReader> = Arc::<LocalLog>::clone(&log);
    let log: Arc<dyn Log> = log;
    let topic = Topic { name: "things".into(), partitions: 1, kind: TopicKind::Events };
    soon(log.prepare(vec![topic])).await.unwrap();
    let partition = Partition { topic: "things".into(), index: 0 };
    write(&log, &partition, records).await;
    World { log, raw, partition, _folder: folder }
}

/// The fold in one go, and the position after every record.
fn fold(records: &[Record]) -> (Vec<Effect<Wire>>, Vec<Position<Wire>>) {
    let mut fold = Fold::new();
    let mut positions = vec![fold.position().clone()];
    let effects = (0..)
        .zip(records)
        .map(|(offset, record)| {
            let effect = fold.apply(offset, wire::decode(record.clone())).unwrap();
            positions.push(fold.position().clone());
            effect
        })
        .collect();
    (effects, positions)
}

#[tokio::test]
async fn following_from_every_stored_position_gives_the_fold_in_one_go() {
    let records = eventful(id(11), id(12));
    let (effects, positions) = fold(&records);
    assert_eq!(
        effects.iter().filter(|effect| matches!(effect, Effect::Commit(_))).count(),
        3,
        "{effects:?}"
    );
    let world = world(records).await;
    for position in positions {
        let from = position.offset as usize;
        let mut follow = Follow::resume(&*world.log, &world.partition, position).await.unwrap();
        let mut seen = Vec::new();
        loop {
            let step = soon(follow.next()).await.unwrap();
            assert_eq!(step.end, follow.fold().next_offset());
            seen.extend(step.effects);
            if step.caught_up {
                break;
            }
        }
        assert_eq!(
            seen.iter().map(|seen| seen.offset).collect::<Vec<_>>(),
            (from as u64..effects.len() as u64).collect::<Vec<_>>()
        );
        assert_eq!(
            seen.into_iter().map(|seen| seen.effect).collect::<Vec<_>>(),
            effects[from..],
            "from {from}"
        );
    }
}

#[tokio::test]
async fn a_stored_position_never_lies_inside_a_commit() {
    let world = world(vec![fence(1, id(1)), event(1, id(1), 0, 1, 1, 1, (1, 2))]).await;
    let mut follow =
        Follow::resume(&*world.log, &world.partition, Position::start()).await.unwrap();
    let step = soon(follow.next()).await.unwrap();
    assert_eq!((step.position.offset, step.position.next_seq, step.end), (1, 0, 2));
    assert!(soon(follow.next()).await.unwrap().caught_up);
    write(&world.log, &world.partition, vec![event(1, id(1), 1, 1, 1, 2, (2, 2))]).await;
    let step = soon(follow.next()).await.unwrap();
    assert_eq!((step.position.offset, step.position.next_seq, step.end), (3, 2, 3));
}

#[tokio::test]
async fn another_history_is_refused_and_both_are_named() {
    let (_, positions) = fold(&eventful(id(11), id(12)));
    let position = positions.last().unwrap();

    let other = world(eventful(id(21), id(12))).await;
    let error = check(&*other.log, &other.partition, position).await.unwrap_err();
    assert!(matches!(error, Divergence::Identity { .. }), "{error}");
    for named in [id(11).to_string(), id(21).to_string(), "things/0".to_owned()] {
        assert!(error.to_string().contains(&named), "{error}");
    }

    let other = world(eventful(id(11), id(22))).await;
    let error = check(&*other.log, &other.partition, position).await.unwrap_err();
    assert!(matches!(error, Divergence::Witness { offset: 13, .. }), "{error}");
    assert!(error.to_string().contains(&id(12).to_string()), "{error}");
    assert!(error.to_string().contains(&id(22).to_string()), "{error}");

    let shorter = world(eventful(id(11), id(12))[..6].to_vec()).await;
    let error = check(&*shorter.log, &shorter.partition, position).await.unwrap_err();
    assert!(matches!(error, Divergence::BeyondEnd { offset: 14, end: 6, .. }), "{error}");

    let empty = world(Vec::new()).await;
    let error = check(&*empty.log, &empty.partition, position).await.unwrap_err();
    assert!(matches!(error, Divergence::Identity { found: None, .. }), "{error}");
    let resumed = Follow::resume(&*empty.log, &empty.partition, position.clone()).await;
    assert!(matches!(resumed.unwrap_err(), follow::Error::Diverged(_)));
}

#[tokio::test]
async fn a_position_before_the_first_fence_fits_only_a_log_without_one_there() {
    let start = Position::start();
    let junk_only = Position { offset: 2, ..Position::start() };
    let world = world(vec![Record::default(), fence(1, id(1))]).await;
    check(&*world.log, &world.partition, &start).await.unwrap();
    check(&*world.log, &world.partition, &Position { offset: 1, ..Position::start() })
        .await
        .unwrap();
    let error = check(&*world.log, &world.partition, &junk_only).await.unwrap_err();
    assert!(
        error.to_string().contains("no writer") && error.to_string().contains(&id(1).to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn replay_shows_every_visible_event_once_with_its_own_offset() {
    let world = world(eventful(id(11), id(12))).await;
    let shown = |from| {
        let replay = Replay::new(Arc::clone(&world.raw), world.partition.clone(), from, Until::End);
        async move {
            let events: Vec<_> = soon(replay.into_stream().collect::<Vec<_>>())
                .await
                .into_iter()
                .map(Result::unwrap)
                .collect();
            events
                .iter()
                .map(|event| (event.offset, event.commit_end, event.event.version))
                .collect::<Vec<_>>()
        }
    };
    let all = [(2, 3, 1), (3, 7, 1), (5, 7, 2), (6, 7, 3), (11, 14, 2), (13, 14, 3)];
    assert_eq!(shown(None).await, all);
    assert_eq!(shown(Some(6)).await, all[3..]);
    assert_eq!(shown(Some(14)).await, []);
}

#[tokio::test]
async fn a_following_replay_shows_what_is_appended_later() {
    let world = world(vec![fence(1, id(1)), event(1, id(1), 0, 1, 1, 1, (1, 1))]).await;
    let forever = Until::Forever { poll_every: Duration::from_millis(1) };
    let mut replay = Replay::new(Arc::clone(&world.raw), world.partition.clone(), None, forever);
    assert_eq!(soon(replay.next()).await.unwrap().unwrap().offset, 1);
    write(
        &world.log,
        &world.partition,
        vec![Record::default(), event(1, id(1), 1, 1, 2, 2, (1, 1))],
    )
    .await;
    assert_eq!(soon(replay.next()).await.unwrap().unwrap().offset, 3);
}

#[tokio::test]
async fn a_replay_reads_through_the_socket_as_it_reads_directly() {
    let world = world(eventful(id(11), id(12))).await;
    let through_socket = LocalReader::open(world._folder.path().join("log")).await.unwrap();
    for reader in [&world.raw, &through_socket] {
        let replay = Replay::new(Arc::clone(reader), world.partition.clone(), None, Until::End);
        let offsets: Vec<u64> =
            soon(replay.into_stream().map(|event| event.unwrap().offset).collect()).await;
        assert_eq!(offsets, [2, 3, 5, 6, 11, 13]);
    }
}
