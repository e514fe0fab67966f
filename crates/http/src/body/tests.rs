use axum::body::Body;
use axum::http::Method;
use serde_json::json;

use super::*;

const LIMIT: usize = 100;

async fn extract(content_type: Option<&str>, body: impl Into<Body>) -> Result<StrictJson, Problem> {
    let mut request = Request::builder().method(Method::POST).uri("/");
    if let Some(content_type) = content_type {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    let mut request = request
        .body(body.into())
        .map_err(|error| Problem::bad_request("test", error.to_string()))?;
    request.extensions_mut().insert(BodyLimit(LIMIT));
    StrictJson::from_request(request, &()).await
}

fn versioned(name: &str, version: u32) -> MediaType {
    MediaType::Versioned { name: name.to_owned(), version }
}

#[tokio::test]
async fn media_types_are_understood_or_refused() {
    let accepted = [
        ("application/json", MediaType::Plain),
        ("Application/JSON; charset=UTF-8", MediaType::Plain),
        ("application/json;charset=\"utf-8\"", MediaType::Plain),
        ("application/json ;\tcharset=\"ut\\f-8\"", MediaType::Plain),
        ("application/json;", MediaType::Plain),
        ("application/json; ;", MediaType::Plain),
        ("application/json; charset=utf-8;", MediaType::Plain),
        ("application/json; x=\"a;b, charset=latin1\"; y=1", MediaType::Plain),
        ("application/vnd.highwater.thing.make.v2+json;", versioned("thing.make", 2)),
        ("application/vnd.highwater.thing.make.v2+json", versioned("thing.make", 2)),
        (
            "application/cloudevents+json",
            MediaType::Other("application/cloudevents+json".to_owned()),
        ),
    ];
    for (given, media) in accepted {
        let body = extract(Some(given), "{\"a\":1}").await;
        assert_eq!(body.map(|body| body.media).ok(), Some(media), "{given}");
    }
    let refused = [
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin1",
        "application/json; charset=utf-8; charset=latin1",
        "application/json; charset",
        "application/json; charset=\"utf-8",
        "application/json; =utf-8",
        "application/json, application/json",
        "application/ json",
        "application/*",
        "*/*",
        "application/json+xml",
        "application/+json",
        "application/vnd.highwater.thing.make+json",
        "application/vnd.highwater.thing.make.v+json",
        "application/vnd.highwater.thing.make.v0+json",
        "application/vnd.highwater.thing.make.v-1+json",
        "application/vnd.highwater..v1+json.x",
        "application/vnd.highwater.v1+json",
        "json",
        "",
        "application/vnd.highwater.x.v99999999999+json",
    ];
    for given in refused {
        let status =
            extract(Some(given), "{}").await.err().map(|problem| problem.status().as_u16());
        assert_eq!(status, Some(415), "{given}");
    }
    crate::documented::Row {
        id: "C8",
        situation: "`Content-Type: application/json;`, quoted values, parameters that are not \
                    known",
        answer: "taken, as RFC 9110 5.6.6 says; another charset than UTF-8, or what is no media \
                 type, is 415",
        test: (file!(), "media_types_are_understood_or_refused"),
    }
    .check();
}

#[tokio::test]
async fn a_body_without_content_type_is_refused_and_none_at_all_is_an_empty_object() {
    let status = extract(None, "{}").await.err().map(|problem| problem.status().as_u16());
    assert_eq!(status, Some(415));
    for content_type in [None, Some("application/json")] {
        let empty = extract(content_type, Body::empty()).await;
        let empty = empty.map(|body| (body.value, body.bytes, body.media)).ok();
        assert_eq!(empty, Some((json!({}), Bytes::from_static(b"{}"), MediaType::Plain)));
    }
    let status = extract(Some("text/plain"), Body::empty())
        .await
        .err()
        .map(|problem| problem.status().as_u16());
    assert_eq!(status, Some(415));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_announced_or_not() {
    let fits = format!("\"{}\"", "x".repeat(LIMIT - 2));
    assert!(extract(Some("application/json"), fits.clone()).await.is_ok());
    let over = format!("{fits} ");
    let chunks = futures_util::stream::iter(
        over.as_bytes()
            .chunks(7)
            .map(|chunk| Ok::<_, std::io::Error>(Bytes::copy_from_slice(chunk)))
            .collect::<Vec<_>>(),
    );
    for body in [Body::from(over.clone()), Body::from_stream(chunks)] {
        let problem = extract(Some("application/json"), body).await.err();
        assert_eq!(
            problem.map(|problem| (problem.status().as_u16(), problem.code().to_owned())),
            Some((413, "body.too-large".to_owned()))
        );
    }
}

#[tokio::test]
async fn the_media_type_is_judged_before_the_size_and_the_size_before_the_text() {
    let long = "{".repeat(LIMIT + 1);
    let status =
        |result: Result<StrictJson, Problem>| result.err().map(|problem| problem.status().as_u16());
    assert_eq!(status(extract(Some("text/plain"), long.clone()).await), Some(415));
    assert_eq!(status(extract(Some("application/json"), long).await), Some(413));
    assert_eq!(status(extract(Some("application/json"), "{").await), Some(400));
}

#[tokio::test]
async fn malformed_text_and_broken_streams_are_bad_requests() {
    for (body, code) in [
        ("{\"a\":1,\"a\":2}", "json.duplicate-name"),
        ("{", "json.malformed"),
        ("\"\\ud800\"", "json.malformed"),
    ] {
        let problem = extract(Some("application/json"), body).await.err();
        assert_eq!(
            problem.map(|problem| problem.code().to_owned()),
            Some(code.to_owned()),
            "{body}"
        );
    }
    let broken = futures_util::stream::iter([
        Ok(Bytes::from_static(b"{")),
        Err(std::io::Error::other("reset")),
    ]);
    let problem = extract(Some("application/json"), Body::from_stream(broken)).await.err();
    assert_eq!(
        problem.map(|problem| problem.code().to_owned()),
        Some("body.unreadable".to_owned())
    );
}

#[tokio::test]
async fn what_exceeds_the_limit_is_read_on_for_a_while_but_not_for_ever() {
    for (frames, all_read) in [(10, true), (DRAINED / 1024 + 100, false)] {
        let read = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = std::sync::Arc::clone(&read);
        let stream = futures_util::stream::iter((0..frames).map(move |_| {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 1024]))
        }));
        let status = extract(Some("application/json"), Body::from_stream(stream))
            .await
            .err()
            .map(|problem| problem.status().as_u16());
        assert_eq!(status, Some(413));
        assert_eq!(
            read.load(std::sync::atomic::Ordering::SeqCst) == frames,
            all_read,
            "{frames} frames"
        );
    }
}

/// A body of this many bytes, in whole values of a list.
fn list_of(bytes: usize) -> String {
    format!("[\"{}\"]", "x".repeat(bytes - 4))
}

#[test]
fn a_large_body_is_read_beside_the_threads_that_answer_requests()
-> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .max_blocking_threads(1)
        .build()?;
    let (free, taken) = std::sync::mpsc::channel::<()>();
    runtime.block_on(async {
        // Nothing goes on there until it is told.
        let blocking = tokio::task::spawn_blocking(move || taken.recv());
        let read = |bytes: usize| async move {
            let mut request = Request::builder()
                .header(header::CONTENT_TYPE, JSON)
                .body(Body::from(list_of(bytes)))?;
            request.extensions_mut().insert(BodyLimit(1 << 20));
            Ok::<_, Box<dyn std::error::Error>>(
                StrictJson::from_request(request, &()).await.map(|body| body.bytes.len()).ok(),
            )
        };
        assert_eq!(read(16 * 1024 - 1).await?, Some(16 * 1024 - 1));
        let mut large = std::pin::pin!(read(16 * 1024));
        let early = tokio::time::timeout(std::time::Duration::from_millis(50), &mut large).await;
        assert!(early.is_err(), "a large body was read by the thread that answers");
        free.send(())?;
        assert_eq!(large.await?, Some(16 * 1024));
        Ok(blocking.await??)
    })
}
