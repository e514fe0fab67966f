//! `bin/up`, and the help of the other scripts, with a cargo that builds nothing.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const README: &str = include_str!("../../README.md");
const CI: &str = include_str!("../../.ci/run");
const BIN_UP: &str = include_str!("../../bin/up");
const BUILD: &str = "cargo build --locked --profile quick ";

/// Programs that say how they were called, removed at the end.
struct Pretended(PathBuf);

impl Pretended {
    fn new(name: &str) -> std::io::Result<Self> {
        let folder =
            std::env::temp_dir().join(format!("highwater-scripts-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("quick"))?;
        program(&folder.join("cargo"), "echo \"cargo $*\" >&2\nexit 77\n")?;
        Ok(Self(folder))
    }

    fn bin_up(&self, arguments: &[&str]) -> std::io::Result<Output> {
        self.run("up", arguments)
    }

    fn run(&self, script: &str, arguments: &[&str]) -> std::io::Result<Output> {
        let path = format!("{}:{}", self.0.display(), std::env::var("PATH").unwrap_or_default());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bin").join(script);
        Command::new(script)
            .args(arguments)
            .env("PATH", path)
            .env("CARGO_TARGET_DIR", &self.0)
            .output()
    }
}

impl Drop for Pretended {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn program(path: &Path, script: &str) -> std::io::Result<()> {
    fs::write(path, format!("#!/bin/sh\n{script}"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

#[test]
fn help_is_shown_at_once_by_what_was_built_last_and_else_the_build_is_said() -> Outcome {
    let pretended = Pretended::new("help")?;
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let first = pretended.bin_up(&["--help"])?;
    assert_eq!(first.status.code(), Some(77), "{}", said(&first));
    let lines: Vec<String> = said(&first).lines().map(str::to_owned).collect();
    assert!(
        lines[0].starts_with("bin/up: building first") && lines[0].ends_with("store up --help"),
        "{lines:?}"
    );
    assert!(lines[1].starts_with(BUILD), "{lines:?}");

    program(&pretended.0.join("quick/store"), "echo \"store $*\"\n")?;
    for help in ["--help", "-h"] {
        let shown = pretended.bin_up(&["--data", "d", help])?;
        assert_eq!(
            (String::from_utf8(shown.stdout.clone())?.as_str(), said(&shown).as_str()),
            ("store up --help\n", "")
        );
    }
    assert_eq!(pretended.bin_up(&[])?.status.code(), Some(77), "it is built again before it runs");
    Ok(())
}

#[test]
fn the_other_scripts_say_what_they_do_and_do_nothing() -> Outcome {
    let pretended = Pretended::new("others")?;
    for script in ["bench", "long", "mutants", "test"] {
        let shown = pretended.run(script, &["--help"])?;
        let text = String::from_utf8(shown.stdout)?;
        assert!(
            shown.status.success()
                && shown.stderr.is_empty()
                && text.contains(&format!("bin/{script}")),
            "{script}: {text}"
        );
    }
    Ok(())
}

/// A crate of one file, compiled as CI compiles those of the workspace.
fn compiled_in_ci(name: &str, source: &str) -> Result<Output, Box<dyn std::error::Error>> {
    let folder = Pretended::new(&format!("ci-{name}"))?;
    let file = folder.0.join("lib.rs");
    fs::write(&file, source)?;
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output()?.stdout;
    let arguments = CI.split_whitespace().find_map(|word| word.strip_prefix("CLIPPY_ARGS="));
    Ok(Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/rustc"))
        .args(["rustc", "--crate-name", name, "--edition=2024", "--crate-type", "lib"])
        .args(["--emit=metadata", "--out-dir"])
        .args([&folder.0, &file])
        .env("CLIPPY_DRIVER", Path::new(str::from_utf8(&sysroot)?.trim()).join("bin/clippy-driver"))
        .env("CLIPPY_ARGS", arguments.ok_or(".ci/run says what clippy refuses")?)
        .env("DOCUMENTED", folder.0.join("documented"))
        .output()?)
}

#[test]
fn the_build_of_ci_ends_at_what_clippy_or_rustdoc_finds() -> Outcome {
    for (name, planted, found) in [
        ("sound", "/// One more.\npub fn more(than: u8) -> u8 {\n    than + 1\n}\n", None),
        ("linted", "pub fn same(it: u8) -> u8 {\n    return it;\n}\n", Some("needless_return")),
        ("linked", "//! See [`Nowhere`].\n", Some("broken-intra-doc-links")),
    ] {
        let output = compiled_in_ci(name, planted)?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), found.is_none(), "{name}: {said}");
        assert!(found.is_none_or(|found| said.contains(found)), "{name}: {said}");
    }
    Ok(())
}

#[test]
fn the_readme_builds_what_bin_up_builds() {
    let packages = |text: &str| -> Vec<String> {
        let line =
            text.lines().find_map(|line| line.split_once(BUILD)).map_or("", |(_, rest)| rest);
        line.split("--package ")
            .skip(1)
            .filter_map(|rest| Some(rest.split_whitespace().next()?.to_owned()))
            .collect()
    };
    assert_eq!(packages(README), packages(BIN_UP));
    assert_eq!(packages(README), ["store", "command-api", "projectors", "query-api"]);
    assert!(
        !README.lines().any(|line| line.trim() == "cargo build --release"),
        "it builds the benches, too"
    );
}
