use highwater_log::Partition;
use highwater_protocol::position::Position;

use super::*;
use crate::runner::{
    Source,
    tests::history::{Act, History, Shelf},
};

const ROOM: Room = Room { events: 100, bytes: 1_000 };

/// Three events, each in a delivery of its own with the end of the log behind the last.
fn shelf(visible: usize) -> (Shelf, Arc<History>) {
    let history =
        Arc::new(History::of(&[Act::Fence, Act::Commit(1), Act::Commit(1), Act::Commit(1)]));
    (Shelf::new(std::slice::from_ref(&history), &[], visible, 1), history)
}

async fn follower(shelf: &Shelf, checkpoints: Checkpoints) -> Follower {
    let partition = Partition { topic: "test.thing.events".into(), index: 0 };
    let reader = PartitionReader::resume(shelf, &partition, Source::Events, Position::start())
        .await
        .expect("a reader");
    Follower::new(TopicPartition::of_events("thing", 0), reader, checkpoints)
}

fn both() -> Checkpoints {
    [("a", Position::start()), ("b", Position::start())].into()
}

fn one(name: &'static str) -> Checkpoints {
    [(name, Position::start())].into()
}

/// Everything that has arrived is projected.
fn project(follower: &mut Follower) -> usize {
    follower.take_arrived(ROOM);
    let jobs = follower.take_jobs();
    jobs.iter().for_each(|job| follower.moved(job.key.projection, job.to.clone()));
    jobs.iter().map(Job::weight).sum()
}

#[tokio::test]
async fn what_arrived_is_taken_once_and_for_every_projection() {
    let (shelf, history) = shelf(4);
    let mut follower = follower(&shelf, both()).await;
    assert_eq!(
        (follower.take_jobs().len(), follower.is_caught_up()),
        (0, false),
        "nothing has been read"
    );
    follower.take_arrived(ROOM);
    let jobs = follower.take_jobs();
    let taken: Vec<_> = jobs
        .iter()
        .map(|job| (job.key.projection, job.from.offset, job.to.offset, job.items().len()))
        .collect();
    assert_eq!(taken, [("a", 0, 4, 3), ("b", 0, 4, 3)]);
    assert_eq!(jobs[0].to, history.positions[&4]);
    assert!(!follower.is_caught_up(), "it is on its way");
    follower.moved("a", jobs[0].to.clone());
    assert!(!follower.is_caught_up(), "one projection has all of it");
    follower.moved("b", jobs[1].to.clone());
    assert!(follower.is_caught_up());
    follower.take_arrived(ROOM);
    assert!(follower.take_jobs().is_empty());
}

#[tokio::test]
async fn one_that_is_left_out_gets_nothing_more_and_is_not_waited_for() {
    let (shelf, _) = shelf(4);
    let mut follower = follower(&shelf, both()).await;
    follower.take_arrived(ROOM);
    follower.leave_out("b");
    let jobs = follower.take_jobs();
    assert_eq!(jobs.iter().map(|job| job.key.projection).collect::<Vec<_>>(), ["a"]);
    follower.moved("a", jobs[0].to.clone());
    follower.moved("b", jobs[0].to.clone());
    assert!(follower.is_caught_up());
    assert_eq!(
        follower.checkpoints().map(|(name, at)| (name, at.offset)).collect::<Vec<_>>(),
        [("a", 4)]
    );
}

#[tokio::test]
async fn no_more_is_taken_than_there_is_room_for() {
    let (shelf, _) = shelf(4);
    let mut follower = follower(&shelf, one("a")).await;
    let left = follower.take_arrived(Room { events: 2, bytes: 1_000 });
    assert_eq!((left.events, left.bytes), (1, 996), "never nothing");
    assert_eq!(follower.take_jobs()[0].items().len(), 2);
    assert!(!follower.is_caught_up());
    // The room is each time a new one.
    let left = follower.take_arrived(Room { events: 2, bytes: 1_000 });
    assert_eq!((left.events, left.bytes), (1, 998));
    let (shelf, _) = self::shelf(4);
    let mut follower = self::follower(&shelf, one("a")).await;
    follower.take_arrived(Room { events: 100, bytes: 4 });
    assert_eq!(follower.take_jobs()[0].items().len(), 2);
}

#[tokio::test]
async fn what_one_waits_for_is_not_lost() {
    let (shelf, _) = shelf(2);
    let mut follower = follower(&shelf, one("a")).await;
    assert_eq!(project(&mut follower), 1);
    assert!(follower.arrival().now_or_never().is_none(), "nothing is there");
    shelf.grow(1);
    follower.arrival().now_or_never().expect("something is there");
    assert!(!follower.is_caught_up());
    assert_eq!((project(&mut follower), follower.is_caught_up()), (1, true));
}

#[tokio::test]
async fn an_end_is_said_once_and_nothing_comes_after_it() {
    let (shelf, _) = shelf(4);
    let mut follower = follower(&shelf, one("a")).await;
    assert_eq!(project(&mut follower), 3);
    shelf.stop();
    follower.arrival().now_or_never().expect("the end is there");
    assert!(!follower.is_caught_up(), "what came since is not known");
    assert!(follower.arrival().now_or_never().is_none());
    follower.take_arrived(ROOM);
    assert!(matches!(follower.take_end(), Some(follow::Error::Log(_))));
    assert!(follower.take_end().is_none());
}

#[tokio::test]
async fn others_are_taken_in_only_where_nothing_lies_between() {
    let (shelf, _) = shelf(3);
    let (mut together, mut alone) =
        (follower(&shelf, one("a")).await, follower(&shelf, one("b")).await);
    assert_eq!(project(&mut together), 2);
    assert!(!together.take_in(&mut alone), "it is behind");
    alone.take_arrived(ROOM);
    assert!(!together.take_in(&mut alone), "it has something to do");
    assert_eq!(alone.take_jobs().len(), 1);
    shelf.grow(1);
    together.take_arrived(ROOM);
    assert!(!together.take_in(&mut alone), "the others are ahead");
    assert!(!alone.take_in(&mut together), "whichever is asked");
    assert_eq!(project(&mut alone) + project(&mut together), 1 + 1);
    assert!(together.take_in(&mut alone));
    assert_eq!(together.checkpoints().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test]
async fn a_track_that_has_ended_takes_no_other_in() {
    let (shelf, _) = shelf(3);
    let (mut together, mut alone) =
        (follower(&shelf, one("a")).await, follower(&shelf, one("b")).await);
    assert_eq!((project(&mut together), project(&mut alone)), (2, 2));
    shelf.stop();
    together.take_arrived(ROOM);
    assert!(!together.take_in(&mut alone));
}
