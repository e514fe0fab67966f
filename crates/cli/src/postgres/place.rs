//! Where the data of a private server lies, and whose it is. Looks before it changes anything: a
//! folder of another user stays as it is, and a copy of a data folder does not get the database of
//! the original.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use highwater_log::local::durable::replace_file;

use super::{Error, account::Account, random_hex};

/// In a folder below the fallback: whose database it is.
const OWNER: &str = "folder";

/// Where the data of `dir` lies: there, or, when the server's account cannot enter it, below
/// `fallback`, as `dir/location` says.
pub(super) fn place(dir: &Path, account: &Account, fallback: &Path) -> Result<PathBuf, Error> {
    if let Some(target) = moved_to(dir) {
        if !target.is_dir() {
            return Err(Error::DataGone { dir: dir.to_owned(), target });
        }
        claim(dir, &target)?;
        return Ok(target);
    }
    refuse_foreign(dir, account)?;
    make_plain(dir)?;
    // The data folder above is ours to pass through, and those above it are not ours to change.
    let above = dir
        .parent()
        .filter(|above| above.is_absolute())
        .map_or_else(|| fs::canonicalize(dir.join("..")), fs::canonicalize);
    let above = above.map_err(|source| Error::Io { path: dir.to_owned(), source })?;
    if account.can_pass(&above)? {
        return make(dir, account);
    }
    let no_place = || Error::NoPlace {
        user: account.name(),
        wanted: dir.to_owned(),
        fallback: fallback.to_owned(),
    };
    let target = make(&fallback.join(format!("postgres-{}", random_hex(8)?)), account)
        .map_err(|_| no_place())?;
    if !account.can_use(&target)? {
        let _ = fs::remove_dir(&target);
        return Err(no_place());
    }
    FolderNote::of(dir, &target)?.write(&target)?;
    let note = dir.join("location");
    replace_file(&note, target.as_os_str().as_encoded_bytes())
        .map_err(|source| Error::Io { path: note, source })?;
    tracing::warn!(
        "user `{}` cannot enter {}, so the private Postgres keeps its data in {}",
        account.name(),
        dir.display(),
        target.display()
    );
    Ok(target)
}

pub(super) fn moved_to(dir: &Path) -> Option<PathBuf> {
    fs::read_to_string(dir.join("location")).ok().map(|text| PathBuf::from(text.trim()))
}

/// Makes `path` belong to the account.
pub(super) fn give(path: &Path, account: &Account) -> Result<(), Error> {
    let Some((uid, gid)) = account.owner() else { return Ok(()) };
    chown(path, Some(uid), Some(gid)).map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// Data that is there already belongs to the account, or nothing is touched.
fn refuse_foreign(dir: &Path, account: &Account) -> Result<(), Error> {
    let cluster = dir.join("cluster");
    let found = match fs::metadata(&cluster) {
        Ok(found) => found.uid(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::Io { path: cluster, source }),
    };
    let wanted = account.uid()?;
    if found == wanted { Ok(()) } else { Err(Error::OtherOwner { dir: cluster, found, wanted }) }
}

/// Of this process, so that a note can be left in it in any case.
fn make_plain(dir: &Path) -> Result<(), Error> {
    let fail = |source| Error::Io { path: dir.to_owned(), source };
    if dir.is_dir() {
        return Ok(());
    }
    dir.parent().map_or(Ok(()), fs::create_dir_all).map_err(fail)?;
    fs::DirBuilder::new().mode(0o700).create(dir).map_err(fail)
}

fn make(dir: &Path, account: &Account) -> Result<PathBuf, Error> {
    let fail = |source| Error::Io { path: dir.to_owned(), source };
    fs::create_dir_all(dir).map_err(fail)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(fail)?;
    give(dir, account)?;
    fs::canonicalize(dir).map_err(fail)
}

/// What a database below the fallback says about the folder that it belongs to. A folder keeps its
/// number when it is renamed; a copy has another one.
#[derive(Debug, PartialEq, Eq)]
struct FolderNote {
    folder: (u64, u64),
    target: (u64, u64),
    path: PathBuf,
}

impl FolderNote {
    fn of(dir: &Path, target: &Path) -> Result<Self, Error> {
        let path =
            fs::canonicalize(dir).map_err(|source| Error::Io { path: dir.to_owned(), source })?;
        Ok(Self { folder: number(dir)?, target: number(target)?, path })
    }

    /// `None`: a release before this one made it.
    fn read(target: &Path) -> Result<Option<Self>, Error> {
        let path = target.join(OWNER);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Io { path, source }),
        };
        let unreadable = || Error::Io {
            path: path.clone(),
            source: io::Error::new(ErrorKind::InvalidData, "not a note of a folder"),
        };
        let (numbers, path) = text.trim_end().split_once('\n').ok_or_else(unreadable)?;
        let numbers: Vec<u64> =
            numbers.split(' ').map_while(|number| number.parse().ok()).collect();
        let [a, b, c, d] = numbers[..] else { return Err(unreadable()) };
        Ok(Some(Self { folder: (a, b), target: (c, d), path: PathBuf::from(path) }))
    }

    fn write(&self, target: &Path) -> Result<(), Error> {
        let Self { folder, target: number, path } = self;
        let text =
            format!("{} {} {} {}\n{}\n", folder.0, folder.1, number.0, number.1, path.display());
        let note = target.join(OWNER);
        replace_file(&note, text.as_bytes()).map_err(|source| Error::Io { path: note, source })
    }
}

/// Makes sure that the database in `target` is that of `dir`, and of no folder that `dir` is a copy
/// of.
fn claim(dir: &Path, target: &Path) -> Result<(), Error> {
    let ours = FolderNote::of(dir, target)?;
    if let Some(noted) = FolderNote::read(target)? {
        if noted == ours {
            return Ok(());
        }
        // Where the database was copied as well, the note in it is the original's.
        let is_original = noted.target == ours.target && noted.folder != ours.folder;
        if is_original && number(&noted.path).is_ok_and(|found| found == noted.folder) {
            return Err(Error::Copy {
                dir: dir.to_owned(),
                target: target.to_owned(),
                original: noted.path,
            });
        }
    }
    ours.write(target)
}

/// Device and inode.
fn number(path: &Path) -> Result<(u64, u64), Error> {
    let found = fs::metadata(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    Ok((found.dev(), found.ino()))
}
