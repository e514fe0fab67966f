//! Where initdb, pg_ctl and postgres are: in PATH, or in the folders of the distributions, the
//! newest first; but the version that wrote the data, when it is there. Never installs anything.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::Error;

/// Folders with one folder a version below, and its programs in `bin`.
const VERSIONED: [&str; 4] = ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt", "/usr"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) initdb: PathBuf,
    pub(super) pg_ctl: PathBuf,
    /// As `15`.
    pub(super) major: String,
}

impl Binaries {
    /// The installed version `wanted`, else the first in PATH, else the newest.
    pub(super) fn find(wanted: Option<&str>) -> Result<Self, Error> {
        let found = candidates().iter().filter_map(|folder| Self::in_folder(folder)).collect();
        Self::choose(found, wanted)
    }

    fn choose(mut found: Vec<Self>, wanted: Option<&str>) -> Result<Self, Error> {
        let at = wanted
            .and_then(|major| found.iter().position(|binaries| binaries.major == major))
            .unwrap_or(0);
        if found.is_empty() { Err(Error::NotInstalled) } else { Ok(found.swap_remove(at)) }
    }

    fn in_folder(folder: &Path) -> Option<Self> {
        let (initdb, pg_ctl, postgres) =
            (folder.join("initdb"), folder.join("pg_ctl"), folder.join("postgres"));
        if !(initdb.is_file() && pg_ctl.is_file() && postgres.is_file()) {
            return None;
        }
        let output = Command::new(postgres).arg("--version").output().ok()?;
        Some(Self { initdb, pg_ctl, major: major(&String::from_utf8_lossy(&output.stdout))? })
    }
}

/// The first program of this name in PATH.
pub(super) fn in_path(program: &str) -> Option<PathBuf> {
    path_folders().map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn path_folders() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).collect::<Vec<_>>().into_iter()
}

fn candidates() -> Vec<PathBuf> {
    let mut versioned: Vec<PathBuf> = VERSIONED
        .iter()
        .filter_map(|root| fs::read_dir(root).ok())
        .flat_map(|entries| entries.filter_map(Result::ok))
        .filter(|entry| version_in(&entry.file_name().to_string_lossy()).is_some())
        .map(|entry| entry.path())
        .collect();
    versioned.sort_by_key(|path| {
        std::cmp::Reverse(path.file_name().and_then(|name| version_in(&name.to_string_lossy())))
    });
    path_folders().chain(versioned.into_iter().map(|path| path.join("bin"))).collect()
}

/// `17`, `postgresql@17`, `pgsql-17`: 17.
fn version_in(folder: &str) -> Option<u32> {
    let digits = folder
        .strip_prefix("postgresql@")
        .or_else(|| folder.strip_prefix("pgsql-"))
        .unwrap_or(folder);
    digits.parse().ok()
}

/// `postgres (PostgreSQL) 15.18 (Debian ...)`: 15.
fn major(version: &str) -> Option<String> {
    let number =
        version.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    Some(number.chars().take_while(char::is_ascii_digit).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_major_version_of_releases_and_betas() {
        assert_eq!(
            major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n").as_deref(),
            Some("15")
        );
        assert_eq!(major("postgres (PostgreSQL) 18beta1").as_deref(), Some("18"));
        assert_eq!(major("nothing"), None);
    }

    #[test]
    fn chooses_what_wrote_the_data_else_the_first_found() -> Result<(), Error> {
        let version = |major: &str| Binaries {
            initdb: PathBuf::new(),
            pg_ctl: PathBuf::new(),
            major: major.to_owned(),
        };
        let found = || vec![version("17"), version("15")];
        assert_eq!(Binaries::choose(found(), None)?.major, "17");
        assert_eq!(Binaries::choose(found(), Some("15"))?.major, "15");
        assert_eq!(Binaries::choose(found(), Some("9"))?.major, "17");
        let missing = Binaries::choose(Vec::new(), None)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(
            missing.contains("apt-get install postgresql") && missing.contains("--database-url"),
            "{missing}"
        );
        Ok(())
    }

    #[test]
    fn knows_the_folders_of_the_distributions() {
        assert_eq!(
            [
                version_in("15"),
                version_in("postgresql@17"),
                version_in("pgsql-16"),
                version_in("lib")
            ],
            [Some(15), Some(17), Some(16), None]
        );
    }
}
