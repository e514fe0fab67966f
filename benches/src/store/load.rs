//! The client: keeps a number of connections busy for a while, and says how many commands were
//! answered and how fast. Plain HTTP/1.1 on kept-alive connections, so that it costs little beside
//! the server on the same machine.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::Instant,
};
use uuid::Uuid;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the server cannot be reached: {0}")]
    Io(#[from] std::io::Error),
    #[error("{path} was answered {status}: {body}")]
    Answer { path: String, status: u16, body: String },
    #[error("an answer that is no HTTP/1.1: {0}")]
    Malformed(String),
}

/// One round at one number of connections.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    pub commands: usize,
    pub per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
    /// Refused with 503, and tried again with the same key after the time they named.
    pub refused: usize,
}

/// Half creates of three lines, half confirmations of what was just made; every key is fresh. On
/// one thread of its own, so that the client's connections do not wake each other across
/// processors.
pub async fn run(address: &str, connections: usize, lasting: Duration) -> Result<Round, Error> {
    let address: Arc<str> = address.into();
    let one_thread = move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(busy(
            address,
            connections,
            lasting,
        ))
    };
    tokio::task::spawn_blocking(one_thread).await.map_err(std::io::Error::other)?
}

async fn busy(address: Arc<str>, connections: usize, lasting: Duration) -> Result<Round, Error> {
    let until = Instant::now() + lasting;
    let began = Instant::now();
    let clients: Vec<_> =
        (0..connections).map(|_| tokio::spawn(keep_busy(address.clone(), until))).collect();
    let (mut latencies, mut refused) = (Vec::new(), 0);
    for client in clients {
        let (taken, no) = client.await.map_err(std::io::Error::other)??;
        latencies.extend(taken);
        refused += no;
    }
    let took = began.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |share: f64| {
        latencies.get((latencies.len() as f64 * share) as usize).copied().unwrap_or_default()
    };
    Ok(Round {
        commands: latencies.len(),
        per_second: latencies.len() as f64 / took,
        p50: at(0.5),
        p99: at(0.99),
        refused,
    })
}

/// Commands `from` to `to` of a long history, each on the next of `aggregates` aggregates.
pub async fn grow(
    address: &str,
    connections: usize,
    aggregates: usize,
    from: usize,
    to: usize,
) -> Result<(), Error> {
    let address: Arc<str> = address.into();
    let clients: Vec<_> = (0..connections)
        .map(|n| {
            let address = address.clone();
            tokio::spawn(async move {
                let (mut connection, mut refused) = (Connection::open(&address).await?, 0);
                for command in (from + n..to).step_by(connections) {
                    let id = Uuid::from_u128(HISTORY + (command % aggregates) as u128);
                    connection
                        .command(
                            &format!("/v1/stock/{id}/receive"),
                            r#"{"quantity":1}"#,
                            &mut refused,
                        )
                        .await?;
                }
                Ok::<_, Error>(())
            })
        })
        .collect();
    for client in clients {
        client.await.map_err(std::io::Error::other)??;
    }
    Ok(())
}

/// Where the ids of [`grow`] begin.
const HISTORY: u128 = 0x018f_0000_0000_7000_8000_0000_0000_0000;

async fn keep_busy(address: Arc<str>, until: Instant) -> Result<(Vec<Duration>, usize), Error> {
    let mut connection = Connection::open(&address).await?;
    let (mut latencies, mut refused) = (Vec::new(), 0);
    while Instant::now() < until {
        let began = Instant::now();
        let made = connection.command("/v1/orders", &create(), &mut refused).await?;
        latencies.push(began.elapsed());
        let path = format!("/v1/orders/{}/confirm", id_of(&made)?);
        let began = Instant::now();
        connection.command(&path, "{}", &mut refused).await?;
        latencies.push(began.elapsed());
    }
    Ok((latencies, refused))
}

pub fn id_of(answer: &str) -> Result<String, Error> {
    member(answer, "id")
}

pub fn position_of(answer: &str) -> Result<String, Error> {
    member(answer, "position")
}

/// Without reading the rest of it: the client must cost little beside the server.
fn member(answer: &str, name: &str) -> Result<String, Error> {
    let rest = answer.split(&format!("\"{name}\":\"")).nth(1);
    rest.and_then(|rest| rest.split('"').next())
        .map(str::to_owned)
        .ok_or_else(|| Error::Malformed(answer.to_owned()))
}

pub fn create() -> String {
    let line = |n: u32| {
        format!(
            r#"{{"product_id":"{}","department":"GROCERY","quantity":{n},"unit_price_minor":{}}}"#,
            Uuid::from_u128(u128::from(n)),
            199 * n
        )
    };
    format!(
        r#"{{"customer_id":"{}","currency":"USD","lines":[{},{},{}]}}"#,
        Uuid::from_u128(7),
        line(1),
        line(2),
        line(3)
    )
}

pub struct Connection {
    stream: BufReader<TcpStream>,
    keys: Keys,
    line: String,
}

/// Fresh keys without a call to the system's randomness for each.
struct Keys {
    prefix: Uuid,
    next: u64,
}

impl Connection {
    pub async fn open(address: &str) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let ids: &dyn highwater_runtime::clock::Ids = &highwater_runtime::clock::SystemIds;
        Ok(Self {
            stream: BufReader::new(stream),
            keys: Keys { prefix: ids.v4(), next: 0 },
            line: String::new(),
        })
    }

    /// One command until it is decided, whatever is refused before.
    pub async fn command(
        &mut self,
        path: &str,
        body: &str,
        refused: &mut usize,
    ) -> Result<String, Error> {
        self.keys.next += 1;
        let key = format!("{}-{}", self.keys.prefix.simple(), self.keys.next);
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: \
             application/json\r\nidempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        loop {
            self.stream.get_mut().write_all(request.as_bytes()).await?;
            let (status, answer) = self.answer().await?;
            match status {
                200 | 201 => return Ok(answer),
                503 => {
                    *refused += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                status => {
                    return Err(Error::Answer { path: path.to_owned(), status, body: answer });
                }
            }
        }
    }

    /// Reads a resource at a position.
    pub async fn read(&mut self, path: &str, position: &str) -> Result<String, Error> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nhighwater-min-position: \
             {position}\r\nprefer: wait=5\r\n\r\n"
        );
        self.stream.get_mut().write_all(request.as_bytes()).await?;
        match self.answer().await? {
            (200, answer) => Ok(answer),
            (status, body) => Err(Error::Answer { path: path.to_owned(), status, body }),
        }
    }

    async fn answer(&mut self) -> Result<(u16, String), Error> {
        self.read_line().await?;
        let status = self
            .line
            .get(9..12)
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| Error::Malformed(self.line.clone()))?;
        let mut length = 0;
        loop {
            self.read_line().await?;
            let header = self.line.trim_end();
            if header.is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().map_err(|_| Error::Malformed(header.to_owned()))?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    async fn read_line(&mut self) -> Result<(), Error> {
        self.line.clear();
        if self.stream.read_line(&mut self.line).await? == 0 {
            return Err(Error::Malformed("the connection ended".to_owned()));
        }
        Ok(())
    }
}
