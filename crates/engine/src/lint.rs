//! The plan linter: an independent second look at what a step is about to order. It shares no reasoning with the decisions,
//! only belief. An order that it objects to does not leave, and a person is told: that is a bug of the engine.

use crate::engine::Engine;
use mainstay_model::{
    Action, EventKind, FailureKind, HostId, Order, Outcome, PointBy, PointState, RecoveryPoint, Severity, Subject,
    WorkloadId,
};

/// The outcome of an order that is withheld begins so.
pub const WITHHELD: &str = "withheld by the plan linter";

impl Engine {
    /// Withholds the orders of this step which break a safety rule.
    pub(crate) fn lint(&mut self) {
        let orders = std::mem::take(&mut self.out.orders);
        for order in orders {
            match self.objection(&order) {
                None => self.out.orders.push(order),
                Some(why) => {
                    let subject = Subject::Host(order.action.host().clone());
                    let text = format!("{WITHHELD}: {}: {why}", order.action);
                    self.note(EventKind::Decided, Severity::Red, subject, text);
                    self.outcome(order.id, Outcome::failed(FailureKind::Refused, format!("{WITHHELD}: {why}")));
                }
            }
        }
    }

    /// What this step has ordered for a workload that is to be left alone, and what has not left yet, is not sent (scenario 583).
    pub(crate) fn withdraw(&mut self, workload: &WorkloadId) {
        let of_points = |action: &Action| matches!(action, Action::TakePoint { .. } | Action::DeletePoint { .. });
        let why = format!("not sent: an operator said to leave {workload} alone");
        self.keep_back(&why, |_, action| action.workload() == Some(workload) && !of_points(action));
    }

    /// An operator asked for a point, and what came in the same step shows that the workload was not well by then (scenario 651).
    pub(crate) fn withdraw_points_of_the_sick(&mut self) {
        let sick = |engine: &Engine, action: &Action| match action {
            Action::TakePoint { workload, .. } => {
                !engine.belief.may_run_on(workload).is_empty() && !engine.is_well(workload)
            }
            _ => false,
        };
        self.keep_back("not sent: it is not well, and no recovery point is taken of a sick workload", sick);
    }

    /// Orders of this step that are not sent after all, and why.
    fn keep_back(&mut self, why: &str, is_meant: impl Fn(&Engine, &Action) -> bool) {
        if self.out.orders.is_empty() {
            return;
        }
        let orders = std::mem::take(&mut self.out.orders);
        let (kept, sent): (Vec<Order>, Vec<Order>) =
            orders.into_iter().partition(|order| is_meant(self, &order.action));
        self.out.orders = sent;
        for order in kept {
            self.outcome(order.id, Outcome::failed(FailureKind::Unreachable, why));
        }
    }

    fn objection(&self, order: &Order) -> Option<String> {
        if self.belief.cut_off && !matches!(order.action, Action::CheckPower { .. }) {
            return Some("the controller is cut off and acts on nothing".to_owned());
        }
        if self.memory_in_doubt() && order.action.may_run_on().is_some() {
            return Some("the memory was put back, and not every host has listed its VMs yet".to_owned());
        }
        match &order.action {
            Action::Start { workload, host } | Action::Revert { workload, host, .. } => {
                let elsewhere = self.runs_elsewhere(workload, &[host]);
                elsewhere.or_else(|| self.runs_renamed(workload)).or_else(|| self.overload(workload, host))
            }
            Action::Migrate { workload, from, to } => {
                let elsewhere = self.runs_elsewhere(workload, &[from, to]);
                elsewhere.or_else(|| self.runs_renamed(workload)).or_else(|| self.overload(workload, to))
            }
            Action::Resume { workload, host } => {
                self.runs_elsewhere(workload, &[host]).or_else(|| self.runs_renamed(workload))
            }
            Action::DeletePoint { workload, point, .. } => {
                let good = |other: &RecoveryPoint| other.id != *point && other.state == PointState::Good;
                let by_schedule = |own: &RecoveryPoint| own.id == *point && own.by == PointBy::Schedule;
                let mut points = self.belief.points_of(workload);
                (points.any(by_schedule) && !self.belief.points_of(workload).any(good))
                    .then(|| format!("{workload} would be left without a good recovery point"))
            }
            _ => None,
        }
    }

    /// Rules 1 and 2: it may be executing on no other host.
    fn runs_elsewhere(&self, workload: &WorkloadId, allowed: &[&HostId]) -> Option<String> {
        let record = self.belief.workloads.get(workload)?;
        let other = record.may_run_on.iter().find(|host| !allowed.contains(host))?;
        Some(format!("{workload} may still run on {other}"))
    }

    /// Rules 1 and 2 again: nor may it be executing under another name.
    fn runs_renamed(&self, workload: &WorkloadId) -> Option<String> {
        let record = self.belief.workloads.get(workload)?;
        let other = self.belief.other_names(record).find(|other| !other.may_run_on.is_empty())?;
        Some(format!("it may run under the name {}", other.workload))
    }

    /// Capacity holds, except for a workload that goes back to where it was.
    fn overload(&self, workload: &WorkloadId, host: &HostId) -> Option<String> {
        let record = self.belief.workloads.get(workload)?;
        if record.host.as_ref() == Some(host) {
            return None;
        }
        let (kind, needed, there) = self.capacity(host).lacks(self.used(host))?;
        Some(format!("{host} would need {} and has {}", kind.amount(needed), kind.amount(there)))
    }
}
