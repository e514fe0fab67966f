//! The data folder of `up`: which release may use it, and one process at a time. Knows
//! where things lie in it, not what is in them.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use highwater_log::local::durable::{create_folder, replace_file};

use crate::postgres::own_uid;

/// In a data folder: the log that its private Postgres belongs to.
const KIND: &str = "log.kind";

/// The layout that this release reads and writes.
const LAYOUT: u32 = 1;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "the data folder {dir} is in use by another process{by}: stop it, or choose another folder \
         with --data"
    )]
    InUse { dir: PathBuf, by: String },
    #[error(
        "the data folder {dir} was written by a newer release (layout {found}, this release knows \
         {LAYOUT}): upgrade this program"
    )]
    Newer { dir: PathBuf, found: u32 },
    #[error(
        "the data folder {dir} belongs to user {found}, and this process runs as user {ours}: run \
         it as {found}; nothing was changed"
    )]
    OtherOwner { dir: PathBuf, found: u32, ours: u32 },
    #[error(
        "the data folder {dir} is that of {found}, and its private Postgres holds what was made \
         from that: name another folder with \
         --data for {wanted}, or a database with --database-url; nothing was changed"
    )]
    OtherLog { dir: PathBuf, found: &'static str, wanted: &'static str },
    #[error(
        "{dir} is not a data folder of Highwater: it has other files in it and no readable file \
         `version`"
    )]
    Foreign { dir: PathBuf },
    #[error(
        "{path} {found}, and must hold the number of the data folder's layout, {allowed}: write \
         that into it if Highwater made this \
         folder, else name another one with --data; nothing was changed"
    )]
    Version { path: PathBuf, found: String, allowed: u32 },
    #[error(
        "{path} {found}, and must hold `local` or `kafka`, whichever log the private Postgres \
         beside it was made from; nothing was changed"
    )]
    Kind { path: PathBuf, found: String },
}

/// Where the log is that the tables of a data folder's private Postgres are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Local,
    Kafka,
}

/// An open data folder: no other process has it until this is dropped or the process ends, however
/// it ends.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    lock: File,
}

/// A process that is being started shares the open file until it runs its own program, and would
/// keep what is closed here alone.
impl Drop for Folder {
    fn drop(&mut self) {
        // Closing it, which comes next, gives it back as well.
        let _ = self.lock.unlock();
    }
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "a local log",
            Self::Kafka => "a log on Kafka",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Kafka => "kafka",
        }
    }
}

impl Folder {
    /// Opens the folder, or makes it.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { path, source }
        };
        create_folder(dir, 0o711).map_err(fail(dir))?;
        let dir = fs::canonicalize(dir).map_err(fail(dir))?;
        check_layout(&dir)?;
        // Where that cannot be found out, the usual permissions decide.
        if let Ok(ours) = own_uid() {
            check_owner(&dir, ours)?;
        }
        let path = dir.join("lock");
        let lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(fail(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse { by: holder(&path), dir }),
            Err(TryLockError::Error(source)) => return Err(Error::Io { path, source }),
        }
        note_holder(&lock).map_err(fail(&path))?;
        let version = dir.join("version");
        if !version.exists() {
            replace_file(&version, format!("{LAYOUT}\n").as_bytes()).map_err(fail(&version))?;
        }
        private(&dir.join("log")).map_err(fail(&dir))?;
        Ok(Self { dir, lock })
    }

    /// Keeps the private database to the log that its tables are made from.
    pub fn keep_to(&self, wanted: Kind) -> Result<(), Error> {
        let noted = noted_kind(&self.dir)?;
        // There is no database yet, or it is of a release that did not write it down.
        let found = match noted {
            None if self.postgres().exists() => kind_of(&self.dir)?,
            noted => noted,
        };
        if let Some(found) = found.filter(|found| *found != wanted) {
            return Err(Error::OtherLog {
                dir: self.dir.clone(),
                found: found.name(),
                wanted: wanted.name(),
            });
        }
        if noted.is_none() {
            let path = self.dir.join(KIND);
            replace_file(&path, format!("{}\n", wanted.word()).as_bytes())
                .map_err(|source| Error::Io { path, source })?;
        }
        Ok(())
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The local log's folder.
    pub fn log(&self) -> PathBuf {
        log_in(&self.dir)
    }

    /// The private server's folder.
    pub fn postgres(&self) -> PathBuf {
        postgres_in(&self.dir)
    }

    /// The file of the deployment keys.
    pub fn keys(&self) -> PathBuf {
        self.dir.join("deployment.keys")
    }
}

/// Where a data folder has its local log, for processes that only read.
pub fn log_in(dir: &Path) -> PathBuf {
    dir.join("log")
}

/// Where a data folder has its private server.
pub fn postgres_in(dir: &Path) -> PathBuf {
    dir.join("postgres")
}

/// The log that a data folder belongs to, as far as it says: by its note, else because there is a
/// local log in it.
pub fn kind_of(dir: &Path) -> Result<Option<Kind>, Error> {
    if let Some(noted) = noted_kind(dir)? {
        return Ok(Some(noted));
    }
    let path = log_in(dir);
    match fs::read_dir(&path) {
        Ok(mut entries) => Ok(entries.next().map(|_| Kind::Local)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { path, source }),
    }
}

fn noted_kind(dir: &Path) -> Result<Option<Kind>, Error> {
    let path = dir.join(KIND);
    let Some(text) = text_of(&path)? else { return Ok(None) };
    match [Kind::Local, Kind::Kafka].into_iter().find(|kind| kind.word() == text.trim()) {
        Some(kind) => Ok(Some(kind)),
        None => Err(Error::Kind { path, found: found(&text) }),
    }
}

/// `None`: there is no such file.
fn text_of(path: &Path) -> Result<Option<String>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { path: path.to_owned(), source }),
    }
}

/// What a file holds, in a message: its beginning.
fn found(text: &str) -> String {
    match text.trim() {
        "" => "is empty".to_owned(),
        text => format!("holds {:?}", text.chars().take(40).collect::<String>()),
    }
}

fn check_layout(dir: &Path) -> Result<(), Error> {
    let foreign = || Error::Foreign { dir: dir.to_owned() };
    let path = dir.join("version");
    match text_of(&path)? {
        Some(text) => match text.trim().parse::<u32>() {
            Ok(found) if found > LAYOUT => Err(Error::Newer { dir: dir.to_owned(), found }),
            Ok(1..) => Ok(()),
            _ => Err(Error::Version { path, found: found(&text), allowed: LAYOUT }),
        },
        None => {
            let mut entries =
                fs::read_dir(dir).map_err(|source| Error::Io { path: dir.to_owned(), source })?;
            // Another process may be making it at this moment: it begins with the lock.
            let other = entries.any(|entry| {
                entry.is_ok_and(|entry| {
                    !matches!(
                        entry.file_name().to_str(),
                        Some("lock" | "version" | "version.new" | "log")
                    )
                })
            });
            if other { Err(foreign()) } else { Ok(()) }
        }
    }
}

/// A user that may do everything could open a folder of another user, and would leave files in it
/// that this one cannot use any more.
fn check_owner(dir: &Path, ours: u32) -> Result<(), Error> {
    let Ok(version) = fs::metadata(dir.join("version")) else { return Ok(()) };
    let found = version.uid();
    if found == ours { Ok(()) } else { Err(Error::OtherOwner { dir: dir.to_owned(), found, ours }) }
}

/// The data in it belong to this process's user; the server's user passes through the folder above.
fn private(dir: &Path) -> io::Result<()> {
    create_folder(dir, 0o700)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
}

fn note_holder(mut lock: &File) -> io::Result<()> {
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())
}

fn holder(path: &Path) -> String {
    let pid = fs::read_to_string(path).unwrap_or_default();
    pid.trim().parse::<u32>().map_or_else(|_| String::new(), |pid| format!(" (process {pid})"))
}

#[cfg(test)]
#[path = "../../../tests/support/documented.rs"]
mod documented;

#[cfg(test)]
mod tests {
    use super::{documented::Row, *};

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            Self(
                std::env::temp_dir()
                    .join(format!("highwater-folder-{name}-{}", std::process::id())),
            )
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn one_process_at_a_time_and_again_after_it() -> Result<(), Error> {
        let scratch = Scratch::new("lock");
        let first = Folder::open(&scratch.0)?;
        let second = Folder::open(&scratch.0);
        let by = format!("(process {})", std::process::id());
        assert!(second.as_ref().is_err_and(|error| error.to_string().contains(&by)), "{second:?}");
        drop(first);
        Folder::open(&scratch.0).map(|_| ())
    }

    #[test]
    fn a_database_belongs_to_the_log_that_it_was_made_from()
    -> Result<(), Box<dyn std::error::Error>> {
        for (kind, other) in [(Kind::Kafka, Kind::Local), (Kind::Local, Kind::Kafka)] {
            let scratch = Scratch::new(kind.word());
            let folder = Folder::open(&scratch.0)?;
            folder.keep_to(kind)?;
            folder.keep_to(kind)?;
            assert_eq!(kind_of(&scratch.0)?, Some(kind));
            let refused =
                folder.keep_to(other).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(refused.contains("--data") && refused.contains("--database-url"), "{refused}");
        }
        // One that was made before that was written down.
        let scratch = Scratch::new("older");
        let folder = Folder::open(&scratch.0)?;
        fs::write(folder.log().join("journal"), "")?;
        fs::create_dir(folder.postgres())?;
        assert!(matches!(folder.keep_to(Kind::Kafka), Err(Error::OtherLog { .. })));
        folder.keep_to(Kind::Local)?;
        Ok(())
    }

    #[test]
    fn a_note_that_was_emptied_is_named_with_what_it_may_hold()
    -> Result<(), Box<dyn std::error::Error>> {
        let scratch = Scratch::new("emptied");
        Folder::open(&scratch.0)?.keep_to(Kind::Kafka)?;
        for (name, allowed) in [("version", "layout, 1:"), (KIND, "`local` or `kafka`")] {
            let path = scratch.0.join(name);
            let kept = fs::read(&path)?;
            for (text, found) in
                [(&b""[..], "is empty"), (b"0x\n", "holds \"0x\""), (b"\xff", "holds")]
            {
                fs::write(&path, text)?;
                let refused =
                    Folder::open(&scratch.0).and_then(|folder| folder.keep_to(Kind::Kafka)).err();
                let said = refused.map(|error| error.to_string()).unwrap_or_default();
                assert!(
                    said.contains(&format!("{name} {found}")) && said.contains(allowed),
                    "{said}"
                );
                assert_eq!(fs::read(&path)?, text, "nothing was changed");
            }
            fs::write(&path, kept)?;
        }
        fs::write(scratch.0.join("version"), "0\n")?;
        assert!(matches!(Folder::open(&scratch.0), Err(Error::Version { .. })));
        Ok(())
    }

    #[test]
    fn a_folder_of_a_newer_release_is_refused() -> Result<(), Box<dyn std::error::Error>> {
        let scratch = Scratch::new("newer");
        drop(Folder::open(&scratch.0)?);
        fs::write(scratch.0.join("version"), "2\n")?;
        assert!(matches!(Folder::open(&scratch.0), Err(Error::Newer { found: 2, .. })));
        Ok(())
    }

    /// Everything that is in it, with owners, permissions and content.
    fn everything(dir: &Path, found: &mut Vec<String>) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let (path, metadata) = entry.map(|entry| (entry.path(), entry.metadata()))?;
            let metadata = metadata?;
            let content =
                if metadata.is_dir() { String::new() } else { fs::read_to_string(&path)? };
            found.push(format!(
                "{} {} {:o} {content}",
                path.display(),
                metadata.uid(),
                metadata.permissions().mode()
            ));
            if metadata.is_dir() {
                everything(&path, found)?;
            }
        }
        found.sort();
        Ok(())
    }

    #[test]
    fn a_folder_of_another_user_is_left_as_it_is() -> Result<(), Box<dyn std::error::Error>> {
        let scratch = Scratch::new("other");
        drop(Folder::open(&scratch.0)?);
        fs::write(scratch.0.join("lock"), "1\n")?;
        let ours = own_uid()?;
        let refused = if ours == 0 {
            for path in [
                scratch.0.clone(),
                scratch.0.join("version"),
                scratch.0.join("lock"),
                scratch.0.join("log"),
            ] {
                std::os::unix::fs::chown(path, Some(65_534), Some(65_534))?;
            }
            let (mut before, mut after) = (Vec::new(), Vec::new());
            everything(&scratch.0, &mut before)?;
            let refused = Folder::open(&scratch.0).map(|_| ());
            everything(&scratch.0, &mut after)?;
            assert_eq!(before, after);
            refused
        } else {
            // As root would find it.
            check_owner(&scratch.0, 0)
        };
        let said = refused.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said.contains("belongs to user") && said.contains("nothing was changed"), "{said}");
        Row {
            id: "P8",
            situation: "root opens the data folder of another user (`sudo up`)",
            answer: "refused, naming both users; nothing in the folder is changed, and its owner \
                     goes on using it",
            test: (file!(), "a_folder_of_another_user_is_left_as_it_is"),
        }
        .check();
        Ok(())
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() -> Result<(), Box<dyn std::error::Error>> {
        let scratch = Scratch::new("foreign");
        fs::create_dir_all(&scratch.0)?;
        fs::write(scratch.0.join("thesis.tex"), "")?;
        assert!(matches!(Folder::open(&scratch.0), Err(Error::Foreign { .. })));
        assert_eq!(fs::read_dir(&scratch.0)?.count(), 1);
        Ok(())
    }
}
