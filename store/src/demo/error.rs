//! Why the demo did not come to its end.

use std::io;

/// What was wrong, and where.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open {file}")]
    Open { file: String, source: io::Error },
    #[error("cannot open {file}: it is no regular file, and it is read twice")]
    Irregular { file: String },
    #[error("cannot read {file}")]
    Csv { file: String, source: csv::Error },
    #[error("cannot read {file}: line {line}: {what}")]
    Row { file: String, line: u64, what: String },
    #[error("{file} changed while it was read: run it again")]
    Changed { file: String },
    #[error("a command cannot be written as JSON")]
    Body(#[from] serde_json::Error),
    #[error("cannot speak HTTP")]
    Http(#[source] reqwest::Error),
    #[error(
        "{what}: {url} did not take it within {seconds} s, at last: {why} (run the same again to \
         go on from here)"
    )]
    Unreachable { what: String, url: String, seconds: u64, why: String },
    #[error("{what}: the store answered {status} {body}")]
    Answer { what: String, status: u16, body: String },
    #[error("the reader of {file} ended early")]
    Reader { file: String, source: tokio::task::JoinError },
}

impl Error {
    /// Nothing can be reached, or it takes no commands.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// What was asked for cannot be.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Open { .. } | Self::Irregular { .. })
    }
}
