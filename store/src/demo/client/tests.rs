use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

type Answers = Vec<(StatusCode, &'static [(&'static str, &'static str)], String)>;

/// Gives its answers in turn, and keeps what it was asked.
#[derive(Clone)]
struct Server {
    answers: Arc<Mutex<Answers>>,
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Server {
    fn new(mut answers: Answers) -> Self {
        answers.reverse();
        Self { answers: Arc::new(Mutex::new(answers)), asked: Arc::default() }
    }

    async fn serve(&self, listener: TcpListener) {
        let answer = |State(server): State<Self>, headers: HeaderMap, body: String| async move {
            let key = headers["idempotency-key"].to_str().unwrap().to_owned();
            server.asked.lock().unwrap().push((key, body));
            let (status, headers, body) = server.answers.lock().unwrap().pop().unwrap();
            let headers: HeaderMap = headers
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect();
            (status, headers, body)
        };
        axum::serve(
            listener,
            Router::new().route("/v1/orders", post(answer)).with_state(self.clone()),
        )
        .await
        .unwrap();
    }

    fn asked(&self) -> Vec<(String, String)> {
        self.asked.lock().unwrap().clone()
    }
}

fn client(address: SocketAddr, patience: Duration) -> Client {
    Client::new(format!("http://{address}/").parse().unwrap(), patience, |_| ()).unwrap()
}

fn command() -> Command {
    let (path, what) = ("v1/orders".to_owned(), "basket 7 (line 2)".to_owned());
    Command { path, key: Uuid::from_u128(7), body: b"{\"a\":1}".to_vec(), what }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// What the command ends with, given these answers.
async fn sent(
    answers: Answers,
    patience: Duration,
) -> (Result<Answer, Error>, Vec<(String, String)>) {
    let (listener, address) = listener().await;
    let server = Server::new(answers);
    let client = client(address, patience);
    let answer = tokio::select! {
        () = server.serve(listener) => unreachable!("it serves for ever"),
        answer = async { client.send(&command()).await } => answer,
    };
    (answer, server.asked())
}

#[tokio::test]
async fn an_answer_comes_back_as_it_is() {
    let (answer, asked) = sent(vec![(StatusCode::CREATED, &[], "done".to_owned())], PATIENCE).await;
    assert_eq!(answer.unwrap(), Answer { status: 201, replayed: false, body: "done".to_owned() });
    assert_eq!(asked, [(Uuid::from_u128(7).to_string(), "{\"a\":1}".to_owned())]);
    let (answer, _) = sent(
        vec![(StatusCode::CREATED, &[("idempotency-replayed", "true")], String::new())],
        PATIENCE,
    )
    .await;
    assert!(answer.unwrap().replayed);
}

#[tokio::test]
async fn a_refusal_for_the_moment_is_followed_by_the_same_command() {
    let now: &[(&str, &str)] = &[("retry-after", "0")];
    for status in [
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::BAD_GATEWAY,
        StatusCode::GATEWAY_TIMEOUT,
    ] {
        let answers = vec![
            (status, now, String::new()),
            (status, &[], String::new()),
            (StatusCode::CREATED, &[], String::new()),
        ];
        let (answer, asked) = sent(answers, PATIENCE).await;
        assert_eq!(answer.unwrap().status, 201);
        assert_eq!(asked.len(), 3);
        assert!(asked.iter().all(|one| *one == asked[0]), "{asked:?}");
    }
}

#[tokio::test]
async fn any_other_answer_is_final() {
    for status in [
        StatusCode::CONFLICT,
        StatusCode::UNPROCESSABLE_ENTITY,
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::MOVED_PERMANENTLY,
    ] {
        let (answer, asked) = sent(vec![(status, &[], "why".to_owned())], PATIENCE).await;
        assert_eq!((answer.unwrap().status, asked.len()), (status.as_u16(), 1));
    }
}

#[tokio::test]
async fn patience_ends_before_a_wait_that_is_longer() {
    let long: &[(&str, &str)] = &[("retry-after", "3600")];
    let (answer, asked) =
        sent(vec![(StatusCode::SERVICE_UNAVAILABLE, long, "busy".to_owned())], PATIENCE).await;
    let error = answer.unwrap_err();
    assert!(
        error.is_unreachable()
            && error.to_string().contains("basket 7 (line 2)")
            && error.to_string().contains("503 busy"),
        "{error}"
    );
    assert_eq!(asked.len(), 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let (listener, address) = listener().await;
    drop(listener);
    let error = client(address, Duration::ZERO).send(&command()).await.unwrap_err();
    assert!(error.is_unreachable() && error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_connection_that_breaks_off_is_followed_by_the_same_command() {
    let (listener, address) = listener().await;
    let server = Server::new(vec![(
        StatusCode::CREATED,
        &[("idempotency-replayed", "true")],
        String::new(),
    )]);
    let serving = server.clone();
    let serve = tokio::spawn(async move {
        let (first, _) = listener.accept().await.unwrap();
        first.readable().await.unwrap();
        drop(first);
        serving.serve(listener).await;
    });
    let said = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&said);
    let notice = move |text: &str| told.lock().unwrap().push(text.to_owned());
    let client =
        Client::new(format!("http://{address}/").parse().unwrap(), PATIENCE, notice).unwrap();
    let answer = client.send(&command()).await.unwrap();
    serve.abort();
    assert!(answer.replayed);
    let said = said.lock().unwrap().clone();
    assert!(
        said.len() == 2 && said[0].contains("at the moment") && said[1].ends_with("answers again"),
        "{said:?}"
    );
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn no_more_of_an_answer_is_read_than_a_message_needs() {
    let (answer, _) =
        sent(vec![(StatusCode::CONFLICT, &[], "x".repeat(1_000_000))], PATIENCE).await;
    assert_eq!(answer.unwrap().body.len(), ANSWER_BYTES);
}
