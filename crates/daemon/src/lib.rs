//! The controller process: pumps facts, orders and outcomes between the pure core and the adapters.
//!
//! It owns the clock, the store, the connections to hosts and the executors. It decides nothing: that is the engine's.

mod clock;
mod handle;
mod news;
mod service;
mod stats;

pub use clock::Clock;
pub use handle::{EventQuery, Handle, Health, NoAnswer, ReloadRefused, ReloadReport};
pub use news::News;
pub use service::{Options, Running, StartError, start};
pub use stats::{Rates, StatsBoard, WorkloadStats};
