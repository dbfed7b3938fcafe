//! The one connection that writes. Whoever comes next waits.

use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::Mutex;

/// Only a backup or a curious `sqlite3` can be in the way, and briefly.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The log beside the database shrinks back to this after it has grown.
const WAL_LIMIT_BYTES: &str = "16777216";

#[derive(Debug)]
pub(crate) struct Writer {
    options: SqliteConnectOptions,
    connection: Mutex<Option<SqliteConnection>>,
}

impl Writer {
    pub(crate) fn new(options: SqliteConnectOptions) -> Self {
        // Never made anew: one that was deleted would come back empty.
        let options = options
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            // In WAL mode anything less may forget the last commits at a power cut.
            .synchronous(SqliteSynchronous::Full)
            .pragma("journal_size_limit", WAL_LIMIT_BYTES);
        Self { options, connection: Mutex::default() }
    }

    /// Runs `work` on the connection. One that failed or was abandoned is not used again: SQLite has rolled back by itself at
    /// a full disk, after which sqlx takes the transaction for still open and refuses every other one.
    pub(crate) async fn with<T, E: From<sqlx::Error>>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut slot = self.connection.lock().await;
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        let value = work(&mut connection).await?;
        *slot = Some(connection);
        Ok(value)
    }

    /// The same, but only if the connection is open already: it may have what is not at its path any more.
    pub(crate) async fn with_open<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        match &mut *self.connection.lock().await {
            Some(connection) => work(connection).await,
            None => Err(sqlx::Error::PoolClosed),
        }
    }

    /// Runs `work` in a transaction that holds the right to write from its start, so that it cannot fail for it later.
    pub(crate) async fn transact<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        self.with(async |connection: &mut SqliteConnection| {
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            let value = work(&mut transaction).await?;
            transaction.commit().await?;
            Ok(value)
        })
        .await
    }

    /// Writes the log back into the database.
    pub(crate) async fn close(&self) {
        if let Some(connection) = self.connection.lock().await.take() {
            // What it had to write back stays in the log, which the next one to open reads.
            let _ = connection.close().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What killing a process cannot show: a commit waits for the disk (2 is FULL), so that it survives a power cut too.
    #[tokio::test]
    async fn a_commit_waits_for_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mainstay.db");
        std::fs::write(&path, "").unwrap();
        let writer = Writer::new(SqliteConnectOptions::new().filename(path));
        let pragmas = writer.with(async |connection: &mut SqliteConnection| {
            let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *connection).await?;
            let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(connection).await?;
            Ok::<_, sqlx::Error>((synchronous, journal))
        });
        assert_eq!(pragmas.await.unwrap(), (2, "wal".to_owned()));
    }
}
