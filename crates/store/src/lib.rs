//! What Mainstay remembers: one SQLite file. Acknowledged means durable: once [`Store::commit`] has returned, neither a killed
//! process nor a power cut takes the batch back, and a batch is there as a whole or not at all.
//!
//! ```text
//! engine ── Step{changes, events} ──▶ commit ──▶ one transaction, fsync ──▶ orders may leave
//!    ▲                                              │
//!    └──────────── load (after a restart) ◀─────────┘      events, samples: read by people
//! ```
//!
//! Bodies are JSON made by the caller: what they mean is not known here, nor is anything decided. The one writer is the
//! leading controller: a lock beside the file keeps a second one out, and a term in it keeps apart whom the lock did not.

mod backup;
mod error;
mod events;
mod identity;
mod lock;
mod open;
mod packed;
mod prune;
mod rows;
mod samples;
mod store;
mod term;
mod witness;
mod writer;

pub use error::Error;
pub use events::{Event, EventQuery, StoredEvent, Subject};
pub use prune::{Keep, Pruned};
pub use rows::{Batch, Change, Kind, Row};
pub use samples::Sample;
pub use store::Store;
