//! What may go one way or another in a run. A run with the same choices is the same run, so that
//! all of them can be gone through.

#[derive(Clone, Debug, Default)]
pub struct Choices {
    script: Vec<u8>,
    /// Of how many; behind the end of the script the first is taken.
    taken: Vec<(u8, u8)>,
    /// By chance, rare is rare; one by one, it has its turn.
    by_chance: bool,
}

impl Choices {
    /// The first of all runs.
    pub fn first() -> Self {
        Self::default()
    }

    pub fn by_chance(script: Vec<u8>) -> Self {
        Self { script, taken: Vec::new(), by_chance: true }
    }

    pub fn of(&mut self, many: usize) -> usize {
        self.pick(many, |byte, many| byte % many)
    }

    /// One of `many`, of which the first is the usual one.
    pub fn rarely_of(&mut self, many: usize) -> usize {
        self.pick(
            many,
            if self.by_chance {
                |byte, many| if byte < 225 { 0 } else { byte % many }
            } else {
                |byte, many| byte % many
            },
        )
    }

    fn pick(&mut self, many: usize, by: fn(u8, u8) -> u8) -> usize {
        let many = u8::try_from(many).expect("few");
        if many < 2 {
            return 0;
        }
        let taken = self.script.get(self.taken.len()).map_or(0, |byte| by(*byte, many));
        self.taken.push((taken, many));
        usize::from(taken)
    }

    /// The choices of the next run, after one that took these; `None` after the last.
    pub fn next(mut self) -> Option<Self> {
        while let Some((taken, many)) = self.taken.pop() {
            if taken + 1 < many {
                let script =
                    self.taken.iter().map(|(taken, _)| *taken).chain([taken + 1]).collect();
                return Some(Self { script, ..Self::default() });
            }
        }
        None
    }

    pub fn taken(&self) -> Vec<u8> {
        self.taken.iter().map(|(taken, _)| *taken).collect()
    }
}
