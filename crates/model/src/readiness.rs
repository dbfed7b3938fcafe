//! Readiness: what a host lacks to start a workload now, as its driver found it. The idea is vSphere's compatibility check
//! before a migration, made for every host all the time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One thing that a host lacks for a workload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Obstacle {
    /// What kind of thing is missing.
    pub kind: ObstacleKind,
    /// Which one (a path, a name), or what the hypervisor says about it.
    pub what: String,
}

/// Kinds of things that a workload needs of its host, beside room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ObstacleKind {
    /// A passed-through device binds it to its host, or is not known to be there.
    Passthrough,
    /// A disk image, or an image that it is an overlay of.
    Image,
    /// The image in a CD or floppy drive.
    Media,
    /// A kernel, an initrd or a firmware image.
    BootFile,
    /// A network of the hypervisor.
    Network,
    /// A bridge or interface.
    Bridge,
    /// A storage pool.
    StoragePool,
    /// A secret.
    Secret,
    /// The firmware's variables, which lie on another host.
    FirmwareState,
    /// The state of an emulated TPM, which lies on another host.
    TpmState,
    /// Its memory, saved on another host.
    SavedMemory,
    /// The CPU model or a CPU feature.
    Cpu,
    /// The machine type, the emulator or the architecture.
    Machine,
    /// A device that is passed through.
    Device,
    /// A USB device that is passed through.
    UsbDevice,
    /// A block device that is a disk.
    DiskDevice,
    /// Huge pages.
    HugePages,
}

impl Obstacle {
    /// Of this kind.
    pub fn new(kind: ObstacleKind, what: impl Into<String>) -> Obstacle {
        Obstacle { kind, what: what.into() }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ObstacleKind::Passthrough => return f.write_str(&self.what),
            ObstacleKind::Image => "image",
            ObstacleKind::Media => "CD image",
            ObstacleKind::BootFile => "boot file",
            ObstacleKind::Network => "network",
            ObstacleKind::Bridge => "bridge",
            ObstacleKind::StoragePool => "storage pool",
            ObstacleKind::Secret => "secret",
            ObstacleKind::FirmwareState => "firmware variables",
            ObstacleKind::TpmState => "TPM state",
            ObstacleKind::SavedMemory => "saved memory",
            ObstacleKind::Cpu => "CPU",
            ObstacleKind::Machine => "machine type",
            ObstacleKind::Device => "device",
            ObstacleKind::UsbDevice => "USB device",
            ObstacleKind::DiskDevice => "disk device",
            ObstacleKind::HugePages => "huge pages",
        };
        match self.kind {
            ObstacleKind::Cpu
            | ObstacleKind::Machine
            | ObstacleKind::HugePages
            | ObstacleKind::UsbDevice
            | ObstacleKind::DiskDevice
            | ObstacleKind::FirmwareState
            | ObstacleKind::TpmState
            | ObstacleKind::SavedMemory => write!(f, "{kind}: {}", self.what),
            _ => write!(f, "{kind} {} is missing", self.what),
        }
    }
}
