//! Health in one word, for hosts and VMs: what the lists show and the verdict counts.

/// How a host stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostHealth {
    Online,
    Suspect,
    Lost,
    Fencing,
    Fenced,
    Returning,
    Draining,
    Maintenance,
    ShutDown,
    Unmanaged,
    Unknown,
}

impl HostHealth {
    pub(crate) fn word(self) -> &'static str {
        match self {
            HostHealth::Online => "online",
            HostHealth::Suspect => "suspect",
            HostHealth::Lost => "lost",
            HostHealth::Fencing => "fencing",
            HostHealth::Fenced => "fenced",
            HostHealth::Returning => "returning",
            HostHealth::Draining => "draining",
            HostHealth::Maintenance => "maintenance",
            HostHealth::ShutDown => "shut-down",
            HostHealth::Unmanaged => "unmanaged",
            HostHealth::Unknown => "unknown",
        }
    }
}

/// How a VM stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VmHealth {
    Running,
    Starting,
    Unresponsive,
    Crashed,
    Stopped,
    Paused,
    Asleep,
    Migrating,
    Down,
    Unknown,
}

impl VmHealth {
    pub(crate) fn word(self) -> &'static str {
        match self {
            VmHealth::Running => "running",
            VmHealth::Starting => "starting",
            VmHealth::Unresponsive => "unresponsive",
            VmHealth::Crashed => "crashed",
            VmHealth::Stopped => "stopped",
            VmHealth::Paused => "paused",
            VmHealth::Asleep => "asleep",
            VmHealth::Migrating => "migrating",
            VmHealth::Down => "down",
            VmHealth::Unknown => "unknown",
        }
    }
}
