//! Backup: a consistent copy while the controller works.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Error, Store};

/// A large store onto a slow disk.
const DEADLINE: Duration = Duration::from_secs(600);

impl Store {
    /// Writes a copy of the store as of now to `target`, which is there as a whole or not at all. A copy is opened as any
    /// store: to restore, stop Mainstay and put it in the store's place (without the old `-wal`).
    ///
    /// # Errors
    /// If `target` exists (a backup is never overwritten) or cannot be written.
    pub async fn backup_to(&self, target: &Path) -> Result<(), Error> {
        let doing = "writing a backup";
        let failed = |source| Error::from_io(target, doing, source);
        if target.try_exists().map_err(failed)? {
            return Err(failed(std::io::ErrorKind::AlreadyExists.into()));
        }
        let mut partial = target.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        // What is left of an interrupted backup.
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let copy = sqlx::query("VACUUM INTO ?").bind(partial.to_string_lossy().into_owned());
        let copied = self.bounded(doing, DEADLINE, copy.execute(&self.readers)).await;
        let published = copied.and_then(|_| publish(&partial, target).map_err(failed));
        if published.is_err() {
            // The first error tells more than this one would.
            let _ = fs::remove_file(&partial);
        }
        published
    }
}

/// SQLite does not sync what `VACUUM INTO` writes.
fn publish(partial: &Path, target: &Path) -> std::io::Result<()> {
    File::open(partial)?.sync_all()?;
    fs::rename(partial, target)?;
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}
