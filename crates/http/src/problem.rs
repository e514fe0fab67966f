//! Owns the form of every error answer: RFC 9457, `application/problem+json`. The text of a 5xx is
//! fixed here or at compile time: what failed inside goes to the log, never to a caller.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};

pub const MEDIA_TYPE: &str = "application/problem+json";
const TYPE_PREFIX: &str = "urn:highwater:problem:";

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Into the body: RFC 6901.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Of the query or the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    pub detail: String,
}

impl FieldError {
    pub fn pointer(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), header: None, parameter: None, detail: detail.into() }
    }

    pub fn header(header: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: None, header: Some(header.into()), parameter: None, detail: detail.into() }
    }

    pub fn parameter(parameter: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: None,
            header: None,
            parameter: Some(parameter.into()),
            detail: detail.into(),
        }
    }
}

/// An error answer. `instance` and `trace_id` are filled in by the layers of [`crate::server`].
#[derive(Debug, Clone)]
pub struct Problem(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    status: StatusCode,
    code: String,
    detail: String,
    errors: Vec<FieldError>,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// For a 5xx the given detail is replaced by the fixed text of its status; see
    /// [`Problem::fixed`].
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        let detail =
            if status.is_server_error() { fixed_detail(status).to_owned() } else { detail.into() };
        Self::from_parts(status, code, detail)
    }

    /// Any status, with a text that is known at compile time and so tells nothing of the inside.
    pub fn fixed(status: StatusCode, code: &str, detail: &'static str) -> Self {
        Self::from_parts(status, code, detail.to_owned())
    }

    fn from_parts(status: StatusCode, code: &str, detail: String) -> Self {
        Self(Box::new(Parts {
            status,
            code: code.to_owned(),
            detail,
            errors: Vec::new(),
            members: Map::new(),
            headers: Vec::new(),
        }))
    }

    /// 400.
    pub fn bad_request(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 400 that names the header.
    pub fn bad_header(name: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self::bad_request("header.invalid", format!("header {name}: {detail}"))
            .with_errors(vec![FieldError::header(name, detail)])
    }

    /// 400 that names the query or path parameter.
    pub fn bad_parameter(name: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self::bad_request("parameter.invalid", format!("parameter {name}: {detail}"))
            .with_errors(vec![FieldError::parameter(name, detail)])
    }

    /// 404.
    pub fn not_found(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// 404 for a path that no route has.
    pub fn no_route() -> Self {
        Self::not_found("route.unknown", "no route has this path")
    }

    /// 405; the router adds `Allow`.
    pub fn wrong_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method.not-allowed",
            "this path does not answer this method; Allow names those it answers",
        )
    }

    /// 409: a business rejection.
    pub fn conflict(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 412, with the current version as the member `version`.
    pub fn version_mismatch(current: u64) -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "version.mismatch",
            format!("the current version is {current}"),
        )
        .with("version", json!(current))
    }

    /// 413.
    pub fn too_large(limit_bytes: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body.too-large",
            format!("the body may have at most {limit_bytes} bytes"),
        )
        .with("limit_bytes", json!(limit_bytes))
    }

    /// 415.
    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type.unsupported", detail)
    }

    /// 422 with what is wrong and where.
    pub fn invalid_body(errors: Vec<FieldError>) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "body.invalid",
            "the body does not follow its schema",
        )
        .with_errors(errors)
    }

    /// 422: the key was used for another body.
    pub fn key_reused() -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency-key.reused",
            "this Idempotency-Key was used with another body; a key belongs to one request",
        )
    }

    /// 428.
    pub fn precondition_required() -> Self {
        Self::new(
            StatusCode::PRECONDITION_REQUIRED,
            "version.required",
            "this command needs If-Match with the version that it was decided on",
        )
    }

    /// 500. The cause belongs in the log, next to the trace id.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "")
    }

    /// 503. `after` should be jittered: [`highwater_runtime::resilience::retry_after`].
    pub fn unavailable(code: &str, detail: &'static str, after: Duration) -> Self {
        Self::fixed(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(after)
    }

    /// 504.
    pub fn gateway_timeout(code: &str, detail: &'static str) -> Self {
        Self::fixed(StatusCode::GATEWAY_TIMEOUT, code, detail)
    }

    #[must_use]
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.0.errors = errors;
        self
    }

    /// Whole seconds, rounded up, at least one.
    #[must_use]
    pub fn retry_after(self, after: Duration) -> Self {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// An extension member; one that the RFC or we name already keeps its own meaning.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.0.members.insert(name.to_owned(), value);
        self
    }

    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.retain(|(present, _)| *present != name);
        self.0.headers.push((name, value));
        self
    }

    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    pub fn code(&self) -> &str {
        &self.0.code
    }

    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    pub fn errors(&self) -> &[FieldError] {
        &self.0.errors
    }

    /// The body, with what only the layers know when it is known.
    pub fn to_json(&self, instance: Option<&str>, trace_id: Option<&str>) -> Value {
        let parts = &*self.0;
        let mut body = parts.members.clone();
        body.insert("type".to_owned(), json!(format!("{TYPE_PREFIX}{}", parts.code)));
        body.insert("title".to_owned(), json!(parts.status.canonical_reason().unwrap_or("Error")));
        body.insert("status".to_owned(), json!(parts.status.as_u16()));
        body.insert("detail".to_owned(), json!(parts.detail));
        body.insert("code".to_owned(), json!(parts.code));
        body.insert("errors".to_owned(), json!(parts.errors));
        if let Some(instance) = instance {
            body.insert("instance".to_owned(), json!(instance));
        }
        if let Some(trace_id) = trace_id {
            body.insert("trace_id".to_owned(), json!(trace_id));
        }
        Value::Object(body)
    }

    /// The answer with `instance` and `trace_id`.
    pub fn into_response_for(self, instance: Option<&str>, trace_id: Option<&str>) -> Response {
        let body = self.to_json(instance, trace_id).to_string();
        let mut response =
            (self.0.status, [(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))], body)
                .into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in &self.0.headers {
            response.headers_mut().insert(name.clone(), value.clone());
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.into_response_for(None, None)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.0.status.as_u16(), self.0.code, self.0.detail)
    }
}

fn fixed_detail(status: StatusCode) -> &'static str {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            "the service cannot answer now; try again after the given time, with the same \
             Idempotency-Key"
        }
        StatusCode::GATEWAY_TIMEOUT => "the answer was not ready in time; try again",
        _ => "the service failed; the trace id finds the cause in its log",
    }
}

#[cfg(test)]
#[path = "problem/tests.rs"]
mod tests;
