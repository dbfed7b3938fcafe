//! The term: whose turn it is to write. The lock beside the file keeps a second controller out; should it fail (deleted, or
//! lost by its file system while this process stood still), the newest to open the store is the one that leads, and all others
//! find out at their next write, which is refused as a whole.
//!
//! ```text
//!   open: term 7 ──▶ writes …                         ──▶ write ──▶ refused: Deposed
//!                        another opens: term 8 ──▶ writes …
//! ```
//! Two copies of the file are two memories: nothing here keeps their controllers apart.

use sqlx::{SqliteConnection, SqliteExecutor};
use tokio::sync::watch;

use crate::store::DEADLINE;
use crate::{Error, Store};

const TAKE: &str = "UPDATE term SET number = number + 1, holder = ? RETURNING number, holder";
const NEWEST: &str = "SELECT number, holder FROM term";

/// A term: its number, and who has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Term {
    number: i64,
    holder: String,
}

impl Term {
    fn of((number, holder): (i64, String)) -> Term {
        Term { number, holder }
    }
}

/// This store's own term, and the one by which it ended.
#[derive(Debug, Default)]
pub(crate) struct Leadership {
    own: Term,
    ended_by: watch::Sender<Option<Term>>,
}

impl Store {
    /// Takes the next term: from here on nobody else writes.
    pub(crate) async fn take_term(&mut self) -> Result<(), Error> {
        let take = self.writer.transact(async |transaction: &mut SqliteConnection| {
            sqlx::query_as(TAKE).bind(this_process()).fetch_one(transaction).await.map(Term::of)
        });
        self.leadership.own = self.bounded("taking the next term", DEADLINE, take).await?;
        Ok(())
    }

    /// Looks whether this store's term is still the newest. What was made durable may be held for long in a process that stood
    /// still: whoever acts on it looks first.
    ///
    /// # Errors
    /// [`Error::Deposed`] if it is not; others if that can't be found out.
    pub async fn confirm_term(&self) -> Result<(), Error> {
        // Not by a reader: people who ask for much history must not hold up what brings a guest back.
        let look = self.writer.with(async |connection: &mut SqliteConnection| newest(connection).await);
        let newest = self.bounded("looking whose term it is", DEADLINE, look).await?;
        if newest == self.leadership.own { Ok(()) } else { Err(self.depose(newest)) }
    }

    /// Waits until it is found out, by whatever is done with this store, that another one has a newer term.
    pub async fn deposed(&self) -> Error {
        let mut ended = self.leadership.ended_by.subscribe();
        let by = ended.wait_for(Option::is_some).await.ok().and_then(|by| by.clone());
        self.deposed_by(by.unwrap_or_default())
    }

    /// Writes, in a transaction that begins by looking whose term it is.
    pub(crate) async fn write<T>(
        &self,
        doing: &'static str,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, Error> {
        let written = self.writer.transact(async |transaction: &mut SqliteConnection| {
            let newest = newest(&mut *transaction).await?;
            if newest == self.leadership.own { work(transaction).await.map(Ok) } else { Ok(Err(newest)) }
        });
        self.bounded(doing, DEADLINE, written).await?.map_err(|newest| self.depose(newest))
    }

    fn depose(&self, newest: Term) -> Error {
        self.leadership.ended_by.send_replace(Some(newest.clone()));
        self.deposed_by(newest)
    }

    fn deposed_by(&self, Term { number, holder }: Term) -> Error {
        Error::Deposed { path: self.path.clone(), holder, newest: number, own: self.leadership.own.number }
    }
}

async fn newest(from: impl SqliteExecutor<'_>) -> Result<Term, sqlx::Error> {
    sqlx::query_as(NEWEST).fetch_one(from).await.map(Term::of)
}

/// For people who ask who took over.
fn this_process() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("process {} on {}", std::process::id(), host.trim())
}
