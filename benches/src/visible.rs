//! `visible`: how long from a command's due time until its row is read, with the projectors
//! running. Open loop.

use std::{path::PathBuf, time::Duration};

use crate::{
    contender::{Error, Setup, Stage},
    store::open_loop,
};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where `bin/kafka` lies
    #[arg(long, default_value = "bin/kafka")]
    kafka: PathBuf,
    /// Commands a second
    #[arg(long, value_delimiter = ',', default_value = "100,500,1000")]
    rates: Vec<u32>,
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    #[arg(long, default_value_t = 100_000)]
    warm_up: usize,
}

pub async fn run(options: Options) -> Result<(), Error> {
    let stage = Stage::open(&options.kafka).await?;
    let result = measure(&options, &stage).await;
    stage.close().await?;
    result
}

async fn measure(options: &Options, stage: &Stage) -> Result<(), Error> {
    let broker = stage.broker("kafka", &[])?;
    let setup = Setup { kafka: broker.bootstrap.clone(), settings: Vec::new(), program: None };
    let mut ours =
        stage.ours("Highwater, default Kafka", "page cache of one broker", "ours", &setup).await?;
    let (_queries, queries) = stage.queries(&ours, &setup).await?;
    ours.warm_up(options.warm_up).await?;
    println!(
        "| commands a second | read | to the answer: p50, p99 | until the row is read: p50, p99 \
         |\n|---|---|---|---|"
    );
    for rate in &options.rates {
        let (commands, reads) = (ours.address.to_string(), queries.to_string());
        let seen = open_loop::see(
            &commands,
            &reads,
            *rate,
            options.connections,
            Duration::from_secs(options.seconds),
        )
        .await?;
        let ms = |at: Duration| at.as_secs_f64() * 1e3;
        let (answered, visible) = (&seen.answered, &seen.visible);
        println!(
            "| {rate} | {} | {:.1} ms, {:.1} ms | {:.1} ms, {:.1} ms |",
            visible.answered,
            ms(answered.p50),
            ms(answered.p99),
            ms(visible.p50),
            ms(visible.p99)
        );
    }
    Ok(())
}
