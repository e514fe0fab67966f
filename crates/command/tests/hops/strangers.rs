//! What has the address of an instance and is none: another deployment, a listener that answers
//! everything, a client that plays an instance.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use highwater_command::owner::{
    announcements::Announcement,
    forward::{Command, Outcome},
    hop::{End, HOP, Hop, HopRequest, HopResponse},
};
use highwater_log::{Partition, Reply, Ticket};
use highwater_runtime::clock::{Ids, SystemIds};
use tokio::{io::AsyncReadExt, net::TcpListener, time::Instant};
use uuid::Uuid;

use crate::{
    documented::Row,
    instance::{Instance, KEYS, Place, SOON, owners},
    raw,
};

const CASE: &str = concat!(
    r#"{"reporter_id":"0b8d2c3e-9a41-5f2b-8c77-3d1e5a9b7c10","severity":"HIGH","steps":["#,
    r#"{"text":"It is opened","seconds":2,"cost_minor":199}]}"#
);
const OTHER_KEYS: &str = "1:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

async fn open_case(at: &Instance, more: &str) -> raw::Answer {
    let head = format!(
        "POST /v1/cases HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: \
         {}\r\n{more}",
        CASE.len()
    );
    raw::ask(at.address, head.as_bytes(), CASE.as_bytes()).await
}

async fn cases_in(place: &Place) -> u64 {
    place.log.end(&Partition { topic: "test.case.events".into(), index: 0 }).await.unwrap()
}

/// Says, with the proof of the deployment, that an instance with the address of `stranger` owns the
/// cases.
async fn announce(place: &Place, by: &Instance, stranger: std::net::SocketAddr) -> Announcement {
    let announcement = Announcement {
        url: format!("http://{stranger}"),
        epoch: 7,
        instance: SystemIds.v4(),
        leaving: false,
        released: false,
    };
    let record = by
        .announcements
        .deployment
        .announcement("case/0".to_owned(), serde_json::to_vec(&announcement).unwrap());
    let (to, mut reports) = tokio::sync::mpsc::unbounded_channel();
    place
        .log
        .append(&owners(), record, Reply { ticket: Ticket { writer: Uuid::nil(), seq: None }, to })
        .unwrap();
    assert!(reports.recv().await.unwrap().result.is_ok());
    let mut changes = by.announcements.watch();
    while by.announcements.other("case", 0).as_ref() != Some(&announcement) {
        tokio::time::timeout(SOON, changes.changed()).await.unwrap().unwrap();
    }
    announcement
}

/// Answers everything with `status`, and keeps the heads of what it was sent.
async fn listener(status: StatusCode) -> (std::net::SocketAddr, Arc<Mutex<Vec<HeaderMap>>>) {
    let heard: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
    let kept = heard.clone();
    let answer = move |request: Request| async move {
        kept.lock().unwrap().push(request.headers().clone());
        let hop = request.headers()[HOP].clone();
        (
            status,
            [(HOP, hop), (header::LOCATION, HeaderValue::from_static("/v1/cases/rogue"))],
            "{}",
        )
            .into_response()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    (address, heard)
}

/// Takes each request whole, and closes without a word. Counts them.
async fn silent() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let asked: Arc<AtomicUsize> = Arc::default();
    let counted = asked.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}")
                && stream.read_buf(&mut request).await.is_ok_and(|read| read > 0)
            {}
            if !request.is_empty() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (address, asked)
}

#[tokio::test]
async fn a_hop_without_an_answer_is_not_made_again() {
    let place = Place::new(&crate::CATEGORIES).await;
    let mut ours = crate::instance(&place, KEYS).await;
    ours.serve();
    let (stranger, asked) = silent().await;
    announce(&place, &ours, stranger).await;
    for (sent, key) in [(1, ""), (2, "Idempotency-Key: chosen\r\n")] {
        let answer = open_case(&ours, key).await;
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(
            answer.body.contains("command.undecided") && answer.header("idempotency-key").is_some(),
            "{answer:?}"
        );
        assert_eq!(
            asked.load(Ordering::SeqCst),
            sent,
            "it may have been done there: only the caller sends it again"
        );
    }
}

#[tokio::test]
async fn an_address_that_belongs_to_another_deployment_by_now_stores_nothing_there() {
    let (place, elsewhere) =
        (Place::new(&crate::CATEGORIES).await, Place::new(&crate::CATEGORIES).await);
    let (mut ours, mut theirs) =
        (crate::instance(&place, KEYS).await, crate::instance(&elsewhere, OTHER_KEYS).await);
    ours.serve();
    theirs.serve();
    theirs.own();
    let theirs_before = loop {
        // Their fence is there.
        match cases_in(&elsewhere).await {
            0 => tokio::task::yield_now().await,
            end => break end,
        }
    };
    announce(&place, &ours, theirs.address).await;
    for key in 0..3 {
        let answer = open_case(&ours, &format!("Idempotency-Key: k{key}\r\n")).await;
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(
            answer.body.contains("command.undecided") && answer.header("idempotency-key").is_some(),
            "{answer:?}"
        );
    }
    // Nor does it take what is meant for it by name.
    let (answer, _) = hop(&theirs, &ours, theirs.announcements.instance, now_ms(), "").await;
    assert!(answer.status == 403 && answer.body.contains("hop.unauthenticated"), "{answer:?}");
    assert_eq!(cases_in(&elsewhere).await, theirs_before, "nothing was stored there");
    Row {
        id: "A1",
        situation: "an announcement names an address that another deployment's command-api has by \
                    now",
        answer: "nothing is stored there (it answers 403 `hop.unauthenticated`), and the caller \
                 gets 503 `command.undecided`",
        test: (
            file!(),
            "an_address_that_belongs_to_another_deployment_by_now_stores_nothing_there",
        ),
    }
    .check();
}

#[tokio::test]
async fn an_answer_without_proof_is_not_relayed_and_no_credentials_are_sent() {
    let place = Place::new(&crate::CATEGORIES).await;
    let mut ours = crate::instance(&place, KEYS).await;
    ours.serve();
    let (stranger, heard) = listener(StatusCode::CREATED).await;
    announce(&place, &ours, stranger).await;
    let began = Instant::now();
    let secrets = "Authorization: Bearer secret\r\nCookie: session=secret\r\nX-Api-Key: \
                   secret\r\nProxy-Authorization: secret\r\n";
    let answer = open_case(&ours, secrets).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(
        answer.body.contains("command.undecided") && !answer.body.contains("rogue"),
        "{answer:?}"
    );
    let asked = heard.lock().unwrap().clone();
    let [sent] = asked.as_slice() else { panic!("it was asked {} times", asked.len()) };
    let mut names: Vec<_> = sent.keys().map(|name| name.as_str().to_owned()).collect();
    names.sort();
    let hops = [
        "accept",
        "content-length",
        "content-type",
        "highwater-hop",
        "host",
        "idempotency-key",
        "traceparent",
    ];
    assert_eq!(names, hops, "no header that the owner does not look at");
    let again = open_case(&ours, "").await;
    assert_eq!(again.status, 503, "{again:?}");
    let times = heard.lock().unwrap().len();
    assert!(
        times == 1 || began.elapsed() > Duration::from_secs(1),
        "it was asked {times} times within a second"
    );
    Row {
        id: "A1b",
        situation: "a listener that answers everything with 201 has the address of an announced \
                    instance",
        answer: "its answer is not relayed (503 `command.undecided`), it gets neither \
                 `Authorization` nor `Cookie`, and no second command within a \
                 second",
        test: (file!(), "an_answer_without_proof_is_not_relayed_and_no_credentials_are_sent"),
    }
    .check();
}

#[tokio::test]
async fn a_stranger_is_sent_one_command_a_second_and_a_busy_instance_more() {
    let place = Place::new(&crate::CATEGORIES).await;
    let ours = crate::instance(&place, KEYS).await;
    for (status, times) in [
        (StatusCode::OK, 1),
        (StatusCode::TEMPORARY_REDIRECT, 1),
        (StatusCode::SERVICE_UNAVAILABLE, 3),
    ] {
        let (stranger, heard) = listener(status).await;
        let announcement = announce_only(stranger);
        let began = Instant::now();
        for _ in 0..3 {
            sends(&ours, &announcement).await;
        }
        let heard = heard.lock().unwrap().len();
        assert!(
            heard == times || began.elapsed() > Duration::from_secs(1),
            "{status}: {heard} within a second"
        );
    }
}

async fn sends(ours: &Instance, to: &Announcement) {
    let until = Instant::now() + SOON;
    assert!(matches!(ours.forwarder.send(to, &command(), until).await, Outcome::Unknown));
}

#[tokio::test]
async fn each_stranger_is_left_alone_for_itself() {
    let place = Place::new(&crate::CATEGORIES).await;
    let ours = crate::instance(&place, KEYS).await;
    let strangers = [listener(StatusCode::OK).await, listener(StatusCode::OK).await];
    let announcements = strangers.each_ref().map(|(address, _)| announce_only(*address));
    let began = Instant::now();
    for announcement in announcements.iter().chain(&announcements) {
        sends(&ours, announcement).await;
    }
    let heard = strangers.each_ref().map(|(_, heard)| heard.lock().unwrap().len());
    assert!(
        heard == [1, 1] || began.elapsed() > Duration::from_secs(1),
        "{heard:?} within a second"
    );
}

/// A process that may write to the log names an address; whether it is called, `peers.allowed`
/// says: loopback, here, and this is its other name.
#[tokio::test]
async fn an_address_that_is_not_allowed_is_not_called() {
    let place = Place::new(&crate::CATEGORIES).await;
    let mut ours = crate::instance(&place, KEYS).await;
    ours.serve();
    let (stranger, heard) = listener(StatusCode::CREATED).await;
    announce(&place, &ours, (Ipv4Addr::UNSPECIFIED, stranger.port()).into()).await;
    let answer = open_case(&ours, "").await;
    assert!(answer.status == 503 && answer.body.contains("partition.ownerless"), "{answer:?}");
    assert_eq!(heard.lock().unwrap().len(), 0);
}

/// Plays the owner: of what it says the sender relays all that is for the caller, and nothing else.
#[tokio::test]
async fn what_an_owner_answers_is_relayed_with_every_header_for_the_caller() {
    const FOR_THE_CALLER: [&str; 8] = [
        "cache-control",
        "content-type",
        "etag",
        "highwater-position",
        "idempotency-key",
        "idempotency-replayed",
        "location",
        "retry-after",
    ];
    let place = Place::new(&crate::CATEGORIES).await;
    let ours = crate::instance(&place, KEYS).await;
    let deployment = ours.announcements.deployment.clone();
    let answer = move |request: Request| async move {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let hop = Hop::open(
            &deployment,
            HopRequest { path: head.uri.path(), headers: &head.headers, body: &body },
        )
        .unwrap();
        let names = FOR_THE_CALLER.into_iter().chain(["set-cookie", "server"]);
        let mut headers: HeaderMap = names
            .map(|name| (HeaderName::from_static(name), HeaderValue::from_static(name)))
            .collect();
        let answered =
            HopResponse { status: StatusCode::SERVICE_UNAVAILABLE, headers: &headers, body: b"{}" };
        headers.insert(HOP, hop.seal_answer(&deployment, End::Answered, answered));
        (StatusCode::SERVICE_UNAVAILABLE, headers, "{}")
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let announcement = announce_only(listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let until = Instant::now() + SOON;
    let Outcome::Answered { response, may_wait: false } =
        ours.forwarder.send(&announcement, &command(), until).await
    else {
        panic!("it is not taken for an answer")
    };
    let mut relayed: Vec<_> =
        response.headers().keys().map(|name| name.as_str().to_owned()).collect();
    relayed.sort();
    assert_eq!(
        (response.status(), relayed),
        (StatusCode::SERVICE_UNAVAILABLE, FOR_THE_CALLER.map(str::to_owned).to_vec())
    );
}

fn announce_only(stranger: std::net::SocketAddr) -> Announcement {
    Announcement {
        url: format!("http://{stranger}"),
        epoch: 1,
        instance: SystemIds.v4(),
        leaving: false,
        released: false,
    }
}

fn command() -> Command {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("idempotency-key", HeaderValue::from_static("\"k\""));
    Command {
        path: "/v1/cases".to_owned(),
        headers,
        body: Bytes::from_static(CASE.as_bytes()),
        minted: false,
    }
}

/// A hop by a holder of the keys, as it would lie on the wire.
async fn hop(
    at: &Instance,
    by: &Instance,
    to: Uuid,
    sent_ms: i64,
    more: &str,
) -> (raw::Answer, Vec<u8>) {
    let Command { path, headers, body, minted } = command();
    let hop = Hop { to, nonce: SystemIds.v4(), sent_ms, within_ms: 5_000, minted };
    let seal = hop.seal(
        &by.announcements.deployment,
        HopRequest { path: &path, headers: &headers, body: &body },
    );
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nContent-Length: {}\r\n{more}Highwater-Hop: {}\r\n",
        body.len(),
        seal.to_str().unwrap()
    );
    headers.iter().for_each(|(name, value)| {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()))
    });
    (raw::ask(at.address, head.as_bytes(), &body).await, head.into_bytes())
}

fn now_ms() -> i64 {
    use highwater_runtime::clock::{Clock, SystemClock};
    SystemClock.now() / 1_000
}

#[tokio::test]
async fn a_hop_is_taken_once_meant_in_time_and_unchanged() {
    let place = Place::new(&crate::CATEGORIES).await;
    let (mut owner, sender) =
        (crate::instance(&place, KEYS).await, crate::instance(&place, KEYS).await);
    let foreign = crate::instance(&place, OTHER_KEYS).await;
    owner.serve();
    owner.own();
    sender.knows(&crate::CATEGORIES, &owner).await;
    let to = owner.announcements.instance;
    let before = cases_in(&place).await;
    let end = |answer: &raw::Answer| {
        answer
            .header("highwater-hop")
            .and_then(|said| said.split(',').next())
            .unwrap_or("none")
            .to_owned()
    };
    for (what, by, to, sent_ms, status, said) in [
        ("by another deployment", &foreign, to, now_ms(), 403, "none"),
        (
            "for another instance",
            &sender,
            sender.announcements.instance,
            now_ms(),
            421,
            "not-there",
        ),
        ("sent an hour ago", &sender, to, now_ms() - 3_600_000, 421, "stale"),
        ("sent in an hour", &sender, to, now_ms() + 3_600_000, 421, "stale"),
        ("sent at the end of time", &sender, to, i64::MAX, 421, "stale"),
    ] {
        let (answer, _) = hop(&owner, by, to, sent_ms, "").await;
        assert_eq!((answer.status, end(&answer).as_str()), (status, said), "{what}: {answer:?}");
    }
    assert_eq!(cases_in(&place).await, before, "nothing was decided");
    let (answer, head) =
        hop(&owner, &sender, to, now_ms(), "Prefer: respond-async\r\nIf-None-Match: nonsense\r\n")
            .await;
    assert_eq!((answer.status, end(&answer).as_str()), (201, "answered"), "{answer:?}");
    let once = cases_in(&place).await;
    let again = raw::ask(owner.address, &head, CASE.as_bytes()).await;
    assert_eq!(
        (again.status, again.header("idempotency-replayed")),
        (201, Some("true")),
        "sent again by an eavesdropper: {again:?}"
    );
    let head = String::from_utf8(head).unwrap();
    let other_key = head.replacen("\"k\"", "\"l\"", 1);
    let other_case = CASE.replacen("199", "198", 1);
    for (what, head, body) in [("key", &other_key, CASE), ("body", &head, &other_case)] {
        let changed = raw::ask(owner.address, head.as_bytes(), body.as_bytes()).await;
        assert_eq!(
            (changed.status, cases_in(&place).await),
            (403, once),
            "another {what}: {changed:?}"
        );
    }
    Row {
        id: "A1c",
        situation: "a client or an eavesdropper plays an instance: a hop made up, by another \
                    deployment, changed, for another instance, too old, or \
                    sent again",
        answer: "403 `hop.unauthenticated`, or 421 and nothing is decided; sent again in time: the \
                 recorded answer",
        test: (file!(), "a_hop_is_taken_once_meant_in_time_and_unchanged"),
    }
    .check();
}

#[tokio::test]
async fn an_instance_that_does_not_own_leaves_the_command_queue_to_the_sender() {
    let place = Place::new(&crate::CATEGORIES).await;
    let (mut idle, sender) =
        (crate::instance(&place, KEYS).await, crate::instance(&place, KEYS).await);
    idle.serve();
    let (answer, _) =
        hop(&idle, &sender, idle.announcements.instance, now_ms(), "Prefer: respond-async\r\n")
            .await;
    assert!(
        answer.status == 503 && answer.header("highwater-hop").unwrap().starts_with("not-there,"),
        "{answer:?}"
    );
    assert_eq!(
        place.log.end(&Partition { topic: "test.case.commands".into(), index: 0 }).await.unwrap(),
        0
    );
}

/// Whatever is sent more than an answer of ours can be is not kept.
#[tokio::test]
async fn an_endless_answer_is_cut() {
    let place = Place::new(&crate::CATEGORIES).await;
    let ours = crate::instance(&place, KEYS).await;
    // Of a size that never adds up to the longest answer.
    let endless = || async {
        let chunks = futures_util::stream::repeat_with(|| {
            Ok::<_, std::io::Error>(Bytes::from(vec![0; (1 << 16) + 1]))
        });
        Response::new(axum::body::Body::from_stream(chunks))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(endless)).await });
    let until = Instant::now() + 10 * SOON;
    let answered = tokio::time::timeout(SOON, async {
        ours.forwarder.send(&announce_only(address), &command(), until).await
    });
    assert!(matches!(answered.await, Ok(Outcome::Unknown)));
}

/// Plays an instance that says so of a hop.
async fn saying(ours: &Instance, said: End) -> Announcement {
    saying_in_pieces(ours, said, vec![Bytes::from_static(b"{}")]).await
}

/// The same with a body that comes bit by bit.
async fn saying_in_pieces(ours: &Instance, said: End, pieces: Vec<Bytes>) -> Announcement {
    let deployment = ours.announcements.deployment.clone();
    let answer = move |request: Request| async move {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let hop = Hop::open(
            &deployment,
            HopRequest { path: head.uri.path(), headers: &head.headers, body: &body },
        )
        .unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answered = HopResponse {
            status: StatusCode::MISDIRECTED_REQUEST,
            headers: &headers,
            body: &pieces.concat(),
        };
        headers.insert(HOP, hop.seal_answer(&deployment, said, answered));
        let pieces = futures_util::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
        (StatusCode::MISDIRECTED_REQUEST, headers, axum::body::Body::from_stream(pieces))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let announcement = announce_only(listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    announcement
}

#[tokio::test]
async fn an_answer_that_comes_in_pieces_is_relayed_whole() {
    let place = Place::new(&crate::CATEGORIES).await;
    let ours = crate::instance(&place, KEYS).await;
    let pieces: Vec<Bytes> = (1..=8_u8).map(|number| Bytes::from(vec![number; 1 << 16])).collect();
    let announcement = saying_in_pieces(&ours, End::Answered, pieces.clone()).await;
    let outcome = ours.forwarder.send(&announcement, &command(), Instant::now() + SOON).await;
    let Outcome::Answered { response, .. } = outcome else { panic!("it was not relayed") };
    let relayed = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    assert_eq!(relayed, pieces.concat());
}

#[tokio::test]
async fn only_who_says_so_with_proof_has_decided_nothing() {
    let place = Place::new(&crate::CATEGORIES).await;
    let ours = crate::instance(&place, KEYS).await;
    for (said, nothing_was_decided) in
        [(End::NotThere, true), (End::Stale, true), (End::Answered, false), (End::MayWait, false)]
    {
        let announcement = saying(&ours, said).await;
        let outcome = ours.forwarder.send(&announcement, &command(), Instant::now() + SOON).await;
        assert_eq!(matches!(outcome, Outcome::NotThere), nothing_was_decided, "{said:?}");
        let may_wait = matches!(outcome, Outcome::Answered { may_wait: true, .. });
        assert_eq!(may_wait, said == End::MayWait, "{said:?}");
    }
    // A port that no process listens on has decided nothing, and the task that looks for owners
    // that are gone hears of it.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = announce_only(listener.local_addr().unwrap());
    drop(listener);
    assert!(matches!(
        ours.forwarder.send(&gone, &command(), Instant::now() + SOON).await,
        Outcome::NotThere
    ));
    tokio::time::timeout(SOON, ours.forwarder.unreached.notified()).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_breaks_off_may_follow_a_decision() {
    use tokio::io::AsyncWriteExt;
    let place = Place::new(&crate::CATEGORIES).await;
    let ours = crate::instance(&place, KEYS).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let announcement = announce_only(listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"}")
            && stream.read_buf(&mut request).await.is_ok_and(|read| read > 0)
        {}
        stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{").await.unwrap();
    });
    assert!(matches!(
        ours.forwarder.send(&announcement, &command(), Instant::now() + SOON).await,
        Outcome::Unknown
    ));
}

#[tokio::test]
async fn an_instance_that_does_not_answer_is_waited_for_as_long_as_the_caller_waits() {
    let place = Place::new(&crate::CATEGORIES).await;
    let ours = crate::instance(&place, KEYS).await;
    // The system takes the connection, and no process reads from it.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let announcement = announce_only(listener.local_addr().unwrap());
    let sent = async {
        ours.forwarder
            .send(&announcement, &command(), Instant::now() + Duration::from_secs(1))
            .await
    };
    assert!(matches!(tokio::time::timeout(SOON, sent).await, Ok(Outcome::Unknown)));
}

/// The highest epoch is of one that says nothing; the owner said last that it owns.
#[tokio::test]
async fn the_second_candidate_decides_what_the_first_does_not_answer() {
    let place = Place::new(&crate::CATEGORIES).await;
    let (mut ours, mut owner) =
        (crate::instance(&place, KEYS).await, crate::instance(&place, KEYS).await);
    ours.serve();
    owner.serve();
    let (stranger, asked) = silent().await;
    let announcement = announce(&place, &ours, stranger).await;
    owner.own();
    let mut changes = ours.announcements.watch();
    let candidates = || {
        ours.announcements
            .candidates("case", 0)
            .into_iter()
            .map(|announcement| announcement.instance)
            .collect::<Vec<_>>()
    };
    while candidates() != [announcement.instance, owner.announcements.instance] {
        tokio::time::timeout(SOON, changes.changed()).await.unwrap().unwrap();
    }
    let answer = open_case(&ours, "").await;
    assert_eq!((answer.status, asked.load(Ordering::SeqCst)), (201, 1), "{answer:?}");
}
