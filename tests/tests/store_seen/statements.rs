//! The statements that command-api's role has executed, as Postgres counts them. No other process
//! in the test has that role.

use std::{collections::BTreeMap, process::Command, time::Duration};

use highwater_cli::postgres::PrivatePostgres;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How owners hear where `snapshots` stands, once in `owner.checkpoint_interval_ms` for each
/// category, whatever the commands are.
const POLL: &str = "SELECT partition, next_offset FROM checkpoints \
                    WHERE (projection, generation, category) = ($1, $2, $3)";
const CATEGORIES: i64 = 3;
/// In the statement that loads states and outcomes, and in no other.
const LOAD: &str = "FROM outcomes WHERE command_id = ANY";
const LIBRARY: &str = "pg_stat_statements";
const WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub struct Statements(PgPool);

impl Statements {
    /// The server counts statements from now on: it is started again with the library for that.
    pub async fn counted_by(postgres: &PrivatePostgres) {
        let mut connection = PgConnection::connect(&postgres.url()).await.unwrap();
        sqlx::query("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
            .execute(&mut connection)
            .await
            .unwrap();
        let notes = std::fs::read_to_string(postgres.dir().join("cluster/postmaster.pid")).unwrap();
        let pid = notes.lines().next().unwrap().trim();
        assert!(Command::new("kill").args(["-INT", pid]).status().unwrap().success());
        let stop = CancellationToken::new();
        let keeping = tokio::spawn(postgres.keeper().run(stop.clone()));
        eventually("the server counts statements", async || has_library(&postgres.url()).await)
            .await;
        stop.cancel();
        keeping.await.unwrap();
    }

    pub async fn new(pool: PgPool) -> Self {
        sqlx::query("CREATE EXTENSION pg_stat_statements").execute(&pool).await.unwrap();
        Self(pool)
    }

    /// Calls by text. A connection takes the reader's role when it is opened; what came before
    /// counts as its own.
    async fn of_command_api(&self) -> BTreeMap<String, i64> {
        let query = "SELECT query, sum(calls)::bigint FROM pg_stat_statements JOIN pg_roles ON \
                     pg_roles.oid = userid
                      WHERE rolname IN ('highwater_reader', 'highwater_commands') GROUP BY query";
        sqlx::query_as::<_, (String, i64)>(query)
            .fetch_all(&self.0)
            .await
            .unwrap()
            .into_iter()
            .collect()
    }

    pub async fn without_polls(&self) -> BTreeMap<String, i64> {
        let mut statements = self.of_command_api().await;
        assert!(statements.remove(POLL).is_some(), "there is no such poll: {statements:?}");
        statements
    }

    /// Waits until each of so many instances has asked for every category once more: they all ask
    /// equally often.
    pub async fn polled_by(&self, instances: i64) {
        let enough = self.polls().await + 2 * CATEGORIES * instances;
        eventually("the checkpoints are asked for", async || self.polls().await >= enough).await;
    }

    async fn polls(&self) -> i64 {
        self.of_command_api().await.get(POLL).copied().unwrap_or_default()
    }

    /// How often states and outcomes were looked up.
    pub async fn loads(&self) -> i64 {
        self.of_command_api()
            .await
            .into_iter()
            .filter(|(query, _)| query.contains(LOAD))
            .map(|(_, calls)| calls)
            .sum()
    }

    pub async fn loads_above(&self, loads: i64) {
        eventually("the outcome is looked up", async || self.loads().await > loads).await;
    }
}

async fn has_library(url: &str) -> bool {
    let Ok(mut connection) = PgConnection::connect(url).await else { return false };
    let loaded = sqlx::query_scalar::<_, String>("SHOW shared_preload_libraries")
        .fetch_one(&mut connection)
        .await;
    loaded.is_ok_and(|loaded| loaded == LIBRARY)
}

pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + WITHIN;
    while !holds().await {
        assert!(Instant::now() < until, "not within {WITHIN:?}: {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
