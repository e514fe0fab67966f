use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr},
    time::Duration,
};

use highwater_http::server::{BulkheadSettings, HttpSettings};
use tokio::io::AsyncWriteExt;

use crate::{client::Http1, documented::Row, server::Server};

const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test]
async fn a_connection_is_kept_or_said_to_close_when_a_body_was_not_read() {
    let server =
        Server::start(HttpSettings { unread_body_wait_ms: 10_000, ..HttpSettings::default() })
            .await;
    let small = [("/nowhere", "POST", "404"), ("/json", "PUT", "405"), ("/json", "POST", "415")];
    for (path, method, status) in small.into_iter().cycle().take(60) {
        let mut client = Http1::connect(server.address).await;
        // The body comes after the head was refused, but soon.
        client
            .send(&format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\n{{\"a\""
            ))
            .await;
        tokio::task::yield_now().await;
        let refused = client.send(":1").await.answer().await;
        assert!(
            refused.starts_with(&format!("HTTP/1.1 {status}"))
                && !refused.contains("connection: close"),
            "{refused}"
        );
        let good = format!(
            "POST /json HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: 2\r\n\r\n{{}}"
        );
        assert!(client.send(&good).await.answer().await.ends_with("{}"), "{path}");
        // The same in chunks.
        let chunks = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: \
             chunked\r\n\r\n6\r\n{{\"a\":1\r\n0\r\n\r\n"
        );
        let refused = client.send(&chunks).await.answer().await;
        assert!(
            refused.starts_with(&format!("HTTP/1.1 {status}"))
                && !refused.contains("connection: close"),
            "{refused}"
        );
        assert!(client.send(&good).await.answer().await.ends_with("{}"), "{path}");
    }
    let server =
        Server::start(HttpSettings { unread_body_wait_ms: 100, ..HttpSettings::default() }).await;
    let kept_back = "POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\n";
    let large = "POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n";
    let chunked =
        "POST /nowhere HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
    let asks = "POST /nowhere HTTP/1.1\r\nHost: localhost\r\nExpect: \
                100-continue\r\nContent-Length: 6\r\n\r\n";
    for head in [kept_back, large, chunked, asks] {
        let mut client = Http1::connect(server.address).await;
        let refused = client.send(head).await.answer().await;
        assert!(
            refused.starts_with("HTTP/1.1 404") && refused.contains("connection: close"),
            "{head}: {refused}"
        );
        assert_eq!(client.rest().await, "");
    }
    Row {
        id: "C4",
        situation: "HTTP/1.1: POST refused before its body is read (404, 405, 415), then a good \
                    POST on the same connection",
        answer: "a body of at most `http.unread_body_bytes`, in chunks or not, that comes within \
                 `http.unread_body_wait_ms` is read first, \
                 and the connection kept; else the answer says `Connection: close`",
        test: (file!(), "a_connection_is_kept_or_said_to_close_when_a_body_was_not_read"),
    }
    .check();
}

#[tokio::test]
async fn a_read_whose_body_does_not_come_keeps_no_place() {
    let one = BulkheadSettings {
        limit: std::num::NonZeroUsize::MIN,
        waiting: 0,
        ..BulkheadSettings::default()
    };
    let server = Server::start(HttpSettings {
        collections: one,
        unread_body_wait_ms: 120_000,
        ..HttpSettings::default()
    })
    .await;
    let mut kept_back = Vec::new();
    for _ in 0..10 {
        let mut client = Http1::connect(server.address).await;
        let answer = client
            .send("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n")
            .await
            .answer()
            .await;
        assert!(answer.ends_with("answered") && answer.contains("connection: close"), "{answer}");
        kept_back.push(client);
    }
    // One that came along is read.
    let mut client = Http1::connect(server.address).await;
    for _ in 0..2 {
        let answer = client
            .send("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx")
            .await
            .answer()
            .await;
        assert!(answer.ends_with("answered") && !answer.contains("connection: close"), "{answer}");
    }
    Row {
        id: "C4b",
        situation: "HTTP/1.1: GET with `Content-Length: 1`, and the byte is kept back",
        answer: "answered at once, with `Connection: close`; its place in the bulkhead is free",
        test: (file!(), "a_read_whose_body_does_not_come_keeps_no_place"),
    }
    .check();
}

/// Writes everything before it reads anything, as many libraries do.
fn writes_first(address: SocketAddr, head: &str, bytes: usize) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..bytes / 50_000 {
        // Libraries give up here, and never look whether there is an answer.
        if let Err(error) = stream.write_all(&[b' '; 50_000]) {
            return format!("the body could not be written: {error}");
        }
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_client_that_writes_first_reads_why_its_body_was_refused() {
    let server = Server::start(HttpSettings::default()).await;
    // The Java client asks for an upgrade with its first request.
    let upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \
                   AAEAAEAAAAIAAAAA\r\n";
    for more in ["", "Connection: close\r\n", upgrade].into_iter().cycle().take(15) {
        let head = format!(
            "POST /json HTTP/1.1\r\nHost: localhost\r\n{JSON}{more}Content-Length: 5000000\r\n\r\n"
        );
        let address = server.address;
        let answer = tokio::task::spawn_blocking(move || writes_first(address, &head, 5_000_000))
            .await
            .unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 413") && answer.contains("body.too-large"),
            "{more}: {answer:?}"
        );
    }
    Row {
        id: "C5",
        situation: "5 MB announced, written whole before anything is read",
        answer: "413, read by the client each time: the connection is closed in stages \
                 (`http.linger_ms`, `http.linger_bytes`)",
        test: (file!(), "a_client_that_writes_first_reads_why_its_body_was_refused"),
    }
    .check();
}

#[tokio::test]
async fn what_a_refused_client_still_sends_is_read_for_a_while_only() {
    let server = Server::start(HttpSettings {
        linger_ms: 300,
        linger_bytes: 1_000_000,
        ..HttpSettings::default()
    })
    .await;
    let head = format!(
        "POST /json HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: 900000000\r\n\r\n"
    );
    let mut client = Http1::connect(server.address).await;
    client.send(&head).await;
    let endless = async { while client.0.write_all(&[b' '; 50_000]).await.is_ok() {} };
    assert!(
        tokio::time::timeout(Duration::from_secs(20), endless).await.is_ok(),
        "it is read for ever"
    );
    let mut silent = Http1::connect(server.address).await;
    assert!(silent.send(&head).await.rest().await.starts_with("HTTP/1.1 413"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_whose_client_ends_with_it_is_answered_and_one_cut_short_is_refused() {
    let server = Server::start(HttpSettings::default()).await;
    let address = server.address;
    let asked = |length: usize, body: &'static [u8]| {
        tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            let head = format!(
                "POST /json HTTP/1.1\r\nHost: localhost\r\nContent-Type: \
                 application/json\r\nContent-Length: {length}\r\n\r\n"
            );
            stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        })
    };
    // The end may come with the head, with the body, or behind them.
    for _ in 0..50 {
        let answer = asked(9, br#"{"a": 10}"#).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    }
    let answer = asked(9, br#"{"a": 1"#).await.unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer:?}");
}

#[tokio::test]
async fn a_half_closed_client_gets_its_answer_and_one_that_is_gone_is_noticed() {
    let server = Server::start(HttpSettings::default()).await;
    let mut client = Http1::connect(server.address).await;
    client.send("GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n").await.0.shutdown().await.unwrap();
    server.counts.until(|counts| counts.waiting() == 1).await;
    server.go.send_replace(true);
    assert!(client.rest().await.ends_with("waited for"));
    let page = Http1::connect(server.address).await.0.into_std().unwrap();
    page.set_nonblocking(false).unwrap();
    let read = tokio::task::spawn_blocking(move || {
        let mut page = page;
        page.write_all(b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        page.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        page.read_to_end(&mut all).unwrap()
    });
    assert!(read.await.unwrap() > crate::server::PAGE_BYTES);
    let server =
        Server::start(HttpSettings { half_closed_ms: 100, ..HttpSettings::default() }).await;
    let mut client = Http1::connect(server.address).await;
    client.send("GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    server.counts.until(|counts| counts.waiting() == 1).await;
    drop(client);
    server.counts.until(|counts| counts.waiting() == 0).await;
    Row {
        id: "C5b",
        situation: "a client closes its sending half behind its request; another goes away",
        answer: "the first gets its answer, if that begins within `http.half_closed_ms`; then it \
                 counts as gone, and the request ends",
        test: (file!(), "a_half_closed_client_gets_its_answer_and_one_that_is_gone_is_noticed"),
    }
    .check();
}

#[tokio::test]
async fn old_and_odd_requests_are_answered() {
    let server = Server::start(HttpSettings::default()).await;
    let mut old = Http1::connect(server.address).await;
    assert!(
        old.send("GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
            .await
            .rest()
            .await
            .ends_with("answered")
    );
    let mut kept = Http1::connect(server.address).await;
    for _ in 0..2 {
        let answer = kept
            .send("GET / HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n")
            .await
            .answer()
            .await;
        assert!(answer.ends_with("answered"), "{answer}");
    }
    let mut absolute = Http1::connect(server.address).await;
    let answer = absolute
        .send("GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .answer()
        .await;
    assert!(answer.ends_with("answered"), "{answer}");
    let mut chunks = Http1::connect(server.address).await;
    chunks
        .send("POST /receive HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    let body = "1\r\nx\r\n".repeat(10_000) + "0\r\nTrailer: x\r\n\r\n";
    assert!(chunks.send(&body).await.answer().await.ends_with("10000"));
    let mut trailers = Http1::connect(server.address).await;
    trailers
        .send(
            "POST /receive HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        )
        .await;
    let endless = "X-More: x\r\n".repeat(100_000);
    let _ = trailers.0.write_all(endless.as_bytes()).await;
    assert!(trailers.rest().await.contains("connection: close"));
}
