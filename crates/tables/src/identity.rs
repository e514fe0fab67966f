//! `database_identity`: who the database is. It names the consumer group and stands in the owners
//! topic, so that no two databases are projected into as one.

use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

/// The identity that the first migration wrote, or that took its place since.
pub async fn database_identity(connection: impl PgExecutor<'_>) -> Result<Uuid, sqlx::Error> {
    sqlx::query_scalar!("SELECT id FROM database_identity").fetch_one(connection).await
}

/// Gives a database into which nothing was projected yet the identity of another one. `false`:
/// something was, and nothing is changed.
pub async fn replace(connection: &mut PgConnection, identity: Uuid) -> Result<bool, sqlx::Error> {
    let replaced = sqlx::query!(
        "UPDATE database_identity SET id = $1 WHERE NOT EXISTS (SELECT FROM checkpoints)",
        identity
    );
    Ok(replaced.execute(connection).await?.rows_affected() > 0)
}
