//! Partitions that move between two instances on one log: handed off, released, taken eagerly,
//! taken back.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use highwater_command::owner::{
    admin::{self, Admin},
    announcements::{Announcement, Announcements},
    assignment::Right,
    eager_failover::{EagerFailover, EagerFailoverSettings},
    status::{Phase, Statuses},
    supervise::{Assignable, Supervisors, Timing},
    table::Table,
    term::Term,
};
use highwater_log::{FaultyLog, faulty::Faults};
use highwater_runtime::{
    clock::{Ids, SystemIds},
    context::Context,
    shutdown::Shutdown,
};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::harness::{
    Add, Counters, SOON, TestSnapshots, World, forwarder, keys, owners, shared, soon, world,
};

/// An instance whose port listens as long as it lives.
pub struct Instance {
    announcements: Arc<Announcements>,
    pub table: Arc<Table<Add>>,
    pub supervisors: Arc<Supervisors<Counters, TestSnapshots>>,
    pub statuses: Arc<Statuses>,
    shutdown: Shutdown,
    listener: Option<TcpListener>,
}

impl Instance {
    pub async fn start(world: &World, handoff: Duration, again: Duration) -> Self {
        Self::from(world, TestSnapshots::default(), handoff, again).await
    }

    /// As far as these snapshots have come.
    pub async fn from(
        world: &World,
        snapshots: TestSnapshots,
        handoff: Duration,
        again: Duration,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (announcements, reports) =
            Announcements::new(world.log.clone(), owners(), keys(), url, SystemIds.v4());
        let announcements = Arc::new(announcements);
        tokio::spawn(announcements.clone().follow(reports));
        let (shutdown, statuses) = (Shutdown::new(), Arc::new(Statuses::default()));
        let (table, timing) = (Arc::new(Table::<Add>::new()), timing(handoff));
        let shared =
            shared(world, world.log.clone(), snapshots, Default::default(), announcements.clone())
                .0;
        let topic = world.partition.topic.clone();
        let supervisors = Arc::new(Supervisors::new(
            topic,
            Arc::new(shared),
            table.clone(),
            statuses.clone(),
            shutdown.clone(),
            timing,
        ));
        let forwarder = forwarder(&announcements);
        let settings = EagerFailoverSettings {
            probe: Duration::from_millis(10),
            connect_timeout: SOON,
            again,
        };
        let assignable: Vec<Arc<dyn Assignable>> = vec![supervisors.clone()];
        let eager = EagerFailover::new(
            announcements.clone(),
            forwarder,
            &assignable,
            settings,
            Arc::new(SystemIds),
            shutdown.clone(),
        );
        tokio::spawn(eager.run());
        Self { announcements, table, supervisors, statuses, shutdown, listener: Some(listener) }
    }

    pub fn serves(&self) -> bool {
        self.statuses.all().iter().any(|live| live.phase == Phase::Serving)
    }

    fn right(&self) -> Option<Right> {
        self.statuses.all().first().map(|live| live.right)
    }

    async fn knows(&self, other: &Self, epoch: u64) {
        let announcement = || {
            self.announcements.other("counter", 0).is_some_and(|announcement| {
                announcement.url == other.announcements.url && announcement.epoch == epoch
            })
        };
        until("the announcement is heard", announcement).await;
    }
}

fn timing(handoff: Duration) -> Timing {
    let short = Duration::from_millis(20);
    Timing { deposed: short, handoff, intake: 16 }
}

pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + SOON;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "not soon: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The history of the partition, by epoch, as soon as the log has so many terms, and so many that
/// ended with a word.
async fn terms(world: &World, all: usize, ended: usize) -> BTreeMap<u64, Term> {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        let terms = terms_now(world).await;
        if terms.len() >= all && terms.values().filter(|term| term.ended.is_some()).count() >= ended
        {
            return terms;
        }
        assert!(tokio::time::Instant::now() < deadline, "{terms:#?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn terms_now(world: &World) -> BTreeMap<u64, Term> {
    let records = world.log.fetch(&owners(), 0, 1_000).await.unwrap();
    let values = records.into_iter().filter(|stored| {
        stored.record.key.as_deref().is_some_and(|key| key.starts_with(b"counter/0/term/"))
    });
    let read = |value: Vec<u8>| serde_json::from_slice::<Term>(&value).unwrap();
    values.map(|stored| read(stored.record.value.unwrap())).map(|term| (term.epoch, term)).collect()
}

const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
async fn a_partition_that_is_handed_off_is_served_until_anothers_fence() {
    let world = world().await;
    let (first, second) =
        (Instance::start(&world, LONG, LONG).await, Instance::start(&world, LONG, LONG).await);
    first.supervisors.assign(0);
    until("the first serves", || first.serves()).await;
    first.supervisors.hand_off(0);
    assert_eq!((first.serves(), first.right()), (true, Some(Right::HandedOff)));
    second.supervisors.assign(0);
    until("the second serves, and the first is gone", || {
        second.serves() && first.statuses.all().is_empty()
    })
    .await;
    let terms = terms(&world, 2, 1).await;
    assert_eq!((&*terms[&1].why, terms[&1].ended.as_deref()), ("assigned", Some("deposed")));
    assert_eq!(
        (&*terms[&2].why, terms[&2].ended.as_deref(), terms[&2].instance),
        ("assigned", None, second.announcements.instance)
    );
    assert_eq!(terms.len(), 2, "the first does not come back");
}

#[tokio::test]
async fn a_partition_that_comes_back_while_it_is_handed_off_needs_no_fence() {
    let world = world().await;
    let first = Instance::start(&world, Duration::from_millis(1), LONG).await;
    first.supervisors.assign(0);
    until("it serves", || first.serves()).await;
    first.supervisors.hand_off(0);
    first.supervisors.assign(0);
    assert_eq!(first.right(), Some(Right::Group));
    // Until the handoff would have ended.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(first.serves(), "it is no other instance's");
    first.supervisors.hand_off(0);
    until("no other instance takes it: it is released", || first.statuses.all().is_empty()).await;
    let terms = terms(&world, 1, 1).await;
    assert_eq!((terms.len(), terms[&1].ended.as_deref()), (1, Some("drained")));
}

#[tokio::test]
async fn what_its_owner_releases_is_taken_at_once_and_kept_when_the_group_says_so() {
    let world = world().await;
    let (first, second) =
        (Instance::start(&world, LONG, LONG).await, Instance::start(&world, LONG, LONG).await);
    first.supervisors.assign(0);
    until("the first serves", || first.serves()).await;
    second.knows(&first, 1).await;
    first.shutdown.soft.cancel();
    soon(first.supervisors.release(0)).await;
    until("the second serves", || second.serves()).await;
    assert_eq!(second.right(), Some(Right::EagerFailover));
    second.supervisors.assign(0);
    assert_eq!((second.serves(), second.right()), (true, Some(Right::Group)));
    let terms = terms(&world, 2, 1).await;
    let whys: Vec<_> = terms.values().map(|term| (&*term.why, term.ended.as_deref())).collect();
    assert_eq!(whys, [("assigned", Some("drained")), ("released", None)]);
    first.supervisors.assign(0);
    assert_eq!(
        first.supervisors.owned(),
        Vec::<u32>::new(),
        "an instance that ends takes nothing any more"
    );
}

#[tokio::test]
async fn an_owner_that_ends_serves_until_another_has_fenced() {
    let world = world().await;
    let (first, second) =
        (Instance::start(&world, LONG, LONG).await, Instance::start(&world, LONG, LONG).await);
    first.supervisors.assign(0);
    until("the first serves", || first.serves()).await;
    second.knows(&first, 1).await;
    // Another owner that stays is what it waits for.
    second.announcements.publish("other", 0, 1);
    until("the first hears of the second", || first.announcements.another_stays()).await;
    first.shutdown.leaving.cancel();
    soon(first.supervisors.leave()).await;
    until("the second serves", || second.serves()).await;
    assert_eq!(second.right(), Some(Right::EagerFailover));
    let terms = terms(&world, 2, 1).await;
    let whys: Vec<_> = terms.values().map(|term| (&*term.why, term.ended.as_deref())).collect();
    assert_eq!(
        whys,
        [("assigned", Some("deposed")), ("leaving", None)],
        "it was served until the fence"
    );
}

#[tokio::test]
async fn who_ends_with_its_fence_on_its_way_releases_what_it_got() {
    let mut world = world().await;
    let slow = Arc::new(FaultyLog::new(world.log.clone(), 1, Faults::default()).unwrap());
    world.log = slow.clone();
    let first = Instance::start(&world, LONG, LONG).await;
    slow.hold(&world.partition);
    first.supervisors.assign(0);
    until("its fence is on its way", || slow.waiting(&world.partition) == 1).await;
    let released = first.supervisors.release(0);
    until("it drains", || {
        first.statuses.all().first().is_some_and(|live| live.phase == Phase::Draining)
    })
    .await;
    slow.release_partition(&world.partition);
    soon(released).await;
    let terms = terms(&world, 1, 1).await;
    assert_eq!(
        (&*terms[&1].why, terms[&1].ended.as_deref()),
        ("assigned", Some("drained")),
        "others hear that it had it, and has not"
    );
}

#[tokio::test]
async fn an_owner_that_ends_does_not_wait_where_nobody_can_take_what_it_has() {
    let world = world().await;
    let (first, second) =
        (Instance::start(&world, LONG, LONG).await, Instance::start(&world, LONG, LONG).await);
    first.supervisors.assign(0);
    until("the first serves", || first.serves()).await;
    second.announcements.publish("other", 0, 1);
    second.announcements.leave("other", 0, 1);
    let ends = || first.announcements.others().iter().any(|heard| heard.announcement.leaving);
    until("the first hears that the second ends too", ends).await;
    let asked: Vec<_> = first
        .announcements
        .candidates("other", 0)
        .into_iter()
        .map(|announcement| announcement.url)
        .collect();
    assert_eq!(
        asked,
        std::slice::from_ref(&second.announcements.url),
        "an owner that ends is asked until another has fenced"
    );
    second.shutdown.leaving.cancel();
    first.shutdown.leaving.cancel();
    soon(first.supervisors.leave()).await;
    assert!(first.serves(), "no other instance has taken it");
    soon(first.supervisors.release(0)).await;
    assert!(second.statuses.all().is_empty(), "an instance that ends takes nothing");
}

#[tokio::test]
async fn a_living_owner_whose_port_refuses_has_its_partition_back_and_keeps_it() {
    let world = world().await;
    let (mut first, second) =
        (Instance::start(&world, LONG, LONG).await, Instance::start(&world, LONG, LONG).await);
    first.supervisors.assign(0);
    until("the first serves", || first.serves()).await;
    second.knows(&first, 1).await;
    // Long enough for the second to have seen it listen: a connection is in the queue.
    let listener = first.listener.take().unwrap();
    soon(listener.accept()).await.unwrap();
    soon(listener.accept()).await.unwrap();
    drop(listener);
    // The second takes it by an eager failover, the group's member fences again, and its port goes
    // on refusing.
    until("the first has it back", || {
        first.statuses.all().first().is_some_and(|live| live.epoch == Some(3))
    })
    .await;
    until("the second has left it", || second.statuses.all().is_empty()).await;
    second.knows(&first, 3).await;
    tokio::task::yield_now().await;
    let whys: Vec<_> = terms(&world, 3, 2).await.values().map(|term| term.why.clone()).collect();
    assert_eq!(whys, ["assigned", "refused", "deposed"]);
    assert!(second.statuses.all().is_empty(), "not again so soon");
}

#[tokio::test]
async fn what_others_said_before_the_start_is_no_reason_to_take_anything() {
    let world = world().await;
    let first = Instance::start(&world, LONG, LONG).await;
    first.supervisors.assign(0);
    until("the first serves", || first.serves()).await;
    first.shutdown.soft.cancel();
    soon(first.supervisors.release(0)).await;
    let released = async || {
        let records = world.log.fetch(&owners(), 0, 1_000).await.unwrap();
        records
            .iter()
            .filter_map(|stored| {
                serde_json::from_slice::<Announcement>(stored.record.value.as_deref()?).ok()
            })
            .any(|announcement| announcement.released)
    };
    soon(async {
        while !released().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let second = Instance::start(&world, LONG, LONG).await;
    until("the second has read it", || {
        second
            .announcements
            .others()
            .iter()
            .any(|heard| heard.announcement.released && !heard.fresh)
    })
    .await;
    // A release that is news makes the second look through all of them.
    first.announcements.release("other", 0, 1);
    until("the second has read that too", || {
        second.announcements.others().iter().any(|heard| heard.category == "other" && heard.fresh)
    })
    .await;
    assert!(second.supervisors.owned().is_empty() && second.statuses.all().is_empty());
}

#[tokio::test]
async fn the_operator_sees_what_is_owned_and_only_on_loopback() {
    let world = world().await;
    let first = Instance::start(&world, LONG, LONG).await;
    first.supervisors.assign(0);
    until("it serves", || first.serves()).await;
    let admin = || Admin {
        instance: first.announcements.instance,
        url: first.announcements.url.clone(),
        statuses: first.statuses.clone(),
        log: world.log.clone(),
        command_queues: vec![("counter", world.commands.topic.clone())],
    };
    let ctx = Context { shutdown: first.shutdown.clone(), ..Context::for_tests() };
    let refused = admin::serve("0.0.0.0:0".parse().unwrap(), admin(), &ctx).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("0.0.0.0:0")));
    let address = admin::serve("127.0.0.1:0".parse().unwrap(), admin(), &ctx).await.unwrap();
    let answer = soon(reqwest::get(format!("http://{address}/admin/owners"))).await.unwrap();
    let shown: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let owned = &shown["partitions"][0];
    assert_eq!(
        (&shown["instance"], &shown["partitions"].as_array().unwrap().len()),
        (&first.announcements.instance.to_string().into(), &1)
    );
    assert_eq!(
        (&owned["category"], &owned["partition"], &owned["phase"]),
        (&"counter".into(), &0.into(), &"serving".into())
    );
    assert_eq!(
        (&owned["right"], &owned["why"], &owned["epoch"]),
        (&"group".into(), &"assigned".into(), &1.into())
    );
    assert_eq!((&owned["queue"]["drained"], &owned["queue_backlog"]), (&0.into(), &0.into()));
    assert!(
        owned["writer"].is_string() && owned["tail"].is_u64() && owned["in_flight"].is_u64(),
        "{owned:#}"
    );
}
