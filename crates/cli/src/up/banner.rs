//! What a person reads when all is up: where to go, what is embedded and where, how durable it is,
//! what to try. Never a password.

use std::{fmt, net::SocketAddr, path::Path};

use super::{database::Database, settings::Settings};
use crate::{application::FirstCommand, folder::Folder};

pub(super) struct Banner {
    application: &'static str,
    url: String,
    lines: Vec<(&'static str, String)>,
    first_command: Option<String>,
}

impl Banner {
    pub(super) fn new(
        application: &'static str,
        address: SocketAddr,
        settings: &Settings,
        folder: &Folder,
        keys: &Path,
        database: &Database,
    ) -> Self {
        // 0.0.0.0 listens everywhere, and is no address to go to.
        let host = if address.ip().is_unspecified() {
            "127.0.0.1".to_owned()
        } else {
            address.ip().to_string()
        };
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let url = format!("http://{host}:{}", address.port());
        let lines = vec![
            (
                "HTTP",
                format!("{url}/v1 (commands by POST, queries by GET), {url}/readyz, {url}/metrics"),
            ),
            ("Log", log(settings, folder)),
            ("Database", of_database(database)),
            ("Keys", format!("{} (keep this file: ids in the log come from it)", keys.display())),
            ("Access", access(settings).to_owned()),
            ("Stop", "Ctrl-C or SIGTERM; everything is there again at the next start".to_owned()),
        ];
        Self { application, url, lines, first_command: None }
    }

    /// Shows a first command, which is made from the URL.
    pub(super) fn try_first(&mut self, command: Option<&FirstCommand>) {
        self.first_command = command.map(|command| command(&self.url));
    }
}

fn log(settings: &Settings, folder: &Folder) -> String {
    let kafka = &settings.log.kafka;
    if settings.log.is_local() {
        format!(
            "embedded, in {}; every answer is fsynced to this disk, the only copy",
            folder.log().display()
        )
    } else if settings.log.development {
        format!("Kafka at {kafka}, for development: what a single broker loses is lost")
    } else {
        format!("Kafka at {kafka}; every answer is on at least two brokers")
    }
}

fn of_database(database: &Database) -> String {
    match database.private() {
        Some(private) => format!(
            "embedded Postgres on 127.0.0.1:{}, in {}{}; follows the log, a crash loses nothing \
             that the log has",
            private.port(),
            private.dir().display(),
            if private.adopted() { " (still running from before)" } else { "" }
        ),
        None => format!("the Postgres named by {}; follows the log", database.named_by()),
    }
}

fn access(settings: &Settings) -> &'static str {
    if settings.http.listen.ip().to_canonical().is_loopback() {
        "from this machine only; every caller is anonymous"
    } else {
        "FROM OTHER MACHINES, without authentication: every caller is anonymous (--insecure)"
    }
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, version) = (self.application, env!("CARGO_PKG_VERSION"));
        writeln!(f, "\n{name} is ready, on Highwater {version}.\n")?;
        for (name, text) in &self.lines {
            writeln!(f, "  {name:<9} {text}")?;
        }
        match &self.first_command {
            Some(command) => writeln!(f, "\nTry:\n  {command}"),
            None => Ok(()),
        }
    }
}
