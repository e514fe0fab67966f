use std::time::Duration;

use highwater_http::server::HttpSettings;
use tokio::time::interval;

use crate::{
    client::{END_STREAM, Frame, GOAWAY, Http1, Http2, PING},
    documented::Row,
    server::{PAGE_BYTES, Server},
};

fn pages(count: u32) -> Vec<Frame> {
    (0..count).map(|n| Frame::head(2 * n + 1, "GET", "/page", END_STREAM)).collect()
}

#[tokio::test]
async fn an_answer_that_is_not_taken_ends_its_connection_whatever_else_moves() {
    let server =
        Server::start(HttpSettings { write_timeout_ms: 500, ..HttpSettings::default() }).await;
    for window in [0, 1_000, 65_535] {
        let mut client = Http2::connect(server.address, window).await;
        client.send(&pages(8)).await.unwrap();
        server.counts.until(|counts| counts.pages() == 8).await;
        let mut kept_up = interval(Duration::from_millis(50));
        let pinging = async {
            while client.send(&[Frame::new(PING, 0, 0, [0; 8])]).await.is_ok() {
                kept_up.tick().await;
            }
        };
        assert!(
            tokio::time::timeout(crate::server::DEADLINE, pinging).await.is_ok(),
            "the connection lives on"
        );
        server.counts.until(|counts| counts.pages() == 0).await;
    }
    // HTTP/1: answers behind each other, none of them read.
    let mut client = Http1::connect(server.address).await;
    client.send(&"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100)).await;
    server.counts.until(|counts| counts.pages() > 0).await;
    server.counts.until(|counts| counts.pages() == 0).await;
    assert!(client.rest().await.len() < 100 * PAGE_BYTES);
}

#[tokio::test]
async fn answers_that_nobody_takes_give_way_to_those_that_are_taken() {
    let limit = 4 * PAGE_BYTES;
    let server =
        Server::start(HttpSettings { unsent_limit_bytes: limit, ..HttpSettings::default() }).await;
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut client = Http2::connect(server.address, 0).await;
        client.send(&pages(2)).await.unwrap();
        slow.push(client);
    }
    server.counts.until(|counts| counts.pages() == 4).await;
    // They stand still, but not for long yet; what is small is answered all the same.
    let mut honest = Http1::connect(server.address).await;
    let refused = honest.get("/page").await;
    assert!(
        refused.starts_with("HTTP/1.1 503")
            && refused.contains("overloaded")
            && refused.contains("retry-after"),
        "{refused}"
    );
    assert!(honest.get("/").await.ends_with("answered"));
    assert!(honest.get("/livez").await.starts_with("HTTP/1.1 200"));
    let refused = honest.get("/metrics").await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("overloaded"), "{refused}");
    // Once they have stood still for a second, the slowest is cut.
    let mut again = interval(Duration::from_millis(100));
    while honest.get("/page").await.starts_with("HTTP/1.1 503") {
        again.tick().await;
    }
    server.counts.until(|counts| counts.pages() == 2).await;
    let share =
        HttpSettings { unsent_per_connection_bytes: 2 * PAGE_BYTES, ..HttpSettings::default() };
    let server = Server::start(share).await;
    let mut greedy = Http2::connect(server.address, 0).await;
    greedy.send(&pages(6)).await.unwrap();
    server.counts.until(|counts| counts.pages() == 2).await;
    Row {
        id: "C3",
        situation: "HTTP/2: large pages are asked for, the window is never opened, PING is kept \
                    up; HTTP/1: answers that are not read",
        answer: "an answer of which less than 16 KiB is taken within `http.write_timeout_ms` ends \
                 its connection, and its permit is free \
                 then; answers hold `http.unsent_limit_bytes` at most: beyond it those that have \
                 stood still for a second are cut, else \
                 a large one is 503 `overloaded`; a connection has a share of it",
        test: (file!(), "answers_that_nobody_takes_give_way_to_those_that_are_taken"),
    }
    .check();
}

#[tokio::test]
async fn a_client_that_reads_slowly_and_steadily_gets_its_answer() {
    let server =
        Server::start(HttpSettings { write_timeout_ms: 500, ..HttpSettings::default() }).await;
    let mut client = Http2::connect(server.address, 0).await;
    client.send(&pages(1)).await.unwrap();
    let (mut read, mut steadily) = (0, interval(Duration::from_millis(60)));
    while read < PAGE_BYTES {
        steadily.tick().await;
        let more = 40_000_u32.to_be_bytes();
        client.send(&[Frame::new(8, 0, 0, more), Frame::new(8, 0, 1, more)]).await.unwrap();
        let target = (read + 40_000).min(PAGE_BYTES);
        while read < target {
            let frame = client.until(|frame| frame.kind == 0 || frame.kind == GOAWAY).await;
            assert_ne!(frame.kind, GOAWAY);
            read += frame.payload.len();
        }
    }
    server.counts.until(|counts| counts.pages() == 0).await;
}
