//! `history`: what an owner needs in memory, and how long a take-over takes, as the log grows. The
//! projectors run.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use crate::{
    contender::{Contender, Error, Setup, Stage},
    run::median,
    store::load,
};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where `bin/kafka` lies
    #[arg(long, default_value = "bin/kafka")]
    kafka: PathBuf,
    /// Lengths of the history at which is measured, rising
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000")]
    events: Vec<usize>,
    #[arg(long, default_value_t = 200_000)]
    aggregates: usize,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    #[arg(long, default_value_t = 8)]
    partitions: usize,
}

/// A line of the log of the command API.
#[derive(Deserialize)]
struct Line {
    message: String,
    /// As text: it is wider than JSON's numbers.
    took_ms: Option<String>,
}

/// The owner asks for the checkpoint of `snapshots` once a second, and then evicts.
const HEARD_AFTER: Duration = Duration::from_secs(3);
const CATEGORIES: usize = 3;

pub async fn run(options: Options) -> Result<(), Error> {
    let stage = Stage::open(&options.kafka).await?;
    let result = grow(&options, &stage).await;
    stage.close().await?;
    result
}

async fn grow(options: &Options, stage: &Stage) -> Result<(), Error> {
    let broker = stage.broker("kafka", &[])?;
    let settings =
        vec![format!("log.partitions={}", options.partitions), "telemetry.filter=info".to_owned()];
    let setup = Setup { kafka: broker.bootstrap.clone(), settings, program: None };
    let mut ours =
        stage.ours("Highwater, default Kafka", "page cache of one broker", "ours", &setup).await?;
    println!(
        "| events | command-api's memory | take-over of a partition: median, longest | memory \
         after it |\n|---|---|---|---|"
    );
    let mut there = 0;
    for events in &options.events {
        load::grow(
            &ours.address.to_string(),
            options.connections,
            options.aggregates,
            there,
            *events,
        )
        .await?;
        there = *events;
        ours.catch_up().await?;
        tokio::time::sleep(HEARD_AFTER).await;
        let before = ours.server.resident_bytes()?;
        stage.restart(&mut ours).await?;
        let took_ms = take_overs(&ours, options.partitions * CATEGORIES).await?;
        let longest = took_ms.iter().copied().fold(0.0, f64::max);
        let after = ours.server.resident_bytes()?;
        let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
        println!(
            "| {events} | {:.0} MiB | {:.0} ms, {longest:.0} ms | {:.0} MiB |",
            mib(before),
            median(took_ms.into_iter()),
            mib(after)
        );
    }
    Ok(())
}

/// How long each take-over took, once all partitions are served.
async fn take_overs(ours: &Contender, partitions: usize) -> Result<Vec<f64>, Error> {
    for _ in 0..300 {
        let lines = ours.server.output()?;
        let lines = lines.iter().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let took: Vec<f64> = lines
            .filter(|line| line.message == "serving")
            .filter_map(|line| line.took_ms?.parse().ok())
            .collect();
        if took.len() >= partitions {
            return Ok(took);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(Error::NotReady("a partition".to_owned(), "its owner does not serve".to_owned()))
}
