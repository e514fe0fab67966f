//! A program that is to refuse its start: run to its end within a bound, and what it said.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

const LOOK_EVERY: Duration = Duration::from_millis(20);
const LOOKS: u32 = 4_500;

pub struct Refusal {
    pub exit: String,
    /// What it said last, on one line, with what differs each time masked.
    pub message: String,
}

/// `DIR` stands for `folder` in what it said.
pub fn refused(command: &mut Command, folder: &Path) -> Refusal {
    let heard = folder.join("stderr");
    let mut child = command.stderr(Stdio::from(File::create(&heard).unwrap())).spawn().unwrap();
    let ended = (0..LOOKS).find_map(|_| {
        thread::sleep(LOOK_EVERY);
        child.try_wait().unwrap()
    });
    let _ = child.kill();
    let _ = child.wait();
    let said = fs::read_to_string(&heard).unwrap();
    let ended = ended.unwrap_or_else(|| panic!("{command:?} does not end; it said:\n{said}"));
    assert!(!said.contains("panicked"), "{command:?} panicked:\n{said}");
    let exit = ended.code().map_or_else(|| ended.to_string(), |code| code.to_string());
    Refusal { exit, message: masked(&message(&said), folder) }
}

/// From the line on that speaks to a person; before it is the log.
fn message(said: &str) -> String {
    const SPEAKERS: [&str; 5] =
        ["highwater: ", "command-api: ", "projectors: ", "query-api: ", "error: "];
    let lines =
        said.lines().skip_while(|line| !SPEAKERS.iter().any(|speaker| line.starts_with(speaker)));
    // Threads of libraries may log on; the usage that follows is the same for every wrong flag.
    let lines = lines
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('{'))
        .take_while(|line| !line.starts_with("For more information"));
    lines.collect::<Vec<_>>().join(" ")
}

fn masked(message: &str, folder: &Path) -> String {
    // Errors may name the folder as the system resolves it.
    let real = fs::canonicalize(folder).unwrap();
    let message =
        message.replace(&*folder.to_string_lossy(), "DIR").replace(&*real.to_string_lossy(), "DIR");
    let message = without_digits(&message, "127.0.0.1:", "PORT");
    let message = without_digits(&message, "0.0.0.0:", "PORT");
    without_digits(&message, "(process ", "PID")
}

/// Every number behind `before` becomes `mask`.
fn without_digits(text: &str, before: &str, mask: &str) -> String {
    let mut parts = text.split(before);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |masked, part| {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let mask = if rest.len() < part.len() { mask } else { "" };
        masked + before + mask + rest
    })
}
