//! The requests, in the sequence in which they are sent: each with what it is about, and the status
//! that it must get.

const ORDER: &str = "9c4e0d31-7a52-4f0b-8e1d-6b2f90a3c5d7";
const SECOND: &str = "9c4e0d31-7a52-4f0b-8e1d-6b2f90a3c5d8";
const PRODUCT: &str = "5c1a6f0e-4b7e-5a55-9d3f-0f6f6a1f2a01";
const NOWHERE: &str = "00000000-0000-4000-8000-000000000000";
const FIXED: [&str; 4] = [ORDER, SECOND, PRODUCT, NOWHERE];
/// A trace that the client began.
pub const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const JSON: &str = "Content-Type: application/json";

pub struct Request {
    pub what: String,
    pub head: Vec<u8>,
    pub body: Vec<u8>,
    pub status: u16,
    path: String,
}

impl Request {
    /// `category.command`, if it has such a route.
    pub fn command(&self) -> Option<String> {
        let path = self.path.split('?').next()?.replace("%63", "c");
        let mut parts = path.strip_prefix("/v1/")?.split('/');
        let category = match parts.next()? {
            "orders" => "order",
            "products" => "product",
            other => other,
        };
        let creating = if category == "order" { "place" } else { "create" };
        Some(format!("{category}.{}", parts.nth(1).unwrap_or(creating)))
    }
}

pub fn is_fixed(id: &str) -> bool {
    FIXED.iter().any(|fixed| fixed.eq_ignore_ascii_case(id))
}

fn post(status: u16, what: &str, path: &str, headers: &[&str], body: Option<&str>) -> Request {
    let mut headers: Vec<Vec<u8>> =
        headers.iter().map(|header| header.as_bytes().to_vec()).collect();
    if let Some(body) = body {
        headers.push(format!("Content-Length: {}", body.len()).into_bytes());
    }
    raw(status, what, "POST", path, &headers, body.unwrap_or_default().as_bytes())
}

fn raw(
    status: u16,
    what: &str,
    method: &str,
    path: &str,
    headers: &[Vec<u8>],
    body: &[u8],
) -> Request {
    let mut head = format!("{method} {path} HTTP/1.1\r\n").into_bytes();
    for header in headers {
        head.extend_from_slice(header);
        head.extend_from_slice(b"\r\n");
    }
    Request {
        what: format!("{what}: {method} {path}"),
        head,
        body: body.to_vec(),
        status,
        path: path.to_owned(),
    }
}

fn place(more: &str) -> String {
    let line = format!(
        r#"{{"product_id":"{PRODUCT}","department":"GROCERY","quantity":2,"unit_price_minor":199}}"#
    );
    let customer = "0b8d2c3e-9a41-5f2b-8c77-3d1e5a9b7c10";
    format!(r#"{{{more}"customer_id":"{customer}","currency":"EUR","lines":[{line}]}}"#)
}

fn on_order(command: &str) -> String {
    format!("/v1/orders/{ORDER}/{command}")
}

pub fn all() -> Vec<Request> {
    [
        keys(),
        bodies(),
        media_types(),
        paths(),
        versions(),
        preferences(),
        others(),
        products(),
        stock(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn keys() -> Vec<Request> {
    let (first, other) = (place(""), place(&format!(r#""id":"{NOWHERE}","#)));
    let upper = place(&format!(r#""id":"{}","#, ORDER.to_uppercase()));
    let long = format!("Idempotency-Key: {}", "k".repeat(256));
    let longest = format!("Idempotency-Key: {}", "k".repeat(255));
    let orders = "/v1/orders";
    let mut requests = vec![
        post(201, "a bare key", orders, &[JSON, "Idempotency-Key: one"], Some(&first)),
        post(
            201,
            "the same key, quoted: a replay",
            orders,
            &[JSON, "Idempotency-Key: \"one\""],
            Some(&first),
        ),
        post(
            201,
            "white space in the body of a replay",
            orders,
            &[JSON, "Idempotency-Key: one"],
            Some(&format!(" {first}\n")),
        ),
        post(
            422,
            "a key used for something else",
            orders,
            &[JSON, "Idempotency-Key: one"],
            Some(&first.replace("199", "198")),
        ),
        post(201, "no key", orders, &[JSON], Some(&first)),
        post(
            201,
            "a key with quotes and a backslash",
            orders,
            &[JSON, r#"Idempotency-Key: "a\"b\\c""#],
            Some(&first),
        ),
        post(201, "a key of 255 characters", orders, &[JSON, &longest], Some(&first)),
        post(400, "a key of 256", orders, &[JSON, &long], Some(&first)),
        post(400, "an empty key", orders, &[JSON, "Idempotency-Key: "], Some(&first)),
        post(
            400,
            "two keys",
            orders,
            &[JSON, "Idempotency-Key: a", "Idempotency-Key: b"],
            Some(&first),
        ),
        post(
            400,
            "a quote that does not end",
            orders,
            &[JSON, "Idempotency-Key: \"a"],
            Some(&first),
        ),
        post(
            201,
            "an id in upper case in the body",
            orders,
            &[JSON, "Idempotency-Key: two"],
            Some(&upper),
        ),
        post(409, "the same id again", orders, &[JSON, "Idempotency-Key: three"], Some(&upper)),
        post(409, "the rejection again", orders, &[JSON, "Idempotency-Key: three"], Some(&upper)),
        post(409, "the same id without a key", orders, &[JSON], Some(&upper)),
        post(
            201,
            "another id, the same key",
            orders,
            &[JSON, "Idempotency-Key: two"],
            Some(&other),
        ),
    ];
    let bytes = [
        JSON.as_bytes().to_vec(),
        b"Idempotency-Key: k\xff".to_vec(),
        format!("Content-Length: {}", first.len()).into_bytes(),
    ];
    requests.push(raw(400, "a key that is no ASCII", "POST", orders, &bytes, first.as_bytes()));
    requests
}

fn bodies() -> Vec<Request> {
    let confirm = on_order("confirm");
    let chunked = |status, what, body: &str| {
        let headers = [b"Transfer-Encoding: chunked".to_vec(), JSON.as_bytes().to_vec()];
        raw(status, what, "POST", &on_order("confirm"), &headers, body.as_bytes())
    };
    let large = format!("{{\"reason\":\"{}\"}}", "x".repeat(300_000));
    vec![
        post(200, "no body, no Content-Type", &confirm, &[], None),
        post(200, "no body, Content-Length: 0", &confirm, &[], Some("")),
        post(200, "no body, Content-Type", &confirm, &[JSON], None),
        post(200, "no body, Content-Length: 0, Content-Type", &confirm, &[JSON], Some("")),
        post(200, "an empty object", &confirm, &[JSON], Some("{}")),
        post(200, "no body, a key", &confirm, &["Idempotency-Key: confirm"], None),
        post(
            200,
            "the same key with an empty object",
            &confirm,
            &[JSON, "Idempotency-Key: confirm"],
            Some("{}"),
        ),
        post(415, "a body without Content-Type", &confirm, &[], Some("{}")),
        chunked(200, "a chunked body", "2\r\n{}\r\n0\r\n\r\n"),
        chunked(200, "a chunked body of no bytes", "0\r\n\r\n"),
        post(200, "Expect: 100-continue", &confirm, &[JSON, "Expect: 100-continue"], Some("{}")),
        post(400, "no JSON", &confirm, &[JSON], Some("{")),
        post(400, "a name twice", &confirm, &[JSON], Some(r#"{"a":1,"a":2}"#)),
        post(422, "not by the schema", &confirm, &[JSON], Some(r#"{"a":1}"#)),
        post(422, "no object", &confirm, &[JSON], Some("[]")),
        post(413, "too large", &confirm, &[JSON], Some(&large)),
    ]
}

fn media_types() -> Vec<Request> {
    let confirm = on_order("confirm");
    let of = |status, media: &str| {
        post(status, media, &confirm, &[&format!("Content-Type: {media}")], Some("{}"))
    };
    vec![
        of(200, "application/vnd.highwater.order.confirm.v1+json"),
        of(200, "application/json; charset=utf-8"),
        of(200, "Application/JSON;charset=\"UTF-8\""),
        of(415, "application/json; charset=latin1"),
        of(415, "application/vnd.highwater.order.confirm.v99+json"),
        of(415, "application/vnd.highwater.order.cancel.v1+json"),
        of(415, "application/problem+json"),
        of(415, "text/plain"),
        post(400, "two media types", &confirm, &[JSON, JSON], Some("{}")),
        post(
            201,
            "a later version, and two events",
            "/v1/orders",
            &["Content-Type: application/vnd.highwater.order.place.v2+json"],
            Some(&place(r#""confirm":true,"#)),
        ),
        post(
            422,
            "a member of a later version",
            "/v1/orders",
            &[JSON],
            Some(&place(r#""confirm":true,"#)),
        ),
        post(
            200,
            "a version without a body",
            &confirm,
            &["Content-Type: application/vnd.highwater.order.confirm.v1+json"],
            None,
        ),
    ]
}

fn paths() -> Vec<Request> {
    let upper = format!("/v1/orders/{}/confirm", ORDER.to_uppercase());
    let encoded = format!("/v1/orders/%39{}/%63onfirm", &ORDER[1..]);
    vec![
        post(200, "an id in upper case", &upper, &[], None),
        post(200, "a path with percent-encoding", &encoded, &[], None),
        post(400, "a query", &format!("{}?x=1&y=%20", on_order("confirm")), &[], None),
        post(400, "no id", "/v1/orders/42/confirm", &[], None),
        post(
            400,
            "an id without hyphens",
            &format!("/v1/orders/{}/confirm", ORDER.replace('-', "")),
            &[],
            None,
        ),
        post(404, "no such command", &on_order("explode"), &[], None),
        post(404, "a command that creates", &on_order("place"), &[], None),
        post(
            404,
            "no such aggregate",
            "/v1/orders/00000000-0000-4000-8000-000000000001/confirm",
            &[],
            None,
        ),
        post(404, "no such route", "/v1/nothing", &[], None),
        post(404, "a slash at the end", &format!("{}/", on_order("confirm")), &[], None),
        raw(405, "a wrong method", "PUT", &on_order("confirm"), &[], b""),
        raw(405, "a wrong method", "DELETE", "/v1/orders", &[], b""),
    ]
}

fn versions() -> Vec<Request> {
    let (ship, deliver, back, cancel) =
        (on_order("ship"), on_order("deliver"), on_order("return"), on_order("cancel"));
    let tracking = r#"{"tracking":"1Z é 日本"}"#;
    vec![
        post(428, "no If-Match where it is required", &ship, &[JSON], Some(tracking)),
        post(412, "another version", &ship, &[JSON, "If-Match: \"v1\""], Some(tracking)),
        post(412, "it must not exist", &ship, &[JSON, "If-Match: \"v0\""], Some(tracking)),
        post(400, "no tag", &ship, &[JSON, "If-Match: v2"], Some(tracking)),
        post(400, "a tag without a version", &ship, &[JSON, "If-Match: \"x\""], Some(tracking)),
        post(
            200,
            "the version",
            &ship,
            &[JSON, "If-Match: \"v2\"", "Idempotency-Key: ship"],
            Some(tracking),
        ),
        post(
            200,
            "the recorded answer, whatever If-Match says",
            &ship,
            &[JSON, "If-Match: \"v1\"", "Idempotency-Key: ship"],
            Some(tracking),
        ),
        post(
            200,
            "a list of weak tags of queries",
            &deliver,
            &[JSON, "If-Match: W/\"g1-v1\", \"g1-v3\""],
            Some("{}"),
        ),
        post(
            200,
            "two headers",
            &deliver,
            &[JSON, "If-Match: \"v1\"", "If-Match: \"v4\""],
            Some("{}"),
        ),
        post(409, "a rejection", &cancel, &[JSON, "If-Match: *"], Some(r#"{"reason":"late"}"#)),
        post(
            409,
            "a rejection with a key",
            &cancel,
            &[JSON, "If-Match: *", "Idempotency-Key: late"],
            Some(r#"{"reason":"late"}"#),
        ),
        post(
            200,
            "any version",
            &back,
            &[JSON, "If-Match: *"],
            Some(r#"{"reason":"does not fit"}"#),
        ),
        post(
            201,
            "a second order",
            "/v1/orders",
            &[JSON],
            Some(&place(&format!(r#""id":"{SECOND}","#))),
        ),
        post(
            200,
            "a tag with a suffix",
            &format!("/v1/orders/{SECOND}/cancel"),
            &[JSON, "If-Match: \"g1-v1-r4\""],
            Some(r#"{"reason":"x"}"#),
        ),
    ]
}

fn preferences() -> Vec<Request> {
    let orders = "/v1/orders";
    let prefer = |status, what: &str, key: &str| {
        post(
            status,
            what,
            orders,
            &[JSON, &format!("Prefer: {what}"), &format!("Idempotency-Key: {key}")],
            Some(&place("")),
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
            orders,
            &[JSON, "Prefer: respond-async"],
            Some("{}"),
        ),
        post(
            412,
            "wait and another version",
            &on_order("cancel"),
            &[JSON, "Prefer: wait=5", "If-Match: \"v1\""],
            Some(r#"{"reason":"x"}"#),
        ),
    ]
}

/// Headers that mean nothing here, or belong to others.
fn others() -> Vec<Request> {
    let confirm = format!("/v1/orders/{NOWHERE}/confirm");
    let traceparent = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01");
    let with = |status, header: &str| post(status, header, &confirm, &[header], None);
    vec![
        with(200, &traceparent),
        with(200, "traceparent: nonsense"),
        post(
            409,
            "a trace in a problem",
            &format!("/v1/orders/{SECOND}/confirm"),
            &[&traceparent],
            None,
        ),
        post(200, "two traces", &confirm, &[&traceparent, "traceparent: 00-1-2-3"], None),
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
            &confirm,
            &["If-None-Match: *", "If-Match: \"v2\""],
            None,
        ),
        post(
            201,
            "If-None-Match of what is not there",
            "/v1/orders",
            &[JSON, "If-None-Match: *"],
            Some(&place("")),
        ),
        with(200, "Highwater-Min-Position: order/0@1"),
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

fn products() -> Vec<Request> {
    let named = format!(r#""id":"{PRODUCT}","name":"Wörter 日本","department":"UNKNOWN""#);
    let create = format!(r#"{{{named},"unit_price_minor":0,"currency":"USD"}}"#);
    let on = |command: &str| format!("/v1/products/{PRODUCT}/{command}");
    vec![
        post(201, "a product", "/v1/products", &[JSON], Some(&create)),
        post(
            200,
            "describe",
            &on("describe"),
            &[JSON],
            Some(r#"{"name":"White bread","brand":null,"package_size":"500 g"}"#),
        ),
        post(
            200,
            "set-price",
            &on("set-price"),
            &[JSON],
            Some(r#"{"unit_price_minor":299,"currency":"USD"}"#),
        ),
        post(
            200,
            "set-price to what it is",
            &on("set-price"),
            &[JSON, "Idempotency-Key: p"],
            Some(r#"{"unit_price_minor":299,"currency":"USD"}"#),
        ),
        post(200, "discontinue", &on("discontinue"), &[], None),
    ]
}

fn stock() -> Vec<Request> {
    let on = |command: &str| format!("/v1/stock/{PRODUCT}/{command}");
    let of = |order: &str, more: &str| format!(r#"{{"order_id":"{order}"{more}}}"#);
    vec![
        post(
            404,
            "a stock that has not begun",
            &on("adjust"),
            &[JSON],
            Some(r#"{"delta":5,"reason":"found"}"#),
        ),
        post(
            200,
            "receive",
            &on("receive"),
            &[JSON, "Idempotency-Key: r"],
            Some(r#"{"quantity":12}"#),
        ),
        post(
            200,
            "receive again, by the key",
            &on("receive"),
            &[JSON, "Idempotency-Key: r"],
            Some(r#"{"quantity":12}"#),
        ),
        post(
            200,
            "receive once more, without a key",
            &on("receive"),
            &[JSON],
            Some(r#"{"quantity":12}"#),
        ),
        post(200, "reserve", &on("reserve"), &[JSON], Some(&of(ORDER, r#","quantity":3"#))),
        post(
            409,
            "reserve too much",
            &on("reserve"),
            &[JSON],
            Some(&of(SECOND, r#","quantity":300"#)),
        ),
        post(200, "release", &on("release"), &[JSON], Some(&of(ORDER, ""))),
        post(200, "reserve again", &on("reserve"), &[JSON], Some(&of(ORDER, r#","quantity":3"#))),
        post(200, "ship", &on("ship"), &[JSON], Some(&of(ORDER, ""))),
        post(200, "adjust", &on("adjust"), &[JSON], Some(r#"{"delta":5,"reason":"found"}"#)),
        post(404, "a stock is begun by no create", "/v1/stock", &[JSON], Some("{}")),
    ]
}
