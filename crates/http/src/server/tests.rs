use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Extension, Path, Query};
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tower::ServiceExt;
use uuid::Uuid;

use super::*;
use crate::body::StrictJson;
use highwater_runtime::shutdown::Shutdown;
use highwater_runtime::telemetry::{TelemetrySettings, init};

type Failure = Box<dyn std::error::Error>;

#[derive(Deserialize)]
struct Page {
    limit: u32,
}

fn app(settings: &HttpSettings) -> Router {
    let ctx = Context::for_tests();
    let router = Router::new()
        .route("/v1/things", post(|body: StrictJson| async move { axum::Json(body.value) }))
        .route("/v1/things/{id}", get(|Path(id): Path<Uuid>| async move { id.to_string() }))
        .route("/list", get(|Query(page): Query<Page>| async move { page.limit.to_string() }))
        .route("/raw", post(|body: Bytes| async move { body.len().to_string() }))
        .route(
            "/trace",
            get(|Extension(trace): Extension<TraceContext>| async move {
                trace.traceparent().to_owned()
            }),
        )
        .route("/panic", get(panics))
        .route("/slow", get(|| async { std::future::pending::<()>().await }))
        .route(
            "/own",
            get(|| async {
                Problem::conflict("thing.closed", "closed")
                    .header(header::AGE, HeaderValue::from(5))
            }),
        )
        .route("/relayed", get(relayed))
        .merge(crate::health::routes(&ctx.health));
    layers(router, settings, &ctx)
}

/// A problem that another instance wrote: bytes, and nothing of ours beside them.
async fn relayed(Extension(trace): Extension<TraceContext>) -> Response {
    let written = Problem::conflict("thing.closed", "since yesterday").with("since", json!(7));
    let written = written.into_response_for(Some("/relayed"), Some(trace.trace_id()));
    let (mut parts, body) = written.into_parts();
    parts.extensions = axum::http::Extensions::new();
    Response::from_parts(parts, body)
}

async fn panics() -> &'static str {
    let nothing: Option<&'static str> =
        std::env::var_os("A_VARIABLE_THAT_NOBODY_SETS").map(|_| "set");
    nothing.expect("password=hunter2")
}

fn request(method: Method, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header(header::HOST, "localhost")
}

async fn send(router: Router, request: Request<Body>) -> Result<Response, Failure> {
    Ok(router.oneshot(request).await?)
}

async fn text(response: Response) -> Result<String, Failure> {
    Ok(String::from_utf8(to_bytes(response.into_body(), 1_000_000).await?.to_vec())?)
}

/// Checks what every problem has, and gives its body.
async fn problem(
    response: Response,
    status: u16,
    code: &str,
    instance: &str,
) -> Result<Value, Failure> {
    assert_eq!(response.status().as_u16(), status);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    let traceparent = response.headers()["traceparent"].to_str()?.to_owned();
    let body: Value = serde_json::from_str(&text(response).await?)?;
    assert_eq!(
        (&body["status"], &body["code"], &body["instance"]),
        (&json!(status), &json!(code), &json!(instance)),
        "{body}"
    );
    assert_eq!(body["type"], format!("urn:highwater:problem:{code}"));
    assert!(
        body["errors"].is_array() && body["title"].is_string() && body["detail"].is_string(),
        "{body}"
    );
    assert_eq!(body["trace_id"].as_str(), traceparent.split('-').nth(1));
    Ok(body)
}

#[tokio::test]
async fn a_problem_of_another_instance_is_relayed_as_it_was_written() -> Result<(), Failure> {
    let answered =
        send(app(&HttpSettings::default()), request(Method::GET, "/relayed").body(Body::empty())?)
            .await?;
    let body = problem(answered, 409, "thing.closed", "/relayed").await?;
    assert_eq!((&body["detail"], &body["since"]), (&json!("since yesterday"), &json!(7)));
    Ok(())
}

#[tokio::test]
async fn every_refusal_is_a_problem() -> Result<(), Failure> {
    let cases = [
        (Method::GET, "/nowhere", None, 404, "route.unknown"),
        (Method::DELETE, "/v1/things", None, 405, "method.not-allowed"),
        (Method::GET, "/v1/things/no-uuid", None, 400, "request.malformed"),
        (Method::GET, "/v1/things/%ff", None, 400, "request.malformed"),
        (Method::GET, "/list?limit=many", None, 400, "request.malformed"),
        (Method::POST, "/v1/things", Some("{"), 400, "json.malformed"),
        (Method::GET, "/own", None, 409, "thing.closed"),
        (Method::GET, "/panic", None, 500, "internal"),
    ];
    for (method, path, body, status, code) in cases {
        let request = request(method, path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.map_or_else(Body::empty, Body::from))?;
        let response = send(app(&HttpSettings::default()), request).await?;
        let body =
            problem(response, status, code, path.split('?').next().unwrap_or_default()).await?;
        assert!(!body.to_string().contains("hunter2"), "{body}");
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_method_names_the_allowed_ones() -> Result<(), Failure> {
    let response = send(
        app(&HttpSettings::default()),
        request(Method::DELETE, "/v1/things").body(Body::empty())?,
    )
    .await?;
    assert_eq!(response.headers()[header::ALLOW], "POST");
    problem(response, 405, "method.not-allowed", "/v1/things").await?;
    Ok(())
}

#[tokio::test]
async fn headers_of_a_problem_survive() -> Result<(), Failure> {
    let response =
        send(app(&HttpSettings::default()), request(Method::GET, "/own").body(Body::empty())?)
            .await?;
    assert_eq!(response.headers().get_all(header::AGE).iter().collect::<Vec<_>>(), ["5"]);
    assert_eq!(response.headers().get_all(header::CONTENT_TYPE).iter().count(), 1);
    Ok(())
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_on_its_route_and_404_elsewhere() -> Result<(), Failure> {
    let settings = HttpSettings { body_limit_bytes: 10, ..HttpSettings::default() };
    for (path, status, code) in [
        ("/v1/things", 413, "body.too-large"),
        ("/raw", 413, "body.too-large"),
        ("/nowhere", 404, "route.unknown"),
    ] {
        let request = request(Method::POST, path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from("[1,2,3,4,5,6]"))?;
        problem(send(app(&settings), request).await?, status, code, path).await?;
    }
    let fits = request(Method::POST, "/v1/things")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from("[1,2]"))?;
    assert_eq!(send(app(&settings), fits).await?.status(), StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn too_many_or_too_long_headers_are_refused() -> Result<(), Failure> {
    let settings =
        HttpSettings { header_limit_bytes: 100, header_limit_count: 3, ..HttpSettings::default() };
    let long = request(Method::GET, "/own").header("x-long", "x".repeat(100)).body(Body::empty())?;
    let many = request(Method::GET, "/own")
        .header("a", "1")
        .header("a", "2")
        .header("a", "3")
        .header("a", "4")
        .body(Body::empty())?;
    for request in [long, many] {
        problem(send(app(&settings), request).await?, 431, "headers.too-large", "/own").await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_callers_trace_reaches_the_handler_and_the_answer() -> Result<(), Failure> {
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = request(Method::GET, "/trace")
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .body(Body::empty())?;
    let response = send(app(&HttpSettings::default()), request).await?;
    let answered = response.headers()["traceparent"].to_str()?.to_owned();
    assert!(answered.contains(trace));
    assert_eq!(text(response).await?, answered);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_is_answered_503() -> Result<(), Failure> {
    let response =
        send(app(&HttpSettings::default()), request(Method::GET, "/slow").body(Body::empty())?)
            .await?;
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    problem(response, 503, "request.timeout", "/slow").await?;
    Ok(())
}

#[tokio::test]
async fn beyond_the_limit_in_flight_requests_are_shed_but_health_is_not() -> Result<(), Failure> {
    let one = BulkheadSettings {
        limit: std::num::NonZeroUsize::MIN,
        waiting: 0,
        ..BulkheadSettings::default()
    };
    let settings = HttpSettings { collections: one, ..HttpSettings::default() };
    let (entered, ctx) = (Arc::new(Notify::new()), Context::for_tests());
    let told = Arc::clone(&entered);
    let held = move || async move {
        told.notify_one();
        std::future::pending::<()>().await
    };
    let quick = || get(|| async { "done" });
    let router = Router::new()
        .route("/hold", get(held))
        .route("/quick", quick())
        .route("/quick/{id}", quick());
    let router = router.merge(crate::health::routes(&ctx.health));
    let router = layers(router, &settings, &ctx);
    let holding =
        tokio::spawn(router.clone().oneshot(request(Method::GET, "/hold").body(Body::empty())?));
    entered.notified().await;
    let shed = send(router.clone(), request(Method::GET, "/quick").body(Body::empty())?).await?;
    let seconds: u64 = shed.headers()[header::RETRY_AFTER].to_str()?.parse()?;
    assert!((1..=2).contains(&seconds));
    problem(shed, 503, "overloaded", "/quick").await?;
    for others in ["/livez", "/quick/one"] {
        let answer =
            send(router.clone(), request(Method::GET, others).body(Body::empty())?).await?;
        assert_eq!(answer.status(), StatusCode::OK, "{others}");
    }
    // A caller that goes away gives its place back.
    holding.abort();
    let _ = holding.await;
    assert_eq!(
        send(router, request(Method::GET, "/quick").body(Body::empty())?).await?.status(),
        StatusCode::OK
    );
    Ok(())
}

#[tokio::test]
async fn requests_are_counted_by_route_template() -> Result<(), Failure> {
    let telemetry = init(&TelemetrySettings::default())?;
    let path = format!("/v1/things/{}", Uuid::from_u128(1));
    send(app(&HttpSettings::default()), request(Method::GET, &path).body(Body::empty())?).await?;
    send(
        app(&HttpSettings::default()),
        request(Method::from_bytes(b"BREW")?, "/nowhere-counted").body(Body::empty())?,
    )
    .await?;
    let rendered = telemetry.metrics.render();
    assert!(
        rendered.contains(
            r#"highwater_http_requests_total{route="/v1/things/{id}",method="GET",status="200"}"#
        ),
        "{rendered}"
    );
    assert!(
        rendered.contains(
            r#"highwater_http_requests_total{route="unknown",method="other",status="404"}"#
        ),
        "{rendered}"
    );
    assert!(
        rendered.contains(concat!(
            "highwater_http_request_duration_seconds_bucket",
            r#"{route="/v1/things/{id}",method="GET",le="#
        )),
        "{rendered}"
    );
    assert!(!rendered.contains("nowhere-counted") && !rendered.contains("BREW"));
    Ok(())
}

#[test]
fn only_loopback_is_served_without_saying_insecure() -> Result<(), Failure> {
    let loopback = ["127.0.0.1:80", "127.9.9.9:80", "[::1]:80", "[::ffff:127.0.0.1]:80"];
    let beyond =
        ["0.0.0.0:80", "[::]:80", "10.0.0.1:80", "192.168.1.1:80", "[fe80::1]:80", "8.8.8.8:80"];
    for address in loopback {
        assert!(check_listen(address.parse()?, false).is_ok(), "{address}");
    }
    for address in beyond {
        let error = check_listen(address.parse()?, false)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(error.contains("--insecure") && error.contains(address), "{address}: {error}");
        assert!(check_listen(address.parse()?, true).is_ok(), "{address}");
    }
    Ok(())
}

#[tokio::test]
async fn a_port_in_use_is_said() -> Result<(), Failure> {
    let taken = bind("127.0.0.1:0".parse()?).await?;
    let address = taken.local_addr()?;
    let error = bind(address).await.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains(&address.to_string()) && error.contains("in use"), "{error}");
    Ok(())
}

async fn call(stream: &mut TcpStream, path: &str) -> Result<(), Failure> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await?;
    Ok(())
}

async fn read_all(stream: &mut TcpStream) -> Result<String, Failure> {
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await??;
    Ok(String::from_utf8(answer)?)
}

#[tokio::test]
async fn a_caller_that_sends_too_much_reads_the_413() -> Result<(), Failure> {
    let listener = bind("127.0.0.1:0".parse()?).await?;
    let address = listener.local_addr()?;
    let shutdown = Shutdown::new();
    let server = tokio::spawn(serve(listener, app(&HttpSettings::default()), shutdown.clone()));
    for length in [256 * 1024 + 1, 300 * 1024, 1024 * 1024] {
        let mut stream = TcpStream::connect(address).await?;
        let head = "POST /v1/things HTTP/1.1\r\nHost: localhost\r\nConnection: \
                    close\r\nContent-Type: application/json\r\n";
        stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n").as_bytes()).await?;
        stream.write_all(&vec![b' '; length]).await?;
        let answer = read_all(&mut stream).await?;
        assert!(
            answer.starts_with("HTTP/1.1 413") && answer.contains("body.too-large"),
            "{length}: {answer}"
        );
    }
    // One that asks first is told before it sends.
    let mut stream = TcpStream::connect(address).await?;
    let head = "POST /v1/things HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: \
                application/json\r\n";
    stream
        .write_all(
            format!("{head}Expect: 100-continue\r\nContent-Length: 300000\r\n\r\n").as_bytes(),
        )
        .await?;
    let answer = read_all(&mut stream).await?;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    shutdown.soft.cancel();
    tokio::time::timeout(Duration::from_secs(20), server).await???;
    Ok(())
}

#[tokio::test]
async fn a_drain_finishes_open_requests_and_takes_no_new_ones() -> Result<(), Failure> {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, released) = (Arc::clone(&entered), Arc::clone(&release));
    let wait = move || async move {
        told.notify_one();
        released.notified().await;
        "finished"
    };
    let listener = bind("127.0.0.1:0".parse()?).await?;
    let address = listener.local_addr()?;
    let shutdown = Shutdown::new();
    let server =
        tokio::spawn(serve(listener, Router::new().route("/wait", get(wait)), shutdown.clone()));
    let mut stream = TcpStream::connect(address).await?;
    call(&mut stream, "/wait").await?;
    entered.notified().await;
    shutdown.soft.cancel();
    release.notify_one();
    let answer = read_all(&mut stream).await?;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("finished"), "{answer}");
    tokio::time::timeout(Duration::from_secs(20), server).await???;
    assert!(TcpStream::connect(address).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_hard_cancellation_ends_the_server_with_requests_open() -> Result<(), Failure> {
    let listener = bind("127.0.0.1:0".parse()?).await?;
    let address = listener.local_addr()?;
    let (shutdown, entered) = (Shutdown::new(), Arc::new(Notify::new()));
    let told = Arc::clone(&entered);
    let hang = move || async move {
        told.notify_one();
        std::future::pending::<()>().await
    };
    let server =
        tokio::spawn(serve(listener, Router::new().route("/hang", get(hang)), shutdown.clone()));
    let mut stream = TcpStream::connect(address).await?;
    call(&mut stream, "/hang").await?;
    entered.notified().await;
    shutdown.soft.cancel();
    shutdown.hard.cancel();
    tokio::time::timeout(Duration::from_secs(20), server).await???;
    Ok(())
}
