//! What happens to vouchers, holders and counters.

use std::ops::Range;

use highwater_protocol::{
    entry::Verdict,
    vocabulary::Vocabulary,
    wire::{RecordedEvent, Wire},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    tables::projections,
    world::{World, event},
};

impl World {
    pub async fn new() -> Self {
        Self::of_history(0).await
    }

    /// Histories of different numbers have different writers and commands.
    pub async fn of_history(number: u128) -> Self {
        Self::with(projections, number).await
    }

    /// Lives of holders and vouchers, with voids, take-overs, torn commits and outcomes between
    /// them.
    pub async fn live(&mut self, numbers: Range<u128>) {
        for n in numbers {
            let (holder, voucher) = (Uuid::from_u128(0x1000 + n), Uuid::from_u128(0x2000 + n));
            self.commit("holder", holder, vec![registered(n), renamed(n)], 2).await;
            let first = if n.is_multiple_of(2) { issued(n) } else { issued_v1(n) };
            self.commit("voucher", voucher, vec![first], 1).await;
            if n.is_multiple_of(3) {
                self.commit("holder", holder, vec![renamed(n + 1)], 1).await;
                self.commit("voucher", voucher, vec![withdrawn(n)], 1).await;
                let reason = br#"{"code":"voucher.already-withdrawn","detail":"a\u0000b"}"#;
                self.outcome("voucher", voucher, Verdict::Rejected, reason).await;
            } else {
                self.void("voucher", Self::partition_of(voucher)).await;
                let given = event("voucher.given-away", 1, json!({"to": holder}));
                let redeemed = event("voucher.redeemed", 1, json!({}));
                self.commit("voucher", voucher, vec![given, redeemed], 2).await;
                let nothing = Wire::nothing_to_do().0;
                self.outcome("voucher", voucher, Verdict::Unchanged, &nothing).await;
            }
            if n % 3 == 1 {
                self.defer(holder, voucher).await;
            }
            if n.is_multiple_of(4) {
                let torn = vec![event("holder.left", 1, json!({})), renamed(n)];
                self.commit("holder", holder, torn, 1).await;
                self.fence("holder", Self::partition_of(holder)).await;
            }
            self.commit("counter", holder, vec![counted(10, 10)], 1).await;
            self.commit("counter", holder, vec![counted(-3, 7)], 1).await;
            if n.is_multiple_of(2) {
                self.commit("counter", holder, vec![counted(-7, 0)], 1).await;
            }
            if n.is_multiple_of(5) {
                let unknown = Uuid::from_u128(0x3000 + n);
                self.outcome("holder", unknown, Verdict::Rejected, b"no json").await;
            }
        }
        self.barriers().await;
    }

    /// Two commands lie in the command queue, one of them twice, and that one is decided.
    async fn defer(&mut self, holder: Uuid, voucher: Uuid) {
        let command = self.accept("voucher", voucher).await;
        self.accept("counter", holder).await;
        self.accept_again("voucher", &command).await;
        let reason = br#"{"code":"version.mismatch","detail":"it is 3","status":412,"version":3}"#;
        self.decide("voucher", &command, reason).await;
    }
}

/// A day a number, so that a day has vouchers of several partitions.
fn day(n: u128) -> String {
    format!("2026-11-{:02}", n % 8 + 1)
}

fn worth(n: u128) -> Value {
    json!({"day": day(n), "kind": format!("kind {}", n % 3), "worth": 900})
}

pub fn issued(n: u128) -> RecordedEvent {
    event("voucher.issued", 2, worth(n))
}

fn issued_v1(n: u128) -> RecordedEvent {
    event("voucher.issued", 1, json!({"day": day(n), "worth": 300}))
}

/// Of either version.
fn withdrawn(n: u128) -> RecordedEvent {
    let taken_back = match n % 2 {
        0 => worth(n),
        _ => json!({"day": day(n), "kind": "plain", "worth": 300}),
    };
    event("voucher.withdrawn", 1, taken_back)
}

fn registered(n: u128) -> RecordedEvent {
    event("holder.registered", 1, json!({"name": format!("Holder {n}")}))
}

fn renamed(n: u128) -> RecordedEvent {
    event("holder.renamed", 1, json!({"name": format!("Owner {n}")}))
}

fn counted(by: i64, count: i64) -> RecordedEvent {
    event("counter.counted", 1, json!({"by": by, "count": count}))
}
