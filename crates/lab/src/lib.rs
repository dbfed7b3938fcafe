//! A cluster in a box, on real libvirtd and QEMU: for tests, demo, rehearsal.
//!
//! ```text
//!              ┌── switch ──────────────────────────────────────┐
//!   controller │        h1            h2            h3           │   power controller
//!   10.77.0.1 ─┤   [libvirtd]     [libvirtd]    [libvirtd]       │   (outside of it all,
//!              │    web-1 web-2    db-1 db-2     web-3 db-3      │    fence agent beside it)
//!              └────────────── shared storage ──────────────────┘
//! ```
//! A host is a set of Linux namespaces with its own libvirtd; a guest is a real QEMU with a tiny Linux that counts on its
//! disk and answers heartbeats. [`Lab::up`] builds one, [`Lab::attach`] finds it again, its methods break it
//! ([`faults`]) and tell what is really so ([`truth`], [`Watcher`]), [`Lab::down`] removes every trace.
//!
//! It does not know Mainstay: no decision is taken here, nothing is brought back. docs/lab.md is the user's page.

mod cgroup;
mod command;
mod configuration;
mod doors;
mod error;
pub mod faults;
mod guest;
mod host;
mod host_disk;
mod image;
mod lab;
mod layout;
mod network;
pub mod peer;
pub mod power;
mod probe;
mod removal;
mod scratch;
mod spec;
pub mod truth;
mod watch;

pub use error::{LabError, Result};
pub use lab::{Lab, Step, kernel_has_ipv6};
pub use layout::Layout;
pub use power::{PowerFault, PowerRecord, PowerRunner};
pub use probe::{Heartbeat, in_namespace};
pub use scratch::ScratchLab;
pub use spec::{DiskKind, GuestSpec, LabSpec};
pub use watch::{Gap, GuestReport, Watcher};
