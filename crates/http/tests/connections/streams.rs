use std::time::Duration;

use highwater_http::server::HttpSettings;
use tokio::io::AsyncWriteExt;

use crate::{
    client::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, Http2, PING,
        RST_STREAM, SETTINGS,
    },
    documented::Row,
    server::Server,
};

const REFUSED_STREAM: u8 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

#[tokio::test]
async fn a_connection_has_no_more_streams_than_it_may() {
    let server = Server::start(HttpSettings::default()).await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = Http2::connect(server.address, 65_535).await;
        let heads: Vec<Frame> =
            (0..200).map(|n| Frame::head(2 * n + 1, "POST", "/receive", 0)).collect();
        client.send(&heads).await.unwrap();
        clients.push(client);
    }
    for client in &mut clients {
        for _ in 32..200 {
            let refused = client.until(|frame| frame.kind == RST_STREAM).await;
            assert_eq!(refused.payload, [0, 0, 0, REFUSED_STREAM]);
        }
    }
    server.counts.until(|counts| counts.waiting() == 6 * 32).await;
    // What was refused may be sent again as soon as another is done.
    for client in &mut clients {
        client.send(&[Frame::new(DATA, END_STREAM, 1, *b"body")]).await.unwrap();
        assert_eq!(client.body(1).await, "4");
        client.send(&[Frame::head(401, "GET", "/", END_STREAM)]).await.unwrap();
        assert_eq!(client.body(401).await, "answered");
    }
    Row {
        id: "C1b",
        situation: "6 HTTP/2 connections open 200 streams each: POST, headers, no body",
        answer: "32 requests of a connection are taken (`http.streams_per_connection`), the others \
                 REFUSED_STREAM: they may be sent again",
        test: (file!(), "a_connection_has_no_more_streams_than_it_may"),
    }
    .check();
}

#[tokio::test]
async fn floods_end_their_connection() {
    let server = Server::start(HttpSettings::default()).await;
    // Opened and reset, before anything is done for it (CVE-2023-44487).
    let mut client = Http2::connect(server.address, 65_535).await;
    let reset = |n: u32| {
        [
            Frame::head(2 * n + 1, "GET", "/wait", END_STREAM),
            Frame::new(RST_STREAM, 0, 2 * n + 1, [0, 0, 0, 8]),
        ]
    };
    let frames: Vec<Frame> = (0..2_000).flat_map(reset).collect();
    let _ = client.send(&frames).await;
    assert_eq!(client.ended().await, Some(ENHANCE_YOUR_CALM));
    // CONTINUATION without end (CVE-2024-27316).
    let mut client = Http2::connect(server.address, 65_535).await;
    let mut frames = vec![Frame::new(HEADERS, END_STREAM, 1, [0x82])];
    frames.resize(10_000, Frame::new(CONTINUATION, 0, 1, []));
    let _ = client.send(&frames).await;
    assert!(client.ended().await.is_some(), "no GOAWAY");
    server.counts.until(|counts| counts.waiting() == 0).await;
    Row {
        id: "C1c",
        situation: "HTTP/2: streams opened and reset, 2,000 at once; 10,000 CONTINUATION frames",
        answer: "GOAWAY, and the connection ends; nothing of it is left at work",
        test: (file!(), "floods_end_their_connection"),
    }
    .check();
}

#[tokio::test]
async fn pings_and_settings_whose_answers_are_not_read_end_their_connection() {
    let server =
        Server::start(HttpSettings { write_timeout_ms: 500, ..HttpSettings::default() }).await;
    for flood in [Frame::new(PING, 0, 0, [0; 8]), Frame::new(SETTINGS, 0, 0, [])] {
        let mut client = Http2::connect(server.address, 65_535).await;
        let frames = vec![flood; 10_000];
        let flooding = async { while client.send(&frames).await.is_ok() {} };
        assert!(
            tokio::time::timeout(Duration::from_secs(60), flooding).await.is_ok(),
            "the connection lives on"
        );
    }
}

#[tokio::test]
async fn a_body_of_small_frames_and_trailers_is_read_and_one_of_too_many_is_not() {
    let server = Server::start(HttpSettings::default()).await;
    let body = |frames: usize| {
        let mut body = vec![Frame::head(1, "POST", "/receive", 0)];
        body.resize(frames + 1, Frame::new(DATA, 0, 1, *b"x"));
        body.push(Frame::new(HEADERS, END_STREAM | END_HEADERS, 1, [0x00, 1, b'a', 1, b'b']));
        body
    };
    let mut client = Http2::connect(server.address, 65_535).await;
    client.send(&body(200)).await.unwrap();
    assert_eq!(client.body(1).await, "200");
    let mut client = Http2::connect(server.address, 65_535).await;
    let _ = client.send(&body(100_000)).await;
    assert_eq!(client.ended().await, Some(ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn a_drain_answers_what_is_open_beside_a_frame_that_is_under_way() {
    let server = Server::start(HttpSettings::default()).await;
    let mut client = Http2::connect(server.address, 65_535).await;
    let ping = Frame::new(PING, 0, 0, [1; 8]).bytes();
    let bytes = [&Frame::head(1, "GET", "/wait", END_STREAM).bytes(), &ping[..12]].concat();
    client.0.write_all(&bytes).await.unwrap();
    server.counts.until(|counts| counts.waiting() == 1).await;
    server.shutdown.soft.cancel();
    client.until(|frame| frame.kind == GOAWAY).await;
    client.0.write_all(&ping[12..]).await.unwrap();
    server.go.send_replace(true);
    assert_eq!(client.body(1).await, "waited for");
    server.ended().await;
}

#[tokio::test]
async fn a_drain_says_goaway_and_answers_what_is_open() {
    let server = Server::start(HttpSettings::default()).await;
    let mut client = Http2::connect(server.address, 65_535).await;
    client.send(&[Frame::head(1, "GET", "/wait", END_STREAM)]).await.unwrap();
    server.counts.until(|counts| counts.waiting() == 1).await;
    server.shutdown.soft.cancel();
    client.until(|frame| frame.kind == GOAWAY).await;
    let ping = client.until(|frame| frame.kind == PING).await;
    client.send(&[Frame::new(PING, ACK, 0, ping.payload)]).await.unwrap();
    server.go.send_replace(true);
    assert_eq!(client.body(1).await, "waited for");
    assert!(client.next().await.is_none_or(|frame| frame.kind == GOAWAY));
    server.ended().await;
}
