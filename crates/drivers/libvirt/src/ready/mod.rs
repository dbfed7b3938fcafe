//! Readiness: could a host start a domain now, and if not, what is missing there?
//!
//! ```text
//!   definition ──▶ Requirements ─┐
//!                                ├─▶ Missing, one for each thing that the host lacks
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

use std::fmt;

/// One thing that a host lacks for a domain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// What kind of thing.
    pub kind: Kind,
    /// Which one, or what libvirt says about it.
    pub what: String,
}

/// Kinds of things that a domain needs of its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A disk image, or an image that it is an overlay of.
    Image,
    /// The image in a CD or floppy drive.
    Media,
    /// A kernel, an initrd or a firmware image.
    BootFile,
    /// A libvirt network.
    Network,
    /// A bridge, or the interface that a macvtap device sits on.
    Bridge,
    /// A storage pool.
    StoragePool,
    /// A secret.
    Secret,
    /// The firmware's variables (NVRAM), which lie in a file of another host.
    FirmwareState,
    /// The state of an emulated TPM, which lies in a folder of another host.
    TpmState,
    /// The CPU model or a feature.
    Cpu,
    /// The machine type, the emulator or the architecture.
    Machine,
    /// A device that is passed through.
    Device,
    /// Huge pages.
    HugePages,
}

impl Missing {
    fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into() }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}", self.kind, self.what)
    }
}
