//! The lock beside the database, which says that a controller uses it. It also remembers how far the store has come.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::Error;
use crate::identity::{Mark, beside};
use crate::open::{only_owner, private};

/// A lock that is held. SQLite's own locks last only as long as a transaction does.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// Takes it, and returns the mark of the last holder.
    pub fn take(database: &Path) -> Result<(Self, Option<Mark>), Error> {
        let failed = |source| Error::from_io(database, "locking it", source);
        if let Some(directory) = database.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let path = beside(database, ".lock");
        let mut file =
            private(OpenOptions::new().create(true).truncate(false).read(true).write(true), &path).map_err(failed)?;
        only_owner(&path);
        let mut text = String::new();
        // Who just locked it may not have written yet; what can't be read is no mark.
        let _ = file.read_to_string(&mut text);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let process = text.lines().next().map(|process| format!(" (process {})", process.trim()));
                return Err(Error::Locked { path: database.to_owned(), holder: process.unwrap_or_default() });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let mark = Mark::read(&text);
        let note = match &mark {
            Some(mark) => mark.write(&file),
            None => {
                file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()))
            }
        };
        note.map_err(failed)?;
        Ok((Self(file), mark))
    }

    /// Writes down how far the store has come.
    pub fn note(&self, mark: &Mark) -> std::io::Result<()> {
        mark.write(&self.0)
    }
}

impl Drop for Lock {
    /// Closing the file is not enough: a child that is just being started (a hook, a fence agent) has it open as well until it
    /// runs its own program, and the lock would stand until then.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As between fork and exec of a child: the file is open once more.
    #[test]
    fn a_lock_that_is_given_up_is_free_though_its_file_is_open_elsewhere() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("mainstay.db");
        let (lock, _) = Lock::take(&path).expect("it is free");
        assert!(matches!(Lock::take(&path), Err(Error::Locked { .. })));
        let inherited = lock.0.try_clone().expect("one more descriptor");
        drop(lock);
        Lock::take(&path).expect("it is free again");
        drop(inherited);
    }
}
