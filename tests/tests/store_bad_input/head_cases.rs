//! What is wrong before the body: route, method, id, headers.

use super::{
    Case, bad, bare,
    bodies::{NOBODY, ORDER, place},
    fine,
    request::Request,
};

fn order(rest: &str) -> String {
    format!("/v1/orders/{ORDER}{rest}")
}

fn cancel() -> Request {
    Request::post(&order("/cancel"), r#"{"reason":"bought twice"}"#)
}

/// With the id that its caller chose.
fn chosen(id: &str) -> Request {
    Request::post("/v1/orders", place(&format!(",\"id\":\"{id}\"")))
}

fn place_order() -> Request {
    Request::post("/v1/orders", place(""))
}

pub fn routes() -> Vec<Case> {
    let upper = ORDER.to_uppercase();
    let chosen = "018F3CA1-2F4D-7B21-8A4C-6D7E8F90ABCD";
    vec![
        bad(
            "a path that no route has: `/v1/nowhere`",
            Request::get("/v1/nowhere"),
            404,
            "route.unknown",
        ),
        bad(
            "a path with a slash at its end",
            Request::post("/v1/orders/", place("")),
            404,
            "route.unknown",
        ),
        bad(
            "an unknown command: `/v1/orders/{id}/explode`",
            Request::post(&order("/explode"), "{}"),
            404,
            "route.unknown",
        ),
        bad(
            "a command that creates, on an id: `/v1/orders/{id}/place`",
            Request::post(&order("/place"), "{}"),
            404,
            "route.unknown",
        ),
        bad(
            "`DELETE /v1/orders/{id}`",
            Request::new("DELETE", &order("")),
            405,
            "method.not-allowed",
        ),
        bad("`GET` of a command", Request::get(&order("/cancel")), 405, "method.not-allowed"),
        bad(
            "`POST` of an id that is no UUID",
            Request::post("/v1/orders/42/cancel", "{}"),
            400,
            "id.malformed",
        ),
        bad("`GET` of an id that is no UUID", Request::get("/v1/orders/42"), 400, "id.malformed"),
        bad(
            "an id without hyphens",
            Request::get(&format!("/v1/orders/{}", ORDER.replace('-', ""))),
            400,
            "id.malformed",
        ),
        bad(
            "an id in braces",
            Request::post(&format!("/v1/orders/%7B{ORDER}%7D/confirm"), "{}"),
            400,
            "id.malformed",
        ),
        bad(
            "`POST` of an id that is not UTF-8: `%FF`",
            Request::post("/v1/orders/%FF/cancel", "{}"),
            400,
            "request.malformed",
        ),
        bad(
            "`GET` of an id that is not UTF-8: `%FF`",
            Request::get("/v1/orders/%FF"),
            400,
            "id.malformed",
        ),
        fine(
            "`GET` of an id in upper case",
            Request::get(&format!("/v1/orders/{upper}")),
            200,
            "etag",
        ),
        fine(
            "`place` with an `id` in upper case",
            Request::post("/v1/orders", place(&format!(",\"id\":\"{chosen}\""))),
            201,
            "location",
        ),
        bad(
            "a command on an aggregate that is not there",
            Request::post(&format!("/v1/orders/{NOBODY}/confirm"), "{}"),
            404,
            "order.not-found",
        ),
        bad(
            "an operation whose id is no UUID",
            Request::get("/v1/operations/42"),
            400,
            "id.malformed",
        ),
        bad(
            "`GET` of an aggregate that is not there",
            Request::get(&format!("/v1/orders/{NOBODY}")),
            404,
            "order.not-found",
        ),
    ]
}

/// For whom a request is, who sends it, how its body is coded.
pub fn senders() -> Vec<Case> {
    let from = |what, name, value: &'static str| {
        bad(what, Request::get("/v1/orders").header(name, value), 403, "origin.refused")
    };
    let coded = |name, value: &'static str| place_order().header(name, value);
    vec![
        bad(
            "`Host` twice",
            Request::get("/v1/orders").and_header("Host", "localhost"),
            400,
            "header.invalid",
        ),
        bad(
            "a host that this listener is not: `http://evil.example/v1/orders`",
            Request::get("http://evil.example/v1/orders"),
            421,
            "host.refused",
        ),
        from("`Origin: http://evil.example`, of a `GET` too", "Origin", "http://evil.example"),
        from("`Origin: null`", "Origin", "null"),
        from("`Sec-Fetch-Site: cross-site`", "Sec-Fetch-Site", "cross-site"),
        bad(
            "`Content-Encoding: gzip`",
            coded("Content-Encoding", "gzip"),
            415,
            "content-coding.unsupported",
        ),
        fine("`Content-Encoding: identity`", coded("Content-Encoding", "identity"), 201, "etag"),
    ]
}

pub fn parameters() -> Vec<Case> {
    let refused = |what, path: &str| bad(what, Request::get(path), 400, "parameter.invalid");
    vec![
        refused("an unknown query parameter", &order("?colour=red")),
        bad(
            "one of a command: `/v1/orders?dry_run=true`",
            Request::post("/v1/orders?dry_run=true", place("")),
            400,
            "parameter.invalid",
        ),
        bad(
            "one of a command, without a value",
            Request::post(&order("/cancel?force"), "{}"),
            400,
            "parameter.invalid",
        ),
        refused("`fields` that are not there", &order("?fields=id,colour")),
        refused("a filter that the list does not have", "/v1/orders?colour=red"),
        refused("an offset", "/v1/orders?offset=100"),
        refused("a sort that the list does not have", "/v1/orders?sort=units"),
        refused("a sort where there is none", "/v1/stock?sort=id"),
        refused(
            "a filter that no index serves with this sort",
            "/v1/orders?placed_to=2016-01-01T00:00:00Z&sort=-total_minor",
        ),
        refused(
            "two filters that no index serves together",
            "/v1/products?department=A&status=active",
        ),
        refused("departments without days", "/v1/sales?group=department"),
        refused("a status that nothing has", "/v1/orders?status=lost"),
        refused("a filter twice", "/v1/orders?status=placed&status=shipped"),
        refused("a filter without a value", "/v1/products?department="),
        refused("NUL in a filter", "/v1/products?q=%00"),
        refused("an id that is no UUID", "/v1/orders?customer_id=42"),
        refused("a time without a zone", "/v1/orders?placed_from=2026-11-22T10:00:00"),
        refused("a day that does not exist", "/v1/sales?from=2026-02-30"),
        refused("an unknown group", "/v1/sales?group=week"),
        refused("`limit=0`", "/v1/orders?limit=0"),
        refused("`limit=010`", "/v1/orders?limit=010"),
        refused("`limit=201`", "/v1/orders?limit=201"),
        refused("a limit that is no number", "/v1/orders?limit=all"),
        refused("a cursor that no list gave", "/v1/orders?cursor=AAAA"),
        refused(
            "an operation that was accepted nowhere",
            &format!("/v1/operations/{NOBODY}?accepted=1042"),
        ),
        refused(
            "in a category that is not there",
            &format!("/v1/operations/{NOBODY}?accepted=nothing/3@1042"),
        ),
        refused(
            "in a partition that is not there",
            &format!("/v1/operations/{NOBODY}?accepted=order/8@1042"),
        ),
        fine(
            "nothing that is found",
            Request::get("/v1/orders?customer_id=018f3ca1-2f4d-7b21-8a4c-6d7e8f90abc0"),
            200,
            "content-type",
        ),
    ]
}

pub fn media_types() -> Vec<Case> {
    let typed = |what, media: &'static str| {
        bad(what, place_order().header("Content-Type", media), 415, "media-type.unsupported")
    };
    vec![
        bad(
            "a body without Content-Type",
            place_order().without("Content-Type"),
            415,
            "media-type.unsupported",
        ),
        typed("`Content-Type: text/plain`", "text/plain"),
        typed("`application/json; charset=latin1`", "application/json; charset=latin1"),
        typed("another `+json`: `application/cloudevents+json`", "application/cloudevents+json"),
        typed(
            "a version that is not served: `application/vnd.highwater.order.place.v9+json`",
            "application/vnd.highwater.order.place.v9+json",
        ),
        typed("the type of another command", "application/vnd.highwater.order.cancel.v1+json"),
        fine(
            "a parameter that is empty: `application/json;`",
            place_order().header("Content-Type", "application/json;"),
            201,
            "etag",
        ),
        typed("two media types in one", "application/json, application/json"),
        bad(
            "Content-Type twice",
            place_order().and_header("Content-Type", "application/json"),
            400,
            "header.invalid",
        ),
        fine("the version that is served", cancel_of_nothing_wrong(), 200, "etag"),
    ]
}

/// Nothing to do is no error: it is confirmed by an earlier row or by this one.
fn cancel_of_nothing_wrong() -> Request {
    Request::post("/v1/orders/018f3ca1-2f4d-7b21-8a4c-6d7e8f90abcd/confirm", "{}")
        .header("Content-Type", "application/vnd.highwater.order.confirm.v1+json")
}

pub fn versions() -> Vec<Case> {
    let expecting = |what, tag: &'static str| {
        bad(what, cancel().header("If-Match", tag), 400, "header.invalid")
    };
    vec![
        bad("`cancel` without If-Match", cancel(), 428, "version.required"),
        bad("the same with a body that is wrong as well", cancel().body("{}"), 422, "body.invalid"),
        expecting("`If-Match: \"seven\"`: a version that is no number", "\"seven\""),
        expecting("`If-Match: v1`: not quoted", "v1"),
        expecting("`If-Match: \"v01\"`", "\"v01\""),
        expecting("`If-Match: \"v-1\"`", "\"v-1\""),
        expecting("`If-Match: \"v18446744073709551616\"`: 2^64", "\"v18446744073709551616\""),
        expecting("`If-Match: \"v1`: a quote that does not end", "\"v1"),
        expecting("`If-Match:` without a value", ""),
        bad(
            "`If-Match: *` of what does not exist yet",
            place_order().header("If-Match", "*"),
            412,
            "version.mismatch",
        ),
        fine(
            "`If-Match: \"v0\"` of what does not exist yet",
            place_order().header("If-Match", "\"v0\""),
            201,
            "etag",
        ),
        bad(
            "`If-Match: \"v7\"` when the version is 1",
            cancel().header("If-Match", "\"v7\""),
            412,
            "version.mismatch",
        ),
        bad(
            "`If-None-Match: *` of what exists",
            chosen(ORDER).header("If-None-Match", "*"),
            412,
            "version.mismatch",
        ),
        fine(
            "`If-None-Match: *` of what does not exist yet",
            place_order().header("If-None-Match", "*"),
            201,
            "etag",
        ),
        bad(
            "`If-None-Match: \"v1\"` of a command",
            place_order().header("If-None-Match", "\"v1\""),
            400,
            "header.invalid",
        ),
        bad(
            "`If-None-Match: *` beside `If-Match: *`",
            place_order().header("If-None-Match", "*").header("If-Match", "*"),
            400,
            "header.invalid",
        ),
        fine(
            "`If-Match: \"g1-v2--gzip\"`, as a proxy made it of a tag",
            cancel_of_nothing_wrong().header("If-Match", "\"g1-v2--gzip\""),
            200,
            "etag",
        ),
        bad(
            "If-Match on an aggregate that is not there",
            Request::post(&format!("/v1/orders/{NOBODY}/confirm"), "{}")
                .header("If-Match", "\"v1\""),
            404,
            "order.not-found",
        ),
    ]
}

pub fn keys() -> Vec<Case> {
    let keyed = |what, key: &[u8]| {
        bad(what, place_order().header("Idempotency-Key", key), 400, "header.invalid")
    };
    vec![
        keyed("`Idempotency-Key:` without a value", b""),
        keyed("`Idempotency-Key: \"\"`", b"\"\""),
        keyed("a key of 256 characters", "k".repeat(256).as_bytes()),
        keyed("a key with a tab in it", b"a\tb"),
        keyed("a key that is not ASCII", "schl\u{fc}ssel".as_bytes()),
        keyed("a key whose quote does not end", b"\"basket"),
        bad(
            "two keys",
            place_order().and_header("Idempotency-Key", "a").and_header("Idempotency-Key", "b"),
            400,
            "header.invalid",
        ),
        bad(
            "a key that was used with another body",
            Request::post("/v1/orders", place("")).header("Idempotency-Key", "used"),
            422,
            "idempotency-key.reused",
        ),
        bare(
            "a control character (0x01) in a header: not HTTP",
            place_order().header("Idempotency-Key", b"a\x01b".as_slice()),
            400,
        ),
    ]
}

pub fn preferences_and_positions() -> Vec<Case> {
    let get =
        |name: &'static str, value: &'static str| Request::get(&order("")).header(name, value);
    let position =
        |what, value| bad(what, get("Highwater-Min-Position", value), 400, "header.invalid");
    vec![
        fine(
            "`Prefer: wait=soon` (what cannot be read of it is ignored)",
            get("Prefer", "wait=soon"),
            200,
            "etag",
        ),
        fine("`Prefer: wait=-1`", get("Prefer", "wait=-1"), 200, "etag"),
        fine(
            "`Prefer: wait` of a command, without a value",
            place_order().header("Prefer", "wait"),
            201,
            "etag",
        ),
        fine("`Prefer: stale=yes`", get("Prefer", "stale=yes"), 200, "etag"),
        fine(
            "`Prefer: respond-async` of a command",
            place_order().header("Prefer", "respond-async"),
            202,
            "preference-applied",
        ),
        fine("an unknown preference", get("Prefer", "haste"), 200, "etag"),
        position("`Highwater-Min-Position: 42`", "42"),
        position("`Highwater-Min-Position: order/4@x`", "order/4@x"),
        position("a position below zero", "order/4@-1"),
        position("a position above 2^64", "order/4@18446744073709551616"),
        position("a category that this view does not read: `product/0@1`", "product/0@1"),
        position("an unknown category: `weather/0@1`", "weather/0@1"),
        position("a partition that is not there: `order/8@1`", "order/8@1"),
        bad(
            "a position that is not reached: `order/4@1000000`, with `Prefer: wait=0`",
            get("Highwater-Min-Position", "order/4@1000000").header("Prefer", "wait=0"),
            504,
            "position.not-reached",
        ),
        fine(
            "the same with `Prefer: wait=0, stale`",
            get("Highwater-Min-Position", "order/4@1000000").header("Prefer", "wait=0, stale"),
            200,
            "highwater-stale",
        ),
        bad(
            "`Highwater-Hop`, which is for instances",
            place_order().header("Highwater-Hop", "to=you"),
            403,
            "hop.unauthenticated",
        ),
        bad("`If-None-Match: v1`: not quoted", get("If-None-Match", "v1"), 400, "header.invalid"),
        bad("`If-Match: v1` of a query: not quoted", get("If-Match", "v1"), 400, "header.invalid"),
        bad(
            "`If-Match: \"g1-v7\"` of a query when the version is 1",
            get("If-Match", "\"g1-v7\""),
            412,
            "etag.mismatch",
        ),
        bad(
            "`If-Match: \"c0\"` of a list that says something else",
            Request::get("/v1/orders").header("If-Match", "\"c0\""),
            412,
            "etag.mismatch",
        ),
        fine(
            "`If-Match: \"v1\"` of a query, as the command answered it",
            get("If-Match", "\"v1\""),
            200,
            "etag",
        ),
        fine("a `traceparent` that is none", get("traceparent", "00-zero-zero-zero"), 200, "etag"),
        fine(
            "a header that only command-apis send: `Highwater-Hops: 1`",
            place_order().header("Highwater-Hops", "1"),
            201,
            "etag",
        ),
        bare("150 headers: the HTTP library reads no more than 100", many_headers(), 431),
        bad(
            "20 KiB of headers",
            get("X-Long", "").header("X-Long", "x".repeat(20 * 1024)),
            431,
            "headers.too-large",
        ),
    ]
}

fn many_headers() -> Request {
    (0..150).fold(Request::get(&order("")), |request, number| {
        request.header(&format!("X-{number}"), "x")
    })
}
