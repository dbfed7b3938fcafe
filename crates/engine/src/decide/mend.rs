//! The cluster as a whole: running workloads that break a required constraint are moved to where they do not, those that
//! are to return go where their rule prefers them, and load is evened out when an operator asks. All of these only propose
//! moves; each workload then goes on by itself.

use crate::{
    belief::{MoveWhy, Moving, WorkloadRecord},
    engine::Engine,
    place::{
        Chosen, Mend, Move, NoHostFits, Rebalance, RebalanceLimits, Refusal, Request, place, preferences, rebalance,
        violations,
    },
};
use mainstay_model::{
    EventKind, HostId, Severity, Span, Subject, WorkloadId,
    spec::{FailBack, HostRule, Strength, WorkloadPolicy},
};
use std::collections::{BTreeMap, BTreeSet};

/// Broken constraints are looked for this often at most: they come from persons and configuration, not from failures.
const LOOK_EVERY: Span = Span::secs(10);

impl Engine {
    /// Looks for broken constraints and better hosts, when something changed and it is time again.
    pub(super) fn mend(&mut self) {
        if self.agenda.mended_at.is_some_and(|at| self.now.since(at) < LOOK_EVERY) {
            return;
        }
        self.agenda.mended_at = Some(self.now);
        let requires = |policy: &WorkloadPolicy| policy.hosts.iter().any(|rule| rule.strength == Strength::Required);
        let policies = || self.spec.workloads.iter().map(|rule| &rule.policy);
        let bound = self.relations.groups.members().next().is_some() || policies().any(requires);
        let returning = policies().any(returns);
        if !(bound || returning) || self.belief.cut_off {
            return;
        }
        self.sum_up();
        if returning {
            self.follow_wishes(); // who wants to leave anyway may mend what is broken by it
        }
        if bound {
            self.mend_constraints();
        }
    }

    fn mend_constraints(&mut self) {
        let before = std::mem::take(&mut self.broken);
        let bound = |record: &WorkloadRecord| {
            let rules = self.rule(&record.workload).map_or(&[][..], |rule| &rule.policy.hosts);
            let bound = rules.iter().any(|rule| rule.strength == Strength::Required)
                || self.relations.groups.of(&record.workload).next().is_some();
            bound && !self.bound_to_one_that_moves(&record.workload)
        };
        let found = violations(&self.running(bound), &self.candidates(), &self.located_groups());
        for violation in found {
            violation.mend.steps().iter().for_each(|step| self.propose(step, MoveWhy::Constraint));
            if let Mend::Nowhere(why) = violation.mend {
                self.broken.insert(violation.workload, (violation.broken, why));
            }
        }
        for workload in before.keys().chain(self.broken.clone().keys()) {
            self.agenda.touch(workload);
        }
    }

    /// Who is to return goes where its own rule prefers it, as soon as such a host is in service and takes it; unless a
    /// person put it where it is.
    fn follow_wishes(&mut self) {
        let hosts = self.candidates();
        let kept = |record: &WorkloadRecord, policy: &WorkloadPolicy| {
            policy.fail_back == FailBack::Return && record.kept_on.is_some() && record.kept_on == record.host
        };
        let wishing = self.running(|record| {
            let policy = self.rule(&record.workload).map(|rule| &rule.policy);
            let here = record.host.as_ref().map(|host| self.points(&record.workload, host));
            let better = |host: &HostId| here.is_some_and(|here| self.points(&record.workload, host) > here);
            policy.is_some_and(|policy| returns(policy) && !kept(record, policy))
                && hosts.iter().any(|(host, candidate)| candidate.refused.is_none() && better(host))
        });
        let wishing: Vec<WorkloadId> = wishing.into_keys().collect();
        for step in self.together(&wishing) {
            if self.gains(&step) {
                self.propose(&step, MoveWhy::FailBack);
            }
        }
    }

    /// Where these would go now, each with all that must be on its host. A spare stays one, also if it was brought in for another:
    /// what drifts there keeps it from being a spare again (scenarios 160 and 742).
    fn together(&self, workloads: &[WorkloadId]) -> Vec<Move> {
        let company: BTreeSet<WorkloadId> = workloads.iter().flat_map(|workload| self.moves_with(workload)).collect();
        let requests = self.running(|record| company.contains(&record.workload));
        if requests.is_empty() {
            return Vec::new();
        }
        let mut hosts = self.candidates();
        for (host, candidate) in &mut hosts {
            candidate.spare = self.host_spec(host).is_some_and(|spec| spec.spare);
        }
        let placement = place(&requests, &hosts, &self.located_groups());
        let step = |(workload, chosen): (WorkloadId, Chosen)| {
            let from = requests.get(&workload)?.current.clone().filter(|from| *from != chosen.host)?;
            Some(Move { workload, from, to: chosen.host, why: "that host suits it better".to_owned() })
        };
        placement.placed.into_iter().filter_map(step).collect()
    }

    /// True if a move fulfils the wishes of a workload and its company better.
    fn gains(&self, step: &Move) -> bool {
        let company = self.moves_with(&step.workload);
        let sum = |host: &HostId| -> i64 { company.iter().map(|member| self.points(member, host)).sum() };
        sum(&step.to) > sum(&step.from)
    }

    /// What the workload's own rule gives for a host.
    pub(super) fn points(&self, workload: &WorkloadId, host: &HostId) -> i64 {
        let rules = self.rule(workload).map_or(&[][..], |rule| &rule.policy.hosts);
        let tags = self.host_spec(host).map(|spec| &spec.tags);
        tags.into_iter().flat_map(|tags| preferences(rules, host, tags)).map(i64::from).sum()
    }

    /// Sends a running workload on its way, unless it is on one already.
    fn propose(&mut self, step: &Move, why: MoveWhy) {
        let stays = why != MoveWhy::Balance && self.stays(&step.workload);
        let Some(record) = self.belief.workloads.get_mut(&step.workload) else { return };
        if record.moving.is_some() || stays {
            return;
        }
        record.moving = Some(Moving::live(&step.from, Some(step.to.clone()), why));
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

/// True if it is to go back to hosts that its rule prefers.
fn returns(policy: &WorkloadPolicy) -> bool {
    let prefers = |rule: &HostRule| matches!(rule.strength, Strength::Preferred(_));
    policy.fail_back != FailBack::Stay && policy.hosts.iter().any(prefers)
}

/// Constraints that are broken and can't be mended now.
pub(crate) type Broken = BTreeMap<WorkloadId, (Refusal, NoHostFits)>;
