//! Hosts and the devices that fence them.

use super::Origin;
use crate::{DeviceId, HostId, Resources, Setting, SiteId, Span};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A host as configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSpec {
    /// Its site.
    pub site: SiteId,
    /// Address for ping; empty: not pinged.
    pub address: String,
    /// How its hypervisor is reached, such as `qemu+tcp://10.77.0.11/system`.
    pub uri: String,
    /// Tags for placement rules.
    pub tags: BTreeSet<String>,
    /// A spare gets work only when the others cannot take it.
    pub spare: bool,
    /// Held back for the host itself.
    pub reserve: Resources,
    /// Total capacity if it is not to be read from the hypervisor.
    pub capacity: Option<Resources>,
    /// CPU overcommit in percent: 400 = four vCPUs per core.
    pub cpu_overcommit_percent: u32,
    /// Fence levels in order; all devices of a level must succeed. Empty: a person has to confirm.
    pub fence: Vec<Vec<DeviceId>>,
    /// What is tried before and after fencing to get the host back.
    pub revive: Revive,
    /// Where it is written.
    pub origin: Origin,
}

/// Getting a lost host back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revive {
    /// A host found without power is switched on and waited for this long before its VMs start elsewhere. Zero: do not wait.
    pub within: Span,
    /// What becomes of a host after it was fenced.
    pub after_fence: AfterFence,
    /// No more than this many power-ons within an hour: a flapping host is left off.
    pub power_ons_per_hour: u32,
}

impl Default for Revive {
    fn default() -> Revive {
        Revive { within: Span::ZERO, after_fence: AfterFence::PowerOn, power_ons_per_hour: 3 }
    }
}

/// What becomes of a host after it was fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AfterFence {
    /// Power it on once its workloads are safe elsewhere; it returns after a check.
    PowerOn,
    /// Leave it off for a person to look at.
    LeaveOff,
}

/// A fence device: one agent of the ClusterLabs fence-agents family with its options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceDevice {
    /// Agent's name or path, such as `fence_ipmilan`.
    pub agent: String,
    /// Options passed on standard input. Secrets may be given as `password_file`.
    pub options: BTreeMap<String, Setting>,
    /// What a host is called at this device, if not by its own name.
    pub plug: BTreeMap<HostId, String>,
    /// Bound for one call of the agent.
    pub timeout: Span,
    /// Bound for the verification that the host is off.
    pub verify_within: Span,
    /// Attempts beyond the first.
    pub retries: u32,
    /// A device that said off is asked again after this, and only the second answer counts; zero: it is not asked again.
    pub settle: Span,
    /// Wait before `off`, so that of two who would fence each other one wins.
    pub delay: Span,
    /// How often it is asked although nothing depends on it; zero: never.
    #[serde(default)]
    pub probe_every: Span,
    /// Where it is written.
    pub origin: Origin,
}

impl FenceDevice {
    /// A device that did not say *on* is asked again so soon, if it is asked at all.
    const ASKED_SOON: Span = Span::minutes(1);

    /// When it is asked next although nothing depends on it, counted from its answer. One that says *off* may say it of a host
    /// that runs: then it is the wrong one, or a moment too early.
    pub fn asked_again_in(&self, said_on: bool) -> Span {
        if said_on { self.probe_every } else { self.asked_soon() }
    }

    /// A device that is new, or that could not be asked, is asked within this.
    pub fn asked_soon(&self) -> Span {
        self.probe_every.min(Self::ASKED_SOON)
    }
}
