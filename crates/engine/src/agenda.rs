//! What is to be looked at: touched things, timers, deadlines, and who waits for something to change.

use crate::belief::Belief;
use mainstay_model::{ActionId, HostId, Subject, Time, WorkloadId};
use std::collections::{BTreeMap, BTreeSet};

/// See the module's doc.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agenda {
    hosts: BTreeSet<HostId>,
    workloads: BTreeSet<WorkloadId>,
    timers: BTreeSet<(Time, Subject)>,
    timer_of: BTreeMap<Subject, Time>,
    deadlines: BTreeSet<(Time, ActionId)>,
    waiting: BTreeSet<WorkloadId>,
    /// When broken constraints were last looked for.
    pub(crate) mended_at: Option<Time>,
}

impl Agenda {
    /// Look at this host in this step.
    pub(crate) fn touch_host(&mut self, host: &HostId) {
        if !self.hosts.contains(host) {
            self.hosts.insert(host.clone());
        }
    }
    /// Look at this workload in this step.
    pub(crate) fn touch(&mut self, workload: &WorkloadId) {
        if !self.workloads.contains(workload) {
            self.workloads.insert(workload.clone());
        }
    }
    pub(crate) fn touch_all_hosts(&mut self, belief: &Belief) {
        self.hosts = belief.hosts.keys().cloned().collect();
    }
    pub(crate) fn touch_all_workloads(&mut self, belief: &Belief) {
        self.workloads = belief.workloads.keys().cloned().collect();
    }
    /// Look at this workload whenever something changes that others may wait for.
    pub(crate) fn wait(&mut self, workload: &WorkloadId) {
        self.waiting.insert(workload.clone());
    }
    /// Something changed that others may wait for: room, a host's health, an order's end, a workload running.
    pub(crate) fn stir(&mut self) {
        self.workloads.append(&mut self.waiting);
    }
    /// Look at this subject at that time at the latest. The last call counts.
    pub(crate) fn wake(&mut self, subject: Subject, at: Option<Time>) {
        let before = match at {
            Some(at) => self.timer_of.insert(subject.clone(), at),
            None => self.timer_of.remove(&subject),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.timers.remove(&(before, subject.clone()));
        }
        if let Some(at) = at {
            self.timers.insert((at, subject));
        }
    }
    /// Look at this subject at that time, or earlier if that was asked before.
    pub(crate) fn wake_earlier(&mut self, subject: Subject, at: Time) {
        let earlier = self.timer_of.get(&subject).map_or(at, |known| at.min(*known));
        self.wake(subject, Some(earlier));
    }
    /// Moves what is due into this step.
    pub(crate) fn due(&mut self, now: Time) {
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, subject)) = self.timers.pop_first() else { break };
            self.timer_of.remove(&subject);
            match subject {
                Subject::Host(host) => self.touch_host(&host),
                Subject::Workload(workload) => self.touch(&workload),
                Subject::Cluster => {}
            }
        }
    }
    /// An order left; without an outcome by then it is unknown.
    pub(crate) fn expect(&mut self, id: ActionId, deadline: Time) {
        self.deadlines.insert((deadline, id));
    }
    /// It ended.
    pub(crate) fn ended(&mut self, id: ActionId, deadline: Time) {
        self.deadlines.remove(&(deadline, id));
    }
    pub(crate) fn next_expired(&mut self, now: Time) -> Option<ActionId> {
        let (deadline, id) = self.deadlines.first().copied()?;
        (deadline <= now).then(|| {
            self.deadlines.pop_first();
            id
        })
    }
    /// What is to be looked at by now; it stays on the agenda.
    pub(crate) fn hosts(&self) -> Vec<HostId> {
        if self.hosts.is_empty() { Vec::new() } else { self.hosts.iter().cloned().collect() }
    }
    pub(crate) fn workloads(&self) -> Vec<WorkloadId> {
        if self.workloads.is_empty() { Vec::new() } else { self.workloads.iter().cloned().collect() }
    }
    /// True if nothing is to be looked at by now, as after most signs of life.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.workloads.is_empty()
    }
    pub(crate) fn take_hosts(&mut self) -> BTreeSet<HostId> {
        std::mem::take(&mut self.hosts)
    }
    pub(crate) fn take_workloads(&mut self) -> BTreeSet<WorkloadId> {
        std::mem::take(&mut self.workloads)
    }
    /// When something is due next.
    pub(crate) fn next_wake(&self) -> Option<Time> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        match (timer, deadline) {
            (Some(timer), Some(deadline)) => Some(timer.min(deadline)),
            (timer, deadline) => timer.or(deadline),
        }
    }
}
