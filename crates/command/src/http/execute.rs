//! The way of a command to its owner: here, or one hop away. Waits a little for a partition that
//! has none.

use std::time::Duration;

use axum::response::Response;
use highwater_http::{headers::Prefer, problem::Problem};
use highwater_protocol::{
    partition::partition_of,
    wire::Wire,
    writer::{Answer, Busy, Submission},
};
use tokio::{
    sync::{mpsc::error::TrySendError, oneshot},
    time::Instant,
};
use uuid::Uuid;

use super::{
    App, answer,
    ending::Ending,
    request::{self, Caller, Command},
};
use crate::{
    category::Category,
    owner::{
        Delivery,
        forward::{self, Outcome},
    },
};

pub(super) async fn run<C: Category>(
    app: &App<C>,
    caller: Caller,
    command: Command<C>,
) -> Response {
    let began = Instant::now();
    let aggregate = command.submission.aggregate;
    let partition = partition_of(
        aggregate.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes(),
        app.partitions,
    );
    let sent = answer::CommandTarget {
        partition,
        aggregate,
        command: command.submission.command,
        creates: command.creates,
    };
    let ending = decide_or_defer(app, &caller, partition, command, began).await;
    app.figures.count(ending.label());
    if matches!(ending, Ending::Decided(Answer::Done { .. })) {
        app.figures.acknowledged.record(began.elapsed().as_secs_f64());
    }
    let answered = answer::response::<C>(app, &caller, &sent, ending);
    caller.named(answered)
}

/// Waits for the owner as long as the caller wants to, and then lets the command wait in the
/// command queue, if the caller allows that.
async fn decide_or_defer<C: Category>(
    app: &App<C>,
    caller: &Caller,
    partition: u32,
    command: Command<C>,
    began: Instant,
) -> Ending {
    let longest = Duration::from_millis(app.settings.deadline_ms);
    // The instance that sent a request on knows better how it may end.
    let prefer = if caller.forwarded { Prefer::default() } else { caller.prefer };
    let wait = match prefer.wait {
        Some(wait) => wait.min(longest),
        None if prefer.respond_async => Duration::ZERO,
        None => {
            return find_owner(
                app,
                caller,
                partition,
                &command,
                began,
                caller.within.map_or(longest, |within| within.min(longest)),
            )
            .await;
        }
    };
    let waiting = request::accepted(app, &command);
    if !wait.is_zero() {
        let ending = find_owner(app, caller, partition, &command, began, wait).await;
        if !ending.may_wait() {
            return ending;
        }
    }
    let until = Instant::now() + Duration::from_millis(app.command_queue.settings.accept_wait_ms);
    Box::pin(app.command_queue.accept(partition, &waiting, until))
        .await
        .map_or_else(Ending::NotAccepted, Ending::Accepted)
}

async fn find_owner<C: Category>(
    app: &App<C>,
    caller: &Caller,
    partition: u32,
    command: &Command<C>,
    began: Instant,
    within: Duration,
) -> Ending {
    let until = began + within;
    let ownerless_until =
        (began + Duration::from_millis(app.settings.ownerless_wait_ms)).min(until);
    // Watched, and written for another instance, only when it is needed: nearly always the owner is
    // here.
    let (mut changes, mut outgoing) = (None, None);
    // As it was, until an owner ended with it.
    let mut again: Option<Submission<Wire, C::Command>> = None;
    loop {
        match deliver(app, partition, again.as_ref().unwrap_or(&command.submission), until).await {
            Way::Ended(ending) => return ending,
            Way::Closed => {
                // It may have been appended before the owner ended.
                again = Some(maybe_seen(command));
            }
            Way::Elsewhere if caller.forwarded && again.is_some() => return Ending::Undecided,
            Way::Elsewhere if caller.forwarded => return Ending::NotOwner,
            Way::Elsewhere => {}
        }
        let Some((owned, announced)) = &mut changes else {
            // Looked up again: what changes after that wakes.
            changes = Some((app.table.watch(), app.announcements.watch()));
            continue;
        };
        if !caller.forwarded {
            let outgoing = outgoing.get_or_insert_with(|| request::outgoing(app, caller, command));
            // What is rare is kept apart: each request is moved about with all that it may come to
            // hold.
            let asked = Box::pin(ask_others(app, caller, partition, outgoing, until));
            let is_answer = |asked: &HopOutcome| {
                matches!(
                    asked,
                    HopOutcome::Ended(ending) if !(caller.defers() && ending.may_wait())
                )
            };
            match aside(app, caller, asked, is_answer).await {
                Ok(HopOutcome::Ended(ending)) => return ending,
                Ok(HopOutcome::NotThere) => again = Some(maybe_seen(command)),
                Ok(HopOutcome::Nobody) => {}
                Err(problem) => return Ending::Refused(problem),
            }
        }
        let changed = async {
            tokio::select! {
                _ = owned.changed() => {}
                _ = announced.changed() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        };
        let is_answer = |changed: &Result<(), _>| changed.is_err() && !caller.defers();
        match aside(
            app,
            caller,
            Box::pin(tokio::time::timeout_at(ownerless_until, changed)),
            is_answer,
        )
        .await
        {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Ending::Ownerless,
            Err(problem) => return Ending::Refused(problem),
        }
        // Seen before the next look-up.
        owned.mark_unchanged();
        announced.mark_unchanged();
    }
}

/// Waits for what is no work of this process without the permit of the request: commands whose
/// owner is here are not kept out by those whose owner is slow or gone, and how long these take
/// says nothing about how busy this instance is.
async fn aside<C: Category, T>(
    app: &App<C>,
    caller: &Caller,
    wait: impl Future<Output = T>,
    is_answer: impl FnOnce(&T) -> bool,
) -> Result<T, Problem> {
    match (&caller.admission, app.waiting.try_acquire()) {
        (Some(admission), Ok(_place)) => admission.while_waiting_unless(wait, is_answer).await,
        _ => Ok(wait.await),
    }
}

/// The command as one that the log may have already: its ids are looked up wherever it is decided.
fn maybe_seen<C: Category>(command: &Command<C>) -> Submission<Wire, C::Command> {
    Submission { fresh: false, new_aggregate: false, ..command.submission.clone() }
}

/// What came of asking the instances that are said to own the partition.
enum HopOutcome {
    Ended(Ending),
    /// They say that nothing was decided there.
    NotThere,
    /// There was none to ask.
    Nobody,
}

/// Sends the command to the instances that are said to own the partition, the likeliest first.
async fn ask_others<C: Category>(
    app: &App<C>,
    caller: &Caller,
    partition: u32,
    command: &forward::Command,
    until: Instant,
) -> HopOutcome {
    let (mut asked, mut unknown) = (false, false);
    for announcement in app
        .announcements
        .candidates(C::NAME, partition)
        .into_iter()
        .filter(|announcement| app.forwarder.allows(announcement))
    {
        asked = true;
        match app.forwarder.send(&announcement, command, until).await {
            Outcome::Answered { response, may_wait } => {
                return HopOutcome::Ended(Ending::Relayed {
                    response: caller.told(*response).await,
                    may_wait,
                });
            }
            // Another instance may be asked all the same: a command that was decided is found by
            // its id.
            Outcome::Unknown => unknown = true,
            Outcome::NotThere => {}
        }
    }
    match (unknown, asked) {
        (true, _) => HopOutcome::Ended(Ending::Undecided),
        (false, true) => HopOutcome::NotThere,
        (false, false) => HopOutcome::Nobody,
    }
}

/// What came of handing a command to an owner here.
enum Way {
    Ended(Ending),
    /// It ended before it decided.
    Closed,
    /// There is none.
    Elsewhere,
}

async fn deliver<C: Category>(
    app: &App<C>,
    partition: u32,
    submission: &Submission<Wire, C::Command>,
    until: Instant,
) -> Way {
    let Some(intake) = app.table.find(partition) else { return Way::Elsewhere };
    let (reply, answer) = oneshot::channel();
    match intake.try_send(Delivery { submission: submission.clone(), reply, deadline: until }) {
        Err(TrySendError::Full(_)) => {
            return Way::Ended(Ending::Decided(Answer::Busy(Busy::Partition)));
        }
        Err(TrySendError::Closed(_)) => return Way::Closed,
        Ok(()) => {}
    }
    match tokio::time::timeout_at(until, answer).await {
        Err(_) => Way::Ended(Ending::Undecided),
        Ok(Ok(Answer::Moved) | Err(_)) => Way::Closed,
        Ok(Ok(answer)) => Way::Ended(Ending::Decided(answer)),
    }
}

/// An owner that was there and did not listen is tried again after this, though nothing changed.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
