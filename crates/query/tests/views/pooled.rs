//! Behind `PgBouncer` in session mode, with its defaults. Needs the package `pgbouncer`
//! (`bin/setup` installs it).

use std::{
    io::Write,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use axum::http::StatusCode;
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::time::Instant;

use crate::{
    answers::position,
    documented::Row,
    own_server::Server,
    served::{Served, VOUCHER},
};

/// Starts `$2` with the file in folder `$1`, not as root; ends it and removes the folder when its
/// input ends.
const KEEP: &str = r#"
dir=$1 program=$2 as=""
if [ "$(id -u)" = 0 ]; then
    chown -R postgres: "$dir"; chmod 755 "$dir"; as="runuser -u postgres --"
fi
cd /
$as "$program" "$dir/ini" >/dev/null 2>&1 </dev/null &
while IFS= read -r line; do :; done
kill "$(cat "$dir/pid")" 2>/dev/null
rm -rf "$dir"
"#;

struct Bouncer {
    child: Child,
    port: u16,
}

impl Bouncer {
    async fn before(server: &Server) -> Self {
        let programs = [
            "/usr/sbin/pgbouncer",
            "/usr/bin/pgbouncer",
            "/usr/local/bin/pgbouncer",
            "/opt/homebrew/bin/pgbouncer",
        ];
        let program = programs
            .into_iter()
            .find(|path| PathBuf::from(path).exists())
            .expect("pgbouncer is installed: see bin/setup");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let folder = std::env::temp_dir().join(format!("highwater-bouncer-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let (options, dir) = (server.options(), folder.display());
        let socket = options.get_socket().expect("it listens on a socket").display();
        let ini = format!(
            "[databases]\npostgres = host={socket} port=5432 \
             dbname=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {dir}/users\npidfile = \
             {dir}/pid\npool_mode = session\n"
        );
        std::fs::write(folder.join("ini"), ini).expect("settings");
        std::fs::File::create(folder.join("users"))
            .and_then(|mut users| users.write_all(b"\"highwater\" \"\"\n"))
            .expect("users");
        let mut shell = Command::new("sh");
        shell.args(["-c", KEEP, "bouncer"]).arg(&folder).arg(program);
        let child = shell
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let bouncer = Self { child, port };
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Err(error) = PgConnection::connect_with(&bouncer.options()).await {
            assert!(Instant::now() < deadline, "{error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bouncer
    }

    fn options(&self) -> PgConnectOptions {
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username("highwater");
        options
            .database("postgres")
            .ssl_mode(sqlx::postgres::PgSslMode::Disable)
            .extra_float_digits(None)
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn behind_pgbouncer_in_session_mode_everything_works() {
    let server = Server::start("pooled");
    let bouncer = Bouncer::before(&server).await;
    let served = Served::on(bouncer.options(), &[]).await;
    for _ in 0..20 {
        assert_eq!(served.get("/v1/vouchers", &[]).await.status, StatusCode::OK);
        assert_eq!(
            served.get(&format!("/v1/vouchers/{VOUCHER}"), &[]).await.status,
            StatusCode::OK
        );
    }
    let mut reader = served.reader.acquire().await.expect("a connection");
    let role: String = sqlx::query_scalar("SELECT current_user::text")
        .fetch_one(&mut *reader)
        .await
        .expect("a role");
    assert_eq!(role, "highwater_reader");
    // Notifications come through: the wait is longer than the test allows otherwise.
    let wanted = position("voucher", VOUCHER, 43);
    let asked = [("highwater-min-position", wanted.as_str()), ("prefer", "wait=20")];
    let (path, change) = (format!("/v1/vouchers/{VOUCHER}"), "UPDATE vouchers SET version = 3");
    let (answer, ()) = tokio::join!(served.get(&path, &asked), served.project(change, 43, true));
    assert_eq!((answer.status, &answer.body["version"]), (StatusCode::OK, &serde_json::json!(3)));
    // What a session of ours was set to is not there for the next client.
    drop(reader);
    served.owner.close().await;
    let mut other = PgConnection::connect_with(&bouncer.options()).await.expect("a connection");
    let role: String = sqlx::query_scalar("SELECT current_user::text")
        .fetch_one(&mut other)
        .await
        .expect("a role");
    assert_eq!(role, "highwater");
    other.close().await.expect("it closes");
    Row {
        id: "P5",
        situation: "PgBouncer in session mode, with its defaults, between a service and Postgres",
        answer: "works: nothing is sent at the start of a connection that it does not know, \
                 notifications and statements come through",
        test: (file!(), "behind_pgbouncer_in_session_mode_everything_works"),
    }
    .check();
}
