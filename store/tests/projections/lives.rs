//! What happens to products, orders and stock.

use highwater::protocol::{
    entry::Verdict,
    vocabulary::Vocabulary,
    wire::{RecordedEvent, Wire},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{World, event};

impl World {
    pub async fn new() -> Self {
        Self::with(|| store::app().build().expect("an application").projections, 0).await
    }

    /// Lives of products and orders, with voids, take-overs, torn commits and outcomes between
    /// them.
    pub async fn live(&mut self, numbers: std::ops::Range<u128>) {
        for n in numbers {
            let (product, order) = (Uuid::from_u128(0x1000 + n), Uuid::from_u128(0x2000 + n));
            self.commit("product", product, vec![created(n), described(n)], 2).await;
            self.commit("order", order, vec![if n % 2 == 0 { placed(n) } else { placed_v1(n) }], 1)
                .await;
            if n % 3 == 0 {
                self.commit("product", product, vec![price_set()], 1).await;
                self.commit("order", order, vec![event("order.cancelled", 1, cancelled(n))], 1)
                    .await;
                self.outcome(
                    "order",
                    order,
                    Verdict::Rejected,
                    br#"{"code":"order.already-cancelled","detail":"a\u0000b"}"#,
                )
                .await;
            } else {
                self.void("order", Self::partition_of(order)).await;
                let confirmed = event("order.confirmed", 1, json!({"confirmed_at": AT}));
                self.commit("order", order, vec![confirmed, shipped()], 2).await;
                self.outcome("order", order, Verdict::Unchanged, &Wire::nothing_to_do().0).await;
            }
            if n % 3 == 1 {
                let command = self.accept("order", order).await;
                self.accept("stock", product).await;
                self.accept_again("order", &command).await;
                self.decide(
                    "order",
                    &command,
                    br#"{"code":"version.mismatch","detail":"it is 3","status":412,"version":3}"#,
                )
                .await;
            }
            if n % 4 == 0 {
                self.commit(
                    "product",
                    product,
                    vec![event("product.discontinued", 1, json!({})), price_set()],
                    1,
                )
                .await;
                self.fence("product", Self::partition_of(product)).await;
            }
            self.commit(
                "stock",
                product,
                vec![stocked("received", json!({"quantity": 10}), 10, 0)],
                1,
            )
            .await;
            let kept = json!({"order_id": order, "quantity": 3});
            self.commit("stock", product, vec![stocked("reserved", kept.clone(), 10, 3)], 1).await;
            if n % 2 == 0 {
                self.commit("stock", product, vec![stocked("shipped", kept, 7, 0)], 1).await;
            }
            if n % 5 == 0 {
                self.outcome("product", Uuid::from_u128(0x3000 + n), Verdict::Rejected, b"no json")
                    .await;
            }
        }
        self.barriers().await;
    }
}

const AT: &str = "2026-11-22T21:34:24.123456Z";

fn line(n: u128) -> Value {
    json!({
        "product_id": Uuid::from_u128(0x1000 + n), "department": "GROCERY", "quantity": 2,
        "unit_price_minor": 150,
    })
}

fn stocked(what: &str, mut data: Value, on_hand: i64, reserved: i64) -> RecordedEvent {
    data["on_hand"] = on_hand.into();
    data["reserved"] = reserved.into();
    event(&format!("stock.{what}"), 1, data)
}

/// A day a number, so that a day has orders of several partitions; the first one is the earliest
/// that a client may give.
fn placed_at(n: u128) -> String {
    if n.is_multiple_of(8) {
        "0000-01-01T00:00:00.000000Z".to_owned()
    } else {
        format!("2026-11-{:02}T23:59:59.999999Z", n % 8)
    }
}

pub fn placed(n: u128) -> RecordedEvent {
    let mut lines = vec![line(n), line(n + 1), line(n + 2)];
    lines[1]["department"] = format!("DEPARTMENT {}", n % 3).into();
    event(
        "order.placed",
        2,
        json!({
            "customer_id": Uuid::from_u128(n), "currency": "USD", "lines": lines,
            "total_minor": 900, "units": 6, "placed_at": placed_at(n),
        }),
    )
}

fn placed_v1(n: u128) -> RecordedEvent {
    event(
        "order.placed",
        1,
        json!({
            "customer_id": Uuid::from_u128(n), "currency": "USD", "lines": [line(n)],
            "total_minor": 300, "placed_at": placed_at(n),
        }),
    )
}

fn cancelled(n: u128) -> Value {
    let sum = |department: String, lines: i64| {
        json!({
            "department": department, "lines": lines, "units": 2 * lines,
            "total_minor": 300 * lines,
        })
    };
    let departments = match n % 2 {
        0 => vec![sum(format!("DEPARTMENT {}", n % 3), 1), sum("GROCERY".to_owned(), 2)],
        _ => vec![sum("GROCERY".to_owned(), 1)],
    };
    json!({
        "reason": format!("reason {n}"), "cancelled_at": AT, "placed_at": placed_at(n),
        "departments": departments,
    })
}

fn shipped() -> RecordedEvent {
    event("order.shipped", 1, json!({"carrier": "DHL", "shipped_at": AT}))
}

fn created(n: u128) -> RecordedEvent {
    event(
        "product.created",
        1,
        json!({
            "name": format!("Milk {n}"), "department": "GROCERY", "unit_price_minor": 150,
            "currency": "USD", "brand": "Farm",
        }),
    )
}

fn described(n: u128) -> RecordedEvent {
    event(
        "product.described",
        1,
        json!({"name": format!("Whole milk {n}"), "department": "DAIRY", "description": "fresh"}),
    )
}

fn price_set() -> RecordedEvent {
    event(
        "product.price-set",
        1,
        json!({"unit_price_minor": 175, "currency": "USD", "previous_unit_price_minor": 150}),
    )
}
