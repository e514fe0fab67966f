//! Changes of files: shown, or made, all or none. Nothing that is there is written over.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use crate::names;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Name(#[from] names::Unfit),
    #[error("`{0}` is no category and a name, joined by a dot: voucher.redeem")]
    NoCategory(String),
    #[error("{} is there already: nothing was changed", .0.display())]
    Exists(PathBuf),
    #[error(
        "{} has no line `// add: {marker}`: put it where the next one is to stand",
        path.display()
    )]
    NoMarker { path: PathBuf, marker: &'static str },
    #[error("a table cannot be called `{0}`: it is one of the library's, or a word of SQL")]
    Table(String),
    #[error("{} has the table `{table}` already: take another name{}", path.display(), else_by(.by))]
    TableTaken { path: PathBuf, table: String, by: Option<&'static str> },
    #[error("{} shows something at /v1/{route} already: take another name{}", path.display(), else_by(.by))]
    RouteTaken { path: PathBuf, route: String, by: Option<&'static str> },
    #[error("{} was changed meanwhile: nothing was changed here, try again", .0.display())]
    Meanwhile(PathBuf),
    #[error("`{what}` stands in {} already: nothing was changed", path.display())]
    Twice { path: PathBuf, what: String },
    #[error("{} is no application of Highwater: it has no {file}", folder.display())]
    NoApplication { folder: PathBuf, file: &'static str },
    #[error("{} is no checkout of Highwater: it has no {file}", folder.display())]
    NoCheckout { folder: PathBuf, file: &'static str },
    #[error("{} is not there: add the aggregate first", .0.display())]
    NoAggregate(PathBuf),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// How else than by the name it can be said.
fn else_by(flag: &Option<&'static str>) -> String {
    flag.map(|flag| format!(", or another one with {flag}")).unwrap_or_default()
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Plan {
    made: Vec<(PathBuf, String)>,
    executable: Vec<PathBuf>,
    changed: BTreeMap<PathBuf, Changed>,
}

/// A file that is there already.
#[derive(Debug)]
struct Changed {
    before: String,
    after: String,
    /// How many lines are new.
    lines: usize,
}

impl Error {
    /// Whether another command line is needed.
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Io { .. } | Self::Meanwhile(_))
    }

    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

impl Plan {
    /// Makes a file.
    pub fn make(&mut self, path: PathBuf, text: impl Into<String>) -> Result<(), Error> {
        if path.exists() {
            return Err(Error::Exists(path));
        }
        self.made.push((path, text.into()));
        Ok(())
    }

    /// Makes a file that can be run.
    pub fn make_executable(&mut self, path: PathBuf, text: &str) -> Result<(), Error> {
        self.executable.push(path.clone());
        self.make(path, text)
    }

    /// Puts lines before the line `// add: marker` of a file, as deep as that is.
    pub fn add(&mut self, path: &Path, marker: &'static str, lines: &str) -> Result<(), Error> {
        let changed = match self.changed.remove(path) {
            Some(changed) => changed,
            None => {
                let before = fs::read_to_string(path).map_err(Error::io(path))?;
                Changed { after: before.clone(), before, lines: 0 }
            }
        };
        let wanted = format!("// add: {marker}");
        let mut result = String::new();
        let mut found = false;
        for line in changed.after.split_inclusive('\n') {
            if line.trim() == wanted && !found {
                found = true;
                let depth = &line[..line.len() - line.trim_start().len()];
                for new in lines.lines() {
                    let depth = if new.is_empty() { "" } else { depth };
                    result.push_str(&format!("{depth}{new}\n"));
                }
            }
            result.push_str(line);
        }
        if !found {
            return Err(Error::NoMarker { path: path.to_owned(), marker });
        }
        let lines = changed.lines + lines.lines().count();
        self.changed.insert(path.to_owned(), Changed { after: result, lines, ..changed });
        Ok(())
    }

    /// A line for each file.
    pub fn shown(&self) -> String {
        let made = self.made.iter().map(|(path, _)| format!("make   {}\n", path.display()));
        let changed = self
            .changed
            .iter()
            .map(|(path, it)| format!("change {}: {} new lines\n", path.display(), it.lines));
        made.chain(changed).collect()
    }

    /// Everything, or nothing but an error.
    pub fn carry_out(self) -> Result<(), Error> {
        let mut undo = Undo::default();
        let done = self.write(&mut undo);
        if done.is_err() {
            undo.run();
        }
        done
    }

    fn write(&self, undo: &mut Undo) -> Result<(), Error> {
        for (path, text) in &self.made {
            let folder = path.parent().unwrap_or(Path::new("."));
            undo.folders.extend(folder.ancestors().filter(|it| !it.exists()).map(Path::to_owned));
            fs::create_dir_all(folder).map_err(Error::io(folder))?;
            fs::File::create_new(path).map_err(Error::io(path))?;
            undo.made.push(path.clone());
            fs::write(path, text).map_err(Error::io(path))?;
        }
        for path in &self.executable {
            make_executable(path).map_err(Error::io(path))?;
        }
        for (path, Changed { before, after, .. }) in &self.changed {
            if fs::read_to_string(path).map_err(Error::io(path))? != *before {
                return Err(Error::Meanwhile(path.clone()));
            }
            replace(path, after).map_err(Error::io(path))?;
            undo.changed.push((path.clone(), before.clone()));
        }
        Ok(())
    }
}

/// What was done so far.
#[derive(Default)]
struct Undo {
    made: Vec<PathBuf>,
    /// The innermost of each first.
    folders: Vec<PathBuf>,
    changed: Vec<(PathBuf, String)>,
}

impl Undo {
    /// What cannot be undone is left: the error that led here is the one to be told.
    fn run(self) {
        for path in self.made {
            let _ = fs::remove_file(path);
        }
        for (path, before) in self.changed {
            let _ = replace(&path, &before);
        }
        let mut folders = self.folders;
        folders.sort_by_key(|folder| std::cmp::Reverse(folder.components().count()));
        for folder in folders {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// The old text or the new one, whenever the process ends.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let written = fs::write(&new, text).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(unix)]
fn make_executable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> io::Result<()> {
    Ok(())
}
