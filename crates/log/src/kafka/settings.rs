//! What librdkafka is told, and why (docs/log-format.md, "Settings"). Values differ from its
//! defaults only with a measured reason.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::ClientConfig;

use crate::log::{Error, Pace};

/// How a [`super::KafkaLog`] works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port`, comma separated.
    pub bootstrap: String,
    /// Shown to operators.
    pub client: String,
    /// Idempotent producers in this process; partition p of a topic is always on producer p mod
    /// `producers`.
    ///
    /// One, because small requests cost more than isolation gives back: with 8 partitions, 256
    /// connections and two cores it was 29,000 commands a second with 1, 19,000 with 4, 10,000 with
    /// 16. More isolate partitions from a stalled replica of another one: each costs about 6
    /// threads, 9 descriptors and 1 MB.
    pub producers: usize,
    /// Accepts brokers that promise less than production needs, with a warning that says what can
    /// be lost.
    pub development: bool,
    /// Replicas of topics that are created here.
    pub replication: u16,
    /// What a producer holds that is not acknowledged yet (`queue.buffering.max.kbytes`).
    pub queue_kbytes: u32,
    /// When an unacknowledged record is given up (`message.timeout.ms`).
    pub message_timeout: Duration,
    /// How long look-ups, metadata and administration may take.
    pub request_timeout: Duration,
    /// When a member that no longer polls loses its partitions (`max.poll.interval.ms`); below
    /// librdkafka's 300 s.
    pub max_poll_interval: Duration,
    /// When a member that no longer answers loses its partitions (`session.timeout.ms`).
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
    /// Deliveries a reader may be behind before its partition waits in a buffer of
    /// `reader_buffer_records`, and then pauses.
    pub reader_chunks: usize,
    pub reader_buffer_records: usize,
    /// At most so many bytes in one look-up.
    pub fetch_bytes: usize,
    /// Look-ups at the same time, of each kind: here and there, and one after the other.
    pub lookups: usize,
    /// `security.*`, `sasl.*` and `ssl.*` of librdkafka.
    pub security: BTreeMap<String, String>,
}

impl Settings {
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            client: "highwater".to_owned(),
            producers: 1,
            development: false,
            replication: 3,
            // A bound, not what is taken: room for the largest commits of 240 partitions.
            queue_kbytes: 280 << 10,
            message_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(10),
            max_poll_interval: Duration::from_secs(60),
            session_timeout: Duration::from_secs(6),
            heartbeat_interval: Duration::from_millis(500),
            reader_chunks: 8,
            reader_buffer_records: 10_000,
            fetch_bytes: 4 << 20,
            lookups: 2,
            security: BTreeMap::new(),
        }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let refuse = |what: String| Err(Error::Setting(what));
        if self.bootstrap.trim().is_empty() {
            return refuse("no Kafka brokers are configured".to_owned());
        }
        if let Some(key) = self
            .security
            .keys()
            .find(|key| !["security.", "sasl.", "ssl."].iter().any(|start| key.starts_with(start)))
        {
            return refuse(format!(
                "{key} is not a security setting: only security.*, sasl.* and ssl.* may be set"
            ));
        }
        if self.max_poll_interval < self.session_timeout
            || self.max_poll_interval >= Duration::from_secs(300)
        {
            return refuse(format!(
                "max_poll_interval must lie between session_timeout ({:?}) and 300 s: a hung owner \
                 keeps its partitions until then",
                self.session_timeout
            ));
        }
        for (name, value) in [
            ("producers", self.producers),
            ("lookups", self.lookups),
            ("reader_chunks", self.reader_chunks),
        ] {
            if value == 0 {
                return refuse(format!("{name} must be at least 1"));
            }
        }
        Ok(())
    }

    pub(super) fn producer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("max.in.flight.requests.per.connection", "5")
            // Above 0 costs 1.2 ms at one connection and gives nothing at 256: what waits while a
            // request is out makes the batch.
            .set("linger.ms", "0")
            // 4 s made every leader's death 256 unknown outcomes, 30 s none.
            .set("message.timeout.ms", millis(self.message_timeout))
            .set("request.timeout.ms", "10000")
            .set("retry.backoff.ms", "20")
            .set("queue.buffering.max.kbytes", self.queue_kbytes.to_string())
            .set("compression.type", "lz4")
            // True makes one refused record fatal for the whole producer, and gaps were seen in
            // spite of it: `hw-seq` covers them.
            .set("enable.gapless.guarantee", "false");
        config
    }

    /// Reads what it is assigned, from given offsets, and never joins its group.
    pub(super) fn reader(&self, pace: Pace) -> ClientConfig {
        let mut config = self.consumer();
        // How long a broker holds a fetch for which there is nothing. It works on one fetch of a
        // connection at a time, so a partition that is added waits as long; and each fetch costs
        // both sides even when nothing happens. What comes meanwhile is sent at once.
        let mut wait_max_ms = "250";
        if pace == Pace::Behind {
            // An owner that reads its own records back: a fetch for each of them would cost more
            // than the records.
            config.set("fetch.min.bytes", "262144");
            // A take-over waits at most so long for its fence to be read. With 20 ms it was 30 more
            // fetches a second for each topic of an instance that does nothing.
            wait_max_ms = "50";
        }
        config
            // Assigning needs a group's name; nothing is ever stored in this one.
            .set("group.id", "highwater-readers")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", wait_max_ms)
            // What a reader prefetches, a partition; its own bounded channel comes on top.
            .set("queued.max.messages.kbytes", "8192")
            // By default a full prefetch queue is not filled again for 1 s, however fast it was
            // emptied.
            .set("fetch.queue.backoff.ms", "20");
        config
    }

    /// Reads a few records here and there: nothing is prefetched that is thrown away.
    pub(super) fn spot(&self) -> ClientConfig {
        let mut config = self.reader(Pace::Prompt);
        config
            .set("fetch.message.max.bytes", "65536")
            .set("queued.max.messages.kbytes", "1024")
            .set("queued.min.messages", "1")
            .set("fetch.wait.max.ms", "5");
        config
    }

    /// Joins `group` for the sake of its assignment.
    pub(super) fn member(&self, group: &str, client: &str) -> ClientConfig {
        let mut config = self.consumer();
        config
            .set("client.id", client)
            .set("group.id", group)
            // The new protocol's session is 45 s by the broker's default; static members would not
            // leave on close.
            .set("group.protocol", "classic")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", millis(self.session_timeout))
            .set("heartbeat.interval.ms", millis(self.heartbeat_interval))
            .set("max.poll.interval.ms", millis(self.max_poll_interval))
            // A member to whom a broker said that a topic of a moment ago is not there has no share
            // of it until it asks again: by default after 5 minutes.
            .set("topic.metadata.refresh.interval.ms", "10000")
            // Everything assigned is paused at once: where it would begin does not matter, and must
            // not be an error.
            .set("auto.offset.reset", "latest");
        config
    }

    pub(super) fn consumer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("isolation.level", "read_uncommitted")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("check.crcs", "true");
        config
    }

    pub(super) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", &self.client)
            .set("socket.timeout.ms", "12000")
            .set("socket.keepalive.enable", "true")
            // Else time-outs are reported 4 to 7 s late: their scan sleeps through the back-off.
            .set("reconnect.backoff.max.ms", "500")
            .set("allow.auto.create.topics", "false");
        for (key, value) in &self.security {
            config.set(key, value);
        }
        config
    }
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}
