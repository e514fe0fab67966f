//! One subscription as the reader's thread sees it: what was taken for it and not handed on yet.
//! Never waits.

use std::collections::VecDeque;

use highwater_protocol::record::StoredRecord;
use tokio::sync::mpsc::{Sender, error::TrySendError};
use tokio_util::sync::CancellationToken;

use crate::log::{Delivery, Error};

/// Records handed on in one delivery.
const CHUNK: usize = 1_000;

pub struct Subscriber {
    /// The offset of the next record to take.
    pub at: u64,
    pub paused: bool,
    deliveries: Sender<Delivery>,
    /// Cancelled when the subscription was dropped.
    token: CancellationToken,
    waiting: VecDeque<Delivery>,
    waiting_records: usize,
    failed: bool,
}

impl Subscriber {
    pub fn new(at: u64, deliveries: Sender<Delivery>, token: CancellationToken) -> Self {
        Self {
            at,
            paused: false,
            deliveries,
            token,
            waiting: VecDeque::new(),
            waiting_records: 0,
            failed: false,
        }
    }

    pub fn take(&mut self, stored: StoredRecord) {
        if self.failed || stored.offset < self.at {
            return;
        }
        self.at = stored.offset + 1;
        self.waiting_records += 1;
        match self.waiting.back_mut() {
            Some(Delivery::Records(records)) if records.len() < CHUNK => records.push(stored),
            _ => self.waiting.push_back(Delivery::Records(vec![stored])),
        }
    }

    pub fn caught_up(&mut self) {
        if !self.failed && !matches!(self.waiting.back(), Some(Delivery::CaughtUp(_))) {
            self.waiting.push_back(Delivery::CaughtUp(self.at));
        }
    }

    /// One is enough until it has been handed on.
    pub fn trouble(&mut self, what: &str) {
        if !self.failed && !matches!(self.waiting.back(), Some(Delivery::Trouble(_))) {
            self.waiting.push_back(Delivery::Trouble(what.to_owned()));
        }
    }

    pub fn fail(&mut self, error: Error) {
        if !self.failed {
            self.failed = true;
            self.waiting.push_back(Delivery::Failed(error));
        }
    }

    /// Hands on as much as the channel takes; whether this subscriber is at its end.
    pub fn hand_on(&mut self) -> bool {
        if self.token.is_cancelled() && !self.failed {
            return true;
        }
        while let Some(delivery) = self.waiting.pop_front() {
            let records =
                if let Delivery::Records(records) = &delivery { records.len() } else { 0 };
            match self.deliveries.try_send(delivery) {
                Ok(()) => self.waiting_records -= records,
                Err(TrySendError::Full(delivery)) => {
                    self.waiting.push_front(delivery);
                    return false;
                }
                Err(TrySendError::Closed(_)) => return true,
            }
        }
        self.failed
    }

    pub fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub fn waiting_records(&self) -> usize {
        self.waiting_records
    }
}
