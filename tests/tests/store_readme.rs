//! What README.md shows is what happens: its commands, in turn, on a fresh `store up`, and
//! again after kill -9.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

#[path = "store_support/answer.rs"]
mod answer;
#[path = "store_support/build.rs"]
mod build;
#[path = "store_readme/examples.rs"]
mod examples;
#[path = "store_readme/shown.rs"]
mod shown;
#[path = "store_support/up.rs"]
mod up;

use std::process::{Command, Stdio};

use answer::Answer;
use examples::{Example, examples};
use shown::difference;
use up::{Scratch, Up};

const README: &str = include_str!("../../README.md");
/// What stands below is for an `up` that was killed and started again.
const AFTER: &str = "### After a crash";
/// Between the outputs of two blocks; nothing that a server says.
const MARK: &str = "--8<-- next block --8<--";

#[test]
fn the_examples_give_the_answers_that_are_shown_and_all_is_there_after_kill_9() {
    let (before, after) = README.split_once(AFTER).unwrap();
    let scratch = Scratch::new("readme");
    let first = Up::start(&scratch);
    check(&examples(before), &first.address);
    let postmaster = scratch.postmaster().unwrap();
    drop(first);
    assert_eq!(scratch.postmaster(), Some(postmaster), "the private Postgres is orphaned");

    let second = Up::start(&scratch);
    check(&examples(after), &second.address);
    second.stop();
    assert_eq!(scratch.postmaster(), None, "nothing runs on");
}

#[test]
fn the_examples_show_what_they_are_there_for() {
    let shown: Vec<_> = examples(README)
        .iter()
        .map(|example| (example.answer.status(), code(&example.answer)))
        .collect();
    let shown: Vec<_> = shown.iter().map(|(status, code)| (*status, code.as_str())).collect();
    let expected = [
        (201, ""),
        (201, ""),
        (200, ""),
        (200, ""),
        (412, "version.mismatch"),
        (201, ""),
        (422, "idempotency-key.reused"),
        (200, ""),
        (409, "order.already-cancelled"),
        (200, ""),
        (409, "order.already-cancelled"),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn a_wrong_answer_is_found() {
    let shown = Answer::parse(
        "HTTP/1.1 200 OK\netag: \"v1\"\nidempotency-key: ...\n\n{\"id\": \"...\", \"version\": 1}",
    );
    let given = |text: &str| difference(&shown, &Answer::parse(text));
    let right = "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nIdempotency-Key: \"k\"\r\nDate: \
                 now\r\n\r\n{\"version\":1,\"id\":\"x\"}";
    assert_eq!(given(right), None);
    for wrong in [
        right.replace("200 OK", "201 Created"),
        right.replace("\"v1\"", "\"v2\""),
        right.replace("Idempotency-Key", "Else"),
        right.replace(":1", ":2"),
        right.replace("\"x\"", "\"\""),
        right.replace(",\"id\"", ",\"more\":0,\"id\""),
    ] {
        assert!(given(&wrong).is_some(), "{wrong}");
    }
}

fn code(answer: &Answer) -> String {
    answer.json()["code"].as_str().unwrap_or_default().to_owned()
}

/// Runs all blocks in one shell, as a reader does who pastes them into a terminal.
fn check(examples: &[Example], address: &str) {
    let script: String = examples
        .iter()
        .map(|example| format!("{}\necho; echo '{MARK}'\n", example.script))
        .collect();
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .env("HIGHWATER", format!("http://{address}"))
        .env_remove("http_proxy")
        .env("NO_PROXY", "*")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<_> = stdout.split(MARK).collect();
    assert!(output.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(answers.len(), examples.len() + 1);
    for (example, text) in examples.iter().zip(answers) {
        if let Some(what) = difference(&example.answer, &Answer::parse(text.trim_start())) {
            panic!("README.md, line {}: {what}", example.line);
        }
    }
}
