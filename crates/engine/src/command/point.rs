//! What an operator can ask of recovery points: take one, revert to one, delete one.

use super::{accepted, refused};
use crate::{
    belief::{AskedFor, PointKey, Sight, Want},
    engine::Engine,
};
use mainstay_model::{Action, Cause, PointBy, PointId, PointState, Reply, Subject, WorkloadId, spec::Rung};

impl Engine {
    pub(super) fn point_now(&mut self, workload: &WorkloadId, name: Option<PointId>) -> Reply {
        if let Err(reply) = self.free_workload(workload) {
            return reply;
        }
        let host = match self.runs_on(workload).cloned() {
            Some(_) if !self.is_well(workload) => {
                return refused(format!("{workload} is not well, and no recovery point is taken of a sick workload"));
            }
            Some(_) if self.is_unheard(workload) => {
                return refused(format!(
                    "{workload} has not answered since it is watched again, and may not be well; try again in a moment"
                ));
            }
            Some(host) => host,
            None => match self.stopped_on(workload) {
                Ok(host) => host,
                Err(why) => return refused(format!("{why}; no recovery point is taken of it")),
            },
        };
        if self.point_order(workload) {
            return refused(format!("a recovery point of {workload} is being taken or deleted; try again in a moment"));
        }
        let name = name.unwrap_or_else(|| self.point_name(workload));
        if self.belief.points.contains(&PointKey(workload.clone(), name.clone())) {
            return refused(format!("{workload} has a recovery point {name} already"));
        }
        self.commanded(Subject::Workload(workload.clone()), "a person asked for a recovery point");
        self.take_point(workload, &host, name.clone(), PointBy::Person);
        accepted(format!("recovery point {name} of {workload} is being taken"))
    }

    /// While a point of a stopped workload is taken, its images are no others': nothing may start it, here or elsewhere.
    pub(super) fn point_of_stopped_first(&self, workload: &WorkloadId) -> Option<Reply> {
        let order = self.point_order_of(workload).filter(|_| self.stopped_on(workload).is_ok())?;
        Some(refused(format!("{workload} is busy: {}; try again when that has ended", order.order.action)))
    }

    pub(super) fn revert_now(&mut self, workload: &WorkloadId, point: Option<PointId>) -> Reply {
        if let Err(reply) = self.free_workload(workload) {
            return reply;
        }
        if let Some(reply) = self.point_of_stopped_first(workload) {
            return reply;
        }
        let Some(point) = point.or_else(|| self.last_good_point(workload).map(|point| point.id.clone())) else {
            return refused(format!("{workload} has no good recovery point; see: mainstay snapshot list {workload}"));
        };
        let state = self.belief.points.get(&PointKey(workload.clone(), point.clone())).map(|record| record.state);
        if !matches!(state, Some(PointState::Good | PointState::Bad | PointState::SetAside)) {
            return refused(format!(
                "{workload} has no recovery point {point}; see: mainstay snapshot list {workload}"
            ));
        }
        if let Some(reply) = self.runs_renamed_already(workload) {
            return reply;
        }
        let record = self.belief.workloads.get(workload).expect("checked above");
        let place = match record.may_run_on.len() {
            0 => record.host.clone().filter(|host| self.in_service(host)),
            1 => record.may_run_on.first().filter(|host| self.sight(host) == Sight::Heard).cloned(),
            _ => None,
        };
        let Some(host) = place else {
            return refused(format!("it is not certain where {workload} is; see: mainstay explain {workload}"));
        };
        // A revert starts it, so it takes what a start takes: it may run elsewhere, under another name (scenario 658).
        let untold = self.only_hearsay(workload, &host).filter(|_| record.may_run_on.is_empty());
        if let Some(untold) = untold {
            return refused(format!(
                "{untold} has not listed its VMs since {workload} was last seen, and may run it; try again in a moment"
            ));
        }
        self.commanded(Subject::Workload(workload.clone()), &format!("a person asked to revert it to {point}"));
        self.answered(workload);
        let off_since = self.off_since(workload);
        let keep_broken = self.protection(workload).is_none_or(|rule| rule.policy.keep_broken);
        self.asked_anew(workload, Some(AskedFor::Revert { point: point.clone(), keep_broken }));
        let well_until = self.last_well_as_wanted(workload);
        self.wanted_from_now(workload);
        let record = self.belief.workloads.get_mut(workload).expect("checked above");
        record.trouble = None;
        record.moving = None;
        record.trying = None;
        record.attempts.push(crate::belief::Attempt {
            rung: Rung::Revert,
            at: self.now,
            host: Some(host.clone()),
            failed: false,
            locked: false,
            only_stopped: false,
            ran: false,
        });
        let action = Action::Revert { workload: workload.clone(), host, point: point.clone(), keep_broken };
        self.order(action, mainstay_model::Span::minutes(5), crate::belief::Purpose::Life);
        self.trouble_by_revert(workload, well_until, off_since);
        accepted(format!("{workload} is being reverted to {point}"))
    }

    /// A revert makes an incident of its own, so that its downtime and loss are on record. `off_since`: what was off already has
    /// written nothing since.
    fn trouble_by_revert(
        &mut self,
        workload: &WorkloadId,
        well_until: mainstay_model::Time,
        off_since: Option<mainstay_model::Time>,
    ) {
        let now = self.now;
        let record = self.belief.workloads.get_mut(workload).expect("checked by the caller");
        record.trouble = Some(crate::belief::Trouble {
            cause: Cause::PersonStop,
            since: now,
            well_until,
            started_at: None,
            pictured: true,
            exhausted: false,
            by_revert: true,
        });
        if record.incident.is_some() {
            self.down_again(workload, well_until); // one that is down stays so
        } else {
            let cause = mainstay_model::IncidentCause::Reverted;
            self.open_incident(Subject::Workload(workload.clone()), cause, well_until);
        }
        self.wrote_until(workload, off_since);
    }

    /// The last moment at which it was well, or off as wanted: what it is down for after that is downtime.
    fn last_well_as_wanted(&self, workload: &WorkloadId) -> mainstay_model::Time {
        let wanted = self.belief.workloads.get(workload).is_some_and(|record| record.want == Want::Running);
        let known_until = self.held_at(self.now); // what came of it while the controller slept is not known yet
        let last = self.last_well(workload).filter(|_| wanted);
        last.map_or(self.now, |last| if self.is_well(workload) { known_until } else { last.min(known_until) })
    }

    pub(super) fn delete_point_now(&mut self, workload: &WorkloadId, point: PointId) -> Reply {
        let Some(record) = self.belief.points.get(&PointKey(workload.clone(), point.clone())) else {
            return refused(format!(
                "{workload} has no recovery point {point}; see: mainstay snapshot list {workload}"
            ));
        };
        if record.state == PointState::Good && self.last_good_point(workload).is_some_and(|last| last.id == point) {
            return refused(format!(
                "{point} is the last good recovery point of {workload}; take another one first: mainstay snapshot create {workload}"
            ));
        }
        if self.point_order(workload) || self.point_in_flight(workload, &point) {
            return refused(format!("a recovery point of {workload} is in use just now; try again in a moment"));
        }
        let host = self.belief.workloads.get(workload).and_then(|record| record.host.clone());
        let Some(host) = host.filter(|host| self.sight(host) == Sight::Heard) else {
            return refused(format!("the host of {workload} does not answer"));
        };
        self.commanded(
            Subject::Workload(workload.clone()),
            &format!("a person asked to delete recovery point {point}"),
        );
        self.delete_point(workload, &host, point.clone());
        accepted(format!("recovery point {point} of {workload} is being deleted"))
    }

    // ---- alarms ---------------------------------------------------------------------------------------------------
}
