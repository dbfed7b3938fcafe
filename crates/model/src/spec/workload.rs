//! What a workload's own policy says: whether it is managed, how important it is, where it may run, how it is probed.

use super::HostRule;
use crate::{HostState, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Policy of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadPolicy {
    /// Whether Mainstay acts for it.
    pub managed: Managed,
    /// Higher is started first.
    pub priority: i32,
    /// Tags given by the configuration (the workload's own are added).
    pub tags: BTreeSet<String>,
    /// Where it may or should run.
    pub hosts: Vec<HostRule>,
    /// What to do if a person stopped it.
    pub on_person_stop: PersonStop,
    /// What to do if its host was shut down in good order, and it with that.
    pub on_host_shutdown: HostShutdown,
    /// How long `conditional` waits for the host.
    pub host_back_within: Span,
    /// Whether it goes back when its home or preferred host returns.
    pub fail_back: FailBack,
    /// Memory to count for placement in MiB, if not what the definition says.
    pub memory_mib: Option<u64>,
    /// State that one host alone has, and that it may start without on another.
    pub leave_behind: BTreeSet<HostState>,
    /// How it is asked for signs of life.
    pub probes: Probes,
}

impl Default for WorkloadPolicy {
    fn default() -> WorkloadPolicy {
        WorkloadPolicy {
            managed: Managed::Yes,
            priority: 0,
            tags: BTreeSet::new(),
            hosts: Vec::new(),
            on_person_stop: PersonStop::Alarm,
            on_host_shutdown: HostShutdown::RestartElsewhere,
            host_back_within: Span::minutes(5),
            fail_back: FailBack::Stay,
            memory_mib: None,
            leave_behind: BTreeSet::from([HostState::UefiVariables]),
            probes: Probes::default(),
        }
    }
}

/// Whether Mainstay acts for a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Managed {
    /// Watched and recovered.
    Yes,
    /// Watched; only alarms.
    WatchOnly,
}

/// What to do if a person stopped a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PersonStop {
    /// Leave it off and raise an alarm.
    Alarm,
    /// Power it on again.
    PowerOn,
}

/// What to do with a workload that was shut down with its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostShutdown {
    /// Start it on the best host there is, at once.
    RestartElsewhere,
    /// Start it on its host when that is back, however long that takes.
    Wait,
    /// Wait for its host as long as a reboot takes, then start it elsewhere.
    Conditional,
}

/// Whether a workload goes back when its preferred host returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailBack {
    /// It stays where it is: no movement without need.
    Stay,
    /// It migrates back to a preferred host (or the host it left for maintenance) when that is well again.
    Return,
    /// It migrates wherever its rule prefers it, at all times, also if a person moved it; and back to the host that it left for
    /// maintenance. Of hosts that are preferred alike it stays on the one where it is.
    Preferred,
}

/// How a workload is asked for signs of life. Any answer counts; a workload without probes is judged by the hypervisor alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probes {
    /// Its address, if it cannot be found through agent, lease or ARP.
    pub address: Option<String>,
    /// ICMP echo.
    pub ping: bool,
    /// Guest agent.
    pub agent: bool,
    /// TCP ports that accept a connection.
    pub tcp: Vec<u16>,
    /// URLs that answer with a status below 400; `{address}` stands for the address.
    pub http: Vec<String>,
}

impl Probes {
    /// True if they are asked at all.
    pub fn any(&self) -> bool {
        self.ping || self.agent || !self.tcp.is_empty() || !self.http.is_empty()
    }
}
