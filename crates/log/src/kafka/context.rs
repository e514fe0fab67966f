//! Callbacks of the clients that read and look up: what librdkafka reports about its connections
//! goes to the log, as warnings.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use rdkafka::{
    ClientContext,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
    util::Timeout,
};
use tokio::time::Instant;

/// See the module.
#[derive(Debug)]
pub struct Context {
    /// Which client: a bounded set of names.
    pub role: &'static str,
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        client_error(self.role, &error, reason);
    }
}

impl ConsumerContext for Context {
    fn main_queue_min_poll_interval(&self) -> Timeout {
        Timeout::After(Duration::from_millis(100))
    }
}

pub fn client_error(role: &'static str, error: &KafkaError, reason: &str) {
    // The end of a partition is news, not an error, and comes with every record that is read at
    // once.
    if let KafkaError::PartitionEOF(_) | KafkaError::Global(RDKafkaErrorCode::PartitionEOF) = error
    {
        return;
    }
    metrics::counter!("highwater_kafka_client_errors_total", "client" => role).increment(1);
    // A broker that is away is reported by every connection of every client, again and again.
    static SAID: Mutex<BTreeMap<(&'static str, String), Instant>> = Mutex::new(BTreeMap::new());
    let mut said = SAID.lock();
    said.retain(|_, at| at.elapsed() < SAY_AGAIN);
    let mut first = false;
    said.entry((role, error.to_string())).or_insert_with(|| {
        first = true;
        Instant::now()
    });
    if first {
        tracing::warn!(client = role, %error, reason, "a Kafka client had a problem; the same is \
            not said again for a minute");
    }
}

const SAY_AGAIN: Duration = Duration::from_secs(60);
