//! The term: whose turn it is to write. The lock beside the file keeps a second controller out; should it fail (deleted, or
//! lost by its file system while this process stood still), the newest to open the store is the one that leads, and all others
//! find out at their next write, which is refused as a whole.
//!
//! ```text
//!   open: term 7 ──▶ writes …                         ──▶ write ──▶ refused: Deposed
//!                        another opens: term 8 ──▶ writes …
//! ```
//! Two copies of the file are two memories: `identity` knows a copy when it is opened. A file that is deleted or replaced
//! under its controller ends the term too.

use sqlx::{SqliteConnection, SqliteExecutor};
use tokio::sync::watch;

use crate::store::DEADLINE;
use crate::{Error, Store, identity};

const TAKE: &str = "UPDATE term SET number = number + 1, holder = ? RETURNING number, holder";
const NEWEST: &str = "SELECT number, holder FROM term";

/// A term: its number, and who has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Term {
    number: i64,
    holder: String,
}

impl Term {
    fn of((number, holder): (i64, String)) -> Term {
        Term { number, holder }
    }
}

/// Why this store may not be written to any more.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// Another one has a newer term.
    Newer(Term),
    /// Its file was deleted or replaced: what is written now is not in the file that the next controller reads.
    Lost(&'static str),
    /// The witness has seen so many writes: this machine was put back while the store was open.
    Overtaken { writes: i64 },
}

/// This store's own term, and how it ended.
#[derive(Debug, Default)]
pub(crate) struct Leadership {
    own: Term,
    ended_by: watch::Sender<Option<End>>,
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
        let doing = "looking whose term it is";
        self.still_in_place(doing).await?;
        let look = self.writer.with(async |connection: &mut SqliteConnection| newest(connection).await);
        let newest = self.bounded(doing, DEADLINE, look).await?;
        if newest == self.leadership.own { Ok(()) } else { Err(self.end(End::Newer(newest))) }
    }

    /// Waits until it is found out, by whatever is done with this store, that another one has a newer term, or that its
    /// file is not in its place any more.
    pub async fn deposed(&self) -> Error {
        let mut ended = self.leadership.ended_by.subscribe();
        let by = ended.wait_for(Option::is_some).await.ok().and_then(|by| by.clone());
        self.ended(by.unwrap_or_else(|| End::Newer(Term::default())))
    }

    /// This store's own term.
    pub(crate) fn term(&self) -> i64 {
        self.leadership.own.number
    }

    /// Looks whether the file that was opened is still the one at its path.
    async fn still_in_place(&self, doing: &'static str) -> Result<(), Error> {
        let overtaken = self.leadership.ended_by.borrow().clone().filter(|end| matches!(end, End::Overtaken { .. }));
        if let Some(end) = overtaken {
            return Err(self.ended(end));
        }
        let lost = self.bounded(doing, DEADLINE, async { Ok(self.place.lost(&self.path).await) }).await?;
        lost.map_or(Ok(()), |how| Err(self.end(End::Lost(how))))
    }

    /// Writes, in a transaction that begins by looking whose term it is. What went into a file that is not in its place any
    /// more counts as not written.
    pub(crate) async fn write<T>(
        &self,
        doing: &'static str,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, Error> {
        self.still_in_place(doing).await?;
        let written = self.writer.transact(async |transaction: &mut SqliteConnection| {
            let newest = newest(&mut *transaction).await?;
            if newest != self.leadership.own {
                return Ok(Err(newest));
            }
            let value = work(&mut *transaction).await?;
            Ok(Ok((value, identity::count(transaction).await?)))
        });
        let written = self.bounded(doing, DEADLINE, written).await?;
        let (value, mark) = written.map_err(|newest| self.end(End::Newer(newest)))?;
        self.remember(&mark);
        self.still_in_place(doing).await?;
        Ok(value)
    }

    pub(crate) fn end(&self, why: End) -> Error {
        self.leadership.ended_by.send_replace(Some(why.clone()));
        self.ended(why)
    }

    fn ended(&self, why: End) -> Error {
        let path = self.path.clone();
        match why {
            End::Newer(Term { number, holder }) => {
                Error::Deposed { path, holder, newest: number, own: self.leadership.own.number }
            }
            End::Lost(how) => Error::Gone { path, how },
            End::Overtaken { writes } => Error::Overtaken { path, writes },
        }
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
