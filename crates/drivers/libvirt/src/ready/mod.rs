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
//! caller keeps the answers. What libvirt cannot tell about a host is no obstacle. It is not there either where it is a
//! device: [`Facilities::cannot_tell`] and [`DeviceAnswer::Unknown`]. Networks, bridges, pools and secrets count as there on
//! hosts whose libvirt lacks the driver that lists them.

mod devices;
mod facilities;
mod passthrough;
mod requirements;

pub use devices::{DeviceAnswer, DiskIdentity, UsbNeed, named_by_kernel};
pub use facilities::{Facilities, FileAnswer, HostIs, Wanted};
pub use passthrough::passed_through;
pub use requirements::{FileUse, Machine, NeededDevice, NeededFile, Pages, Requirements, SecretNeed};
