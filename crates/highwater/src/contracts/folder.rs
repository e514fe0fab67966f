//! The folder `schemas/`: the one part of the pure half that touches the disk.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

/// A file or folder that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

/// What is on the disk, and over it what is to be written: that is read as if it were there.
pub(super) struct Folder<'a> {
    path: &'a Path,
    pending: RefCell<BTreeMap<String, String>>,
}

impl<'a> Folder<'a> {
    pub fn new(path: &'a Path) -> Self {
        Self { path, pending: RefCell::default() }
    }

    /// The JSON files of a folder by their names, with their texts. A folder that is not there has
    /// none.
    pub fn files(&self, name: &str) -> Result<BTreeMap<String, String>, Error> {
        let mut files = BTreeMap::new();
        for path in self.entries(name)? {
            if path.extension().is_some_and(|extension| extension == "json") {
                let text = fs::read_to_string(&path).map_err(|source| wrong(&path, source))?;
                files.insert(last(&path), text);
            }
        }
        for (file, text) in &*self.pending.borrow() {
            if let Some((folder, file)) = file.rsplit_once('/')
                && folder == name
            {
                files.insert(file.to_owned(), text.clone());
            }
        }
        Ok(files)
    }

    /// The folders in a folder.
    pub fn folders(&self, name: &str) -> Result<Vec<String>, Error> {
        let entries = self.entries(name)?.into_iter();
        let mut folders: BTreeSet<String> =
            entries.filter(|path| path.is_dir()).map(|path| last(&path)).collect();
        for file in self.pending.borrow().keys() {
            let rest = file.strip_prefix(name).and_then(|rest| rest.strip_prefix('/'));
            folders.extend(rest.and_then(|rest| Some(rest.split_once('/')?.0.to_owned())));
        }
        Ok(folders.into_iter().collect())
    }

    pub fn read(&self, name: &str) -> Result<Option<String>, Error> {
        if let Some(text) = self.pending.borrow().get(name) {
            return Ok(Some(text.clone()));
        }
        let path = self.path.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(wrong(&path, source)),
        }
    }

    /// To be written by [`Folder::carry_out`].
    pub fn write(&self, name: String, text: String) {
        self.pending.borrow_mut().insert(name, text);
    }

    /// Whether this file is to be written.
    pub fn is_to_write(&self, name: &str) -> bool {
        self.pending.borrow().contains_key(name)
    }

    /// Writes what is to be written; the files.
    pub fn carry_out(self) -> Result<Vec<String>, Error> {
        let pending = self.pending.into_inner();
        for (name, text) in &pending {
            let path = self.path.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(|source| wrong(parent, source))?;
            }
            fs::write(&path, text).map_err(|source| wrong(&path, source))?;
        }
        Ok(pending.into_keys().collect())
    }

    fn entries(&self, name: &str) -> Result<Vec<PathBuf>, Error> {
        let path = self.path.join(name);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(wrong(&path, source)),
        };
        let mut paths = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| wrong(&path, source))?;
        paths.sort();
        Ok(paths)
    }
}

fn last(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn wrong(path: &Path, source: io::Error) -> Error {
    Error { path: path.to_owned(), source }
}
