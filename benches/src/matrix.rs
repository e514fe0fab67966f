//! `matrix`: partitions by producers, on one warm broker, projectors paused. The defaults come from
//! it.

use std::{path::PathBuf, time::Duration};

use crate::{
    contender::{Error, Setup, Stage},
    run::median,
};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where `bin/kafka` lies
    #[arg(long, default_value = "bin/kafka")]
    kafka: PathBuf,
    #[arg(long, value_delimiter = ',', default_value = "4,8,32,128")]
    partitions: Vec<u32>,
    #[arg(long, value_delimiter = ',', default_value = "1,2,4")]
    producers: Vec<u32>,
    #[arg(long, value_delimiter = ',', default_value = "1,256")]
    connections: Vec<usize>,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of a round
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Commands before everything
    #[arg(long, default_value_t = 200_000)]
    warm_broker: usize,
    /// Commands before the first round of each
    #[arg(long, default_value_t = 40_000)]
    warm_up: usize,
}

/// What the categories of this store need, in partitions of one number.
const CATEGORIES: u32 = 3;

pub async fn run(options: Options) -> Result<(), Error> {
    let stage = Stage::open(&options.kafka).await?;
    let result = measure(&options, &stage).await;
    stage.close().await?;
    result
}

async fn measure(options: &Options, stage: &Stage) -> Result<(), Error> {
    let broker = stage.broker("kafka", &[])?;
    // Else the first rows would be those of a broker whose JVM is still getting warm.
    let mut setup =
        Setup { kafka: broker.bootstrap.clone(), settings: settings(8, 1), program: None };
    setup.settings.push("log.prefix=warm".to_owned());
    stage.ours("warm-up", "page cache", "warm", &setup).await?.warm_up(options.warm_broker).await?;
    println!(
        "Commands per second (median latency; processor time of the machine a command), medians of \
         {} rounds of {} s.\n",
        options.rounds, options.seconds
    );
    let heads: Vec<_> = options
        .connections
        .iter()
        .map(|connections| format!("{connections} connections"))
        .collect();
    println!(
        "| partitions | producers | {} |\n|---|---|{}",
        heads.join(" | "),
        "---|".repeat(heads.len())
    );
    for partitions in &options.partitions {
        for producers in &options.producers {
            let setup = Setup {
                kafka: broker.bootstrap.clone(),
                settings: settings(*partitions, *producers),
                program: None,
            };
            let tag = format!("p{partitions}k{producers}");
            let mut contender = stage.ours(&tag, "page cache", &tag, &setup).await?;
            contender.warm_up(options.warm_up).await?;
            let mut cells = Vec::new();
            for connections in &options.connections {
                let mut rounds = Vec::new();
                for _ in 0..options.rounds {
                    stage.settle().await?;
                    rounds.push(
                        contender
                            .measure(*connections, Duration::from_secs(options.seconds))
                            .await?,
                    );
                }
                let rate = median(rounds.iter().map(|(round, _)| round.per_second));
                let p50 = median(rounds.iter().map(|(round, _)| round.p50.as_secs_f64() * 1e3));
                let cost = median(rounds.iter().map(|(_, cost)| cost.all));
                cells.push(format!("{rate:.0} ({p50:.2} ms; {cost:.0} µs)"));
            }
            println!("| {partitions} | {producers} | {} |", cells.join(" | "));
        }
    }
    Ok(())
}

/// Topics of its own, and a queue that holds the budgets of all partitions of a producer.
fn settings(partitions: u32, producers: u32) -> Vec<String> {
    let budget_kbytes = 2048;
    // One share more for the command queue.
    let queue_kbytes = ((CATEGORIES * partitions.div_ceil(producers) + 1) * budget_kbytes * 5 / 4
        + 1024)
        .max(65_536);
    vec![
        format!("log.prefix=p{partitions}k{producers}"),
        format!("log.partitions={partitions}"),
        format!("log.producers={producers}"),
        format!("log.queue_kbytes={queue_kbytes}"),
    ]
}
