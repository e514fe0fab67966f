//! docs/security.md: each row is written by the test that tried it. A file of its own, so that the
//! tests of any crate can include it (`#[path = ".../tests/support/documented.rs"] mod
//! documented;`).

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Set to 1 to rewrite a row; the test fails all the same, so that no developer blesses by habit.
const BLESS: &str = "HIGHWATER_BLESS";

/// One row, as the test found it: nothing in it may change from run to run.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// `C1`: the kind and its number; a sibling has a letter of its own behind it, `C1b`.
    pub id: &'a str,
    /// What is sent, or done.
    pub situation: &'a str,
    /// What comes of it.
    pub answer: &'a str,
    /// `file!()` of the test, and its name.
    pub test: (&'a str, &'a str),
}

impl Row<'_> {
    /// Compares with the committed document.
    #[track_caller]
    pub fn check(&self) {
        static DOCUMENT: Mutex<()> = Mutex::new(());
        let _alone = DOCUMENT.lock().unwrap_or_else(PoisonError::into_inner);
        let path = document();
        let text = fs::read_to_string(&path).unwrap_or_default();
        let (line, start) = (self.line(), format!("| {} |", self.id));
        let committed = text.lines().find(|line| line.starts_with(&start));
        if committed == Some(&line) {
            return;
        }
        if std::env::var(BLESS).is_ok_and(|value| value == "1") {
            let written = fs::write(&path, self.put(&text, &line, &start));
            panic!(
                "docs/security.md, {}: rewritten ({written:?}); look at the difference, then run \
                 without {BLESS}",
                self.id
            );
        }
        panic!(
            "docs/security.md, {}: it is now\n{line}\nand committed is\n{}\n{BLESS}=1 rewrites it",
            self.id,
            committed.unwrap_or("nothing")
        );
    }

    fn line(&self) -> String {
        let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        let (file, name) = self.test;
        format!(
            "| {} | {} | {} | `{file}#{name}` |",
            self.id,
            cell(self.situation),
            cell(self.answer)
        )
    }

    /// In the place of the row with this id; else behind the last row of its letter.
    fn put(&self, text: &str, line: &str, start: &str) -> String {
        let lines: Vec<&str> = text.lines().collect();
        let of_the_kind = |row: &&str| {
            row.starts_with(&format!("| {}", &self.id[..1]))
                && row.as_bytes().get(3).is_some_and(u8::is_ascii_digit)
        };
        let (kept, from) = match lines.iter().position(|row| row.starts_with(start)) {
            Some(at) => (at, at + 1),
            None => {
                let last = lines.iter().rposition(of_the_kind).map_or(lines.len(), |at| at + 1);
                (last, last)
            }
        };
        let all: Vec<&str> = lines[..kept]
            .iter()
            .copied()
            .chain([line])
            .chain(lines[from..].iter().copied())
            .collect();
        all.join("\n") + "\n"
    }
}

/// Found from the crate that includes this file.
fn document() -> PathBuf {
    let of = |folder: &Path| folder.join("docs/security.md");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().map(of).find(|path| path.exists()).unwrap_or_else(|| of(here))
}
