//! Bad input over HTTP, and bad surroundings at start: each gets a clear answer, no 500 and no
//! panic. Writes docs/bad-input.md.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

#[path = "store_support/answer.rs"]
mod answer;
#[path = "store_bad_input/bodies.rs"]
mod bodies;
#[path = "store_bad_input/bodies_cases.rs"]
mod bodies_cases;
#[path = "store_bad_input/broker.rs"]
mod broker;
#[path = "store_support/build.rs"]
mod build;
#[path = "store_bad_input/disk.rs"]
mod disk;
#[path = "store_bad_input/head_cases.rs"]
mod head_cases;
#[path = "store_bad_input/losses.rs"]
mod losses;
#[path = "store_bad_input/mutations.rs"]
mod mutations;
#[path = "store_support/request.rs"]
mod request;
#[path = "store_bad_input/start.rs"]
mod start;
#[path = "store_bad_input/starts.rs"]
mod starts;
#[path = "store_bad_input/table.rs"]
mod table;
#[path = "store_support/up.rs"]
mod up;

use std::collections::BTreeMap;

use answer::Answer;
use bodies::{ORDER, place};
use highwater_cli::postgres::PrivatePostgres;
use highwater_protocol::time::Micros;
use highwater_runtime::clock::{Clock, SystemClock};
use mutations::Mutations;
use request::Request;
use serde_json::Value;
use start::Refusal;
use starts::Start;
use table::Table;
use up::{Scratch, Up};

/// One row: what is sent, and what must come back.
struct Case {
    what: &'static str,
    request: Request,
    status: u16,
    expected: Expected,
}

enum Expected {
    /// A problem with this code.
    Code(&'static str),
    /// No error: the row shows this header.
    Header(&'static str),
    /// The HTTP library's own answer to what is not HTTP: no body.
    Bare,
}

fn bad(what: &'static str, request: Request, status: u16, code: &'static str) -> Case {
    Case { what, request, status, expected: Expected::Code(code) }
}

fn fine(what: &'static str, request: Request, status: u16, header: &'static str) -> Case {
    Case { what, request, status, expected: Expected::Header(header) }
}

fn bare(what: &'static str, request: Request, status: u16) -> Case {
    Case { what, request, status, expected: Expected::Bare }
}

fn check_loss(heading: &str, groups: Vec<losses::Group>) {
    let mut table = Table::new(&["what is sent", "status", "code", "what the answer says"]);
    let mut wrong = Vec::new();
    for (heading, rows) in groups {
        table.group(heading);
        for losses::Asked { case, answer } in rows {
            wrong.extend(difference(&case, &answer));
            row(&mut table, &case, &answer);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    table.check(heading);
}

fn row(table: &mut Table, case: &Case, answer: &Answer) {
    let code = answer.json()["code"].as_str().map_or(String::new(), |code| format!("`{code}`"));
    table.row(&[case.what, &answer.status().to_string(), &code, &says(case, answer)]);
}

fn groups() -> Vec<(&'static str, Vec<Case>)> {
    vec![
        ("Routes and ids", head_cases::routes()),
        ("For whom, from whom, and how it is coded", head_cases::senders()),
        ("Lists and query parameters", head_cases::parameters()),
        ("Media types", head_cases::media_types()),
        ("Size", bodies_cases::size()),
        ("Idempotency keys", head_cases::keys()),
        ("Expected versions", head_cases::versions()),
        ("Preferences, positions and other headers", head_cases::preferences_and_positions()),
        ("JSON", bodies_cases::json()),
        ("Against the schema", bodies_cases::schema()),
        ("Against the rules of the store", bodies_cases::rules()),
    ]
}

/// What the cases find there: an order at version 1, and a used key.
fn prepare(address: &str) {
    let placed = Request::post("/v1/orders", place(&format!(",\"id\":\"{ORDER}\"")))
        .header("Idempotency-Key", "first")
        .send(address);
    let used = Request::post("/v1/orders", bodies::place_line("1250", "999"))
        .header("Idempotency-Key", "used")
        .send(address);
    assert_eq!((placed.status(), used.status()), (201, 201), "{} {}", placed.body, used.body);
    let position = placed.header("highwater-position").unwrap().to_owned();
    let read = Request::get(&format!("/v1/orders/{ORDER}"))
        .header("Highwater-Min-Position", position)
        .send(address);
    assert_eq!(read.status(), 200, "{}", read.body);
}

fn difference(case: &Case, answer: &Answer) -> Option<String> {
    let wrong =
        |what: &str| Some(format!("{}: {what}: {} {}", case.what, answer.status_line, answer.body));
    if answer.status() != case.status {
        return wrong(&format!("not {}", case.status));
    }
    match case.expected {
        Expected::Code(code) => {
            let problem = answer.json();
            let texts = ["type", "title", "detail", "instance", "code", "trace_id"];
            let missing =
                texts.iter().find(|name| problem[**name].as_str().is_none_or(str::is_empty));
            if answer.header("content-type") != Some("application/problem+json") {
                return wrong("no problem");
            }
            if let Some(name) = missing {
                return wrong(&format!("no {name}"));
            }
            let right = problem["status"] == case.status
                && problem["code"] == code
                && problem["type"] == format!("urn:highwater:problem:{code}")
                && problem["instance"] == case.request.path()
                && problem["trace_id"].as_str().is_some_and(|id| {
                    answer.header("traceparent").is_some_and(|parent| parent.contains(id))
                });
            if right { None } else { wrong(&format!("not the problem {code}")) }
        }
        Expected::Header(name) => {
            answer.header(name).is_none().then(|| format!("{}: no header {name}", case.what))
        }
        Expected::Bare => {
            (!answer.body.is_empty()).then(|| format!("{}: a body: {}", case.what, answer.body))
        }
    }
}

/// Detail and errors of a problem; else the header that the row is about.
fn says(case: &Case, answer: &Answer) -> String {
    match case.expected {
        Expected::Header(name) => format!("`{name}: {}`", answer.header(name).unwrap_or_default()),
        Expected::Bare => "(no body: the HTTP library refuses it)".to_owned(),
        Expected::Code(_) => {
            let problem = answer.json();
            let detail = problem["detail"].as_str().unwrap_or_default().to_owned();
            let errors = problem["errors"].as_array().cloned().unwrap_or_default();
            let errors =
                errors.iter().filter(|error| error["detail"] != problem["detail"]).map(|error| {
                    let place = ["pointer", "header", "parameter"]
                        .iter()
                        .find_map(|name| error[*name].as_str());
                    let place = place
                        .filter(|pointer| !pointer.is_empty())
                        .map_or("the body".to_owned(), |place| format!("`{place}`"));
                    format!("{place}: {}", error["detail"].as_str().unwrap_or_default())
                });
            // Of a header's error the detail has said it.
            let errors: Vec<_> = errors
                .filter(|text| {
                    !detail.ends_with(text.split_once(": ").map_or("", |(_, said)| said))
                })
                .collect();
            let missing = problem["missing"]
                .as_object()
                .map(|missing| missing.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>());
            let missing = missing.map(|names| format!("missing: {}", names.join(", ")));
            std::iter::once(detail.clone())
                .chain(errors)
                .chain(missing)
                .collect::<Vec<_>>()
                .join("; ")
        }
    }
}

/// RFC 3339.
fn an_hour_ahead() -> String {
    Micros(SystemClock.now() + 3_600_000_000).to_text()
}

/// What `bin/test` runs beside all other tests.
mod apart {
    use super::*;

    #[test]
    fn bad_requests_are_answered_as_the_table_says() {
        let scratch = Scratch::new("bad-input");
        let up = Up::start(&scratch);
        prepare(&up.address);
        let mut table = Table::new(&["what is sent", "status", "code", "what the answer says"]);
        let mut wrong = Vec::new();
        for (heading, cases) in groups() {
            table.group(heading);
            for case in cases {
                let answer = case.request.send(&up.address);
                wrong.extend(difference(&case, &answer));
                row(&mut table, &case, &answer);
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(Request::get("/readyz").send(&up.address).status() == 200, "it serves on");
        let logged = up.stop().join("\n");
        assert!(!logged.contains("panicked") && !logged.contains("\"ERROR\""), "{logged}");
        table.check("Over HTTP");
    }

    #[test]
    fn a_lost_kafka_is_answered_as_the_table_says() {
        check_loss("When Kafka is lost", losses::of_kafka());
    }

    #[test]
    fn a_lost_postgres_is_answered_as_the_table_says() {
        check_loss("When Postgres is lost", losses::of_postgres());
    }

    #[test]
    fn a_full_disk_is_answered_as_the_table_says() {
        check_loss("When the disk is full", losses::of_space());
    }

    #[test]
    fn bad_surroundings_are_said_at_start_as_the_table_says() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let postgres = runtime.block_on(PrivatePostgres::temporary()).unwrap();
        let mut table = Table::new(&["what is wrong", "exit", "what it says"]);
        let groups = [
            ("Settings", starts::settings()),
            ("Data folder", starts::folder()),
            ("Database", starts::database(&postgres.url())),
            ("Kafka", starts::kafka(&postgres.url())),
        ];
        let mut wrong = Vec::new();
        for (heading, starts) in groups {
            table.group(heading);
            for Start { what, refusal: Refusal { exit, message } } in starts {
                table.row(&[what, &exit, &message]);
                if !["1", "2", "3"].contains(&exit.as_str()) || message.is_empty() {
                    wrong.push(format!("{what}: {exit}: {message}"));
                }
            }
        }
        runtime.block_on(postgres.stop()).unwrap();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        table.check("At start");
    }

    #[test]
    fn damaged_bodies_are_refused_and_what_passes_is_projected() {
        let scratch = Scratch::new("damaged");
        let up = Up::start(&scratch);
        let seeds = [
            place(",\"placed_at\":\"2025-02-28T10:00:00Z\""),
            r#"{"name":"Cup","department":"K","unit_price_minor":1,"currency":"EUR"}"#.to_owned(),
        ];
        let mut mutations = Mutations::seeded(3);
        let mut statuses = BTreeMap::new();
        for number in 0..600 {
            let (target, seed) =
                [("/v1/orders", &seeds[0]), ("/v1/products", &seeds[1])][number % 2];
            let body = mutations.damage(seed);
            let answer = Request::post(target, body.clone()).send(&up.address);
            *statuses.entry(answer.status()).or_insert(0) += 1;
            let said = format!(
                "{} {}: {} {}",
                target,
                String::from_utf8_lossy(&body),
                answer.status_line,
                answer.body
            );
            match answer.status() {
                201 => {
                    let position = answer.header("highwater-position").unwrap();
                    let read = Request::get(answer.header("location").unwrap())
                        .header("Highwater-Min-Position", position)
                        .send(&up.address);
                    assert_eq!(read.status(), 200, "{said}\n{}", read.body);
                }
                400 | 409 | 422 => assert_eq!(
                    answer.header("content-type"),
                    Some("application/problem+json"),
                    "{said}"
                ),
                _ => panic!("{said}"),
            }
        }
        assert!([201, 400, 422].iter().all(|status| statuses.contains_key(status)), "{statuses:?}");
        let logged = up.stop().join("\n");
        assert!(!logged.contains("panicked") && !logged.contains("\"ERROR\""), "{logged}");
    }

    /// Of the cases here and of the schemas.
    #[test]
    fn every_code_is_explained_in_the_documentation_of_the_api() {
        let http = include_str!("../../docs/http.md");
        let answered = groups().into_iter().flat_map(|(_, cases)| cases).filter_map(|case| {
            match case.expected {
                Expected::Code(code) => Some(code.to_owned()),
                Expected::Header(_) | Expected::Bare => None,
            }
        });
        let schemas =
            std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/commands")).unwrap();
        let schemas = schemas.map(|schema| {
            serde_json::from_slice::<Value>(&std::fs::read(schema.unwrap().path()).unwrap())
                .unwrap()
        });
        let listed =
            schemas.flat_map(|schema| schema["x-highwater"]["codes"].as_array().cloned().unwrap());
        let codes: Vec<_> =
            answered.chain(listed.map(|code| code.as_str().unwrap().to_owned())).collect();
        assert!(codes.len() > 80, "{}", codes.len());
        let missing: Vec<_> =
            codes.iter().filter(|code| !http.contains(&format!("`{code}`"))).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn an_answer_that_is_no_problem_is_found() {
        let case = bad("x", Request::get("/v1/x"), 404, "route.unknown");
        let right = concat!(
            r#"{"type":"urn:highwater:problem:route.unknown","title":"t","status":404,"detail":"d","#,
            r#""instance":"/v1/x","code":"route.unknown","trace_id":"abc","errors":[]}"#
        );
        let answer = |status: &str, media: &str, body: &str| {
            Answer::parse(&format!(
                "HTTP/1.1 {status}\r\nContent-Type: {media}\r\nTraceparent: 00-abc-01\r\n\r\n{body}"
            ))
        };
        let problem = "application/problem+json";
        assert_eq!(difference(&case, &answer("404 Not Found", problem, right)), None);
        assert!(difference(&case, &answer("500 Internal Server Error", problem, right)).is_some());
        assert!(difference(&case, &answer("404 Not Found", "text/plain", right)).is_some());
        let members: Value = serde_json::from_str(right).unwrap();
        for name in ["type", "title", "status", "detail", "instance", "code", "trace_id"] {
            let mut without = members.clone();
            without.as_object_mut().unwrap().remove(name);
            assert!(
                difference(&case, &answer("404 Not Found", problem, &without.to_string()))
                    .is_some(),
                "{name}"
            );
        }
    }
}
