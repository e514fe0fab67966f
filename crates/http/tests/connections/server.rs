//! The server that the tests try: a few routes behind the real layers.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    routing::{get, post},
};
use highwater_http::{
    body::StrictJson,
    server::{self, HttpSettings},
};
use highwater_runtime::{context::Context, shutdown::Shutdown};
use tokio::{sync::watch, task::JoinHandle};

/// What any wait of a test may take.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub const PAGE_BYTES: usize = 800_000;

pub struct Server {
    pub address: SocketAddr,
    pub shutdown: Shutdown,
    pub counts: Arc<Counts>,
    /// Lets `/wait` answer.
    pub go: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// How many handlers are at work, and answers alive.
#[derive(Default)]
pub struct Counts {
    changed: watch::Sender<()>,
    waiting: AtomicUsize,
    pages: AtomicUsize,
}

impl Counts {
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    pub fn pages(&self) -> usize {
        self.pages.load(Ordering::SeqCst)
    }

    /// Waits until `holds`.
    pub async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        let waited = async {
            while !holds(self) {
                changed.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(DEADLINE, waited).await;
        assert!(waited.is_ok(), "{} wait, {} pages are alive", self.waiting(), self.pages());
    }
}

/// Counts until dropped.
struct Counted(Arc<Counts>, fn(&Counts) -> &AtomicUsize);

impl Counted {
    fn new(counts: &Arc<Counts>, of: fn(&Counts) -> &AtomicUsize) -> Self {
        of(counts).fetch_add(1, Ordering::SeqCst);
        counts.changed.send_replace(());
        Self(Arc::clone(counts), of)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, Ordering::SeqCst);
        self.0.changed.send_replace(());
    }
}

impl Server {
    pub async fn start(settings: HttpSettings) -> Self {
        let (counts, go) = (Arc::new(Counts::default()), watch::Sender::new(false));
        let ctx = Context::for_tests();
        // Metrics of a size that counts; the process that tests records none.
        let metrics = get(|| async { vec![b'm'; PAGE_BYTES] });
        let health =
            Router::new().route("/livez", get(|| async { "alive" })).route("/metrics", metrics);
        let router = server::layers(routes(&counts, &go).merge(health), &settings, &ctx);
        let listener = server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = ctx.shutdown.clone();
        let task = tokio::spawn(async move {
            server::serve_with(listener, router, ctx.shutdown, &settings).await.unwrap()
        });
        Self { address, shutdown, counts, go, task }
    }

    /// Waits for the end of the drain.
    pub async fn ended(self) {
        self.shutdown.soft.cancel();
        tokio::time::timeout(DEADLINE, self.task).await.unwrap().unwrap();
    }
}

fn routes(counts: &Arc<Counts>, go: &watch::Sender<bool>) -> Router {
    let (waiting, paged, receiving, going) =
        (Arc::clone(counts), Arc::clone(counts), Arc::clone(counts), go.subscribe());
    let wait = move || {
        let (counted, mut going) =
            (Counted::new(&waiting, |counts| &counts.waiting), going.clone());
        async move {
            going.wait_for(|go| *go).await.unwrap();
            drop(counted);
            "waited for"
        }
    };
    // As a permit that is held until the answer is sent.
    let page = move || {
        let counted = Counted::new(&paged, |counts| &counts.pages);
        async move { Body::new(Held(Some(Bytes::from(vec![b'p'; PAGE_BYTES])), counted)) }
    };
    let receive = move |body: Body| {
        let counted = Counted::new(&receiving, |counts| &counts.waiting);
        async move {
            let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
            drop(counted);
            bytes.len().to_string()
        }
    };
    Router::new()
        .route("/", get(|| async { "answered" }))
        .route("/wait", get(wait))
        .route("/page", get(page))
        .route("/receive", post(receive))
        .route("/json", post(|body: StrictJson| async move { Json(body.value) }))
}

/// One frame, and what is dropped with it.
struct Held(Option<Bytes>, #[expect(dead_code, reason = "counts until it is dropped")] Counted);

impl axum::body::HttpBody for Held {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(self.0.take().map(|bytes| Ok(hyper::body::Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::SizeHint::with_exact(self.0.as_ref().map_or(0, Bytes::len) as u64)
    }
}
