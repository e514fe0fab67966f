//! What is wrong around a start: settings, data folder, database, Kafka.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    broker::Broker,
    build::program,
    start::{Refusal, refused},
    up::{Scratch, Up, bare, command},
};

/// What was done, and what came of it.
pub struct Start {
    pub what: &'static str,
    pub refusal: Refusal,
}

/// `up` on a port of its own choice with more arguments, and with `prepare` done to the scratch folder before.
fn up(what: &'static str, arguments: &[&str], prepare: impl FnOnce(&Scratch, &mut Command)) -> Start {
    let scratch = Scratch::new("start");
    let mut command = command(&scratch);
    if !arguments.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    command.args(arguments);
    prepare(&scratch, &mut command);
    let refusal = refused(&mut command, scratch.path());
    assert_eq!(scratch.postmaster(), None, "{what}: the private Postgres runs on");
    Start { what, refusal }
}

fn set(what: &'static str, variable: &str, value: &str) -> Start {
    up(what, &[], |_, command| {
        command.env(variable, value);
    })
}

/// An address where nobody listens.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

pub fn settings() -> Vec<Start> {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let in_use = taken.local_addr().unwrap().to_string();
    let file = |what, text: &'static str| {
        up(what, &["--config", "settings.toml"], move |scratch, _| fs::write(scratch.path().join("settings.toml"), text).unwrap())
    };
    vec![
        up("`--listen 0.0.0.0:8080` without `--insecure`", &["--listen", "0.0.0.0:8080"], |_, _| {}),
        up("`--listen` with an address that is in use", &["--listen", &in_use], |_, _| {}),
        up("`--listen here`", &["--listen", "here"], |_, _| {}),
        set("an unknown key: `HIGHWATER__LOG__PARTITION=8`", "HIGHWATER__LOG__PARTITION", "8"),
        set("an unknown section: `HIGHWATER__NOBODY__KEY=1`", "HIGHWATER__NOBODY__KEY", "1"),
        set("a value that is no number: `HIGHWATER__LOG__PARTITIONS=many`", "HIGHWATER__LOG__PARTITIONS", "many"),
        set("no partition: `HIGHWATER__LOG__PARTITIONS=0`", "HIGHWATER__LOG__PARTITIONS", "0"),
        set("a number below zero: `HIGHWATER__HTTP__BODY_LIMIT_BYTES=-1`", "HIGHWATER__HTTP__BODY_LIMIT_BYTES", "-1"),
        set("a log filter that is none: `HIGHWATER__TELEMETRY__FILTER=x=y=z`", "HIGHWATER__TELEMETRY__FILTER", "x=y=z"),
        set(
            "budgets above the producers' queues: `HIGHWATER__OWNER__IN_FLIGHT_BYTES=99000000`",
            "HIGHWATER__OWNER__IN_FLIGHT_BYTES",
            "99000000",
        ),
        up("`--config` with a file that is not there", &["--config", "gone.toml"], |_, _| {}),
        file("`--config` with a file that is no TOML", "[log\npartitions = 8\n"),
        file("`--config` with an unknown key", "[http]\nport = 8080\n"),
    ]
}

pub fn folder() -> Vec<Start> {
    let written = |name: &'static str, text: &'static str, mode: u32| {
        move |scratch: &Scratch, _: &mut Command| {
            fs::create_dir_all(scratch.data()).unwrap();
            fs::write(scratch.data().join("version"), "1\n").unwrap();
            let path = scratch.data().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    let keys = "deployment.keys";
    vec![
        up("a key file that others can read", &[], written(keys, "", 0o644)),
        up("a key file without a key", &[], written(keys, "# nothing\n", 0o600)),
        up("a key that is too short", &[], written(keys, "1:abcdef\n", 0o600)),
        up("a folder that a newer release wrote", &[], written("version", "2\n", 0o644)),
        up("a folder with other files", &[], |scratch, _| {
            fs::create_dir_all(scratch.data()).unwrap();
            fs::write(scratch.data().join("thesis.tex"), "").unwrap();
        }),
        other_partitions(),
        other_keys(),
        up("a file instead of a folder", &[], |scratch, _| fs::write(scratch.data(), "").unwrap()),
        in_use(),
    ]
}

fn other_partitions() -> Start {
    let scratch = Scratch::new("start");
    Up::start(&scratch).stop();
    let refusal = refused(command(&scratch).args(["--listen", "127.0.0.1:0"]).env("HIGHWATER__LOG__PARTITIONS", "4"), scratch.path());
    Start { what: "a folder whose log has 8 partitions, with `HIGHWATER__LOG__PARTITIONS=4`", refusal }
}

fn other_keys() -> Start {
    let scratch = Scratch::new("start");
    Up::start(&scratch).stop();
    keys_in(&scratch.data());
    let mut refusal = refused(command(&scratch).args(["--listen", "127.0.0.1:0"]), scratch.path());
    // The check values of the two keys.
    refusal.message = without_hex(&refusal.message);
    Start { what: "a folder whose log was made with another deployment key", refusal }
}

/// Every check value, `number:` and 32 hexadecimal digits, becomes `CHECK`.
fn without_hex(text: &str) -> String {
    let is_check = |word: &&str| word.split_once(':').is_some_and(|(_, hex)| hex.len() == 32 && hex.chars().all(|c| c.is_ascii_hexdigit()));
    let words = text.split_inclusive([' ', ',', ')']);
    let masked = words.map(|word| {
        let bare = word.trim_end_matches([' ', ',', ')']);
        if is_check(&bare) { word.replace(bare, "CHECK") } else { word.to_owned() }
    });
    masked.collect()
}

/// A folder that another living process has; that one serves on.
fn in_use() -> Start {
    let scratch = Scratch::new("start");
    let first = Up::start(&scratch);
    let refusal = refused(command(&scratch).args(["--listen", "127.0.0.1:0"]), scratch.path());
    first.stop();
    Start { what: "a folder that another living process uses", refusal }
}

/// `empty` is the URL of a database without tables.
pub fn database(empty: &str) -> Vec<Start> {
    let (away, log) = (format!("postgres://highwater@{}/highwater", nobody()), nobody());
    let service = |what, name: &str, url: &str| {
        let scratch = Scratch::new("start");
        let mut command = bare(&program(name));
        command.current_dir(scratch.path()).env("HIGHWATER__LOG__KAFKA", &log).env("HIGHWATER__IDENTITY__KEYS", keys_in(scratch.path()));
        for (section, listen) in [("OWNER", "HTTP"), ("PROJECTOR", "PROJECTOR"), ("QUERY", "QUERY")] {
            command.env(format!("HIGHWATER__{section}__DATABASE__URL"), url).env(format!("HIGHWATER__{listen}__LISTEN"), "127.0.0.1:0");
        }
        Start { what, refusal: refused(&mut command, scratch.path()) }
    };
    vec![
        up("`up --database-url` where nobody listens", &["--database-url", &away], |_, _| {}),
        up("`up --database-url nonsense`", &["--database-url", "nonsense"], |_, _| {}),
        service("`command-api` on a database without tables", "command-api", empty),
        service("`query-api` on a database without tables", "query-api", empty),
        service("`projectors` on a database without tables", "projectors", empty),
        service("`command-api` with a database where nobody listens", "command-api", &away),
        service("`query-api` with a database where nobody listens", "query-api", &away),
    ]
}

fn keys_in(folder: &Path) -> PathBuf {
    let path = folder.join("deployment.keys");
    fs::write(&path, format!("1:{}\n", "5a".repeat(32))).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// A Kafka of one broker; `database` is the URL of one that `up` may use.
pub fn kafka(database: &str) -> Vec<Start> {
    let scratch = Scratch::new("start-kafka");
    let broker = Broker::start(&scratch.path().join("kafka"));
    let kept = ["retention.ms=-1", "message.timestamp.type=LogAppendTime"];
    broker.create_topic("narrow.order.events", "3", &kept);
    broker.create_topic("lax.order.events", "8", &["cleanup.policy=compact"]);
    let on = |what, prefix: &'static str, arguments: &[&str]| {
        let arguments = [&["--kafka", broker.bootstrap.as_str(), "--database-url", database], arguments].concat();
        up(what, &arguments, |_, command| {
            command.env("HIGHWATER__LOG__PREFIX", prefix);
        })
    };
    vec![
        up("`--kafka` where nobody listens", &["--kafka", &nobody()], |_, _| {}),
        on("a single broker without `--development`", "single", &[]),
        on("a topic with another number of partitions", "narrow", &["--development"]),
        on("a topic without the promised settings", "lax", &["--development"]),
    ]
}
