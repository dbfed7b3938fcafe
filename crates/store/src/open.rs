//! Opening: lock, then look whether the file is ours, whole and not newer than we are, then bring it up to date, then take the
//! next term.
//!
//! A file that fails one of these is left as it is.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, SqlSafeStr, Sqlite};

use crate::store::DEADLINE;
use crate::term::Leadership;
use crate::writer::{BUSY_TIMEOUT, Writer};
use crate::{Error, Store};

/// "MSTY", set by the first migration.
const APPLICATION_ID: i64 = 0x4d53_5459;

/// People read at the same time as the controller; more at once may wait.
const READERS: u32 = 4;

/// Tables that are there before the first migration has taken place are the migrator's own.
const FOREIGN_TABLES: &str = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name != '_sqlx_migrations'";

/// Checking the pages of a large store on a slow disk.
const CHECK_DEADLINE: Duration = Duration::from_secs(300);

impl Store {
    /// Opens the store at `path`, makes it (and its directory) if there is none, and brings an older one up to date. Who still
    /// has it open, though the lock should have prevented that, is deposed.
    ///
    /// # Errors
    /// Each [`Error`] names the file and what to do.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let lock = lock(path)?;
        let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY_TIMEOUT).disable_statement_logging();
        let mut store = Store {
            path: path.to_owned(),
            writer: Writer::new(options.clone()),
            readers: readers().connect_lazy_with(options.clone().read_only(true)),
            leadership: Leadership::default(),
            _lock: lock,
        };
        let exists = path.metadata().is_ok_and(|file| file.len() > 0);
        if exists {
            store.inspect(&options).await?;
        }
        store.migrate().await?;
        store.take_term().await?;
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

/// Takes the lock beside the database, which says that a controller uses it. SQLite's own locks last only as long as a
/// transaction does.
fn lock(database: &Path) -> Result<File, Error> {
    let doing = "locking it";
    let failed = |source| Error::from_io(database, doing, source);
    if let Some(directory) = database.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(PathBuf::from(path))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut process = String::new();
            // For the message only: who just locked it may not have written yet.
            let _ = file.read_to_string(&mut process);
            let holder = if process.is_empty() { String::new() } else { format!(" (process {})", process.trim()) };
            return Err(Error::Locked { path: database.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    let note = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    note.map_err(failed)?;
    Ok(file)
}
