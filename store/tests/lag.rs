//! `store lag` as a process: on a log and checkpoints made for the purpose, and beside
//! `store up`.

#[path = "audit_tables/world.rs"]
#[expect(dead_code, reason = "shared with the audit of tables")]
mod world;

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Output, Stdio},
    time::Duration,
};

use highwater::cli::postgres::PrivatePostgres;
use highwater::log::{LocalLog, Log, Partition, Reply, Ticket, Topic, TopicKind, local};
use highwater::protocol::record::{Header, Record};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::mpsc;
use uuid::Uuid;
use world::{Outcome, Scratch, Up};

const TOPIC: &str = "hw.order.events";
const COMMANDS: &str = "hw.order.commands";
const OWNERS: &str = "hw.owners";

/// Two partitions: nothing but a fence in the first, a fence, two events and a barrier in the
/// second, and six commands in its command queue.
async fn log(scratch: &Scratch, database: &str) -> Outcome {
    fs::create_dir_all(scratch.0.join("log"))?;
    let log = LocalLog::open(scratch.0.join("log"), local::Settings::default())?;
    let events = Topic { name: TOPIC.into(), partitions: 2, kind: TopicKind::Events };
    let queue = Topic { name: COMMANDS.into(), partitions: 2, kind: TopicKind::Commands };
    log.prepare(vec![
        events,
        queue,
        Topic { name: OWNERS.into(), partitions: 1, kind: TopicKind::Owners },
    ])
    .await?;
    let (to, mut reports) = mpsc::unbounded_channel();
    let announcement = |epoch: u64, url: &str| {
        format!(r#"{{"url":"{url}","epoch":{epoch},"instance":"{}"}}"#, Uuid::from_u128(7))
    };
    let kinds = [(0, "fence"), (1, "fence"), (1, "event"), (1, "event"), (1, "barrier")];
    let events = kinds.map(|(index, kind)| {
        (TOPIC, index, Record { headers: vec![Header::new("hw-kind", kind)], ..Record::default() })
    });
    let said = [
        ("database", database.to_owned()),
        ("order/1", announcement(2, "http://new:1")),
        ("order/1", announcement(1, "http://old:1")),
    ];
    let said = said.map(|(key, value)| {
        let record =
            Record { key: Some(key.into()), value: Some(value.into_bytes()), headers: Vec::new() };
        (OWNERS, 0, record)
    });
    let accepted = (0..6).map(|_| (COMMANDS, 1, Record::default()));
    for (topic, index, record) in events.into_iter().chain(said).chain(accepted) {
        let reply = Reply { ticket: Ticket { writer: Uuid::nil(), seq: None }, to: to.clone() };
        log.append(&Partition { topic: topic.into(), index }, record, reply)?;
        reports.recv().await.ok_or("every append is reported")?.result?;
    }
    log.close(Duration::from_secs(10)).await;
    Ok(())
}

fn lag(scratch: &Scratch, more: &[&str]) -> std::io::Result<Output> {
    run(scratch, &[&["lag"], more].concat())
}

fn run(scratch: &Scratch, arguments: &[&str]) -> std::io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_store")).args(arguments).arg("--data").arg(&scratch.0).output()
}

/// What `store owners` says of every partition.
fn owned(scratch: &Scratch) -> Result<Vec<Value>, Box<dyn std::error::Error>> {
    let found = report(&run(scratch, &["owners", "--json", "--history", "5"])?)?;
    Ok(found["partitions"].as_array().ok_or("partitions is a list")?.clone())
}

fn report(output: &Output) -> Result<Value, Box<dyn std::error::Error>> {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

async fn checkpoint(
    connection: &mut PgConnection,
    projection: &str,
    partition: i32,
    offset: i64,
) -> Outcome {
    let sql = format!(
        "INSERT INTO checkpoints (projection, generation, category, partition, next_offset, epoch, \
         writer, next_seq, drained, sealed)
         VALUES ('{projection}', 1, 'order', {partition}, {offset}, 1, '{}', 0, 0, false)
         ON CONFLICT (projection, generation, category, partition) DO UPDATE SET next_offset = \
         excluded.next_offset",
        Uuid::from_u128(9)
    );
    sqlx::query(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

/// The database, its URL and its identity.
async fn database() -> Result<(PrivatePostgres, PgConnection, String), Box<dyn std::error::Error>> {
    let server = PrivatePostgres::temporary().await?;
    let migrate = Command::new(env!("CARGO_BIN_EXE_store"))
        .args(["migrate", "--database-url", &server.url()])
        .output()?;
    assert!(migrate.status.success());
    let mut connection = PgConnection::connect(&server.url()).await?;
    let identity: Uuid =
        sqlx::query_scalar("SELECT id FROM database_identity").fetch_one(&mut connection).await?;
    Ok((server, connection, identity.to_string()))
}

#[tokio::test]
async fn every_projection_has_its_lag_also_before_its_first_checkpoint() -> Outcome {
    let (server, mut connection, identity) = database().await?;
    let scratch = Scratch::new("lag");
    log(&scratch, &identity).await?;
    checkpoint(&mut connection, "orders", 1, 2).await?;
    checkpoint(&mut connection, "sales_daily", 1, 3).await?;
    checkpoint(&mut connection, "operations", 1, 5).await?;
    let url = server.url();
    let found = report(&lag(&scratch, &["--database-url", &url, "--json"])?)?;
    let lags = found["lags"].as_array().ok_or("lags is a list")?;
    let shown: Vec<_> = lags
        .iter()
        .map(|lag| {
            (
                &lag["partition"],
                lag["projection"].as_str(),
                lag["checkpoint"].as_u64(),
                &lag["records"],
                lag["oldest_seconds"].is_f64(),
            )
        })
        .map(|(partition, projection, at, records, aged)| {
            (partition.as_u64(), projection.unwrap_or_default(), at, records.as_u64(), aged)
        })
        .collect();
    let expected = [
        (Some(0), "operations", None, Some(0), false),
        (Some(0), "orders", None, Some(1), false),
        (Some(0), "sales_daily", None, Some(1), false),
        (Some(0), "snapshots", None, Some(1), false),
        // At 5 of the six commands that were accepted, which is further than the events go.
        (Some(1), "operations", Some(5), Some(1), true),
        (Some(1), "orders", Some(2), Some(2), true),
        (Some(1), "sales_daily", Some(3), Some(1), false),
        (Some(1), "snapshots", None, Some(4), true),
    ];
    assert_eq!(shown, expected);
    assert_eq!((&found["records"], &found["largest"]), (&11.into(), &4.into()));
    assert!(
        lags[5]["oldest_seconds"].as_f64().is_some_and(|age| (0.0..600.0).contains(&age)),
        "{found:#}"
    );
    let owner = &found["owners"][1];
    assert_eq!(
        (&owner["epoch"], &owner["folded_to"], &owner["announced_epoch"]),
        (&1.into(), &3.into(), &2.into())
    );
    assert_eq!(
        (&owner["writer"], &owner["announced_url"]),
        (&Uuid::from_u128(9).to_string().into(), &"http://new:1".into())
    );
    assert_eq!(found["owners"][0]["announced_url"], Value::Null);

    let text = lag(&scratch, &["--database-url", &url])?;
    let text = String::from_utf8(text.stdout)?;
    assert!(
        text.contains("http://new:1")
            && text.lines().any(|line| line.starts_with("all ") && line.ends_with('4')),
        "{text}"
    );
    Ok(())
}

#[tokio::test]
async fn too_much_lag_another_log_and_another_database_end_with_1() -> Outcome {
    let (server, mut connection, identity) = database().await?;
    let scratch = Scratch::new("lag-limits");
    log(&scratch, &identity).await?;
    // All of its command queue, which is longer than its events.
    checkpoint(&mut connection, "operations", 1, 6).await?;
    let url = server.url();
    let again = LocalLog::open(scratch.0.join("log"), local::Settings::default())?;
    again
        .prepare(vec![Topic {
            name: "other.order.events".into(),
            partitions: 1,
            kind: TopicKind::Events,
        }])
        .await?;
    again.close(Duration::from_secs(10)).await;
    let several = lag(&scratch, &["--database-url", &url])?;
    assert_eq!(several.status.code(), Some(2));
    assert!(
        String::from_utf8(several.stderr)?
            .contains("choose one with --prefix; there are: hw, other")
    );
    let lag =
        |scratch: &Scratch, more: &[&str]| lag(scratch, &[more, &["--prefix", "hw"]].concat());
    let ended = |most: &str| lag(&scratch, &["--database-url", &url, "--max-records", most]);
    assert_eq!(ended("4")?.status.code(), Some(0));
    let beyond = ended("3")?;
    let said = String::from_utf8(beyond.stderr)?;
    assert_eq!(beyond.status.code(), Some(1), "{said}");
    assert!(
        said.contains("orders on order/1: 4 records behind the end 4") && !said.contains("order/0"),
        "{said}"
    );

    checkpoint(&mut connection, "orders", 1, 40).await?;
    let ahead = lag(&scratch, &["--database-url", &url])?;
    assert_eq!(ahead.status.code(), Some(1));
    assert!(
        String::from_utf8(ahead.stderr)?
            .contains("36 records ahead of the end 4: this is not the log")
    );

    let no_kafka = Command::new(env!("CARGO_BIN_EXE_store"))
        .args(["lag", "--kafka", "127.0.0.1:1", "--database-url", &url])
        .output()?;
    assert_eq!(no_kafka.status.code(), Some(3));
    assert!(String::from_utf8(no_kafka.stderr)?.contains("the log cannot be reached"));

    sqlx::query("UPDATE database_identity SET id = gen_random_uuid()")
        .execute(&mut connection)
        .await?;
    let other = lag(&scratch, &["--database-url", &url])?;
    assert_eq!(other.status.code(), Some(1));
    assert!(
        String::from_utf8(other.stderr)?.contains(&format!("the owners topic says {identity}"))
    );
    Ok(())
}

#[tokio::test]
async fn without_a_database_it_says_what_is_missing() -> Outcome {
    let scratch = Scratch::new("lag-alone");
    log(&scratch, "nobody").await?;
    let nowhere = lag(&scratch, &[])?;
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(String::from_utf8(nowhere.stderr)?.contains("see --database-url"));
    let away = lag(&scratch, &["--database-url", "postgres://nobody@127.0.0.1:1/none"])?;
    assert_eq!(away.status.code(), Some(3));
    assert!(String::from_utf8(away.stderr)?.contains("the database cannot be reached"));
    let kafka = Command::new(env!("CARGO_BIN_EXE_store"))
        .args(["lag", "--kafka", "127.0.0.1:1"])
        .output()?;
    assert_eq!(kafka.status.code(), Some(2), "{}", String::from_utf8_lossy(&kafka.stderr));
    Ok(())
}

#[tokio::test]
async fn beside_up_it_reads_through_it_and_watches_until_it_is_told_to_stop() -> Outcome {
    let scratch = Scratch::new("lag-up");
    let up = Up::start(&scratch.0, &[])?;
    up.live()?;
    let found = report(&lag(&scratch, &["--json", "--max-records", "1000000"])?)?;
    let owners = found["owners"].as_array().ok_or("owners is a list")?;
    assert_eq!(owners.len(), 24);
    assert!(
        owners.iter().all(|owner| owner["announced_url"]
            .as_str()
            .is_some_and(|url| url.starts_with("http://127.0.0.1:"))),
        "{found:#}"
    );
    assert_eq!(found["lags"].as_array().map(Vec::len), Some(80));

    let now = owned(&scratch)?;
    assert_eq!(now.len(), 24);
    assert!(
        now.iter()
            .all(|owned| owned["terms"][0]["why"] == "assigned"
                && owned["terms"][0]["ended"].is_null()),
        "{now:#?}"
    );
    assert!(
        now.iter().all(|owned| owned["terms"][0]["epoch"] == owned["announcement"]["epoch"]),
        "{now:#?}"
    );

    let mut watching = Command::new(env!("CARGO_BIN_EXE_store"));
    watching
        .args(["lag", "--json", "--watch", "1", "--data"])
        .arg(&scratch.0)
        .stdout(Stdio::piped());
    let mut watching = watching.spawn()?;
    let out = watching.stdout.take().ok_or("stdout is piped")?;
    let mut lines = BufReader::new(out).lines();
    let two: Vec<_> = lines.by_ref().take(2).collect::<Result<_, _>>()?;
    assert!(
        two.iter()
            .all(|line| serde_json::from_str::<Value>(line)
                .is_ok_and(|found| found["lags"].is_array())),
        "{two:?}"
    );
    assert!(Command::new("kill").args(["-INT", &watching.id().to_string()]).status()?.success());
    assert_eq!(watching.wait()?.code(), Some(0));
    up.stop()?;

    // No process runs it now: the private Postgres is started for this look alone.
    let after = report(&lag(&scratch, &["--json"])?)?;
    assert_eq!(after["owners"].as_array().map(Vec::len), Some(24));
    let ended = owned(&scratch)?;
    let drained = |owned: &Value| {
        owned["terms"][0]["ended"] == "drained" && owned["announcement"]["released"] == true
    };
    assert!(ended.len() == 24 && ended.iter().all(drained), "{ended:#?}");
    let text = String::from_utf8(run(&scratch, &["owners"])?.stdout)?;
    assert!(text.lines().count() == 25 && text.contains(" drained "), "{text}");
    Ok(())
}
