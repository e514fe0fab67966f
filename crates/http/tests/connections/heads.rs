use std::time::Duration;

use highwater_http::server::HttpSettings;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::interval};

use crate::{
    client::{CONTINUATION, END_STREAM, Frame, HEADERS, Http1, Http2, PREFACE},
    documented::Row,
    server::{DEADLINE, Server},
};

const CONNECTIONS: usize = 8;

/// A byte now and then, until the server has enough of it.
async fn trickle(mut stream: TcpStream, bytes: impl Iterator<Item = u8>) {
    let mut now_and_then = interval(Duration::from_millis(50));
    let trickled = async {
        for byte in bytes {
            now_and_then.tick().await;
            if stream.write_all(&[byte]).await.is_err() {
                return;
            }
        }
        Http1(stream).rest().await;
    };
    assert!(tokio::time::timeout(DEADLINE, trickled).await.is_ok(), "the connection lives on");
}

#[tokio::test]
async fn an_unfinished_head_ends_its_connection_however_it_trickles() {
    let server =
        Server::start(HttpSettings { head_timeout_ms: 300, ..HttpSettings::default() }).await;
    let first = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".to_vec();
    let head = Frame::new(HEADERS, END_STREAM, 1, vec![0x82]).bytes();
    let unfinished: [(&str, Vec<u8>); 6] = [
        ("nothing", Vec::new()),
        ("a head", first.clone()),
        ("a second head", [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", &first[..]].concat()),
        ("a preface", PREFACE[..10].to_vec()),
        (
            "HEADERS without END_HEADERS",
            [PREFACE, &Frame::new(4, 0, 0, []).bytes(), &head].concat(),
        ),
        ("a frame", [PREFACE, &Frame::new(4, 0, 0, []).bytes(), &head[..5]].concat()),
    ];
    let trickling = unfinished.map(|(_, begin)| {
        let address = server.address;
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&begin).await.unwrap();
            let continuation = Frame::new(CONTINUATION, 0, 1, []).bytes();
            let endless = if begin.starts_with(PREFACE) { continuation } else { vec![b'x'] };
            trickle(stream, endless.into_iter().cycle()).await;
        })
    });
    for trickling in trickling {
        trickling.await.unwrap();
    }
}

#[tokio::test]
async fn heads_that_never_end_keep_nobody_out_and_no_drain_up() {
    // No head ends because of its time here.
    let settings = HttpSettings {
        connection_limit: CONNECTIONS,
        head_timeout_ms: 120_000,
        ..HttpSettings::default()
    };
    let head_timeout = settings.head_timeout();
    let server = Server::start(settings).await;
    let mut unfinished = Vec::new();
    for _ in 0..3 * CONNECTIONS {
        unfinished.push(Http1::connect(server.address).await);
        unfinished.last_mut().unwrap().send("GET / HTTP/1.1\r\nX-Slow: ").await;
    }
    for path in ["/livez", "/"] {
        assert!(
            Http1::connect(server.address).await.get(path).await.starts_with("HTTP/1.1 200"),
            "{path}"
        );
    }
    let mut large = Http1::connect(server.address).await;
    let refused = large
        .send(&format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Large: {}", "x".repeat(40_000)))
        .await
        .rest()
        .await;
    assert!(refused.starts_with("HTTP/1.1 431"), "{refused}");
    let mut large = Http2::connect(server.address, 0).await;
    let mut frames = vec![Frame::new(HEADERS, END_STREAM, 1, vec![0; 8_000])];
    frames.resize(200, Frame::new(CONTINUATION, 0, 1, vec![0x40; 8_000]));
    let _ = large.send(&frames).await;
    large.ended().await;
    let draining = tokio::time::Instant::now();
    server.ended().await;
    assert!(draining.elapsed() < head_timeout / 4, "{:?}", draining.elapsed());
    Row {
        id: "C2",
        situation: "connections with an unfinished head, beyond `http.connection_limit`, a byte \
                    now and then; heads of 40 kB and \
                    without end, HTTP/1 and HTTP/2",
        answer: "ended after `http.head_timeout_ms`, whatever trickles; the one that has been \
                 quiet for longest gives way to a new one: \
                 an honest request and `/livez` are answered; 431 or an end at \
                 `http.head_limit_bytes`; a drain waits for none of them",
        test: (file!(), "heads_that_never_end_keep_nobody_out_and_no_drain_up"),
    }
    .check();
}

#[tokio::test]
async fn what_is_no_http_is_refused_and_the_refusal_can_be_read() {
    let server = Server::start(HttpSettings::default()).await;
    let cases: [(&[u8], &str); 4] = [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "HTTP/1.1 400"),
        (b"GET / HTTP/3.7\r\n\r\n", "HTTP/1.1 400"),
        (b"GET  / HTTP/1.1\r\n\r\n", "HTTP/1.1 400"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", "HTTP/1.1 400"),
    ];
    for (bytes, status) in cases {
        let mut client = Http1::connect(server.address).await;
        client.0.write_all(bytes).await.unwrap();
        // Still under way when the answer is.
        client.0.write_all(&vec![b'x'; 5_000_000]).await.unwrap();
        let answer = client.rest().await;
        assert!(answer.starts_with(status), "{bytes:?}: {answer}");
    }
}
