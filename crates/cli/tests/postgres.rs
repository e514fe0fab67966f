//! The private Postgres: first start, a restart on the same data, an orphan of a killed process,
//! throw-away servers.

#[path = "../../../tests/support/documented.rs"]
mod documented;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use highwater_cli::postgres::{Error, PrivatePostgres, Settings};
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use documented::Row;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A folder of its own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!(
            "highwater-test-{name}-{}",
            Uuid::from_u128(u128::from(std::process::id()))
        )))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::read_to_string(self.0.join("location")).map(fs::remove_dir_all);
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn settings() -> Settings {
    Settings { shared_buffers_mib: 16, max_connections: 20, ..Settings::default() }
}

async fn one(server: &PrivatePostgres, query: &'static str) -> Result<String, sqlx::Error> {
    let mut connection = PgConnection::connect(&server.url()).await?;
    let answer = sqlx::query_scalar(query).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(answer)
}

async fn run(server: &PrivatePostgres, statement: &'static str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(&server.url()).await?;
    sqlx::query(statement).execute(&mut connection).await?;
    connection.close().await
}

fn postmaster(server: &PrivatePostgres) -> Result<String, std::io::Error> {
    let text = fs::read_to_string(server.dir().join("cluster/postmaster.pid"))?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart_and_fsync_stays_on() -> Outcome {
    let scratch = Scratch::new("restart");
    let server = PrivatePostgres::start(&scratch.0, settings()).await?;
    assert!(!server.adopted());
    assert_eq!(one(&server, "SHOW fsync").await?, "on");
    assert_eq!(one(&server, "SHOW listen_addresses").await?, "127.0.0.1");
    run(&server, "CREATE TABLE kept AS SELECT 'still here' AS word").await?;
    server.stop().await?;

    let server = PrivatePostgres::start(&scratch.0, settings()).await?;
    assert!(!server.adopted());
    assert_eq!(one(&server, "SELECT word FROM kept").await?, "still here");
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_is_refused() -> Outcome {
    let server = PrivatePostgres::temporary().await?;
    let wrong =
        format!("postgres://highwater:wrong@127.0.0.1:{}/highwater?sslmode=disable", server.port());
    assert!(PgConnection::connect(&wrong).await.is_err());
    Ok(())
}

#[tokio::test]
async fn the_orphan_of_a_killed_process_is_adopted() -> Outcome {
    let scratch = Scratch::new("orphan");
    let first = PrivatePostgres::start(&scratch.0, settings()).await?;
    let (port, pid) = (first.port(), postmaster(&first)?);
    // A killed process runs no destructor.
    std::mem::forget(first);

    let second = PrivatePostgres::start(&scratch.0, settings()).await?;
    assert!(second.adopted());
    assert_eq!((second.port(), postmaster(&second)?), (port, pid));
    assert_eq!(one(&second, "SELECT current_database()::text").await?, "highwater");
    Ok(())
}

#[tokio::test]
async fn an_orphan_that_does_not_know_the_password_is_restarted() -> Outcome {
    let scratch = Scratch::new("foreign");
    let first = PrivatePostgres::start(&scratch.0, settings()).await?;
    let pid = postmaster(&first)?;
    run(&first, "CREATE TABLE kept AS SELECT 'still here' AS word").await?;
    // Stopped by a signal it cannot answer: alive, and deaf.
    assert!(Command::new("kill").args(["-STOP", &pid]).status()?.success());
    std::mem::forget(first);
    let waker = tokio::spawn(wake(pid));

    let second = PrivatePostgres::start(&scratch.0, settings()).await?;
    assert!(waker.await?);
    assert!(!second.adopted());
    assert_eq!(one(&second, "SELECT word FROM kept").await?, "still here");
    Ok(())
}

/// Lets the stopped server go on once it has been asked to stop: a process cannot act on a signal
/// while it is stopped.
async fn wake(pid: String) -> bool {
    let (status, deadline) =
        (format!("/proc/{pid}/status"), Instant::now() + Duration::from_secs(30));
    let mut look = tokio::time::interval(Duration::from_millis(20));
    while Instant::now() < deadline
        && !fs::read_to_string(&status).is_ok_and(|text| interrupted(&text))
    {
        look.tick().await;
    }
    Command::new("kill").args(["-CONT", &pid]).status().is_ok_and(|status| status.success())
}

/// Whether SIGINT (2) waits to be delivered.
fn interrupted(status: &str) -> bool {
    let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).map(str::trim);
    pending.and_then(|mask| u64::from_str_radix(mask, 16).ok()).is_some_and(|mask| mask & 2 != 0)
}

#[tokio::test]
async fn a_pid_file_that_names_a_stranger_is_no_obstacle_and_the_stranger_lives() -> Outcome {
    let scratch = Scratch::new("stale");
    let server = PrivatePostgres::start(&scratch.0, settings()).await?;
    let file = server.dir().join("cluster/postmaster.pid");
    let text = fs::read_to_string(&file)?;
    server.stop().await?;
    let mut stranger = Command::new("sleep").arg("600").spawn()?;
    let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
    fs::write(&file, format!("{}\n{rest}", stranger.id()))?;

    let server = PrivatePostgres::start(&scratch.0, settings()).await?;
    assert_eq!(one(&server, "SELECT 'up'").await?, "up");
    assert!(stranger.try_wait()?.is_none(), "the stranger was ended");
    stranger.kill()?;
    stranger.wait()?;
    Ok(())
}

#[tokio::test]
async fn a_crashed_server_recovers() -> Outcome {
    let scratch = Scratch::new("crash");
    let server = PrivatePostgres::start(&scratch.0, settings()).await?;
    run(&server, "CREATE TABLE kept AS SELECT 'still here' AS word").await?;
    assert!(Command::new("kill").args(["-KILL", &postmaster(&server)?]).status()?.success());
    std::mem::forget(server);

    let server = PrivatePostgres::start(&scratch.0, settings()).await?;
    assert_eq!(one(&server, "SELECT word FROM kept").await?, "still here");
    Ok(())
}

#[tokio::test]
async fn a_server_that_dies_under_its_keeper_is_there_again_at_the_same_address() -> Outcome {
    let scratch = Scratch::new("keeper");
    let server = PrivatePostgres::start(&scratch.0, settings()).await?;
    run(&server, "CREATE TABLE kept AS SELECT 'still here' AS word").await?;
    let stop = CancellationToken::new();
    let keeper = tokio::spawn(server.keeper().run(stop.clone()));
    assert!(Command::new("kill").args(["-KILL", &postmaster(&server)?]).status()?.success());

    let deadline = Instant::now() + Duration::from_secs(60);
    let mut look = tokio::time::interval(Duration::from_millis(50));
    let mut answer = one(&server, "SELECT word FROM kept").await;
    while answer.is_err() && Instant::now() < deadline {
        look.tick().await;
        answer = one(&server, "SELECT word FROM kept").await;
    }
    assert_eq!(answer?, "still here");
    stop.cancel();
    keeper.await?;
    Ok(())
}

/// As the initdb of a process that was killed: makes files, and folders that it misses, until it is
/// told to end.
fn orphan(folder: PathBuf, end: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        while !end.load(Ordering::Relaxed) {
            let _ = fs::create_dir_all(folder.join("base/1"));
            let _ = fs::write(folder.join("base/1/1259"), "half");
        }
    })
}

#[tokio::test]
async fn an_initdb_that_outlived_a_killed_process_blocks_no_start_and_its_folder_goes_later()
-> Outcome {
    let scratch = Scratch::new("orphaned-initdb");
    let (left, end) = (scratch.0.join("cluster.new"), Arc::new(AtomicBool::new(false)));
    let busy = orphan(left.clone(), Arc::clone(&end));
    while !left.join("base/1/1259").exists() {
        tokio::task::yield_now().await;
    }
    let started = PrivatePostgres::start(&scratch.0, settings()).await;
    end.store(true, Ordering::Relaxed);
    busy.join().map_err(|_| "the orphan panicked")?;
    let server = started?;
    assert_eq!(one(&server, "SELECT 'up'").await?, "up");
    let home = server.dir().to_owned();
    server.stop().await?;

    fs::create_dir_all(home.join("cluster.new-1/base"))?;
    PrivatePostgres::start(&scratch.0, settings()).await?.stop().await?;
    let names: Vec<_> =
        fs::read_dir(&home)?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<_>>()?;
    assert!(
        names.iter().all(|name| !name.to_string_lossy().starts_with("cluster.new")),
        "{names:?}"
    );
    Row {
        id: "P12",
        situation: "`kill -9` of `up` while initdb makes its private Postgres, and `up` again at \
                    once, while that initdb still writes",
        answer: "the next start makes the data in a folder of its own and serves; what is left of \
                 the other goes then, or at a later start",
        test: (
            file!(),
            "an_initdb_that_outlived_a_killed_process_blocks_no_start_and_its_folder_goes_later",
        ),
    }
    .check();
    Ok(())
}

#[tokio::test]
async fn a_password_that_was_emptied_is_named() -> Outcome {
    let scratch = Scratch::new("emptied");
    let server = PrivatePostgres::start(&scratch.0, settings()).await?;
    let file = server.dir().join("password");
    server.stop().await?;
    fs::write(&file, "")?;
    let said = PrivatePostgres::start(&scratch.0, settings())
        .await
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(said.contains("password: it is empty"), "{said}");
    Ok(())
}

#[tokio::test]
async fn data_of_another_major_version_is_named_and_left_alone() -> Outcome {
    let scratch = Scratch::new("version");
    let server = PrivatePostgres::start(&scratch.0, settings()).await?;
    let file = server.dir().join("cluster/PG_VERSION");
    server.stop().await?;
    fs::write(&file, "9\n")?;
    let error = PrivatePostgres::start(&scratch.0, settings()).await.err();
    assert!(matches!(&error, Some(Error::OtherVersion { found, .. }) if found == "9"), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn a_folder_that_the_server_may_not_enter_is_replaced_by_one_that_it_may() -> Outcome {
    let scratch = Scratch::new("closed");
    fs::create_dir_all(&scratch.0)?;
    fs::set_permissions(&scratch.0, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let (dir, fallback) = (scratch.0.join("postgres"), Scratch::new("fallback"));
    for _ in 0..2 {
        let server =
            PrivatePostgres::start(&dir, Settings { fallback: fallback.0.clone(), ..settings() })
                .await?;
        // Only root starts the server as another user, which cannot enter.
        let root = fs::metadata("/proc/self")
            .is_ok_and(|process| std::os::unix::fs::MetadataExt::uid(&process) == 0);
        assert_eq!(server.dir().starts_with(&fallback.0), root, "{}", server.dir().display());
        assert_eq!(one(&server, "SELECT 'up'").await?, "up");
        server.stop().await?;
    }
    Ok(())
}

/// As the operator does it.
fn copy(from: &Path, to: &Path) -> Outcome {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status()?.success());
    Ok(())
}

#[tokio::test]
async fn a_copy_of_a_data_folder_does_not_get_the_database_of_the_original() -> Outcome {
    let (data, copied, renamed) =
        (Scratch::new("original"), Scratch::new("copy"), Scratch::new("renamed"));
    let (fallback, second) = (Scratch::new("original-fallback"), Scratch::new("second-database"));
    fs::create_dir_all(&data.0)?;
    fs::set_permissions(&data.0, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let settings = || Settings { fallback: fallback.0.clone(), ..settings() };
    let server = PrivatePostgres::start(&data.0.join("postgres"), settings()).await?;
    run(&server, "CREATE TABLE whose AS SELECT 'the original' AS word").await?;
    let (elsewhere, home) = (server.dir().starts_with(&fallback.0), server.dir().to_owned());
    server.stop().await?;

    copy(&data.0, &copied.0)?;
    if elsewhere {
        let refused = PrivatePostgres::start(&copied.0.join("postgres"), settings()).await.err();
        let said = refused.as_ref().map(ToString::to_string).unwrap_or_default();
        assert!(
            matches!(refused, Some(Error::Copy { .. }))
                && said.contains("copy")
                && said.contains("location"),
            "{said}"
        );
        // What the message asks for.
        copy(&home, &second.0)?;
        fs::write(copied.0.join("postgres/location"), second.0.as_os_str().as_encoded_bytes())?;
    }
    let server = PrivatePostgres::start(&copied.0.join("postgres"), settings()).await?;
    run(&server, "UPDATE whose SET word = 'the copy'").await?;
    server.stop().await?;

    // A renamed folder keeps its database.
    fs::rename(&data.0, &renamed.0)?;
    for _ in 0..2 {
        let server = PrivatePostgres::start(&renamed.0.join("postgres"), settings()).await?;
        assert_eq!(one(&server, "SELECT word FROM whose").await?, "the original");
        server.stop().await?;
    }
    Row {
        id: "P6",
        situation: "root; the private Postgres lies elsewhere, because its user cannot enter the \
                    data folder; `cp -a data copy`, `up --data copy`",
        answer: "refused, naming both folders and what to copy besides; the copy with a copied \
                 database changes nothing in the original, \
                 and a folder that is renamed keeps its database",
        test: (file!(), "a_copy_of_a_data_folder_does_not_get_the_database_of_the_original"),
    }
    .check();
    Ok(())
}

#[tokio::test]
async fn data_of_another_user_is_left_as_it_is() -> Outcome {
    let scratch = Scratch::new("foreign-data");
    let cluster = scratch.0.join("cluster");
    fs::create_dir_all(&cluster)?;
    // Only root can give it away, and find it so.
    if std::os::unix::fs::chown(&cluster, Some(65_534), Some(65_534)).is_err() {
        return Ok(());
    }
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o711))?;
    let before = (fs::metadata(&scratch.0)?, fs::metadata(&cluster)?);
    let refused = PrivatePostgres::start(&scratch.0, settings()).await.err();
    assert!(matches!(refused, Some(Error::OtherOwner { found: 65_534, .. })), "{refused:?}");
    let after = (fs::metadata(&scratch.0)?, fs::metadata(&cluster)?);
    let of = |found: &fs::Metadata| (found.uid(), found.mode(), found.mtime(), found.mtime_nsec());
    assert_eq!((of(&before.0), of(&before.1)), (of(&after.0), of(&after.1)));
    assert_eq!(fs::read_dir(&cluster)?.count(), 0);
    Ok(())
}

#[tokio::test]
async fn the_server_of_a_folder_whose_path_ends_alike_is_not_adopted() -> Outcome {
    let (ours, outer) = (Scratch::new("alike"), Scratch::new("staging"));
    let theirs = outer.0.join(ours.0.strip_prefix("/")?);
    let other = PrivatePostgres::start(&theirs, settings()).await?;
    let pid = postmaster(&other)?;
    // With the note of the server that runs there.
    copy(&theirs, &ours.0)?;
    let server = PrivatePostgres::start(&ours.0, settings()).await?;
    assert!(!server.adopted());
    assert_ne!(server.port(), other.port());
    run(&server, "CREATE TABLE ours AS SELECT 1").await?;
    assert_eq!(one(&other, "SELECT coalesce(to_regclass('ours')::text, 'none')").await?, "none");
    assert_eq!(postmaster(&other)?, pid);
    Row {
        id: "P7",
        situation: "a store runs at `/staging/srv/x/data`, and `/srv/x/data` is a copy of it with \
                    its `postmaster.pid`",
        answer: "`up` recognises a server by the folder that it works in: the copy gets a server \
                 of its own, and the other one goes on",
        test: (file!(), "the_server_of_a_folder_whose_path_ends_alike_is_not_adopted"),
    }
    .check();
    Ok(())
}

#[tokio::test]
async fn the_orphan_of_a_folder_that_was_renamed_is_adopted() -> Outcome {
    let (before, after) = (Scratch::new("before"), Scratch::new("after"));
    let first = PrivatePostgres::start(&before.0, settings()).await?;
    let port = first.port();
    std::mem::forget(first);
    fs::rename(&before.0, &after.0)?;
    let second = PrivatePostgres::start(&after.0, settings()).await?;
    assert!(second.adopted());
    assert_eq!(second.port(), port);
    Ok(())
}

#[tokio::test]
async fn a_temporary_server_leaves_nothing_behind_when_its_owner_panics() -> Outcome {
    let (dir, port) = {
        let server = PrivatePostgres::temporary().await?;
        let place = (server.dir().to_owned(), server.port());
        let task = tokio::spawn(async move {
            let _server = server;
            std::panic::panic_any("as a failing test does");
        });
        assert!(task.await.is_err());
        place
    };
    gone(&dir, port).await
}

async fn gone(dir: &Path, port: u16) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(20);
    while dir.exists()
        || timeout(Duration::from_secs(1), tokio::net::TcpStream::connect(("127.0.0.1", port)))
            .await?
            .is_ok()
    {
        assert!(Instant::now() < deadline, "{} is still there", dir.display());
        tokio::task::yield_now().await;
    }
    Ok(())
}
