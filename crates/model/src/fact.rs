//! Facts: what a sensor saw. They can be late, doubled, out of order or missing; the engine makes belief of them.

use crate::{DeviceId, HostId, Obstacle, PointId, Resources, Time, WorkloadId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

/// Something a sensor saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "fact")]
pub enum Fact {
    /// A sign of life of a host on one channel.
    HostHeard {
        /// The host.
        host: HostId,
        /// Where it was heard.
        channel: HostChannel,
    },
    /// A host was asked on one channel and gave no answer.
    HostSilent {
        /// The host.
        host: HostId,
        /// Where it was asked.
        channel: HostChannel,
        /// What went wrong, for people.
        error: String,
        /// True if the other side closed the connection itself, as a daemon does that ends in good order, and the kernel for
        /// one that is killed. Neither a power cut nor a cut cable does that.
        #[serde(default)]
        closed: bool,
    },
    /// A host could not even be asked on one channel: its name does not resolve, it turns us away, or what we need for
    /// asking is missing on our side. Nothing follows from it about whether the host lives.
    HostUnasked {
        /// The host.
        host: HostId,
        /// Where it could not be asked.
        channel: HostChannel,
        /// Why, for people.
        error: String,
    },
    /// A complete list of a host's domains, asked for at `asked_at`: what is not in it was not there then.
    Inventory {
        /// The host.
        host: HostId,
        /// When the question left; events seen later than this are newer than the list.
        asked_at: Time,
        /// What the host has in all.
        capacity: Resources,
        /// Every domain, running or not. Shared, so that an unchanged list can be told again at no cost.
        domains: Arc<BTreeMap<WorkloadId, DomainSeen>>,
    },
    /// A pushed event about one domain.
    Domain {
        /// The host.
        host: HostId,
        /// The domain.
        workload: WorkloadId,
        /// What happened to it.
        change: DomainChange,
    },
    /// When a host's kernel began to run: nothing that ran there before runs any more. Told when its hypervisor is heard anew.
    HostBooted {
        /// The host.
        host: HostId,
        /// When, on the controller's clock; some seconds more or less.
        at: Time,
    },
    /// Statistics of a host's running domains.
    Activity {
        /// The host.
        host: HostId,
        /// Each domain's counters, which only grow while it runs.
        activities: Vec<(WorkloadId, Activity)>,
    },
    /// A sign of life of a guest.
    GuestHeard {
        /// The guest.
        workload: WorkloadId,
        /// Where it was heard.
        channel: GuestChannel,
    },
    /// As [`Fact::GuestHeard`], but at an address that the guest itself gave: another machine may answer there. It
    /// counts for the guest, and does not vouch for its host.
    GuestHeardAtItsWord {
        /// The guest.
        workload: WorkloadId,
        /// Where it was heard.
        channel: GuestChannel,
    },
    /// A guest was asked and gave no answer.
    GuestSilent {
        /// The guest.
        workload: WorkloadId,
        /// Where it was asked.
        channel: GuestChannel,
    },
    /// A fence device told whether a host has power.
    Power {
        /// The host.
        host: HostId,
        /// When the device was asked.
        asked_at: Time,
        /// What it said.
        state: PowerState,
    },
    /// A fence device was asked for a host's power although nothing depends on it now: whether it could be relied on.
    FenceProbe {
        /// The host.
        host: HostId,
        /// The device.
        device: DeviceId,
        /// What it said of the host's power; none if it gave no answer that could prove anything.
        state: Option<PowerState>,
        /// Why it gave none, for people.
        error: String,
    },
    /// The snapshots which a host holds of a workload: a complete list.
    PointsSeen {
        /// The workload.
        workload: WorkloadId,
        /// When the question left.
        asked_at: Time,
        /// Their names.
        points: BTreeSet<PointId>,
        /// Those of them under which reverts keep what was there before.
        #[serde(default)]
        set_aside: BTreeSet<PointId>,
    },
    /// Which workloads a host could start now, and what it lacks for the others. It replaces all that the host said before.
    Readiness {
        /// The host.
        host: HostId,
        /// When the host was asked.
        asked_at: Time,
        /// What it lacks for each; nothing: it is ready. A workload that is not in it was not looked at.
        workloads: Arc<BTreeMap<WorkloadId, Vec<Obstacle>>>,
    },
}

/// Where a host is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostChannel {
    /// Its hypervisor's management answers (libvirtd).
    Hypervisor,
    /// Its address answers ping.
    Ping,
}

/// Where a guest is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestChannel {
    /// Its address answers ping.
    Ping,
    /// Its guest agent answers.
    Agent,
    /// A TCP port accepts.
    Tcp,
    /// A URL answers.
    Http,
}

/// Whether a host has power, as its fence device says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerState {
    /// It has.
    On,
    /// It has not: nothing runs there.
    Off,
}

impl fmt::Display for PowerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PowerState::On => "on",
            PowerState::Off => "off",
        })
    }
}

/// One domain in an inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainSeen {
    /// Identity that survives a rename.
    pub uuid: String,
    /// What it does.
    pub state: DomainState,
    /// What it needs by its definition.
    pub needs: Resources,
    /// Started by the hypervisor itself when the host boots: dangerous for a protected workload.
    pub autostart: bool,
    /// Tags in its definition.
    pub tags: BTreeSet<String>,
    /// Where its disks lie, for limits (pool or directory).
    pub datastores: BTreeSet<String>,
    /// False if something binds it to its host (a local disk, a passed-through device).
    pub movable: bool,
    /// State of it that lies on this host only, as far as the hypervisor tells.
    #[serde(default)]
    pub only_here: BTreeSet<HostState>,
    /// Devices of this host that are passed through to it, as people read them. With one of them it is not movable.
    #[serde(default)]
    pub passed_through: BTreeSet<String>,
}

/// State of a workload that its hypervisor keeps on one host, beside its disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HostState {
    /// What its emulated TPM keeps: keys that seal its disks.
    Tpm,
    /// The variables of its UEFI firmware: boot entries, keys of secure boot.
    UefiVariables,
    /// Its memory, saved to the host's disk when it was stopped.
    SavedMemory,
}

impl fmt::Display for HostState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            HostState::Tpm => "the state of its TPM",
            HostState::UefiVariables => "its UEFI variables",
            HostState::SavedMemory => "its saved memory",
        })
    }
}

/// What a domain does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DomainState {
    /// It executes (so the hypervisor says).
    Running,
    /// It is held; its memory is there, it does not execute now, but may at any moment.
    Paused(PauseReason),
    /// Its guest panicked and the hypervisor keeps it for inspection; it does not execute.
    Panicked,
    /// It does not exist as a process.
    Off(OffReason),
}

/// Why a domain is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseReason {
    /// Its disk failed.
    IoError,
    /// A person or tool suspended it.
    Person,
    /// A migration or snapshot holds it for a moment.
    Busy,
    /// Its watchdog fired.
    Watchdog,
    /// Its guest went to sleep by its own power management: it is woken, not resumed.
    Asleep,
    /// A write found no space left on the storage under its disk: it goes on when there is room.
    NoSpace,
    /// Anything else.
    Other,
}

/// Why a domain is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OffReason {
    /// The guest shut itself down: its owner, inside, or a graceful stop from outside.
    Shutdown,
    /// It was destroyed through the hypervisor.
    Destroyed,
    /// The guest panicked.
    Panicked,
    /// The hypervisor process died.
    Crashed,
    /// The hypervisor process ended on a signal from the host.
    Signalled,
    /// It went to another host.
    Migrated,
    /// A person saved it to disk.
    Saved,
    /// Its definition is gone.
    Undefined,
    /// Off, and the hypervisor does not know why: never started since its host booted.
    Unknown,
}

impl DomainState {
    /// True if it executes or may go on executing at any moment: then it must run nowhere else.
    pub fn is_live(self) -> bool {
        !matches!(self, DomainState::Off(_))
    }

    /// True if a migration or snapshot holds it for a moment: so is the copy at the target of a migration.
    pub fn is_held(self) -> bool {
        matches!(self, DomainState::Paused(PauseReason::Busy))
    }
}

/// A pushed event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DomainChange {
    /// It is now in this state.
    State(DomainState),
    /// Its definition was made or changed.
    Defined,
    /// Its definition was removed.
    Undefined,
    /// The guest rebooted by itself.
    Rebooted,
    /// Its watchdog fired.
    Watchdog,
}

/// Counters of a running domain. A guest that still writes is not reset for a missed heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// CPU time used, in milliseconds.
    pub cpu_ms: u64,
    /// Bytes read from all disks.
    pub disk_read: u64,
    /// Bytes written to all disks.
    pub disk_written: u64,
    /// Bytes received over all interfaces.
    pub net_received: u64,
    /// Bytes sent over all interfaces.
    pub net_sent: u64,
}

impl fmt::Display for HostChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            HostChannel::Hypervisor => "hypervisor",
            HostChannel::Ping => "ping",
        })
    }
}

impl fmt::Display for GuestChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            GuestChannel::Ping => "ping",
            GuestChannel::Agent => "guest agent",
            GuestChannel::Tcp => "tcp",
            GuestChannel::Http => "http",
        })
    }
}

impl fmt::Display for DomainState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            DomainState::Running => "running",
            DomainState::Paused(PauseReason::IoError) => "paused on an I/O error",
            DomainState::Paused(PauseReason::Person) => "paused by a person",
            DomainState::Paused(PauseReason::Watchdog) => "paused by its watchdog",
            DomainState::Paused(PauseReason::Asleep) => "asleep",
            DomainState::Paused(PauseReason::NoSpace) => "paused: no space is left for its disk",
            DomainState::Paused(_) => "paused",
            DomainState::Panicked => "panicked",
            DomainState::Off(OffReason::Shutdown) => "shut down",
            DomainState::Off(OffReason::Destroyed) => "destroyed",
            DomainState::Off(OffReason::Panicked) => "off after a panic",
            DomainState::Off(OffReason::Crashed) => "off: its process died",
            DomainState::Off(OffReason::Signalled) => "off: its process was ended by a signal",
            DomainState::Off(OffReason::Migrated) => "migrated away",
            DomainState::Off(OffReason::Saved) => "saved to disk",
            DomainState::Off(OffReason::Undefined) => "not defined",
            DomainState::Off(OffReason::Unknown) => "off",
        })
    }
}
