//! Readiness: could a host start a domain now, and if not, what is missing there?
//!
//! ```text
//!   definition ──▶ Requirements ─┐
//!                                ├─▶ Obstacle, one for each thing that the host lacks
//!   host ──▶ Facilities, files ──┘
//! ```
//!
//! [`Requirements`] is what a definition asks of any host. [`Facilities`] is what one host has, asked for in bulk, so that
//! the cost does not grow with the number of domains. Files, machine types and CPU models are asked for one by one; the
//! caller keeps the answers. What libvirt cannot tell about a host counts as present: a gap in our sight is no obstacle.

mod facilities;
mod requirements;

pub use facilities::{Facilities, FileAnswer};
pub use requirements::{FileUse, Machine, NeededFile, Pages, Requirements, SecretNeed};
