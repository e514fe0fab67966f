//! The clients: what they sent and wait for, and whether an answer is true.
//!
//! An aggregate is one register of versions that only rise, and the log has every version that it
//! ever had. So an answer is linearizable if it is true of one of the versions that were committed
//! from the moment it was asked for to the moment it is given.

use std::collections::BTreeMap;

use highwater_protocol::writer::{Answer, Outcome, Token};

use super::{
    log::Log,
    small::{Due, due},
};
use crate::setup::{Sent, Setup};

/// A submission that is not answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    /// The owner that was asked.
    pub owner: usize,
    pub command: usize,
    /// The version of its aggregate that was committed then.
    pub since: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    pub sent: Vec<u8>,
    pub asked: BTreeMap<Token, Asked>,
}

impl Client {
    pub fn new(setup: &Setup) -> Self {
        Self { sent: vec![0; setup.commands.len()], asked: BTreeMap::new() }
    }

    /// What is sent once more, or lies in the command queue.
    pub fn to_come<'a>(&'a self, setup: &'a Setup) -> impl Iterator<Item = &'a Sent> {
        let to_come = move |(index, sent): &(usize, &Sent)| {
            self.sent[*index] < sent.times || setup.command_queue.contains(index)
        };
        setup.commands.iter().enumerate().filter(to_come).map(|(_, sent)| sent)
    }

    pub fn ask(&mut self, setup: &Setup, log: &Log, owner: usize, command: usize) -> Token {
        self.sent[command] += 1;
        let token = command as u64 + 8 * u64::from(self.sent[command]);
        let sent = &setup.commands[command];
        // Of a command that is recorded only what is in the log can be told: no promise looks at
        // the version then.
        let since = if sent.is_recorded() { 0 } else { log.version(sent.aggregate, log.len()) };
        self.asked.insert(token, Asked { owner, command, since });
        token
    }

    /// A caller that asked an owner that ended without a word hears nothing.
    pub fn gives_up(&mut self, owner: usize) {
        self.asked.retain(|_, asked| asked.owner != owner);
    }

    pub fn waits_for(&self, owner: usize) -> bool {
        self.asked.values().any(|asked| asked.owner == owner)
    }

    /// What is wrong with the answer.
    pub fn hear(
        &mut self,
        setup: &Setup,
        log: &Log,
        token: Token,
        answer: &Answer<super::small::Small>,
    ) -> Option<&'static str> {
        let Some(asked) = self.asked.remove(&token) else {
            return Some("a submission was answered twice, or never made");
        };
        let sent = &setup.commands[asked.command];
        let was = |wanted: Due| {
            let mut since =
                log.versions(sent.aggregate).filter(|(version, _)| *version >= asked.since);
            since.any(|(version, _)| due(sent.does, &sent.expected, version) == wanted)
        };
        match answer {
            Answer::Done { outcome, .. } => told(log, sent, asked.since, outcome),
            Answer::NotFound => (!was(Due::NotFound))
                .then_some("404, and at no moment from the question to the answer was it so"),
            Answer::VersionMismatch { current } => {
                let committed =
                    log.versions(sent.aggregate).any(|(version, _)| version == *current);
                if !committed {
                    return Some("412 names a version that was not committed");
                }
                (!was(Due::Mismatch))
                    .then_some("412, and at no moment from the question to the answer was it so")
            }
            Answer::KeyReused => {
                let other = log
                    .outcomes
                    .get(&sent.id)
                    .is_some_and(|(_, recorded)| !is_same(sent, recorded));
                (!other).then_some("the id is said to be used for another command, and is not")
            }
            Answer::TooLarge { .. } => Some("a commit was too large"),
            Answer::Unreadable => {
                Some("an aggregate cannot be read, and every event and every snapshot can")
            }
            Answer::Busy(_) | Answer::Moved => None,
        }
    }
}

fn is_same(
    sent: &Sent,
    recorded: &highwater_protocol::writer::RecordedOutcome<super::small::Small>,
) -> bool {
    (sent.aggregate, sent.fingerprint) == (recorded.aggregate, recorded.fingerprint)
}

fn told(
    log: &Log,
    sent: &Sent,
    since: u64,
    outcome: &Outcome<super::small::Small>,
) -> Option<&'static str> {
    if let Some((_, recorded)) = log.outcomes.get(&sent.id) {
        if !is_same(sent, recorded) {
            return Some("a command was told the outcome of another");
        }
        return (recorded.outcome != *outcome)
            .then_some("an outcome was told that is not the one in the log");
    }
    let (version, end, wanted) = match outcome {
        Outcome::Accepted { .. } => return Some(NOT_IN_LOG),
        Outcome::Unchanged { version, end, .. } => (*version, *end, Due::Unchanged),
        Outcome::Rejected { version, end, .. } => (*version, *end, Due::Rejected),
    };
    if sent.caller_key {
        return Some(NOT_IN_LOG);
    }
    let committed =
        log.versions(sent.aggregate).any(|(committed, _)| committed == version && version >= since);
    if !committed || due(sent.does, &sent.expected, version) != wanted {
        return Some("\"no\" or \"nothing to do\" was told of a version at which it was not so");
    }
    let end = usize::try_from(end).unwrap_or(usize::MAX);
    (end > log.len() || log.version(sent.aggregate, end) < version)
        .then_some("what is read at the position of an answer may be older")
}

pub const NOT_IN_LOG: &str = "an outcome was told that is not in the log";
