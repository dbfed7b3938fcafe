//! A workload as it truly is: its disk, its recovery points, and the processes that execute it, of which there must
//! never be two.

use super::hibernate::Asleep;
use crate::random::Stream;
use mainstay_model::spec::ClusterSpec;
use mainstay_model::{
    Activity, DomainState, GuestChannel, HostId, PauseReason, PointId, Resources, Span, Time, WorkloadId,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A workload as it truly is.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    pub name: WorkloadId,
    pub uuid: String,
    pub needs: Resources,
    /// Bridges that its host must have.
    pub bridges: BTreeSet<String>,
    pub tags: BTreeSet<String>,
    pub datastore: String,
    /// False: its disk lies on one host.
    pub movable: bool,
    /// From the start of its process until it answers.
    pub boot_time: Span,
    /// Boots take so many times as long.
    pub slowness: u64,
    pub disk: Disk,
    pub points: BTreeMap<PointId, Point>,
    /// By host. More than one that is not an incoming migration is what must never be.
    pub processes: BTreeMap<HostId, Process>,
    /// Since when a person wants it off.
    pub stopped_by_person: Option<Time>,
    /// Its other name: a person renamed it, and both stand for the same disks.
    pub twin: Option<WorkloadId>,
    /// A person removed a definition of it.
    pub undefined_by_person: bool,
    /// Its next starts fail, anywhere or on one host.
    pub failing_starts: Vec<FailingStart>,
    /// Its next migrations fail.
    pub failing_migrations: u32,
    /// Somebody else's job holds it (a backup, a block copy): nothing can be changed about it.
    pub locked: bool,
    /// When that ended last.
    pub unlocked_at: Time,
    /// Memory that a host saved with its guests when it was shut down (managed save), and what was written to the disk by then.
    pub saved_on: BTreeMap<HostId, u64>,
    /// By host that hibernates: its process there, which goes on when the host does.
    pub asleep: BTreeMap<HostId, Asleep>,
    /// On which channels it is asked, and by which configuration: looked up again only when that changes.
    pub asked_on: Option<(Arc<ClusterSpec>, [Option<GuestChannel>; 4])>,
    pub random: Stream,
}

#[derive(Clone, Debug)]
pub(crate) struct FailingStart {
    pub host: Option<HostId>,
    pub times: u32,
}

/// What is written on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Disk {
    /// How long it has been written to, in milliseconds: the guest's own counter.
    pub written_ms: u64,
    /// So much of it is not durable yet, though it was acknowledged.
    pub unflushed_ms: u64,
    /// The system on it falls over soon after every boot.
    pub damaged: bool,
    /// The system on it reboots in the middle of every boot.
    pub loops: bool,
    /// Two processes wrote to it.
    pub corrupted: bool,
}

/// A recovery point as it truly is.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub disk: Disk,
    pub taken_at: Time,
}

/// A process that executes a guest.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// Tells this process from an earlier one on the same host.
    pub number: u64,
    /// When it began there, or arrived.
    pub began: Time,
    pub condition: Condition,
    /// Since when it has been in that condition.
    pub condition_since: Time,
    /// Stopped by SIGSTOP: the hypervisor still says running.
    pub halted: bool,
    /// Nobody could have told the controller of it yet: started by a person, by autostart, or by a call that lied.
    pub unannounced: bool,
    pub activity: Activity,
}

/// What a guest does inside its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Target of a migration under way: does not execute.
    Incoming,
    Booting,
    Well,
    /// Answers nobody, but works and writes.
    Deaf,
    Hung,
    Panicked,
    Paused(PauseReason),
}

impl Guest {
    /// Hosts with a process that executes or may go on executing.
    pub fn runs_on(&self) -> impl Iterator<Item = &HostId> {
        self.processes.iter().filter(|(_, process)| process.condition != Condition::Incoming).map(|(host, _)| host)
    }

    /// The channels on which this configuration has it asked.
    pub fn channels(&mut self, spec: &Arc<ClusterSpec>) -> [Option<GuestChannel>; 4] {
        if let Some((_, channels)) = self.asked_on.as_ref().filter(|(by, _)| Arc::ptr_eq(by, spec)) {
            return *channels;
        }
        let rule = spec.workload_rule(&self.name, &self.tags);
        let asked = rule.map_or([None; 4], |rule| {
            let probes = &rule.policy.probes;
            [
                probes.ping.then_some(GuestChannel::Ping),
                probes.agent.then_some(GuestChannel::Agent),
                (!probes.tcp.is_empty()).then_some(GuestChannel::Tcp),
                (!probes.http.is_empty()).then_some(GuestChannel::Http),
            ]
        });
        self.asked_on = Some((spec.clone(), asked));
        asked
    }

    /// It answers no probe where it runs, but works and writes.
    pub fn is_deaf(&self) -> bool {
        self.processes.values().any(|process| process.condition == Condition::Deaf)
    }

    /// The one that runs, if exactly one does.
    pub fn host(&self) -> Option<HostId> {
        let mut hosts = self.runs_on();
        hosts.next().filter(|_| hosts.next().is_none()).cloned()
    }
}

impl Process {
    pub fn new(number: u64, now: Time, condition: Condition) -> Process {
        Process {
            number,
            began: now,
            condition,
            condition_since: now,
            halted: false,
            unannounced: false,
            activity: Activity::default(),
        }
    }

    /// What the hypervisor says of it.
    pub fn state(&self) -> DomainState {
        match self.condition {
            Condition::Incoming => DomainState::Paused(PauseReason::Busy),
            Condition::Paused(reason) => DomainState::Paused(reason),
            Condition::Panicked => DomainState::Panicked,
            Condition::Booting | Condition::Well | Condition::Deaf | Condition::Hung => DomainState::Running,
        }
    }

    /// It waits for a migration, and executes nothing.
    pub fn is_incoming(&self) -> bool {
        self.condition == Condition::Incoming
    }

    /// Its guest does its work and says so.
    pub fn is_well(&self) -> bool {
        self.condition == Condition::Well && !self.halted
    }

    /// It neither answers nor works, although its hypervisor says that it runs.
    pub fn has_hung(&self) -> bool {
        self.halted || self.condition == Condition::Hung
    }

    /// Its guest writes to its disk.
    pub fn writes(&self) -> bool {
        matches!(self.condition, Condition::Well | Condition::Deaf | Condition::Booting) && !self.halted
    }

    pub fn become_(&mut self, condition: Condition, now: Time) {
        self.condition = condition;
        self.condition_since = now;
    }
}

impl FailingStart {
    /// True if the next start on this host is to fail.
    pub fn applies_to(&self, host: &HostId) -> bool {
        self.times > 0 && self.host.as_ref().is_none_or(|only| only == host)
    }
}
