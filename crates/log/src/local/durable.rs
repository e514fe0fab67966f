//! Names that are still there after a power cut: a file system may keep what was synced and nothing
//! else, and a name lies in its folder.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, ErrorKind, Write},
    os::unix::fs::DirBuilderExt,
    path::Path,
};

/// With every folder above it that is missing, all with the permissions `mode` (before the umask).
/// One that is there already is synced into its parent as well: another process may have made it a
/// moment ago.
///
/// # Errors
///
/// What the file system says.
pub fn create_folder(folder: &Path, mode: u32) -> io::Result<()> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let above = 1 + folder.ancestors().skip(1).take_while(is_missing).count();
    DirBuilder::new().recursive(true).mode(mode).create(folder)?;
    folder.ancestors().skip(1).take(above).try_for_each(|parent| match sync_folder(parent) {
        // It may be entered and not listed, or is not ours: the user that made it has to keep it.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    })
}

/// That what lies in it lies there.
///
/// # Errors
///
/// What the file system says.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    let here = Path::new(".");
    File::open(if folder.as_os_str().is_empty() { here } else { folder })?.sync_all()
}

/// Makes or replaces a file that is either as it was or as it will be, by way of another beside it
/// whose name ends in `.new`.
///
/// # Errors
///
/// What the file system says.
pub fn replace_file(file: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let mut unfinished = File::create(&name)?;
    unfinished.write_all(content)?;
    unfinished.sync_all()?;
    fs::rename(&name, file)?;
    file.parent().map_or(Ok(()), sync_folder)
}
