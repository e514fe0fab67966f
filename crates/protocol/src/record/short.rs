//! Bytes that are mostly few: kept in place up to [`Short::IN_PLACE`], on the heap beyond. A record
//! has 14 headers, twice on its way through an owner; an allocation for each was a quarter of the
//! command path's time (docs/performance.md).

use std::{
    fmt::{self, Write as _},
    hash::{Hash, Hasher},
    ops::Deref,
};

#[derive(Clone)]
pub struct Short(Repr);

#[derive(Clone)]
enum Repr {
    InPlace { length: u8, bytes: [u8; Short::IN_PLACE] },
    Heap(Vec<u8>),
}

impl Short {
    /// A `traceparent`, the longest value of every record, fits.
    pub const IN_PLACE: usize = 55;

    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Repr::InPlace { length, bytes } => &bytes[..usize::from(*length)],
            Repr::Heap(bytes) => bytes,
        }
    }

    /// What `value` displays as.
    pub fn display(value: impl fmt::Display) -> Self {
        let mut text = Text { length: 0, bytes: [0; Self::IN_PLACE] };
        match write!(text, "{value}") {
            Ok(()) => Self(Repr::InPlace { length: text.length, bytes: text.bytes }),
            Err(fmt::Error) => value.to_string().into(),
        }
    }

    /// `None` if it is longer than [`Short::IN_PLACE`].
    fn in_place(from: &[u8]) -> Option<Self> {
        let length = u8::try_from(from.len()).ok()?;
        let mut bytes = [0; Self::IN_PLACE];
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        Some(Self(Repr::InPlace { length, bytes }))
    }
}

/// Takes text as long as it fits.
struct Text {
    length: u8,
    bytes: [u8; Short::IN_PLACE],
}

impl fmt::Write for Text {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let (from, to) = (usize::from(self.length), usize::from(self.length) + more.len());
        self.bytes.get_mut(from..to).ok_or(fmt::Error)?.copy_from_slice(more.as_bytes());
        self.length = u8::try_from(to).map_err(|_| fmt::Error)?;
        Ok(())
    }
}

impl Deref for Short {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl From<&[u8]> for Short {
    fn from(bytes: &[u8]) -> Self {
        Self::in_place(bytes).unwrap_or_else(|| Self(Repr::Heap(bytes.to_vec())))
    }
}

impl From<Vec<u8>> for Short {
    fn from(bytes: Vec<u8>) -> Self {
        Self::in_place(&bytes).unwrap_or(Self(Repr::Heap(bytes)))
    }
}

impl<const N: usize> From<[u8; N]> for Short {
    fn from(bytes: [u8; N]) -> Self {
        bytes.as_slice().into()
    }
}

impl<const N: usize> From<&[u8; N]> for Short {
    fn from(bytes: &[u8; N]) -> Self {
        bytes.as_slice().into()
    }
}

impl From<&str> for Short {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl From<String> for Short {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl fmt::Debug for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

// By the bytes alone, wherever they lie.
impl PartialEq for Short {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Short {}

impl Hash for Short {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_length_comes_back_as_it_went_in() {
        for length in 0..200 {
            let bytes: Vec<u8> = (0..length).collect();
            let (borrowed, owned) = (Short::from(bytes.as_slice()), Short::from(bytes.clone()));
            assert_eq!(borrowed.as_slice(), bytes);
            assert_eq!(borrowed, owned);
        }
    }

    #[test]
    fn what_is_displayed_may_be_of_any_length() {
        for length in 0..200 {
            let text = "x".repeat(length);
            assert_eq!(
                Short::display(format_args!("{text}{}", 7)).as_slice(),
                format!("{text}7").as_bytes()
            );
        }
    }

    #[test]
    fn different_bytes_differ() {
        assert_ne!(Short::from("a"), Short::from("b"));
        assert_ne!(Short::from("a"), Short::from("a\0"));
        assert_ne!(Short::from(vec![0; 55]), Short::from(vec![0; 56]));
    }
}
