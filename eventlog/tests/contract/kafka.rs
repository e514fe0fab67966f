//! The suite on `KafkaLog`, against a real Kafka: `HIGHWATER_TEST_KAFKA` names its bootstrap servers; without it, one broker is
//! started through `bin/kafka` and ends with this process.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, LazyLock},
};

use eventlog::{Error, KafkaLog, Log, Topic, TopicKind, kafka::Settings};

use crate::fixture::{Fixture, Folder, soon, unique};

/// Bootstrap servers; and the process that takes the broker away when its standard input ends.
static KAFKA: LazyLock<(String, Option<Child>)> = LazyLock::new(|| match std::env::var("HIGHWATER_TEST_KAFKA") {
    Ok(bootstrap) => (bootstrap, None),
    Err(_) => start_broker(),
});

/// The shell outlives this process, however that ends: then its standard input does, and it takes the broker and the folder away.
const KEEPER: &str = r#"
trap '' INT TERM
if "$0" start "$1" 1; then cat >/dev/null; fi
"$0" kill "$1" 1
rm -rf "$1"
"#;

fn start_broker() -> (String, Option<Child>) {
    let bin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bin/kafka");
    let folder = Folder::new();
    let mut keeper = Command::new("bash")
        .args(["-c", KEEPER])
        .arg(bin)
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("bash");
    // The keeper removes it.
    std::mem::forget(folder);
    let mut bootstrap = String::new();
    BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut bootstrap).unwrap();
    assert!(bootstrap.contains(':'), "bin/kafka did not start a broker; see its output above");
    (bootstrap.trim().to_owned(), Some(keeper))
}

fn settings() -> Settings {
    Settings { development: true, ..Settings::new(&KAFKA.0) }
}

async fn log(settings: Settings) -> Arc<dyn Log> {
    let log = tokio::task::spawn_blocking(move || KafkaLog::new(settings)).await.unwrap();
    Arc::new(log.unwrap())
}

async fn one_producer() -> Fixture {
    let settings = tokio::task::spawn_blocking(settings).await.unwrap();
    Fixture::new(log(settings).await, ()).await
}

crate::contract!(one_producer());

/// With hardly any buffers: readers are paused and resumed all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_reader_misses_nothing() {
    let settings = tokio::task::spawn_blocking(settings).await.unwrap();
    let narrow = Settings { reader_chunks: 1, reader_buffer_records: 1_500, ..settings };
    let fixture = Fixture::new(log(narrow).await, ()).await;
    crate::suite::a_reader_that_is_behind_misses_nothing_and_holds_nobody_up(&fixture).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_share_producers_by_their_number() {
    let settings = tokio::task::spawn_blocking(settings).await.unwrap();
    let fixture = Fixture::new(log(Settings { producers: 2, ..settings }).await, ()).await;
    let slots: Vec<usize> = (0..3).map(|p| fixture.log.producer_of(&fixture.partition(p))).collect();
    assert_eq!(slots, [0, 1, 0]);
    crate::suite::every_append_is_reported_once_and_in_sequence(&fixture).await;
}

#[tokio::test]
async fn few_replicas_are_refused_outside_development() {
    let settings = tokio::task::spawn_blocking(settings).await.unwrap();
    let strict = log(Settings { development: false, ..settings.clone() }).await;
    let topic = |name: &str| Topic { name: unique(name).into(), partitions: 2, kind: TopicKind::Events };
    let (made, new) = (topic("made"), topic("new"));
    soon(log(Settings { replication: 1, ..settings }).await.prepare(vec![made.clone()])).await.unwrap();
    let refused = soon(strict.prepare(vec![made.clone()])).await.unwrap_err();
    let message = refused.to_string();
    assert!(matches!(refused, Error::Promise(_)), "{message}");
    assert!(message.contains(&format!("topic {}: replication factor is 1, must be at least 3", made.name)), "{message}");
    // On the one broker that was started here, such a topic is not made either; on three, it is, and keeps every promise.
    let prepared = soon(strict.prepare(vec![new.clone()])).await;
    if KAFKA.1.is_some() {
        let message = prepared.unwrap_err().to_string();
        assert!(message.contains(&format!("topic {}: replication factor is at most 1", new.name)), "{message}");
    } else {
        prepared.unwrap();
    }
}

#[tokio::test]
async fn a_session_below_the_brokers_minimum_is_a_start_up_error() {
    let settings = tokio::task::spawn_blocking(settings).await.unwrap();
    let log = log(Settings { session_timeout: std::time::Duration::from_secs(3), ..settings }).await;
    let refused = soon(log.prepare(Vec::new())).await.unwrap_err().to_string();
    assert!(refused.contains("group.min.session.timeout.ms") && refused.contains("3000"), "{refused}");
}

#[tokio::test]
async fn no_broker_is_a_clear_error() {
    let nobody = Settings { request_timeout: std::time::Duration::from_secs(1), ..Settings::new("127.0.0.1:1") };
    let log = log(nobody).await;
    for error in [soon(log.prepare(Vec::new())).await.unwrap_err(), soon(log.health()).await.unwrap_err()] {
        assert!(matches!(error, Error::Unreachable(_)), "{error}");
    }
}
