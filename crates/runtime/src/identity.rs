//! Owns the deployment keys and everything made from them: command ids, aggregate ids of creates,
//! pseudonyms, fingerprints, and the proofs of what instances say to each other. The same inputs
//! give the same ids for the life of the log. Must never show a key: not in Debug, not in an error.

mod file;
mod proof;

use std::path::Path;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretBox};
use sha2::Sha256;
use uuid::Uuid;

pub use file::Error;
pub use proof::Message;

const KEY_BYTES: usize = 32;

type Key = SecretBox<[u8; KEY_BYTES]>;
type Numbered = (u16, Key);

/// Numbered keys. The lowest number is the oldest: the namespace of all ids comes from it, so it
/// must never be removed. The highest is the current one, by which new fingerprints are made.
pub struct DeploymentKeys {
    /// By number, rising; never empty.
    keys: Vec<Numbered>,
    namespace: Uuid,
}

impl std::fmt::Debug for DeploymentKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let numbers: Vec<u16> = self.keys.iter().map(|(number, _)| *number).collect();
        f.debug_struct("DeploymentKeys").field("numbers", &numbers).finish_non_exhaustive()
    }
}

impl DeploymentKeys {
    /// Reads the file, or makes it with one fresh key (number 1, mode 0600) when it does not exist.
    pub fn create_or_load(path: &Path) -> Result<Self, Error> {
        if !path.exists() {
            file::create(path)?;
        }
        Self::load(path)
    }

    /// Reads the file. One that group or others can read or write is refused.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::new(file::read(path)?)
    }

    /// From the text of a key file: `number:key` a line, the key in hex or base64.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::new(file::parse(text)?)
    }

    fn new(mut keys: Vec<Numbered>) -> Result<Self, Error> {
        keys.sort_by_key(|(number, _)| *number);
        let (_, oldest) = keys.first().ok_or(Error::Empty)?;
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&mac(oldest, &["highwater", "namespace"])[..16]);
        Ok(Self { namespace: uuid::Builder::from_random_bytes(bytes).into_uuid(), keys })
    }

    /// The namespace of all UUIDv5 here.
    pub fn namespace(&self) -> Uuid {
        self.namespace
    }

    /// The number of the key that makes new fingerprints.
    pub fn current_number(&self) -> u16 {
        self.keys.last().map_or(0, |(number, _)| *number)
    }

    /// Identifies a command: the same caller with the same key on the same aggregate.
    pub fn command_id(&self, principal: &str, category: &str, aggregate: Uuid, key: &str) -> Uuid {
        self.v5(&["command", principal, category, &aggregate.to_string(), key])
    }

    /// The aggregate id of a create without `id` in its body.
    pub fn create_id(&self, principal: &str, category: &str, key: &str) -> Uuid {
        self.v5(&["create", principal, category, key])
    }

    /// The pseudonym of a principal.
    pub fn actor_id(&self, principal: &str) -> Uuid {
        self.v5(&["actor", principal])
    }

    /// Number and HMAC-SHA-256 of the command by every key, the current one first.
    pub fn fingerprints(&self, command_name: &str, canonical_body: &[u8]) -> Vec<(u16, [u8; 32])> {
        let message = joined([b"fingerprint".as_slice(), command_name.as_bytes(), canonical_body]);
        self.keys.iter().rev().map(|(number, key)| (*number, mac_bytes(key, &message))).collect()
    }

    /// Says that two instances make the same ids, without saying the key. Made from the oldest key.
    pub fn check_value(&self) -> String {
        let Some((number, oldest)) = self.keys.first() else { return String::new() };
        let bytes = mac(oldest, &["highwater", "check"]);
        format!("{number}:{}", HEXLOWER.encode(&bytes[..16]))
    }

    /// A key for `purpose` alone, made from the oldest key: it stays the same when keys are added,
    /// and tells nothing of them.
    pub fn derived(&self, purpose: &str) -> [u8; 32] {
        self.keys
            .first()
            .map_or([0; 32], |(_, oldest)| mac(oldest, &["highwater", "derived", purpose]))
    }

    fn v5(&self, parts: &[&str]) -> Uuid {
        Uuid::new_v5(&self.namespace, &joined(parts.iter().map(|part| part.as_bytes())))
    }
}

/// Each part after its length, so that no two lists of parts give the same bytes.
fn joined<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

fn mac(key: &Key, parts: &[&str]) -> [u8; 32] {
    mac_bytes(key, &joined(parts.iter().map(|part| part.as_bytes())))
}

fn mac_bytes(key: &Key, message: &[u8]) -> [u8; 32] {
    let mut mac = keyed(key);
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn keyed(key: &Key) -> Hmac<Sha256> {
    // The block of SHA-256: a shorter key is padded with zeros (RFC 2104), which is what HMAC does
    // itself.
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    block[..KEY_BYTES].copy_from_slice(key.expose_secret());
    <Hmac<Sha256> as KeyInit>::new(&block)
}

#[cfg(test)]
mod tests;
