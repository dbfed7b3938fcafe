//! Forgetting, in small steps, so that the engine never waits long for its turn to write.

use sqlx::SqliteConnection;

use crate::store::signed;
use crate::{Error, Store};

/// Deleted from one table by one call.
const STEP_ROWS: i64 = 1_000;

/// What to keep. What is not finished is always kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Events not older than this.
    pub events_since_ms: u64,
    /// And of those at most so many, the newest.
    pub events: u64,
    /// Incidents closed (`closed_at` in their body), and orders that came to an end (`ended`), not written before this.
    pub finished_since_ms: u64,
    /// Samples not older than this.
    pub samples_since_ms: u64,
}

/// What was forgotten by one call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Events.
    pub events: u64,
    /// Finished incidents.
    pub incidents: u64,
    /// Finished orders.
    pub orders: u64,
    /// Samples.
    pub samples: u64,
    /// There may be more to forget: call again.
    pub more: bool,
}

impl Store {
    /// Forgets a bounded part of what need not be kept.
    ///
    /// # Errors
    /// If nothing could be deleted.
    pub async fn prune(&self, keep: &Keep) -> Result<Pruned, Error> {
        let events = "DELETE FROM events WHERE seq IN (SELECT seq FROM events \
             WHERE at_ms < ?1 OR seq <= (SELECT max(seq) FROM events) - ?2 ORDER BY seq LIMIT ?3)";
        let incidents = "DELETE FROM incidents WHERE key IN (SELECT key FROM incidents \
             WHERE updated_ms < ? AND json_extract(body, '$.closed_at') IS NOT NULL LIMIT ?)";
        let orders = "DELETE FROM orders WHERE key IN (SELECT key FROM orders \
             WHERE updated_ms < ? AND json_extract(body, '$.ended') IS NOT NULL LIMIT ?)";
        let samples = "DELETE FROM samples WHERE (workload, at_ms) IN (SELECT workload, at_ms FROM samples \
             WHERE at_ms < ? LIMIT ?)";
        let mut pruned = Pruned {
            events: self.forget(events, &[signed(keep.events_since_ms), signed(keep.events)]).await?,
            incidents: self.forget(incidents, &[signed(keep.finished_since_ms)]).await?,
            orders: self.forget(orders, &[signed(keep.finished_since_ms)]).await?,
            samples: self.forget(samples, &[signed(keep.samples_since_ms)]).await?,
            more: false,
        };
        let counts = [pruned.events, pruned.incidents, pruned.orders, pruned.samples];
        pruned.more = counts.contains(&STEP_ROWS.unsigned_abs());
        Ok(pruned)
    }

    async fn forget(&self, statement: &'static str, bounds: &[i64]) -> Result<u64, Error> {
        let delete = bounds.iter().fold(sqlx::query(statement), |query, bound| query.bind(*bound)).bind(STEP_ROWS);
        let work = async |transaction: &mut SqliteConnection| delete.execute(transaction).await;
        Ok(self.write("deleting what is old", work).await?.rows_affected())
    }
}
