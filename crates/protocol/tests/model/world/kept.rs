//! A part of the world that is shared by the states that have it in common, with its hash, so that
//! a step costs what it changes.

use std::{
    hash::{Hash, Hasher},
    ops::Deref,
    sync::{Arc, OnceLock},
};

#[derive(Clone, Debug)]
pub struct Kept<T>(Arc<(OnceLock<u64>, T)>);

impl<T: Clone + Hash> Kept<T> {
    pub fn new(value: T) -> Self {
        Self(Arc::new((OnceLock::new(), value)))
    }

    /// Hashed when the hash is asked for: a step changes more than once what it changes.
    pub fn hashed(&self) -> u64 {
        *self.0.0.get_or_init(|| hashed(&self.0.1))
    }

    pub fn change<A>(&mut self, change: impl FnOnce(&mut T) -> A) -> A {
        let (hash, value) = Arc::make_mut(&mut self.0);
        *hash = OnceLock::new();
        change(value)
    }
}

/// The same in every run, so that traces are; and fast.
fn hashed<T: Hash>(value: &T) -> u64 {
    let mut hasher = Folding(0x243f_6a88_85a3_08d3);
    value.hash(&mut hasher);
    hasher.finish()
}

/// The halves of a 128-bit product, one over the other.
struct Folding(u64);

impl Hasher for Folding {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
        self.write_u64(bytes.len() as u64);
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    fn write_u64(&mut self, word: u64) {
        let mixed = u128::from(self.0.rotate_left(23) ^ word)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        self.0 = ((mixed >> 64) as u64) ^ (mixed as u64);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}

impl<T> Deref for Kept<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.1
    }
}

impl<T: Clone + Hash + Eq> PartialEq for Kept<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.hashed() == other.hashed() && self.0.1 == other.0.1
    }
}

impl<T: Clone + Hash + Eq> Eq for Kept<T> {}

impl<T: Clone + Hash> Hash for Kept<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hashed().hash(state);
    }
}
