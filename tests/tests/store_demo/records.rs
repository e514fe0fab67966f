//! What the log says happened, counted from `store replay`.

use std::{
    collections::HashSet,
    ffi::OsStr,
    io::{BufRead, BufReader},
    process::Stdio,
};

use serde_json::Value;

use super::{build::program, up::bare};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    pub products: u64,
    /// Receipts of stock, and what was received.
    pub stocked: u64,
    pub received: u64,
    pub orders: u64,
    pub lines: u64,
    pub units: u64,
    pub total_minor: u64,
}

impl Records {
    /// Of the log that these arguments name.
    pub fn of(log: &[impl AsRef<OsStr>]) -> Self {
        let mut replay = bare(&program("store"));
        let mut replay = replay.arg("replay").args(log).stdout(Stdio::piped()).spawn().unwrap();
        let mut records = Self::default();
        let mut seen = HashSet::new();
        for line in BufReader::new(replay.stdout.take().unwrap()).lines() {
            let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let subject = (event["type"].to_string(), event["subject"].to_string());
            assert!(event["type"] == "stock.received" || seen.insert(subject), "twice: {event}");
            records.add(&event);
        }
        assert!(replay.wait().unwrap().success());
        records
    }

    fn add(&mut self, event: &Value) {
        let data = &event["data"];
        let number = |name: &str| data[name].as_u64().unwrap();
        match event["type"].as_str().unwrap() {
            "product.created" => self.products += 1,
            "stock.received" => {
                self.stocked += 1;
                self.received += number("quantity");
            }
            "order.placed" => {
                self.orders += 1;
                self.lines += data["lines"].as_array().unwrap().len() as u64;
                self.units += number("units");
                self.total_minor += number("total_minor");
            }
            other => panic!("the demo does not cause {other}"),
        }
    }
}
