//! A resource at the position that its reader asks for.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    answers::{Answer, position},
    documented::Row,
    served::{Served, VOUCHER},
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries of what is answered at once: one that never waits would leave the others no
/// turn.
const AGAIN: Duration = Duration::from_millis(5);

#[tokio::test]
async fn a_position_that_is_reached_is_answered_at_once() {
    let served = Served::new("reached", &[]).await;
    for wanted in [
        position("voucher", VOUCHER, 42),
        position("voucher", VOUCHER, 1),
        "voucher/0@42, voucher/1@42,voucher/7@42".to_owned(),
    ] {
        let answer = served
            .get(
                &format!("/v1/vouchers/{VOUCHER}"),
                &[("highwater-min-position", &wanted), ("prefer", "wait=20")],
            )
            .await;
        assert_eq!(
            (answer.status, answer.header("preference-applied")),
            (StatusCode::OK, "wait=20"),
            "{wanted}"
        );
    }
}

#[tokio::test]
async fn a_query_waits_for_its_position() {
    let served = Served::new("waits", &[("POSITION_POLL_MS", "60000")]).await;
    let wanted = position("voucher", VOUCHER, 43);
    let path = format!("/v1/vouchers/{VOUCHER}");
    let headers = [("highwater-min-position", wanted.as_str()), ("prefer", "wait=29")];
    let mut waiting = Box::pin(served.get(&path, &headers));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "answered before the position was reached");
    served.project("UPDATE vouchers SET version = 3", 43, true).await;
    // Far below the interval at which checkpoints are read without a notification.
    let answer = tokio::time::timeout(Duration::from_secs(25), waiting)
        .await
        .expect("woken by the notification");
    assert_eq!((answer.status, &answer.body["version"]), (StatusCode::OK, &json!(3)));
    assert_eq!(answer.header("highwater-position"), wanted);
}

#[tokio::test]
async fn a_query_gets_its_position_without_notifications_too() {
    let served = Served::new("polls", &[("POSITION_POLL_MS", "50")]).await;
    let wanted = position("voucher", VOUCHER, 43);
    let path = format!("/v1/vouchers/{VOUCHER}");
    let headers = [("highwater-min-position", wanted.as_str()), ("prefer", "wait=20")];
    let mut waiting = Box::pin(served.get(&path, &headers));
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut waiting).await.is_err());
    served.project("UPDATE vouchers SET version = 3", 43, false).await;
    assert_eq!(waiting.await.body["version"], 3);
}

#[tokio::test]
async fn a_position_that_is_not_reached_is_504_or_a_marked_stale_answer() {
    let served = Served::new("stale", &[]).await;
    let path = format!("/v1/vouchers/{VOUCHER}");
    let wanted = position("voucher", VOUCHER, 1_000);
    let late =
        served.get(&path, &[("highwater-min-position", &wanted), ("prefer", "wait=0")]).await;
    assert_eq!(late.problem(), (504, "position.not-reached"));
    assert_eq!(late.header("highwater-position"), position("voucher", VOUCHER, 42));

    let stale = served
        .get(&path, &[("highwater-min-position", &wanted), ("prefer", "wait=0, stale")])
        .await;
    assert_eq!((stale.status, &stale.body["version"]), (StatusCode::OK, &json!(2)));
    assert_eq!(
        (stale.header("highwater-stale"), stale.header("cache-control")),
        ("true", "no-store")
    );
    assert_eq!(stale.header("preference-applied"), "wait=0, stale");
    assert_eq!(stale.header("highwater-position"), position("voucher", VOUCHER, 42));

    let unknown = served
        .get(
            "/v1/vouchers/0000000f-0000-0000-0000-00000000000f",
            &[("highwater-min-position", "voucher/3@99999"), ("prefer", "wait=0, stale")],
        )
        .await;
    assert_eq!(
        (unknown.problem(), unknown.header("highwater-stale")),
        ((404, "voucher.not-found"), "true")
    );
}

#[tokio::test]
async fn positions_that_no_wait_can_reach_are_refused() {
    let served = Served::new("refused", &[]).await;
    for (wanted, says) in [
        ("book/1@5", "voucher"),
        ("voucher/8@5", "0 to 7"),
        ("voucher/1", "category/partition@offset"),
        ("voucher/1@-1", "category/partition@offset"),
        ("voucher/01@1", "with numbers as 7 and not as 07"),
        ("voucher/1@007", "with numbers as 7 and not as 07"),
        ("voucher/0@1:02", "with numbers as 7 and not as 07"),
        ("voucher/1@99999999999999999999", "category/partition@offset"),
        ("voucher/0@1, room/1@1", "voucher"),
        ("", "category/partition@offset"),
    ] {
        let answer = served
            .get(&format!("/v1/vouchers/{VOUCHER}"), &[("highwater-min-position", wanted)])
            .await;
        assert_eq!(answer.problem(), (400, "header.invalid"), "{wanted}");
        assert!(
            answer.body["detail"].as_str().is_some_and(|detail| detail.contains(says)),
            "{wanted}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn only_so_many_may_wait() {
    let served = Served::new("full", &[("WAITING_LIMIT", "1")]).await;
    let wanted = position("voucher", VOUCHER, 1_000_000);
    let path = format!("/v1/vouchers/{VOUCHER}");
    let asked =
        |prefer: &'static str| [("highwater-min-position", wanted.as_str()), ("prefer", prefer)];
    let (waits, looks) = (asked("wait=20"), asked("wait=0"));
    {
        let mut waiting = std::pin::pin!(has_the_place(&served, &path, &waits));
        let refused = tokio::select! {
            refused = refused(&served, &path, &looks) => refused,
            () = &mut waiting => unreachable!("it waits for ever"),
        };
        assert!(!refused.header("retry-after").is_empty());
        // One that need not wait is answered.
        assert_eq!(served.get(&path, &[]).await.status, StatusCode::OK);
    }
    assert_eq!(served.get(&path, &looks).await.status, StatusCode::GATEWAY_TIMEOUT);
}

/// Has the one place among those that wait, for as long as this is polled: it comes again where a
/// look had it for a moment, and when it has waited for long.
pub async fn has_the_place(served: &Served, path: &str, headers: &[(&str, &str)]) {
    loop {
        served.get(path, headers).await;
        tokio::time::sleep(AGAIN).await;
    }
}

/// The answer to the first of these that finds no place.
pub async fn refused(served: &Served, path: &str, headers: &[(&str, &str)]) -> Answer {
    let refused = async {
        loop {
            let answer = served.get(path, headers).await;
            if answer.status == StatusCode::SERVICE_UNAVAILABLE {
                assert_eq!(answer.problem(), (503, "positions.busy"));
                return answer;
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("the place is taken")
}

#[tokio::test]
async fn w3_a_request_that_waits_for_what_is_far_ahead_keeps_no_other_out() {
    const FAR: usize = 8;
    // None gives its place up because it has waited for long.
    let settings = [
        ("QUERY__WAITING_LIMIT", FAR.to_string()),
        ("QUERY__WAIT_LONGEST_MS", "600000".to_owned()),
        ("HTTP__REQUEST_TIMEOUT_MS", "601000".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value));
    let served = Arc::new(Served::with("far", settings.to_vec()).await);
    let (far, near) = (position("voucher", VOUCHER, u64::MAX), position("voucher", VOUCHER, 43));
    let shared = Arc::clone(&served);
    let get = move |position: &str, prefer: &'static str| {
        let (served, position) = (Arc::clone(&shared), position.to_owned());
        async move {
            let headers = [("highwater-min-position", position.as_str()), ("prefer", prefer)];
            served.get(&format!("/v1/vouchers/{VOUCHER}"), &headers).await
        }
    };
    let is_refused = |answer: &Answer| {
        answer.status == StatusCode::SERVICE_UNAVAILABLE && answer.problem().1 == "positions.busy"
    };
    let mut flood = JoinSet::new();
    for _ in 0..FAR {
        let (get, far) = (get.clone(), far.clone());
        flood.spawn(async move {
            loop {
                // Refused when a look below has the last place for a moment.
                let answer = get(&far, "wait=600").await;
                if !is_refused(&answer) {
                    return answer;
                }
                tokio::time::sleep(AGAIN).await;
            }
        });
    }
    let full = async {
        while !is_refused(&get(&far, "wait=0").await) {
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::time::timeout(PATIENCE, full).await.expect("the places are taken");
    let honest: Vec<_> = (0..4).map(|_| tokio::spawn(get(&near, "wait=600"))).collect();
    for _ in &honest {
        let gave_way = tokio::time::timeout(PATIENCE, flood.join_next())
            .await
            .expect("in time")
            .expect("one")
            .expect("an answer");
        assert_eq!(gave_way.problem(), (504, "position.not-reached"));
    }
    served.project("UPDATE vouchers SET version = 3", 43, true).await;
    for honest in honest {
        let answer =
            tokio::time::timeout(PATIENCE, honest).await.expect("in time").expect("an answer");
        assert_eq!((answer.status, &answer.body["version"]), (StatusCode::OK, &json!(3)));
    }
    assert!(
        tokio::time::timeout(Duration::from_millis(50), flood.join_next()).await.is_err(),
        "the others wait on"
    );
    Row {
        id: "W3",
        situation: "as many waits as there may be, all for a position far in the future",
        answer: "a request that waits for a nearer one takes the place of the farthest, which is \
                 answered 504 `position.not-reached` at once; \
                 reads of what was just written are answered 200",
        test: (file!(), "w3_a_request_that_waits_for_what_is_far_ahead_keeps_no_other_out"),
    }
    .check();
}
