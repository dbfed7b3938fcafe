//! How busy workloads were, for `stats` and its small history. Written apart from the engine's memory: it decides nothing.

use sqlx::SqliteConnection;

use crate::store::{DEADLINE, signed};
use crate::{Error, Store};

/// No answer holds more.
const MOST: u32 = 10_000;

/// How busy a workload was over the interval that ended at a moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// Which workload.
    pub workload: String,
    /// When the interval ended, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Processor time, in percent of one processor.
    pub cpu_percent: f64,
    /// Read from disks, in bytes a second.
    pub read_bps: f64,
    /// Written to disks, in bytes a second.
    pub write_bps: f64,
    /// Received from networks, in bytes a second.
    pub receive_bps: f64,
    /// Sent to networks, in bytes a second.
    pub send_bps: f64,
}

type Columns = (i64, f64, f64, f64, f64, f64);

impl Store {
    /// Appends samples, all or none. One of the same workload and moment replaces the former.
    ///
    /// # Errors
    /// If they cannot be written.
    pub async fn append_samples(&self, samples: &[Sample]) -> Result<(), Error> {
        self.write("writing samples", async |transaction: &mut SqliteConnection| {
            for sample in samples {
                sqlx::query(
                    "INSERT OR REPLACE INTO samples (workload, at_ms, cpu_percent, read_bps, write_bps, receive_bps, send_bps) \
                     VALUES (?, ?, ?, ?, ?, ?, ?)",
                )
                .bind(&sample.workload)
                .bind(signed(sample.at_ms))
                .bind(sample.cpu_percent)
                .bind(sample.read_bps)
                .bind(sample.write_bps)
                .bind(sample.receive_bps)
                .bind(sample.send_bps)
                .execute(&mut *transaction)
                .await?;
            }
            Ok(())
        })
        .await
    }

    /// The samples of a workload since a moment, the newest first, at most `limit`.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn samples(&self, workload: &str, since_ms: u64, limit: u32) -> Result<Vec<Sample>, Error> {
        let select = sqlx::query_as::<_, Columns>(
            "SELECT at_ms, cpu_percent, read_bps, write_bps, receive_bps, send_bps FROM samples \
             WHERE workload = ? AND at_ms >= ? ORDER BY at_ms DESC LIMIT ?",
        )
        .bind(workload)
        .bind(signed(since_ms))
        .bind(limit.min(MOST));
        let found = self.bounded("reading samples", DEADLINE, select.fetch_all(&self.readers)).await?;
        let sample = |(at_ms, cpu_percent, read_bps, write_bps, receive_bps, send_bps): Columns| Sample {
            workload: workload.to_owned(),
            at_ms: at_ms.unsigned_abs(),
            cpu_percent,
            read_bps,
            write_bps,
            receive_bps,
            send_bps,
        };
        Ok(found.into_iter().map(sample).collect())
    }
}
