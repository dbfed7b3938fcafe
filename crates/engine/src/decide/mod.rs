//! Third step: what to do about what is believed. Hosts first, then workloads by priority, then places for those that need
//! one, then recovery points. Each leaves a [`Doing`]: an order, or the reason why there is none.

mod host;
mod ladder;
mod maintenance;
mod mend;
mod moving;
mod placing;
mod protect;
mod request;
mod room;
mod workload;

use crate::{
    belief::OrderRecord,
    engine::Engine,
    explain::{Doing, WaitingOn},
    groups::Relations,
    place::Bond,
};
use mainstay_model::{HostId, Span, Subject, Time, WorkloadId};
pub(crate) use mend::Broken;
use placing::PlaceFor;
use std::{cmp::Reverse, collections::BTreeMap};

/// Whoever waits is looked at again when something changes that may concern it; and after this long in any case, so that
/// no change which nobody thought of can hold a workload up for ever.
const LOOK_AGAIN: Span = Span::secs(15);

/// What the decision about one workload came to.
enum Next {
    /// It is decided.
    Is(Doing),
    /// It needs a host first.
    Place(PlaceFor),
}

impl Engine {
    pub(crate) fn decide(&mut self) {
        if self.relations.outdated {
            self.relations = Relations::resolve(&self.spec, &self.belief);
        }
        self.cluster_alarms();
        if !self.agenda.is_empty() {
            self.decide_hosts();
        }
        if !self.memory_in_doubt() {
            self.mend();
        }
        if !self.agenda.is_empty() {
            self.decide_workloads();
        }
    }

    fn decide_hosts(&mut self) {
        for host in self.agenda.take_hosts() {
            let doing = self.decide_host(&host);
            self.decided_host(&host, doing);
        }
    }

    fn decide_workloads(&mut self) {
        let mut to_place = BTreeMap::new();
        for workload in self.by_priority() {
            match self.decide_workload(&workload) {
                Next::Is(doing) => self.decided(&workload, doing),
                Next::Place(request) => {
                    to_place.insert(workload, request);
                }
            }
        }
        self.place_and_start(to_place);
    }

    /// The touched workloads, the most important first.
    fn by_priority(&mut self) -> Vec<WorkloadId> {
        let mut workloads = self.agenda.take_workloads();
        if workloads.is_empty() {
            return Vec::new();
        }
        let partners: Vec<WorkloadId> = workloads.iter().flat_map(|workload| self.to_place_with(workload)).collect();
        workloads.extend(partners);
        let mut workloads: Vec<_> = workloads.into_iter().collect();
        workloads.sort_by_cached_key(|workload| Reverse(self.priority(workload)));
        workloads
    }

    /// Those that must be on one host with a workload that is off: they are placed as one, or not at all.
    fn to_place_with(&self, workload: &WorkloadId) -> impl Iterator<Item = WorkloadId> {
        let off = self.belief.workloads.get(workload).is_some_and(|record| record.may_run_on.is_empty());
        let groups = self.relations.groups.of(workload).filter(move |group| off && group.requires(Bond::Together));
        groups.flat_map(|group| group.members.iter().cloned())
    }

    pub(crate) fn priority(&self, workload: &WorkloadId) -> i32 {
        self.rule(workload).map_or(i32::MIN, |rule| rule.policy.priority)
    }

    fn decided_host(&mut self, host: &HostId, doing: Doing) {
        self.host_alarms(host, &doing);
        for at in [until(&doing), self.devices_checked_at(host)].into_iter().flatten() {
            self.wake_host_at(host, at);
        }
        if self.belief.hosts.contains(host) {
            self.doing.insert(Subject::Host(host.clone()), doing);
        }
    }

    /// Notes the decision, settles the alarms that follow from it, and sees to recovery points and the next look.
    fn decided(&mut self, workload: &WorkloadId, doing: Doing) {
        let next_point = self.protect(workload);
        self.workload_alarms(workload, &doing);
        let waits = matches!(doing, Doing::Blocked { .. } | Doing::Waiting { .. })
            && !matches!(doing, Doing::Waiting { on: WaitingOn::Order { .. }, .. });
        // A guest's answer, or its silence, announces itself; after a mass failure they are many.
        if waits && !matches!(doing, Doing::Waiting { on: WaitingOn::Guest, .. }) {
            self.agenda.wait(workload);
        }
        let again = waits.then(|| self.now + LOOK_AGAIN);
        let wake = [until(&doing), next_point, self.next_change(workload), again]
            .into_iter()
            .flatten()
            .filter(|at| *at > self.now)
            .min();
        let subject = Subject::Workload(workload.clone());
        self.agenda.wake(subject.clone(), wake);
        if self.belief.workloads.contains(workload) {
            self.doing.insert(subject, doing);
        } else {
            self.doing.remove(&subject);
        }
    }

    /// When the belief about a workload changes although nothing new is heard: it counts as hung, or as well again.
    fn next_change(&self, workload: &WorkloadId) -> Option<Time> {
        let record = self.belief.workloads.get(workload)?;
        let senses = self.belief.workload_senses.get(workload)?;
        let policy = self.recovery(workload);
        let hung = senses.hung_at(record.answers, policy);
        let stable = record.trouble.as_ref().and_then(|trouble| trouble.started_at).map(|at| at + policy.stable_after);
        // The ladder's window moves on, and what is too old no longer counts: a slow, bounded retry.
        let again =
            record.trouble.as_ref().and_then(|_| record.attempts.first()).map(|attempt| attempt.at + policy.window);
        let delete_again =
            senses.stuck_points.values().map(|(again_at, _)| *again_at).filter(|at| *at > self.now).min();
        let overdue = self.point_overdue_at(workload);
        let deaf = self.deaf_at(workload);
        let remove_again = senses.stays_defined.values().copied().filter(|at| *at > self.now).min();
        let changes =
            [hung, deaf, stable, again, overdue, senses.tidy_after, senses.stays_until, delete_again, remove_again];
        changes.into_iter().flatten().filter(|at| *at > self.now).min()
    }
}

fn until(doing: &Doing) -> Option<Time> {
    match doing {
        Doing::Waiting { until, .. } => *until,
        _ => None,
    }
}

/// Waiting for something that announces itself.
fn waiting(on: WaitingOn) -> Doing {
    Doing::Waiting { on, until: None }
}

/// Waiting for what becomes of an order, until its deadline.
fn waiting_for(order: &OrderRecord) -> Doing {
    let on = WaitingOn::Order { id: order.order.id, text: order.order.action.to_string() };
    waiting_until(on, order.order.deadline)
}

/// Waiting, but not for ever.
fn waiting_until(on: WaitingOn, until: Time) -> Doing {
    Doing::Waiting { on, until: Some(until) }
}
