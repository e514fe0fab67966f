//! One writer's time on a partition.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One writer's time on a partition, as the `owners` topic keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    pub epoch: u64,
    pub writer: Uuid,
    pub instance: Uuid,
    pub url: String,
    /// Why it was taken: `assigned`, `released`, `refused`, `outcome-unknown`, or as the term
    /// before it here ended.
    pub why: String,
    /// By the owner's clock.
    pub since: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// None: it lasts, or its process ended without a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}
