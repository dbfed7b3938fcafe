//! The cluster as a whole: running workloads that break a required constraint are moved to where they do not, and load is
//! evened out when an operator asks. Both only propose moves; each workload then goes on by itself.

use crate::{
    belief::{MoveWhy, Moving, WorkloadRecord},
    engine::Engine,
    place::{Mend, Move, NoHostFits, Rebalance, RebalanceLimits, Refusal, Request, rebalance, violations},
};
use mainstay_model::{EventKind, Severity, Span, Subject, WorkloadId, spec::Strength};
use std::collections::BTreeMap;

/// Broken constraints are looked for this often at most: they come from persons and configuration, not from failures.
const LOOK_EVERY: Span = Span::secs(10);

impl Engine {
    /// Looks for broken constraints, when something changed and it is time again.
    pub(super) fn mend(&mut self) {
        let bound = self.relations.groups.members().next().is_some()
            || self
                .spec
                .workloads
                .iter()
                .any(|rule| rule.policy.hosts.iter().any(|rule| rule.strength == Strength::Required));
        if !bound || self.belief.cut_off {
            return;
        }
        let due = self.agenda.mended_at.is_none_or(|at| self.now.since(at) >= LOOK_EVERY);
        if !due {
            return;
        }
        self.agenda.mended_at = Some(self.now);
        let before = std::mem::take(&mut self.broken);
        self.sum_up();
        let bound = |record: &WorkloadRecord| {
            let rules = self.rule(&record.workload).map_or(&[][..], |rule| &rule.policy.hosts);
            rules.iter().any(|rule| rule.strength == Strength::Required)
                || self.relations.groups.of(&record.workload).next().is_some()
        };
        let found = violations(&self.running(bound), &self.candidates(), &self.located_groups());
        for violation in found {
            match violation.mend {
                Mend::Move(step) => self.propose(&step, MoveWhy::Constraint),
                Mend::Nowhere(why) => {
                    self.broken.insert(violation.workload.clone(), (violation.broken, why));
                }
            }
        }
        for workload in before.keys().chain(self.broken.clone().keys()) {
            self.agenda.touch(workload);
        }
    }

    /// Sends a running workload on its way, unless it is on one already.
    fn propose(&mut self, step: &Move, why: MoveWhy) {
        let stays = why == MoveWhy::Constraint && self.stays(&step.workload);
        let Some(record) = self.belief.workloads.get_mut(&step.workload) else { return };
        if record.moving.is_some() || stays {
            return;
        }
        record.moving = Some(Moving { to: Some(step.to.clone()), why, failures: 0, cold: false });
        let text = format!("is to move from {} to {}: {}", step.from, step.to, step.why);
        self.note(EventKind::Decided, Severity::Green, Subject::Workload(step.workload.clone()), text);
        self.agenda.touch(&step.workload);
    }

    /// Every managed workload of this kind that runs well and may be moved, as placement sees it.
    fn running(&self, kind: impl Fn(&WorkloadRecord) -> bool) -> BTreeMap<WorkloadId, Request> {
        let movable = self.belief.workloads.values().filter(|record| {
            let id = &record.workload;
            kind(record)
                && record.trouble.is_none()
                && record.moving.is_none()
                && self.manages(id)
                && self.is_well(id)
                && self.life_order(id).is_none()
        });
        movable.filter_map(|record| Some((record.workload.clone(), self.request_for_survey(record)?))).collect()
    }

    /// What evening out load would gain, and by which moves.
    pub(crate) fn balance(&self, limits: RebalanceLimits) -> Rebalance {
        rebalance(&self.running(|_| true), &self.candidates(), &self.located_groups(), limits)
    }

    /// Makes the moves that even out load; returns what they are.
    pub(crate) fn balance_now(&mut self) -> Rebalance {
        let proposal = self.balance(RebalanceLimits::default());
        for step in &proposal.moves {
            self.propose(step, MoveWhy::Balance);
        }
        proposal
    }
}

/// Constraints that are broken and can't be mended now.
pub(crate) type Broken = BTreeMap<WorkloadId, (Refusal, NoHostFits)>;
