//! What can go wrong with the memory, and what an operator does about it. After any error of [`crate::Store::commit`] nothing
//! of its batch may be acted upon.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has it open.
    #[error("{} is in use by another controller{holder}: stop that one first; two must never share one store", path.display())]
    Locked {
        /// The database.
        path: PathBuf,
        /// ` (process 4711)`, if known.
        holder: String,
    },
    /// Another process has opened it since, and leads now. Nothing was written, and nothing can be any more.
    #[error("{} has another controller now: {holder} took over in term {newest}, and this one's term {own} is over, so it does nothing more; keep one of the two (mainstay explain MS1004)", path.display())]
    Deposed {
        /// The database.
        path: PathBuf,
        /// Which process took over.
        holder: String,
        /// Its term.
        newest: i64,
        /// The one that is over.
        own: i64,
    },
    /// Its file was deleted or replaced while it was open. Nothing that is written now would be found again.
    #[error("{} was {how} under this controller, which can remember nothing any more and ends (mainstay explain MS1006)", path.display())]
    Gone {
        /// The database.
        path: PathBuf,
        /// `deleted` or `replaced`.
        how: &'static str,
    },
    /// The machine was put back to an earlier state while it was open: the witness knows more writes than this memory has.
    #[error("{} is older than its witness, which has seen {writes} writes: this machine was put back; the controller ends, and asks at its next start (mainstay explain MS1005)", path.display())]
    Overtaken {
        /// The database.
        path: PathBuf,
        /// What the witness has seen.
        writes: i64,
    },
    /// The witness can't be reached.
    #[error("the witness {} can't be used, so it is not known whether the memory is the newest: make it reachable, or take `witness_file` out of the configuration", path.display())]
    Witness {
        /// The witness.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
    /// The file is something else.
    #[error("{} is not a database of Mainstay: check the path of the store in the configuration", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error("{} is damaged ({findings}): stop Mainstay, move it and its -wal aside, put the last backup in its place", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite found.
        findings: String,
    },
    /// Written by a Mainstay that knows more.
    #[error("{} has version {found}, this Mainstay knows up to {known}: run the newer Mainstay that wrote it, or restore a backup from before its upgrade", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The last one known here.
        known: i64,
    },
    /// Another program holds SQLite's own lock on it.
    #[error("{} is locked by another program (a sqlite3 shell, a backup?): let it end; `fuser -v` names it", path.display())]
    Busy {
        /// The database.
        path: PathBuf,
    },
    /// No space.
    #[error("no space left for {}: free some, nothing was lost and nothing was acted upon", path.display())]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// No permission to write.
    #[error("cannot write {}: it, its directory or its file system is read-only for this user", path.display())]
    ReadOnly {
        /// The database.
        path: PathBuf,
    },
    /// The disk does not answer. Whether the change took place is unknown until the store is opened again.
    #[error("{} did not answer within {} s while {doing}: look at its disk, then restart Mainstay", path.display(), after.as_secs())]
    Stuck {
        /// The database.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// The operating system refused.
    #[error("cannot use {} while {doing}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
    /// SQLite refused.
    #[error("the database {} refused while {doing}", path.display())]
    Sql {
        /// The database.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// SQLite's reason.
        #[source]
        source: sqlx::Error,
    },
}

/// SQLite's result codes (<https://www.sqlite.org/rescode.html>), the low byte of the extended ones.
mod code {
    pub const BUSY: i32 = 5;
    pub const READONLY: i32 = 8;
    pub const CORRUPT: i32 = 11;
    pub const FULL: i32 = 13;
    pub const NOT_A_DATABASE: i32 = 26;
    /// Extended: the shared memory beside the file could not grow.
    pub const SHARED_MEMORY_SIZE: i32 = 4874;
}

impl Error {
    /// True if nothing can be written any more, whatever is done: the term is over, or the file is gone or older than the world.
    pub fn ends_the_term(&self) -> bool {
        matches!(self, Self::Deposed { .. } | Self::Gone { .. } | Self::Overtaken { .. })
    }

    pub(crate) fn from_io(path: &Path, doing: &'static str, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Self::ReadOnly { path },
            _ => Self::Io { path, doing, source },
        }
    }

    pub(crate) fn from_sql(path: &Path, doing: &'static str, source: sqlx::Error) -> Self {
        let path = path.to_owned();
        let database = source.as_database_error();
        let extended = database.and_then(|error| error.code()).and_then(|code| code.parse::<i32>().ok()).unwrap_or(0);
        match (extended, extended & 0xff) {
            (code::SHARED_MEMORY_SIZE, _) | (_, code::FULL) => Self::Full { path },
            (_, code::BUSY) => Self::Busy { path },
            (_, code::READONLY) => Self::ReadOnly { path },
            (_, code::CORRUPT) => Self::Damaged { path, findings: source.to_string() },
            (_, code::NOT_A_DATABASE) => Self::NotOurs { path },
            _ => Self::Sql { path, doing, source },
        }
    }
}
