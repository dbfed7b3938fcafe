//! Outcomes are facts too. Done is believed, failed is certain not to have happened, unknown settles nothing: the host
//! must be asked again, or proved off.

use crate::{
    belief::{HostPhase, MoveWhy, OffProof, OrderRecord, Seen, Sight, StoppedHow, Unsettled, Want},
    engine::Engine,
    whose::persons_stop,
};
use mainstay_model::{
    Action, ActionId, Cause, Detail, DomainState, EventKind, Failure, FailureKind, HostId, OffReason, Outcome,
    PowerState, Severity, Span, Subject, Time, WorkloadId,
};

/// After every fence level failed, the levels are tried again from the first after this long: a BMC that reboots, a
/// switch that comes back.
const FENCE_AGAIN_AFTER: Span = Span::secs(30);
/// A workload that could not be moved, live or cold, is left where it is for so long: what keeps it there lasts.
pub(crate) const MOVE_PAUSE: Span = Span::minutes(5);
/// A workload that did not stop when a person asked is asked again after this long.
const STOP_PAUSE: Span = Span::minutes(1);
/// Housekeeping that failed is tried again after this long.
const TIDY_PAUSE: Span = Span::minutes(1);

/// A migration of unknown outcome that did not begin within this does not begin any more.
const MIGRATION_MAY_HAPPEN: Span = Span::secs(90);

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
        self.belief.orders.put(record.clone());
        match subject {
            Subject::Workload(workload) => self.agenda.touch(&workload),
            _ => self.agenda.touch_host(record.order.action.host()),
        }
        self.agenda.stir();
        self.learn(record, outcome);
        self.prune_journal();
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

    // ---- hosts ----------------------------------------------------------------------------------------------------

    /// A fence device told whether a lost host has power.
    pub(crate) fn power_learned(&mut self, host: &HostId, state: PowerState) {
        self.agenda.touch_host(host);
        let sight = self.sight(host);
        let Some(record) = self.belief.hosts.get_mut(host) else { return };
        let lost = match &mut record.phase {
            HostPhase::Lost { power, .. } => {
                *power = Some(state);
                sight != Sight::Heard // it answers again: the device told of the time before, or of another host
            }
            HostPhase::Online | HostPhase::Returning => sight == Sight::Silent && self.belief.cut_off,
            HostPhase::Off { .. } => false,
        };
        if lost && state == PowerState::Off {
            self.proved_off(host, OffProof::FoundOff);
        }
    }

    fn fence_ended(&mut self, host: &HostId, level: usize, outcome: Outcome) {
        let levels = self.host_spec(host).map_or(0, |spec| spec.fence.len());
        match outcome {
            Outcome::Done { detail: Detail::Fenced { already_off: true, .. } } => {
                self.proved_off(host, OffProof::FoundOff);
            }
            Outcome::Done { .. } => self.proved_off(host, OffProof::Fenced),
            Outcome::Failed { .. } | Outcome::Unknown { .. } => {
                let now = self.now;
                let Some(record) = self.belief.hosts.get_mut(host) else { return };
                if let HostPhase::Lost { level: next, try_at, exhausted, .. } = &mut record.phase {
                    if level + 1 < levels {
                        *next = level + 1;
                    } else {
                        *next = 0;
                        *try_at = now + FENCE_AGAIN_AFTER;
                        *exhausted = true;
                    }
                }
            }
        }
    }

    fn power_on_ended(&mut self, host: &HostId, outcome: &Outcome) {
        if let Outcome::Failed { .. } = outcome
            && let Some(record) = self.belief.hosts.get_mut(host)
            && let HostPhase::Off { powered_on, .. } = &mut record.phase
        {
            *powered_on = None; // tried again, as often as the flapping guard allows
        }
    }

    /// The host is certainly off: nothing runs there any more, and whatever should run is to be started elsewhere.
    pub(crate) fn proved_off(&mut self, host: &HostId, proof: OffProof) {
        let now = self.now;
        let well_until = self.belief.host_senses.get(host).and_then(|senses| senses.heard()).unwrap_or(now);
        let Some(record) = self.belief.hosts.get_mut(host) else { return };
        record.phase = HostPhase::Off { proof, powered_on: None };
        record.since = now;
        let text = match proof {
            OffProof::Fenced => "proved off: fenced",
            OffProof::FoundOff => "proved off: its fence device found it without power",
            OffProof::Person => "proved off, on a person's word",
        };
        self.note(EventKind::Believed, Severity::Yellow, Subject::Host(host.clone()), text);
        if let Some(senses) = self.belief.host_senses.get_mut(host) {
            senses.listed.clear();
            senses.guest_heard = None;
        }
        let workloads: Vec<WorkloadId> = self.belief.on_host(host).cloned().collect();
        self.end_orders_at(host);
        for workload in workloads {
            self.belief.runs_not(&workload, host);
            if let Some(senses) = self.belief.workload_senses.get_mut(&workload) {
                senses.seen.remove(host);
            }
            let home_counts = self.home_counts(&workload);
            let record = self.belief.workloads.get_mut(&workload).expect("the index knows only workloads on record");
            record.unsettled.remove(host);
            record.pending_on.remove(host);
            // A migration away from here is over: what its target lists from now on counts.
            for open in record.unsettled.values_mut() {
                open.may_happen_until = open.may_happen_until.min(now);
            }
            record.left.insert(host.clone());
            if home_counts {
                record.came_from.get_or_insert_with(|| host.clone());
            }
            if record.want == Want::Running && record.may_run_on.is_empty() {
                let well_until = self.last_well(&workload).unwrap_or(well_until);
                self.trouble_since(&workload, Cause::HostLost, well_until);
            }
            self.agenda.touch(&workload);
        }
        self.agenda.touch_host(host);
        self.agenda.stir();
    }

    /// Whatever was under way at a host that is proved off has ended with it. Its outcome would be waited for until its
    /// deadline, since a host without power closes no connection.
    fn end_orders_at(&mut self, host: &HostId) {
        let orders = self.belief.in_flight(&Subject::Host(host.clone()));
        let about_workloads = orders.filter(|record| record.order.action.workload().is_some());
        let ids: Vec<ActionId> = about_workloads.map(|record| record.order.id).collect();
        for id in ids {
            self.outcome(id, Outcome::unknown(format!("{host} was proved off meanwhile")));
        }
    }

    // ---- workloads ------------------------------------------------------------------------------------------------

    /// Done, so it was running there at some moment after the order. What the host said since then counts more; but a list
    /// that was asked for before this was heard, and arrives after it, may be of the time before the start.
    fn started(&mut self, workload: &WorkloadId, host: &HostId, since: Time) {
        let senses = self.belief.workload_senses.entry(workload.clone()).or_default();
        match senses.seen.get(host) {
            Some(seen) if seen.at > since && !seen.state.is_live() => return self.unsettle(workload, host, self.now),
            Some(seen) if seen.state == DomainState::Running => {}
            _ => {
                let autostart = senses.seen.get(host).is_some_and(|seen| seen.autostart);
                senses.seen.insert(
                    host.clone(),
                    Seen { state: DomainState::Running, at: self.now, since: self.now, autostart },
                );
                senses.up_since = Some(self.now);
                senses.answered_since = None;
                senses.activity = None;
            }
        }
        self.belief.may_run(workload, host);
        let Some(record) = self.belief.workloads.get_mut(workload) else { return };
        record.host = Some(host.clone());
        record.left.remove(host);
        record.trying = None;
        record.moving = None;
        record.unsettled.remove(host);
        record.pending_on.remove(host);
        if let Some(trouble) = &mut record.trouble {
            trouble.started_at = Some(self.now);
        }
    }

    fn start_ended(&mut self, workload: &WorkloadId, host: &HostId, since: Time, until: Time, outcome: Outcome) {
        // Of a start that failed, our own stop before it may be heard late, and that is nobody's will.
        let may_have_run = !matches!(outcome, Outcome::Failed { .. });
        if may_have_run && self.stopped_meanwhile(workload, host, since) {
            return;
        }
        match outcome {
            Outcome::Done { .. } => self.started(workload, host, since),
            Outcome::Failed { error } => self.start_failed(workload, host, error),
            Outcome::Unknown { .. } => self.start_unknown(workload, host, until),
        }
    }

    /// It may run there, or be started there yet, by a call that hangs.
    fn start_unknown(&mut self, workload: &WorkloadId, host: &HostId, until: Time) {
        self.unsettle(workload, host, until);
        if let Some(open) = self.belief.workloads.get_mut(workload).and_then(|record| record.unsettled.get_mut(host)) {
            open.told_to_start = true;
        }
    }

    /// True if it came up after the order and a person stopped it before the order ended: rule 3 counts more than what the
    /// order was for.
    fn stopped_meanwhile(&mut self, workload: &WorkloadId, host: &HostId, ordered_at: Time) -> bool {
        let Some(senses) = self.belief.workload_senses.get(workload) else { return false };
        let came_up = senses.up_since.is_some_and(|up_since| up_since > ordered_at);
        let how = match senses.seen.get(host) {
            Some(Seen { state: DomainState::Off(reason), since, .. }) if *since > ordered_at => persons_stop(*reason),
            _ => None,
        };
        let Some(how) = how.filter(|_| came_up) else { return false };
        self.belief.runs_not(workload, host);
        self.stopped_by_person(host, workload, how);
        let Some(record) = self.belief.workloads.get_mut(workload) else { return true };
        record.trying = None;
        record.unsettled.remove(host);
        record.pending_on.remove(host);
        true
    }

    fn start_failed(&mut self, workload: &WorkloadId, host: &HostId, error: Failure) {
        if let Some(record) = self.belief.workloads.get_mut(workload)
            && error.kind == FailureKind::Unreachable
            && (record.unsettled.contains_key(host) || record.pending_on.contains(host))
        {
            // Nothing was sent, so what an earlier order there comes to is as unknown as before.
            record.trying = None;
            if let Some(open) = record.unsettled.get_mut(host) {
                open.asked_again = true;
            }
            return;
        }
        if !self.seen_live(workload, host) {
            self.belief.runs_not(workload, host);
        }
        if error.kind == FailureKind::DiskLocked {
            let text = format!("its disk is in use by another process, so it may run somewhere: {}", error.message);
            self.note(EventKind::Believed, Severity::Red, Subject::Workload(workload.clone()), text);
        }
        self.rung_failed(workload, host);
        let Some(record) = self.belief.workloads.get_mut(workload) else { return };
        record.moving = None;
        // The host works on one order for a workload at a time: an earlier one is through too.
        record.unsettled.remove(host);
        record.pending_on.remove(host);
        if record.trouble.is_none() {
            self.trouble(workload, Cause::StartFailed);
        }
    }

    /// Housekeeping did not work: what is in its way may go, but not at once.
    pub(crate) fn tidy_later(&mut self, workload: &WorkloadId) {
        self.belief.workload_senses.entry(workload.clone()).or_default().tidy_after = Some(self.now + TIDY_PAUSE);
    }

    /// The rung being tried did not help: the next decision chooses again, and avoids this host when relocating.
    fn rung_failed(&mut self, workload: &WorkloadId, host: &HostId) {
        let Some(record) = self.belief.workloads.get_mut(workload) else { return };
        record.trying = None;
        if let Some(attempt) = record.attempts.last_mut() {
            attempt.host = Some(host.clone());
            attempt.failed = true;
        }
    }

    /// Nobody knows whether it runs there, or whether it will before `until`: the host must be asked anew.
    pub(crate) fn unsettle(&mut self, workload: &WorkloadId, host: &HostId, until: Time) {
        let proved_off =
            self.belief.hosts.get(host).is_some_and(|record| matches!(record.phase, HostPhase::Off { .. }));
        if proved_off {
            self.belief.runs_not(workload, host);
            if let Some(record) = self.belief.workloads.get_mut(workload) {
                record.trying = None;
            }
            return;
        }
        self.belief.may_run(workload, host);
        let now = self.now;
        if let Some(record) = self.belief.workloads.get_mut(workload) {
            record.trying = None;
            let asked_again = record.unsettled.contains_key(host);
            let open = Unsettled { since: now, may_happen_until: until.max(now), asked_again, told_to_start: false };
            record.unsettled.insert(host.clone(), open);
        }
    }

    fn stop_ended(&mut self, workload: &WorkloadId, host: &HostId, since: Time, outcome: Outcome) {
        let seen = self.belief.workload_senses.get(workload).and_then(|senses| senses.seen.get(host));
        match outcome {
            // It came up again before the outcome was heard: somebody else started it, or the event is a late one.
            Outcome::Done { .. } if seen.is_some_and(|seen| seen.state.is_live() && seen.since > since) => {
                self.unsettle(workload, host, self.now);
            }
            Outcome::Done { .. } => {
                self.belief.runs_not(workload, host);
                if let Some(senses) = self.belief.workload_senses.get_mut(workload)
                    && let Some(seen) = senses.seen.get_mut(host)
                {
                    seen.state = DomainState::Off(OffReason::Destroyed);
                    seen.at = self.now;
                }
            }
            Outcome::Failed { .. } => {
                self.rung_failed(workload, host);
                let Some(record) = self.belief.workloads.get_mut(workload) else { return };
                let ours = record.moving.take().is_some_and(|moving| moving.why != MoveWhy::Operator);
                if ours && let Some(senses) = self.belief.workload_senses.get_mut(workload) {
                    senses.stays_until = Some(self.now + MOVE_PAUSE);
                }
                if matches!(record.want, Want::Stopped { how: StoppedHow::Operator, .. }) {
                    let text = "it did not stop when asked, and is asked again; by force: mainstay vm stop --force";
                    let senses = self.belief.workload_senses.entry(workload.clone()).or_default();
                    senses.stop_again_at = Some(self.now + STOP_PAUSE);
                    self.note(EventKind::Decided, Severity::Yellow, Subject::Workload(workload.clone()), text);
                }
            }
            Outcome::Unknown { .. } => self.unsettle(workload, host, self.now),
        }
    }

    fn migrate_ended(
        &mut self,
        workload: &WorkloadId,
        from: &HostId,
        to: &HostId,
        since: Time,
        until: Time,
        outcome: Outcome,
    ) {
        // It arrived and its owner shut it down there, whatever is said of the order now, or never was. (A target that is given up
        // is destroyed: that tells nothing.)
        let seen = self.belief.workload_senses.get(workload).and_then(|senses| senses.seen.get(to));
        let shut_down = seen.is_some_and(|seen| seen.state == DomainState::Off(OffReason::Shutdown));
        let done = matches!(outcome, Outcome::Done { .. });
        if !done && shut_down && self.stopped_meanwhile(workload, to, since) {
            self.unsettle(workload, from, self.now);
            return;
        }
        match outcome {
            Outcome::Done { .. } => {
                self.belief.runs_not(workload, from);
                if let Some(seen) = self.belief.workload_senses.get_mut(workload).and_then(|it| it.seen.get_mut(from)) {
                    // Kept with this moment, so that an older list of that host, still on its way, is known to be older.
                    let gone = DomainState::Off(OffReason::Migrated);
                    *seen = Seen { state: gone, at: self.now, since: self.now, autostart: false };
                }
                if self.stopped_meanwhile(workload, to, since) {
                    return;
                }
                if let Some(record) = self.belief.workloads.get_mut(workload) {
                    record.want = Want::Running; // it arrived, so what its source said of it was its leaving
                }
                self.started(workload, to, since);
            }
            Outcome::Failed { error } => {
                // libvirt undoes a migration that fails, but in several steps on two hosts: the target is asked too, unless
                // nothing was ever sent.
                if error.kind != FailureKind::Unreachable {
                    self.unsettle(workload, to, self.now);
                } else if !self.seen_live(workload, to) {
                    self.belief.runs_not(workload, to);
                }
                let record = self.belief.workloads.get_mut(workload).expect("an order's workload is on record");
                if let Some(moving) = &mut record.moving {
                    moving.failures += 1;
                }
                if !self.seen_live(workload, from) {
                    self.unsettle(workload, from, self.now);
                }
            }
            Outcome::Unknown { .. } => {
                self.unsettle(workload, from, self.now);
                // A migration has a long deadline, and all that time nothing would be done for the workload where it runs.
                self.unsettle(workload, to, until.min(self.now + MIGRATION_MAY_HAPPEN));
                let moving = self.belief.workloads.get_mut(workload).and_then(|record| record.moving.as_mut());
                if let Some(moving) = moving.filter(|moving| moving.why == MoveWhy::Operator) {
                    moving.to.get_or_insert_with(|| to.clone()); // if it is there after all, the move is over
                }
            }
        }
    }

    /// The journal keeps what is under way and the last so many that ended.
    fn prune_journal(&mut self) {
        const KEPT: usize = 500;
        if self.belief.orders.len() > 2 * KEPT {
            let ended: Vec<ActionId> = self
                .belief
                .orders
                .values()
                .filter(|record| record.ended.is_some())
                .map(|record| record.order.id)
                .collect();
            let surplus = ended.len().saturating_sub(KEPT);
            for id in &ended[..surplus] {
                self.belief.orders.remove(id);
            }
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
