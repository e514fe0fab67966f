//! Owns the proof that a holder of the deployment keys made a message: what instances say to each
//! other. By the oldest key, as everything that all instances must agree on: a key that is added
//! changes nothing here, in whatever sequence instances get it.

use data_encoding::HEXLOWER;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{DeploymentKeys, Key, keyed};

/// What the proof is for, and what it is over: parts, none of which can be taken for a piece of its
/// neighbour.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// A message for one purpose proves nothing for another.
    pub purpose: &'a str,
    pub parts: &'a [&'a [u8]],
}

impl DeploymentKeys {
    /// `number:mac`: HMAC-SHA-256 in hex, and the number of the key that made it.
    pub fn prove(&self, message: Message<'_>) -> String {
        let Some((number, oldest)) = self.keys.first() else { return String::new() };
        let bytes = mac(oldest, message).finalize().into_bytes();
        format!("{number}:{}", HEXLOWER.encode(&bytes))
    }

    /// Whether `proof` was made by a holder of one of these keys, and of this very message.
    /// Compares in constant time.
    pub fn is_proven(&self, message: Message<'_>, proof: &str) -> bool {
        let Some((number, digits)) = proof.split_once(':') else { return false };
        let key = self.keys.iter().find(|(known, _)| number.parse() == Ok(*known));
        let (Some((_, key)), Some(given)) = (key, HEXLOWER.decode(digits.as_bytes()).ok()) else {
            return false;
        };
        mac(key, message).verify_slice(&given).is_ok()
    }
}

fn mac(key: &Key, message: Message<'_>) -> Hmac<Sha256> {
    let mut mac = keyed(key);
    let fixed: [&[u8]; 3] = [b"highwater", b"proof", message.purpose.as_bytes()];
    for part in fixed.iter().chain(message.parts) {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn keys(text: &str) -> DeploymentKeys {
        DeploymentKeys::parse(text).unwrap_or_else(|error| unreachable!("{error}"))
    }

    fn message<'a>(purpose: &'a str, parts: &'a [&'a [u8]]) -> Message<'a> {
        Message { purpose, parts }
    }

    #[test]
    fn a_proof_is_of_one_message_only() {
        let keys = keys(KEY);
        let proof = keys.prove(message("hop", &[b"ab", b"c"]));
        assert!(keys.is_proven(message("hop", &[b"ab", b"c"]), &proof));
        for (purpose, parts) in [
            ("hop", &[b"a".as_slice(), b"bc"] as &[&[u8]]),
            ("hop", &[b"ab", b"c", b""]),
            ("hop", &[b"ab", b"d"]),
            ("hopa", &[b"b", b"c"]),
            ("answer", &[b"ab", b"c"]),
        ] {
            assert!(!keys.is_proven(message(purpose, parts), &proof), "{purpose} {parts:?}");
        }
        let cut = |end: usize| proof.get(..end).unwrap_or_default().to_owned();
        for wrong in [
            cut(proof.len() - 1),
            cut(2),
            proof.to_uppercase().replace("1:", "2:"),
            proof.replace("1:", "7:"),
            String::new(),
        ] {
            assert!(!keys.is_proven(message("hop", &[b"ab", b"c"]), &wrong), "{wrong}");
        }
    }

    /// Computed by another program from the description: `HMAC(key, parts, each after its length as
    /// 64 bits, big-endian)`.
    #[test]
    fn a_proof_stays_the_same_in_every_release() {
        assert_eq!(
            keys(KEY).prove(message("hop", &[b"ab", b"c"])),
            "1:439a98379da55a505f59b0a2f2d33b38c96e0b98fa81321975eb9b5e2725af1b"
        );
    }

    #[test]
    fn a_key_that_is_added_changes_nothing_and_another_deployment_proves_nothing() {
        let other = "f".repeat(64);
        let (old, new, foreign) =
            (keys(KEY), keys(&format!("{KEY}\n2:{other}")), keys(&format!("1:{other}")));
        let said = message("hop", &[b"a"]);
        assert_eq!(old.prove(said), new.prove(said));
        assert!(new.is_proven(said, &old.prove(said)) && old.is_proven(said, &new.prove(said)));
        assert!(!old.is_proven(said, &foreign.prove(said)));
    }
}
