//! Honest callers of a whole `up`: at a rate, whatever the answers take, each request's latency
//! from its due time; and a probe that asks `/livez` on a connection of its own each time.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};
use uuid::Uuid;

use super::load::{Connection, Error, create, id_of, position_of};

/// What honest callers heard within a span.
#[derive(Clone, Copy, Debug)]
pub struct HonestTraffic {
    pub answered: usize,
    /// Not answered, refused, or not within [`PATIENCE`].
    pub failed: usize,
    pub p99: Duration,
    pub livez_p99: Duration,
    pub livez_longest: Duration,
}

const CONNECTIONS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);
const PROBE_EVERY: Duration = Duration::from_millis(50);
const SEEDERS: usize = 64;
/// A few large ones first, so that a page of a list is large.
const LARGE: usize = 400;
const LINES_OF_LARGE: u32 = 60;

/// Makes `rows`, and returns when all of them are read.
pub async fn seed(address: SocketAddr, rows: usize) -> Result<usize, Error> {
    let to: Arc<str> = address.to_string().into();
    let seeders: Vec<_> = (0..SEEDERS)
        .map(|n| {
            let to = to.clone();
            tokio::spawn(async move {
                let (mut connection, mut refused, mut last) =
                    (Connection::open(&to).await?, 0, None);
                for row in (n..rows).step_by(SEEDERS) {
                    let body = if row < LARGE { large() } else { create() };
                    last = Some(connection.command("/v1/orders", &body, &mut refused).await?);
                }
                Ok::<_, Error>(last)
            })
        })
        .collect();
    for seeder in seeders {
        if let Some(last) = seeder.await.map_err(std::io::Error::other)?? {
            wait_for(&to, &last).await?;
        }
    }
    Ok(rows)
}

fn large() -> String {
    let line = |n: u32| {
        format!(
            r#"{{"product_id":"{}","department":"GROCERY","quantity":1,"unit_price_minor":{n}}}"#,
            Uuid::from_u128(u128::from(n))
        )
    };
    let lines: Vec<_> = (1..=LINES_OF_LARGE).map(line).collect();
    format!(
        r#"{{"customer_id":"{}","currency":"USD","lines":[{}]}}"#,
        Uuid::from_u128(7),
        lines.join(",")
    )
}

/// The tables may be minutes behind a large seed.
async fn wait_for(address: &str, made: &str) -> Result<(), Error> {
    let (path, position) = (format!("/v1/orders/{}", id_of(made)?), position_of(made)?);
    loop {
        match Connection::open(address).await?.read(&path, &position).await {
            Ok(_) => return Ok(()),
            Err(Error::Answer { status: 503 | 504, .. }) => tokio::time::sleep(PROBE_EVERY).await,
            Err(error) => return Err(error),
        }
    }
}

pub async fn listen(
    address: SocketAddr,
    rate: u32,
    span: Duration,
) -> Result<HonestTraffic, Error> {
    let began = Instant::now();
    let to: Arc<str> = address.to_string().into();
    // A command and a read each.
    let step = Duration::from_secs_f64(2.0 * CONNECTIONS as f64 / f64::from(rate));
    let callers: Vec<_> = (0..CONNECTIONS)
        .map(|n| {
            tokio::spawn(call(
                to.clone(),
                began + step.mul_f64(n as f64 / CONNECTIONS as f64),
                step,
                began + span,
            ))
        })
        .collect();
    let probe = tokio::spawn(probe(address, began + span));
    let (mut latencies, mut failed) = (Vec::new(), 0);
    for caller in callers {
        let (took, missed) = caller.await.map_err(std::io::Error::other)?;
        latencies.extend(took);
        failed += missed;
    }
    let livez = probe.await.map_err(std::io::Error::other)?;
    Ok(HonestTraffic {
        answered: latencies.len(),
        failed,
        p99: at(latencies, 0.99),
        livez_p99: at(livez.clone(), 0.99),
        livez_longest: at(livez, 1.0),
    })
}

fn at(mut latencies: Vec<Duration>, share: f64) -> Duration {
    latencies.sort_unstable();
    let last = latencies.len().saturating_sub(1);
    latencies
        .get(((latencies.len() as f64 * share) as usize).min(last))
        .copied()
        .unwrap_or_default()
}

/// What was answered, and how many were not.
async fn call(
    address: Arc<str>,
    first: Instant,
    step: Duration,
    until: Instant,
) -> (Vec<Duration>, usize) {
    let (mut latencies, mut failed, mut due, mut connection) = (Vec::new(), 0, first, None);
    while due < until {
        sleep_until(due).await;
        let begun = timeout(PATIENCE, both(&address, connection.take(), due, &mut latencies)).await;
        match begun {
            Ok(Ok(kept)) => connection = Some(kept),
            Ok(Err(error)) => {
                eprintln!("failed: {error}");
                failed += 1;
            }
            Err(_) => {
                eprintln!("failed: not answered within {PATIENCE:?}");
                failed += 1;
            }
        }
        due += step;
    }
    (latencies, failed)
}

/// A command, and the read of its row at its position.
async fn both(
    address: &str,
    connection: Option<Connection>,
    due: Instant,
    latencies: &mut Vec<Duration>,
) -> Result<Connection, Error> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => Connection::open(address).await?,
    };
    let mut refused = 0;
    let made = connection.command("/v1/orders", &create(), &mut refused).await?;
    latencies.push(due.elapsed());
    let began = Instant::now();
    connection.read(&format!("/v1/orders/{}", id_of(&made)?), &position_of(&made)?).await?;
    latencies.push(began.elapsed());
    Ok(connection)
}

async fn probe(address: SocketAddr, until: Instant) -> Vec<Duration> {
    let mut latencies = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        let answered = timeout(PATIENCE, get(address, "/livez")).await;
        latencies.push(if matches!(answered, Ok(Ok(200))) { began.elapsed() } else { PATIENCE });
        sleep_until(began + PROBE_EVERY).await;
    }
    latencies
}

pub async fn is_ready(address: SocketAddr) -> bool {
    matches!(timeout(PATIENCE, get(address, "/readyz")).await, Ok(Ok(200)))
}

/// The status of the answer.
async fn get(address: SocketAddr, path: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                .as_bytes(),
        )
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or_default())
}
