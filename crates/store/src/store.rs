//! The open store: one writer, a few readers, and the batch as the only way in which the engine's memory changes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::{SqliteConnection, SqlitePool};
use tokio::time::timeout;

use crate::identity::Place;
use crate::lock::Lock;
use crate::term::Leadership;
use crate::witness::Witness;
use crate::writer::Writer;
use crate::{Batch, Change, Error, EventQuery, Kind, Row, StoredEvent, events, packed};

/// SQLite answers in milliseconds. A disk silent for so long is gone, and a controller that cannot remember must not act.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The memory of one controller, held exclusively until closed or dropped.
#[derive(Debug)]
pub struct Store {
    pub(crate) path: PathBuf,
    pub(crate) writer: Writer,
    pub(crate) readers: SqlitePool,
    pub(crate) leadership: Leadership,
    /// The file itself, which must stay the one that was opened.
    pub(crate) place: Place,
    /// Why this memory is older than the world.
    pub(crate) put_back: Option<String>,
    /// Released by the operating system when the process ends, however it ends. Holds how far the store has come.
    pub(crate) lock: Lock,
    /// How far it has come, for whom it stands elsewhere.
    pub(crate) witness: Option<Witness>,
}

impl Store {
    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a batch durable: all of it or nothing. Batches take place in the order of the calls.
    ///
    /// # Errors
    /// After any error nothing of the batch may be acted upon; after [`Error::Deposed`] nothing at all, any more; after
    /// [`Error::Stuck`], and if this future is dropped, it is not known whether it took place until the store is opened again.
    pub async fn commit(&self, batch: &Batch) -> Result<(), Error> {
        self.write("writing the engine's memory", async |transaction: &mut SqliteConnection| {
            for change in &batch.changes {
                apply(transaction, change, batch.at_ms).await?;
            }
            for event in &batch.events {
                events::append(transaction, event).await?;
            }
            Ok(())
        })
        .await
    }

    /// All rows of these kinds, by kind and key: what the engine goes on from after a restart.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn load(&self, kinds: &[Kind]) -> Result<Vec<Row>, Error> {
        let work = async {
            let mut transaction = self.readers.begin().await?;
            let mut rows = Vec::new();
            for &kind in kinds {
                let found: Vec<Stored> = sqlx::query_as(kind.select()).fetch_all(&mut *transaction).await?;
                for stored in found {
                    rows.push(row(kind, stored)?);
                }
            }
            Ok(rows)
        };
        self.bounded("reading the engine's memory", DEADLINE, work).await
    }

    /// The first rows of a kind whose keys come after `after`, at most `most`: for kinds whose rows are too long to be
    /// loaded all at once.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn page(&self, kind: Kind, after: &str, most: u32) -> Result<Vec<Row>, Error> {
        let work = async {
            let select = sqlx::query_as::<_, Stored>(kind.select_page()).bind(after).bind(most);
            select.fetch_all(&self.readers).await?.into_iter().map(|stored| row(kind, stored)).collect()
        };
        self.bounded("reading the engine's memory", DEADLINE, work).await
    }

    /// The body of a row; `None` if there is no such row.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn body(&self, kind: Kind, key: &str) -> Result<Option<String>, Error> {
        let work = async {
            let select = sqlx::query_scalar::<_, Vec<u8>>(kind.select_one()).bind(key);
            select.fetch_optional(&self.readers).await?.map(|body| packed::unpack(&body)).transpose()
        };
        self.bounded("reading the engine's memory", DEADLINE, work).await
    }

    /// Events that match, the newest first.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn events(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, Error> {
        self.bounded("reading events", DEADLINE, events::select(&self.readers, query)).await
    }

    /// Why this memory is known to be older than the world: it was copied, put back, or deleted. It is known until
    /// [`Store::put_back_is_known`].
    pub fn put_back(&self) -> Option<&str> {
        self.put_back.as_deref()
    }

    /// The engine has it on record that this memory is older than the world.
    ///
    /// # Errors
    /// If that can't be written; then it is reported again at the next start, which does no harm.
    pub async fn put_back_is_known(&self) -> Result<(), Error> {
        self.write("noting that it was put back", async |transaction: &mut SqliteConnection| {
            sqlx::query("UPDATE identity SET put_back = NULL").execute(transaction).await.map(drop)
        })
        .await
    }

    /// Writes back what is pending and releases the lock. A store that is only dropped loses nothing either.
    pub async fn close(self) {
        self.write_back().await;
    }

    /// Writes the log back into the database, so that the one file is all there is. Nothing should be asked afterwards.
    pub async fn write_back(&self) {
        // The file is written to now: what it says of its last write must not be older.
        let _ = self.write("closing it", async |_: &mut SqliteConnection| Ok(())).await;
        self.readers.close().await;
        self.writer.close().await;
    }

    pub(crate) async fn bounded<T>(
        &self,
        doing: &'static str,
        deadline: Duration,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, Error> {
        match timeout(deadline, work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) => Err(Error::from_sql(&self.path, doing, source)),
            Err(_) => Err(Error::Stuck { path: self.path.clone(), doing, after: deadline }),
        }
    }
}

/// Key and body as they are stored.
type Stored = (String, Vec<u8>);

fn row(kind: Kind, (key, body): Stored) -> Result<Row, sqlx::Error> {
    Ok(Row { kind, key, body: packed::unpack(&body)? })
}

async fn apply(transaction: &mut SqliteConnection, change: &Change, at_ms: u64) -> Result<(), sqlx::Error> {
    let query = match &change.body {
        Some(body) if change.kind.is_packed() => {
            sqlx::query(change.kind.upsert()).bind(&change.key).bind(packed::pack(body)).bind(signed(at_ms))
        }
        Some(body) => sqlx::query(change.kind.upsert()).bind(&change.key).bind(body).bind(signed(at_ms)),
        None => sqlx::query(change.kind.delete()).bind(&change.key),
    };
    query.execute(transaction).await.map(drop)
}

/// SQLite's integers are signed; no clock reaches their end, but "until for ever" does.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
