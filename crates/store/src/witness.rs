//! A witness on another machine's storage: a small file that says how far the store has come. When the controller's whole
//! machine is reverted to an older snapshot of its disk, everything on it goes back, and only this has not.
//!
//! It is written every few seconds and looked at before: also a machine that was reverted with its memory, so that the process
//! goes on as if nothing had been, finds out.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::identity::{Mark, beside};
use crate::open::OWNER_ONLY;
use crate::term::End;
use crate::{Error, Store};

/// Storage that does not answer for so long is given up.
const WITHIN: Duration = Duration::from_secs(10);
/// A mark is short; something else there shall not fill the memory.
const LONGEST: u64 = 4096;

/// The file, and how far this store has come.
#[derive(Debug)]
pub(crate) struct Witness {
    path: PathBuf,
    latest: Mutex<Option<Mark>>,
    /// One look at a time: storage that hangs must not take a thread for each.
    turn: Arc<Semaphore>,
}

impl Witness {
    /// The witness at a path, and what it says; nothing if it is new, and empty.
    pub async fn ask(path: &Path) -> Result<(Witness, Option<Mark>), Error> {
        let witness = Witness { path: path.to_owned(), latest: Mutex::default(), turn: Arc::new(Semaphore::new(1)) };
        let said = witness.bounded(read).await?;
        Ok((witness, said))
    }

    /// The store has come so far.
    pub fn note(&self, mark: &Mark) {
        *self.lock() = Some(mark.clone());
    }

    /// Tells it how far the store has come, unless it knows better: then the mark that it has.
    async fn tell(&self) -> Result<Option<Mark>, Error> {
        let Some(own) = self.lock().clone() else { return Ok(None) };
        self.bounded(move |path| {
            let said = read(path)?;
            if let Some(ahead) = said.filter(|said| said.instance != own.instance || said.writes > own.writes) {
                return Ok(Some(ahead));
            }
            write(path, &own)?;
            Ok(None)
        })
        .await
    }

    /// Tells it so, whatever it said before.
    async fn tell_anew(&self) -> Result<(), Error> {
        let Some(own) = self.lock().clone() else { return Ok(()) };
        self.bounded(move |path| write(path, &own)).await
    }

    async fn bounded<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let failed = |source| Error::Witness { path: self.path.clone(), source };
        let late = || failed(io::Error::new(ErrorKind::TimedOut, format!("it did not answer within {WITHIN:?}")));
        let turn = Arc::clone(&self.turn).try_acquire_owned().map_err(|_| late())?;
        let path = self.path.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&path)
        });
        match timeout(WITHIN, looked).await {
            Ok(Ok(done)) => done.map_err(failed),
            Ok(Err(_)) => Err(failed(io::Error::other("it could not be looked at"))),
            Err(_) => Err(late()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Mark>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Tells the witness, if there is one, how far the store has come.
    ///
    /// # Errors
    /// [`Error::Overtaken`] if the witness knows better: this memory was put back under the running process, and nothing is
    /// written any more. [`Error::Witness`] if it can't be reached.
    pub async fn bear_witness(&self) -> Result<(), Error> {
        let Some(witness) = &self.witness else { return Ok(()) };
        match witness.tell().await? {
            None => Ok(()),
            Some(ahead) => Err(self.end(End::Overtaken { writes: ahead.writes })),
        }
    }

    /// After this memory was taken into use as it is.
    pub(crate) async fn swear_in(&self) -> Result<(), Error> {
        match &self.witness {
            Some(witness) => witness.tell_anew().await,
            None => Ok(()),
        }
    }
}

fn read(path: &Path) -> io::Result<Option<Mark>> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| match error.kind() {
        // One that is made anew where nothing is mounted would witness nothing.
        ErrorKind::NotFound => {
            let why =
                format!("it is not there: is its storage mounted? The first time, make it: touch {}", path.display());
            io::Error::new(ErrorKind::NotFound, why)
        }
        _ => error,
    })?;
    file.take(LONGEST).read_to_string(&mut text)?;
    let mark = Mark::read(&text);
    let wrong = || io::Error::new(ErrorKind::InvalidData, "it is no witness of Mainstay: is it the right file?");
    if text.is_empty() { Ok(None) } else { mark.map(Some).ok_or_else(wrong) }
}

/// The whole file or none: a power cut must not leave half a mark.
fn write(path: &Path, mark: &Mark) -> io::Result<()> {
    let new = beside(path, ".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(OWNER_ONLY).open(&new)?;
    file.write_all(mark.text().as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}
