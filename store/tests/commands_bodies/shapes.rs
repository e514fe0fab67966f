//! Bodies of legal size, each of which makes something dear.

use highwater::http::body::DEFAULT_BODY_LIMIT;

const PRODUCT: &str = "018f3ca1-2f4d-7b21-8a4c-6d7e8f901234";

/// `count` times what `of` makes, joined by commas.
fn many(count: usize, of: impl Fn(usize) -> String) -> String {
    (0..count).map(of).collect::<Vec<_>>().join(",")
}

/// As many as fit.
fn full(of: &str) -> String {
    many(DEFAULT_BODY_LIMIT / (of.len() + 1) - 30, |_| of.to_owned())
}

fn long(of: &str) -> String {
    of.repeat(250_000 / of.len())
}

/// An order with these lines.
fn lines(lines: &str) -> String {
    format!(r#"{{"customer_id":"{PRODUCT}","currency":"USD","lines":[{lines}]}}"#)
}

/// With white space up to the limit.
fn padded(text: String) -> String {
    let missing = DEFAULT_BODY_LIMIT - text.len();
    text + &" ".repeat(missing)
}

/// What a body of this size looks like that was not made to be dear: 500 lines with long names.
pub fn plain() -> Vec<u8> {
    let department = "D".repeat(400);
    padded(lines(&many(500, |n| {
        let product = format!(r#""product_id":"{PRODUCT}","department":"{department}""#);
        format!(r#"{{{product},"quantity":{n},"unit_price_minor":199}}"#)
    })))
    .into_bytes()
}

pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    let mut all: Vec<_> = arrays()
        .into_iter()
        .chain(objects())
        .chain(scalars())
        .map(|(name, text)| (name, text.into_bytes()))
        .collect();
    let mut broken = format!("{{\"reason\":\"{}\"}}", long("é")).into_bytes();
    broken.truncate(broken.len() - 3);
    all.push(("text that is not UTF-8 at its end", broken));
    all
}

fn arrays() -> Vec<(&'static str, String)> {
    let valid = |n: usize| {
        let product = format!(r#""product_id":"{PRODUCT}","department":"\u0041{n}""#);
        format!(r#"{{{product},"quantity":1,"unit_price_minor":1}}"#)
    };
    let foreign = |_: usize| format!("{{{}}}", many(18, |n| format!("\"unknown {n}\":{n}")));
    vec![
        ("as many empty lines as fit", lines(&full("{}"))),
        ("9,900 empty lines", padded(lines(&many(9_900, |_| "{}".to_owned())))),
        ("500 empty lines", padded(lines(&many(500, |_| "{}".to_owned())))),
        ("500 lines with 18 members that are not known", padded(lines(&many(500, foreign)))),
        (
            "500 lines with texts for numbers",
            padded(lines(&many(500, |_| valid(0).replace(":1", ":\"1\"")))),
        ),
        ("500 lines that are right", padded(lines(&many(500, valid)))),
        (
            "9,900 numbers that are no lines",
            padded(lines(&many(9_900, |_| "1.2345678901234567e-300".to_owned()))),
        ),
        (
            "nested 60 times, again and again",
            padded(lines(&many(160, |_| "[".repeat(60) + &"]".repeat(60)))),
        ),
        ("nested 100,000 times", "[".repeat(100_000) + &"]".repeat(100_000)),
    ]
}

fn objects() -> Vec<(&'static str, String)> {
    let members = |count, of: &dyn Fn(usize) -> String| {
        padded(format!("{{{}}}", many(count, |n| format!("\"{}\":{n}", of(n)))))
    };
    let prefix = "p".repeat(230);
    vec![
        ("as many members as fit", members(18_000, &|n| n.to_string())),
        ("9,900 members", members(9_900, &|n| n.to_string())),
        (
            "1,000 members with a long beginning in common",
            members(1_000, &|n| format!("{prefix}{n}")),
        ),
        ("9,900 members that are not ASCII", members(9_900, &|n| format!("\u{1f600}{n}"))),
        ("7,000 members in escapes", members(7_000, &|n| format!("\\ud83d\\ude00{n}"))),
        ("a name of 250 kB", format!(r#"{{"{}":1}}"#, long("k"))),
        ("a name of 120 kB twice", format!(r#"{{"{0}":1,"{0}":2}}"#, "k".repeat(120_000))),
        ("a name of 250 kB of escapes", format!(r#"{{"{}":1}}"#, long("\\u0041"))),
    ]
}

fn scalars() -> Vec<(&'static str, String)> {
    let product = |name: &str| {
        format!(r#"{{"name":"{name}","department":"A","unit_price_minor":1,"currency":"USD"}}"#)
    };
    let order = |member: &str, value: &str| {
        format!(r#"{{"{member}":{value},"currency":"USD","lines":[]}}"#)
    };
    vec![
        ("a text of 250 kB", product(&long("x"))),
        ("a text of 250 kB that is not ASCII", product(&long("😀"))),
        ("a text of 250 kB of escapes", product(&long("\\ud83d\\ude00"))),
        ("a text of 250 kB with NUL at its end", product(&(long("x") + "\\u0000"))),
        ("an id of 250 kB", order("customer_id", &format!("\"{}\"", long("0")))),
        (
            "a time of 250 kB",
            order("placed_at", &format!("\"2026-01-01T00:00:00.{}Z\"", long("9"))),
        ),
        ("a currency of 250 kB", order("currency", &format!("\"{}\"", long("A")))),
        ("a number of 250,000 digits", order("placed_at", &long("9"))),
        ("a fraction of 250,000 digits", order("placed_at", &format!("0.{}", long("3")))),
        ("an exponent of 250,000 digits", order("placed_at", &format!("1e-{}", long("9")))),
        ("white space", padded("{}".to_owned())),
    ]
}
