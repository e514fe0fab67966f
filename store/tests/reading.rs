//! `store audit` and `store replay` as processes, on a local log written for the purpose.

#[path = "../../tests/support/documented.rs"]
mod documented;

use std::{
    borrow::Cow,
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::Duration,
};

use documented::Row;
use highwater::log::{
    Appended, LocalLog, Log, Partition, Reply, Report, Ticket, Topic, TopicKind, local,
};
use highwater::protocol::{
    entry::{Body, CommandMetadata, Entry, EventBody, Part},
    partition::partition_of,
    time::Micros,
    wire::{Fingerprint, Meta, RecordedEvent, Wire, encode},
};
use tokio::{sync::mpsc, time::timeout};
use uuid::Uuid;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const TOPIC: &str = "hw.note.events";
const PARTITIONS: u32 = 2;
const WRITER: Uuid = Uuid::from_u128(0x11);
const ALICE: Uuid = Uuid::from_u128(0xa);

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A log being written, in a data folder.
struct Notes {
    log: LocalLog,
    to: mpsc::UnboundedSender<Report>,
    reports: mpsc::UnboundedReceiver<Report>,
}

impl Notes {
    async fn open(scratch: &Scratch) -> Result<Self, Box<dyn std::error::Error>> {
        fs::create_dir_all(scratch.0.join("log"))?;
        let log = LocalLog::open(scratch.0.join("log"), local::Settings::default())?;
        log.prepare(vec![Topic {
            name: TOPIC.into(),
            partitions: PARTITIONS,
            kind: TopicKind::Events,
        }])
        .await?;
        let (to, reports) = mpsc::unbounded_channel();
        let mut notes = Self { log, to, reports };
        notes
            .append(Entry { epoch: 1, writer: WRITER, seq: None, drained: None, body: Body::Fence })
            .await?;
        Ok(notes)
    }

    async fn append(&mut self, entry: Entry<Wire>) -> Outcome {
        let partition = Partition { topic: TOPIC.into(), index: home() };
        let record =
            encode(&entry, "/hw/note", Uuid::from_u128(u128::from(entry.seq.unwrap_or(0))));
        self.log.append(
            &partition,
            record,
            Reply { ticket: Ticket { writer: WRITER, seq: entry.seq }, to: self.to.clone() },
        )?;
        let report = self.reports.recv().await.ok_or("every append is reported")?;
        assert!(matches!(report.result, Ok(Appended::At(_))), "{report:?}");
        Ok(())
    }
}

fn scratch(name: &str) -> Scratch {
    Scratch(std::env::temp_dir().join(format!("highwater-reading-{name}-{}", std::process::id())))
}

/// Writes a fence and an event for each of these versions, and closes the log.
async fn data_folder(
    name: &str,
    versions: impl IntoIterator<Item = u64>,
) -> Result<Scratch, Box<dyn std::error::Error>> {
    let scratch = scratch(name);
    let mut notes = Notes::open(&scratch).await?;
    for (version, seq) in versions.into_iter().zip(0..) {
        notes.append(event(seq, version)).await?;
    }
    notes.log.close(Duration::from_secs(10)).await;
    Ok(scratch)
}

fn event(seq: u64, version: u64) -> Entry<Wire> {
    let meta = Meta { correlation: Uuid::from_u128(3), ..Meta::default() };
    let fingerprint = Fingerprint { key_number: 1, hmac: [0; 32] };
    let metadata = CommandMetadata {
        aggregate: ALICE,
        command: Uuid::from_u128(1000 + u128::from(seq)),
        fingerprint,
        meta,
        source: None,
    };
    let event_type = if seq == 0 { "note.written" } else { "note.changed" };
    let event = RecordedEvent {
        event_type: Cow::Borrowed(event_type),
        schema: Cow::Owned(format!("{event_type}.v1")),
        data: format!("{{\"n\":{seq}}}").into_bytes(),
    };
    let time = Micros(i64::try_from(seq).unwrap_or(0));
    let body = Body::Event(EventBody { metadata, version, part: Part::WHOLE, time, event });
    Entry { epoch: 1, writer: WRITER, seq: Some(seq), drained: None, body }
}

fn home() -> u32 {
    partition_of(ALICE.to_string().as_bytes(), PARTITIONS)
}

fn highwater(subcommand: &str, scratch: &Scratch) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_store"));
    command.arg(subcommand).arg("--data").arg(&scratch.0);
    command
}

fn lines(output: &Output) -> Result<Vec<serde_json::Value>, Box<dyn std::error::Error>> {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(is_the_log_alone(&output.stderr), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout.clone())?
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?)
}

/// One line, which says the log that is read.
fn is_the_log_alone(stderr: &[u8]) -> bool {
    let said = String::from_utf8_lossy(stderr);
    said.starts_with("highwater: the log is the local one in /") && said.lines().count() == 1
}

#[tokio::test]
async fn replay_stops_at_data_that_is_no_json_and_says_how_to_go_on() -> Outcome {
    let scratch = scratch("no-json");
    let mut notes = Notes::open(&scratch).await?;
    for (version, data) in (1..).zip(["{}", "{", "[]"]) {
        let mut entry = event(version - 1, version);
        if let Body::Event(event) = &mut entry.body {
            event.event.data = data.as_bytes().to_vec();
        }
        notes.append(entry).await?;
    }
    notes.log.close(Duration::from_secs(10)).await;

    let stopped = highwater("replay", &scratch).output()?;
    assert_eq!(stopped.status.code(), Some(1));
    let position = format!("note/{}@3", home());
    let said = String::from_utf8(stopped.stderr)?;
    assert!(
        said.contains(&format!("the data of the event before {position} is no JSON")),
        "{said}"
    );
    assert!(said.contains(&format!("--from {position} goes on there")), "{said}");
    assert_eq!(
        String::from_utf8(stopped.stdout)?.lines().count(),
        1,
        "what lies before it is shown"
    );

    let rest = lines(&highwater("replay", &scratch).args(["--from", &position]).output()?)?;
    assert_eq!(rest.iter().map(|event| event["hwversion"].as_u64()).collect::<Vec<_>>(), [Some(3)]);
    Row {
        id: "S5",
        situation: "a visible event whose data is no JSON; `store replay`",
        answer: "shows what lies before it and ends with exit code 1; `--from` with the position \
                 that it says shows what lies behind it",
        test: (file!(), "replay_stops_at_data_that_is_no_json_and_says_how_to_go_on"),
    }
    .check();
    Ok(())
}

#[tokio::test]
async fn replay_prints_every_event_and_goes_on_behind_a_position() -> Outcome {
    let scratch = data_folder("replay", 1..=5).await?;
    let all = lines(&highwater("replay", &scratch).output()?)?;
    assert_eq!(
        all.iter().map(|event| event["data"]["n"].as_u64()).collect::<Vec<_>>(),
        (0..5).map(Some).collect::<Vec<_>>()
    );
    assert_eq!(all[0]["type"], "note.written");
    assert_eq!(all[2]["hwposition"], format!("note/{}@4", home()));

    let position = all[2]["hwposition"].as_str().ok_or("a position is text")?;
    assert_eq!(
        lines(&highwater("replay", &scratch).args(["--from", position]).output()?)?,
        all[3..]
    );
    assert_eq!(
        lines(&highwater("replay", &scratch).args(["--type", "note.written"]).output()?)?,
        all[..1]
    );
    assert_eq!(
        lines(
            &highwater("replay", &scratch)
                .args(["--id", &ALICE.to_string(), "--category", "note"])
                .output()?
        )?,
        all
    );
    assert!(
        lines(&highwater("replay", &scratch).args(["--id", &WRITER.to_string()]).output()?)?
            .is_empty()
    );
    Ok(())
}

#[tokio::test]
async fn replay_ends_before_a_position_and_begins_at_a_time_and_shows_one_partition() -> Outcome {
    let scratch = data_folder("window", 1..=5).await?;
    let numbers = |more: &[&str]| -> Result<Vec<u64>, Box<dyn std::error::Error>> {
        let events = lines(&highwater("replay", &scratch).args(more).output()?)?;
        Ok(events.iter().filter_map(|event| event["data"]["n"].as_u64()).collect())
    };
    let at = |offset: u64| format!("note/{}@{offset}", home());
    assert_eq!(numbers(&["--until", &at(4)])?, [0, 1, 2]);
    assert_eq!(numbers(&["--from", &at(2), "--until", &at(4)])?, [1, 2]);
    assert_eq!(numbers(&["--until", &at(0)])?, [0; 0]);
    assert_eq!(numbers(&["--until", &at(9)])?, [0, 1, 2, 3, 4]);
    // Event n is of n microseconds after 1970.
    assert_eq!(numbers(&["--since", "1970-01-01T00:00:00.000003Z"])?, [3, 4]);
    assert_eq!(numbers(&["--since", "1970-01-01T01:00:00.000004+01:00"])?, [4]);
    assert_eq!(numbers(&["--partition", &home().to_string()])?, [0, 1, 2, 3, 4]);
    assert_eq!(numbers(&["--partition", &(1 - home()).to_string()])?, [0; 0]);
    Ok(())
}

#[tokio::test]
async fn a_prefix_chooses_the_deployment_and_an_unknown_one_is_wrong_usage() -> Outcome {
    let scratch = data_folder("prefix", 1..=2).await?;
    let log = LocalLog::open(scratch.0.join("log"), local::Settings::default())?;
    log.prepare(vec![Topic {
        name: "other.note.events".into(),
        partitions: 1,
        kind: TopicKind::Events,
    }])
    .await?;
    log.close(Duration::from_secs(10)).await;
    assert_eq!(lines(&highwater("replay", &scratch).args(["--prefix", "hw"]).output()?)?.len(), 2);
    assert!(
        lines(&highwater("replay", &scratch).env("HIGHWATER__LOG__PREFIX", "other").output()?)?
            .is_empty()
    );
    let audited = highwater("audit", &scratch).args(["--prefix", "hw", "--json"]).output()?;
    let report: serde_json::Value = serde_json::from_slice(&audited.stdout)?;
    assert_eq!(
        (audited.status.code(), report["partitions"].as_array().map(Vec::len)),
        (Some(0), Some(2))
    );
    let file = scratch.0.join("settings.toml");
    fs::write(&file, "[log]\nprefix = \"other\"\n")?;
    assert!(lines(&highwater("replay", &scratch).arg("--config").arg(&file).output()?)?.is_empty());
    assert_eq!(
        lines(
            &highwater("replay", &scratch)
                .args(["--prefix", "hw", "--config"])
                .arg(&file)
                .output()?
        )?
        .len(),
        2
    );
    fs::write(&file, "[log]\nnobody = 1\n")?;
    let unknown = highwater("replay", &scratch).arg("--config").arg(&file).output()?;
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8(unknown.stderr)?.contains("nobody"));
    for subcommand in ["audit", "replay", "lag"] {
        let refused = highwater(subcommand, &scratch).args(["--prefix", "nobody"]).output()?;
        assert_eq!(refused.status.code(), Some(2), "{subcommand}");
        assert!(
            String::from_utf8(refused.stderr)?.contains("there are: hw, other"),
            "{subcommand}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn replay_into_a_pipe_that_is_not_read_to_the_end_is_no_error() -> Outcome {
    // More than a pipe and a buffer hold.
    let scratch = data_folder("pipe", 1..=500).await?;
    let mut child =
        highwater("replay", &scratch).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut first = String::new();
    BufReader::new(child.stdout.take().ok_or("stdout is piped")?).read_line(&mut first)?;
    assert!(first.starts_with('{'), "{first}");
    let output = child.wait_with_output()?;
    assert!(output.status.code() == Some(0) && is_the_log_alone(&output.stderr), "{output:?}");
    Ok(())
}

#[tokio::test]
async fn replay_follows_what_the_process_that_holds_the_log_appends_later() -> Outcome {
    let scratch = scratch("follow");
    let mut notes = Notes::open(&scratch).await?;
    notes.append(event(0, 1)).await?;
    let mut child = highwater("replay", &scratch).arg("--follow").stdout(Stdio::piped()).spawn()?;
    let printed = child.stdout.take().ok_or("stdout is piped")?;
    let (lines, mut seen) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        BufReader::new(printed).lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
    });
    for n in 0..3 {
        let line = timeout(Duration::from_secs(30), seen.recv()).await?.ok_or("it goes on")?;
        assert!(line.contains(&format!("\"data\":{{\"n\":{n}}}")), "{line}");
        notes.append(event(n + 1, n + 2)).await?;
    }
    // Ctrl-C is how a follow ends.
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status()?.success());
    assert_eq!(child.wait()?.code(), Some(0));
    notes.log.close(Duration::from_secs(10)).await;
    Ok(())
}

#[tokio::test]
async fn a_follow_ends_quietly_when_its_output_is_not_read_any_more() -> Outcome {
    let scratch = scratch("unread");
    let mut notes = Notes::open(&scratch).await?;
    notes.append(event(0, 1)).await?;
    let mut child = highwater("replay", &scratch)
        .arg("--follow")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut printed = BufReader::new(child.stdout.take().ok_or("stdout is piped")?);
    // The log is served by this test's runtime, so nothing may block it.
    let first = tokio::task::spawn_blocking(move || printed.read_line(&mut String::new()));
    assert!(timeout(Duration::from_secs(30), first).await??? > 0);
    notes.append(event(1, 2)).await?;
    let ended = timeout(
        Duration::from_secs(30),
        tokio::task::spawn_blocking(move || child.wait_with_output()),
    )
    .await???;
    assert!(ended.status.code() == Some(0) && is_the_log_alone(&ended.stderr), "{ended:?}");
    notes.log.close(Duration::from_secs(10)).await;
    Ok(())
}

#[tokio::test]
async fn wrong_usage_has_exit_code_2() -> Outcome {
    let scratch = data_folder("usage", 1..=1).await?;
    for wrong in [
        vec!["--category", "nobody"],
        vec!["--from", "note"],
        vec!["--from", "note/9@1"],
        vec!["--from", "note/0@1", "--from", "note/0@2"],
        vec!["--id", "x"],
        vec!["--until", "note/9@1"],
        vec!["--until", "note/0@1", "--follow"],
        vec!["--since", "yesterday"],
        vec!["--partition", "2"],
    ] {
        let output = highwater("replay", &scratch).args(&wrong).output()?;
        assert_eq!(
            output.status.code(),
            Some(2),
            "{wrong:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{wrong:?}");
    }
    Ok(())
}

#[tokio::test]
async fn audit_tells_a_clean_log_from_one_with_a_difference_by_its_exit_code() -> Outcome {
    let clean = data_folder("clean", 1..=3).await?;
    let output = highwater("audit", &clean).output()?;
    let text = String::from_utf8(output.stdout)?;
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.ends_with("clean: no difference found\n"), "{text}");

    let gap = data_folder("gap", [1, 2, 4]).await?;
    let output = highwater("audit", &gap).arg("--json").output()?;
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(report["differences"][0]["at"], format!("{TOPIC}/{}@3", home()));
    assert_eq!((&report["total"]["events"], &report["total"]["fences"]), (&3.into(), &1.into()));
    Ok(())
}

#[test]
fn a_log_that_is_not_there_has_exit_code_3() -> Outcome {
    let nowhere = Scratch(std::env::temp_dir().join("highwater-reading-nowhere"));
    for subcommand in ["audit", "replay", "lag"] {
        let output = highwater(subcommand, &nowhere).output()?;
        assert_eq!(output.status.code(), Some(3));
    }
    Ok(())
}

const READERS: [&str; 4] = ["audit", "lag", "owners", "replay"];

/// A reader where `highwater.toml` names a Kafka that is away, beside a folder `data` with a local
/// log.
fn beside_a_local_log(subcommand: &str, scratch: &Scratch) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_store"));
    command.arg(subcommand).current_dir(&scratch.0).env_remove("HIGHWATER_DATABASE_URL");
    command.env("HIGHWATER__LOG__REQUEST_TIMEOUT_MS", "500").env("HIGHWATER__LOG__PREFIX", "hw");
    command
}

async fn settings_beside_a_local_log(name: &str) -> Result<Scratch, Box<dyn std::error::Error>> {
    let (scratch, data) = (scratch(name), data_folder(&format!("{name}-data"), 1..=2).await?);
    fs::create_dir_all(&scratch.0)?;
    fs::rename(&data.0, scratch.0.join("data"))?;
    fs::write(scratch.0.join("highwater.toml"), "[log]\nkafka = \"127.0.0.1:1\"\n")?;
    Ok(scratch)
}

#[tokio::test]
async fn the_log_that_the_settings_name_is_read_and_every_reader_says_which() -> Outcome {
    let scratch = settings_beside_a_local_log("settings").await?;
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    for subcommand in READERS {
        let output = beside_a_local_log(subcommand, &scratch).output()?;
        assert_eq!(output.status.code(), Some(3), "{subcommand}: {}", said(&output));
        assert!(
            said(&output)
                .starts_with("highwater: the log is that on Kafka at 127.0.0.1:1 (log.kafka)\n"),
            "{}",
            said(&output)
        );
        let flag =
            beside_a_local_log(subcommand, &scratch).args(["--kafka", "127.0.0.1:2"]).output()?;
        assert!(
            said(&flag)
                .starts_with("highwater: the log is that on Kafka at 127.0.0.1:2 (--kafka)\n"),
            "{}",
            said(&flag)
        );
    }
    let data = fs::canonicalize(scratch.0.join("data/log"))?;
    let local = format!("highwater: the log is the local one in {}\n", data.display());
    for subcommand in ["audit", "replay"] {
        // The folder that is named belongs to its log, and the environment goes before the file.
        let named = beside_a_local_log(subcommand, &scratch).args(["--data", "data"]).output()?;
        let emptied =
            beside_a_local_log(subcommand, &scratch).env("HIGHWATER__LOG__KAFKA", "").output()?;
        for output in [named, emptied] {
            assert_eq!(
                (output.status.code(), said(&output)),
                (Some(0), local.clone()),
                "{subcommand}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_folder_of_a_log_on_kafka_is_not_taken_for_an_empty_log() -> Outcome {
    let folder = scratch("of-kafka");
    fs::create_dir_all(folder.0.join("log"))?;
    fs::write(folder.0.join("log.kind"), "kafka\n")?;
    for subcommand in READERS {
        let refused = highwater(subcommand, &folder).output()?;
        let said = String::from_utf8(refused.stderr)?;
        assert!(
            refused.status.code() == Some(2)
                && said.contains("--kafka")
                && said.contains("`log.kafka`"),
            "{subcommand}: {said}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn the_database_that_the_settings_name_is_read_and_said() -> Outcome {
    let scratch = settings_beside_a_local_log("database").await?;
    for subcommand in ["audit", "lag"] {
        let mut command = beside_a_local_log(subcommand, &scratch);
        command
            .env("HIGHWATER__LOG__KAFKA", "")
            .env("HIGHWATER__PROJECTOR__DATABASE__URL", "postgres://me:hunter2@127.0.0.1:1/tables");
        let output = command.output()?;
        let said = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(
            said.contains(
                "the tables are in the database tables at 127.0.0.1:1 (projector.database.url)"
            ),
            "{said}"
        );
        assert!(!said.contains("hunter2"), "{said}");
    }
    Ok(())
}
