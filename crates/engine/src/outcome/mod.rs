//! Outcomes are facts too. Done is believed, failed is certain not to have happened, unknown settles nothing: the host
//! must be asked again, or proved off.

mod host;
mod workload;

pub(crate) use workload::MOVE_PAUSE;

use crate::{belief::OrderRecord, engine::Engine};
use mainstay_model::{
    Action, ActionId, Detail, EventKind, FailureKind, Outcome, PowerState, Severity, Subject, WorkloadId,
};

impl Engine {
    pub(crate) fn outcome(&mut self, id: ActionId, outcome: Outcome) {
        let Some(mut record) = self.belief.order_ended(id) else { return };
        self.agenda.ended(id, record.order.deadline);
        record.ended = Some((self.now, outcome.clone()));
        let subject = match record.order.action.workload() {
            Some(workload) => Subject::Workload(workload.clone()),
            None => Subject::Host(record.order.action.host().clone()),
        };
        let severity = if matches!(outcome, Outcome::Done { .. }) { Severity::Green } else { Severity::Yellow };
        self.note(EventKind::Outcome, severity, subject.clone(), format!("{}: {outcome}", record.order.action));
        self.belief.order_closed(record.clone());
        match subject {
            Subject::Workload(workload) => self.agenda.touch(&workload),
            _ => self.agenda.touch_host(record.order.action.host()),
        }
        self.agenda.stir();
        self.learn(record, outcome);
    }

    fn learn(&mut self, record: OrderRecord, outcome: Outcome) {
        let (since, deadline) = (record.ordered_at, record.order.deadline);
        // Between terms the clock may have been set: what is left of an older term's time is not known, so all of it counts.
        let older = record.order.epoch < self.belief.meta.epoch;
        let until = if older { self.now + deadline.since(since) } else { deadline };
        match record.order.action {
            Action::CheckPower { host } => match outcome {
                Outcome::Done { detail: Detail::Power(state) } => self.power_learned(&host, state),
                // Not to know is no reason to wait: fencing verifies for itself.
                _ => self.power_learned(&host, PowerState::On),
            },
            Action::Fence { host, level } => self.fence_ended(&host, level, outcome),
            Action::PowerOn { host } => self.power_on_ended(&host, &outcome),
            Action::Start { workload, host } => self.start_ended(&workload, &host, since, until, outcome),
            Action::Revert { workload, host, point, .. } => {
                if matches!(outcome, Outcome::Done { .. }) {
                    self.reverted(&workload, &point);
                }
                let not_there = matches!(&outcome, Outcome::Failed { error } if error.kind == FailureKind::NotThere);
                self.start_ended(&workload, &host, since, until, outcome);
                if not_there {
                    self.point_not_there(&workload, &point);
                }
            }
            Action::Stop { workload, host, .. } => self.stop_ended(&workload, &host, since, outcome),
            Action::Resume { workload, host } => match outcome {
                Outcome::Done { .. } => self.started(&workload, &host, since),
                Outcome::Failed { .. } => self.rung_failed(&workload, &host),
                Outcome::Unknown { .. } => self.start_unknown(&workload, &host, until),
            },
            Action::Migrate { workload, from, to } => {
                self.migrate_ended(&workload, &from, &to, since, until, outcome);
            }
            Action::Undefine { workload, host } => {
                if matches!(outcome, Outcome::Done { .. }) {
                    if let Some(senses) = self.belief.workload_senses.get_mut(&workload) {
                        senses.seen.remove(&host);
                    }
                    if let Some(record) = self.belief.workloads.get_mut(&workload) {
                        record.left.remove(&host);
                        if record.pending_on.remove(&host) {
                            self.belief.runs_not(&workload, &host);
                        }
                    }
                } else if self.belief.workloads.get(&workload).is_some_and(|record| record.pending_on.contains(&host)) {
                    self.rung_failed(&workload, &host); // the start that hangs there still holds it
                } else {
                    if self.seen_live(&workload, &host)
                        && let Some(record) = self.belief.workloads.get_mut(&workload)
                    {
                        record.trying = None; // the start that hung there came through, and it runs
                    }
                    self.tidy_later(&workload);
                }
            }
            Action::DisableAutostart { workload, host } => {
                if !matches!(outcome, Outcome::Done { .. }) {
                    self.tidy_later(&workload);
                } else if let Some(senses) = self.belief.workload_senses.get_mut(&workload)
                    && let Some(seen) = senses.seen.get_mut(&host)
                {
                    seen.autostart = false;
                }
            }
            Action::TakePoint { workload, point, .. } => self.point_taken(&workload, &point, outcome),
            Action::DeletePoint { workload, point, .. } => self.point_deleted(&workload, &point, &outcome),
            Action::Screenshot { .. } => {}
        }
    }

    /// After a restart of the controller: whatever was under way may have been done or not.
    pub(crate) fn forget_outcomes(&mut self) {
        let now = self.now;
        let unsettled = self.belief.workloads.values().filter(|record| !record.unsettled.is_empty());
        let unsettled: Vec<WorkloadId> = unsettled.map(|record| record.workload.clone()).collect();
        for workload in unsettled {
            let Some(record) = self.belief.workloads.get_mut(&workload) else { continue };
            for open in record.unsettled.values_mut() {
                open.may_happen_until = now + open.may_happen_until.since(open.since);
                open.since = now;
            }
        }
        let under_way: Vec<ActionId> = self.belief.all_in_flight().map(|record| record.order.id).collect();
        for id in under_way {
            let fenced = match self.belief.orders.get(&id).map(|record| &record.order.action) {
                Some(Action::Fence { host, .. }) => {
                    self.belief.hosts.get(host).map(|record| (host.clone(), record.phase.clone()))
                }
                _ => None,
            };
            self.outcome(id, Outcome::unknown("the controller restarted meanwhile"));
            // That nobody listened is no failure of the fence device: the same level is asked again, at once.
            if let Some((host, phase)) = fenced
                && let Some(record) = self.belief.hosts.get_mut(&host)
            {
                record.phase = phase;
            }
        }
    }
}
