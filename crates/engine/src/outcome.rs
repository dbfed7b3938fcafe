//! Outcomes are facts too. Done is believed, failed is certain not to have happened, unknown settles nothing: the host
//! must be asked again, or proved off.

use crate::{
    belief::{HostPhase, OffProof, OrderRecord, PointKey, Seen, Sight, StoppedHow, Unsettled, Want},
    engine::Engine,
};
use mainstay_model::{
    Action, ActionId, Cause, Detail, DomainState, EventKind, Failure, FailureKind, HostId, OffReason, Outcome, PointId,
    PointState, PowerState, RecoveryPoint, Severity, Span, Subject, Time, WorkloadId, spec::Rung,
};

/// After every fence level failed, the levels are tried again from the first after this long: a BMC that reboots, a
/// switch that comes back.
const FENCE_AGAIN_AFTER: Span = Span::secs(30);

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
        let (since, until) = (record.ordered_at, record.order.deadline);
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
            Action::Stop { workload, host, .. } => self.stop_ended(&workload, &host, outcome),
            Action::Resume { workload, host } => match outcome {
                Outcome::Done { .. } => self.started(&workload, &host, since),
                Outcome::Failed { .. } => self.rung_failed(&workload, &host),
                Outcome::Unknown { .. } => self.unsettle(&workload, &host, until),
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
                    }
                }
            }
            Action::DisableAutostart { workload, host } => {
                if matches!(outcome, Outcome::Done { .. })
                    && let Some(senses) = self.belief.workload_senses.get_mut(&workload)
                    && let Some(seen) = senses.seen.get_mut(&host)
                {
                    seen.autostart = false;
                }
            }
            Action::TakePoint { workload, point, .. } => self.point_taken(&workload, &point, outcome),
            Action::DeletePoint { workload, point, .. } => self.point_deleted(&workload, &point, outcome),
            Action::Screenshot { .. } => {}
        }
    }

    // ---- hosts ----------------------------------------------------------------------------------------------------

    /// A fence device told whether a lost host has power.
    pub(crate) fn power_learned(&mut self, host: &HostId, state: PowerState) {
        self.agenda.touch_host(host);
        let silent = self.sight(host) == Sight::Silent;
        let Some(record) = self.belief.hosts.get_mut(host) else { return };
        let lost = match &mut record.phase {
            HostPhase::Lost { power, .. } => {
                *power = Some(state);
                true
            }
            HostPhase::Online | HostPhase::Returning => silent && self.belief.cut_off,
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
        for workload in workloads {
            self.belief.runs_not(&workload, host);
            if let Some(senses) = self.belief.workload_senses.get_mut(&workload) {
                senses.seen.remove(host);
            }
            let record = self.belief.workloads.get_mut(&workload).expect("the index knows only workloads on record");
            record.unsettled.remove(host);
            // A migration away from here is over: what its target lists from now on counts.
            for open in record.unsettled.values_mut() {
                open.may_happen_until = open.may_happen_until.min(now);
            }
            record.left.insert(host.clone());
            record.came_from.get_or_insert_with(|| host.clone());
            if record.want == Want::Running && record.may_run_on.is_empty() {
                let well_until = self.last_well(&workload).unwrap_or(well_until);
                self.trouble_since(&workload, Cause::HostLost, well_until);
            }
            self.agenda.touch(&workload);
        }
        self.agenda.touch_host(host);
        self.agenda.stir();
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
        if let Some(trouble) = &mut record.trouble {
            trouble.started_at = Some(self.now);
        }
    }

    fn start_ended(&mut self, workload: &WorkloadId, host: &HostId, since: Time, until: Time, outcome: Outcome) {
        match outcome {
            Outcome::Done { .. } => self.started(workload, host, since),
            Outcome::Failed { error } => self.start_failed(workload, host, error),
            Outcome::Unknown { .. } => self.unsettle(workload, host, until),
        }
    }

    fn start_failed(&mut self, workload: &WorkloadId, host: &HostId, error: Failure) {
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
        record.unsettled.remove(host); // the host works on one order for a workload at a time: an earlier one is through too
        if record.trouble.is_none() {
            self.trouble(workload, Cause::StartFailed);
        }
    }

    /// The rung being tried did not help: the next decision chooses again, and avoids this host when relocating.
    fn rung_failed(&mut self, workload: &WorkloadId, host: &HostId) {
        let Some(record) = self.belief.workloads.get_mut(workload) else { return };
        record.trying = None;
        if let Some(attempt) = record.attempts.last_mut() {
            attempt.host = Some(host.clone());
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
            record.unsettled.insert(host.clone(), Unsettled { since: now, may_happen_until: until.max(now) });
        }
    }

    fn stop_ended(&mut self, workload: &WorkloadId, host: &HostId, outcome: Outcome) {
        match outcome {
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
                record.moving = None;
                if matches!(record.want, Want::Stopped { how: StoppedHow::Operator, .. }) {
                    record.want = Want::Running;
                    let text = "it did not stop when asked, so it goes on; by force: mainstay vm stop --force";
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
        match outcome {
            Outcome::Done { .. } => {
                self.belief.runs_not(workload, from);
                if let Some(senses) = self.belief.workload_senses.get_mut(workload) {
                    senses.seen.remove(from);
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
                self.unsettle(workload, to, until);
            }
        }
    }

    fn reverted(&mut self, workload: &WorkloadId, point: &PointId) {
        let loss = self.belief.points.get(&PointKey(workload.clone(), point.clone())).map(|point| point.taken_at);
        if let Some(record) = self.belief.workloads.get_mut(workload) {
            record.reverted_to = Some(point.clone());
        }
        self.data_lost(workload, loss);
    }

    /// A revert to a point that is not there was no attempt: if there is another good one, that is next.
    fn point_not_there(&mut self, workload: &WorkloadId, point: &PointId) {
        let is_other = |other: &RecoveryPoint| other.state == PointState::Good && other.id != *point;
        if !self.belief.points_of(workload).any(is_other) {
            return;
        }
        if let Some(point) = self.belief.points.get_mut(&PointKey(workload.clone(), point.clone())) {
            point.state = PointState::Bad;
        }
        if let Some(record) = self.belief.workloads.get_mut(workload) {
            record.attempts.pop_if(|attempt| attempt.rung == Rung::Revert);
        }
    }

    // ---- recovery points ------------------------------------------------------------------------------------------

    pub(crate) fn point_in_flight(&self, workload: &WorkloadId, point: &PointId) -> bool {
        self.belief.in_flight(&Subject::Workload(workload.clone())).any(|record| match &record.order.action {
            Action::TakePoint { point: other, .. }
            | Action::DeletePoint { point: other, .. }
            | Action::Revert { point: other, .. } => other == point,
            _ => false,
        })
    }

    fn point_taken(&mut self, workload: &WorkloadId, point: &PointId, outcome: Outcome) {
        let key = PointKey(workload.clone(), point.clone());
        // A point during which the workload fell sick may hold the sickness. Silence alone tells nothing now: taking the
        // point holds the guest still for a moment, longer the more memory it has.
        let sound = self.runs_on(workload).is_some()
            && self.belief.workloads.get(workload).is_some_and(|record| {
                record.trouble.as_ref().is_none_or(|trouble| trouble.started_at.is_some())
                    && record.unsettled.is_empty()
            });
        match outcome {
            Outcome::Done { detail } => {
                let Some(record) = self.belief.points.get_mut(&key) else { return };
                record.state = if sound { PointState::Good } else { PointState::Bad };
                if let Detail::Point { kind, frozen, handle, bytes } = detail {
                    (record.kind, record.frozen, record.handle, record.bytes) = (kind, frozen, handle, bytes);
                }
                if let Some(record) = self.belief.workloads.get_mut(workload) {
                    // A bad one protects from nothing: the next is not far.
                    record.point_failures = if sound { 0 } else { record.point_failures + 1 };
                }
            }
            Outcome::Failed { .. } => {
                self.belief.points.remove(&key);
                if let Some(record) = self.belief.workloads.get_mut(workload) {
                    record.point_failures += 1;
                }
            }
            Outcome::Unknown { .. } => {
                if let Some(record) = self.belief.workloads.get_mut(workload) {
                    record.point_failures += 1;
                }
            }
        }
    }

    fn point_deleted(&mut self, workload: &WorkloadId, point: &PointId, outcome: Outcome) {
        let gone = match &outcome {
            Outcome::Done { .. } => true,
            Outcome::Failed { error } => error.kind == FailureKind::NotThere,
            Outcome::Unknown { .. } => false,
        };
        if gone {
            self.belief.points.remove(&PointKey(workload.clone(), point.clone()));
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
        for id in self.belief.all_in_flight() {
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
