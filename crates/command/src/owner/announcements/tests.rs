use std::path::PathBuf;

use highwater_log::{LocalLog, local};

use super::{known::LEAD, *};

/// A folder of its own, removed at the end.
pub struct Scratch(pub PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn log(name: &str) -> Result<(Arc<LocalLog>, Scratch), highwater_log::Error> {
    let scratch = Scratch(
        std::env::temp_dir().join(format!("highwater-announcements-{name}-{}", std::process::id())),
    );
    let log = Arc::new(LocalLog::open(&scratch.0, local::Settings::default())?);
    log.prepare(vec![check_values::topic("test")]).await?;
    Ok((log, scratch))
}

fn keys(digit: char) -> Arc<DeploymentKeys> {
    let keys = DeploymentKeys::parse(&format!("1:{}", digit.to_string().repeat(64)));
    Arc::new(keys.unwrap_or_else(|error| unreachable!("{error}")))
}

fn announcements(log: &Arc<LocalLog>, instance: u128) -> (Announcements, Reports) {
    Announcements::new(
        log.clone(),
        check_values::partition("test"),
        keys('a'),
        format!("http://h:{instance}"),
        Uuid::from_u128(instance),
    )
}

#[tokio::test]
async fn the_first_to_start_says_which_and_others_are_refused() -> Result<(), Error> {
    let (log, _scratch) = log("first").await?;
    let (first, _reports) = announcements(&log, 1);
    first.check(check_values::DATABASE, "a", "advice").await?;
    first.check(check_values::DATABASE, "a", "advice").await?;
    let (second, _reports) = announcements(&log, 2);
    second.check(check_values::DATABASE, "a", "advice").await?;
    let refused = second
        .check(check_values::DATABASE, "b", "do this")
        .await
        .map_err(|error| error.to_string());
    let said = refused.err().unwrap_or_default();
    assert!(
        ["database", "says a", "it is b", "do this"].iter().all(|words| said.contains(words)),
        "{said}"
    );
    // Another value of the same name would not be seen; another name is another value.
    second.check(check_values::DEPLOYMENT_KEY, "b", "advice").await?;
    assert_eq!(
        log.end(&check_values::partition("test")).await?,
        2,
        "what is known is not said again"
    );
    Ok(())
}

#[tokio::test]
async fn who_comes_second_in_a_race_puts_the_first_value_back_on_top() -> Result<(), Error> {
    let (log, _scratch) = log("race").await?;
    let (first, mut reports) = announcements(&log, 1);
    let (second, mut others) = announcements(&log, 2);
    for (instance, reports, value) in [(&first, &mut reports, "a"), (&second, &mut others, "b")] {
        instance.append(check_values::DATABASE.to_owned(), value.as_bytes().to_vec());
        assert!(reports.recv().await.is_some_and(|report| report.result.is_ok()));
    }
    assert!(second.agree(check_values::DATABASE, "b", "advice").await.is_err());
    assert!(others.recv().await.is_some_and(|report| report.result.is_ok()));
    first.agree(check_values::DATABASE, "a", "advice").await?;
    // What compaction leaves is the last value of each key.
    let records = log.fetch(&check_values::partition("test"), 0, 10).await?;
    let values: Vec<_> =
        records.iter().filter_map(|stored| stored.record.value.as_deref()).collect();
    assert_eq!(values, [b"a", b"b", b"a"]);
    Ok(())
}

#[test]
fn what_stands_is_said_again_when_it_is_not_the_last_word() {
    let mut said = OwnAnnouncements::default();
    said.keep_epoch("a/0".to_owned(), b"zero".to_vec(), 6);
    said.keep_epoch("a/1".to_owned(), b"one".to_vec(), 2);
    said.keep("database".to_owned(), b"which".to_vec());
    // True once, and late: an instance that reads the topic from its beginning hears nothing else.
    assert!(said.hears("a/0", 5));
    let keys =
        |again: Vec<(String, Vec<u8>)>| again.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    let (disbelieved, again) = said.take_overwritten();
    assert_eq!((disbelieved, keys(again)), (0, vec!["a/0".to_owned()]));
    assert!(said.hears("a/0", 6) && said.hears("a/1", 3) && said.hears("b/0", 1));
    assert_eq!(said.take_overwritten(), (0, Vec::new()));
    said.unsaid();
    assert_eq!(
        keys(said.take_overwritten().1),
        ["a/0", "database"],
        "not what another owns by now"
    );
}

#[test]
fn what_rests_on_a_partition_is_forgotten_with_it_and_nothing_else_is() {
    let mut said = OwnAnnouncements::default();
    for key in ["a/1", "a/1/commands", "a/10", "a/10/commands", "b/1"] {
        said.keep(key.to_owned(), Vec::new());
    }
    said.forget("a/1");
    said.unsaid();
    let left: Vec<_> = said.take_overwritten().1.into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, ["a/10", "a/10/commands", "b/1"]);
}

#[test]
fn an_epoch_that_no_fence_can_have_reached_is_not_believed() {
    let mut said = OwnAnnouncements::default();
    said.keep_epoch("a/0".to_owned(), b"zero".to_vec(), 6);
    assert!(!said.hears("a/0", 6 + LEAD + 1), "it was served a moment ago");
    said.unsaid();
    assert_eq!(said.take_overwritten().1.len(), 1, "and is so still");
    assert!(said.hears("a/0", 6 + LEAD));
    said.unsaid();
    assert_eq!(said.take_overwritten().1, []);
    // An instance that stands by nothing, or by something without an epoch, can tell nothing.
    said.keep("a/0".to_owned(), Vec::new());
    assert!(said.hears("a/0", u64::MAX) && said.hears("b/0", u64::MAX));
}

#[test]
fn what_is_not_believed_is_counted_and_its_place_is_taken_back_once() {
    let mut said = OwnAnnouncements::default();
    said.keep("a/0".to_owned(), b"zero".to_vec());
    for key in ["a/0", "a/0", "b/0"] {
        said.overwritten(key);
    }
    assert_eq!(said.take_overwritten(), (3, vec![("a/0".to_owned(), b"zero".to_vec())]));
    assert_eq!(said.take_overwritten(), (0, Vec::new()));
}

fn announcement(instance: u128, epoch: u64, (leaving, released): (bool, bool)) -> Announcement {
    Announcement {
        url: format!("http://h:{instance}"),
        epoch,
        instance: Uuid::from_u128(instance),
        leaving,
        released,
    }
}

const STAYS: (bool, bool) = (false, false);
const LEAVES: (bool, bool) = (true, false);
const RELEASED: (bool, bool) = (false, true);

/// After the first, each with whether it was news and who is asked then.
#[test]
fn the_highest_epoch_is_asked_first_and_who_spoke_last_second() {
    let first = announcement(1, 5, STAYS);
    let mut known = KnownOwner { best: first.clone(), fresh: false, last: first.clone() };
    let asked = |known: &KnownOwner| {
        known
            .candidates()
            .into_iter()
            .map(|announcement| announcement.instance.as_u128())
            .collect::<Vec<_>>()
    };
    assert_eq!(asked(&known), [1]);
    for (said, news, asks) in [
        (first.clone(), false, vec![1]),
        (announcement(2, 6, STAYS), true, vec![2]),
        (first.clone(), true, vec![2, 1]),
        (first, false, vec![2, 1]),
        (announcement(2, 6, STAYS), true, vec![2]),
        (announcement(3, 6, STAYS), true, vec![3]),
    ] {
        assert_eq!((known.hear(said.clone(), true), asked(&known)), (news, asks), "{said:?}");
    }
    assert!(known.fresh);
}

#[test]
fn an_owner_that_goes_does_not_come_back_in_the_same_epoch() {
    let mut known = KnownOwner {
        best: announcement(1, 5, STAYS),
        fresh: true,
        last: announcement(1, 5, STAYS),
    };
    for (said, best) in [
        (LEAVES, LEAVES),
        (STAYS, LEAVES),
        (RELEASED, RELEASED),
        (LEAVES, RELEASED),
        (STAYS, RELEASED),
    ] {
        assert!(known.hear(announcement(1, 5, said), true));
        assert_eq!(known.best, announcement(1, 5, best), "{said:?}");
    }
    assert!(known.hear(announcement(1, 6, STAYS), true));
    assert_eq!(known.best, announcement(1, 6, STAYS));
}

#[test]
fn an_announcement_is_plausible_up_to_the_lead_beyond_what_the_fold_has() {
    let known = KnownOwner {
        best: announcement(1, LEAD + 7, STAYS),
        fresh: true,
        last: announcement(1, 1, STAYS),
    };
    assert_eq!(
        [6, 7, 8, u64::MAX].map(|epoch| known.is_plausible_after(epoch)),
        [false, true, true, true]
    );
}
