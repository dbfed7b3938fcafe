//! Opening: lock, then look whether the file is ours, whole and not newer than we are, then bring it up to date, then take the
//! next term.
//!
//! A file that fails one of these is left as it is.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, SqlSafeStr, Sqlite};

use crate::identity::{Found, Place, beside};
use crate::lock::Lock;
use crate::store::DEADLINE;
use crate::term::Leadership;
use crate::witness::Witness;
use crate::writer::{BUSY_TIMEOUT, Writer};
use crate::{Error, Store};

/// "MSTY", set by the first migration.
const APPLICATION_ID: i64 = 0x4d53_5459;

/// People read at the same time as the controller; more at once may wait.
const READERS: u32 = 4;

/// Tables that are there before the first migration has taken place are the migrator's own.
const FOREIGN_TABLES: &str = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name != '_sqlx_migrations'";

/// Read and write for the owner, nothing for others.
pub(crate) const OWNER_ONLY: u32 = 0o600;

/// SQLite's number for a file that gives space back when it is asked to.
const INCREMENTAL: i64 = 2;

/// Checking the pages of a large store on a slow disk.
const CHECK_DEADLINE: Duration = Duration::from_secs(300);

impl Store {
    /// Opens the store at `path`, makes it (and its directory) if there is none, and brings an older one up to date. Who still
    /// has it open, though the lock should have prevented that, is deposed.
    ///
    /// # Errors
    /// Each [`Error`] names the file and what to do.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        Self::open_with(path, None).await
    }

    /// The same, with a witness: a file on another machine's storage that says how far the store has come.
    ///
    /// # Errors
    /// As [`Store::open`], and if the witness can't be reached: then it is not known whether this memory is the newest.
    pub async fn open_with(path: &Path, witness: Option<&Path>) -> Result<Self, Error> {
        let (lock, mark) = Lock::take(path)?;
        let (witness, said) = match witness {
            Some(path) => Witness::ask(path).await.map(|(witness, said)| (Some(witness), said))?,
            None => (None, None),
        };
        let found = Found::look(path, mark, said);
        let failed = |source| Error::from_io(path, "opening it", source);
        private(OpenOptions::new().write(true).create(true).truncate(false), path).map_err(failed)?;
        for suffix in ["", "-wal", "-shm"] {
            only_owner(&beside(path, suffix));
        }
        let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY_TIMEOUT).disable_statement_logging();
        let mut store = Store {
            path: path.to_owned(),
            writer: Writer::new(options.clone()),
            readers: readers().connect_lazy_with(options.clone().read_only(true)),
            leadership: Leadership::default(),
            place: Place::of(path).map_err(failed)?,
            put_back: None,
            lock,
            witness,
        };
        let exists = path.metadata().is_ok_and(|file| file.len() > 0);
        if exists {
            store.inspect(&options).await?;
        }
        store.migrate().await?;
        store.reclaim().await?;
        store.take_term().await?;
        store.identify(&found).await?;
        store.swear_in().await?;
        Ok(store)
    }

    /// Whether the file is ours and whole. Not by the writer, whose first act is to set the journal mode; nor by a reader,
    /// which cannot roll back what a killed process left half done.
    async fn inspect(&self, options: &SqliteConnectOptions) -> Result<(), Error> {
        let look = async {
            let mut connection = options.connect().await?;
            let id: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut connection).await?;
            let tables: i64 = sqlx::query_scalar(FOREIGN_TABLES).fetch_one(&mut connection).await?;
            let findings: Vec<String> = sqlx::query_scalar("PRAGMA quick_check(3)").fetch_all(&mut connection).await?;
            connection.close().await?;
            Ok((id, tables, findings))
        };
        let (id, tables, findings) = self.bounded("checking it", CHECK_DEADLINE, look).await?;
        // Without tables of its own it was just being made when something interrupted that.
        if id != APPLICATION_ID && tables > 0 {
            return Err(Error::NotOurs { path: self.path.clone() });
        }
        if findings != ["ok"] {
            return Err(Error::Damaged { path: self.path.clone(), findings: findings.join("; ") });
        }
        Ok(())
    }

    async fn migrate(&self) -> Result<(), Error> {
        let migrator = Migrator::with_migrations(migrations());
        let known = migrator.iter().map(|migration| migration.version).max().unwrap_or(0);
        let doing = "bringing it up to date";
        let run = self.writer.with(async |connection: &mut SqliteConnection| migrator.run(connection).await);
        match tokio::time::timeout(CHECK_DEADLINE, run).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(MigrateError::VersionMissing(found))) if found > known => {
                Err(Error::Newer { path: self.path.clone(), found: self.newest_version(found).await, known })
            }
            Ok(Err(MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _))) => {
                Err(Error::from_sql(&self.path, doing, source))
            }
            Ok(Err(other)) => Err(Error::from_sql(&self.path, doing, sqlx::Error::Migrate(Box::new(other)))),
            Err(_) => Err(Error::Stuck { path: self.path.clone(), doing, after: CHECK_DEADLINE }),
        }
    }

    /// Lets the file give back the space of what is deleted. A file that was made without has to be written anew for it,
    /// once; without room for that it stays as it is.
    async fn reclaim(&self) -> Result<(), Error> {
        let doing = "making its file give space back";
        let work = self.writer.with(async |connection: &mut SqliteConnection| {
            let mode: i64 = sqlx::query_scalar("PRAGMA auto_vacuum").fetch_one(&mut *connection).await?;
            if mode == INCREMENTAL {
                return Ok(());
            }
            sqlx::query("PRAGMA auto_vacuum = INCREMENTAL").execute(&mut *connection).await?;
            sqlx::query("VACUUM").execute(connection).await.map(drop)
        });
        match self.bounded(doing, CHECK_DEADLINE, work).await {
            Err(Error::Full { .. }) => Ok(()),
            done => done,
        }
    }

    /// The migrator names the first unknown version; people want to hear the last.
    async fn newest_version(&self, at_least: i64) -> i64 {
        let newest = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(&self.readers).await;
        newest.unwrap_or(at_least)
    }
}

/// All versions of the schema, in order. Add to the end; never change one that was released.
fn migrations() -> Vec<Migration> {
    let versions = [
        (1, "memory", include_str!("../migrations/sqlite/0001_memory.sql")),
        (2, "term", include_str!("../migrations/sqlite/0002_term.sql")),
        (3, "bounds", include_str!("../migrations/sqlite/0003_bounds.sql")),
    ];
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    versions.into_iter().map(migration).collect()
}

fn readers() -> PoolOptions<Sqlite> {
    PoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(DEADLINE)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// Opens a file that only its owner may read, whatever its folder allows: definitions hold passwords.
pub(crate) fn private(options: &mut OpenOptions, path: &Path) -> std::io::Result<File> {
    options.mode(OWNER_ONLY).open(path)
}

/// The same for a file that is there. One that belongs to another user keeps the mode that its owner gave it.
pub(crate) fn only_owner(path: &Path) {
    let open_to_others = fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o077 != 0);
    if open_to_others {
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(OWNER_ONLY));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventQuery, Kind};

    /// The store of the version before, with events and definitions in their old form.
    #[tokio::test]
    async fn what_an_older_version_wrote_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mainstay.db");
        let mut old = SqliteConnectOptions::new().filename(&path).create_if_missing(true).connect().await.unwrap();
        let before = migrations().into_iter().take(2).collect();
        Migrator::with_migrations(before).run(&mut old).await.unwrap();
        let rows = r#"
            INSERT INTO definitions VALUES ('web-1', '{"xml":"<domain/>"}', 1);
            INSERT INTO events (at_ms, subject_kind, subject_id, severity, code, text, body)
                VALUES (5, 'workload', 'web-1', 2, 'seen', 'it crashed', '{"incident":7}'),
                       (6, 'workload', 'web-1', 0, 'seen', 'it runs', '{"incident":null}');
            INSERT INTO samples VALUES ('web-1', 5, 1.5, 0, 0, 0, 0);
        "#;
        sqlx::raw_sql(rows).execute(&mut old).await.unwrap();
        old.close().await.unwrap();
        let store = Store::open(&path).await.unwrap();
        assert_eq!(store.put_back(), None);
        let definition = store.body(Kind::Definition, "web-1").await.unwrap();
        assert_eq!(definition.as_deref(), Some(r#"{"xml":"<domain/>"}"#));
        let of_it = store.events(&EventQuery { incident: Some(7), ..EventQuery::default() }).await.unwrap();
        assert_eq!(of_it.iter().map(|stored| &*stored.event.text).collect::<Vec<_>>(), ["it crashed"]);
        assert_eq!(store.events(&EventQuery::default()).await.unwrap().len(), 2);
        assert_eq!(store.samples("web-1", 0, 10).await.unwrap().len(), 1);
    }
}
