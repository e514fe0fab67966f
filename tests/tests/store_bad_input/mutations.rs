//! Bodies that were damaged at random, from a fixed seed: the same ones in every run.

/// What damaged texts are made of, besides what is there.
const PIECES: [&str; 24] = [
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\\",
    "null",
    "true",
    "-",
    "0",
    "-0.0",
    "1e308",
    "1e-400",
    "9007199254740993",
    "18446744073709551616",
    "\\u0000",
    "\\ud83d",
    "\u{1f600}",
    "\u{feff}",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:60Z",
    "\"id\":1,",
];

pub struct Mutations(u64);

impl Mutations {
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// `text` with one to three places damaged.
    pub fn damage(&mut self, text: &str) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=self.below(3) {
            let from = self.below(bytes.len() + 1);
            let to = bytes.len().min(from + [0, 0, 1, 4, 12][self.below(5)]);
            let piece = PIECES[self.below(PIECES.len())].as_bytes();
            // One in eight breaks UTF-8.
            let piece = if self.below(8) == 0 { &piece[..piece.len() - 1] } else { piece };
            bytes.splice(from..to, piece.iter().copied());
        }
        bytes
    }

    /// Knuth's generator (MMIX); its high bits are good enough to choose with.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}
