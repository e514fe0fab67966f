//! What any process that may write to the log can write into `owners`.

use std::{sync::Arc, time::Duration};

use highwater_command::{
    Categories, Commanded,
    owner::{
        announcements::{Announcement, Announcements},
        deployment::Deployment,
    },
};
use highwater_log::{Delivery, Reply, Ticket};
use highwater_protocol::record::Record;
use highwater_runtime::{
    clock::{Ids, SystemIds},
    config::Config,
    context::Context,
    telemetry::{self, TelemetrySettings},
};
use sqlx::postgres::PgPoolOptions;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    cases::Cases,
    counter::Counters,
    documented::Row,
    instance::{Instance, KEYS, Place, SOON, keys, owners},
    tallies::Tallies,
};

const OTHER_KEYS: &str = "1:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee";

fn forged(epoch: u64, released: bool) -> Announcement {
    Announcement {
        url: "http://127.0.0.1:1".to_owned(),
        epoch,
        instance: SystemIds.v4(),
        leaving: false,
        released,
    }
}

fn bare(key: &str, value: Vec<u8>) -> Record {
    Record { key: Some(key.as_bytes().to_vec()), value: Some(value), headers: Vec::new() }
}

async fn append(place: &Place, record: Record) {
    let (to, mut reports) = tokio::sync::mpsc::unbounded_channel();
    place
        .log
        .append(&owners(), record, Reply { ticket: Ticket { writer: Uuid::nil(), seq: None }, to })
        .unwrap();
    assert!(reports.recv().await.unwrap().result.is_ok());
}

/// Everything up to `key` of what lies in the topic now has been read by `instance`.
async fn settled(place: &Place, instance: &Instance, by: &Instance) {
    let mut changes = instance.announcements.watch();
    let mark = format!("mark-{}", SystemIds.v4());
    append(
        place,
        by.announcements
            .deployment
            .announcement(format!("{mark}/0"), serde_json::to_vec(&forged(1, false)).unwrap()),
    )
    .await;
    let known = || instance.announcements.other(&mark, 0).is_some();
    timeout(SOON, async {
        while !known() {
            changes.changed().await.unwrap();
        }
    })
    .await
    .unwrap();
}

/// What lies last under `key` once `holds`.
async fn last_is(place: &Place, key: &str, holds: impl Fn(&Record) -> bool) {
    let mut reading = place.log.read(&owners(), 0).unwrap();
    let (mut last, mut caught_up) = (None, false);
    timeout(SOON, async {
        while !(caught_up && last.as_ref().is_some_and(&holds)) {
            match reading.deliveries.recv().await.unwrap() {
                Delivery::Records(records) => {
                    let of_key = |record: &Record| record.key.as_deref() == Some(key.as_bytes());
                    last = records
                        .into_iter()
                        .map(|stored| stored.record)
                        .rfind(of_key)
                        .or(last.take());
                }
                Delivery::CaughtUp(_) => caught_up = true,
                Delivery::Trouble(_) | Delivery::Failed(_) => panic!("the topic cannot be read"),
            }
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{key} does not become what it was"));
}

fn announcement_of(record: &Record) -> Option<Announcement> {
    serde_json::from_slice(record.value.as_deref()?).ok()
}

/// As it is counted by all instances of this process.
fn disbelieved(metrics: &str) -> u64 {
    let counted = metrics
        .lines()
        .find_map(|line| line.strip_prefix("highwater_owners_disbelieved_total ")?.parse().ok());
    counted.unwrap_or(0)
}

async fn owner_and_other(place: &Place) -> (Instance, Instance) {
    let (mut owner, other) =
        (crate::instance(place, KEYS).await, crate::instance(place, KEYS).await);
    owner.serve();
    owner.own();
    other.knows(&crate::CATEGORIES, &owner).await;
    (owner, other)
}

#[tokio::test]
async fn what_is_not_proven_is_not_believed_and_its_place_is_taken_back() {
    let place = Place::new(&crate::CATEGORIES).await;
    let (owner, other) = owner_and_other(&place).await;
    let foreign = Deployment::new(keys(OTHER_KEYS), &owners());
    let elsewhere = Deployment::new(
        keys(KEYS),
        &highwater_log::Partition { topic: "other.owners".into(), index: 0 },
    );
    let value = |announcement: &Announcement| serde_json::to_vec(announcement).unwrap();
    let highest = forged(u64::MAX, false);
    let telemetry = telemetry::init(&TelemetrySettings {
        filter: "off".to_owned(),
        ..TelemetrySettings::default()
    })
    .unwrap();
    let disbelieved = || disbelieved(&telemetry.metrics.render());
    let before = disbelieved();
    let mut moved = owner
        .announcements
        .deployment
        .announcement("tally/0".to_owned(), value(&forged(u64::MAX, true)));
    moved.key = Some(b"case/0".to_vec());
    for record in [
        bare("case/0", value(&highest)),
        bare("case/0", value(&forged(u64::MAX, true))),
        foreign.announcement("case/0".to_owned(), value(&highest)),
        elsewhere.announcement("case/0".to_owned(), value(&highest)),
        moved,
        bare("case/0", b"nonsense".to_vec()),
        bare("case/0/commands", br#"{"drained":9223372036854775808}"#.to_vec()),
        bare("case/0", value(&highest)),
    ] {
        append(&place, record).await;
    }
    settled(&place, &other, &owner).await;
    assert!(disbelieved() >= before + 8, "{} are counted", disbelieved() - before);
    let known = other.announcements.other("case", 0).unwrap();
    assert_eq!((known.instance, known.epoch), (owner.announcements.instance, 1));
    assert_eq!(other.announcements.drained("case", 0), 0);
    // Compaction keeps the last record of a key: it is the owner's again.
    let of_the_owner = |record: &Record| {
        owner.announcements.deployment.wrote(record)
            && announcement_of(record)
                .is_some_and(|announcement| announcement.instance == owner.announcements.instance)
    };
    last_is(&place, "case/0", of_the_owner).await;
    // Erased, the partition would have no owner for an instance that reads the topic later.
    append(&place, Record { value: None, ..bare("case/0", Vec::new()) }).await;
    last_is(&place, "case/0", of_the_owner).await;
    Row {
        id: "A2",
        situation: "records in `owners` without proof: an announcement with the epoch 2^64-1, \
                    `released`, `drained` 2^63; by another deployment; of \
                    another partition; one without a value",
        answer: "not believed, counted (`highwater_owners_disbelieved_total`), and what they took \
                 the place of is said again within a second",
        test: (file!(), "what_is_not_proven_is_not_believed_and_its_place_is_taken_back"),
    }
    .check();
}

/// A record that a holder of the key wrote, or one of a history that was made anew.
#[tokio::test]
async fn an_epoch_that_the_fold_does_not_have_costs_a_hop() {
    let place = Place::new(&crate::CATEGORIES).await;
    let (owner, other) = owner_and_other(&place).await;
    let lie = forged(u64::MAX, false);
    append(
        &place,
        owner
            .announcements
            .deployment
            .announcement("case/0".to_owned(), serde_json::to_vec(&lie).unwrap()),
    )
    .await;
    let said_again = |record: &Record| {
        announcement_of(record)
            .is_some_and(|announcement| announcement.instance == owner.announcements.instance)
    };
    last_is(&place, "case/0", said_again).await;
    settled(&place, &other, &owner).await;
    let asked: Vec<_> = other
        .announcements
        .candidates("case", 0)
        .into_iter()
        .map(|announcement| announcement.instance)
        .collect();
    assert_eq!(asked, [lie.instance, owner.announcements.instance], "the owner is asked, too");
    settled(&place, &owner, &owner).await;
    assert_eq!(owner.announcements.other("case", 0), None, "the owner does not believe it at all");
    // Nor does the instance that owns the partition next, though it did.
    drop(owner);
    let mut changes = other.announcements.watch();
    other.own();
    timeout(SOON, async {
        while other
            .announcements
            .candidates("case", 0)
            .iter()
            .any(|announcement| announcement.instance == lie.instance)
        {
            changes.changed().await.unwrap();
        }
    })
    .await
    .expect("it is believed on");
    Row {
        id: "A2b",
        situation: "an announcement with a valid proof and the epoch 2^64-1 (of a history that was \
                    made anew)",
        answer: "its owner does not believe it, says again that it owns the partition, and others \
                 ask the owner second",
        test: (file!(), "an_epoch_that_the_fold_does_not_have_costs_a_hop"),
    }
    .check();
}

/// Why an instance that advertises `url` does not start, if it does not.
async fn refused_at_the_start(place: &Place, url: &str) -> Option<highwater_command::Error> {
    let environment = vec![("HIGHWATER__PEERS__ADVERTISE".to_owned(), url.to_owned())];
    let ctx = Context {
        config: Config::load_with(None, Some(environment), Vec::new()).unwrap(),
        ..Context::for_tests()
    };
    let unreachable =
        PgPoolOptions::new().connect_lazy("postgres://127.0.0.1:1/nobody_answers").unwrap();
    let categories: Categories = vec![
        Arc::new(Commanded { domain: Cases, collection: "cases" }),
        Arc::new(Commanded { domain: Counters, collection: "counters" }),
        Arc::new(Commanded { domain: Tallies, collection: "tally" }),
    ];
    highwater_command::start(&ctx, place.log.clone(), unreachable, &categories).await.err()
}

#[tokio::test]
async fn an_announcement_names_an_origin_and_nothing_else() {
    let place = Place::new(&crate::CATEGORIES).await;
    let (owner, other) = owner_and_other(&place).await;
    for url in [
        "http://127.0.0.1:1/admin?x=",
        "http://user@127.0.0.1:1",
        "file:///etc/passwd",
        "http://127.0.0.1:1#",
        "127.0.0.1:1",
        "",
    ] {
        let announcement = Announcement { url: url.to_owned(), ..forged(2, false) };
        append(
            &place,
            owner
                .announcements
                .deployment
                .announcement("case/0".to_owned(), serde_json::to_vec(&announcement).unwrap()),
        )
        .await;
        settled(&place, &other, &owner).await;
        let known = other.announcements.other("case", 0).unwrap();
        assert_eq!(known.instance, owner.announcements.instance, "{url}");
        // Nor is it said by an instance of ours. Without any, its own address is.
        if !url.is_empty() {
            let refused = refused_at_the_start(&place, url).await;
            assert!(
                matches!(refused, Some(highwater_command::Error::Advertise { .. })),
                "{url}: {refused:?}"
            );
        }
    }
    Row {
        id: "A1d",
        situation: "an announcement whose URL has a path, a query, a user, a fragment, or another \
                    scheme",
        answer: "not believed; `peers.advertise` with such a URL is refused at the start",
        test: (file!(), "an_announcement_names_an_origin_and_nothing_else"),
    }
    .check();
}

#[tokio::test]
async fn check_values_that_are_overwritten_are_put_back() {
    let place = Place::new(&crate::CATEGORIES).await;
    let (announcements, reports) = Announcements::new(
        place.log.clone(),
        owners(),
        keys(KEYS),
        "http://127.0.0.1:1".to_owned(),
        SystemIds.v4(),
    );
    let announcements = Arc::new(announcements);
    let following = tokio::spawn(announcements.clone().follow(reports));
    announcements.check("database", "ours", "advice").await.unwrap();
    append(&place, bare("database", b"theirs".to_vec())).await;
    last_is(&place, "database", |record| record.value.as_deref() == Some(b"ours".as_slice())).await;
    following.abort();
    let written = place.log.end(&owners()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(written, 3, "once");
}
