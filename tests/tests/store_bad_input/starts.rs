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

/// `up` on a port of its own choice with more arguments, and with `prepare` done to the scratch
/// folder before.
fn up(
    what: &'static str,
    arguments: &[&str],
    prepare: impl FnOnce(&Scratch, &mut Command),
) -> Start {
    let scratch = Scratch::new("start");
    let mut command = command(&scratch);
    if !arguments.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    command.args(arguments).env("HIGHWATER__START__WAIT_MS", "1000");
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

/// An address where nothing listens.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

pub fn settings() -> Vec<Start> {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let in_use = taken.local_addr().unwrap().to_string();
    let file = |what, text: &'static str| {
        up(what, &["--config", "settings.toml"], move |scratch, _| {
            fs::write(scratch.path().join("settings.toml"), text).unwrap()
        })
    };
    vec![
        up(
            "`--listen 0.0.0.0:8080` without `--insecure`",
            &["--listen", "0.0.0.0:8080"],
            |_, _| {},
        ),
        up("`--listen` with an address that is in use", &["--listen", &in_use], |_, _| {}),
        service_in_use("`command-api` on a port that is in use", "command-api", &in_use),
        service_in_use("`projectors` on a port that is in use", "projectors", &in_use),
        service_in_use("`query-api` on a port that is in use", "query-api", &in_use),
        up("`--listen here`", &["--listen", "here"], |_, _| {}),
        set("an unknown key: `HIGHWATER__LOG__PARTITION=8`", "HIGHWATER__LOG__PARTITION", "8"),
        set("an unknown section: `HIGHWATER__NOBODY__KEY=1`", "HIGHWATER__NOBODY__KEY", "1"),
        set(
            "a value that is no number: `HIGHWATER__LOG__PARTITIONS=many`",
            "HIGHWATER__LOG__PARTITIONS",
            "many",
        ),
        set("no partition: `HIGHWATER__LOG__PARTITIONS=0`", "HIGHWATER__LOG__PARTITIONS", "0"),
        set(
            "a number below zero: `HIGHWATER__HTTP__BODY_LIMIT_BYTES=-1`",
            "HIGHWATER__HTTP__BODY_LIMIT_BYTES",
            "-1",
        ),
        set(
            "a log filter that is none: `HIGHWATER__TELEMETRY__FILTER=x=y=z`",
            "HIGHWATER__TELEMETRY__FILTER",
            "x=y=z",
        ),
        set(
            "queues without room for the largest commits: `HIGHWATER__LOG__QUEUE_KBYTES=1000`",
            "HIGHWATER__LOG__QUEUE_KBYTES",
            "1000",
        ),
        set(
            "an address with a path: `HIGHWATER__PEERS__ADVERTISE=http://127.0.0.1:8080/v1`",
            "HIGHWATER__PEERS__ADVERTISE",
            "http://127.0.0.1:8080/v1",
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
    let refusal = refused(
        command(&scratch).args(["--listen", "127.0.0.1:0"]).env("HIGHWATER__LOG__PARTITIONS", "4"),
        scratch.path(),
    );
    Start {
        what: "a folder whose log has 8 partitions, with `HIGHWATER__LOG__PARTITIONS=4`",
        refusal,
    }
}

fn other_keys() -> Start {
    let scratch = Scratch::new("start");
    Up::start(&scratch).stop();
    keys_in(&scratch.data());
    let mut refusal = refused(command(&scratch).args(["--listen", "127.0.0.1:0"]), scratch.path());
    // The check values of the two keys.
    refusal.message = without_checks(&refusal.message);
    Start { what: "a folder whose log was made with another deployment key", refusal }
}

/// Every check value becomes `CHECK`: of a key, `number:` and 32 hexadecimal digits, or of a
/// database, a UUID.
fn without_checks(text: &str) -> String {
    const ENDS: [char; 4] = [' ', ',', ')', '`'];
    let is_check = |word: &str| {
        let digits = word.rsplit(':').next().unwrap_or_default().replace('-', "");
        digits.len() == 32 && digits.chars().all(|c| c.is_ascii_hexdigit())
    };
    let masked = text.split_inclusive(ENDS).map(|word| {
        let bare = word.trim_end_matches(ENDS);
        if is_check(bare) { word.replace(bare, "CHECK") } else { word.to_owned() }
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

/// A process of its own, that is to listen there.
fn service(name: &str, scratch: &Scratch, log: &str, database: &str, listen: &str) -> Command {
    let mut command = bare(&program(name));
    command.env("HIGHWATER__START__WAIT_MS", "1000");
    command
        .current_dir(scratch.path())
        .env("HIGHWATER__LOG__KAFKA", log)
        .env("HIGHWATER__IDENTITY__KEYS", keys_in(scratch.path()));
    for (section, listens) in [("OWNER", "HTTP"), ("PROJECTOR", "PROJECTOR"), ("QUERY", "QUERY")] {
        command
            .env(format!("HIGHWATER__{section}__DATABASE__URL"), database)
            .env(format!("HIGHWATER__{listens}__LISTEN"), listen);
    }
    command
}

fn service_in_use(what: &'static str, name: &str, listen: &str) -> Start {
    let (scratch, nobody) = (Scratch::new("start"), nobody());
    let database = format!("postgres://highwater@{nobody}/highwater");
    Start {
        what,
        refusal: refused(&mut service(name, &scratch, &nobody, &database, listen), scratch.path()),
    }
}

/// `empty` is the URL of a database without tables.
pub fn database(empty: &str) -> Vec<Start> {
    let (away, log) = (format!("postgres://highwater@{}/highwater", nobody()), nobody());
    let service = |what, name: &str, url: &str| {
        let scratch = Scratch::new("start");
        Start {
            what,
            refusal: refused(
                &mut service(name, &scratch, &log, url, "127.0.0.1:0"),
                scratch.path(),
            ),
        }
    };
    vec![
        up("`up --database-url` where nothing listens", &["--database-url", &away], |_, _| {}),
        up("`up --database-url nonsense`", &["--database-url", "nonsense"], |_, _| {}),
        service("`command-api` on a database without tables", "command-api", empty),
        service("`query-api` on a database without tables", "query-api", empty),
        service("`projectors` on a database without tables", "projectors", empty),
        service("`command-api` with a database where nothing listens", "command-api", &away),
        service("`query-api` with a database where nothing listens", "query-api", &away),
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
        let arguments =
            [&["--kafka", broker.bootstrap.as_str(), "--database-url", database], arguments]
                .concat();
        up(what, &arguments, |_, command| {
            command.env("HIGHWATER__LOG__PREFIX", prefix);
        })
    };
    let mut starts = vec![
        up("`--kafka` where nothing listens", &["--kafka", &nobody()], |_, _| {}),
        on("a single broker without `--development`", "single", &[]),
        on("a topic with another number of partitions", "narrow", &["--development"]),
        on("a topic without the promised settings", "lax", &["--development"]),
    ];
    starts.extend(foreign(&broker.bootstrap, database));
    starts
}

/// What does not belong to the deployment that the log was made by; `database` is the URL of
/// another one's.
fn foreign(broker: &str, database: &str) -> Vec<Start> {
    let (first, second) = (Scratch::new("start-first"), Scratch::new("start-second"));
    let of = |scratch: &Scratch| {
        let mut command = command(scratch);
        command
            .args(["--listen", "127.0.0.1:0", "--kafka", broker, "--development"])
            .env("HIGHWATER__LOG__PREFIX", "taken");
        command
    };
    Up::of(&mut of(&first)).stop();
    let mut starts = vec![Start {
        what: "`up` with another deployment key than the log was made with",
        refusal: refused(of(&second).args(["--database-url", database]), second.path()),
    }];
    fs::copy(first.data().join("deployment.keys"), second.data().join("deployment.keys")).unwrap();
    starts.push(Start {
        what: "`up` with a second database on the log of another",
        refusal: refused(of(&second).args(["--database-url", database]), second.path()),
    });
    let mut alone = service("projectors", &second, broker, database, "127.0.0.1:0");
    alone.env("HIGHWATER__LOG__PREFIX", "taken").env("HIGHWATER__LOG__DEVELOPMENT", "true");
    starts.push(Start {
        what: "`projectors` with a second database on the log of another",
        refusal: refused(&mut alone, second.path()),
    });
    for start in &mut starts {
        start.refusal.message = without_checks(&start.refusal.message);
    }
    starts
}
