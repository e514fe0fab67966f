use highwater_http::server::HttpSettings;

use crate::{client::Http1, server::Server};

#[tokio::test]
async fn a_drain_closes_what_is_idle_and_says_so_in_what_it_answers() {
    let server = Server::start(HttpSettings::default()).await;
    let mut idle = Http1::connect(server.address).await;
    assert!(idle.get("/").await.ends_with("answered"));
    let mut busy = Http1::connect(server.address).await;
    busy.send("GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    server.counts.until(|counts| counts.waiting() == 1).await;
    server.shutdown.soft.cancel();
    assert_eq!(idle.rest().await, "");
    server.go.send_replace(true);
    let answer = busy.rest().await;
    assert!(answer.contains("connection: close") && answer.ends_with("waited for"), "{answer}");
    server.ended().await;
}

#[tokio::test]
async fn a_hard_end_waits_for_no_request() {
    let server = Server::start(HttpSettings::default()).await;
    let mut busy = Http1::connect(server.address).await;
    busy.send("GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    server.counts.until(|counts| counts.waiting() == 1).await;
    server.shutdown.soft.cancel();
    server.shutdown.hard.cancel();
    let counts = std::sync::Arc::clone(&server.counts);
    server.ended().await;
    counts.until(|counts| counts.waiting() == 0).await;
}
