//! What only the local log promises: survival, recovery from I/O errors, a full disk, one process at a time, reading from others.

use std::{
    io,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use super::store;

/// Faults that a test switches on.
#[derive(Default)]
pub struct Faults {
    /// So many commits fail with an I/O error.
    pub failing_commits: AtomicU32,
    pub disk_full: AtomicBool,
}

impl Faults {
    pub fn before_commit(&self, folder: &Path) -> Result<(), store::Error> {
        let broken = |kind: io::ErrorKind| Err(store::Error::Io { folder: folder.to_owned(), source: kind.into() });
        if self.disk_full.load(Ordering::Acquire) {
            return broken(io::ErrorKind::StorageFull);
        }
        let failing = self.failing_commits.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1));
        if failing.is_ok() { broken(io::ErrorKind::Other) } else { Ok(()) }
    }

    pub fn probe(&self) -> io::Result<()> {
        if self.disk_full.load(Ordering::Acquire) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}
