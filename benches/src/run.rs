//! `run`: the contenders, interleaved rounds, the table.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use crate::{
    contender::{Contender, Error, Setup, Stage},
    cost::Cost,
    store::load::Round,
};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where `bin/kafka` lies
    #[arg(long, default_value = "bin/kafka")]
    kafka: PathBuf,
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256")]
    connections: Vec<usize>,
    /// An odd number has a middle
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of a round
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Commands that every contender gets before it is measured
    #[arg(long, default_value_t = 100_000)]
    warm_up: usize,
    /// Also on a broker that fsyncs every append
    #[arg(long)]
    fsync: bool,
    /// Only contenders whose name has one of these in it, as `LocalLog,(b)`
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Of every topic
    #[arg(long, default_value_t = 8)]
    partitions: u32,
    /// Idempotent producers
    #[arg(long, default_value_t = 1)]
    producers: usize,
    /// Also the servers of an earlier build of this program, at this path
    #[arg(long)]
    before: Option<PathBuf>,
    /// `section.key=value` of the configuration, for every contender; may be given several times
    #[arg(long = "set")]
    settings: Vec<String>,
}

pub async fn run(options: Options) -> Result<(), Error> {
    let stage = Stage::open(&options.kafka).await?;
    let result = contest(&options, &stage).await;
    stage.close().await?;
    result
}

async fn contest(options: &Options, stage: &Stage) -> Result<(), Error> {
    let mut brokers =
        vec![("default Kafka", "page cache of one broker", stage.broker("kafka", &[])?)];
    if options.fsync {
        brokers.push((
            "Kafka, fsync on every append",
            "fsync",
            stage.broker("kafka-fsync", &["log.flush.interval.messages=1"])?,
        ));
    }
    let mut settings = vec![
        format!("log.partitions={}", options.partitions),
        format!("log.producers={}", options.producers),
    ];
    // A contender that is frozen while another is measured keeps its partitions.
    settings.extend(
        ["session_timeout_ms", "max_poll_interval_ms"].map(|limit| format!("log.{limit}=240000")),
    );
    settings.extend_from_slice(&options.settings);
    let local = Setup { kafka: String::new(), settings, program: None };
    let mut contenders = Vec::new();
    for (n, (name, durability, broker)) in brokers.iter().enumerate() {
        let setup = Setup { kafka: broker.bootstrap.clone(), ..local.clone() };
        let (ours, produce_only) =
            (format!("Highwater, {name}"), format!("(a) produce only, {name}"));
        if options.wants(&ours) {
            contenders.push(stage.ours(&ours, durability, &format!("ours{n}"), &setup).await?);
        }
        if let Some(before) = options.before.as_ref().filter(|_| options.wants(&ours)) {
            // Two deployments on one broker.
            let settings =
                setup.settings.iter().cloned().chain(["log.prefix=before".to_owned()]).collect();
            let setup = Setup { program: Some(before.clone()), settings, ..setup.clone() };
            contenders.push(
                stage
                    .ours(&format!("before: {ours}"), durability, &format!("before{n}"), &setup)
                    .await?,
            );
        }
        if options.wants(&produce_only) {
            contenders
                .push(stage.baseline(&produce_only, durability, "produce-only", &setup).await?);
        }
    }
    let (on_local, postgres, lists) = (
        "Highwater, LocalLog",
        "(b) event store in Postgres",
        "(c) the same with the read model and indexes of our lists",
    );
    if options.wants(on_local) {
        contenders.push(stage.ours(on_local, "fsync", "local", &local).await?);
    }
    if let Some(before) = options.before.as_ref().filter(|_| options.wants(on_local)) {
        let setup = Setup { program: Some(before.clone()), ..local.clone() };
        contenders.push(
            stage.ours(&format!("before: {on_local}"), "fsync", "before_local", &setup).await?,
        );
    }
    if options.wants(postgres) {
        contenders.push(stage.baseline(postgres, "fsync", "event-store", &local).await?);
    }
    if options.wants(lists) {
        contenders.push(stage.baseline(lists, "fsync", "event-store-lists", &local).await?);
    }
    let rounds = measure(options, stage, &mut contenders).await?;
    print_table(options, &contenders, &rounds);
    Ok(())
}

/// By contender and connections.
type Rounds = BTreeMap<(usize, usize), Vec<(Round, Cost)>>;

async fn measure(
    options: &Options,
    stage: &Stage,
    contenders: &mut [Contender],
) -> Result<Rounds, Error> {
    for contender in contenders.iter_mut() {
        contender.warm_up(options.warm_up).await?;
        contender.freeze()?;
    }
    let mut rounds = Rounds::new();
    for round in 0..options.rounds {
        for connections in &options.connections {
            // Another one begins each time, so that none always runs first. Every other round goes
            // backwards: a contender that comes behind one on the same broker finds it warm.
            let count = contenders.len();
            for n in 0..count {
                let n = if round % 2 == 0 { n } else { count - 1 - n };
                let n = (n + round / 2) % count;
                contenders[n].thaw()?;
                stage.settle().await?;
                let (measured, cost) = contenders[n]
                    .measure(*connections, Duration::from_secs(options.seconds))
                    .await?;
                contenders[n].freeze()?;
                eprintln!(
                    "{}, {connections} connections: {:.0}/s, p50 {:?}, refused {}; {cost}",
                    contenders[n].name, measured.per_second, measured.p50, measured.refused
                );
                rounds.entry((n, *connections)).or_default().push((measured, cost));
            }
        }
    }
    Ok(rounds)
}

fn print_table(options: &Options, contenders: &[Contender], rounds: &Rounds) {
    println!(
        "Commands per second (median latency, p99; processor time of the machine a command), \
         medians of {} interleaved rounds of {} s; durability of an answer in brackets.\n",
        options.rounds, options.seconds
    );
    let heads: Vec<_> = options
        .connections
        .iter()
        .map(|connections| format!("{connections} connections"))
        .collect();
    println!("| | {} |\n|---|{}", heads.join(" | "), "---|".repeat(heads.len()));
    for (n, contender) in contenders.iter().enumerate() {
        let cells = options.connections.iter().map(|connections| {
            let Some(rounds) = rounds.get(&(n, *connections)) else { return String::new() };
            let rate = median(rounds.iter().map(|(round, _)| round.per_second));
            let p50 = median(rounds.iter().map(|(round, _)| round.p50.as_secs_f64() * 1e3));
            let p99 = median(rounds.iter().map(|(round, _)| round.p99.as_secs_f64() * 1e3));
            let cost = median(rounds.iter().map(|(_, cost)| cost.all));
            let refused: usize = rounds.iter().map(|(round, _)| round.refused).sum();
            let commands: usize = rounds.iter().map(|(round, _)| round.commands).sum();
            let refused = if refused > 0 {
                format!("; {refused} of {} refused", commands + refused)
            } else {
                String::new()
            };
            format!("{rate:.0} ({p50:.2} ms, {p99:.1} ms; {cost:.0} µs{refused})")
        });
        println!(
            "| {} [{}] | {} |",
            contender.name,
            contender.durability,
            cells.collect::<Vec<_>>().join(" | ")
        );
    }
}

/// The upper one of the two in the middle of an even number.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

impl Options {
    fn wants(&self, contender: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| contender.contains(part.as_str()))
    }
}
