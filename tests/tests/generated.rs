//! An application from an empty folder: written by `highwater`, built, tested by its own command,
//! run, and asked.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

#[path = "store_support/answer.rs"]
mod answer;
#[path = "store_support/build.rs"]
mod build;
#[path = "store_readme/examples.rs"]
mod examples;
#[path = "generated/http.rs"]
mod http;
#[path = "store_readme/shown.rs"]
mod shown;
#[expect(dead_code, reason = "starts the store, too")]
#[path = "store_support/up.rs"]
mod up;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use answer::Answer;
use examples::{blocks, examples};
use serde_json::json;
use shown::difference;
use up::{Scratch, Up, bare};

const TUTORIAL: &str = include_str!("../../docs/your-first-application.md");
const CHECKOUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// With the features and the profile of this build, so that what it rests on need not be compiled
/// once more: tokio, serde_json, sqlx and the like.
fn share_what_is_built(app: &Path) {
    let manifest = app.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).unwrap().replace(
        "[dependencies]",
        "[dependencies]\ntokio = { version = \"1\", features = [\"test-util\"] }\n\
         serde_json = { version = \"1\", features = [\"unbounded_depth\"] }",
    );
    fs::write(manifest, text).unwrap();
    let workspace = fs::read_to_string(Path::new(CHECKOUT).join("Cargo.toml")).unwrap();
    let profile = workspace.split_once("[profile.dev.package]").unwrap().1;
    let profile = profile.split_once("[profile.release]").unwrap().0;
    let config = app.join(".cargo/config.toml");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    fs::write(config, format!("[profile.dev.package]{profile}")).unwrap();
}

/// A folder to build into that begins with what this build has, and has a lock of its own: other
/// tests build meanwhile.
fn target() -> &'static Path {
    static TARGET: OnceLock<PathBuf> = OnceLock::new();
    TARGET.get_or_init(|| {
        let built = build::program("highwater").parent().unwrap().to_owned();
        let target = built.join("../generated");
        for part in ["deps", "build", ".fingerprint"] {
            link(&built.join(part), &target.join("debug").join(part));
        }
        target
    })
}

/// The same files under another folder. Cargo and rustc put new ones in their place, and change
/// none.
fn link(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            link(&path, &to);
        } else if !to.exists() {
            fs::hard_link(&path, &to).or_else(|_| fs::copy(&path, &to).map(drop)).unwrap();
        }
    }
}

/// Builds an application.
fn cargo_in(app: &Path, program: &Path) -> Command {
    let mut command = bare(program);
    command.current_dir(app).env("CARGO_TARGET_DIR", target()).env("CARGO_NET_OFFLINE", "true");
    // As a developer has them, for the queries of another application.
    command.env("SQLX_OFFLINE", "false").env("DATABASE_URL", "postgres://other@127.0.0.1:1/other");
    command
}

#[track_caller]
fn done(command: &mut Command) -> String {
    let output = command.stdout(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}:\n{said}\n{errors}");
    said
}

/// A shop with everything that can be added, on the crates as they would be published.
fn generated(scratch: &Scratch) -> PathBuf {
    let packages = scratch.path().join("packages");
    done(bare(&Path::new(CHECKOUT).join("bin/package")).arg(&packages));
    let highwater = build::program("highwater");
    let run = |folder: &Path, arguments: &[&str]| {
        done(bare(&highwater).current_dir(folder).args(arguments));
    };
    run(scratch.path(), &["new", "shop"]);
    let app = scratch.path().join("shop");
    let manifest = fs::read_to_string(app.join("Cargo.toml")).unwrap();
    assert!(manifest.contains("highwater = { version = "), "{manifest}");
    let patch = fs::read_to_string(packages.join("patch.toml")).unwrap();
    fs::write(app.join("Cargo.toml"), format!("{manifest}\n{patch}")).unwrap();
    for arguments in [
        &["aggregate", "gift-card"][..],
        &["command", "gift-card.give-away"],
        &["event", "gift-card.given-away"],
        &["projection", "card-changes", "--of", "gift-card"],
        &["view", "all-cards", "--of", "gift-card"],
        &["aggregate", "entry"],
    ] {
        run(&app, &[&["add"], arguments].concat());
    }
    share_what_is_built(&app);
    app
}

/// Runs a block as a reader does who pastes it into a terminal in `folder`.
fn run(folder: &Path, script: &str, data: &Path, address: &str) -> String {
    let mut bash = cargo_in(folder, Path::new("bash"));
    let programs = build::program("highwater").parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([programs].into_iter().chain(std::env::split_paths(&path)));
    bash.args(["-euo", "pipefail", "-c", script])
        .env("PATH", path.unwrap())
        .env("CHECKOUT", CHECKOUT)
        .env("DATA", data)
        .env("SHOP", format!("http://{address}"))
        .env_remove("http_proxy")
        .env("NO_PROXY", "*");
    done(&mut bash)
}

/// What takes long, and waits a good deal: beside the other tests (`bin/test`).
mod apart {
    use super::*;

    #[test]
    #[ignore = "bin/long: builds another application"]
    fn a_new_application_passes_its_tests_runs_and_is_audited() {
        let scratch = Scratch::new("generated");
        let app = generated(&scratch);
        let said = done(&mut cargo_in(&app, &app.join("bin/test")));
        assert!(said.contains("events/gift-card.given-away.v1.json: written"), "{said}");
        assert_eq!(said.matches("test result: ok").count(), 4, "{said}");
        // Again: nothing is new, and all is as it was written.
        let again = done(&mut cargo_in(&app, &app.join("bin/test")));
        assert!(!again.contains(": written"), "{again}");

        let data = scratch.data();
        let mut start = cargo_in(&app, &app.join("bin/up"));
        start.arg("--data").arg(&data).args(["--listen", "127.0.0.1:0"]);
        let running = Up::of(&mut start);
        let ask = |method: &str, path: &str, headers: &[(&str, &str)], body: &str| {
            http::ask(&running.address, method, path, headers, body)
        };
        let body = r#"{"name":"ten euros"}"#;
        let made = ask("POST", "/v1/gift-cards", &[("idempotency-key", "first")], body);
        assert_eq!((made.status(), made.header("etag")), (201, Some("\"v1\"")), "{}", made.body);
        let retried = ask("POST", "/v1/gift-cards", &[("idempotency-key", "first")], body);
        assert_eq!((retried.status(), &retried.body), (201, &made.body));
        let card = made.header("location").unwrap().to_owned();

        let rename = |version: &str, name: &str| {
            let body = json!({ "name": name }).to_string();
            ask("POST", &format!("{card}/rename"), &[("if-match", version)], &body)
        };
        assert_eq!(rename("\"v7\"", "x").status(), 412);
        assert_eq!(rename("\"v1\"", "five euros").status(), 200);
        let archived = ask("POST", &format!("{card}/archive"), &[], "{}");
        let refused = rename("\"v3\"", "x");
        assert_eq!(
            (refused.status(), &refused.json()["code"]),
            (409, &json!("gift-card.archived"))
        );

        let position = archived.header("highwater-position").unwrap();
        let at = [("highwater-min-position", position), ("prefer", "wait=20")];
        let expected =
            json!({"id": made.json()["id"], "version": 3, "name": "five euros", "archived": true});
        assert_eq!(ask("GET", &card, &at, "").json(), expected);
        for list in ["/v1/gift-cards?archived=true&sort=-name", "/v1/all-cards"] {
            assert_eq!(ask("GET", list, &at, "").json(), json!({ "items": [expected] }), "{list}");
        }
        assert_eq!(
            ask("GET", "/v1/gift-cards?archived=false", &at, "").json(),
            json!({"items": []})
        );
        assert_eq!(ask("GET", "/v1/entries", &[], "").status(), 200);
        running.stop();

        let program = target().join("debug/shop");
        let report = done(bare(&program).arg("audit").arg("--data").arg(&data));
        assert!(report.ends_with("clean: no difference found\n"), "{report}");
        for table in ["gift_cards ", "card_changes ", "snapshots ", "entries "] {
            let line = report.lines().find(|line| line.starts_with(table)).unwrap_or_default();
            assert!(line.ends_with("  0  replayed"), "{table}: {report}");
        }
    }

    #[test]
    fn the_tutorial_is_what_happens() {
        let scratch = Scratch::new("tutorial");
        let (app, data) = (scratch.path().join("shop"), scratch.data());
        let (before, after) = TUTORIAL.split_once("When it says that it is ready").unwrap();
        let (mut hand_written, mut changed) = (0, 0);
        for block in blocks(before) {
            match block.language.split_once(' ') {
                Some((_, file)) => {
                    let path = app.join(file);
                    assert!(path.is_file(), "line {}: {file} is there already", block.line);
                    hand_written +=
                        block.text.lines().filter(|line| !line.trim().is_empty()).count();
                    changed += 1;
                    fs::write(path, block.text).unwrap();
                }
                None if block.language == "sh" => {
                    let folder = if app.exists() { &app } else { scratch.path() };
                    run(folder, &block.text, &data, "");
                    if !app.join(".cargo").exists() {
                        share_what_is_built(&app);
                    }
                }
                None => {}
            }
        }
        // What a team writes for an aggregate with two commands, its row, its list and its tests.
        assert!(hand_written <= 150 && changed <= 4, "{hand_written} lines in {changed} files");

        let mut start = cargo_in(&app, &app.join("bin/up"));
        start.arg("--data").arg(&data).args(["--listen", "127.0.0.1:0"]);
        let running = Up::of(&mut start);
        for example in examples(after) {
            let said = run(&app, &example.script, &data, &running.address);
            if let Some(what) = difference(&example.answer, &Answer::parse(&said)) {
                let line = before.lines().count() + example.line - 1;
                panic!("docs/your-first-application.md, line {line}: {what}");
            }
        }
        running.stop();
        for block in blocks(after).iter().filter(|block| block.language == "sh") {
            let said = run(&app, &block.text, &data, "");
            assert!(said.ends_with("clean: no difference found\n"), "{said}");
        }
    }
}
