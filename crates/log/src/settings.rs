//! Section `log` of the configuration, the same for every process: which log there is, and its
//! limits. Opens it.

use std::{collections::BTreeMap, num::NonZeroU32, path::Path, sync::Arc, time::Duration};

use crate::{
    Error, Holes, KafkaLog, KafkaReader, LocalLog, Log, RawReader, WithHoles, kafka, local,
};
use serde::Deserialize;

const EIGHT: NonZeroU32 = NonZeroU32::MIN.saturating_add(7);

/// Section `log`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// Topics are `<prefix>.<category>.events`.
    pub prefix: String,
    /// Of every topic of events; fixed when a topic is created.
    pub partitions: NonZeroU32,
    /// `host:port`, comma separated; empty: the local log.
    pub kafka: String,
    /// Accept brokers that promise less than production needs.
    pub development: bool,
    /// Replicas of topics that are created.
    pub replication: u16,
    /// Idempotent producers of this process.
    pub producers: usize,
    /// What a producer holds that is not acknowledged yet.
    pub queue_kbytes: u32,
    /// When an unacknowledged record is given up.
    pub message_timeout_ms: u64,
    /// How long look-ups, metadata and administration may take.
    pub request_timeout_ms: u64,
    pub session_timeout_ms: u64,
    pub heartbeat_interval_ms: u64,
    pub max_poll_interval_ms: u64,
    /// Look-ups at the same time.
    pub lookups: usize,
    /// At most so many bytes in one look-up.
    pub fetch_bytes: usize,
    /// `security.*`, `sasl.*` and `ssl.*` of librdkafka.
    pub security: BTreeMap<String, String>,
    /// Offsets at which nothing lies, as `topic/partition@offset` or `topic/partition@first-last`:
    /// see [`crate::holes`].
    pub known_holes: Vec<String>,
    pub local: LocalSettings,
}

/// `log.local`: the embedded store.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalSettings {
    /// Appends that may wait for the next group commit.
    pub queue_records: usize,
    pub queue_bytes: usize,
    /// The store's block cache.
    pub cache_bytes: u64,
    /// Room that the disk must have before a store that ran full takes appends again.
    pub spare_bytes: usize,
    /// How often a store in trouble is tried again.
    pub retry_every_ms: u64,
    /// Other processes that may read through the socket at the same time.
    pub socket_connections: usize,
    /// How long accepted commands are kept, at least.
    pub keep_commands_ms: u64,
}

impl LogSettings {
    /// Whether the log is embedded in this process.
    pub fn is_local(&self) -> bool {
        self.kafka.is_empty()
    }

    /// The log itself: Kafka, or the embedded store in `folder`. `client` is shown to operators of
    /// Kafka.
    pub fn open(&self, folder: &Path, client: &str) -> Result<Arc<dyn Log>, Error> {
        if !self.is_local() {
            return self.open_kafka(client);
        }
        if !self.known_holes.is_empty() {
            return Err(Error::Setting(
                "log.known_holes is for a log on Kafka: the local log has none".to_owned(),
            ));
        }
        Ok(Arc::new(LocalLog::open(folder, self.local.settings(self.fetch_bytes))?))
    }

    /// The log on Kafka: what a process of its own works on.
    pub fn open_kafka(&self, client: &str) -> Result<Arc<dyn Log>, Error> {
        if self.is_local() {
            return Err(Error::Setting(
                "log.kafka names no brokers: set it to host:port, or HIGHWATER__LOG__KAFKA"
                    .to_owned(),
            ));
        }
        let holes = Holes::parse(&self.known_holes)?;
        let log: Arc<dyn Log> = Arc::new(KafkaLog::new(self.kafka_settings(client))?);
        Ok(if holes.is_empty() { log } else { Arc::new(WithHoles::new(log, holes)) })
    }

    /// Only the read side of the log on Kafka: no producer is started.
    pub fn open_kafka_reader(&self, client: &str) -> Result<Arc<dyn RawReader>, Error> {
        let holes = Holes::parse(&self.known_holes)?;
        let log: Arc<dyn RawReader> = Arc::new(KafkaReader::new(&kafka::Settings {
            lookups: 1,
            ..self.kafka_settings(client)
        })?);
        Ok(if holes.is_empty() { log } else { Arc::new(WithHoles::new(log, holes)) })
    }

    /// What all producers of this process may hold that is not acknowledged yet.
    pub fn queue_bytes(&self) -> u64 {
        (self.producers.max(1) as u64)
            .saturating_mul(u64::from(self.queue_kbytes))
            .saturating_mul(1024)
    }

    fn kafka_settings(&self, client: &str) -> kafka::Settings {
        kafka::Settings {
            client: client.to_owned(),
            development: self.development,
            // A single broker can keep one replica only.
            replication: if self.development { 1 } else { self.replication },
            producers: self.producers,
            queue_kbytes: self.queue_kbytes,
            message_timeout: Duration::from_millis(self.message_timeout_ms),
            request_timeout: Duration::from_millis(self.request_timeout_ms),
            session_timeout: Duration::from_millis(self.session_timeout_ms),
            heartbeat_interval: Duration::from_millis(self.heartbeat_interval_ms),
            max_poll_interval: Duration::from_millis(self.max_poll_interval_ms),
            lookups: self.lookups,
            fetch_bytes: self.fetch_bytes,
            security: self.security.clone(),
            ..kafka::Settings::new(&self.kafka)
        }
    }
}

impl LocalSettings {
    fn settings(&self, fetch_bytes: usize) -> local::Settings {
        local::Settings {
            queue_records: self.queue_records,
            queue_bytes: self.queue_bytes,
            cache_bytes: self.cache_bytes,
            spare_bytes: self.spare_bytes,
            retry_every: Duration::from_millis(self.retry_every_ms),
            socket_connections: self.socket_connections,
            keep_commands: Duration::from_millis(self.keep_commands_ms),
            fetch_bytes,
            ..local::Settings::default()
        }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        let kafka = kafka::Settings::new("");
        Self {
            prefix: "highwater".to_owned(),
            partitions: EIGHT,
            kafka: String::new(),
            development: kafka.development,
            replication: kafka.replication,
            producers: kafka.producers,
            queue_kbytes: kafka.queue_kbytes,
            message_timeout_ms: millis(kafka.message_timeout),
            request_timeout_ms: millis(kafka.request_timeout),
            session_timeout_ms: millis(kafka.session_timeout),
            heartbeat_interval_ms: millis(kafka.heartbeat_interval),
            max_poll_interval_ms: millis(kafka.max_poll_interval),
            lookups: kafka.lookups,
            fetch_bytes: kafka.fetch_bytes,
            security: kafka.security,
            known_holes: Vec::new(),
            local: LocalSettings::default(),
        }
    }
}

impl Default for LocalSettings {
    fn default() -> Self {
        let local::Settings {
            queue_records,
            queue_bytes,
            cache_bytes,
            spare_bytes,
            retry_every,
            socket_connections,
            keep_commands,
            ..
        } = local::Settings::default();
        let (retry_every_ms, keep_commands_ms) = (millis(retry_every), millis(keep_commands));
        Self {
            queue_records,
            queue_bytes,
            cache_bytes,
            spare_bytes,
            retry_every_ms,
            socket_connections,
            keep_commands_ms,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
