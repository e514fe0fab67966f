//! The owners of this instance: who owns which partition, and how a command gets there.
//!
//! | module | what it owns |
//! |---|---|
//! | `actor` | drives one writer: carries out its effects, feeds it what happened |
//! | `supervise` | one partition from assignment to release: take-over, again after a loss, drain |
//! | `command_queue` | reads the command queue of a partition |
//! | `members` | the group memberships that assign partitions |
//! | `assignment` | by what right a partition is owned |
//! | `eager_failover` | takes a partition whose owner goes or is gone, before the group says so |
//! | `origin` | who began each partition, read ahead |
//! | `status` | how the owned partitions stand, and their history |
//! | `term` | one writer's time on a partition, as the history keeps it |
//! | `admin` | shows it to the operator |
//! | `table` | which partitions are owned here, and the way in |
//! | `announcements` | the `owners` topic: who owns what elsewhere, and the check values |
//! | `snapshots` | states and outcomes in Postgres |
//! | `forward` | one hop to the instance that an announcement names |
//! | `hop` | what a hop is on the wire, and its proof |
//! | `deployment` | what instances prove to each other with |
//! | `address` | where an instance is reached |
//!
//! Nothing here decides a command: that is [`highwater_protocol::writer::Writer`].

pub mod actor;
pub mod address;
pub mod admin;
pub mod announcements;
pub mod assignment;
pub mod command_queue;
pub mod deployment;
pub mod eager_failover;
pub mod forward;
pub mod hop;
pub mod members;
pub mod origin;
pub mod snapshots;
pub mod status;
pub mod supervise;
pub mod table;
pub mod term;

use highwater_protocol::{
    wire::Wire,
    writer::{Answer, Submission},
};
use tokio::sync::oneshot;

/// A command on its way to the actor of its partition. The actor fills in token and deadline.
pub struct Delivery<C: highwater_protocol::vocabulary::Value> {
    pub submission: Submission<Wire, C>,
    pub reply: oneshot::Sender<Answer<Wire>>,
    /// How long the caller waits.
    pub deadline: tokio::time::Instant,
}
