//! `sustain`: which rate is held with the projectors running, their lag and all memory flat. Open
//! loop: what is late is not sent later, it is counted as late.

use std::{path::PathBuf, time::Duration};

use crate::{
    contender::{Contender, Error, Setup, Stage},
    store::open_loop::{self, Offered},
};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where `bin/kafka` lies
    #[arg(long, default_value = "bin/kafka")]
    kafka: PathBuf,
    /// Commands a second, rising; the first that is not held ends it
    #[arg(long, value_delimiter = ',', default_value = "1000,2000,3000,4000,5000,6000,7000,8000")]
    rates: Vec<u32>,
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// Commands before the first rate: they warm the broker's JVM and, half of them creates, fill
    /// the caches of aggregates
    #[arg(long, default_value_t = 350_000)]
    warm_up: usize,
    #[arg(long, default_value_t = 8)]
    partitions: u32,
}

/// Once a second.
#[derive(Clone, Copy, Debug)]
struct Sample {
    lag_records: u64,
    command_api_bytes: u64,
    projectors_bytes: u64,
}

pub async fn run(options: Options) -> Result<(), Error> {
    let stage = Stage::open(&options.kafka).await?;
    let result = climb(&options, &stage).await;
    stage.close().await?;
    result
}

async fn climb(options: &Options, stage: &Stage) -> Result<(), Error> {
    let broker = stage.broker("kafka", &[])?;
    let setup = Setup {
        kafka: broker.bootstrap.clone(),
        settings: vec![format!("log.partitions={}", options.partitions)],
        program: None,
    };
    let mut ours =
        stage.ours("Highwater, default Kafka", "page cache of one broker", "ours", &setup).await?;
    ours.warm_up(options.warm_up).await?;
    println!(
        "| offered | answered | p50, p99 from its due time | lag at 10-20 s, at the end | memory \
         at 20 s, at the end (command-api + projectors) | held |"
    );
    println!("|---|---|---|---|---|---|");
    for rate in &options.rates {
        let (offered, samples) = hold(options, &ours, *rate).await?;
        let held = report(options, *rate, &offered, &samples);
        ours.catch_up().await?;
        if !held {
            break;
        }
    }
    Ok(())
}

async fn hold(
    options: &Options,
    ours: &Contender,
    rate: u32,
) -> Result<(Offered, Vec<Sample>), Error> {
    let lasting = Duration::from_secs(options.seconds);
    let address = ours.address.to_string();
    let load = open_loop::offer(&address, rate, options.connections, lasting);
    let sampling = async {
        let mut samples = Vec::new();
        let mut every = tokio::time::interval(Duration::from_secs(1));
        every.tick().await;
        for _ in 0..options.seconds {
            every.tick().await;
            samples.push(sample(ours).await?);
        }
        Ok::<_, Error>(samples)
    };
    let (offered, samples) = tokio::join!(load, sampling);
    Ok((offered?, samples?))
}

async fn sample(ours: &Contender) -> Result<Sample, Error> {
    let Some(progress) = &ours.progress else { return Err(Error::Behind) };
    let projectors_bytes =
        ours.projectors.as_ref().map_or(Ok(0), crate::contender::Server::resident_bytes)?;
    Ok(Sample {
        lag_records: progress.lag_records().await?,
        command_api_bytes: ours.server.resident_bytes()?,
        projectors_bytes,
    })
}

/// Flat lag: the last 10 s no higher than seconds 10 to 20 and one second's events. Flat memory:
/// under 5 % over the last 40 s.
fn report(options: &Options, rate: u32, offered: &Offered, samples: &[Sample]) -> bool {
    let mean = |samples: &[Sample], of: fn(&Sample) -> u64| {
        samples.iter().map(of).sum::<u64>() as f64 / samples.len().max(1) as f64
    };
    let n = samples.len();
    let (early, late) = (
        samples.get(10..20).unwrap_or_default(),
        samples.get(n.saturating_sub(10)..).unwrap_or_default(),
    );
    let (lag_early, lag_late) = (mean(early, |s| s.lag_records), mean(late, |s| s.lag_records));
    let memory = |s: &Sample| s.command_api_bytes + s.projectors_bytes;
    let begin = samples.get(n.saturating_sub(40)).map_or(0, memory) as f64;
    let end = samples.last().map_or(0, memory) as f64;
    let answered = offered.answered as f64 / options.seconds as f64;
    let held = lag_late <= lag_early + f64::from(rate)
        && end <= begin * 1.05
        && answered >= f64::from(rate) * 0.99;
    let (mib, ms) = (1024.0 * 1024.0, |at: Duration| at.as_secs_f64() * 1e3);
    println!(
        "| {rate}/s | {answered:.0}/s, {} refused | {:.1} ms, {:.1} ms | {lag_early:.0}, \
         {lag_late:.0} | {:.0} MiB, {:.0} MiB | {} |",
        offered.refused,
        ms(offered.p50),
        ms(offered.p99),
        begin / mib,
        end / mib,
        if held { "yes" } else { "no" }
    );
    held
}
