//! Reads a partition of `commands` for its owner, and understands what lies there. Decides nothing:
//! that is the writer's.
//!
//! It never passes a record that it does not understand but a newer release may, and never begins
//! elsewhere than where the log says.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use highwater_http::{
    json,
    problem::{FieldError, Problem},
};
use highwater_log::{Delivery, Log, Partition, Subscription};
use highwater_protocol::{
    command_queue::{AcceptedCommand, DecodeError, decode},
    entry::CommandMetadata,
    partition::partition_of,
    record::{Record, StoredRecord},
    time::Micros,
    wire::{Fingerprint, Meta, Reason, Wire},
    writer::{Expected, QueuedCommand, Submission},
};
use highwater_runtime::{identity::DeploymentKeys, resilience::Once};
use metrics::{counter, gauge};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::category::{self, Category, Commands};

/// What understanding the command queue of a category takes.
pub struct Source {
    /// `<prefix>.<category>.commands`.
    pub topic: Arc<str>,
    pub partitions: u32,
    pub commands: Arc<Commands>,
    pub keys: Arc<DeploymentKeys>,
    /// How many commands may be drained before others hear of it.
    pub announce_step: u64,
}

/// The command queue of one partition, as far as it was read.
pub(super) struct Intake {
    partition: Partition,
    category: &'static str,
    state: State,
    buffer: VecDeque<StoredRecord>,
    /// What others were told is drained, and when.
    announced: Option<(u64, Instant)>,
    trouble: Once,
}

enum State {
    /// There is no own fence yet, or a record is newer than this release.
    Closed,
    Asking(BoxFuture<'static, Result<(u64, u64), highwater_log::Error>>),
    Reading(Subscription),
    /// Not served, and looked at again later.
    Stopped(Instant),
}

pub(super) enum Arrived {
    /// Where `commands` begins and ends.
    Range(Result<(u64, u64), highwater_log::Error>),
    Delivery(Option<Delivery>),
    Again,
}

/// What a record of the command queue asks for.
pub(super) enum Understood<C: Category> {
    Command(Box<Submission<Wire, C::Command>>),
    /// No outcome could be recorded for it.
    Passed(String),
    /// Only a newer release may understand it.
    Newer(String),
}

/// A command queue that lacks commands is looked at again after this.
const REFUSED: Duration = Duration::from_secs(10);
/// What could not be read is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);
/// Others hear at least so often that the command queue has come on.
const HINT: Duration = Duration::from_secs(30);

impl Intake {
    pub(super) fn new(partition: Partition, category: &'static str) -> Self {
        Self {
            partition,
            category,
            state: State::Closed,
            buffer: VecDeque::new(),
            announced: None,
            trouble: Once::new("command-queue-reader"),
        }
    }

    /// After the first own fence: where may it begin?
    pub(super) fn open(&mut self, log: &Arc<dyn Log>) {
        if !matches!(self.state, State::Reading(_)) {
            self.ask(log);
        }
    }

    fn ask(&mut self, log: &Arc<dyn Log>) {
        let (log, partition) = (log.clone(), self.partition.clone());
        self.state = State::Asking(Box::pin(async move {
            Ok((log.begin(&partition).await?, log.end(&partition).await?))
        }));
    }

    /// What comes next; nothing while there is enough.
    pub(super) async fn next(&mut self) -> Arrived {
        match &mut self.state {
            State::Asking(range) => Arrived::Range(range.await),
            State::Reading(subscription) if self.buffer.is_empty() => {
                Arrived::Delivery(subscription.deliveries.recv().await)
            }
            State::Stopped(until) => {
                tokio::time::sleep_until(*until).await;
                Arrived::Again
            }
            State::Closed | State::Reading(_) => std::future::pending().await,
        }
    }

    pub(super) fn arrived(&mut self, arrived: Arrived, from: u64, log: &Arc<dyn Log>) {
        match arrived {
            Arrived::Again => self.ask(log),
            Arrived::Range(Ok((begin, end))) if (begin..=end).contains(&from) => {
                match log.read(&self.partition, from) {
                    Ok(subscription) => {
                        self.state = State::Reading(subscription);
                        self.served(true);
                    }
                    Err(error) => self.try_again(&error.to_string()),
                }
            }
            Arrived::Range(Ok((begin, end))) => self.refuse(&format!(
                "commands are missing: the log says that everything below offset {from} has its \
                 outcome, the topic holds {begin} to {end}"
            )),
            Arrived::Range(Err(error)) | Arrived::Delivery(Some(Delivery::Failed(error))) => {
                self.try_again(&error.to_string())
            }
            Arrived::Delivery(Some(Delivery::Records(records))) => {
                self.trouble.over("the command queue can be read again");
                self.buffer.extend(records);
            }
            Arrived::Delivery(Some(Delivery::CaughtUp(_))) => {
                self.trouble.over("the command queue can be read again")
            }
            Arrived::Delivery(Some(Delivery::Trouble(what))) => {
                self.trouble
                    .warn(&format!("{}: trouble reading the command queue", self.partition), &what);
            }
            Arrived::Delivery(None) => self.try_again("the reader ended"),
        }
    }

    pub(super) fn is_served(&self) -> bool {
        matches!(self.state, State::Reading(_))
    }

    pub(super) fn is_buffered(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The record at `next`, if it has been read.
    pub(super) fn take(&mut self, next: u64) -> Option<Record> {
        let stored = self.buffer.pop_front()?;
        if stored.offset == next {
            return Some(stored.record);
        }
        self.refuse(&format!(
            "commands are missing: the topic continues at offset {} where {next} was expected",
            stored.offset
        ));
        None
    }

    /// No owner here passes this record before this instance is upgraded.
    pub(super) fn pause(&mut self, offset: u64, what: &str) {
        tracing::error!(partition = %self.partition, offset, what, "the command queue pauses: \
            upgrade this instance");
        self.state = State::Closed;
        self.buffer.clear();
        self.served(false);
    }

    /// Going on would pass over commands: nothing but a look at the log later can help.
    fn refuse(&mut self, why: &str) {
        if self.trouble.met() {
            tracing::error!(partition = %self.partition, why, "the command queue is not served; \
                synchronous commands are");
        }
        self.stop_until(Instant::now() + REFUSED);
    }

    /// The log has trouble; nothing says that anything is missing.
    fn try_again(&mut self, why: &str) {
        self.trouble.warn(&format!("{}: the command queue cannot be read", self.partition), &why);
        self.stop_until(Instant::now() + AGAIN);
    }

    fn stop_until(&mut self, again: Instant) {
        self.state = State::Stopped(again);
        self.buffer.clear();
        self.served(false);
    }

    pub(super) fn passed(&self, offset: u64, why: &str) {
        tracing::error!(partition = %self.partition, offset, why, "a record of the command queue \
            names no command and is passed");
        counter!(
            "highwater_queue_passed_total",
            "category" => self.category,
            "partition" => self.partition.index.to_string()
        )
        .increment(1);
    }

    fn served(&self, served: bool) {
        gauge!(
            "highwater_queue_served",
            "category" => self.category,
            "partition" => self.partition.index.to_string()
        )
        .set(if served { 1.0 } else { 0.0 });
    }

    /// What others are to be told, now and then.
    pub(super) fn announcement(&mut self, drained: u64, step: u64) -> Option<u64> {
        let news = match self.announced {
            _ if !matches!(self.state, State::Reading(_)) => false,
            None => true,
            Some((said, at)) => drained > said && (drained - said >= step || at.elapsed() >= HINT),
        };
        if news {
            self.announced = Some((drained, Instant::now()));
        }
        news.then_some(drained)
    }
}

/// What the record at `offset` of partition `index` asks for. `deadline_ms` turns its deadline into
/// the milliseconds of ticks.
pub(super) fn understand<C: Category>(
    source: &Source,
    index: u32,
    offset: u64,
    record: Record,
    now: Micros,
    deadline_ms: impl Fn(Micros) -> u64,
) -> Understood<C> {
    let (accepted, metadata) = match decode(record) {
        Ok(accepted) => {
            let metadata = metadata(&accepted);
            (Ok(accepted), metadata)
        }
        Err(DecodeError::Newer { kind }) => {
            return Understood::Newer(format!("a record of kind {kind}"));
        }
        Err(DecodeError::Undecodable { defect, metadata: Some(metadata) }) => {
            (Err(defect.to_string()), *metadata)
        }
        Err(DecodeError::Undecodable { defect, metadata: None }) => {
            return Understood::Passed(defect.to_string());
        }
    };
    if partition_of(metadata.aggregate.hyphenated().to_string().as_bytes(), source.partitions)
        != index
    {
        return Understood::Passed("its key belongs to another partition".to_owned());
    }
    let mut submission = Submission {
        token: 0,
        command: metadata.command,
        aggregate: metadata.aggregate,
        fingerprint: metadata.fingerprint,
        older_fingerprints: Vec::new(),
        expected: Expected::Anything,
        payload: Err(Reason(Vec::new())),
        caller_key: true,
        fresh: false,
        new_aggregate: false,
        meta: metadata.meta,
        at: now,
        deadline_ms: u64::MAX,
        queued: Some(QueuedCommand { source: offset, missing: missing::<C>(metadata.aggregate) }),
    };
    let accepted = match accepted {
        Ok(accepted) => accepted,
        Err(defect) => {
            submission.payload = Err(malformed(&defect, &[]));
            return Understood::Command(Box::new(submission));
        }
    };
    let Some(spec) = accepted
        .name
        .strip_prefix(C::NAME)
        .and_then(|rest| rest.strip_prefix('.'))
        .map(|name| (name, accepted.version))
    else {
        return Understood::Newer(format!("the command {}", accepted.name));
    };
    submission.payload =
        match payload::<C>(source, spec, &accepted, now, &mut submission.older_fingerprints) {
            Ok(payload) => payload.map(Arc::new),
            Err(newer) => return Understood::Newer(newer),
        };
    submission.deadline_ms = deadline_ms(accepted.deadline);
    submission.expected = accepted.expected;
    submission.caller_key = accepted.caller_key;
    Understood::Command(Box::new(submission))
}

/// The body by the code that reads it over HTTP. `Err`: the command or its version may be known to
/// a newer release.
fn payload<C: Category>(
    source: &Source,
    (name, version): (&str, u32),
    accepted: &AcceptedCommand,
    now: Micros,
    fingerprints: &mut Vec<Fingerprint>,
) -> Result<Result<C::Command, Reason>, String> {
    let Some(spec) = source.commands.find(name, Some(version)) else {
        let retired =
            source.commands.versions(name).first().is_some_and(|oldest| version < *oldest);
        let what = format!("version {version} of the command {}", accepted.name);
        return if retired {
            Ok(Err(malformed(&format!("{what} is not served any more"), &[])))
        } else {
            Err(what)
        };
    };
    let body = match json::parse(&accepted.body) {
        Ok(body) => body,
        Err(error) => {
            let problem = Problem::from(error);
            return Ok(Err(malformed(problem.detail(), problem.errors())));
        }
    };
    let by_all_keys = source.keys.fingerprints(&accepted.name, &json::canonical(&body));
    fingerprints
        .extend(by_all_keys.into_iter().map(|(key_number, hmac)| Fingerprint { key_number, hmac }));
    Ok(spec
        .command::<C>(name, &body, now)
        .map_err(|errors| malformed("the body is not what the command's schema asks for", &errors)))
}

fn metadata(accepted: &AcceptedCommand) -> CommandMetadata<Wire> {
    let meta = Meta {
        event_id: Uuid::nil(),
        actor: accepted.actor,
        correlation: accepted.correlation,
        causation: accepted.command,
        traceparent: accepted.traceparent.clone(),
    };
    let (aggregate, command, fingerprint) =
        (accepted.aggregate, accepted.command, accepted.fingerprint.clone());
    CommandMetadata { aggregate, command, fingerprint, meta, source: None }
}

/// As the same answers over HTTP, with the status that they have there.
fn missing<C: Category>(aggregate: Uuid) -> Reason {
    let (code, detail) = category::missing::<C>(aggregate);
    reason(&json!({"code": code, "detail": detail, "status": 404}))
}

fn malformed(detail: &str, errors: &[FieldError]) -> Reason {
    let mut value = json!({"code": "command.malformed", "detail": detail, "status": 422});
    if !errors.is_empty() {
        value["errors"] = json!(errors);
    }
    reason(&value)
}

fn reason(value: &Value) -> Reason {
    Reason(value.to_string().into_bytes())
}

#[cfg(test)]
mod tests;
