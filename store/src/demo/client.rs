//! Sends a command until it is answered. A key makes that safe: while the store cannot be reached,
//! breaks off or refuses for the moment, the same command goes out again, for as long as patience
//! lasts. Judges no answer.

use std::{
    error::Error as _,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use reqwest::{Response, StatusCode, Url, header};
use tokio::time::{Instant, sleep};

use super::{Error, command::Command};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Longer than the server takes to say that it could not decide (5 s by default).
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Between two tries when the server names no time: doubled from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// As much of an answer as is read: a message needs no more.
const ANSWER_BYTES: usize = 4 * 1024;

pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    patience: Duration,
    /// Told once when answers stop coming, and once when they come again.
    notice: Box<dyn Fn(&str) + Send + Sync>,
    waits: AtomicBool,
}

/// What was answered, in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// It was recorded earlier.
    pub(super) replayed: bool,
    pub(super) body: String,
}

enum Try {
    Answered(Answer),
    /// Not now: why, and when the server wants to be asked again.
    Later(String, Option<Duration>),
}

impl Client {
    /// `patience`: for how long a command is tried.
    pub(super) fn new(
        base: Url,
        patience: Duration,
        notice: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .timeout(ANSWER_LIMIT)
            .no_proxy();
        let http = http.redirect(reqwest::redirect::Policy::none()).build().map_err(Error::Http)?;
        Ok(Self { http, base, patience, notice: Box::new(notice), waits: AtomicBool::new(false) })
    }

    pub(super) async fn send(&self, command: &Command) -> Result<Answer, Error> {
        let give_up = Instant::now() + self.patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let (why, after) = match self.once(command).await {
                Try::Answered(answer) => {
                    self.goes_on();
                    return Ok(answer);
                }
                Try::Later(why, after) => (why, after),
            };
            let wait = after.unwrap_or(pause);
            if Instant::now() + wait > give_up {
                let (what, url) = (command.what.clone(), self.base.to_string());
                return Err(Error::Unreachable {
                    what,
                    url,
                    seconds: self.patience.as_secs(),
                    why,
                });
            }
            self.waits_for(&why);
            sleep(wait).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    fn waits_for(&self, why: &str) {
        if !self.waits.swap(true, Ordering::Relaxed) {
            (self.notice)(&format!(
                "{} takes nothing at the moment, and is asked again: {why}",
                self.base
            ));
        }
    }

    fn goes_on(&self) {
        if self.waits.load(Ordering::Relaxed) && self.waits.swap(false, Ordering::Relaxed) {
            (self.notice)(&format!("{} answers again", self.base));
        }
    }

    async fn once(&self, command: &Command) -> Try {
        // What the path is made of is fit for a URL, and so is the base.
        let url = format!("{}{}", self.base, command.path);
        let request = self.http.post(url).header(header::CONTENT_TYPE, "application/json");
        let request =
            request.header("Idempotency-Key", command.key.to_string()).body(command.body.clone());
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Try::Later(innermost(&error), None),
        };
        let (status, after) = (response.status(), retry_after(&response));
        let replayed =
            response.headers().get("Idempotency-Replayed").is_some_and(|value| value == "true");
        match start_of(response).await {
            Ok(body) if is_passing(status) => {
                Try::Later(format!("{} {body}", status.as_u16()), after)
            }
            Ok(body) => Try::Answered(Answer { status: status.as_u16(), replayed, body }),
            Err(error) => Try::Later(innermost(&error), None),
        }
    }
}

/// The server, or something in front of it, cannot at the moment.
fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds =
        response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

async fn start_of(mut response: Response) -> Result<String, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() >= ANSWER_BYTES {
            body.truncate(ANSWER_BYTES);
            break;
        }
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// "Connection refused" says more than what is wrapped around it.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut last = error.to_string();
    while let Some(error) = cause {
        last = error.to_string();
        cause = error.source();
    }
    last
}

#[cfg(test)]
mod tests;
