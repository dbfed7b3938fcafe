//! Driver for the ClusterLabs fence-agents family (FenceAgentAPI): any program that reads `key=value` lines on stdin,
//! does what `action=` says to a host's power, and answers `status` with exit code 0 (on), 2 (off) or 1 (cannot tell) and
//! with the line `Status: ON` or `Status: OFF`.
//!
//! ```text
//! Level ──▶ Device ──▶ Agent ──▶ process group with a deadline
//!  all       status     options, metadata,
//!  must      off        redaction of secrets
//!  succeed   status…
//! ```
//!
//! What counts is the fact, not the exit code: a host is fenced only when the device itself says that it is off. A device
//! that reports success while the host is on, or that cannot tell, has fenced nothing, and the report says which.
//!
//! This crate does not decide when to fence, nor which level comes next: that is the engine's.

mod agent;
mod check;
mod device;
mod error;
mod level;
mod metadata;
mod options;
pub mod process;
mod status;
mod waits;

pub use agent::{Agent, Output};
pub use check::Problem;
pub use device::{Device, Done, NotDone, PowerState, Target};
pub use error::{Error, MetadataError};
pub use level::{DeviceReport, DeviceResult, Level, LevelReport, fence_level};
pub use metadata::{Metadata, Parameter, ValueType};
pub use options::{Options, PASSWORD_FILE};
pub use status::Answer;
