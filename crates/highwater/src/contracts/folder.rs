//! The folder `schemas/`: the one part of the pure half that touches the disk.

use std::{
    collections::BTreeMap,
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

pub(super) struct Folder<'a>(pub &'a Path);

impl Folder<'_> {
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
        Ok(files)
    }

    /// The folders in a folder.
    pub fn folders(&self, name: &str) -> Result<Vec<String>, Error> {
        let entries = self.entries(name)?.into_iter();
        Ok(entries.filter(|path| path.is_dir()).map(|path| last(&path)).collect())
    }

    pub fn read(&self, name: &str) -> Result<Option<String>, Error> {
        let path = self.0.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(wrong(&path, source)),
        }
    }

    pub fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.0.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|source| wrong(parent, source))?;
        }
        fs::write(&path, text).map_err(|source| wrong(&path, source))
    }

    fn entries(&self, name: &str) -> Result<Vec<PathBuf>, Error> {
        let path = self.0.join(name);
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
