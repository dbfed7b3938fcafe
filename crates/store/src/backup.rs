//! Backup: a consistent copy while the controller works.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use crate::identity::beside;
use crate::open::OWNER_ONLY;
use crate::{Error, Store};

/// A large store onto a slow disk.
const DEADLINE: Duration = Duration::from_secs(600);

impl Store {
    /// Writes a copy of the store as of now to `target`, which is there as a whole or not at all. A copy is opened as any
    /// store: to restore, stop Mainstay and put it in the store's place (without the old `-wal`). It is known as a copy then.
    ///
    /// # Errors
    /// If `target` exists (a backup is never overwritten) or cannot be written.
    pub async fn backup_to(&self, target: &Path) -> Result<(), Error> {
        let doing = "writing a backup";
        let failed = |source| Error::from_io(target, doing, source);
        if target.try_exists().map_err(failed)? {
            return Err(failed(std::io::ErrorKind::AlreadyExists.into()));
        }
        let partial = beside(target, ".partial");
        // What is left of an interrupted backup.
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let copy = sqlx::query("VACUUM INTO ?").bind(partial.to_string_lossy().into_owned());
        let copied = self.bounded(doing, DEADLINE, copy.execute(&self.readers)).await;
        let marked = match copied {
            Ok(_) => self.bounded(doing, DEADLINE, mark(&partial)).await,
            Err(error) => Err(error),
        };
        let published = marked.and_then(|()| publish(&partial, target).map_err(failed));
        if published.is_err() {
            // The first error tells more than this one would.
            let _ = fs::remove_file(&partial);
        }
        published
    }
}

impl Store {
    /// After [`Error::Gone`]: the file that was deleted or replaced is still open here. Writes what it holds beside its old
    /// place, and says where.
    ///
    /// # Errors
    /// If it can't be read or written any more.
    pub async fn rescue(&self) -> Result<PathBuf, Error> {
        let doing = "rescuing what was deleted";
        let target = beside(&self.path, &format!(".rescued-{}", self.term()));
        let failed = |source| Error::from_io(&target, doing, source);
        let copy = self.writer.with_open(async |connection: &mut SqliteConnection| {
            sqlx::query("VACUUM INTO ?").bind(target.to_string_lossy().into_owned()).execute(connection).await.map(drop)
        });
        self.bounded(doing, DEADLINE, copy).await?;
        self.bounded(doing, DEADLINE, mark(&target)).await?;
        fs::set_permissions(&target, fs::Permissions::from_mode(OWNER_ONLY)).map_err(failed)?;
        File::open(&target).and_then(|file| file.sync_all()).map_err(failed)?;
        Ok(target)
    }
}

/// A backup says that it is one. Put in the store's place, it is known as older than the world.
async fn mark(copy: &Path) -> Result<(), sqlx::Error> {
    let mut connection = SqliteConnectOptions::new().filename(copy).connect().await?;
    sqlx::query("UPDATE identity SET copied = 1").execute(&mut connection).await?;
    connection.close().await
}

/// SQLite does not sync what `VACUUM INTO` writes.
fn publish(partial: &Path, target: &Path) -> std::io::Result<()> {
    fs::set_permissions(partial, fs::Permissions::from_mode(OWNER_ONLY))?;
    File::open(partial)?.sync_all()?;
    fs::rename(partial, target)?;
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}
