//! Requests behind all layers, with bodies that come as the test says.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Extension};
use axum::http::{Method, Request, StatusCode, Version, header};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::FutureExt;
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tower::ServiceExt;

use super::*;
use crate::body::StrictJson;
use crate::documented::Row;
use crate::server::{BulkheadSettings, HttpSettings, layers};
use highwater_runtime::context::Context as AppContext;

type Failure = Box<dyn std::error::Error>;

fn settings(limit: usize) -> HttpSettings {
    let limit = NonZeroUsize::new(limit).unwrap_or(NonZeroUsize::MIN);
    let bulkhead = BulkheadSettings { limit, waiting: 0, ..BulkheadSettings::default() };
    HttpSettings {
        commands: bulkhead.clone(),
        reads: bulkhead.clone(),
        collections: bulkhead,
        ..HttpSettings::default()
    }
}

fn app(settings: &HttpSettings) -> Router {
    let ctx = AppContext::for_tests();
    let waits = |Extension(admission): Extension<Admission>,
                 Extension(until): Extension<Arc<Notify>>| async move {
        admission.while_waiting(until.notified()).await.map(|()| "waited")
    };
    let router = Router::new()
        .route(
            "/things",
            post(|body: StrictJson| async move { Json(body.value) }).get(|| async { "read" }),
        )
        .route("/raw", post(|body: Bytes| async move { body.len().to_string() }))
        .route("/unread", post(|| async { std::future::pending::<()>().await }))
        .route("/held", get(|| async { std::future::pending::<()>().await }))
        .route("/waits", get(waits))
        .merge(crate::health::routes(&ctx.health));
    layers(router, settings, &ctx)
}

fn request(method: Method, path: &str, body: Body) -> Request<Body> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .body(body);
    request.unwrap_or_default()
}

/// A body that comes as it is sent.
fn dripped() -> (mpsc::UnboundedSender<Result<Bytes, Infallible>>, Body) {
    let (frames, mut coming) = mpsc::unbounded_channel();
    (frames, Body::from_stream(futures_util::stream::poll_fn(move |cx| coming.poll_recv(cx))))
}

fn spawn(router: &Router, request: Request<Body>) -> JoinHandle<Result<Response, Infallible>> {
    tokio::spawn(router.clone().oneshot(request))
}

/// Lets everything that can go on go on.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

async fn read(response: Response) -> Result<(u16, Value), Failure> {
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 1 << 20).await?;
    Ok((
        status,
        serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into()),
    ))
}

fn is_overload(status: u16, body: &Value, class: &str) -> bool {
    (status, body["code"].as_str(), body["class"].as_str())
        == (503, Some("overloaded"), Some(class))
}

#[tokio::test(start_paused = true)]
async fn requests_without_their_bodies_keep_no_one_out_and_are_ended_in_time() -> Result<(), Failure>
{
    let router = app(&HttpSettings::default());
    let begun = Instant::now();
    // Six connections of 200 streams each: heads, and nothing more.
    let opened: Vec<_> = (0..1_200).map(|_| dripped()).collect();
    let (frames, bodies): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
    let silent: Vec<_> = bodies
        .into_iter()
        .map(|body| spawn(&router, request(Method::POST, "/things", body)))
        .collect();
    settle().await;
    let answered =
        router.clone().oneshot(request(Method::POST, "/things", Body::from("{\"a\":1}"))).await?;
    assert_eq!(answered.status(), StatusCode::OK);
    for silent in silent {
        let answered = silent.await??;
        assert_eq!(answered.headers()[header::CONNECTION], "close");
        let (status, body) = read(answered).await?;
        assert_eq!((status, body["code"].as_str()), (408, Some("body.timeout")));
    }
    assert!(begun.elapsed() <= Duration::from_millis(3_250), "{:?}", begun.elapsed());
    drop(frames);
    let row = Row {
        id: "C1",
        situation: "6 HTTP/2 connections with 200 streams each: POST, headers, no body",
        answer: "other requests are answered meanwhile; these hold no permit, and are 408 \
                 `body.timeout` after 3.25 s",
        test: (file!(), "requests_without_their_bodies_keep_no_one_out_and_are_ended_in_time"),
    };
    row.check();
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_body_must_be_complete_in_time_and_come_at_the_least_rate() -> Result<(), Failure> {
    let router = app(&HttpSettings::default());
    // Bytes each 100 ms, and when it ends; `None`: it is whole before.
    for (bytes, ended_ms) in [(1, Some(3_250)), (110, Some(5_000)), (4_096, Some(5_000))] {
        let (frames, body) = dripped();
        let begun = Instant::now();
        let answer = spawn(&router, request(Method::POST, "/things", body));
        while !answer.is_finished() {
            let _ = frames.send(Ok(Bytes::from(vec![b' '; bytes])));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (status, body) = read(answer.await??).await?;
        assert_eq!((status, body["code"].as_str()), (408, Some("body.timeout")), "{bytes}");
        let took = begun.elapsed().as_millis();
        assert!(
            ended_ms.is_some_and(|ended| (ended..=ended + 100).contains(&took)),
            "{bytes}: {took}"
        );
    }
    // HTTP/2 has no header Connection.
    let (frames, body) = dripped();
    let mut silent = request(Method::POST, "/things", body);
    *silent.version_mut() = Version::HTTP_2;
    let answered = router.clone().oneshot(silent).await?;
    assert_eq!(
        (answered.status().as_u16(), answered.headers().contains_key(header::CONNECTION)),
        (408, false)
    );
    drop(frames);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_that_is_whole_in_time_is_read() -> Result<(), Failure> {
    let router = app(&HttpSettings::default());
    let (frames, body) = dripped();
    let answer = spawn(&router, request(Method::POST, "/things", body));
    for part in ["[\"", "slowly", "\"]"] {
        tokio::time::sleep(Duration::from_millis(990)).await;
        frames.send(Ok(Bytes::from(part)))?;
    }
    drop(frames);
    let (status, body) = read(answer.await??).await?;
    assert_eq!((status, body), (200, serde_json::json!(["slowly"])));
    Ok(())
}

#[tokio::test]
async fn what_the_head_alone_refuses_is_refused_without_its_body() -> Result<(), Failure> {
    let router = app(&settings(1));
    let holds = spawn(&router, request(Method::POST, "/unread", Body::empty()));
    settle().await;
    let mut typed = request(Method::POST, "/things", Body::empty());
    typed
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
    let mut large = request(Method::POST, "/things", Body::empty());
    large.headers_mut().insert("x-large", header::HeaderValue::from_str(&"x".repeat(20_000))?);
    let cases = [
        (request(Method::POST, "/nowhere", Body::empty()), 404),
        (request(Method::PUT, "/things", Body::empty()), 405),
        (typed, 415),
        (large, 431),
    ];
    for (mut request, status) in cases {
        let (frames, body) = dripped();
        *request.body_mut() = body;
        // Without a permit, too: there is none.
        let answered = router.clone().oneshot(request).now_or_never();
        assert_eq!(
            answered.and_then(Result::ok).map(|answer| answer.status().as_u16()),
            Some(status)
        );
        drop(frames);
    }
    holds.abort();
    Ok(())
}

#[tokio::test]
async fn a_permit_is_taken_when_the_body_is_complete() -> Result<(), Failure> {
    let router = app(&settings(1));
    let (frames, body) = dripped();
    let first = spawn(&router, request(Method::POST, "/things", body));
    settle().await;
    let holds = spawn(&router, request(Method::POST, "/unread", Body::empty()));
    settle().await;
    frames.send(Ok(Bytes::from("{}")))?;
    drop(frames);
    // What was received meanwhile is refused, as nothing of it was done.
    let (status, body) = read(first.await??).await?;
    assert!(is_overload(status, &body, "commands"), "{status} {body}");
    // Reads are none of it, and neither is health.
    for path in ["/things", "/livez"] {
        let read = router.clone().oneshot(request(Method::GET, path, Body::empty())).await?;
        assert_eq!(read.status(), StatusCode::OK, "{path}");
    }
    holds.abort();
    let _ = holds.await;
    let (status, _) =
        read(router.oneshot(request(Method::POST, "/things", Body::from("{}"))).await?).await?;
    assert_eq!(status, 200);
    Ok(())
}

#[tokio::test]
async fn a_handler_that_takes_its_body_by_other_means_or_not_at_all_is_bounded_too()
-> Result<(), Failure> {
    let router = app(&settings(1));
    let holds = spawn(&router, request(Method::POST, "/unread", Body::from("never read")));
    settle().await;
    for path in ["/unread", "/raw"] {
        let (status, body) =
            read(router.clone().oneshot(request(Method::POST, path, Body::from("{}"))).await?)
                .await?;
        assert!(is_overload(status, &body, "commands"), "{path}: {status} {body}");
    }
    holds.abort();
    let _ = holds.await;
    let (status, body) =
        read(router.oneshot(request(Method::POST, "/raw", Body::from("[1]"))).await?).await?;
    assert_eq!((status, body), (200, serde_json::json!(3)));
    Ok(())
}

#[tokio::test]
async fn a_flood_of_commands_leaves_reads_alone_and_the_other_way_round() -> Result<(), Failure> {
    let router = app(&settings(1));
    let held = [(Method::GET, "/held", "collections"), (Method::POST, "/unread", "commands")];
    for (method, path, class) in held {
        let holds = spawn(&router, request(method.clone(), path, Body::empty()));
        settle().await;
        let (status, body) = read(
            router.clone().oneshot(request(method.clone(), "/things", Body::from("{}"))).await?,
        )
        .await?;
        assert!(is_overload(status, &body, class), "{method}: {status} {body}");
        let other = if method == Method::GET { Method::POST } else { Method::GET };
        let answered = router.clone().oneshot(request(other, "/things", Body::from("{}"))).await?;
        assert_eq!(answered.status(), StatusCode::OK);
        holds.abort();
        let _ = holds.await;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_waits_gives_its_permit_back_and_takes_one_again() -> Result<(), Failure> {
    let router = app(&settings(1));
    let until = Arc::new(Notify::new());
    let mut waiting = request(Method::GET, "/waits", Body::empty());
    waiting.extensions_mut().insert(Arc::clone(&until));
    let waiting = spawn(&router, waiting);
    settle().await;
    let read_meanwhile =
        router.clone().oneshot(request(Method::GET, "/things", Body::empty())).await?;
    assert_eq!(read_meanwhile.status(), StatusCode::OK);
    // Its permit is held until it was sent.
    let (status, _) =
        read(router.clone().oneshot(request(Method::GET, "/things", Body::empty())).await?).await?;
    assert_eq!(status, 503);
    until.notify_one();
    settle().await;
    assert!(!waiting.is_finished());
    drop(read_meanwhile);
    assert_eq!(read(waiting.await??).await?, (200, "waited".into()));
    // Nothing is left inside: not by one that goes away while it waits either.
    let mut gone = request(Method::GET, "/waits", Body::empty());
    gone.extensions_mut().insert(until);
    let gone = spawn(&router, gone);
    settle().await;
    gone.abort();
    let _ = gone.await;
    assert_eq!(
        read(router.oneshot(request(Method::GET, "/things", Body::empty())).await?).await?.0,
        200
    );
    Ok(())
}

#[tokio::test]
async fn bodies_on_their_way_have_a_budget_and_one_peer_a_share_of_it() -> Result<(), Failure> {
    let router = app(&HttpSettings { receiving_limit_bytes: 1_000, ..HttpSettings::default() });
    let from = |address: &str, body: Body| -> Result<Request<Body>, Failure> {
        let mut request = request(Method::POST, "/things", body);
        request.extensions_mut().insert(ConnectInfo(address.parse::<SocketAddr>()?));
        Ok(request)
    };
    let (one, two) = ("192.0.2.1:7", "192.0.2.2:7");
    let (held, body) = dripped();
    let first = spawn(&router, from(one, body)?);
    held.send(Ok(Bytes::from(vec![b' '; 700])))?;
    settle().await;
    let (beyond, body) = dripped();
    beyond.send(Ok(Bytes::from(vec![b' '; 100])))?;
    let (status, body) = read(router.clone().oneshot(from(one, body)?).await?).await?;
    assert!(is_overload(status, &body, "bodies"), "{status} {body}");
    // Another one has the rest, and what is whole at once needs none of it.
    let whole = Body::from(format!("\"{}\"", "x".repeat(5_000)));
    assert_eq!(router.clone().oneshot(from(one, whole)?).await?.status(), StatusCode::OK);
    let (slow, body) = dripped();
    let other = spawn(&router, from(two, body)?);
    slow.send(Ok(Bytes::from("[1,")))?;
    settle().await;
    slow.send(Ok(Bytes::from("2]")))?;
    drop(slow);
    assert_eq!(read(other.await??).await?.0, 200);
    // One that breaks off gives back what it had.
    first.abort();
    let _ = first.await;
    let (again, body) = dripped();
    again.send(Ok(Bytes::from(vec![b' '; 750])))?;
    let fits = spawn(&router, from(one, body)?);
    settle().await;
    assert!(!fits.is_finished());
    fits.abort();
    Ok(())
}

#[tokio::test]
async fn one_address_cannot_take_all_permits() -> Result<(), Failure> {
    let router = app(&settings(4));
    let from = |number: u8| -> Request<Body> {
        let mut request = request(Method::GET, "/held", Body::empty());
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, number], 7))));
        request
    };
    let held: Vec<_> = (0..3).map(|_| spawn(&router, from(1))).collect();
    settle().await;
    let (status, body) = read(router.clone().oneshot(from(1)).await?).await?;
    assert!(is_overload(status, &body, "collections"), "{status} {body}");
    let other = spawn(&router, from(2));
    settle().await;
    assert!(!other.is_finished());
    held.iter().chain([&other]).for_each(JoinHandle::abort);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_permit_is_held_until_the_answer_is_sent() -> Result<(), Failure> {
    let router = app(&settings(1));
    let unsent = router.clone().oneshot(request(Method::GET, "/things", Body::empty())).await?;
    let (status, _) =
        read(router.clone().oneshot(request(Method::GET, "/things", Body::empty())).await?).await?;
    assert_eq!(status, 503);
    assert_eq!(unsent.headers().get(header::CONTENT_LENGTH), Some(&header::HeaderValue::from(4)));
    read(unsent).await?;
    assert_eq!(
        read(router.oneshot(request(Method::GET, "/things", Body::empty())).await?).await?.0,
        200
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_request_in_the_queue_is_not_handled_before_its_turn() -> Result<(), Failure> {
    let mut settings = settings(1);
    // One peer, and all of this is one, has two of the three that wait.
    (settings.collections.waiting, settings.commands.waiting) = (3, 3);
    let router = app(&settings);
    for (method, path) in [(Method::GET, "/held"), (Method::POST, "/unread")] {
        let holds = spawn(&router, request(method.clone(), path, Body::empty()));
        settle().await;
        let queued = spawn(&router, request(method.clone(), "/things", Body::from("{}")));
        settle().await;
        assert!(!queued.is_finished());
        holds.abort();
        assert_eq!(read(queued.await??).await?.0, 200);
        // And not for longer than it is said.
        let holds = spawn(&router, request(method.clone(), path, Body::empty()));
        settle().await;
        let begun = Instant::now();
        let (status, _) =
            read(router.clone().oneshot(request(method, "/things", Body::from("{}"))).await?)
                .await?;
        assert_eq!((status, begun.elapsed()), (503, Duration::from_secs(1)));
        holds.abort();
    }
    Ok(())
}
