//! The requests, in the sequence in which they are sent: each with what it is about, and the status
//! that it must get.

use crate::{
    alike::{self, JSON, Request, TRACE, post, request},
    cases::Cases,
    counter::Counters,
    documented::Row,
    instance::{KEYS, Place},
    tallies::Tallies,
};

const CASE: &str = "9c4e0d31-7a52-4f0b-8e1d-6b2f90a3c5d7";
const SECOND: &str = "9c4e0d31-7a52-4f0b-8e1d-6b2f90a3c5d8";
const THIRD: &str = "9c4e0d31-7a52-4f0b-8e1d-6b2f90a3c5d9";
const COUNTED: &str = "5c1a6f0e-4b7e-5a55-9d3f-0f6f6a1f2a01";
const NOWHERE: &str = "00000000-0000-4000-8000-000000000000";

#[tokio::test]
async fn every_request_gets_the_same_answer_at_the_owner_and_at_another_instance() {
    let routes = [
        alike::routes::<Cases>("cases"),
        alike::routes::<Counters>("counters"),
        alike::routes::<Tallies>("tally"),
    ];
    let instance = async |place: &Place| crate::instance(place, KEYS).await;
    alike::check(&all(), routes.concat(), &crate::CATEGORIES, instance).await;
    Row {
        id: "S1",
        situation: "every command of every category, and each documented header in each of its \
                    forms, sent to the owner of the partition and to an \
                    instance that does not own it",
        answer: "status, headers and body are the same",
        test: (file!(), "every_request_gets_the_same_answer_at_the_owner_and_at_another_instance"),
    }
    .check();
}

fn all() -> Vec<Request> {
    [
        keys(),
        bodies(),
        members(),
        media_types(),
        paths(),
        versions(),
        preferences(),
        others(),
        described(),
        counters(),
        tallies(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn open(more: &str) -> String {
    let step = r#"{"text":"It is opened","seconds":2,"cost_minor":199}"#;
    let reporter = "0b8d2c3e-9a41-5f2b-8c77-3d1e5a9b7c10";
    format!(r#"{{{more}"reporter_id":"{reporter}","severity":"HIGH","steps":[{step}]}}"#)
}

fn on_case(command: &str) -> String {
    format!("/v1/cases/{CASE}/{command}")
}

fn keys() -> Vec<Request> {
    let (first, other) = (open(""), open(&format!(r#""id":"{NOWHERE}","#)));
    let upper = open(&format!(r#""id":"{}","#, CASE.to_uppercase()));
    let long = format!("Idempotency-Key: {}", "k".repeat(256));
    let longest = format!("Idempotency-Key: {}", "k".repeat(255));
    let cases = "/v1/cases";
    let mut requests = vec![
        post(201, "a bare key", cases, &[JSON, "Idempotency-Key: one"], Some(&first)),
        post(
            201,
            "the same key, quoted: a replay",
            cases,
            &[JSON, "Idempotency-Key: \"one\""],
            Some(&first),
        ),
        post(
            201,
            "white space in the body of a replay",
            cases,
            &[JSON, "Idempotency-Key: one"],
            Some(&format!(" {first}\n")),
        ),
        post(
            422,
            "a key used for something else",
            cases,
            &[JSON, "Idempotency-Key: one"],
            Some(&first.replace("199", "198")),
        ),
        post(201, "no key", cases, &[JSON], Some(&first)),
        post(
            201,
            "a key with quotes and a backslash",
            cases,
            &[JSON, r#"Idempotency-Key: "a\"b\\c""#],
            Some(&first),
        ),
        post(201, "a key of 255 characters", cases, &[JSON, &longest], Some(&first)),
        post(400, "a key of 256", cases, &[JSON, &long], Some(&first)),
        post(400, "an empty key", cases, &[JSON, "Idempotency-Key: "], Some(&first)),
        post(
            400,
            "two keys",
            cases,
            &[JSON, "Idempotency-Key: a", "Idempotency-Key: b"],
            Some(&first),
        ),
        post(
            400,
            "a quote that does not end",
            cases,
            &[JSON, "Idempotency-Key: \"a"],
            Some(&first),
        ),
        post(
            201,
            "an id in upper case in the body",
            cases,
            &[JSON, "Idempotency-Key: two"],
            Some(&upper),
        ),
        post(409, "the same id again", cases, &[JSON, "Idempotency-Key: three"], Some(&upper)),
        post(409, "the rejection again", cases, &[JSON, "Idempotency-Key: three"], Some(&upper)),
        post(409, "the same id without a key", cases, &[JSON], Some(&upper)),
        post(201, "another id, the same key", cases, &[JSON, "Idempotency-Key: two"], Some(&other)),
    ];
    let bytes = [
        JSON.as_bytes().to_vec(),
        b"Idempotency-Key: k\xff".to_vec(),
        format!("Content-Length: {}", first.len()).into_bytes(),
    ];
    requests.push(request(400, "a key that is no ASCII", "POST", cases, &bytes, first.as_bytes()));
    requests
}

fn bodies() -> Vec<Request> {
    let accept = on_case("accept");
    let chunked = |status, what, body: &str| {
        let headers = [b"Transfer-Encoding: chunked".to_vec(), JSON.as_bytes().to_vec()];
        request(status, what, "POST", &on_case("accept"), &headers, body.as_bytes())
    };
    let large = format!("{{\"reason\":\"{}\"}}", "x".repeat(300_000));
    vec![
        post(200, "no body, no Content-Type", &accept, &[], None),
        post(200, "no body, Content-Length: 0", &accept, &[], Some("")),
        post(200, "no body, Content-Type", &accept, &[JSON], None),
        post(200, "no body, Content-Length: 0, Content-Type", &accept, &[JSON], Some("")),
        post(200, "an empty object", &accept, &[JSON], Some("{}")),
        post(200, "no body, a key", &accept, &["Idempotency-Key: accept"], None),
        post(
            200,
            "the same key with an empty object",
            &accept,
            &[JSON, "Idempotency-Key: accept"],
            Some("{}"),
        ),
        post(415, "a body without Content-Type", &accept, &[], Some("{}")),
        chunked(200, "a chunked body", "2\r\n{}\r\n0\r\n\r\n"),
        chunked(200, "a chunked body of no bytes", "0\r\n\r\n"),
        post(200, "Expect: 100-continue", &accept, &[JSON, "Expect: 100-continue"], Some("{}")),
        post(400, "no JSON", &accept, &[JSON], Some("{")),
        post(400, "a name twice", &accept, &[JSON], Some(r#"{"a":1,"a":2}"#)),
        post(422, "not by the schema", &accept, &[JSON], Some(r#"{"a":1}"#)),
        post(422, "no object", &accept, &[JSON], Some("[]")),
        post(413, "too large", &accept, &[JSON], Some(&large)),
    ]
}

fn media_types() -> Vec<Request> {
    let accept = on_case("accept");
    let of = |status, media: &str| {
        post(status, media, &accept, &[&format!("Content-Type: {media}")], Some("{}"))
    };
    vec![
        of(200, "application/vnd.highwater.case.accept.v1+json"),
        of(200, "application/json; charset=utf-8"),
        of(200, "Application/JSON;charset=\"UTF-8\""),
        of(415, "application/json; charset=latin1"),
        of(415, "application/vnd.highwater.case.accept.v99+json"),
        of(415, "application/vnd.highwater.case.withdraw.v1+json"),
        of(415, "application/problem+json"),
        of(415, "text/plain"),
        post(400, "two media types", &accept, &[JSON, JSON], Some("{}")),
        post(
            201,
            "a later version, and two events",
            "/v1/cases",
            &["Content-Type: application/vnd.highwater.case.open.v2+json"],
            Some(&open(r#""accept":true,"#)),
        ),
        post(
            422,
            "a member of a later version",
            "/v1/cases",
            &[JSON],
            Some(&open(r#""accept":true,"#)),
        ),
        post(
            200,
            "a version without a body",
            &accept,
            &["Content-Type: application/vnd.highwater.case.accept.v1+json"],
            None,
        ),
    ]
}

fn paths() -> Vec<Request> {
    let upper = format!("/v1/cases/{}/accept", CASE.to_uppercase());
    let encoded = format!("/v1/cases/%39{}/%61ccept", &CASE[1..]);
    vec![
        post(200, "an id in upper case", &upper, &[], None),
        post(200, "a path with percent-encoding", &encoded, &[], None),
        post(400, "a query", &format!("{}?x=1&y=%20", on_case("accept")), &[], None),
        post(400, "no id", "/v1/cases/42/accept", &[], None),
        post(
            400,
            "an id without hyphens",
            &format!("/v1/cases/{}/accept", CASE.replace('-', "")),
            &[],
            None,
        ),
        post(404, "no such command", &on_case("explode"), &[], None),
        post(404, "a command that creates", &on_case("open"), &[], None),
        post(
            404,
            "no such aggregate",
            "/v1/cases/00000000-0000-4000-8000-000000000001/accept",
            &[],
            None,
        ),
        post(404, "no such route", "/v1/nothing", &[], None),
        post(404, "a slash at the end", &format!("{}/", on_case("accept")), &[], None),
        request(405, "a wrong method", "PUT", &on_case("accept"), &[], b""),
        request(405, "a wrong method", "DELETE", "/v1/cases", &[], b""),
    ]
}

fn versions() -> Vec<Request> {
    let (resolve, close, reopen, withdraw) =
        (on_case("resolve"), on_case("close"), on_case("reopen"), on_case("withdraw"));
    let note = r#"{"note":"1Z é 日本"}"#;
    vec![
        post(428, "no If-Match where it is required", &resolve, &[JSON], Some(note)),
        post(412, "another version", &resolve, &[JSON, "If-Match: \"v1\""], Some(note)),
        post(412, "it must not exist", &resolve, &[JSON, "If-Match: \"v0\""], Some(note)),
        post(400, "no tag", &resolve, &[JSON, "If-Match: v2"], Some(note)),
        post(400, "a tag without a version", &resolve, &[JSON, "If-Match: \"x\""], Some(note)),
        post(
            200,
            "the version",
            &resolve,
            &[JSON, "If-Match: \"v2\"", "Idempotency-Key: resolve"],
            Some(note),
        ),
        post(
            200,
            "the recorded answer, whatever If-Match says",
            &resolve,
            &[JSON, "If-Match: \"v1\"", "Idempotency-Key: resolve"],
            Some(note),
        ),
        post(
            200,
            "a list of weak tags of queries",
            &close,
            &[JSON, "If-Match: W/\"g1-v1\", \"g1-v3\""],
            Some("{}"),
        ),
        post(
            200,
            "two headers",
            &close,
            &[JSON, "If-Match: \"v1\"", "If-Match: \"v4\""],
            Some("{}"),
        ),
        post(409, "a rejection", &withdraw, &[JSON, "If-Match: *"], Some(r#"{"reason":"late"}"#)),
        post(
            409,
            "a rejection with a key",
            &withdraw,
            &[JSON, "If-Match: *", "Idempotency-Key: late"],
            Some(r#"{"reason":"late"}"#),
        ),
        post(
            200,
            "any version",
            &reopen,
            &[JSON, "If-Match: *"],
            Some(r#"{"reason":"it is back"}"#),
        ),
        post(
            201,
            "a second case",
            "/v1/cases",
            &[JSON],
            Some(&open(&format!(r#""id":"{SECOND}","#))),
        ),
        post(
            200,
            "a tag with a suffix",
            &format!("/v1/cases/{SECOND}/withdraw"),
            &[JSON, "If-Match: \"g1-v1-r4\""],
            Some(r#"{"reason":"x"}"#),
        ),
    ]
}

fn preferences() -> Vec<Request> {
    let cases = "/v1/cases";
    let prefer = |status, what: &str, key: &str| {
        post(
            status,
            what,
            cases,
            &[JSON, &format!("Prefer: {what}"), &format!("Idempotency-Key: {key}")],
            Some(&open("")),
        )
    };
    vec![
        prefer(202, "respond-async", "p1"),
        prefer(202, "wait=0", "p2"),
        prefer(201, "wait=5", "p3"),
        prefer(201, "wait=5, respond-async", "p4"),
        prefer(201, "stale", "p5"),
        prefer(201, "wait=soon; nonsense, , =", "p6"),
        post(
            422,
            "what can be refused at once never waits",
            cases,
            &[JSON, "Prefer: respond-async"],
            Some("{}"),
        ),
        post(
            412,
            "wait and another version",
            &on_case("withdraw"),
            &[JSON, "Prefer: wait=5", "If-Match: \"v1\""],
            Some(r#"{"reason":"x"}"#),
        ),
    ]
}

/// Headers that mean nothing here, or belong to others.
fn others() -> Vec<Request> {
    let accept = format!("/v1/cases/{NOWHERE}/accept");
    let traceparent = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01");
    let with = |status, header: &str| post(status, header, &accept, &[header], None);
    vec![
        with(200, &traceparent),
        with(200, "traceparent: nonsense"),
        post(
            409,
            "a trace in a problem",
            &format!("/v1/cases/{SECOND}/accept"),
            &[&traceparent],
            None,
        ),
        post(200, "two traces", &accept, &[&traceparent, "traceparent: 00-1-2-3"], None),
        with(200, "tracestate: a=b"),
        with(200, "Cookie: session=secret"),
        with(200, "Authorization: Bearer secret"),
        with(200, "Accept-Encoding: gzip, zstd"),
        with(200, "Accept: text/html"),
        with(400, "If-None-Match: \"v2\""),
        with(412, "If-None-Match: *"),
        post(
            400,
            "If-Match and If-None-Match that contradict",
            &accept,
            &["If-None-Match: *", "If-Match: \"v2\""],
            None,
        ),
        post(
            201,
            "If-None-Match of what is not there",
            "/v1/cases",
            &[JSON, "If-None-Match: *"],
            Some(&open("")),
        ),
        with(200, "Highwater-Min-Position: case/0@1"),
        with(200, "X-Forwarded-For: 10.0.0.1"),
        with(200, "TE: trailers"),
        with(200, "Highwater-Hops: 1"),
        with(200, "Highwater-Key-Minted: 1"),
        with(200, "Highwater-Not-Owner: 1"),
        with(403, "Highwater-Hop: 1"),
        with(
            403,
            "Highwater-Hop: to=0190163d-8694-739b-aea5-966c26f8ad91, \
             nonce=0190163d-8694-739b-aea5-966c26f8ad91, sent=1, within=1, minted=true, proof=1:00",
        ),
    ]
}

/// A create with a body that goes beyond ASCII, and a body that changes what is there.
fn described() -> Vec<Request> {
    let create = open(&format!(r#""id":"{THIRD}","title":"Wörter 日本","#));
    let on = |command: &str| format!("/v1/cases/{THIRD}/{command}");
    let bread = r#"{"title":"White bread","note":null,"size":"500 g"}"#;
    vec![
        post(201, "a title beyond ASCII", "/v1/cases", &[JSON], Some(&create)),
        post(200, "describe", &on("describe"), &[JSON], Some(bread)),
        post(200, "describe otherwise", &on("describe"), &[JSON], Some(r#"{"title":"Bread"}"#)),
        post(
            200,
            "describe as it is",
            &on("describe"),
            &[JSON, "Idempotency-Key: p"],
            Some(r#" { "title" : "Bread" } "#),
        ),
        post(200, "a command without a body", &on("accept"), &[], None),
    ]
}

/// Bodies whose members are wrong, each in its way.
fn members() -> Vec<Request> {
    let of = |what: &str, body: &str| post(422, what, "/v1/cases", &[JSON], Some(body));
    let step = r#"{"text":"","seconds":0.5,"cost_minor":-1,"a/b~c":1}"#;
    let steps = [r#"{"text":"x","seconds":1,"cost_minor":0}"#; 6].join(",");
    let long = r#"{"text":"x","seconds":101,"cost_minor":0}"#;
    let with = |steps: &str| {
        format!(r#"{{"reporter_id":"{NOWHERE}","severity":"HIGH","steps":[{steps}]}}"#)
    };
    vec![
        of("members that are missing", "{}"),
        of(
            "members of other types, forms and names",
            &format!(r#"{{"id":"42","reporter_id":7,"severity":"low","steps":[{step}],"x":null}}"#),
        ),
        of("an array without items", &with("")),
        of("an array that is too long", &with(&steps)),
        of("what no schema can say", &with(long)),
        post(
            422,
            "a name that is not known, beside a key",
            &on_case("describe"),
            &[JSON, "Idempotency-Key: d"],
            Some(r#"{"titel":"x"}"#),
        ),
    ]
}

/// A second category: what it answers is relayed as well.
fn counters() -> Vec<Request> {
    let counters = "/v1/counters";
    let raise = format!("/v1/counters/{COUNTED}/raise");
    let of = |more: &str| format!(r#"{{"id":"{COUNTED}"{more}}}"#);
    let version = |version: u32| {
        format!("Content-Type: application/vnd.highwater.counter.raise.v{version}+json")
    };
    vec![
        post(201, "a counter, by two events", counters, &[JSON], Some(&of(r#","events":2"#))),
        post(201, "a number in another form", counters, &[JSON], Some(&of(r#","events":1.0e0"#))),
        post(428, "no If-Match", &raise, &[JSON], Some(r#"{"events":1}"#)),
        post(412, "another version", &raise, &[JSON, "If-Match: \"v2\""], Some("{}")),
        post(
            200,
            "the oldest version that is served",
            &raise,
            &[&version(3), "If-Match: \"v3\""],
            Some(r#"{"events":2}"#),
        ),
        post(
            415,
            "a version that is not served any more",
            &raise,
            &[&version(2), "If-Match: \"v5\""],
            Some("{}"),
        ),
        post(
            409,
            "a rejection of a create, with a key",
            counters,
            &[JSON, "Idempotency-Key: nothing"],
            Some(&of(r#","events":0"#)),
        ),
        post(
            409,
            "the rejection again",
            counters,
            &[JSON, "Idempotency-Key: nothing"],
            Some(&of(r#","events":0"#)),
        ),
        post(
            404,
            "a create of what must be there",
            counters,
            &[JSON],
            Some(&format!(r#"{{"id":"{NOWHERE}","must_exist":true}}"#)),
        ),
        post(413, "too many events", counters, &[JSON], Some(&of(r#","events":300"#))),
        post(422, "an id that is none", counters, &[JSON], Some(r#"{"id":"42"}"#)),
        post(422, "a number that is none", counters, &[JSON], Some(r#"{"events":"many"}"#)),
    ]
}

/// A category that no command creates.
fn tallies() -> Vec<Request> {
    let on = |command: &str| format!("/v1/tally/{COUNTED}/{command}");
    let of = |by: &str, more: &str| format!(r#"{{"by":"{by}"{more}}}"#);
    let count = |what: &str, headers: &[&str]| {
        post(200, what, &on("count"), headers, Some(r#"{"units":12}"#))
    };
    let correct = r#"{"delta":5,"reason":"found"}"#;
    vec![
        post(404, "a tally that has not begun", &on("correct"), &[JSON], Some(correct)),
        count("a command that begins", &[JSON, "Idempotency-Key: r"]),
        count("once more by the key: a replay", &[JSON, "Idempotency-Key: r"]),
        count("once more without a key", &[JSON]),
        post(200, "hold", &on("hold"), &[JSON], Some(&of(CASE, r#","units":3"#))),
        post(409, "hold too much", &on("hold"), &[JSON], Some(&of(SECOND, r#","units":300"#))),
        post(200, "release", &on("release"), &[JSON], Some(&of(CASE, ""))),
        post(200, "hold again", &on("hold"), &[JSON], Some(&of(CASE, r#","units":3"#))),
        post(200, "release again", &on("release"), &[JSON], Some(&of(CASE, ""))),
        post(409, "release what is not held", &on("release"), &[JSON], Some(&of(CASE, ""))),
        post(200, "correct", &on("correct"), &[JSON], Some(correct)),
        post(404, "a tally is begun by no create", "/v1/tally", &[JSON], Some("{}")),
    ]
}
