//! Forgetting, in small steps, so that the engine never waits long for its turn to write. Only history is forgotten here:
//! events and samples. Rows belong to the engine, which deletes them itself.

use sqlx::SqliteConnection;

use crate::store::{DEADLINE, signed};
use crate::{Error, Store};

/// Deleted from one table by one call.
const STEP_ROWS: i64 = 1_000;
/// Pages of deleted rows that stay in the file, to be used again: 16 MB.
const SPARE_PAGES: i64 = 4_096;
/// Pages given back by one call: 8 MB.
const STEP_PAGES: i64 = 2_048;

/// What to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Events not older than this.
    pub events_since_ms: u64,
    /// Of those, at most so many that people look for later, the newest: they are yellow or red, or part of an incident.
    pub notable_events: u64,
    /// At most so many of all others, the newest. A large cluster makes hundreds of them a second.
    pub routine_events: u64,
    /// Samples not older than this.
    pub samples_since_ms: u64,
}

/// What was forgotten by one call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Events.
    pub events: u64,
    /// Samples.
    pub samples: u64,
    /// Pages that the file system has back.
    pub pages: u64,
    /// There may be more to forget: call again.
    pub more: bool,
}

impl Store {
    /// Forgets a bounded part of what need not be kept, and gives a bounded part of its space back.
    ///
    /// # Errors
    /// If nothing could be deleted.
    pub async fn prune(&self, keep: &Keep) -> Result<Pruned, Error> {
        let old = "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE at_ms < ?1 LIMIT ?2)";
        let routine = "DELETE FROM events WHERE seq IN (SELECT seq FROM events \
             WHERE severity = 0 AND incident IS NULL AND seq <= ?1 ORDER BY seq LIMIT ?2)";
        let notable = "DELETE FROM events WHERE seq IN (SELECT seq FROM events \
             WHERE (severity > 0 OR incident IS NOT NULL) AND seq <= ?1 ORDER BY seq LIMIT ?2)";
        let samples = "DELETE FROM samples WHERE (at_ms, workload) IN (SELECT at_ms, workload FROM samples \
             WHERE at_ms < ?1 LIMIT ?2)";
        let newest_routine = "SELECT seq FROM events WHERE severity = 0 AND incident IS NULL \
             ORDER BY seq DESC LIMIT 1 OFFSET ?";
        let newest_notable = "SELECT seq FROM events WHERE severity > 0 OR incident IS NOT NULL \
             ORDER BY seq DESC LIMIT 1 OFFSET ?";
        let counts = [
            self.forget(old, Some(signed(keep.events_since_ms))).await?,
            self.forget(routine, self.beyond(newest_routine, keep.routine_events).await?).await?,
            self.forget(notable, self.beyond(newest_notable, keep.notable_events).await?).await?,
            self.forget(samples, Some(signed(keep.samples_since_ms))).await?,
        ];
        let pages = self.give_back().await?;
        Ok(Pruned {
            events: counts[..3].iter().sum(),
            samples: counts[3],
            pages,
            more: counts.contains(&STEP_ROWS.unsigned_abs()) || pages == STEP_PAGES.unsigned_abs(),
        })
    }

    /// The newest event that is beyond so many; found without keeping the engine from writing.
    async fn beyond(&self, statement: &'static str, count: u64) -> Result<Option<i64>, Error> {
        let select = sqlx::query_scalar(statement).bind(signed(count));
        self.bounded("counting events", DEADLINE, select.fetch_optional(&self.readers)).await
    }

    async fn forget(&self, statement: &'static str, bound: Option<i64>) -> Result<u64, Error> {
        let Some(bound) = bound else { return Ok(0) };
        let delete = sqlx::query(statement).bind(bound).bind(STEP_ROWS);
        let work = async |transaction: &mut SqliteConnection| delete.execute(transaction).await;
        Ok(self.write("deleting what is old", work).await?.rows_affected())
    }

    /// Gives unused pages back to the file system.
    async fn give_back(&self) -> Result<u64, Error> {
        let work = self.writer.with(async |connection: &mut SqliteConnection| {
            let unused: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut *connection).await?;
            let surplus = (unused - SPARE_PAGES).clamp(0, STEP_PAGES);
            if surplus > 0 {
                sqlx::raw_sql(GIVE_BACK).execute(connection).await?;
            }
            Ok(surplus.unsigned_abs())
        });
        self.bounded("giving space back", DEADLINE, work).await
    }
}

/// [`STEP_PAGES`] at once.
const GIVE_BACK: &str = "PRAGMA incremental_vacuum(2048)";
