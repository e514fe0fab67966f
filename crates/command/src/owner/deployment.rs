//! What the instances of one deployment prove to each other with: its keys, and its name in the
//! log. Two deployments that have the same brokers, or the same keys, believe nothing of each
//! other.

use std::sync::Arc;

use highwater_log::Partition;
use highwater_protocol::record::{Header, Record};
use highwater_runtime::identity::{DeploymentKeys, Message};

/// On every record of the `owners` topic that an instance writes.
pub const PROOF: &str = "hw-proof";

/// See the module.
#[derive(Clone, Debug)]
pub struct Deployment {
    keys: Arc<DeploymentKeys>,
    /// The `owners` topic.
    name: Arc<str>,
}

impl Deployment {
    /// `owners`: the one partition of the `owners` topic.
    pub fn new(keys: Arc<DeploymentKeys>, owners: &Partition) -> Self {
        Self { keys, name: owners.topic.clone() }
    }

    pub(super) fn prove(&self, purpose: &str, parts: &[&[u8]]) -> String {
        self.keys.prove(Message { purpose, parts: &self.named(parts) })
    }

    pub(super) fn is_proven(&self, purpose: &str, parts: &[&[u8]], proof: &str) -> bool {
        self.keys.is_proven(Message { purpose, parts: &self.named(parts) }, proof)
    }

    fn named<'a>(&'a self, parts: &[&'a [u8]]) -> Vec<&'a [u8]> {
        std::iter::once(self.name.as_bytes()).chain(parts.iter().copied()).collect()
    }

    /// A record of the `owners` topic, with its proof.
    pub fn announcement(&self, key: String, value: Vec<u8>) -> Record {
        let proof = self.prove(ANNOUNCEMENT, &[key.as_bytes(), &value]);
        let headers = vec![Header::new(PROOF, proof.into_bytes())];
        Record { key: Some(key.into_bytes()), value: Some(value), headers }
    }

    /// Whether an instance of this deployment wrote the record, under this very key.
    pub fn wrote(&self, record: &Record) -> bool {
        let (Some(key), Some(value)) = (&record.key, &record.value) else { return false };
        let proof = record.header(PROOF).and_then(|proof| std::str::from_utf8(proof).ok());
        proof.is_some_and(|proof| self.is_proven(ANNOUNCEMENT, &[key, value], proof))
    }
}

const ANNOUNCEMENT: &str = "announcement";
