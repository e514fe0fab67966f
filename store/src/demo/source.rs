//! A CSV file, or one that is built in: opened, unpacked when it is gzip, read row by row with a
//! digest of what was read. Knows no column.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    marker::PhantomData,
    path::PathBuf,
};

use csv::{ReaderBuilder, StringRecord, Trim};
use flate2::bufread::MultiGzDecoder;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::Error;

/// The first bytes of gzip (RFC 1952, 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

#[derive(Clone, Debug)]
pub(super) enum Source {
    File(PathBuf),
    BuiltIn { name: &'static str, bytes: &'static [u8] },
}

/// The rows of a source, in turn.
pub(super) struct Rows<T> {
    file: String,
    reader: csv::Reader<Digesting>,
    headers: StringRecord,
    record: StringRecord,
    row: PhantomData<fn() -> T>,
}

/// A row and the line that it begins on, from 1.
pub(super) struct Row<T> {
    pub(super) line: u64,
    pub(super) row: T,
}

struct Digesting {
    inner: Box<dyn Read + Send>,
    sha256: Sha256,
}

impl Source {
    pub(super) fn rows<T: DeserializeOwned>(&self) -> Result<Rows<T>, Error> {
        let inner = self.open()?;
        let digesting = Digesting { inner, sha256: Sha256::new() };
        let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(digesting);
        let file = self.to_string();
        let headers =
            reader.headers().map_err(|source| Error::Csv { file: file.clone(), source })?.clone();
        Ok(Rows { file, reader, headers, record: StringRecord::new(), row: PhantomData })
    }

    fn open(&self) -> Result<Box<dyn Read + Send>, Error> {
        let failed = |source| Error::Open { file: self.to_string(), source };
        match self {
            Self::BuiltIn { bytes, .. } => unpacked(*bytes).map_err(failed),
            Self::File(path) => {
                let file = File::open(path).map_err(failed)?;
                if !file.metadata().map_err(failed)?.is_file() {
                    return Err(Error::Irregular { file: self.to_string() });
                }
                unpacked(BufReader::new(file)).map_err(failed)
            }
        }
    }
}

fn unpacked(mut packed: impl BufRead + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    if packed.fill_buf()?.starts_with(&GZIP) {
        Ok(Box::new(MultiGzDecoder::new(packed)))
    } else {
        Ok(Box::new(packed))
    }
}

impl<T: DeserializeOwned> Rows<T> {
    pub(super) fn next(&mut self) -> Result<Option<Row<T>>, Error> {
        let failed = |source| Error::Csv { file: self.file.clone(), source };
        if !self.reader.read_record(&mut self.record).map_err(failed)? {
            return Ok(None);
        }
        let line = self.record.position().map_or(0, csv::Position::line);
        let row = self.record.deserialize(Some(&self.headers)).map_err(failed)?;
        Ok(Some(Row { line, row }))
    }

    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// SHA-256, in hex, of what was read, unpacked. Of the whole file once [`Rows::next`] had no
    /// more.
    pub(super) fn digest(self) -> String {
        self.reader
            .into_inner()
            .sha256
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

impl Read for Digesting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.sha256.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::BuiltIn { name, .. } => write!(f, "{name} (built in)"),
        }
    }
}

#[cfg(test)]
mod tests;
