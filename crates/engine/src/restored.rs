//! A memory that is older than the world: a backup was put back, or the database was copied or deleted.
//!
//! ```text
//!   the store says so ──▶ doubt: nothing is started ──▶ every host listed, or proved off ──▶ question: an operator
//!                                                                                            says what should run
//! ```
//!
//! Such a memory forgot moves, starts, and stops by persons. So it is no proof of where a VM runs, and no wish to run it.
//! - In doubt, no order about a VM leaves. Each host of the configuration must list its VMs, or be proved off, in this term.
//!   The list must be newer than any order that the forgotten time may have left under way.
//! - What runs is wanted. What is off stays off until an operator answers: `vm start`, `vm stop`, or `memory accept` for all
//!   the rest. A VM that the old memory has as stopped stays stopped.
//!
//! Scenarios 260 to 262 show it.

use crate::{
    belief::{HostPhase, Moving, StoppedHow, Want},
    engine::Engine,
};
use mainstay_model::{EventKind, HostId, Reply, Severity, Span, Subject, Time, WorkloadId};
use serde::{Deserialize, Serialize};

/// An order that the forgotten time left under way may still be carried out for this long. A hypervisor that hung takes it
/// from its socket when it goes on.
const FORGOTTEN_ORDER_MAY_COME: Span = Span::secs(90);
/// Names in one sentence; more are counted.
const NAMED: usize = 10;

/// The memory is older than the world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restored {
    /// How the store knows.
    pub why: String,
    /// When it was found out.
    pub since: Time,
    /// Every host has listed its VMs, or was proved off, since then.
    pub listed: bool,
}

impl Engine {
    /// The store found out that this memory was copied or put back.
    pub(crate) fn memory_restored(&mut self, why: String) {
        let now = self.now;
        let text = format!("the memory is older than the world: {why}; nothing is started from it unasked");
        self.note(EventKind::Controller, Severity::Red, Subject::Cluster, text);
        self.belief.meta.skip_forgotten();
        self.belief.meta.set_restored(Some(Restored { why, since: now, listed: false }));
        // Old proofs are none: what was off may be on again.
        let hosts: Vec<HostId> = self.belief.hosts.keys().cloned().collect();
        for host in &hosts {
            self.leave_incident(host);
            if let Some(record) = self.belief.hosts.get_mut(host) {
                (record.phase, record.since, record.closed_at) = (HostPhase::Online, now, None);
            }
        }
        let workloads: Vec<WorkloadId> = self.belief.workloads.keys().cloned().collect();
        for workload in &workloads {
            self.let_go(workload);
            if let Some(record) = self.belief.workloads.get_mut(workload) {
                record.in_question = true;
                record.attempts.clear();
                record.force_stop_at = None;
            }
        }
        self.agenda.touch_all_hosts(&self.belief);
        self.agenda.touch_all_workloads(&self.belief);
    }

    /// True until every host has told what it runs, after the memory was put back.
    pub(crate) fn memory_in_doubt(&self) -> bool {
        self.belief.meta.restored().is_some_and(|restored| !restored.listed)
    }

    /// Hosts that the memory put back still waits for.
    pub(crate) fn unlisted(&self) -> Vec<HostId> {
        self.spec.hosts.keys().filter(|host| self.may_carry_out_what_was_forgotten(host)).cloned().collect()
    }

    /// True until a host has listed its VMs, or was proved off, after the last moment at which it may carry out an order that
    /// the memory put back has forgotten. What ends there until then may have been ended by such an order.
    pub(crate) fn may_carry_out_what_was_forgotten(&self, host: &HostId) -> bool {
        let Some(restored) = self.belief.meta.restored().filter(|restored| !restored.listed) else { return false };
        let off = self
            .belief
            .hosts
            .get(host)
            .is_some_and(|record| matches!(record.phase, HostPhase::Off { .. }) && record.since >= restored.since);
        let list = self.belief.host_senses.get(host).and_then(|senses| senses.inventory);
        !off && list.is_none_or(|asked_at| asked_at <= restored.since + FORGOTTEN_ORDER_MAY_COME)
    }

    /// VMs of which an operator must say whether they should run. That no rule speaks of one now is no answer.
    pub(crate) fn in_question(&self) -> impl Iterator<Item = &WorkloadId> {
        self.belief.workloads.values().filter(|record| record.in_question).map(|record| &record.workload)
    }

    /// Third part of belief: whether the memory agrees with the world again.
    pub(crate) fn judge_memory(&mut self) {
        let Some(restored) = self.belief.meta.restored().cloned() else { return };
        if !restored.listed {
            if !self.unlisted().is_empty() {
                return;
            }
            self.belief.meta.set_restored(Some(Restored { listed: true, ..restored }));
            let stopped = self.belief.workloads.values().filter(|it| it.in_question && it.want != Want::Running);
            let stopped: Vec<WorkloadId> = stopped.map(|record| record.workload.clone()).collect();
            for workload in &stopped {
                self.answered(workload);
                // It may have run since, and its host may have been shut down since: the two are not of one time (scenario 879).
                if let Some(record) = self.belief.workloads.get_mut(workload) {
                    record.ended_unseen = true;
                }
            }
            let left = self.in_question().count();
            let text = format!("every host has listed its VMs, or is proved off; {left} VMs are off and in question");
            self.note(EventKind::Controller, Severity::Yellow, Subject::Cluster, text);
            self.agenda.touch_all_workloads(&self.belief);
        }
        if self.in_question().next().is_none() {
            self.memory_accepted("no VM is in question");
        }
    }

    /// It is known whether the workload should run.
    pub(crate) fn answered(&mut self, workload: &WorkloadId) {
        if self.belief.workloads.get(workload).is_some_and(|record| record.in_question)
            && let Some(record) = self.belief.workloads.get_mut(workload)
        {
            record.in_question = false;
            self.agenda.touch(workload);
        }
    }

    /// It runs, so it is wanted, whatever the old memory says. True if that was in question.
    pub(crate) fn answered_by_running(&mut self, workload: &WorkloadId) -> bool {
        let asked = self.belief.workloads.get(workload).is_some_and(|record| record.in_question);
        if asked && let Some(record) = self.belief.workloads.get_mut(workload) {
            record.want = Want::Running;
            (record.trouble, record.trying, record.kept_on) = (None, None, None);
            self.answered(workload);
        }
        asked
    }

    /// Why a command that may start something has to wait.
    pub(crate) fn refused_in_doubt(&self) -> Option<Reply> {
        let missing = self.unlisted();
        (!missing.is_empty()).then(|| Reply::Refused {
            text: format!(
                "the memory was put back, and not every host has listed its VMs yet; missing: {}. Try again when they \
                 have; of a host that is off for good say so: mainstay host confirm-off HOST",
                named(missing.iter().map(HostId::as_str))
            ),
        })
    }

    /// An operator answers for all VMs that are still in question.
    pub(crate) fn accept_memory(&mut self, start: bool) -> Reply {
        if self.belief.meta.restored().is_none() {
            return Reply::Nothing { text: "the memory was not put back: there is nothing to accept".to_owned() };
        }
        if let Some(refused) = self.refused_in_doubt() {
            return refused;
        }
        let asked: Vec<WorkloadId> = self.in_question().cloned().collect();
        let now = self.now;
        for workload in &asked {
            if !start {
                self.give_up_incident(workload);
            }
            if let Some(record) = self.belief.workloads.get_mut(workload) {
                (record.trouble, record.trying) = (None, None);
                if start {
                    record.moving = Some(Moving::start(None));
                } else {
                    record.want = Want::Stopped { at: now, how: StoppedHow::Operator };
                }
            }
        }
        let what = if start { "are started" } else { "stay off" };
        self.memory_accepted(&format!("an operator accepted it; {} VMs {what}", asked.len()));
        Reply::Accepted { text: format!("the memory is accepted; {} VMs {what}", asked.len()) }
    }

    fn memory_accepted(&mut self, why: &str) {
        let asked: Vec<WorkloadId> = self.in_question().cloned().collect();
        asked.iter().for_each(|workload| self.answered(workload));
        asked.iter().for_each(|workload| self.forget_if_removed(workload));
        self.belief.meta.set_restored(None);
        let text = format!("the memory agrees with the world again: {why}");
        self.note(EventKind::Controller, Severity::Green, Subject::Cluster, text);
        self.agenda.touch_all_workloads(&self.belief);
    }
}

/// The first names, and how many more there are.
pub(crate) fn named<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let mut text = names.take(NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
