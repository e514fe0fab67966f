use axum::body::to_bytes;

use super::*;

async fn body(response: Response) -> Value {
    let bytes = to_bytes(response.into_body(), 10_000).await.unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or(Value::Null)
}

#[tokio::test]
async fn a_problem_answers_in_the_form_of_rfc_9457() {
    let problem = Problem::conflict("thing.closed", "the thing is closed")
        .with_errors(vec![
            FieldError::pointer("/lines/0", "closed"),
            FieldError::header("If-Match", "old"),
            FieldError::parameter("limit", "big"),
        ])
        .with("version", json!(7));
    let response = problem.into_response_for(Some("/v1/things/1"), Some("abc"));
    assert_eq!(response.status(), StatusCode::CONFLICT);
    assert_eq!(response.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
    let expected = json!({
        "type": "urn:highwater:problem:thing.closed", "title": "Conflict", "status": 409,
        "detail": "the thing is closed",
        "code": "thing.closed", "instance": "/v1/things/1", "trace_id": "abc", "version": 7,
        "errors": [
            { "pointer": "/lines/0", "detail": "closed" },
            { "header": "If-Match", "detail": "old" },
            { "parameter": "limit", "detail": "big" },
        ],
    });
    assert_eq!(body(response).await, expected);
}

#[test]
fn a_5xx_never_repeats_what_it_was_given() {
    for status in [
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ] {
        let problem = Problem::new(status, "x", "password=hunter2");
        assert!(!problem.detail().contains("hunter2") && !problem.detail().is_empty(), "{problem}");
    }
}

#[test]
fn retry_after_is_whole_seconds_rounded_up() {
    for (millis, seconds) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (5_000, "5")] {
        let response =
            Problem::unavailable("x", "busy", Duration::from_millis(millis)).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], seconds, "{millis} ms");
    }
}

#[test]
fn members_cannot_replace_those_of_the_rfc() {
    let body = Problem::bad_request("x", "y")
        .with("status", json!(200))
        .with("code", json!("z"))
        .to_json(None, None);
    assert_eq!((&body["status"], &body["code"]), (&json!(400), &json!("x")));
}

#[test]
fn the_usual_problems_have_their_status_and_code() {
    let cases = [
        (Problem::bad_header("If-Match", "x"), 400, "header.invalid"),
        (Problem::bad_parameter("limit", "x"), 400, "parameter.invalid"),
        (Problem::no_route(), 404, "route.unknown"),
        (Problem::wrong_method(), 405, "method.not-allowed"),
        (Problem::version_mismatch(3), 412, "version.mismatch"),
        (Problem::too_large(5), 413, "body.too-large"),
        (Problem::unsupported_media_type("x"), 415, "media-type.unsupported"),
        (Problem::invalid_body(Vec::new()), 422, "body.invalid"),
        (Problem::key_reused(), 422, "idempotency-key.reused"),
        (Problem::precondition_required(), 428, "version.required"),
        (Problem::internal(), 500, "internal"),
        (Problem::gateway_timeout("position.not-reached", "x"), 504, "position.not-reached"),
    ];
    for (problem, status, code) in cases {
        assert_eq!((problem.status().as_u16(), problem.code()), (status, code));
    }
}
