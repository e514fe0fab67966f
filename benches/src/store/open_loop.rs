//! Load at a rate, whatever the answers take: every command has a due time, and its latency counts
//! from there. So a server that stalls is not asked more gently, and the stall is seen by all who
//! would have come meanwhile.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::load::{Connection, Error, create, id_of, position_of};

/// What was answered, and how late.
#[derive(Clone, Copy, Debug)]
pub struct Offered {
    pub answered: usize,
    pub refused: usize,
    pub p50: Duration,
    pub p99: Duration,
}

/// Until the answer, and until the row was read.
pub struct Latencies {
    pub answered: Offered,
    pub visible: Offered,
}

#[derive(Default)]
struct Answers {
    answers: Vec<Duration>,
    reads: Vec<Duration>,
    refused: usize,
}

/// Half creates, half confirmations of what was just made, `rate` a second in all.
pub async fn offer(
    address: &str,
    rate: u32,
    connections: usize,
    lasting: Duration,
) -> Result<Offered, Error> {
    let taken = spread(address, None, rate, connections, lasting).await?;
    Ok(offered(taken.answers, taken.refused))
}

/// The same, and every row is read at the position that its command was answered with.
pub async fn see(
    commands: &str,
    queries: &str,
    rate: u32,
    connections: usize,
    lasting: Duration,
) -> Result<Latencies, Error> {
    let taken = spread(commands, Some(queries), rate, connections, lasting).await?;
    Ok(Latencies {
        answered: offered(taken.answers, taken.refused),
        visible: offered(taken.reads, 0),
    })
}

async fn spread(
    commands: &str,
    queries: Option<&str>,
    rate: u32,
    connections: usize,
    lasting: Duration,
) -> Result<Answers, Error> {
    let began = Instant::now();
    let (commands, queries): (Arc<str>, Option<Arc<str>>) =
        (commands.into(), queries.map(Into::into));
    let step = Duration::from_secs_f64(connections as f64 / f64::from(rate));
    let clients: Vec<_> = (0..connections)
        .map(|n| {
            let first = began + step.mul_f64(n as f64 / connections as f64);
            tokio::spawn(keep_pace(commands.clone(), queries.clone(), first, step, began + lasting))
        })
        .collect();
    let mut all = Answers::default();
    for client in clients {
        let taken = client.await.map_err(std::io::Error::other)??;
        all.answers.extend(taken.answers);
        all.reads.extend(taken.reads);
        all.refused += taken.refused;
    }
    Ok(all)
}

async fn keep_pace(
    commands: Arc<str>,
    queries: Option<Arc<str>>,
    first: Instant,
    step: Duration,
    until: Instant,
) -> Result<Answers, Error> {
    let mut connection = Connection::open(&commands).await?;
    let mut reader = match &queries {
        Some(queries) => Some(Connection::open(queries).await?),
        None => None,
    };
    let (mut taken, mut due, mut made) = (Answers::default(), first, None);
    while due < until {
        sleep_until(due).await;
        let answer = match made.take() {
            None => {
                let answer =
                    connection.command("/v1/orders", &create(), &mut taken.refused).await?;
                made = Some(id_of(&answer)?);
                answer
            }
            Some(id) => {
                connection
                    .command(&format!("/v1/orders/{id}/confirm"), "{}", &mut taken.refused)
                    .await?
            }
        };
        taken.answers.push(due.elapsed());
        if let Some(reader) = &mut reader {
            reader.read(&format!("/v1/orders/{}", id_of(&answer)?), &position_of(&answer)?).await?;
            taken.reads.push(due.elapsed());
        }
        due += step;
    }
    Ok(taken)
}

fn offered(mut latencies: Vec<Duration>, refused: usize) -> Offered {
    latencies.sort_unstable();
    let at = |share: f64| {
        latencies.get((latencies.len() as f64 * share) as usize).copied().unwrap_or_default()
    };
    Offered { answered: latencies.len(), refused, p50: at(0.5), p99: at(0.99) }
}
