//! The log as a place: where records are appended, read and owned. The only crate that uses
//! rdkafka.
//!
//! | module | what it owns |
//! |---|---|
//! | [`log`] | the [`Log`] trait: append, read, end, group membership |
//! | [`kafka`] | `KafkaLog`: Apache Kafka, with the settings of log-format.md |
//! | [`local`] | `LocalLog`: an embedded store for one machine, fsynced in group commits |
//! | [`faulty`] | `FaultyLog`: a seeded wrapper that delays, drops, duplicates and reports errors |
//! | [`raw`] | the read side alone, for audits |
//! | [`follow`] | a partition read through the fold from a stored position, with the identity checks |
//! | [`holes`] | offsets at which nothing lies, as an operator has found out |
//! | [`settings`] | section `log` of the configuration |
//! | [`check_values`] | what the `owners` topic says of the deployment |
//! | [`replay`] | every visible event of a category, once, from any position |

pub mod check_values;
#[cfg(test)]
#[path = "../../../tests/support/documented.rs"]
mod documented;
pub mod faulty;
pub mod follow;
pub mod holes;
pub mod kafka;
pub mod local;
pub mod log;
pub mod raw;
pub mod replay;
pub mod settings;

pub use faulty::FaultyLog;
pub use follow::{Divergence, Follow, FollowedRecord, Step};
pub use holes::{Holes, WithHoles};
pub use kafka::{KafkaLog, KafkaReader};
pub use local::{LocalLog, LocalReader};
pub use log::{
    Appended, Delivery, Error, Group, Log, Membership, MembershipEvent, Pace, Partition, Reply,
    Report, ReportError, Subscription, Ticket, Topic, TopicKind,
};
pub use raw::{RawReader, RawTopic};
pub use replay::{Replay, ReplayedEvent, Until};
pub use settings::LogSettings;
