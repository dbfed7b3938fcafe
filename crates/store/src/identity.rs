//! Which store this is, and how far it has come: a copy, or a backup that was put back, must not pass for the newest memory.
//!
//! Three witnesses stand against the database's content, and each is looked at when the store is opened:
//!
//! | what was done | what shows it |
//! |---|---|
//! | a backup of Mainstay's own in its place | the backup says so |
//! | an older file in its place (`cp -a`) | the lock file, which counts the writes too, is ahead |
//! | another store's file in its place | the lock file names another store |
//! | the whole directory copied or restored | the inode; if files were overwritten in place, their change time |
//! | the directory taken to another machine | the machine's id |
//! | the database deleted | the lock file remembers one |
//! | the controller's machine reverted to an older snapshot of its disk | a witness elsewhere (see `witness`); without one, nothing |
//!
//! The change time of a file can't be set by programs, so a file that somebody wrote after our own last write is no longer ours.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::SqliteConnection;

use crate::open::OWNER_ONLY;
use crate::store::signed;
use crate::{Error, Store};

/// A file may be written this long after its time was taken: a disk that hangs is given up before.
const WRITE_LASTS_MS: i64 = 120_000;
/// Systems without it can't be told apart.
const MACHINE_ID: &str = "/etc/machine-id";

const READ: &str = "SELECT instance, writes, written_ms, inode, machine, copied, put_back FROM identity";
const SETTLE: &str = "UPDATE identity SET inode = ?1, machine = ?2, copied = 0, put_back = ?3, \
                      instance = CASE WHEN ?4 THEN lower(hex(randomblob(16))) ELSE instance END";
const COUNT: &str = "UPDATE identity SET writes = writes + 1, written_ms = ? RETURNING instance, writes";

/// As the database tells it.
type Columns = (String, i64, i64, Option<i64>, Option<String>, i64, Option<String>);

/// How far a store has come, as its lock file remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pub instance: String,
    pub writes: i64,
}

impl Mark {
    /// From a lock file: the process in its first line, the mark in its second.
    pub fn read(text: &str) -> Option<Mark> {
        let (instance, writes) = text.lines().nth(1)?.split_once(' ')?;
        Some(Mark { instance: instance.to_owned(), writes: writes.trim().parse().ok()? })
    }

    /// As it is written.
    pub fn text(&self) -> String {
        format!("{}\n{} {:020}\n", std::process::id(), self.instance, self.writes)
    }

    /// Writes it over the one before, which is as long. Not flushed: a mark that a power cut takes back is only older.
    pub fn write(&self, lock: &File) -> std::io::Result<()> {
        let text = self.text();
        lock.write_all_at(text.as_bytes(), 0)?;
        lock.set_len(text.len() as u64)
    }
}

/// What is seen of the files before anything is done with them.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The database is there and has content.
    exists: bool,
    inode: Option<i64>,
    /// When the database or its log was last written. Zero if somebody changed its mode: then the time of that is all there is.
    changed_ms: i64,
    mark: Option<Mark>,
    /// What the witness on another machine's storage says.
    witness: Option<Mark>,
}

impl Found {
    pub fn look(database: &Path, lock: Option<Mark>, witness: Option<Mark>) -> Found {
        let file = fs::metadata(database).ok().filter(|file| file.len() > 0);
        let log = fs::metadata(beside(database, "-wal")).ok();
        let changed = |file: &Metadata| match file.mode() & 0o777 == OWNER_ONLY {
            true => file.ctime().saturating_mul(1_000).saturating_add(file.ctime_nsec() / 1_000_000),
            false => 0,
        };
        Found {
            exists: file.is_some(),
            inode: file.as_ref().map(|file| file.ino().cast_signed()),
            changed_ms: file.iter().chain(&log).map(changed).max().unwrap_or(0),
            mark: lock,
            witness,
        }
    }

    /// Why the content is older than the world, or a copy.
    fn objection(&self, (instance, writes, written_ms, inode, machine, copied, _): &Columns) -> Option<String> {
        let mark = self.mark.as_ref();
        if !self.exists {
            let mark = mark.or(self.witness.as_ref());
            return mark.map(|mark| format!("the database is gone, after {} writes", mark.writes));
        }
        if *copied != 0 {
            return Some("a backup was put in the database's place".to_owned());
        }
        if let Some(witness) = &self.witness {
            if witness.instance != *instance {
                return Some("the witness is that of another store".to_owned());
            }
            if witness.writes > *writes {
                let of = witness.writes;
                return Some(format!(
                    "the controller's machine was put back: the memory has {writes} of {of} writes, by its witness"
                ));
            }
        }
        if let Some(mark) = mark {
            if mark.instance != *instance {
                return Some("the database of another store is in its place".to_owned());
            }
            if mark.writes > *writes {
                return Some(format!("an older copy was put back: it has {writes} of {} writes", mark.writes));
            }
        }
        if inode.is_some() && *inode != self.inode {
            return Some("the database's file is a copy".to_owned());
        }
        if machine.is_some() && this_machine().is_some() && *machine != this_machine() {
            return Some("the database comes from another machine".to_owned());
        }
        let rewritten = *written_ms > 0 && self.changed_ms > written_ms.saturating_add(WRITE_LASTS_MS);
        rewritten.then(|| "something else wrote the database's file after its last controller".to_owned())
    }
}

impl Store {
    /// Looks whether this memory is the newest, and takes it into use as it is.
    pub(crate) async fn identify(&mut self, found: &Found) -> Result<(), Error> {
        let known: Columns = {
            let read = self
                .writer
                .with(async |connection: &mut SqliteConnection| sqlx::query_as(READ).fetch_one(connection).await);
            self.bounded("looking which store it is", crate::store::DEADLINE, read).await?
        };
        let new = found.objection(&known);
        let renewed = new.is_some();
        let put_back = new.or(known.6);
        let inode = self.place.inode();
        let written = self.writer.transact(async |transaction: &mut SqliteConnection| {
            let settle = sqlx::query(SETTLE).bind(inode).bind(this_machine()).bind(&put_back).bind(renewed);
            settle.execute(&mut *transaction).await?;
            count(transaction).await
        });
        let mark = self.bounded("noting which store it is", crate::store::DEADLINE, written).await?;
        self.put_back = put_back;
        self.remember(&mark);
        Ok(())
    }

    /// Remembers outside the database how far it has come.
    pub(crate) fn remember(&self, mark: &Mark) {
        // It is a witness more: without it the next start still has the others.
        let _ = self.lock.note(mark);
        if let Some(witness) = &self.witness {
            witness.note(mark);
        }
    }
}

/// Counts a transaction, in it.
pub(crate) async fn count(transaction: &mut SqliteConnection) -> Result<Mark, sqlx::Error> {
    let (instance, writes) = sqlx::query_as(COUNT).bind(wall_ms()).fetch_one(transaction).await?;
    Ok(Mark { instance, writes })
}

/// The file that was opened: its device and inode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    device: u64,
    inode: u64,
}

impl Place {
    pub fn of(database: &Path) -> std::io::Result<Place> {
        fs::metadata(database).map(|file| Place { device: file.dev(), inode: file.ino() })
    }

    fn inode(self) -> i64 {
        self.inode.cast_signed()
    }

    /// What became of the file, if it is not there any more.
    pub async fn lost(self, database: &Path) -> Option<&'static str> {
        match tokio::fs::metadata(database).await {
            Ok(file) if file.dev() == self.device && file.ino() == self.inode => None,
            Ok(_) => Some("replaced"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some("deleted"),
            Err(_) => None, // the disk's trouble shows when it is written to
        }
    }
}

/// The name of a file beside the database.
pub(crate) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

fn this_machine() -> Option<String> {
    let id = fs::read_to_string(MACHINE_ID).ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    signed(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
