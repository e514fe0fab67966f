//! The configuration of `up`: the file, the environment, and what the flags mean in it.

use std::{
    io::{self, IsTerminal},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use highwater_command::settings::OwnerSettings;
use highwater_http::server::HttpSettings;
use highwater_log::LogSettings;
use highwater_projection::settings::ProjectorSettings;
use highwater_query::settings::{ListSettings, QuerySettings};
use highwater_runtime::{
    config::{Config, Error},
    process,
    start::StartSettings,
    telemetry::{Format, TelemetrySettings},
};
use serde::Deserialize;

use super::Options;
use crate::postgres;

/// What the embedded parts say of themselves is of no use to those who run them, nor is a line for
/// each partition that this process, with all others, owns from its start on.
const QUIET_FILTER: &str = "info,fjall=warn,lsm_tree=warn,sqlx::postgres::notice=warn,\
                            highwater_command::owner::actor::effects=warn";

/// Which database is used.
pub(super) enum DatabaseChoice {
    /// By the flag, or by `HIGHWATER_DATABASE_URL`: one for all.
    Once(String),
    /// By the settings of each service; this is the one that projectors write to.
    InSettings(String),
    /// By nothing: the private one.
    Private,
}

/// Where the services have their databases from. The second is where the tables are made.
pub(super) const DATABASES: [&str; 3] =
    ["owner.database.url", "projector.database.url", "query.database.url"];

pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) http: HttpSettings,
    pub(super) telemetry: TelemetrySettings,
    pub(super) log: LogSettings,
    pub(super) start: StartSettings,
    pub(super) up: UpSettings,
    identity: IdentitySettings,
}

/// Section `identity`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct IdentitySettings {
    keys: PathBuf,
}

/// Section `up`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct UpSettings {
    /// How long open work may take after the first signal.
    drain_limit_ms: u64,
    /// How long the log may take to close after that.
    close_limit_ms: u64,
    postgres: PostgresSettings,
}

/// `up.postgres`: the private server.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PostgresSettings {
    /// How long the server may take to answer after its start, recovery included.
    start_limit_ms: u64,
    /// How long a clean stop may take.
    stop_limit_ms: u64,
    max_connections: u16,
    shared_buffers_mib: u32,
    /// Where the data goes when the server's user cannot enter the data folder (only as root).
    fallback_folder: PathBuf,
}

impl Settings {
    /// `found`: settings that are known only once something was started. They win over the file and
    /// the environment, as flags do.
    pub(super) fn load(
        options: &Options,
        found: Vec<(String, String)>,
    ) -> Result<Self, Box<Error>> {
        let mut flags = flags(options);
        flags.extend(found);
        let default = Path::new(process::DEFAULT_FILE);
        let file = options.config.as_deref().or_else(|| default.exists().then_some(default));
        let config = Config::load(file, flags)?;
        config.refuse_unknown(&process::SECTIONS)?;
        let mut telemetry: TelemetrySettings = config.section("telemetry")?;
        let given = config.redacted();
        if !given.contains_key("telemetry.format") && io::stderr().is_terminal() {
            telemetry.format = Format::Text;
        }
        if !given.contains_key("telemetry.filter") {
            telemetry.filter = QUIET_FILTER.to_owned();
        }
        Ok(Self {
            http: config.section("http")?,
            log: config.section("log")?,
            start: config.section("start")?,
            up: config.section("up")?,
            identity: config.section("identity")?,
            telemetry,
            config,
        })
    }

    /// The file of the deployment keys that the file or the environment names.
    pub(super) fn keys(&self) -> Option<&Path> {
        Some(self.identity.keys.as_path()).filter(|path| !path.as_os_str().is_empty())
    }

    /// Which database is used: the flag's, or those of the settings, which name all three or none.
    pub(super) fn database(&self, options: &Options) -> Result<DatabaseChoice, Box<super::Error>> {
        let given = self.config.redacted();
        let (given, missing): (Vec<_>, Vec<_>) =
            DATABASES.into_iter().partition(|key| given.contains_key(*key));
        let urls = databases(&self.config).map_err(super::Error::from)?;
        if let Some(url) = &options.database_url {
            let others: Vec<_> = given
                .into_iter()
                .filter(|key| urls.iter().any(|(of, set)| of == key && set != url))
                .collect();
            if !others.is_empty() {
                tracing::warn!("--database-url goes before {}", others.join(", "));
            }
            return Ok(DatabaseChoice::Once(url.clone()));
        }
        let [_, (_, made), _] = urls;
        match (given.is_empty(), missing.is_empty()) {
            (true, _) => Ok(DatabaseChoice::Private),
            (false, true) => Ok(DatabaseChoice::InSettings(made)),
            (false, false) => Err(super::Error::SomeDatabases {
                given: given.join(", "),
                missing: missing.join(", "),
            }
            .into()),
        }
    }

    /// For a database on the processors of this process, unless it is given: with about as many
    /// lists at once as there are processors, what else happens waits for no more than them. One
    /// more, because one address has three quarters of them.
    pub(super) fn lists_at_once(&self) -> Option<(String, String)> {
        const KEY: &str = "query.lists.limit";
        if self.config.redacted().contains_key(KEY) {
            return None;
        }
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Some((
            KEY.to_owned(),
            (processors + 1)
                .min(usize::try_from(ListSettings::default().limit).unwrap_or(1))
                .to_string(),
        ))
    }
}

/// Of each service: key and URL.
fn databases(config: &Config) -> Result<[(&'static str, String); 3], Box<Error>> {
    let [owner, projector, query] = DATABASES;
    Ok([
        (owner, config.section::<OwnerSettings>("owner")?.database.url),
        (projector, config.section::<ProjectorSettings>("projector")?.database.url),
        (query, config.section::<QuerySettings>("query")?.database.url),
    ])
}

/// The database where projectors make the tables, if the file or the environment names it, with the
/// key that does.
pub(crate) fn database_in_settings(
    config: &Config,
) -> Result<Option<(String, &'static str)>, Box<Error>> {
    let [_, (key, url), _] = databases(config)?;
    Ok(config.redacted().contains_key(key).then_some((url, key)))
}

/// How the settings have the private server run, for those who start it to look into it.
pub(crate) fn postgres_settings(config: &Config) -> Result<postgres::Settings, Box<Error>> {
    Ok(config.section::<UpSettings>("up")?.postgres())
}

fn flags(options: &Options) -> Vec<(String, String)> {
    let mut flags = Vec::new();
    let mut set = |key: &str, value: String| flags.push((key.to_owned(), value));
    if let Some(listen) = options.listen {
        set("http.listen", listen.to_string());
    }
    if let Some(kafka) = &options.kafka {
        set("log.kafka", kafka.clone());
    }
    if options.development {
        set("log.development", "true".to_owned());
    }
    if options.insecure {
        set("http.insecure", "true".to_owned());
    }
    flags
}

impl UpSettings {
    pub(super) fn drain_limit(&self) -> Duration {
        Duration::from_millis(self.drain_limit_ms)
    }

    pub(super) fn close_limit(&self) -> Duration {
        Duration::from_millis(self.close_limit_ms)
    }

    pub(super) fn postgres(&self) -> postgres::Settings {
        let given = &self.postgres;
        postgres::Settings {
            start_limit: Duration::from_millis(given.start_limit_ms),
            stop_limit: Duration::from_millis(given.stop_limit_ms),
            max_connections: given.max_connections,
            shared_buffers_mib: given.shared_buffers_mib,
            fallback: given.fallback_folder.clone(),
        }
    }
}

impl Default for UpSettings {
    fn default() -> Self {
        Self {
            drain_limit_ms: 20_000,
            close_limit_ms: 10_000,
            postgres: PostgresSettings::default(),
        }
    }
}

impl Default for PostgresSettings {
    fn default() -> Self {
        let postgres::Settings {
            start_limit,
            stop_limit,
            max_connections,
            shared_buffers_mib,
            fallback,
        } = postgres::Settings::default();
        let millis = |limit: Duration| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        Self {
            start_limit_ms: millis(start_limit),
            stop_limit_ms: millis(stop_limit),
            max_connections,
            shared_buffers_mib,
            fallback_folder: fallback,
        }
    }
}

#[cfg(test)]
mod composed;
#[cfg(test)]
mod derived;
#[cfg(test)]
mod documented;
