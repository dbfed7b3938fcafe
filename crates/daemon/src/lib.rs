//! The controller process: pumps facts, orders and outcomes between the pure core and the adapters.
//!
//! ```text
//!   sensors ──facts──▶ pump { engine } ──orders──▶ executors
//!                        │   ▲  persist first         │
//!                        ▼   └──────── outcomes ◀─────┘
//!                      memory (store)
//! ```
//! It owns the clock, the store, the connections to hosts and the executors. It decides nothing: that is the engine's.

mod clock;
mod config;
mod definition;
mod executors;
mod handle;
mod housekeeping;
mod link;
mod memory;
mod news;
mod notifier;
mod pump;
mod rehearse;
mod sensors;
mod service;
mod shortage;
mod stats;
mod supervise;
mod trouble;
mod workbench;

pub use clock::Clock;
pub use config::{Checked, ConfigError, check, read_text};
pub use executors::{ByHand, Console, DeviceAnswer, Disaster, Touch, check_devices};
pub use handle::{EventQuery, Handle, Health, NoAnswer, ReloadRefused, ReloadReport};
pub use news::News;
pub use rehearse::{DieAt, Moment};
pub use service::{Deposed, Options, Running, StartError, start};
pub use stats::{Rates, StatsBoard, WorkloadStats};
pub use workbench::Workbench;
