//! A Postgres of one test, which the test stops and starts again. Removed with the test, however it
//! ends.

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use sqlx::postgres::PgConnectOptions;

use crate::postgres;

/// Obeys `start` and `stop` line by line, and answers each; stops and removes everything when its
/// input ends. As user `postgres` where Postgres refuses to be started by root.
const OBEY: &str = r#"
dir=$1 bin=$2 room=$3 as=""
if [ "$(id -u)" = 0 ]; then
    chown postgres: "$dir"; chmod 755 "$dir"; as="runuser -u postgres --"
fi
cd "$dir"
$as "$bin/initdb" -D "$dir/db" -U highwater -A trust --no-sync -E UTF8 --locale=C \
    >"$dir/initdb.log" 2>&1
start() {
    $as "$bin/pg_ctl" -D "$dir/db" -l "$dir/log" -w -o "-c listen_addresses= \
        -c unix_socket_directories=$dir -c fsync=off -c max_connections=$room \
        -c superuser_reserved_connections=0 -p 5432" start
}
stop() { $as "$bin/pg_ctl" -D "$dir/db" -m fast -w stop; }
while IFS= read -r line; do $line >/dev/null 2>&1 </dev/null; echo "$line $?"; done
stop >/dev/null 2>&1
cd /
rm -rf "$dir"
"#;

pub struct Server {
    child: Child,
    input: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    folder: PathBuf,
}

impl Server {
    /// Running.
    pub fn start(test: &str) -> Self {
        Self::with_room(test, 100)
    }

    /// With room for so many connections, and none beyond for a superuser.
    pub fn with_room(test: &str, connections: u32) -> Self {
        let folder = std::env::temp_dir()
            .join(format!("highwater-own-postgres-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for the server");
        let mut shell = Command::new("sh");
        shell
            .args(["-c", OBEY, "own-postgres"])
            .arg(&folder)
            .arg(postgres::binaries())
            .arg(connections.to_string());
        let mut child = shell
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let answers = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut server = Self { input: child.stdin.take(), answers, folder, child };
        server.tell("start");
        server
    }

    pub fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new()
            .socket(&self.folder)
            .port(5432)
            .username("highwater")
            .database("postgres")
    }

    /// `start` or `stop`; returns when it is done.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.input.as_mut().expect("open until it is dropped"), "{line}")
            .expect("it listens");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("it answers");
        assert_eq!(answer.trim(), format!("{line} 0"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        // It ends when its input does.
        let _ = self.child.wait();
    }
}
