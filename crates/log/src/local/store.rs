//! The files of the local log: topics, and records by `(topic id, partition, offset)`. Knows no
//! queue and no reader.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use highwater_protocol::record::StoredRecord;
use serde::{Deserialize, Serialize};

use super::{
    codec,
    durable::{create_folder, replace_file, sync_folder},
};

/// The form of the data folder. A higher number in the folder means that a newer release wrote it.
const FORMAT: u32 = 1;
const FORMAT_FILE: &str = "FORMAT";
const STORE: &str = "store";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} holds no log", .0.display())]
    Missing(PathBuf),
    #[error("{} was written by a newer release (format {found}, this release reads up to \
             {FORMAT}): start that release", .folder.display())]
    Newer { folder: PathBuf, found: u32 },
    #[error("{} does not say which format it has: {found:?}", .file.display())]
    Format { file: PathBuf, found: String },
    #[error("{} is in use by another process that is alive: stop it, or name another \
             folder", .0.display())]
    Locked(PathBuf),
    #[error("{}: {source}", .folder.display())]
    Io { folder: PathBuf, source: io::Error },
    #[error("{}: {source}", .folder.display())]
    Engine { folder: PathBuf, source: fjall::Error },
    #[error("offset {0} of the local log cannot be decoded: the store is damaged")]
    Damaged(u64),
}

/// One topic's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicRow {
    pub id: u32,
    pub partitions: u32,
    pub kind: String,
}

/// A record ready to be written.
pub struct Row {
    pub topic: u32,
    pub partition: u32,
    pub offset: u64,
    pub bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub records: usize,
    pub bytes: usize,
}

pub struct Store {
    folder: PathBuf,
    database: Database,
    topics: Keyspace,
    records: Keyspace,
}

impl Store {
    /// Opens the store in `folder`, which must be there unless `create`.
    pub fn open(folder: &Path, create: bool, cache_bytes: u64) -> Result<Self, Error> {
        check_format(folder, create)?;
        let engine = |source: fjall::Error| match source {
            fjall::Error::Locked => Error::Locked(folder.to_owned()),
            source => Error::Engine { folder: folder.to_owned(), source },
        };
        let database = Database::builder(folder.join(STORE))
            .cache_size(cache_bytes)
            .worker_threads(2)
            .open()
            .map_err(engine)?;
        // The engine syncs what it makes in its folder, and not that its folder is there.
        sync_folder(folder).map_err(|source| Error::Io { folder: folder.to_owned(), source })?;
        let topics = database.keyspace("topics", KeyspaceCreateOptions::default).map_err(engine)?;
        let records =
            database.keyspace("records", KeyspaceCreateOptions::default).map_err(engine)?;
        Ok(Self { folder: folder.to_owned(), database, topics, records })
    }

    pub fn topics(&self) -> Result<Vec<(String, TopicRow)>, Error> {
        let mut found = Vec::new();
        for guard in self.topics.iter() {
            let (name, row) = guard.into_inner().map_err(|source| self.engine(source))?;
            let name = String::from_utf8_lossy(&name).into_owned();
            let row = serde_json::from_slice(&row).map_err(|source| Error::Io {
                folder: self.folder.clone(),
                source: io::Error::other(format!("topic {name}: {source}")),
            })?;
            found.push((name, row));
        }
        Ok(found)
    }

    pub fn create_topic(&self, name: &str, row: &TopicRow) -> Result<(), Error> {
        let bytes = serde_json::to_vec(row).map_err(|source| Error::Io {
            folder: self.folder.clone(),
            source: io::Error::other(source.to_string()),
        })?;
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(&self.topics, name, bytes);
        batch.commit().map_err(|source| self.engine(source))
    }

    /// Writes all rows or none, and returns when they are on the disk.
    pub fn commit(&self, rows: Vec<Row>) -> Result<(), Error> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for row in rows {
            batch.insert(&self.records, key(row.topic, row.partition, row.offset), row.bytes);
        }
        batch.commit().map_err(|source| self.engine(source))
    }

    /// The offset of the first record of a partition that is still there; 0 if there is none.
    pub fn begin(&self, topic: u32, partition: u32) -> Result<u64, Error> {
        let Some(first) = self.records.prefix(&key(topic, partition, 0)[..8]).next() else {
            return Ok(0);
        };
        let key = first.key().map_err(|source| self.engine(source))?;
        Ok(offset_of(&key).unwrap_or(0))
    }

    /// Forgets the records of a partition in `from..until` that were appended before `before_ms`,
    /// up to the first that was not, and at most `limit`. All or none. Returns the first offset
    /// that is left.
    pub fn forget(
        &self,
        topic: u32,
        partition: u32,
        from: u64,
        until: u64,
        before_ms: i64,
        limit: usize,
    ) -> Result<u64, Error> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        let mut begin = from;
        if from >= until {
            return Ok(begin);
        }
        for guard in self
            .records
            .range(key(topic, partition, from)..key(topic, partition, until))
            .take(limit)
        {
            let (key, value) = guard.into_inner().map_err(|source| self.engine(source))?;
            let offset = offset_of(&key).unwrap_or(from);
            if codec::appended_at_ms(&value).ok_or(Error::Damaged(offset))? >= before_ms {
                break;
            }
            batch.remove(&self.records, key);
            begin = offset + 1;
        }
        if begin > from {
            batch.commit().map_err(|source| self.engine(source))?;
        }
        Ok(begin)
    }

    /// The offset after the last record of a partition.
    pub fn end(&self, topic: u32, partition: u32) -> Result<u64, Error> {
        let prefix = &key(topic, partition, 0)[..8];
        let Some(last) = self.records.prefix(prefix).next_back() else { return Ok(0) };
        let key = last.key().map_err(|source| self.engine(source))?;
        Ok(offset_of(&key).map_or(0, |offset| offset + 1))
    }

    /// The records of a partition in `from..until`, as many as `bounds` allow, at least one if
    /// there is one.
    pub fn fetch(
        &self,
        topic: u32,
        partition: u32,
        from: u64,
        until: u64,
        bounds: Bounds,
    ) -> Result<Vec<StoredRecord>, Error> {
        let mut found: Vec<StoredRecord> = Vec::new();
        let mut bytes = 0;
        if from >= until {
            return Ok(found);
        }
        for guard in self.records.range(key(topic, partition, from)..key(topic, partition, until)) {
            if found.len() >= bounds.records || bytes >= bounds.bytes {
                break;
            }
            let (key, value) = guard.into_inner().map_err(|source| self.engine(source))?;
            let offset = offset_of(&key).unwrap_or(from);
            bytes += value.len();
            found.push(codec::decode(offset, &value).ok_or(Error::Damaged(offset))?);
        }
        Ok(found)
    }

    fn engine(&self, source: fjall::Error) -> Error {
        Error::Engine { folder: self.folder.clone(), source }
    }
}

impl Error {
    /// Whether the disk (or the quota) is full.
    pub fn is_full(&self) -> bool {
        let kind = match self {
            Error::Io { source, .. } => source.kind(),
            Error::Engine { source: fjall::Error::Io(source), .. } => source.kind(),
            Error::Engine { source: fjall::Error::Storage(fjall_storage), .. } => {
                return format!("{fjall_storage:?}").contains("StorageFull");
            }
            _ => return false,
        };
        matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

fn check_format(folder: &Path, create: bool) -> Result<(), Error> {
    let file = folder.join(FORMAT_FILE);
    let io_error = |source| Error::Io { folder: folder.to_owned(), source };
    match fs::read_to_string(&file) {
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(FORMAT) => Ok(()),
            Ok(found) if found > FORMAT => Err(Error::Newer { folder: folder.to_owned(), found }),
            _ => Err(Error::Format { file, found: text.chars().take(40).collect() }),
        },
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                && create
                && !folder.join(STORE).exists() =>
        {
            create_folder(folder, 0o777).map_err(io_error)?;
            replace_file(&file, format!("{FORMAT}\n").as_bytes()).map_err(io_error)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Error::Missing(folder.to_owned()))
        }
        Err(source) => Err(io_error(source)),
    }
}

fn key(topic: u32, partition: u32, offset: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..4].copy_from_slice(&topic.to_be_bytes());
    key[4..8].copy_from_slice(&partition.to_be_bytes());
    key[8..].copy_from_slice(&offset.to_be_bytes());
    key
}

fn offset_of(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(8..16)?.try_into().ok()?))
}
