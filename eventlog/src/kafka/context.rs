//! Callbacks of the clients that read and look up: what librdkafka reports about its connections goes to the log, as warnings.

use rdkafka::{
    ClientContext,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
    util::Timeout,
};

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
        Timeout::After(std::time::Duration::from_millis(100))
    }
}

pub fn client_error(role: &'static str, error: &KafkaError, reason: &str) {
    // The end of a partition is news, not an error, and comes with every record that is read at once.
    if let KafkaError::PartitionEOF(_) | KafkaError::Global(RDKafkaErrorCode::PartitionEOF) = error {
        return;
    }
    metrics::counter!("highwater_kafka_client_errors_total", "client" => role).increment(1);
    tracing::warn!(client = role, %error, reason, "a Kafka client had a problem");
}
