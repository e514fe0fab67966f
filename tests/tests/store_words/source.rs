//! Finds identifiers and string literals in Rust, and statements in SQL. Comments say what they
//! like.

/// An identifier or the text of a string literal, and its line.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub line: usize,
    pub text: String,
}

/// Identifiers and string literals of Rust source, raw and byte strings included.
pub fn rust(source: &str) -> Vec<Said> {
    let mut reader = Reader { rest: source, line: 1 };
    let mut said = Vec::new();
    while let Some(next) = reader.rest.chars().next() {
        let line = reader.line;
        if reader.rest.starts_with("//") {
            reader.until("\n");
        } else if reader.rest.starts_with("/*") {
            reader.block_comment();
        } else if let Some(hashes) = raw_string(reader.rest) {
            reader.until("\"");
            let text = reader.until(&format!("\"{}", "#".repeat(hashes)));
            said.push(Said { line, text });
        } else if next == '"' {
            reader.skip(1);
            said.push(Said { line, text: reader.string() });
        } else if next == '\'' {
            reader.character_or_lifetime();
        } else if next.is_alphabetic() || next == '_' {
            let text: String =
                reader.rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            reader.skip(text.len());
            // The prefix of a string literal (b, c) is no identifier.
            if !(text.len() == 1 && reader.rest.starts_with('"')) {
                said.push(Said { line, text });
            }
        } else {
            reader.skip(next.len_utf8());
        }
    }
    said
}

/// SQL without its comments, line by line.
pub fn sql(source: &str) -> Vec<Said> {
    let line = |(at, line): (usize, &str)| Said {
        line: at + 1,
        text: line.split("--").next().unwrap_or_default().to_owned(),
    };
    source.lines().enumerate().map(line).collect()
}

/// The number of hashes if `rest` begins with a raw string (`r"`, `br#"`, `cr##"`).
fn raw_string(rest: &str) -> Option<usize> {
    let after = ["r", "br", "cr"].into_iter().find_map(|prefix| {
        rest.strip_prefix(prefix).filter(|after| after.starts_with(['"', '#']))
    })?;
    let unhashed = after.trim_start_matches('#');
    unhashed.starts_with('"').then_some(after.len() - unhashed.len())
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl Reader<'_> {
    fn skip(&mut self, bytes: usize) {
        let (skipped, rest) = self.rest.split_at(bytes);
        self.line += skipped.matches('\n').count();
        self.rest = rest;
    }

    /// What comes before `end`, which is skipped, too.
    fn until(&mut self, end: &str) -> String {
        let at = self.rest.find(end).unwrap_or(self.rest.len());
        let text = self.rest[..at].to_owned();
        self.skip((at + end.len()).min(self.rest.len()));
        text
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while !self.rest.is_empty() {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.skip(2);
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.skip(2);
                if depth == 0 {
                    return;
                }
            } else {
                self.skip(self.rest.chars().next().map_or(1, char::len_utf8));
            }
        }
    }

    /// The text of a string literal whose opening quote is read; escapes part words.
    fn string(&mut self) -> String {
        let mut text = String::new();
        while let Some(next) = self.rest.chars().next() {
            self.skip(next.len_utf8());
            match next {
                '"' => break,
                '\\' => {
                    text.push(' ');
                    let escaped = self.rest.chars().next().map_or(0, char::len_utf8);
                    self.skip(escaped);
                }
                other => text.push(other),
            }
        }
        text
    }

    fn character_or_lifetime(&mut self) {
        let mut ahead = self.rest.chars().skip(1);
        match (ahead.next(), ahead.next()) {
            (Some('\\'), Some(escaped)) => {
                self.skip(2 + escaped.len_utf8());
                self.until("'");
            }
            (Some(letter), Some('\'')) => self.skip(2 + letter.len_utf8()),
            _ => self.skip(1),
        }
    }
}
