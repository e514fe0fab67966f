//! Owns one connection from its acceptance to its end: the protocol on it, its limits of time, how
//! it closes.
//!
//! | module | what it owns |
//! |---|---|
//! | `link` | what is known of a connection, and what is due on it |
//! | `transport`, `heads` | what moves on the stream |
//! | `received`, `answer` | the bodies of requests and answers |
//! | `closing` | reading on behind an answer |
//!
//! hyper parses. It is polled by one task with one timer, which traffic never touches: the timer
//! looks from time to time at what is due.

mod answer;
mod closing;
mod heads;
pub(super) mod link;
mod received;
mod transport;

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body as AnyBody;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderValue, Response, Uri, Version, header};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tower::Service;

use self::answer::{Answer, PIECE_BYTES, held_bytes};
use self::link::{Due, Ticket};
use self::received::{ReceivedBody, read_rest};
use self::transport::Transport;
use super::room::Seat;
use super::settings::HttpSettings;
use super::shared::{Protocols, Server};
use super::trace::{TRACEPARENT, TraceContext};
use crate::health;
use highwater_runtime::clock::SystemIds;

use self::link::{Demand, Link};

/// How long a connection on which nothing is open may take to leave.
const LEAVE_WITHIN: Duration = Duration::from_millis(250);
/// A body beside a GET has come with the head, or is not waited for.
const BESIDE_A_READ: Duration = Duration::from_millis(5);
/// hyper refuses less.
const LEAST_HEAD_BYTES: usize = 8 * 1024;
/// A body of the largest size allowed by default is sent without waiting; a client makes us hold
/// four of them unread.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// What the HTTP/2 codec takes of one answer ahead of the client's window.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Streams that the client resets before they are served, waiting at once, until the connection is
/// ended (CVE-2023-44487).
const RESETS_BY_CLIENT: usize = 32;
/// Streams that we reset or refuse in the life of a connection. An honest client may open 100
/// before it knows how many it may.
const RESETS_BY_US: usize = 256;

/// What hyper may do on a connection. Limits of time are ours: its own cover a part of them, and
/// cost a timer a request.
pub(super) fn protocols(settings: &HttpSettings) -> Protocols {
    let head_bytes = settings.head_limit_bytes.max(LEAST_HEAD_BYTES);
    let mut protocols = auto::Builder::new(TokioExecutor::new());
    protocols.http1().header_read_timeout(None).max_buf_size(head_bytes);
    protocols
        .http2()
        .max_concurrent_streams(settings.streams_per_connection)
        .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(RESETS_BY_CLIENT)
        .max_local_error_reset_streams(RESETS_BY_US);
    protocols
}

/// Serves a connection to its end.
pub(super) async fn serve(stream: TcpStream, seat: Seat, server: Arc<Server>) {
    let link = seat.link();
    let transport = TokioIo::new(Transport::new(stream, Arc::clone(link)));
    // The exchange is open before the parser looks further: what comes next may be the client's
    // end.
    let service = service_fn(|request: Request<Incoming>| {
        let http1 = request.version() < Version::HTTP_2;
        answered(
            Arc::clone(&server),
            Ticket::open(link, !request.body().is_end_stream(), http1),
            request,
        )
    });
    let reason = {
        let parser = pin!(server.protocols.serve_connection(transport, service));
        drive(parser, link, &server.settings).await
    };
    metrics::counter!("highwater_http_connections_ended_total", "reason" => reason.text())
        .increment(1);
    let Some(stream) = link.take_stream() else { return };
    match reason {
        // What the kernel still holds for a client that takes nothing goes with it.
        ConnectionEnd::Cut(_) => drop(stream.set_zero_linger()),
        ConnectionEnd::Failed => closing::read_on(stream, link, &server.settings).await,
        ConnectionEnd::Closed if link.owes_reading() => {
            closing::read_on(stream, link, &server.settings).await
        }
        ConnectionEnd::Closed => {}
    }
}

#[derive(Clone, Copy)]
enum ConnectionEnd {
    /// As the protocol has it.
    Closed,
    /// What came is not the protocol, which was answered as far as it can be; or the client is
    /// gone.
    Failed,
    /// By a limit, or on demand.
    Cut(&'static str),
}

impl ConnectionEnd {
    fn text(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Failed => "failed",
            Self::Cut(reason) => reason,
        }
    }
}

type Parser<'a, S> = auto::Connection<'a, TokioIo<Transport>, S, TokioExecutor>;

enum Event {
    ConnectionEnd(ConnectionEnd),
    Demanded(Demand),
    Look,
}

async fn drive<S, F>(
    mut parser: Pin<&mut Parser<'_, S>>,
    link: &Arc<Link>,
    settings: &HttpSettings,
) -> ConnectionEnd
where
    S: hyper::service::Service<
            Request<Incoming>,
            Response = Response<Answer>,
            Error = Infallible,
            Future = F,
        >,
    F: Future<Output = Result<Response<Answer>, Infallible>> + Send + 'static,
{
    let mut look = pin!(sleep_until(Instant::now()));
    let mut leaving: Option<Instant> = None;
    loop {
        let event = poll_fn(|cx| {
            link.task.register(cx.waker());
            if link.is_demanded(Demand::End) {
                return Poll::Ready(Event::Demanded(Demand::End));
            }
            if leaving.is_none() && link.is_demanded(Demand::Leave) {
                return Poll::Ready(Event::Demanded(Demand::Leave));
            }
            if look.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::Look);
            }
            match parser.as_mut().poll(cx) {
                Poll::Ready(Ok(())) => Poll::Ready(Event::ConnectionEnd(ConnectionEnd::Closed)),
                Poll::Ready(Err(_)) => Poll::Ready(Event::ConnectionEnd(ConnectionEnd::Failed)),
                Poll::Pending if link.look_soon.swap(false, Ordering::AcqRel) => {
                    Poll::Ready(Event::Look)
                }
                Poll::Pending => Poll::Pending,
            }
        });
        let due = match event.await {
            Event::ConnectionEnd(ended) => return ended,
            Event::Demanded(Demand::End) => return ConnectionEnd::Cut("demanded"),
            Event::Demanded(_) => Due::Leave("demanded"),
            Event::Look if leaving.is_some() && link.is_quiet() => return ConnectionEnd::Closed,
            Event::Look if leaving.is_some_and(|since| overstays(link, since, settings)) => {
                return ConnectionEnd::Cut("overstayed");
            }
            Event::Look => link.due(Instant::now(), settings),
        };
        if matches!(due, Due::Leave("idle")) {
            // It was quiet, too.
            link.demand(Demand::GiveWay);
        }
        match due {
            Due::End(reason) => return ConnectionEnd::Cut(reason),
            Due::Leave(_) if link.has_only_unfinished_head() => return ConnectionEnd::Cut("head"),
            Due::Leave(_) => {
                leaving.get_or_insert_with(Instant::now);
                parser.as_mut().graceful_shutdown();
                look.as_mut().reset(Instant::now() + LEAVE_WITHIN);
            }
            Due::Look(at) if leaving.is_some() => {
                look.as_mut().reset(at.min(Instant::now() + LEAVE_WITHIN))
            }
            Due::Look(at) => look.as_mut().reset(at),
        }
    }
}

/// An HTTP/2 client that does not confirm our GOAWAY may open streams for ever. What was under way
/// when it was told, on a connection that had nothing open, has as long as a head.
fn overstays(link: &Link, since: Instant, settings: &HttpSettings) -> bool {
    link.is_demanded(Demand::GiveWay) && since.elapsed() >= settings.head_timeout()
}

/// Answers one request; what the router answers leaves in pieces that are counted.
async fn answered(
    server: Arc<Server>,
    ticket: Ticket,
    mut request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let link = Arc::clone(ticket.link());
    let http1 = request.version() < Version::HTTP_2;
    let reads = request.method().is_safe();
    let asks_first = request.headers().contains_key(header::EXPECT);
    let uri = request.uri().clone();
    let health = health::PATHS.contains(&uri.path());
    link.asks_health(health);
    let trace = if link.health_only && !health {
        Some(TraceContext::from_headers(request.headers(), &SystemIds))
    } else {
        None
    };
    request.extensions_mut().insert(ConnectInfo(link.peer));
    let request = request.map(|body| ReceivedBody::wrap(body, &ticket, http1));
    let answer = match trace {
        Some(trace) => {
            drop(request);
            server.overloaded("connections", &uri, trace.to_header())
        }
        None => {
            let Ok(answer) = server.router.clone().call(request).await;
            answer
        }
    };
    let mut answer = fitting(&server, &ticket, &uri, answer);
    if http1 {
        // A body that waits for our word is not asked for now, and a place for health is not for
        // waiting.
        let ended = !ticket.is_receiving() || !(asks_first || link.health_only);
        let wait = server.settings.unread_body_wait();
        // The answer to a read has its place in a bulkhead already, which is not for waiting.
        let wait = if reads { wait.min(BESIDE_A_READ) } else { wait };
        // What is rare is kept apart: each request is moved about with all that it may come to
        // hold.
        let ended = ended
            && (!ticket.is_receiving()
                || Box::pin(read_rest(&ticket, server.settings.unread_body_bytes, wait)).await);
        if !ended || link.health_only {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        drop(link.take_left());
    } else if link.health_only {
        link.demand(Demand::GiveWay);
    }
    Ok(answer.map(|body| Answer::new(body, ticket)))
}

/// The answer, unless there is no room for what it holds in memory.
fn fitting(
    server: &Server,
    ticket: &Ticket,
    uri: &Uri,
    answer: Response<AnyBody>,
) -> Response<AnyBody> {
    let bytes = held_bytes(answer.body());
    // What fits into a piece costs no more than the refusal.
    if bytes <= PIECE_BYTES || server.makes_room(ticket.link(), bytes) {
        return answer;
    }
    server.overloaded("unsent", uri, answer.headers().get(TRACEPARENT).cloned())
}
