//! Planned moves: live where possible; cold when an operator says so, or for maintenance after live migration failed twice.

use super::{Next, PlaceFor, waiting, waiting_for, waiting_until};
use crate::{
    belief::{MoveWhy, Moving, OrderRecord, Stuck},
    engine::Engine,
    explain::{Blocked, Doing, WaitingOn},
    outcome::MOVE_PAUSE,
    place::{NoHostFits, Request, place},
};
use mainstay_model::{Action, EventKind, HostId, Severity, Span, StopHow, Subject, WorkloadId};
use std::collections::BTreeMap;

/// Live migrations tried before a workload is moved cold.
const LIVE_TRIES: u32 = 2;
/// Starts elsewhere tried of what was stopped for a drain, before it goes back.
pub(super) const COLD_TRIES: usize = 2;
/// Bound for a live migration; then its outcome is unknown, and both hosts are asked.
pub(super) const MIGRATE_TIMEOUT: Span = Span::minutes(10);

impl Engine {
    /// Goes on with a move of a workload that runs well on `host`.
    pub(super) fn move_on(&mut self, workload: &WorkloadId, host: &HostId, moving: Moving) -> Next {
        if self.move_is_over(workload, host, &moving) {
            self.belief.workloads.get_mut(workload).expect("decided on record").moving = None;
            if moving.failures > 0 {
                self.stays_after_all(workload, host, moving.why);
            }
            self.agenda.touch_host(host);
            self.agenda.touch(workload); // it may have another reason to move by now, such as to go home (scenario 999)
            return Next::Is(Doing::Nothing { why: crate::explain::Why::Well });
        }
        if let Some((name, host)) = self.runs_under_another_name(workload) {
            // It runs twice, by a person's doing: neither is touched (scenario 481).
            return Next::Is(Doing::Blocked { by: Blocked::RunsAs { name, host } });
        }
        if let Some(order) = self.point_order_of(workload) {
            // A workload is held still while a point is taken; a migration would fail, or find it paused.
            return Next::Is(waiting_for(order));
        }
        let removes = |order: &&OrderRecord| matches!(order.order.action, Action::Undefine { .. });
        if let Some(order) = self.belief.in_flight(&Subject::Workload(workload.clone())).find(removes) {
            // It may be the one where it goes to: that would end it as it arrives (scenario 933).
            return Next::Is(waiting_for(order));
        }
        if let Some(order) = self.belief.fence_under_way(host) {
            // It is heard again, and may be off in a moment: what leaves it then ends on its way (scenario 952).
            return Next::Is(waiting_for(order));
        }
        if let Some(until) = self.one_more_comes_until(workload, host) {
            // A start that hangs here is nothing while it runs here, and brings it up anew once it has left (scenario 904).
            return Next::Is(waiting_until(WaitingOn::Answer { host: host.clone() }, until));
        }
        let record = self.belief.workloads.get(workload).expect("decided on record");
        let per_host = self.state_elsewhere(record);
        if moving.failures >= LIVE_TRIES && !per_host.is_empty() {
            // Shut down here it could not be started there.
            return Next::Is(Doing::Blocked { by: Blocked::NoHost { why: NoHostFits { per_host } } });
        }
        if moving.failures >= LIVE_TRIES {
            return Next::Is(self.move_cold(workload, host, moving));
        }
        let limit = self.spec.limits.migrations_per_host as usize;
        if self.migrations_on(host) >= limit {
            return Next::Is(waiting(WaitingOn::Limit { what: "migrations".to_owned(), host: host.clone() }));
        }
        Next::Place(PlaceFor::LiveMove { to: moving.to, why: moving.why })
    }

    /// Who moves if this running workload does: all that run and must be on its host.
    pub(crate) fn moves_with(&self, workload: &WorkloadId) -> Vec<WorkloadId> {
        let company = self.relations.groups.company(workload).into_iter();
        company.filter(|member| member == workload || self.manages(member) && self.runs_on(member).is_some()).collect()
    }

    /// Why these, which run, can't go there together, if so.
    pub(crate) fn could_move(&mut self, company: &[WorkloadId], to: Option<&HostId>) -> Result<(), NoHostFits> {
        self.could_be_placed(company, to, &PlaceFor::LiveMove { to: to.cloned(), why: MoveWhy::Operator })
    }

    fn could_be_placed(
        &mut self,
        company: &[WorkloadId],
        to: Option<&HostId>,
        what: &PlaceFor,
    ) -> Result<(), NoHostFits> {
        let goes = |member: &&WorkloadId| to.is_none_or(|to| self.runs_on(member) != Some(to));
        let requests: BTreeMap<WorkloadId, Request> = company
            .iter()
            .filter(goes)
            .filter_map(|member| Some((member.clone(), self.request(member, what)?)))
            .collect();
        self.sum_up();
        let mut placement = place(&requests, &self.candidates(), &self.located_groups());
        match placement.unplaced.pop_first() {
            Some((_, why)) => Err(why),
            None => Ok(()),
        }
    }

    /// True while any of those to which a workload is bound is on its way: how they stand is seen when it has arrived.
    pub(super) fn bound_to_one_that_moves(&self, workload: &WorkloadId) -> bool {
        self.relations.groups.of(workload).flat_map(|group| &group.members).any(|member| {
            let moving = self.belief.workloads.get(member).is_some_and(|record| record.moving.is_some());
            moving || self.life_order(member).is_some()
        })
    }

    /// True if the reason of the move is gone.
    fn move_is_over(&self, workload: &WorkloadId, host: &HostId, moving: &Moving) -> bool {
        // What was off and runs now was started: by our order, whatever became of its answer, or by a person.
        let started = moving.from.is_none();
        let anywhere = moving.to.is_none() && moving.from.as_ref() != Some(host);
        let arrived = started || anywhere || moving.to.as_ref() == Some(host);
        let in_maintenance = self.belief.hosts.get(host).is_some_and(|record| record.maintenance.is_some());
        let home_gone = moving.to.as_ref().is_some_and(|home| !self.in_service(home));
        match moving.why {
            // Given up rather than made some day when the host is back, and nobody remembers.
            MoveWhy::Operator => arrived || home_gone || moving.failures >= LIVE_TRIES,
            MoveWhy::Maintenance => {
                !in_maintenance || (moving.failures >= LIVE_TRIES && self.is_stuck_on(workload, host))
            }
            MoveWhy::FailBack | MoveWhy::Constraint | MoveWhy::Balance => {
                arrived || home_gone || moving.failures > 0 || !self.is_well(workload)
            }
        }
    }

    /// It could not be migrated, and nobody said that it may be shut down for that.
    fn stays_after_all(&mut self, workload: &WorkloadId, host: &HostId, why: MoveWhy) {
        self.belief.workload_senses.entry(workload.clone()).or_default().stays_until = Some(self.now + MOVE_PAUSE);
        let asked = if why == MoveWhy::Operator { "; to shut it down for that: mainstay vm move --cold" } else { "" };
        let text = format!("it can't be migrated, and stays on {host}{asked}");
        self.note(EventKind::Decided, Severity::Yellow, Subject::Workload(workload.clone()), text);
    }

    /// True while it is left where it is, because a move of our own accord failed.
    pub(crate) fn stays(&self, workload: &WorkloadId) -> bool {
        let senses = self.belief.workload_senses.get(workload);
        senses.and_then(|senses| senses.stays_until).is_some_and(|until| until > self.now)
    }

    /// It was stopped for a drain and goes back to where it ran: it is not stopped for this drain again.
    pub(super) fn is_stuck(&mut self, workload: &WorkloadId, host: &HostId) {
        let Some(record) = self.belief.workloads.get_mut(workload) else { return };
        let failed = record.moving.as_ref().and_then(|moving| moving.cold_error.clone());
        let why = match failed {
            Some(error) => format!("it could not be migrated, nor started elsewhere ({error})"),
            None => "it could not be migrated, and no other host takes it".to_owned(),
        };
        let text = format!("goes back to {host}: {why}");
        record.stuck = Some(Stuck { host: host.clone(), why });
        self.belief.workload_senses.entry(workload.clone()).or_default().stays_until = Some(self.now + MOVE_PAUSE);
        self.note(EventKind::Decided, Severity::Yellow, Subject::Workload(workload.clone()), text);
        self.agenda.touch_host(host);
    }

    /// True if it can't leave that host.
    pub(super) fn is_stuck_on(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let stuck = self.belief.workloads.get(workload).and_then(|record| record.stuck.as_ref());
        stuck.is_some_and(|stuck| stuck.host == *host)
    }

    /// Nothing is shut down that no other host would take.
    fn move_cold(&mut self, workload: &WorkloadId, host: &HostId, moving: Moving) -> Doing {
        let company = self.moves_with(workload);
        let what = PlaceFor::ColdMove { to: moving.to.clone(), leave: true };
        if let Err(why) = self.could_be_placed(&company, moving.to.as_ref(), &what) {
            return self.nowhere(why);
        }
        let record = self.belief.workloads.get_mut(workload).expect("decided on record");
        record.moving = Some(Moving { cold: true, ..moving });
        self.stop(workload, host, StopHow::Graceful, "live migration failed twice, so it is moved cold")
    }

    /// Live migrations under way from or to a host.
    pub(super) fn migrations_on(&self, host: &HostId) -> usize {
        let subject = Subject::Host(host.clone());
        self.belief.in_flight(&subject).filter(|record| matches!(record.order.action, Action::Migrate { .. })).count()
    }
}
