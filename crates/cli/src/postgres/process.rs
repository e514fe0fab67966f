//! Whether a process is the server of a data folder: of this very one, whatever its path was when
//! it was started, and of no other whose path begins or ends alike.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
    process::Command,
};

/// `Err`: it could not be found out.
pub(super) fn is_postmaster(pid: u32, data: &Path) -> io::Result<bool> {
    if !Path::new("/proc/self").exists() {
        let output =
            Command::new("ps").args(["-o", "command=", "-p", &pid.to_string()]).output()?;
        return Ok(output.status.success() && names(&shown(&output.stdout), data));
    }
    let line = match fs::read(format!("/proc/{pid}/cmdline")) {
        Ok(line) => line,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    if !words.first().is_some_and(|program| program.ends_with(b"postgres")) {
        return Ok(false);
    }
    // It works in its data folder; the words name the path that this had when it was started.
    match (fs::metadata(format!("/proc/{pid}/cwd")), fs::metadata(data)) {
        (Ok(works_in), Ok(ours)) => {
            Ok((works_in.dev(), works_in.ino()) == (ours.dev(), ours.ino()))
        }
        // Not every user may look there.
        _ => Ok(names(&words, data)),
    }
}

/// Whether the command has `data` as its `-D`.
fn names(words: &[&[u8]], data: &Path) -> bool {
    words.windows(2).any(|pair| pair[0] == b"-D" && pair[1] == data.as_os_str().as_bytes())
}

/// Words as `ps` shows them: a path with a space in it comes in parts, and is not recognised.
fn shown(line: &[u8]) -> Vec<&[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_path_is_recognised() {
        let line = b"/usr/lib/postgresql/15/bin/postgres -D /staging/srv/x/data/postgres/cluster \
                     -p 5433\n";
        for (data, is) in [
            ("/staging/srv/x/data/postgres/cluster", true),
            ("/srv/x/data/postgres/cluster", false),
            ("/staging/srv/x/data/postgres", false),
            ("/staging/srv/x/data/postgres/cluster2", false),
        ] {
            assert_eq!(names(&shown(line), Path::new(data)), is, "{data}");
        }
    }
}
