//! What a query API answers, and lists page by page. Also of tests of an application's own views.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode},
};
use serde_json::Value;
use tower::ServiceExt;
use uuid::Uuid;

// By its name here, or the facade.
use crate::library::protocol::partition::partition_of;

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// `null` where there is none.
    pub body: Value,
}

impl Answer {
    /// To a GET.
    pub async fn of(router: &Router, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut request = Request::get(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        let answer = router.clone().oneshot(request).await.expect("an answer");
        let (parts, body) = answer.into_parts();
        let body = to_bytes(body, 1 << 20).await.expect("a body");
        let body = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body).expect("JSON")
        };
        Self { status: parts.status, headers: parts.headers, body }
    }

    /// Empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Status and code.
    pub fn problem(&self) -> (u16, &str) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.body);
        (self.status.as_u16(), self.body["code"].as_str().unwrap_or_default())
    }
}

/// Of a list.
pub fn items(answer: &Answer) -> &Vec<Value> {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.body["items"].as_array().expect("items")
}

/// The target of `Link: <...>; rel="next"`.
pub fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link");
    if link.is_empty() {
        return None;
    }
    Some(
        link.strip_prefix('<')
            .and_then(|link| link.strip_suffix(">; rel=\"next\""))
            .expect("a link")
            .to_owned(),
    )
}

/// All items, page by page, and how many pages there were.
pub async fn walk(router: &Router, path: &str) -> (Vec<Value>, usize) {
    let (mut all, mut pages, mut path) = (Vec::new(), 0, Some(path.to_owned()));
    while let Some(at) = path {
        let answer = Answer::of(router, &at, &[]).await;
        all.extend(items(&answer).clone());
        path = next(&answer);
        pages += 1;
        assert!(pages < 100);
    }
    (all, pages)
}

/// Where an event of this aggregate lies, of eight partitions.
pub fn position(category: &str, id: &str, offset: u64) -> String {
    let id = Uuid::parse_str(id).expect("an id").hyphenated().to_string();
    format!("{category}/{}@{offset}", partition_of(id.as_bytes(), 8))
}
