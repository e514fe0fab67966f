//! Every limit of command-api, with defaults that are right for production. Durations say their
//! unit in the name.

use highwater_protocol::writer::Limits;
use serde::Deserialize;

/// Section `owner`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OwnerSettings {
    /// The caller's deadline: 503 after it, while the command may still be decided.
    pub deadline_ms: u64,
    /// How long a request waits for its partition to have an owner at all.
    pub ownerless_wait_ms: u64,
    /// Requests of a category that wait for an owner, or for another instance, without a permit of
    /// `http.commands`; more keep theirs.
    pub waiting_limit: usize,
    /// Unconfirmed records of a partition.
    pub in_flight_records: usize,
    /// Unconfirmed bytes of a partition, headers counted, at most: less where all partitions
    /// would not fit in 80 % of the producers' queues.
    pub in_flight_bytes: usize,
    /// Unanswered commands of one aggregate.
    pub aggregate_queue: usize,
    /// Unanswered commands of one partition.
    pub partition_queue: usize,
    /// Commands looked up in one statement.
    pub load_batch: usize,
    /// Records that `snapshots` may be behind before cold work is refused; at twice that, all.
    pub max_tail_events: u64,
    /// Aggregates of a partition kept in memory although `snapshots` has them.
    pub cached_aggregates: usize,
    /// Outcomes of a partition kept in memory although `snapshots` has them.
    pub cached_outcomes: usize,
    /// Bytes of the filter of seen ids, of one partition; beyond them every id that memory does not
    /// know is looked up.
    pub filter_bytes: usize,
    /// How long an acknowledgement that proves nothing waits to be read back.
    pub read_back_deadline_ms: u64,
    /// How long confirmations are awaited when a partition is given up.
    pub drain_ms: u64,
    /// How often the checkpoint of `snapshots` is asked for.
    pub checkpoint_interval_ms: u64,
    /// The most by which this machine's clock may differ from the log's.
    pub clock_skew_ms: u64,
    /// How far, beyond `clock_skew_ms`, the last time in a partition may lie ahead of this
    /// machine's clock. With more it is not served.
    pub accept_ahead_ms: u64,
    /// The first and the longest wait before a partition that was lost, or could not be taken over,
    /// is tried again.
    pub retry_first_ms: u64,
    pub retry_longest_ms: u64,
    /// The least wait after another instance's fence, while the partition is still assigned here.
    pub deposed_wait_ms: u64,
    /// How long a partition that the group takes back is served on, if its next owner does not
    /// fence.
    pub handoff_ms: u64,
    /// How long an instance that ends serves on what other owners have not taken yet.
    pub leave_ms: u64,
    /// Take a partition before the group says so, when its owner ends, has given it up, or its port
    /// refuses connections.
    pub eager_failover: bool,
    /// How often the ports of other owners are tried.
    pub eager_failover_probe_ms: u64,
    /// A partition taken from an instance whose port refused is not taken so from it again for so
    /// long.
    pub eager_failover_again_ms: u64,
    /// Where `GET /admin/owners` is served, on loopback; nowhere when empty.
    pub admin_listen: String,
    pub database: DatabaseSettings,
}

/// `owner.database`: where `snapshots` lie. Read only.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseSettings {
    pub url: String,
    pub connections: u32,
    pub acquire_timeout_ms: u64,
    pub statement_timeout_ms: u64,
}

/// Section `queue`: commands that are accepted first and decided later.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueSettings {
    /// Commands of a partition that may wait; beyond it 503.
    pub max_backlog: u64,
    /// A command is accepted while those that wait would be less than this if each had its size;
    /// beyond it 503.
    pub max_backlog_bytes: u64,
    /// Commands taken from the queue above the first that is not decided.
    pub window: usize,
    /// Not decided any more after this; at most a day.
    pub deadline_ms: u64,
    /// How long a request waits for the log to say that it has the command.
    pub accept_wait_ms: u64,
    /// Bytes on their way into the command queue, of this instance.
    pub in_flight_bytes: usize,
    /// After this a barrier says how far the command queue has come, if no other record has; at
    /// most a minute.
    pub silence_ms: u64,
}

/// Section `peers`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PeerSettings {
    /// Where other instances reach this one, `http://host:port` and nothing else; from the
    /// listening address when empty.
    pub advertise: String,
    /// Hosts, with or without port, that an announcement may name; others are not called.
    pub allowed: Vec<String>,
    pub connect_timeout_ms: u64,
    /// How old, by the clocks of both, a command may be that another instance sent on: more than
    /// `owner.deadline_ms` and twice `owner.clock_skew_ms`.
    pub hop_age_ms: u64,
}

impl Default for OwnerSettings {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            deadline_ms: 5_000,
            ownerless_wait_ms: 1_000,
            waiting_limit: 1_024,
            in_flight_records: limits.in_flight_records,
            in_flight_bytes: 2 << 20,
            aggregate_queue: limits.aggregate_queue,
            partition_queue: limits.partition_queue,
            load_batch: limits.load_batch,
            max_tail_events: limits.max_tail_events,
            cached_aggregates: limits.cached_aggregates,
            cached_outcomes: limits.cached_outcomes,
            filter_bytes: 8 << 20,
            read_back_deadline_ms: limits.read_back_deadline_ms,
            drain_ms: 2_000,
            checkpoint_interval_ms: 1_000,
            clock_skew_ms: 5_000,
            accept_ahead_ms: 0,
            retry_first_ms: 50,
            retry_longest_ms: 5_000,
            deposed_wait_ms: 1_000,
            handoff_ms: 10_000,
            leave_ms: 2_000,
            eager_failover: true,
            eager_failover_probe_ms: 200,
            eager_failover_again_ms: 30_000,
            admin_listen: String::new(),
            database: DatabaseSettings::default(),
        }
    }
}

impl Default for QueueSettings {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            max_backlog: 100_000,
            max_backlog_bytes: 128 << 20,
            window: limits.command_queue_window,
            deadline_ms: 3_600_000,
            accept_wait_ms: 15_000,
            in_flight_bytes: 2 << 20,
            silence_ms: limits.command_queue_silence_ms,
        }
    }
}

impl QueueSettings {
    /// The longest deadline of a command.
    pub const DEADLINE_MOST_MS: u64 = 86_400_000;
    /// The longest that instances may be left without word of how far the command queue has come.
    pub const SILENCE_MOST_MS: u64 = 60_000;
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self {
            url: "postgres://localhost/highwater".to_owned(),
            connections: 8,
            acquire_timeout_ms: 2_000,
            statement_timeout_ms: 5_000,
        }
    }
}

impl Default for PeerSettings {
    fn default() -> Self {
        let loopback = ["127.0.0.1", "localhost", "[::1]"];
        Self {
            advertise: String::new(),
            allowed: loopback.map(str::to_owned).to_vec(),
            connect_timeout_ms: 500,
            hop_age_ms: 30_000,
        }
    }
}

impl OwnerSettings {
    pub fn limits(&self, queue: &QueueSettings) -> Limits {
        Limits {
            in_flight_records: self.in_flight_records.max(1),
            in_flight_bytes: self.in_flight_bytes.max(1),
            aggregate_queue: self.aggregate_queue.max(1),
            partition_queue: self.partition_queue.max(1),
            load_batch: self.load_batch.max(1),
            max_tail_events: self.max_tail_events.max(1),
            cached_aggregates: self.cached_aggregates,
            cached_outcomes: self.cached_outcomes,
            read_back_deadline_ms: self.read_back_deadline_ms,
            command_queue_window: queue.window.max(1),
            command_queue_silence_ms: queue.silence_ms,
            ..Limits::default()
        }
    }
}
