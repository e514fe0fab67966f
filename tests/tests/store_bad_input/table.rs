//! docs/bad-input.md: sections that tests write. A section is compared with what is committed, or
//! rewritten on demand.

use std::{
    fmt::Write,
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

/// Set to 1 to rewrite the document; the test fails all the same, so that no developer blesses by
/// habit.
const BLESS: &str = "HIGHWATER_BLESS";

/// Rows under their columns, group by group.
pub struct Table {
    columns: &'static [&'static str],
    text: String,
}

impl Table {
    pub fn new(columns: &'static [&'static str]) -> Self {
        Self { columns, text: String::new() }
    }

    /// Begins a group with a heading of its own.
    pub fn group(&mut self, heading: &str) {
        let line = |cells: &[&str]| format!("| {} |\n", cells.join(" | "));
        let rule = vec!["---"; self.columns.len()];
        let _ =
            write!(self.text, "\n### {heading}\n\n{}|{}|\n", line(self.columns), rule.join("|"));
    }

    pub fn row(&mut self, cells: &[&str]) {
        assert_eq!(cells.len(), self.columns.len());
        let cells: Vec<_> =
            cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
        let _ = writeln!(self.text, "| {} |", cells.join(" | "));
    }

    /// Compares with the section of the committed document that begins with this heading.
    pub fn check(&self, heading: &str) {
        static DOCUMENT: Mutex<()> = Mutex::new(());
        let _alone = DOCUMENT.lock().unwrap_or_else(PoisonError::into_inner);
        let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/bad-input.md"));
        let document = fs::read_to_string(&path).unwrap();
        let (before, section, after) = cut(&document, heading);
        if section == self.text {
            return;
        }
        if std::env::var(BLESS).is_ok_and(|value| value == "1") {
            fs::write(&path, format!("{before}{}{after}", self.text)).unwrap();
            panic!(
                "docs/bad-input.md, {heading}: rewritten; look at the difference, then run without \
                 {BLESS}"
            );
        }
        let difference =
            self.text.lines().zip(section.lines()).find(|(now, committed)| now != committed);
        let (now, committed) = difference.unwrap_or(("more or fewer lines", ""));
        panic!(
            "docs/bad-input.md, {heading}: it is now\n{now}\nand committed \
             is\n{committed}\n{BLESS}=1 rewrites it"
        );
    }
}

/// The section's text, between the end of its introduction (the mark) and the next heading of its
/// level.
fn cut<'a>(document: &'a str, heading: &str) -> (&'a str, &'a str, &'a str) {
    const MARK: &str = "<!-- written by tests/tests/store_bad_input.rs -->\n";
    let begins = document.find(&format!("## {heading}\n")).unwrap();
    let begins = begins + document[begins..].find(MARK).unwrap() + MARK.len();
    let ends = document[begins..].find("\n## ").map_or(document.len(), |at| begins + at);
    (&document[..begins], &document[begins..ends], &document[ends..])
}
