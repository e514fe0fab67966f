//! Owns the signature of cursors: a list says with one where it ended, and only its own comes back.
//! A cursor is bound to what it continues (the list, its filters, its sort); on anything else it
//! does not open. Must never show the key.
//!
//! A cursor is not secret: it holds values of a row that the caller has seen. The signature keeps
//! callers from depending on its form.

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretBox};
use serde::Deserialize;
use sha2::Sha256;

use highwater_runtime::{clock::Ids, identity::DeploymentKeys};

const KEY_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 16;
/// A cursor that is longer was not made here.
const LONGEST_TEXT: usize = 4_096;

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

    /// The same deployment keys give the same key, as long as the oldest of them stays, which it
    /// must for other reasons, too.
    pub fn from_deployment(keys: &DeploymentKeys) -> Self {
        Self(SecretBox::new(Box::new(keys.derived("cursor"))))
    }

    /// For one process alone: its cursors end with it.
    pub fn random(ids: &dyn Ids) -> Self {
        let seed: Vec<u8> = (0..4).flat_map(|_| *ids.v4().as_bytes()).collect();
        Self::derive(&seed)
    }

    fn derive(seed: &[u8]) -> Self {
        Self(SecretBox::new(Box::new(mac(b"cursor", &[seed]).finalize().into_bytes().into())))
    }

    /// A cursor as text that needs no escaping in a URL: RFC 4648, section 5, without padding.
    pub fn seal(&self, bound_to: &str, position: &[u8]) -> String {
        let signature = self.mac(bound_to, position).finalize().into_bytes();
        BASE64URL_NOPAD.encode(&[&signature[..SIGNATURE_BYTES], position].concat())
    }

    /// The position, if this key sealed it for the same thing.
    pub fn open(&self, bound_to: &str, cursor: &str) -> Option<Vec<u8>> {
        let text = Some(cursor).filter(|text| text.len() <= LONGEST_TEXT)?;
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (signature, position) = bytes.split_at_checked(SIGNATURE_BYTES)?;
        // In a time that says nothing of how many bytes are right.
        self.mac(bound_to, position).verify_truncated_left(signature).ok()?;
        Some(position.to_vec())
    }

    fn mac(&self, bound_to: &str, position: &[u8]) -> Hmac<Sha256> {
        mac(
            self.0.expose_secret(),
            &[&(bound_to.len() as u64).to_be_bytes(), bound_to.as_bytes(), position],
        )
    }
}

/// RFC 2104, of the parts one after the other.
fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    block[..key.len()].copy_from_slice(key);
    let mut mac = <Hmac<Sha256> as KeyInit>::new(&block);
    parts.iter().for_each(|part| mac.update(part));
    mac
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use highwater_runtime::clock::{CountingIds, SystemIds};

    fn key() -> CursorKey {
        CursorKey::from_secret(&CursorSecret::from("a secret"))
    }

    #[test]
    fn opens_only_for_what_it_was_sealed_for_and_by_the_same_key() {
        let cursor = key().seal("list a", b"position");
        assert_eq!(key().open("list a", &cursor).as_deref(), Some(&b"position"[..]));
        assert_eq!(key().open("list b", &cursor), None);
        assert_eq!(
            CursorKey::from_secret(&CursorSecret::from("another")).open("list a", &cursor),
            None
        );
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
        assert_eq!(
            format!("{:?} {:?}", key(), CursorSecret::from("a secret")),
            "CursorKey([redacted]) [redacted]"
        );
    }

    /// Differences that would cancel each other out, and a signature that is cut, open nothing
    /// either.
    #[test]
    fn no_two_changed_bytes_open() {
        let cursor = BASE64URL_NOPAD.decode(key().seal("list", b"position").as_bytes()).unwrap();
        for (first, second) in
            (0..cursor.len()).flat_map(|first| (0..first).map(move |second| (first, second)))
        {
            let mut changed = cursor.clone();
            changed[first] ^= 1;
            changed[second] ^= 1;
            assert_eq!(key().open("list", &BASE64URL_NOPAD.encode(&changed)), None);
        }
        for length in 0..cursor.len() {
            assert_eq!(key().open("list", &BASE64URL_NOPAD.encode(&cursor[..length])), None);
        }
    }

    /// A key, a list and a position give the same cursor in every version: pages go on while a
    /// deployment is replaced.
    #[test]
    fn what_is_sealed_stays_the_same() {
        assert_eq!(key().seal("a list", b"position"), "zN119iZK_caAXEIthj4q13Bvc2l0aW9u");
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens(
            bound_to in ".*",
            position in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let cursor = key().seal(&bound_to, &position);
            prop_assert!(
                cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            );
            prop_assert_eq!(key().open(&bound_to, &cursor), Some(position));
        }

        #[test]
        fn no_changed_character_opens(
            position in proptest::collection::vec(any::<u8>(), 0..40),
            at in any::<prop::sample::Index>(),
            to in "[A-Za-z0-9_-]",
        ) {
            let cursor = key().seal("list", &position);
            let at = at.index(cursor.len());
            let changed = format!("{}{to}{}", &cursor[..at], &cursor[at + 1..]);
            prop_assert!(changed == cursor || key().open("list", &changed).is_none());
        }

        #[test]
        fn any_text_is_refused_and_never_panics(text in ".*") {
            prop_assert_eq!(key().open("list", &text), None);
        }
    }
}
