//! What only the local log promises: survival, recovery from I/O errors, a full disk, one process
//! at a time, reading from others.

use std::{
    future::Future,
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use highwater_protocol::record::Record;
use tokio::io::AsyncWriteExt;

use super::{LocalLog, LocalReader, Settings, serve, store};
use crate::documented::Row;
use crate::{
    log::{
        Appended, Delivery, Error, Log, Partition, Reply, ReportError, Ticket, Topic, TopicKind,
    },
    raw::RawReader,
};

/// Faults that a test switches on.
#[derive(Default)]
pub struct Faults {
    /// So many commits fail with an I/O error.
    pub failing_commits: AtomicU32,
    pub disk_full: AtomicBool,
}

impl Faults {
    pub fn before_commit(&self, folder: &Path) -> Result<(), store::Error> {
        let broken = |kind: io::ErrorKind| {
            Err(store::Error::Io { folder: folder.to_owned(), source: kind.into() })
        };
        if self.disk_full.load(Ordering::Acquire) {
            return broken(io::ErrorKind::StorageFull);
        }
        let failing = self
            .failing_commits
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1));
        if failing.is_ok() { broken(io::ErrorKind::Other) } else { Ok(()) }
    }

    pub fn probe(&self) -> io::Result<()> {
        if self.disk_full.load(Ordering::Acquire) {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }
}

fn folder() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "names must differ between test runs")]
    let name = uuid::Uuid::new_v4().simple().to_string();
    std::env::temp_dir().join(format!("local-log-{name}"))
}

struct Opened {
    log: LocalLog,
    folder: PathBuf,
}

impl Drop for Opened {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn open() -> Opened {
    let folder = folder();
    let settings = Settings {
        retry_every: Duration::from_millis(5),
        spare_bytes: 1 << 16,
        ..Settings::default()
    };
    let log = LocalLog::open(&folder, settings).unwrap();
    log.prepare(vec![topic()]).await.unwrap();
    Opened { log, folder }
}

fn topic() -> Topic {
    Topic { name: "things".into(), partitions: 2, kind: TopicKind::Events }
}

fn partition() -> Partition {
    Partition { topic: "things".into(), index: 1 }
}

fn record(n: u8) -> Record {
    Record { value: Some(vec![n; 10]), ..Record::default() }
}

async fn append(log: &LocalLog, n: u8) -> Result<Result<Appended, ReportError>, Error> {
    append_to(log, &partition(), n).await
}

async fn append_to(
    log: &LocalLog,
    partition: &Partition,
    n: u8,
) -> Result<Result<Appended, ReportError>, Error> {
    let (to, mut reports) = tokio::sync::mpsc::unbounded_channel();
    log.append(
        partition,
        record(n),
        Reply { ticket: Ticket { writer: uuid::Uuid::nil(), seq: None }, to },
    )?;
    Ok(soon(reports.recv()).await.unwrap().result)
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.unwrap()
}

async fn healthy(log: &LocalLog) {
    soon(log.shared.watch_trouble().wait_for(Option::is_none)).await.unwrap();
}

#[tokio::test]
async fn after_an_io_error_the_store_is_opened_again_before_it_serves() {
    let opened = open().await;
    let log = &opened.log;
    assert_eq!(append(log, 0).await.unwrap(), Ok(Appended::At(0)));
    let mut subscription = log.read(&partition(), 0).unwrap();
    log.shared.faults.failing_commits.store(1, Ordering::Release);
    assert!(matches!(append(log, 1).await.unwrap(), Err(ReportError::Failed(_))));
    healthy(log).await;
    assert_eq!(append(log, 2).await.unwrap(), Ok(Appended::At(1)), "offsets stay dense");
    let mut values = Vec::new();
    while values.len() < 2 {
        match soon(subscription.deliveries.recv()).await.unwrap() {
            Delivery::Records(records) => {
                values.extend(records.into_iter().map(|stored| stored.record))
            }
            Delivery::CaughtUp(_) | Delivery::Trouble(_) => {}
            Delivery::Failed(error) => panic!("{error}"),
        }
    }
    assert_eq!(values, [record(0), record(2)], "a reader lives through it");
}

#[tokio::test]
async fn a_store_that_lost_records_goes_on_where_it_ends() {
    let opened = open().await;
    let log = &opened.log;
    assert_eq!(append(log, 0).await.unwrap(), Ok(Appended::At(0)));
    // As if more had been acknowledged than the disk has.
    log.shared.topic(&partition()).unwrap().end(1).send_replace(5);
    let mut subscription = log.read(&partition(), 5).unwrap();
    log.shared.faults.failing_commits.store(1, Ordering::Release);
    assert!(matches!(append(log, 1).await.unwrap(), Err(ReportError::Failed(_))));
    healthy(log).await;
    assert_eq!(Log::end(log, &partition()).await.unwrap(), 1);
    let failed = soon(async {
        loop {
            match subscription.deliveries.recv().await.unwrap() {
                Delivery::Failed(error) => return error,
                Delivery::Records(records) => panic!("{records:?}"),
                Delivery::CaughtUp(_) | Delivery::Trouble(_) => {}
            }
        }
    });
    assert!(
        failed.await.to_string().contains("offset 5 is outside the log"),
        "a reader beyond it hears so"
    );
    assert_eq!(append(log, 2).await.unwrap(), Ok(Appended::At(1)), "no offset is left out");
}

#[tokio::test]
async fn a_topic_of_another_kind_is_refused() {
    let opened = open().await;
    let other = Topic { kind: TopicKind::Commands, ..topic() };
    let refused = opened.log.prepare(vec![other]).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Promise(said) if said.contains("kind is events, must be \
            commands")),
        "{refused}"
    );
}

#[tokio::test]
async fn on_a_full_disk_reads_go_on_and_appends_come_back_with_the_space() {
    let opened = open().await;
    let log = &opened.log;
    append(log, 0).await.unwrap().unwrap();
    log.shared.faults.disk_full.store(true, Ordering::Release);
    assert!(append(log, 1).await.unwrap().is_err());
    let refused = append(log, 2).await.unwrap_err();
    assert!(matches!(refused, Error::ReadOnly(_)), "{refused}");
    assert!(matches!(log.health().await, Err(Error::ReadOnly(_))));
    let full = |trouble: &Option<String>| {
        trouble.as_ref().is_some_and(|trouble| trouble.contains("the disk is full"))
    };
    soon(log.shared.watch_trouble().wait_for(full)).await.unwrap();
    assert_eq!(Log::fetch(log, &partition(), 0, 10).await.unwrap()[0].record, record(0));
    let mut subscription = log.read(&partition(), 0).unwrap();
    assert!(matches!(soon(subscription.deliveries.recv()).await, Some(Delivery::Records(_))));
    log.shared.faults.disk_full.store(false, Ordering::Release);
    healthy(log).await;
    assert_eq!(append(log, 3).await.unwrap(), Ok(Appended::At(1)));
    assert!(log.health().await.is_ok());
}

#[tokio::test]
async fn a_folder_of_a_newer_release_or_of_no_known_format_is_refused() {
    let opened = open().await;
    append(&opened.log, 0).await.unwrap().unwrap();
    opened.log.close(Duration::from_secs(20)).await;
    for (format, said) in [
        ("2\n", "newer release"),
        ("", "does not say"),
        ("one", "does not say"),
        ("0", "does not say"),
    ] {
        std::fs::write(opened.folder.join("FORMAT"), format).unwrap();
        let refused = LocalLog::open(&opened.folder, Settings::default()).unwrap_err().to_string();
        assert!(
            refused.contains(said) && refused.contains(opened.folder.to_str().unwrap()),
            "{refused}"
        );
    }
    std::fs::remove_file(opened.folder.join("FORMAT")).unwrap();
    let refused = LocalLog::open(&opened.folder, Settings::default()).unwrap_err().to_string();
    assert!(refused.contains("holds no log"), "a store whose format is not known: {refused}");
    std::fs::write(opened.folder.join("FORMAT"), "1\n").unwrap();
    let log = LocalLog::open(&opened.folder, Settings::default()).unwrap();
    assert_eq!(Log::end(&log, &partition()).await.unwrap(), 1);
    assert!(matches!(
        LocalReader::open(folder()).await,
        Err(Error::Unreachable(why)) if why.contains("holds no log")
    ));
}

#[tokio::test]
async fn the_socket_is_for_its_owner_only_and_answers_what_the_log_would() {
    let opened = open().await;
    for n in 0..10 {
        append(&opened.log, n).await.unwrap().unwrap();
    }
    let socket = opened.folder.join(serve::SOCKET);
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let reader = LocalReader::open(&opened.folder).await.unwrap();
    assert_eq!(reader.topics().await.unwrap(), RawReader::topics(&opened.log).await.unwrap());
    assert_eq!(reader.end(&partition()).await.unwrap(), 10);
    let direct = Log::fetch(&opened.log, &partition(), 4, 3).await.unwrap();
    assert_eq!(reader.fetch(&partition(), 4, 3).await.unwrap(), direct);
    assert_eq!(reader.fetch(&partition(), 10, 3).await.unwrap(), []);
    let refused = reader.fetch(&partition(), 11, 3).await.unwrap_err().to_string();
    assert!(refused.contains("things/1") || refused.contains("offset 11"), "{refused}");

    let mut stranger = tokio::net::UnixStream::connect(&socket).await.unwrap();
    serve::write_frame(&mut stranger, b"\xff not a request").await.unwrap();
    let answer = soon(serve::read_frame(&mut stranger, 1 << 20)).await.unwrap().unwrap();
    assert_eq!(answer[0], serve::REFUSED);
    stranger.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
    assert!(
        matches!(soon(serve::read_frame(&mut stranger, 1 << 20)).await, Ok(None) | Err(_)),
        "closed, nothing was allocated"
    );

    opened.log.close(Duration::from_secs(20)).await;
    let reader = LocalReader::open(&opened.folder).await.unwrap();
    assert_eq!(
        reader.fetch(&partition(), 4, 3).await.unwrap(),
        direct,
        "directly, once no process holds the store"
    );
}

#[tokio::test]
async fn a_folder_with_a_path_longer_than_a_sockets_is_read_while_it_is_open() {
    let opened = open().await;
    let deep = (0..6).fold(opened.folder.join("deep"), |path, _| {
        path.join("a-folder-with-a-long-name-0123456789")
    });
    assert!(deep.as_os_str().len() > 200);
    std::fs::create_dir_all(deep.parent().unwrap()).unwrap();
    let log = LocalLog::open(&deep, Settings::default()).unwrap();
    log.prepare(vec![topic()]).await.unwrap();
    let reader = LocalReader::open(&deep).await.unwrap();
    assert_eq!(reader.topics().await.unwrap(), RawReader::topics(&log).await.unwrap());
    log.close(Duration::from_secs(20)).await;
    Row {
        id: "P9",
        situation: "a data folder whose path is longer than a socket's may be (107 bytes on Linux)",
        answer: "`audit`, `lag` and `replay` read it while `up` runs, through the folder itself; \
                 where there is no /proc, a message asks \
                 for a shorter path",
        test: (file!(), "a_folder_with_a_path_longer_than_a_sockets_is_read_while_it_is_open"),
    }
    .check();
}

#[tokio::test]
async fn the_queue_is_bounded_by_records_and_bytes() {
    let folder = folder();
    let settings = Settings { queue_bytes: 1_000, record_bytes: 500, ..Settings::default() };
    let log = LocalLog::open(&folder, settings).unwrap();
    log.prepare(vec![topic()]).await.unwrap();
    // Nothing is taken from the queue while the store does not answer.
    let (to, _reports) = tokio::sync::mpsc::unbounded_channel();
    let ticket = Ticket { writer: uuid::Uuid::nil(), seq: None };
    let large = Record { value: Some(vec![0; 501]), ..Record::default() };
    let refused =
        log.append(&partition(), large, Reply { ticket, to: to.clone() }).unwrap_err().to_string();
    assert!(refused.contains("things/1") && refused.contains("500"), "{refused}");
    assert!(log.shared.reserve(900));
    let half = Record { value: Some(vec![0; 400]), ..Record::default() };
    let full = log
        .append(&partition(), half.clone(), Reply { ticket, to: to.clone() })
        .unwrap_err()
        .to_string();
    assert!(full.contains("queue"), "{full}");
    log.shared.unreserve(900);
    log.append(&partition(), half.clone(), Reply { ticket, to }).unwrap();
    // What is written leaves its room to the next.
    for _ in 0..5 {
        let (to, mut reports) = tokio::sync::mpsc::unbounded_channel();
        log.append(&partition(), half.clone(), Reply { ticket, to }).unwrap();
        assert!(soon(reports.recv()).await.unwrap().result.is_ok());
    }
    log.close(Duration::from_secs(20)).await;
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn accepted_commands_are_forgotten_when_they_are_old_but_the_last_one_is_not() {
    let (folder, now_ms) = (folder(), Arc::new(AtomicI64::new(1_000_000)));
    let clock = now_ms.clone();
    let settings = Settings {
        keep_commands: Duration::from_secs(60),
        forget_every: Duration::from_millis(1),
        clock: Arc::new(move || clock.load(Ordering::Acquire)),
        ..Settings::default()
    };
    let opened = Opened { log: LocalLog::open(&folder, settings.clone()).unwrap(), folder };
    let log = &opened.log;
    let (events, commands) = (partition(), Partition { topic: "accepted".into(), index: 1 });
    let accepted = Topic { name: commands.topic.clone(), partitions: 2, kind: TopicKind::Commands };
    log.prepare(vec![topic(), accepted]).await.unwrap();
    for n in 0..3 {
        append(log, n).await.unwrap().unwrap();
        append_to(log, &commands, n).await.unwrap().unwrap();
    }
    now_ms.fetch_add(59_000, Ordering::AcqRel);
    append_to(log, &commands, 3).await.unwrap().unwrap();
    append_to(log, &commands, 4).await.unwrap().unwrap();
    assert_eq!(Log::begin(log, &commands).await.unwrap(), 0, "they are young");

    now_ms.fetch_add(2_000, Ordering::AcqRel);
    begins_at(log, &commands, 3).await;
    let outside = Log::fetch(log, &commands, 2, 10).await.unwrap_err().to_string();
    assert!(outside.contains("offset 2 is outside the log, which begins at 3"), "{outside}");
    let mut subscription = log.read(&commands, 2).unwrap();
    assert!(matches!(soon(subscription.deliveries.recv()).await, Some(Delivery::Failed(_))));
    assert_eq!(Log::fetch(log, &commands, 3, 10).await.unwrap().len(), 2);

    now_ms.fetch_add(1_000_000, Ordering::AcqRel);
    begins_at(log, &commands, 4).await;
    let reader = LocalReader::open(&opened.folder).await.unwrap();
    assert_eq!(
        (reader.begin(&commands).await.unwrap(), reader.end(&commands).await.unwrap()),
        (4, 5)
    );
    assert_eq!(
        (Log::begin(log, &events).await.unwrap(), Log::end(log, &events).await.unwrap()),
        (0, 3),
        "events stay"
    );

    log.close(Duration::from_secs(20)).await;
    let reader = LocalReader::open(&opened.folder).await.unwrap();
    assert_eq!(
        (reader.begin(&commands).await.unwrap(), reader.end(&commands).await.unwrap()),
        (4, 5)
    );
    drop(reader);
    let again = LocalLog::open(&opened.folder, settings).unwrap();
    assert_eq!(
        (Log::begin(&again, &commands).await.unwrap(), Log::end(&again, &commands).await.unwrap()),
        (4, 5)
    );
    assert_eq!(
        append_to(&again, &commands, 5).await.unwrap(),
        Ok(Appended::At(5)),
        "no offset is given twice"
    );
    again.close(Duration::from_secs(20)).await;
}

/// What was accepted after it stays, too, however old it seems to be: a command queue has no holes.
#[tokio::test]
async fn nothing_is_forgotten_behind_a_command_that_is_young() {
    let (folder, now_ms) = (folder(), Arc::new(AtomicI64::new(1_000_000)));
    let clock = now_ms.clone();
    let settings = Settings {
        keep_commands: Duration::from_secs(60),
        forget_every: Duration::from_millis(1),
        clock: Arc::new(move || clock.load(Ordering::Acquire)),
        ..Settings::default()
    };
    let opened = Opened { log: LocalLog::open(&folder, settings).unwrap(), folder };
    let (log, commands) = (&opened.log, Partition { topic: "accepted".into(), index: 0 });
    log.prepare(vec![Topic {
        name: commands.topic.clone(),
        partitions: 1,
        kind: TopicKind::Commands,
    }])
    .await
    .unwrap();
    append_to(log, &commands, 0).await.unwrap().unwrap();
    now_ms.store(1_050_000, Ordering::Release);
    append_to(log, &commands, 1).await.unwrap().unwrap();
    // The clock was wrong, and is set back.
    now_ms.store(1_001_000, Ordering::Release);
    for n in 2..4 {
        append_to(log, &commands, n).await.unwrap().unwrap();
    }
    now_ms.store(1_065_000, Ordering::Release);
    begins_at(log, &commands, 1).await;
    assert_eq!(Log::fetch(log, &commands, 1, 10).await.unwrap().len(), 3);
    log.close(Duration::from_secs(20)).await;
}

async fn begins_at(log: &LocalLog, of: &Partition, offset: u64) {
    soon(async {
        while Log::begin(log, of).await.unwrap() != offset {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
