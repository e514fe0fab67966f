//! One hostile client: costly forms of few bytes (docs/security.md), never more than its bytes a
//! second nor its connections.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::http::{Method, Request};
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

use super::load::create;

/// Rows of docs/security.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// HTTP/2 streams with a head and no body.
    StreamsWithoutBody,
    /// Heads that do not end, by the byte and by the kilobyte.
    UnfinishedHeads,
    /// Large answers that are not taken.
    AnswersNotTaken,
    /// Refused before the body, which comes all the same, and the next request on the same
    /// connection.
    BodiesAfterRefusal,
    /// Bodies announced far above the limit.
    BodiesTooLarge,
    /// Bodies of legal size with as many mistakes as fit.
    BodiesOfMistakes,
    /// The most costly lists.
    Lists,
    /// Waits for what will not come.
    WaitsForEver,
    /// The same, of lists.
    ListsThatWait,
    /// Accepted commands that are mostly white space.
    WhiteSpace,
}

impl Form {
    pub const ALL: [Self; 10] = [
        Self::StreamsWithoutBody,
        Self::UnfinishedHeads,
        Self::AnswersNotTaken,
        Self::BodiesAfterRefusal,
        Self::BodiesTooLarge,
        Self::BodiesOfMistakes,
        Self::Lists,
        Self::WaitsForEver,
        Self::ListsThatWait,
        Self::WhiteSpace,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::StreamsWithoutBody => "C1",
            Self::UnfinishedHeads => "C2",
            Self::AnswersNotTaken => "C3",
            Self::BodiesAfterRefusal => "C4",
            Self::BodiesTooLarge => "C5",
            Self::BodiesOfMistakes => "W1",
            Self::Lists => "W2",
            Self::WaitsForEver => "W3",
            Self::ListsThatWait => "W3b",
            Self::WhiteSpace => "W4",
        }
    }

    /// Large bodies come whole only over few connections.
    fn connections(self, most: usize) -> usize {
        match self {
            Self::BodiesOfMistakes | Self::WhiteSpace => most.min(2),
            _ => most,
        }
    }
}

/// The client, until it is ended.
pub struct Hostile {
    tasks: JoinSet<()>,
    means: Arc<Means>,
}

/// What all of its connections share.
struct Means {
    address: SocketAddr,
    from: IpAddr,
    bytes_per_second: u64,
    began: Instant,
    sent: AtomicU64,
}

impl Hostile {
    pub fn begin(
        form: Form,
        address: SocketAddr,
        from: IpAddr,
        connections: usize,
        bytes_per_second: u64,
    ) -> Self {
        let means = Arc::new(Means {
            address,
            from,
            bytes_per_second,
            began: Instant::now(),
            sent: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        for n in 0..form.connections(connections) {
            let means = means.clone();
            tasks.spawn(async move {
                loop {
                    // It is cut off, and comes again.
                    let _ = means.attack(form, n).await;
                    means.pace().await;
                    sleep(AGAIN).await;
                }
            });
        }
        Self { tasks, means }
    }

    /// The bytes it sent.
    pub async fn end(mut self) -> u64 {
        self.tasks.shutdown().await;
        self.means.sent.load(Ordering::Relaxed)
    }
}

const AGAIN: Duration = Duration::from_millis(50);
/// What a connection costs the client that makes it.
const CONNECTION_BYTES: u64 = 200;
const CHUNK: usize = 4_096;
/// The largest body that is taken, nearly.
const LEGAL: usize = 261_000;
const STREAMS: usize = 200;

impl Means {
    async fn attack(self: &Arc<Self>, form: Form, n: usize) -> io::Result<()> {
        match form {
            Form::StreamsWithoutBody => {
                self.streams(DEFAULT_WINDOW, Method::POST, |_| "/v1/orders".to_owned(), false).await
            }
            Form::AnswersNotTaken => {
                self.streams(0, Method::GET, |n| format!("/v1/orders?limit={}", 200 - n % 8), true)
                    .await
            }
            Form::ListsThatWait => {
                self.streams(
                    DEFAULT_WINDOW,
                    Method::GET,
                    |_| "/v1/orders?limit=200".to_owned(),
                    true,
                )
                .await
            }
            Form::WaitsForEver => {
                self.streams(
                    DEFAULT_WINDOW,
                    Method::GET,
                    |n| format!("/v1/orders/{}", Uuid::from_u128(n as u128)),
                    true,
                )
                .await
            }
            Form::UnfinishedHeads if n.is_multiple_of(2) => self.drip().await,
            Form::UnfinishedHeads => self.endless_head().await,
            Form::BodiesAfterRefusal => self.refused_bodies().await,
            Form::BodiesTooLarge => self.endless_body().await,
            Form::BodiesOfMistakes => self.bodies("application/json", "", mistakes).await,
            Form::WhiteSpace => {
                self.bodies("application/json", "prefer: respond-async\r\n", white_space).await
            }
            Form::Lists => self.lists().await,
        }
    }

    async fn connect(self: &Arc<Self>) -> io::Result<Metered> {
        self.pace().await;
        self.sent.fetch_add(CONNECTION_BYTES, Ordering::Relaxed);
        let socket = if self.from.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.bind(SocketAddr::new(self.from, 0))?;
        Ok(Metered { stream: socket.connect(self.address).await?, means: self.clone() })
    }

    /// Until it may send again.
    async fn pace(&self) {
        loop {
            let allowed = self.began.elapsed().as_secs_f64() * self.bytes_per_second as f64;
            let ahead = self.sent.load(Ordering::Relaxed) as f64 - allowed;
            if ahead <= 0.0 {
                return;
            }
            sleep(
                Duration::from_secs_f64(ahead / self.bytes_per_second as f64)
                    .max(Duration::from_millis(1)),
            )
            .await;
        }
    }

    async fn streams(
        self: &Arc<Self>,
        window: u32,
        method: Method,
        path: impl Fn(usize) -> String,
        ended: bool,
    ) -> io::Result<()> {
        let stream = self.connect().await?;
        let (mut send, mut connection) = h2::client::Builder::new()
            .initial_window_size(window)
            .handshake::<_, axum::body::Bytes>(stream)
            .await
            .map_err(io::Error::other)?;
        let mut pings = connection.ping_pong();
        let driven = tokio::spawn(connection);
        let (mut open, mut kept, mut sent) = (FuturesUnordered::new(), Vec::new(), 0);
        let asked = async {
            loop {
                self.pace().await;
                // Answers are taken note of, and their bodies left.
                while let Some(Some(answered)) = open.next().now_or_never() {
                    kept.extend(Result::<_, h2::Error>::ok(answered));
                }
                if kept.len() + open.len() >= STREAMS {
                    ping(&mut pings).await?;
                    if window > 0 {
                        kept.clear();
                    }
                    continue;
                }
                send = match timeout(PING_EVERY, send.clone().ready()).await {
                    Ok(ready) => ready.map_err(io::Error::other)?,
                    Err(_) => {
                        ping(&mut pings).await?;
                        continue;
                    }
                };
                let head = Request::builder()
                    .method(method.clone())
                    .uri(format!("http://localhost{}", path(sent)));
                let mut head = head.header("content-type", "application/json");
                if window > 0 && method == Method::GET {
                    head = head
                        .header("highwater-min-position", "order/1@99999999999")
                        .header("prefer", "wait=29");
                }
                let head = head.body(()).map_err(io::Error::other)?;
                let (answer, body) = send.send_request(head, ended).map_err(io::Error::other)?;
                sent += 1;
                open.push(async move {
                    let answered = answer.await;
                    drop(body);
                    answered
                });
            }
        };
        let ended: io::Result<()> = asked.await;
        driven.abort();
        ended
    }

    async fn drip(self: &Arc<Self>) -> io::Result<()> {
        let mut stream = self.connect().await?;
        stream.write_all(b"GET /v1/orders HTTP/1.1\r\nhost: localhost\r\nx-slow: ").await?;
        loop {
            self.pace().await;
            stream.write_all(b"a").await?;
            sleep(Duration::from_secs(1)).await;
        }
    }

    async fn endless_head(self: &Arc<Self>) -> io::Result<()> {
        let mut stream = self.connect().await?;
        stream.write_all(b"GET /v1/orders HTTP/1.1\r\nhost: localhost\r\n").await?;
        for n in 0..390 {
            self.pace().await;
            stream.write_all(format!("x-{n}: {}\r\n", "a".repeat(1_000)).as_bytes()).await?;
        }
        Ok(())
    }

    async fn refused_bodies(self: &Arc<Self>) -> io::Result<()> {
        let mut stream = self.connect().await?;
        loop {
            self.pace().await;
            let body = create();
            let refused = format!(
                "POST /v1/orders HTTP/1.1\r\nhost: localhost\r\ncontent-type: \
                 text/plain\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(refused.as_bytes()).await?;
            sleep(Duration::from_millis(5)).await;
            stream.write_all(body.as_bytes()).await?;
            self.answer(&mut stream).await?;
        }
    }

    async fn endless_body(self: &Arc<Self>) -> io::Result<()> {
        let mut stream = self.connect().await?;
        stream
            .write_all(
                b"POST /v1/orders HTTP/1.1\r\nhost: localhost\r\ncontent-type: \
                         application/json\r\ncontent-length: 5000000\r\n\r\n",
            )
            .await?;
        loop {
            self.pace().await;
            stream.write_all(&[b' '; 1_024]).await?;
        }
    }

    async fn bodies(
        self: &Arc<Self>,
        media: &str,
        headers: &str,
        body: impl Fn() -> String,
    ) -> io::Result<()> {
        let mut stream = self.connect().await?;
        loop {
            let body = body();
            let head = format!(
                "POST /v1/orders HTTP/1.1\r\nhost: localhost\r\ncontent-type: \
                 {media}\r\n{headers}content-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await?;
            for chunk in body.as_bytes().chunks(CHUNK) {
                self.pace().await;
                stream.write_all(chunk).await?;
            }
            self.answer(&mut stream).await?;
        }
    }

    async fn lists(self: &Arc<Self>) -> io::Result<()> {
        const LISTS: [&str; 5] = [
            "/v1/orders?placed_from=0000-01-01T00:00:00Z&placed_to=2016-01-01T00:00:00Z\
             &sort=-total_minor",
            "/v1/orders?sort=-total_minor&limit=200",
            "/v1/orders?limit=200",
            "/v1/sales?group=day",
            "/v1/products?q=a&limit=200",
        ];
        let mut stream = self.connect().await?;
        for list in LISTS.iter().cycle() {
            self.pace().await;
            stream
                .write_all(format!("GET {list} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes())
                .await?;
            self.answer(&mut stream).await?;
        }
        Ok(())
    }

    /// Reads an answer with `content-length`, and throws it away.
    async fn answer(&self, stream: &mut Metered) -> io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let length = head
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next()?.parse().ok())
            .unwrap_or(0);
        tokio::io::copy(&mut stream.take(length), &mut tokio::io::sink()).await?;
        Ok(())
    }
}

const DEFAULT_WINDOW: u32 = 65_535;
const PING_EVERY: Duration = Duration::from_secs(1);

async fn ping(pings: &mut Option<h2::PingPong>) -> io::Result<()> {
    sleep(PING_EVERY).await;
    if let Some(pings) = pings {
        pings.ping(h2::Ping::opaque()).await.map_err(io::Error::other)?;
    }
    Ok(())
}

fn mistakes() -> String {
    let start = format!(r#"{{"customer_id":"{}","currency":"USD","lines":["#, Uuid::from_u128(7));
    let lines = "{},".repeat((LEGAL - start.len()) / 3);
    format!("{start}{}]}}", lines.trim_end_matches(','))
}

fn white_space() -> String {
    let order = create();
    let (start, end) = order.split_at(order.len() - 1);
    format!("{start}{}{end}", " ".repeat(LEGAL - order.len()))
}

/// Counts what is written.
struct Metered {
    stream: TcpStream,
    means: Arc<Means>,
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        if let Ok(written) = &written {
            self.means.sent.fetch_add(*written as u64, Ordering::Relaxed);
        }
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
