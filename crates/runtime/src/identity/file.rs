//! Owns the key file: `number:key` a line, `#` starts a comment. Must never repeat a key in an
//! error.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use secrecy::SecretBox;
use sha2::{Digest, Sha256};

use super::{KEY_BYTES, Numbered};
use crate::clock::{Ids, SystemIds};

const LONGEST_FILE: u64 = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the key file {path} cannot be read: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("the key file {path} cannot be made: {source}")]
    Create { path: String, source: std::io::Error },
    #[error(
        "the key file {path} has mode {mode:04o}, so others than its owner can reach it: chmod 600 \
         it, and replace the key if it leaked"
    )]
    Mode { path: String, mode: u32 },
    #[error("the key file {path} is larger than {LONGEST_FILE} bytes")]
    TooLarge { path: String },
    #[error(
        "line {line} of the deployment keys is not `number:key` with a number from 1 to 65535 and \
         32 bytes in hex or base64"
    )]
    Line { line: usize },
    #[error("deployment key number {number} occurs twice")]
    Twice { number: u16 },
    #[error("there is no deployment key")]
    Empty,
    #[error("the key file {path}: {source}")]
    Content { path: String, source: Box<Error> },
}

pub(super) fn read(path: &Path) -> Result<Vec<Numbered>, Error> {
    let shown = || path.display().to_string();
    let metadata = fs::metadata(path).map_err(|source| Error::Read { path: shown(), source })?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Error::Mode { path: shown(), mode });
    }
    if metadata.len() > LONGEST_FILE {
        return Err(Error::TooLarge { path: shown() });
    }
    let text = fs::read_to_string(path).map_err(|source| Error::Read { path: shown(), source })?;
    parse(&text).map_err(|source| Error::Content { path: shown(), source: Box::new(source) })
}

/// Writes beside and links, so that two processes that start together agree on one whole file.
pub(super) fn create(path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Create { path: path.display().to_string(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let beside = path.with_extension(format!("{}.new", SystemIds.v4().simple()));
    let written = write_new(&beside).and_then(|()| match fs::hard_link(&beside, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    let removed = fs::remove_file(&beside);
    // Its name lies in its folder: without it, after a power cut, there would be a log and no key
    // for it.
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let kept = || fs::File::open(folder).and_then(|folder| folder.sync_all());
    written.and(removed).and_then(|()| kept()).map_err(failed)
}

fn write_new(path: &Path) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let key = HEXLOWER.encode(&fresh());
    writeln!(
        file,
        "# Deployment keys, number:key. Keep this file: ids and fingerprints in the log come from \
         it."
    )?;
    writeln!(file, "1:{key}")?;
    file.sync_all()
}

/// Four random UUIDs are 488 random bits; the hash makes 256 of them.
fn fresh() -> [u8; KEY_BYTES] {
    let mut hash = Sha256::new();
    for _ in 0..4 {
        hash.update(SystemIds.v4().as_bytes());
    }
    hash.finalize().into()
}

pub(super) fn parse(text: &str) -> Result<Vec<Numbered>, Error> {
    let mut keys: Vec<Numbered> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (number, key) = entry(line).ok_or(Error::Line { line: at + 1 })?;
        if keys.iter().any(|(present, _)| *present == number) {
            return Err(Error::Twice { number });
        }
        keys.push((number, SecretBox::new(Box::new(key))));
    }
    if keys.is_empty() { Err(Error::Empty) } else { Ok(keys) }
}

fn entry(line: &str) -> Option<(u16, [u8; KEY_BYTES])> {
    let (number, key) = line.split_once(':')?;
    let number = number.trim().parse().ok().filter(|number| *number > 0)?;
    let key = key.trim();
    let bytes = if key.len() == 2 * KEY_BYTES { hex(key)? } else { base64(key)? };
    Some((number, bytes.try_into().ok()?))
}

fn hex(text: &str) -> Option<Vec<u8>> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()
}

/// RFC 4648, either alphabet, padding optional.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let encoding = if text.contains(['-', '_']) { BASE64URL_NOPAD } else { BASE64_NOPAD };
    encoding.decode(text.as_bytes()).ok()
}
