//! A host as it truly is, and the connection the controller has to it.

use crate::{
    random::Stream,
    scenario::setup::{GuestsOnBoot, GuestsOnShutdown},
};
use mainstay_model::{ActionId, DeviceId, HostId, OffReason, Resources, Span, Time, WorkloadId};
use std::collections::{BTreeMap, BTreeSet};

/// A host as it truly is.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub name: HostId,
    pub capacity: Resources,
    pub boot_time: Span,
    pub power: Power,
    /// When it came up last.
    pub booted_at: Time,
    /// When a deed last changed something about it, or its management came up.
    pub touched_at: Time,
    /// Memory that its processes can hold: more than it has if its guests added up to more at the beginning (ballooning).
    pub holds_mib: u64,
    /// Grows with every loss of power, so that what was begun before is known to be over.
    pub boots: u64,
    /// False: its mains are cut, and with them the fence devices that it feeds.
    pub mains: bool,
    /// What of the way between it and the controller is cut; its guests and its storage go on.
    pub path: Path,
    /// True: nothing on it executes, guests included, but it may go on at any moment.
    pub frozen: bool,
    /// Its power is off, and its memory lies on its disk: at the next power on it goes on where it was.
    pub hibernated: bool,
    /// When its fence devices are asked next although nothing depends on it.
    pub devices_due: BTreeMap<DeviceId, Time>,
    pub management: Management,
    /// Bridges that it lacks.
    pub lacks: BTreeSet<String>,
    pub guests_on_shutdown: GuestsOnShutdown,
    pub guests_on_boot: GuestsOnBoot,
    /// Guests that libvirt-guests found running when it shut the host down: it starts them again if it is to.
    pub ran_at_shutdown: Vec<WorkloadId>,
    /// A fence device has switched it off and says so already; its power goes a moment later.
    pub power_goes: bool,
    /// Since when its owner shuts it down.
    pub going_down: Option<Time>,
    pub domains: BTreeMap<WorkloadId, Definition>,
    /// Other VMs, running, that bear the name of a guest: nobody's business here, and in its way.
    pub namesakes: BTreeSet<WorkloadId>,
    pub connection: Connection,
    /// Requests that reached it while its management was stopped.
    pub backlog: Vec<ActionId>,
    pub random: Stream,
}

/// The way between the controller and a host, each direction by itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Path {
    /// Nothing passes, neither to the host nor to its guests.
    pub cut: bool,
    /// What the controller sends does not arrive.
    pub requests_lost: bool,
    /// What host and guests send does not arrive.
    pub answers_lost: bool,
    /// The host's own address can't be reached; its guests, on another network, can.
    pub management_cut: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Power {
    Off,
    /// It has power, and nothing runs yet.
    Booting,
    On,
}

/// The hypervisor's management daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Management {
    Runs,
    /// Stopped by a signal or stuck: takes requests, answers none.
    Stopped,
    Dead,
}

/// A domain as a host has it defined.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub autostart: bool,
    /// False: it vanishes with its process.
    pub persistent: bool,
    /// Why it is off, as the hypervisor remembers it.
    pub off: OffReason,
}

/// The controller's connection to a host's management.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connection {
    pub open: bool,
    /// Grows with each connection: replies of an older one are lost.
    pub number: u64,
    /// Keepalives without an answer.
    pub misses: u32,
    /// What was sent last over it arrives then; nothing overtakes it.
    pub last_arrival: Time,
}

impl Host {
    pub fn new(name: HostId, capacity: Resources, boot_time: Span, seed: u64) -> Host {
        let random = Stream::new(seed, &format!("host/{name}"));
        Host {
            name,
            capacity,
            boot_time,
            power: Power::On,
            booted_at: Time(0),
            touched_at: Time(0),
            holds_mib: capacity.memory_mib,
            boots: 0,
            mains: true,
            path: Path::default(),
            frozen: false,
            hibernated: false,
            devices_due: BTreeMap::new(),
            management: Management::Runs,
            lacks: BTreeSet::new(),
            guests_on_shutdown: GuestsOnShutdown::default(),
            guests_on_boot: GuestsOnBoot::default(),
            ran_at_shutdown: Vec::new(),
            power_goes: false,
            going_down: None,
            domains: BTreeMap::new(),
            namesakes: BTreeSet::new(),
            connection: Connection::default(),
            backlog: Vec::new(),
            random,
        }
    }

    /// What its guests say when asked over the network comes back.
    pub fn carries_guests(&self) -> bool {
        let path = self.path;
        self.executes() && !(path.cut || path.requests_lost || path.answers_lost)
    }

    /// Its kernel answers the network.
    pub fn answers_ping(&self) -> bool {
        self.carries_guests() && !self.path.management_cut
    }

    /// A request of the controller arrives.
    pub fn is_reached(&self) -> bool {
        self.power == Power::On && !(self.path.cut || self.path.requests_lost || self.path.management_cut)
    }

    /// What its management says by itself, or late, arrives.
    pub fn is_heard(&self) -> bool {
        let lost = self.path.cut || self.path.answers_lost || self.path.management_cut;
        self.executes() && !lost && self.management == Management::Runs
    }

    /// Its management answers the controller.
    pub fn answers_management(&self) -> bool {
        self.answers_ping() && self.management == Management::Runs
    }

    /// Its management can be used on the host itself.
    pub fn runs_libvirt(&self) -> bool {
        self.executes() && self.management == Management::Runs
    }

    /// Something on it executes.
    pub fn executes(&self) -> bool {
        self.power == Power::On && !self.frozen
    }
}

impl Definition {
    pub fn new() -> Definition {
        Definition { autostart: false, persistent: true, off: OffReason::Unknown }
    }
}
