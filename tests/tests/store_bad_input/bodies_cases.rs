//! What is wrong in a body: as JSON, against its schema, by the rules of the domain.

use super::{
    Case, bad,
    bodies::{LINE, ORDER, lines, of_300_kib, place, place_line, place_with},
    fine,
    request::Request,
};

const ORDERS: &str = "/v1/orders";

fn post(what: &'static str, body: impl Into<Vec<u8>>, status: u16, code: &'static str) -> Case {
    bad(what, Request::post(ORDERS, body), status, code)
}

pub fn json() -> Vec<Case> {
    let nested =
        |depth: usize| format!("{{\"reason\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    vec![
        post("a body that breaks off: `{\"currency\":`", "{\"currency\":", 400, "json.malformed"),
        post("text behind the JSON: `{} {}`", "{} {}", 400, "json.malformed"),
        post("a trailing comma", "{\"currency\":\"EUR\",}", 400, "json.malformed"),
        post("a name twice", r#"{"currency":"EUR","currency":"USD"}"#, 400, "json.duplicate-name"),
        post(
            "a name twice, one of them escaped: `\"\\u0063urrency\"`",
            r#"{"currency":"EUR","\u0063urrency":"USD"}"#,
            400,
            "json.duplicate-name",
        ),
        post(
            "a name twice, nested",
            place_line("\"quantity\":2", "\"quantity\":2,\"quantity\":3"),
            400,
            "json.duplicate-name",
        ),
        post("70 arrays in each other", nested(70), 400, "json.too-deep"),
        post("50,000 arrays in each other", nested(50_000), 400, "json.too-deep"),
        post(
            "as many empty lines as 260 kB hold",
            place_with(&vec!["{}"; 80_000].join(","), ""),
            400,
            "json.too-many-values",
        ),
        post(
            "bytes that are not UTF-8",
            b"{\"currency\":\"\xff\xfe\"}".as_slice(),
            400,
            "json.not-utf8",
        ),
        post(
            "a lone surrogate: `\"\\ud800\"`",
            place(r#","placed_at":"\ud800""#),
            400,
            "json.malformed",
        ),
        post(
            "a control character in a string, not escaped",
            b"{\"currency\":\"E\x01R\"}".as_slice(),
            400,
            "json.malformed",
        ),
        post(
            "a number that no reader can hold: `1e400`",
            place_line("1250", "1e400"),
            400,
            "json.malformed",
        ),
        post("`NaN`", place_line("1250", "NaN"), 400, "json.malformed"),
        post("only white space", "  ", 400, "json.malformed"),
    ]
}

pub fn schema() -> Vec<Case> {
    let whole = |price: &str| Request::post(ORDERS, place_line("1250", price));
    let invalid = |what, body: String| post(what, body, 422, "body.invalid");
    vec![
        post("no body at all", "", 422, "body.invalid"),
        post("`[]`", "[]", 422, "body.invalid"),
        post("`null`", "null", 422, "body.invalid"),
        post("`\"text\"`", "\"text\"", 422, "body.invalid"),
        post("`{}`", "{}", 422, "body.invalid"),
        invalid(
            "unknown members, at the top and in a line",
            place_with(&LINE.replace('}', ",\"colour\":\"red\"}"), ",\"note\":\"\""),
        ),
        invalid("a member missing in a line", place_line("\"department\":\"KITCHEN\",", "")),
        invalid("NUL in a string: `\"KIT\\u0000CHEN\"`", place_line("KITCHEN", "KIT\\u0000CHEN")),
        invalid("an empty string", place_line("KITCHEN", "")),
        invalid("a text of 101 characters", place_line("KITCHEN", &"x".repeat(101))),
        invalid("a negative amount", place_line("1250", "-1")),
        invalid("an amount above 2^53 - 1", place_line("1250", "9007199254740992")),
        invalid("an amount of 30 digits", place_line("1250", "123456789012345678901234567890")),
        invalid("an amount with a fraction: `12.5`", place_line("1250", "12.5")),
        fine("a whole amount in another spelling: `1250.0`", whole("1250.0"), 201, "etag"),
        fine("a whole amount in another spelling: `1.25e3`", whole("1.25e3"), 201, "etag"),
        invalid("an amount as text", place_line("1250", "\"1250\"")),
        invalid("quantity 0", place_line("\"quantity\":2", "\"quantity\":0")),
        invalid(
            "a line whose amount is above 2^53 - 1 (2 x 2^52)",
            place_line("1250", "4503599627370496"),
        ),
        invalid(
            "lines whose sum is above 2^53 - 1",
            place_with(
                &format!(
                    "{},{}",
                    LINE.replace("2,\"unit", "1,\"unit").replace("1250", "9007199254740991"),
                    LINE
                ),
                "",
            ),
        ),
        invalid("no line", place_with("", "")),
        invalid("501 lines", place_with(&lines(501), "")),
        invalid("a currency in lower case", place("").replace("EUR", "eur")),
        invalid("`id` that is no UUID", place(",\"id\":\"42\"")),
        invalid("`id` without hyphens", place(",\"id\":\"018f3ca12f4d7b218a4c6d7e8f901234\"")),
        invalid("`placed_at` that is no time", place(",\"placed_at\":\"yesterday\"")),
        invalid(
            "`placed_at` on a day that does not exist",
            place(",\"placed_at\":\"2025-02-30T10:00:00Z\""),
        ),
        invalid("`placed_at` in a leap second", place(",\"placed_at\":\"2016-12-31T23:59:60Z\"")),
        invalid(
            "`placed_at` in another zone",
            place(",\"placed_at\":\"2025-02-28T10:00:00+02:00\""),
        ),
        invalid(
            "`placed_at` an hour ahead",
            place(&format!(",\"placed_at\":\"{}\"", super::an_hour_ahead())),
        ),
    ]
}

pub fn size() -> Vec<Case> {
    let cancel = || {
        Request::post(&format!("{ORDERS}/{ORDER}/cancel"), of_300_kib())
            .header("If-Match", "\"v1\"")
    };
    vec![
        bad("300 KiB", cancel(), 413, "body.too-large"),
        bad(
            "300 KiB in chunks, the length not announced",
            cancel().chunked(),
            413,
            "body.too-large",
        ),
        bad(
            "300 KiB of `text/plain`",
            cancel().header("Content-Type", "text/plain"),
            415,
            "media-type.unsupported",
        ),
    ]
}

pub fn rules() -> Vec<Case> {
    let on = |command: &str, body: &'static str| {
        Request::post(&format!("{ORDERS}/{ORDER}/{command}"), body)
    };
    vec![
        post(
            "the same product in two lines",
            place_with(&format!("{LINE},{LINE}"), ""),
            409,
            "order.duplicate-line",
        ),
        post(
            "`place` with an `id` that exists, under another key",
            place(&format!(",\"id\":\"{ORDER}\"")),
            409,
            "order.already-exists",
        ),
        bad(
            "`ship` of what is not confirmed",
            on("ship", "{}").header("If-Match", "\"v1\""),
            409,
            "order.not-confirmed",
        ),
        bad("`deliver` of what is not shipped", on("deliver", "{}"), 409, "order.not-shipped"),
    ]
}
