//! `rebuild`.

use std::{
    io::{self, Write},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use highwater_projection::{
    pool,
    rebuild::{self, Limits, Progress, Rebuild, compare::Compared, repair::Repaired},
    settings::{DatabaseSettings, ProjectorSettings},
};
use highwater_runtime::{clock::SystemClock, shutdown::Shutdown};
use highwater_tables::generations::{Beside, Generations};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::Connection;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    End, Error,
    database::{self, Database},
    settings,
    source::{OpenLog, Source},
};
use crate::{application::Application, lag};

/// How often it says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(1);
/// How often `--feed` looks whether the log has more.
const FEED_EVERY: Duration = Duration::from_millis(200);
/// A value is shown up to here.
const SHOWN_CHARACTERS: usize = 60;

/// Make the tables of a projection anew beside the live ones, compare, and switch.
///
/// Without an action it fills the next generation of the projection's tables from the log, with the
/// code of this program, until it has what the live one has, and compares the two row by row. It
/// may be stopped at any time, and goes on where it was. Projectors go on meanwhile; it waits while
/// they are behind. `--switch` puts the next generation in the place of the live one, in one
/// transaction; what was live stays beside it until `--drop`, and `--rollback` puts it back.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 done, 1 rows differ or something failed, 2 wrong usage, 3 the log \
                  or the database cannot be reached"
)]
pub(super) struct Args {
    /// The projection
    projection: String,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    action: Action,
    /// At most so many events in a second
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// So many partitions at the same time
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 2,
        value_parser = clap::value_parser!(u32).range(1..=64)
    )]
    at_once: u32,
    /// Name so many rows that differ
    #[arg(long, value_name = "ROWS", default_value_t = 20)]
    differences: usize,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Action {
    /// Put the next generation in the place of the live one
    #[arg(long)]
    switch: bool,
    /// Put back what was live before the last switch
    #[arg(long)]
    rollback: bool,
    /// Drop what lies beside the live tables: a next generation, or the one before a switch
    #[arg(long)]
    drop: bool,
    /// Keep what lies beside the live tables at the end of the log, until Ctrl-C
    #[arg(long)]
    feed: bool,
    /// Say which generations there are
    #[arg(long)]
    status: bool,
    /// Make the row of this aggregate anew in the live table
    #[arg(long, value_name = "UUID")]
    id: Option<Uuid>,
    /// Make the rows of this partition anew in the live tables
    #[arg(long, value_name = "NUMBER")]
    partition: Option<u32>,
}

pub(super) async fn run(args: Args, application: &Application) -> Result<End, Error> {
    let log = args.source.open().await?;
    let found = args.database.find(&args.source, &log).await?;
    let ended = match found.url() {
        Ok(url) => with_database(&args, &log, &url, application).await,
        Err(why) => Err(Error::Usage(format!("a projection is in the database: {why}"))),
    };
    found.stop().await?;
    ended
}

async fn with_database(
    args: &Args,
    log: &OpenLog,
    url: &str,
    application: &Application,
) -> Result<End, Error> {
    let mut connection = database::connect(url, application).await?;
    let prefix = match &log.prefix {
        Some(prefix) => prefix.clone(),
        None => lag::prefix(&*log.log).await?,
    };
    lag::check(&*log.log, &prefix, &mut connection).await?;
    connection.close().await?;
    let all = application.projections.all();
    let Some(projection) = all.iter().find(|one| one.name() == args.projection) else {
        let names: Vec<_> = application.projections.own().iter().map(|one| one.name()).collect();
        return Err(Error::Usage(format!(
            "there is no projection `{}`; there are: {}",
            args.projection,
            names.join(", ")
        )));
    };
    let settings: ProjectorSettings = settings::section(&log.config, "projector")?;
    let limits = Limits {
        at_once: args.at_once as usize,
        batch_events: settings.batch_events.max(1),
        events_per_second: args.rate,
        parked_most: settings.parked_most,
        ..Limits::default()
    };
    // One a partition, and those of the switch, of the comparison, and of who looks.
    let connections = args.at_once.saturating_add(4);
    let database = DatabaseSettings { url: url.to_owned(), connections, ..settings.database };
    let pool = pool::pool(&database)?;
    let clock = Arc::new(SystemClock);
    let rebuild =
        Rebuild::new(Arc::clone(&log.log), &prefix, projection.clone(), pool, clock, limits)?;
    if args.action.status {
        return said(args, &rebuild.generations().await?);
    }
    let held = rebuild.hold().await?;
    let progress = rebuild.progress();
    let ended = tokio::select! {
        ended = act(args, &rebuild) => ended,
        never = say(&progress) => match never {},
    };
    held.close().await?;
    ended
}

async fn act(args: &Args, rebuild: &Rebuild) -> Result<End, Error> {
    let action = &args.action;
    match () {
        () if action.switch => switched(args, rebuild, Beside::Next).await,
        () if action.rollback => switched(args, rebuild, Beside::Previous).await,
        () if action.drop => {
            let was_there = rebuild.drop().await?;
            let what = if was_there { "dropped" } else { "nothing was beside the live tables" };
            print(args, &json!({ "dropped": was_there }), what)
        }
        () if action.feed => feed(args, rebuild).await,
        () => match (action.id, action.partition) {
            (Some(id), _) => repaired(args, &rebuild.repair_aggregate(id).await?),
            (_, Some(partition)) => repaired(args, &rebuild.repair_partition(partition).await?),
            (None, None) => {
                rebuild.fill().await?;
                compared(args, &rebuild.compare(args.differences).await?)
            }
        },
    }
}

async fn switched(args: &Args, rebuild: &Rebuild, from: Beside) -> Result<End, Error> {
    let number = rebuild.switch(from).await?;
    let (parked, _) = rebuild.parked().await?;
    let mut text = format!("live is generation {number}; --rollback puts the other one back");
    if parked > 0 {
        text = format!(
            "live is generation {number}; in the other one {parked} aggregates are parked, so that \
             --rollback is refused"
        );
    }
    print(args, &json!({ "live": number, "parked_beside": parked }), &text)
}

async fn feed(args: &Args, rebuild: &Rebuild) -> Result<End, Error> {
    if rebuild.generations().await?.beside.is_none() {
        return Err(Error::Usage("nothing lies beside the live tables".to_owned()));
    }
    let shutdown = Shutdown::on_signals()?;
    loop {
        tokio::select! {
            () = shutdown.soft.cancelled() => return print(args, &json!({}), "ended"),
            fed = rebuild.feed() => fed?,
        }
        tokio::time::sleep(FEED_EVERY).await;
    }
}

fn said(args: &Args, generations: &Generations) -> Result<End, Error> {
    let beside = match generations.beside {
        None => "none",
        Some(Beside::Next) => "next",
        Some(Beside::Previous) => "previous",
    };
    let live = generations.live;
    let text = format!("live is generation {live}; beside it: {beside}");
    print(args, &json!({ "live": live, "beside": beside }), &text)
}

fn repaired(args: &Args, repaired: &Repaired) -> Result<End, Error> {
    let rows = match repaired {
        Repaired::Unchanged => 0,
        Repaired::Rows(rows) => *rows,
    };
    let text = match rows {
        0 => "nothing differs from the log".to_owned(),
        rows => format!("{rows} rows were other than the log says, and are mended"),
    };
    print(args, &json!({ "rows": rows }), &text)
}

fn compared(args: &Args, compared: &Compared) -> Result<End, Error> {
    let rows: Vec<Value> = compared
        .rows
        .iter()
        .map(|row| {
            json!({
                "table": row.table,
                "key": serde_json::from_str::<Value>(&row.key).unwrap_or(Value::Null),
                "live": row.is_live,
                "rebuilt": row.is_beside,
                "columns": row.columns.iter().flatten().map(|column| json!({
                    "name": column.name, "live": column.live, "rebuilt": column.beside,
                })).collect::<Vec<_>>(),
                "since": row.since.as_ref().map(|since| json!({
                    "event": since.event, "version": since.version, "offset": since.offset,
                })),
            })
        })
        .collect();
    let json = json!({
        "rows_live": compared.live,
        "rows_rebuilt": compared.beside,
        "differ": compared.differ,
        "rows": rows,
    });
    let mut text = format!(
        "{} rows are live, {} were made anew, {} differ",
        compared.live, compared.beside, compared.differ
    );
    for row in &compared.rows {
        text.push_str(&format!("\n{} {}:", row.table, row.key));
        match (row.is_live, row.is_beside) {
            (true, false) => text.push_str(" is live, and the log does not make it"),
            (false, _) => text.push_str(" is not live, and the log makes it"),
            (true, true) => {
                for column in row.columns.iter().flatten() {
                    let (live, beside) = (short(&column.live), short(&column.beside));
                    text.push_str(&format!(" {} is {live}, rebuilt {beside};", column.name));
                }
            }
        }
        if let Some(since) = &row.since {
            text.push_str(&format!(
                " as this code applies {} (version {}, offset {})",
                since.event, since.version, since.offset
            ));
        }
    }
    if compared.differ > compared.rows.len() as u64 {
        text.push_str(&format!("\nand {} more", compared.differ - compared.rows.len() as u64));
    }
    print(args, &json, &text)?;
    Ok(if compared.differ == 0 { End::Done } else { End::Difference })
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

fn print(args: &Args, json: &impl Serialize, text: &str) -> Result<End, Error> {
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, json).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{text}")?;
    }
    out.flush()?;
    Ok(End::Done)
}

/// On stderr, while there is something to say.
async fn say(progress: &Progress) -> std::convert::Infallible {
    let (mut before, mut at) = (0, Instant::now());
    loop {
        tokio::time::sleep(SAY_EVERY).await;
        let events = progress.events.load(Ordering::Relaxed);
        let (records, of) =
            (progress.records.load(Ordering::Relaxed), progress.of.load(Ordering::Relaxed));
        let seconds = at.elapsed().as_secs_f64();
        let rate = (events - before) as f64 / seconds;
        let waits = progress.waits.load(Ordering::Relaxed);
        if events != before || waits {
            let percent = if of == 0 { 100.0 } else { records as f64 * 100.0 / of as f64 };
            // Records stand for events here: the rest of them is of the same kind.
            let left = of.saturating_sub(records) as f64 / rate.max(1.0);
            let waits = if waits { "; it waits for the live projection" } else { "" };
            eprintln!(
                "highwater: {percent:.1} % ({records} of {of} records), {rate:.0} events/s, about \
                 {left:.0} s left{waits}"
            );
        }
        (before, at) = (events, Instant::now());
    }
}

impl From<rebuild::Error> for Error {
    fn from(error: rebuild::Error) -> Self {
        match error {
            rebuild::Error::Log(error) => Self::Log(error),
            rebuild::Error::Database(error) => Self::Database(error),
            rebuild::Error::Refused(..) | rebuild::Error::Repair(_) => {
                Self::Usage(error.to_string())
            }
            other => Self::Rebuild(other),
        }
    }
}
