use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::Request;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::documented::Row;
use crate::server::{bind, layers, serve_with};
use highwater_runtime::context::Context;

/// Status and code of what a listener on `listen` answers to a head.
fn judged(
    settings: &HttpSettings,
    version: Version,
    uri: &str,
    headers: &[(&'static str, &[u8])],
) -> (u16, String) {
    let mut request = Request::builder().version(version).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (head, ()) = request.body(()).unwrap().into_parts();
    match HeadRules::new(settings).check(head.version, &head.uri, &head.headers) {
        Ok(()) => (200, String::new()),
        Err(problem) => (problem.status().as_u16(), problem.code().to_owned()),
    }
}

fn on_loopback() -> HttpSettings {
    HttpSettings::default()
}

/// Something in front protects it.
fn in_front() -> HttpSettings {
    HttpSettings {
        listen: "0.0.0.0:8080".parse().unwrap(),
        insecure: true,
        ..HttpSettings::default()
    }
}

fn named(hosts: &[&str]) -> HttpSettings {
    HttpSettings {
        allowed_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        ..in_front()
    }
}

#[test]
fn a_host_is_one_and_has_its_form() {
    let judge = |hosts: &[&[u8]]| {
        let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        judged(&in_front(), Version::HTTP_11, "/", &headers).0
    };
    for host in [
        "a",
        "a.example:80",
        "a.example:",
        "127.0.0.1:8080",
        "[::1]",
        "[::1]:8080",
        "a_b",
        "a.example.",
    ] {
        assert_eq!(judge(&[host.as_bytes()]), 200, "{host}");
    }
    for host in [
        "", "a b", "a%20b", "u@a", "u:p@a:80", ":80", "a:b", "a:65536", "a:+80", "a:80:80", "[::1",
        "::1", "[::1]x", "[v1.x]", "a/b", "a?b", "a#b",
    ] {
        assert_eq!(judge(&[host.as_bytes()]), 400, "{host}");
    }
    assert_eq!(judge(&[b"h\xc3\xb6st"]), 400);
    assert_eq!(judge(&[]), 400);
    assert_eq!(judge(&[b"a", b"a"]), 400);
}

#[test]
fn the_target_of_a_request_wins_over_its_host() {
    let judge = |version, uri, hosts: &[&'static str]| {
        let headers: Vec<_> = hosts.iter().map(|host| ("host", host.as_bytes())).collect();
        judged(&on_loopback(), version, uri, &headers).0
    };
    assert_eq!(judge(Version::HTTP_11, "http://localhost/", &["evil.example"]), 200);
    assert_eq!(judge(Version::HTTP_11, "http://evil.example/", &["localhost"]), 421);
    assert_eq!(judge(Version::HTTP_11, "http://u@localhost/", &["localhost"]), 400);
    assert_eq!(
        judge(Version::HTTP_11, "http://localhost/", &[]),
        400,
        "Host has to be there all the same"
    );
    assert_eq!(judge(Version::HTTP_2, "http://localhost/", &[]), 200);
    assert_eq!(judge(Version::HTTP_2, "http://evil.example/", &[]), 421);
    assert_eq!(judge(Version::HTTP_2, "/", &["localhost"]), 200);
    assert_eq!(judge(Version::HTTP_2, "http://localhost:8080/", &["LOCALHOST:8080"]), 200);
    assert_eq!(
        judge(Version::HTTP_2, "http://localhost/", &["127.0.0.1"]),
        400,
        "two hosts in one request"
    );
    assert_eq!(
        judge(Version::HTTP_11, "http://localhost/", &["127.0.0.1"]),
        200,
        "RFC 9112, 3.2.2: the target wins"
    );
    assert_eq!(judge(Version::HTTP_2, "/", &[]), 400);
    assert_eq!(judge(Version::HTTP_10, "/", &[]), 200);
    assert_eq!(judge(Version::HTTP_10, "/", &["a b"]), 400);
    assert_eq!(judge(Version::HTTP_10, "/", &["evil.example"]), 421);
}

#[test]
fn on_loopback_alone_only_its_names_are_answered() {
    let judge = |settings: &HttpSettings, host: &str| {
        judged(settings, Version::HTTP_11, "/", &[("host", host.as_bytes())])
    };
    for host in [
        "localhost",
        "LocalHost:8080",
        "localhost.",
        "shop.localhost",
        "127.0.0.1",
        "127.8.9.1:1",
        "[::1]:8080",
        "[::ffff:127.0.0.1]",
    ] {
        assert_eq!(judge(&on_loopback(), host).0, 200, "{host}");
    }
    for host in [
        "rebound.evil.example",
        "localhost.evil.example",
        "notlocalhost",
        "0.0.0.0",
        "10.0.0.1",
        "[::]",
        "127.0.0.1.evil.example",
    ] {
        assert_eq!(judge(&on_loopback(), host), (421, "host.refused".to_owned()), "{host}");
        assert_eq!(judge(&in_front(), host).0, 200, "{host}: something in front protects it");
    }
    let by_name = named(&["shop.example", "other.example:8443"]);
    for (host, status) in [
        ("shop.example", 200),
        ("SHOP.example:1", 200),
        ("other.example:8443", 200),
        ("other.example", 421),
        ("evil.example", 421),
    ] {
        assert_eq!(judge(&by_name, host).0, status, "{host}");
    }
}

#[test]
fn where_others_send_requests_on_to_is_allowed_by_name_too() {
    let reached = |mut settings: HttpSettings| {
        settings.reached_as("http://command-api-1:8080");
        judged(&settings, Version::HTTP_11, "/", &[("host", b"command-api-1:8080")]).0
    };
    assert_eq!(
        (reached(on_loopback()), reached(named(&["shop.example"])), reached(in_front())),
        (200, 200, 200)
    );
    // A page of another port there is a page of another origin.
    let mut on_this = on_loopback();
    on_this.reached_as("http://127.0.0.1:8080");
    for (origin, status) in [
        ("http://127.0.0.1:8080", 200),
        ("http://127.0.0.1:8999", 403),
        ("http://localhost:8080", 403),
    ] {
        let headers = [("host", b"127.0.0.1:8080".as_slice()), ("origin", origin.as_bytes())];
        assert_eq!(judged(&on_this, Version::HTTP_11, "/", &headers).0, status, "{origin}");
    }
    let mut anything = in_front();
    anything.reached_as("http://command-api-1:8080");
    assert_eq!(
        judged(&anything, Version::HTTP_11, "/", &[("host", b"shop.example")]).0,
        200,
        "it begins no list"
    );
}

#[test]
fn a_page_of_another_origin_may_send_nothing() {
    let judge = |settings: &HttpSettings, headers: &[(&'static str, &'static str)]| {
        let mut all = vec![("host", b"localhost:8080".as_slice())];
        all.extend(headers.iter().map(|(name, value)| (*name, value.as_bytes())));
        judged(settings, Version::HTTP_11, "/v1/notes", &all)
    };
    for own in ["http://localhost:8080", "https://LOCALHOST:8080"] {
        assert_eq!(
            judge(&on_loopback(), &[("origin", own), ("sec-fetch-site", "same-origin")]).0,
            200,
            "{own}"
        );
    }
    let foreign = [
        "http://evil.example",
        "null",
        "",
        "http://localhost:3000",
        "http://localhost",
        "http://127.0.0.1:8080",
        "localhost:8080",
        "x",
        "\u{7f}",
    ];
    for origin in foreign.into_iter().filter(|origin| HeaderValue::from_str(origin).is_ok()) {
        assert_eq!(
            judge(&on_loopback(), &[("origin", origin)]),
            (403, "origin.refused".to_owned()),
            "{origin}"
        );
        assert_eq!(
            judge(&in_front(), &[("origin", origin)]).0,
            200,
            "{origin}: something in front protects it"
        );
    }
    for site in ["cross-site", "same-site", "nonsense"] {
        assert_eq!(
            judge(&on_loopback(), &[("sec-fetch-site", site)]),
            (403, "origin.refused".to_owned()),
            "{site}"
        );
    }
    for site in ["none", "same-origin"] {
        assert_eq!(judge(&on_loopback(), &[("sec-fetch-site", site)]).0, 200, "{site}");
        assert_eq!(
            judge(&on_loopback(), &[("sec-fetch-site", site), ("sec-fetch-site", "cross-site")]).0,
            403,
            "{site}"
        );
    }
    let twice = [("origin", "http://localhost:8080"), ("origin", "http://evil.example")];
    assert_eq!(judge(&on_loopback(), &twice).0, 403);
    let with_a_front_end =
        HttpSettings { allowed_hosts: vec!["localhost:3000".to_owned()], ..on_loopback() };
    let sent = [("origin", "http://localhost:3000"), ("sec-fetch-site", "same-site")];
    assert_eq!(judge(&with_a_front_end, &sent).0, 200);
    assert_eq!(judge(&with_a_front_end, &[("origin", "http://localhost:3001")]).0, 403);
}

#[test]
fn bodies_come_in_chunks_at_most_and_without_a_coding() {
    let judge = |name: &'static str, values: &[&'static str]| {
        let mut headers = vec![("host", b"localhost".as_slice())];
        headers.extend(values.iter().map(|value| (name, value.as_bytes())));
        judged(&on_loopback(), Version::HTTP_11, "/", &headers)
    };
    for coding in ["chunked", "Chunked "] {
        assert_eq!(judge("transfer-encoding", &[coding.trim_end()]).0, 200, "{coding}");
    }
    for codings in [
        vec!["gzip, chunked"],
        vec!["gzip", "chunked"],
        vec!["chunked", "chunked"],
        vec!["identity"],
        vec![""],
        vec!["chunked;x=1"],
    ] {
        assert_eq!(
            judge("transfer-encoding", &codings),
            (501, "transfer-coding.unsupported".to_owned()),
            "{codings:?}"
        );
    }
    for coding in ["identity", "Identity", "", "identity, identity", ","] {
        assert_eq!(judge("content-encoding", &[coding]).0, 200, "{coding}");
    }
    for codings in [vec!["gzip"], vec!["identity, br"], vec!["identity", "zstd"], vec!["aes128gcm"]]
    {
        assert_eq!(
            judge("content-encoding", &codings),
            (415, "content-coding.unsupported".to_owned()),
            "{codings:?}"
        );
    }
    for name in ["te", "trailer"] {
        assert_eq!(
            judge(name, &["trailers, deflate;q=0.5"]).0,
            200,
            "{name} asks for nothing that has to be done"
        );
    }
}

/// A listener with `settings`, and what it answers to the bytes of a request: the head, up to the
/// empty line.
struct Served {
    address: SocketAddr,
    ctx: Context,
}

impl Served {
    async fn start() -> Self {
        Self::naming(&[]).await
    }

    async fn naming(allowed_hosts: &[&str]) -> Self {
        let ctx = Context::for_tests();
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let allowed_hosts = allowed_hosts.iter().map(|host| (*host).to_owned()).collect();
        let settings = HttpSettings { listen: address, allowed_hosts, ..HttpSettings::default() };
        let router = Router::new()
            .route("/v1/things", get(|| async { "things" }).post(|body: Bytes| async move { body }))
            .route("/raw", post(|_: Body| async { "read" }))
            .merge(crate::health::routes(&ctx.health));
        let router = layers(router, &settings, &ctx);
        let shutdown = ctx.shutdown.clone();
        tokio::spawn(async move { serve_with(listener, router, shutdown, &settings).await });
        Self { address, ctx }
    }

    /// Status, and the answer as it was written. `@` stands for the address, `%` for `@`.
    async fn ask(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request =
            request.replace('@', &self.address.to_string()).replace('%', "@").replace('\n', "\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(
            std::time::Duration::from_secs(20),
            stream.read_to_end(&mut answer),
        )
        .await;
        assert!(closed.is_ok(), "no end of the answer to {request:?}");
        let answer = String::from_utf8_lossy(&answer).to_lowercase();
        let status = answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_default();
        (status, answer)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.ctx.shutdown.hard.cancel();
    }
}

#[tokio::test]
async fn c6_who_a_request_is_for_is_said_once_and_well() {
    let served = Served::start().await;
    let mut refused = Vec::new();
    for host in
        ["", "Host: @\nHost: @\n", "Host: a b\n", "Host: u%localhost\n", "Host: localhost:x\n"]
    {
        for path in ["/v1/things", "/livez"] {
            let (status, answer) =
                served.ask(&format!("GET {path} HTTP/1.1\n{}Connection: close\n\n", host)).await;
            assert!(
                answer.contains("header.invalid") && answer.contains("\"header\":\"host\""),
                "{host}: {answer}"
            );
            refused.push(status);
        }
    }
    refused.dedup();
    assert_eq!(served.ask("GET /v1/things HTTP/1.0\n\n").await.0, 200, "HTTP/1.0 may leave it out");
    assert_eq!(served.ask("GET /v1/things HTTP/1.1\nHost: @\nConnection: close\n\n").await.0, 200);
    let absolute = async |target, host| {
        served
            .ask(&format!(
                "GET http://{target}/v1/things HTTP/1.1\nHost: {host}\nConnection: close\n\n"
            ))
            .await
            .0
    };
    assert_eq!(
        (absolute("@", "evil.example").await, absolute("evil.example", "@").await),
        (200, 421),
        "an absolute target wins"
    );
    Row {
        id: "C6",
        situation: "HTTP/1.1 without `Host`, with two, or with one that is no `host[:port]` (`a \
                    b`, `user@host`)",
        answer: &format!(
            "{refused:?} `header.invalid`, naming `Host`, also of `/livez`; HTTP/1.0 may leave it \
             out; an absolute target wins over it"
        ),
        test: (file!(), "c6_who_a_request_is_for_is_said_once_and_well"),
    }
    .check();
}

#[tokio::test]
async fn c7_a_body_in_a_coding_is_not_read_as_if_it_had_none() {
    let served = Served::start().await;
    let post = |headers: &str, body: &str| {
        format!("POST /v1/things HTTP/1.1\nHost: @\nConnection: close\n{headers}\n\n{body}")
    };
    let (content, answer) =
        served.ask(&post("Content-Length: 2\nContent-Encoding: gzip", "{}")).await;
    assert!(
        answer.contains("accept-encoding: identity")
            && answer.contains("content-coding.unsupported"),
        "{answer}"
    );
    let (transfer, answer) =
        served.ask(&post("Transfer-Encoding: gzip, chunked", "2\n{}\n0\n\n")).await;
    assert!(answer.contains("transfer-coding.unsupported"), "{answer}");
    let (twice, _) = served
        .ask(&post("Transfer-Encoding: chunked\nTransfer-Encoding: chunked", "2\n{}\n0\n\n"))
        .await;
    assert_eq!(twice, transfer);
    // No request at all to the HTTP library: how long it is cannot be known.
    for (version, headers) in [
        ("1.1", "Transfer-Encoding: gzip"),
        ("1.1", "Transfer-Encoding: chunked, gzip"),
        ("1.1", "Transfer-Encoding: identity"),
        ("1.0", "Transfer-Encoding: chunked"),
        ("1.1", "Content-Length: 2\nContent-Length: 3"),
        ("1.1", "Content-Length: +2"),
    ] {
        let (status, answer) = served
            .ask(&format!("POST /v1/things HTTP/{version}\nHost: @\n{headers}\n\n2\n{{}}\n0\n\n"))
            .await;
        assert!(
            status == 400 && answer.ends_with("\r\n\r\n"),
            "HTTP/{version}, {headers}: {answer}"
        );
    }
    let (plain, answer) = served
        .ask(&post("Transfer-Encoding: chunked\nContent-Encoding: identity", "2\n{}\n0\n\n"))
        .await;
    assert!(plain == 200 && answer.ends_with("{}"), "{answer}");
    Row {
        id: "C7",
        situation: "`Content-Encoding: gzip`; `Transfer-Encoding: gzip, chunked`",
        answer: &format!(
            "{content} `content-coding.unsupported` with `Accept-Encoding: identity`; {transfer} \
             `transfer-coding.unsupported`"
        ),
        test: (file!(), "c7_a_body_in_a_coding_is_not_read_as_if_it_had_none"),
    }
    .check();
}

#[tokio::test]
async fn c10_where_loopback_is_the_protection_no_page_reaches_it() {
    let (served, naming) = (Served::start().await, Served::naming(&["shop.example"]).await);
    let ask_of = async |served: &Served, method: &str, path: &str, headers: &str| {
        served
            .ask(&format!(
                "{method} {path} HTTP/1.1\nConnection: close\nContent-Length: 0\n{headers}\n\n"
            ))
            .await
    };
    let ask = async |method: &str, path: &str, headers: &str| {
        ask_of(&served, method, path, headers).await
    };
    let mut rebound = Vec::new();
    for path in ["/v1/things", "/readyz", "/metrics"] {
        let (status, answer) = ask("GET", path, "Host: rebound.evil.example").await;
        assert!(answer.contains("host.refused"), "{answer}");
        rebound.push(status);
    }
    let mut foreign = Vec::new();
    for said in [
        "Origin: http://evil.example",
        "Origin: http://127.0.0.1:1",
        "Origin: null",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
    ] {
        for method in ["GET", "POST"] {
            let (status, answer) = ask(method, "/v1/things", &format!("Host: @\n{said}")).await;
            assert!(answer.contains("origin.refused"), "{answer}");
            foreign.push(status);
        }
    }
    rebound.dedup();
    foreign.dedup();
    assert_eq!(
        ask("POST", "/v1/things", "Host: @\nOrigin: http://@\nSec-Fetch-Site: same-origin").await.0,
        200
    );
    assert_eq!(ask("GET", "/livez", "Host: localhost").await.0, 200);
    for (headers, status) in [
        ("Host: shop.example", 200),
        ("Host: @\nOrigin: http://shop.example", 200),
        ("Host: rebound.evil.example", 421),
    ] {
        assert_eq!(ask_of(&naming, "POST", "/v1/things", headers).await.0, status, "{headers}");
    }
    Row {
        id: "C10",
        situation: "no authentication, on loopback: `Host: rebound.evil.example`; `Origin: \
                    http://evil.example`, or of another port of this machine; `Sec-Fetch-Site: \
                    cross-site`",
        answer: &format!(
            "{rebound:?} `host.refused` of every path, health included; {foreign:?} \
             `origin.refused` of reading and writing; \
             `http.allowed_hosts` names more"
        ),
        test: (file!(), "c10_where_loopback_is_the_protection_no_page_reaches_it"),
    }
    .check();
}
