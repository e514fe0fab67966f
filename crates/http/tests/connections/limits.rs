use std::process::Command;

use highwater_http::server::HttpSettings;

use crate::{
    client::{END_STREAM, Frame, Http1, Http2},
    documented::Row,
    server::Server,
};

/// Set in the process that has few descriptors.
const FEW: &str = "HIGHWATER_TEST_FEW_DESCRIPTORS";

#[tokio::test]
async fn the_quietest_connection_gives_way_and_busy_ones_do_not() {
    let server =
        Server::start(HttpSettings { connection_limit: 2, ..HttpSettings::default() }).await;
    let mut first = Http1::connect(server.address).await;
    assert!(first.get("/").await.ends_with("answered"));
    let mut second = Http1::connect(server.address).await;
    assert!(second.get("/").await.ends_with("answered"));
    let mut third = Http1::connect(server.address).await;
    assert!(third.get("/").await.ends_with("answered"));
    assert_eq!(first.rest().await, "");
    for busy in [&mut second, &mut third] {
        busy.send("GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    }
    server.counts.until(|counts| counts.waiting() == 2).await;
    let refused = Http1::connect(server.address).await.get("/").await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("overloaded"), "{refused}");
    assert!(refused.contains("connection: close") && refused.contains("retry-after"), "{refused}");
    let mut refused = Http2::connect(server.address, 65_535).await;
    refused.send(&[Frame::head(1, "GET", "/", END_STREAM)]).await.unwrap();
    assert!(refused.body(1).await.contains("overloaded"));
    let mut health = Http1::connect(server.address).await;
    assert!(health.get("/livez").await.starts_with("HTTP/1.1 200"));
    server.go.send_replace(true);
    for busy in [&mut second, &mut third] {
        assert!(busy.answer().await.ends_with("waited for"));
    }
    while !Http1::connect(server.address).await.get("/").await.ends_with("answered") {}
}

#[tokio::test]
async fn a_connection_that_gave_way_and_stays_is_ended() {
    let settings = HttpSettings {
        connection_limit: 1,
        head_timeout_ms: 1_000,
        request_timeout_ms: 120_000,
        ..HttpSettings::default()
    };
    let server = Server::start(settings).await;
    let mut stays = Http2::connect(server.address, 65_535).await;
    stays.send(&[Frame::head(1, "GET", "/", END_STREAM)]).await.unwrap();
    assert_eq!(stays.body(1).await, "answered");
    assert!(Http1::connect(server.address).await.get("/").await.ends_with("answered"));
    // It never confirms that it was told to leave: what it opens now may have been on its way.
    stays.send(&[Frame::head(3, "GET", "/wait", END_STREAM)]).await.unwrap();
    server.counts.until(|counts| counts.waiting() == 1).await;
    stays.ended().await;
    server.counts.until(|counts| counts.waiting() == 0).await;
    Row {
        id: "C2b",
        situation: "HTTP/2, beyond `http.connection_limit`: told to leave, it confirms nothing and \
                    opens streams as before",
        answer: "it counts until it is gone, as one of 64 beyond the limit, and is ended after \
                 `http.head_timeout_ms`",
        test: (file!(), "a_connection_that_gave_way_and_stays_is_ended"),
    }
    .check();
}

#[tokio::test]
async fn a_place_for_health_is_not_for_one_that_keeps_its_body_back() {
    let settings = HttpSettings {
        connection_limit: 1,
        health_connections: 1,
        unread_body_wait_ms: 120_000,
        ..HttpSettings::default()
    };
    let server = Server::start(settings).await;
    let mut busy = Http1::connect(server.address).await;
    busy.send("GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    server.counts.until(|counts| counts.waiting() == 1).await;
    for (method, path, status) in
        [("GET", "/livez", "200"), ("POST", "/json", "503"), ("GET", "/livez", "200")]
    {
        let mut client = Http1::connect(server.address).await;
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\n");
        let answer = client.send(&head).await.answer().await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}"))
                && answer.contains("connection: close"),
            "{answer}"
        );
    }
    Row {
        id: "C2c",
        situation: "all connections busy, those for health too, by requests whose bodies are kept \
                    back",
        answer: "`/livez` is answered: no body is waited for there, one address has at most half \
                 of `http.health_connections`, and one \
                 that does not ask for health, or has been open for 2 s, gives way",
        test: (file!(), "a_place_for_health_is_not_for_one_that_keeps_its_body_back"),
    }
    .check();
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_one_that_waits_for_its_answer_is_not() {
    let server =
        Server::start(HttpSettings { idle_timeout_ms: 200, ..HttpSettings::default() }).await;
    let mut waiting = Http1::connect(server.address).await;
    waiting.send("GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    server.counts.until(|counts| counts.waiting() == 1).await;
    let mut idle = Http1::connect(server.address).await;
    assert!(idle.get("/").await.ends_with("answered"));
    assert_eq!(idle.rest().await, "");
    let mut idle = Http2::connect(server.address, 65_535).await;
    idle.ended().await;
    server.go.send_replace(true);
    assert!(waiting.answer().await.ends_with("waited for"));
}

/// Tried in a process of its own, which has 200 descriptors.
#[test]
fn fewer_descriptors_than_connections_refuse_nobody() {
    let test = "limits::connections_beyond_the_descriptors";
    let script = format!("ulimit -n 200 && exec \"$0\" --exact {test} --ignored --nocapture");
    let this = std::env::current_exe().unwrap();
    let ran = Command::new("sh").arg("-c").arg(script).arg(this).env(FEW, "1").output().unwrap();
    let said =
        String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    assert!(said.contains("ulimit -n") && said.contains("connections=74"), "{said}");
    Row {
        id: "C9",
        situation: "`ulimit -n` below `http.connection_limit`, more idle connections than \
                    descriptors",
        answer: "the soft limit is raised to the hard one; where that is too low, there are as \
                 many connections as leave \
                 `http.spare_descriptors` free, and the log says so: idle ones give way, files can \
                 be opened",
        test: (file!(), "fewer_descriptors_than_connections_refuse_nobody"),
    }
    .check();
}

#[tokio::test]
#[ignore = "started by the test above, with few descriptors"]
async fn connections_beyond_the_descriptors() {
    assert!(std::env::var_os(FEW).is_some(), "not for this process");
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let settings = HttpSettings { spare_descriptors: 110, ..HttpSettings::default() };
    let server = Server::start(settings).await;
    let mut idle = std::collections::VecDeque::new();
    for _ in 0..300 {
        let mut client = Http1::connect(server.address).await;
        assert!(client.get("/").await.ends_with("answered"));
        idle.push_back(client);
        // The clients have descriptors of this process, too.
        if idle.len() > 95 {
            idle.pop_front();
        }
        assert!(std::fs::File::open("/dev/null").is_ok());
    }
}
