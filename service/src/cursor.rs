//! Owns the signature of cursors: a list says with one where it ended, and only its own comes back. A cursor is bound to what it
//! continues (the list, its filters, its sort); on anything else it does not open. Must never show the key.
//!
//! A cursor is not secret: it holds values of a row that the caller has seen. The signature keeps callers from depending on its form.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretBox};
use serde::Deserialize;
use sha2::Sha256;

use crate::{clock::Ids, identity::DeploymentKeys};

const KEY_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 16;
/// A cursor that is longer was not made here.
const LONGEST_TEXT: usize = 4_096;
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A setting that is never shown: any text, the longer the better.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct CursorSecret(String);

impl std::fmt::Debug for CursorSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl From<&str> for CursorSecret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Signs cursors. Processes with the same key continue each other's.
pub struct CursorKey(SecretBox<[u8; KEY_BYTES]>);

impl std::fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CursorKey([redacted])")
    }
}

impl CursorKey {
    /// The same secret gives the same key.
    pub fn from_secret(secret: &CursorSecret) -> Self {
        Self::derive(secret.0.as_bytes())
    }

    /// The same deployment keys give the same key, as long as the oldest of them stays, which it must for other reasons, too.
    pub fn from_deployment(keys: &DeploymentKeys) -> Self {
        Self(SecretBox::new(Box::new(keys.derived("cursor"))))
    }

    /// For one process alone: its cursors end with it.
    pub fn random(ids: &dyn Ids) -> Self {
        let seed: Vec<u8> = (0..4).flat_map(|_| *ids.v4().as_bytes()).collect();
        Self::derive(&seed)
    }

    fn derive(seed: &[u8]) -> Self {
        let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
        block[..6].copy_from_slice(b"cursor");
        Self(SecretBox::new(Box::new(mac(&block, &[seed]))))
    }

    /// A cursor as text that needs no escaping in a URL.
    pub fn seal(&self, bound_to: &str, position: &[u8]) -> String {
        let mut bytes = self.sign(bound_to, position).to_vec();
        bytes.extend_from_slice(position);
        encode(&bytes)
    }

    /// The position, if this key sealed it for the same thing.
    pub fn open(&self, bound_to: &str, cursor: &str) -> Option<Vec<u8>> {
        let bytes = Some(cursor).filter(|text| text.len() <= LONGEST_TEXT).and_then(decode)?;
        let (signature, position) = bytes.split_at_checked(SIGNATURE_BYTES)?;
        let expected = self.sign(bound_to, position);
        // Every byte is compared, so that the time says nothing of how many are right.
        let difference = signature.iter().zip(expected).fold(0, |all, (a, b)| all | (a ^ b));
        (difference == 0).then(|| position.to_vec())
    }

    fn sign(&self, bound_to: &str, position: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
        block[..KEY_BYTES].copy_from_slice(self.0.expose_secret());
        let whole = mac(&block, &[&(bound_to.len() as u64).to_be_bytes(), bound_to.as_bytes(), position]);
        let mut signature = [0; SIGNATURE_BYTES];
        signature.copy_from_slice(&whole[..SIGNATURE_BYTES]);
        signature
    }
}

fn mac(key: &hmac::digest::Key<Hmac<Sha256>>, parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new(key);
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// RFC 4648, section 5, without padding.
fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]));
        }
    }
    text
}

/// Only what [`encode`] writes: one text for the same bytes.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for digit in chunk {
            bits = bits << 6 | u32::try_from(DIGITS.iter().position(|known| known == digit)?).ok()?;
        }
        bits <<= 6 * (4 - chunk.len());
        bytes.extend_from_slice(bits.to_be_bytes().get(1..chunk.len())?);
    }
    (encode(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::{CountingIds, SystemIds};

    fn key() -> CursorKey {
        CursorKey::from_secret(&CursorSecret::from("a secret"))
    }

    #[test]
    fn opens_only_for_what_it_was_sealed_for_and_by_the_same_key() {
        let cursor = key().seal("list a", b"position");
        assert_eq!(key().open("list a", &cursor).as_deref(), Some(&b"position"[..]));
        assert_eq!(key().open("list b", &cursor), None);
        assert_eq!(CursorKey::from_secret(&CursorSecret::from("another")).open("list a", &cursor), None);
        assert_eq!(CursorKey::random(&CountingIds::default()).open("list a", &cursor), None);
    }

    #[test]
    fn deployment_keys_give_the_same_key_after_a_rotation_too() {
        let (first, second) = ("11".repeat(32), "22".repeat(32));
        let of = |text: String| CursorKey::from_deployment(&DeploymentKeys::parse(&text).unwrap());
        let cursor = of(format!("1:{first}")).seal("list", b"position");
        assert!(of(format!("1:{first}\n2:{second}")).open("list", &cursor).is_some());
        assert!(of(format!("1:{second}")).open("list", &cursor).is_none());
    }

    #[test]
    fn random_keys_differ_and_nothing_shows_a_key() {
        let cursor = CursorKey::random(&SystemIds).seal("list", b"");
        assert_eq!(CursorKey::random(&SystemIds).open("list", &cursor), None);
        assert_eq!(format!("{:?} {:?}", key(), CursorSecret::from("a secret")), "CursorKey([redacted]) [redacted]");
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens(bound_to in ".*", position in proptest::collection::vec(any::<u8>(), 0..200)) {
            let cursor = key().seal(&bound_to, &position);
            prop_assert!(cursor.bytes().all(|byte| DIGITS.contains(&byte)));
            prop_assert_eq!(key().open(&bound_to, &cursor), Some(position));
        }

        #[test]
        fn no_changed_character_opens(position in proptest::collection::vec(any::<u8>(), 0..40), at in any::<prop::sample::Index>(), to in 0_usize..64) {
            let cursor = key().seal("list", &position);
            let mut changed = cursor.clone().into_bytes();
            let at = at.index(changed.len());
            changed[at] = DIGITS[to];
            let changed = String::from_utf8(changed).unwrap();
            prop_assert!(changed == cursor || key().open("list", &changed).is_none());
        }

        #[test]
        fn any_text_is_refused_and_never_panics(text in ".*") {
            prop_assert_eq!(key().open("list", &text), None);
        }
    }
}
