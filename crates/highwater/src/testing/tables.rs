//! The tables of an application in a temporary database.

use highwater_cli::postgres::PrivatePostgres;
use highwater_tables::migrations::{self, Application};
use sqlx::{Connection, PgConnection};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no threads can be started: {0}")]
    Threads(#[from] std::io::Error),
    #[error("no temporary Postgres: {0}")]
    Postgres(#[from] highwater_cli::postgres::Error),
    #[error(transparent)]
    Migrations(#[from] migrations::Error),
    #[error("the temporary Postgres: {0}")]
    Database(#[from] sqlx::Error),
}

/// Whether they are what the rows say.
pub fn fit(application: &Application) -> Result<(), Error> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let server = PrivatePostgres::temporary().await?;
        let mut connection = PgConnection::connect(&server.url()).await?;
        migrations::migrate(&mut connection, Some(application)).await?;
        migrations::check_with_rows(&mut connection, Some(application)).await?;
        connection.close().await?;
        Ok(server.stop().await?)
    })
}
