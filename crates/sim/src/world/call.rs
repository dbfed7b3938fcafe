//! Orders carried out, as the daemon's executors and the hypervisors behind them do: a request travels, waits, takes
//! effect, and is answered; each of these can fail by itself, so that what was done and what was said differ.
//!
//! ```text
//!   order ─▶ arrive ─▶ effect ─▶ reply
//!              │ host off, network cut: lost                  connection closed, deadline passed: unknown
//!              └ management stopped: waits, and happens when it goes on, however late
//! ```

use super::{
    Condition, Disk, Management, News, Planned, Point, Power, StorageState, Truth, World, life::Refusal, truth::Starter,
};
use crate::deed::CallFault;
use mainstay_model::{
    Action, ActionId, Detail, DomainState, FailureKind, HostId, OffReason, Order, Outcome, PointId, PointKind, Proof,
    Span, StopHow, Time, WorkloadId,
};

/// Names of recovery points that hold what a revert set aside begin so.
pub(crate) const SET_ASIDE: &str = "broken-";
/// libvirt waits this long for another job of the same domain.
const LOCK_PATIENCE: Span = Span::secs(30);
const LOCKED: &str = "Timed out during operation: cannot acquire state change lock";
/// TCP tries to deliver what was sent this long, also after the sender gave its connection up (`tcp_orphan_retries`).
const TCP_PATIENCE: Span = Span::secs(100);

/// An order on its way.
#[derive(Clone, Debug)]
pub(super) struct Call {
    order: Order,
    fault: Option<CallFault>,
    /// The connection it went over; `None`: a fence device.
    connection: Option<(HostId, u64)>,
    /// The host's life it was sent to.
    boots: u64,
    sent_at: Time,
    begun_at: Option<Time>,
    /// It took effect, or failed to.
    ended: bool,
    pub replied: bool,
}

impl Call {
    /// Its connection is closed: true if that leaves it without an answer.
    pub fn lose(&mut self, host: &HostId, number: u64) -> bool {
        let mine = self.connection.as_ref().is_some_and(|(name, of)| name == host && *of == number);
        let lost = mine && !self.replied && self.fault != Some(CallFault::Unanswered);
        self.replied |= lost;
        lost
    }
}

/// What an attempt to take effect came to.
pub(super) enum Effect {
    Answer(Outcome),
    /// Not yet: look again after this.
    Wait(Span),
    /// The fence devices have to be asked for this long.
    Never,
}

impl World {
    /// Takes an order from the controller.
    pub fn carry_out(&mut self, order: Order) {
        let id = order.id;
        let deadline = order.deadline.since(self.now);
        let at_device =
            matches!(order.action, Action::CheckPower { .. } | Action::Fence { .. } | Action::PowerOn { .. });
        let name = order.action.host().clone();
        let old = order.epoch < self.highest_epoch;
        self.highest_epoch = self.highest_epoch.max(order.epoch);
        let fault = self.draw_fault(&name);
        let connection = self.hosts.get(&name).map(|host| (host.connection.open, host.connection.number, host.boots));
        let Some((open, number, boots)) = connection else {
            return self.answer_at(Span(1), id, Outcome::failed(FailureKind::NotThere, format!("no host {name}")));
        };
        let connection = (!at_device).then(|| (name.clone(), number));
        let target_gone = matches!(&order.action, Action::Migrate { to, .. }
            if !self.hosts.get(to).is_some_and(|host| host.connection.open));
        let sent_at = self.now;
        let call = Call { order, fault, connection, boots, sent_at, begun_at: None, ended: false, replied: false };
        let takes = if at_device { self.device_time(&call.order.action) } else { Span(self.call_random.between(1, 4)) };
        self.calls.insert(id, call);
        self.plan(deadline + Span(1), Planned::Expire(id));
        if old && !self.takes_old_orders {
            self.refuse(id, FailureKind::OldEpoch, "a newer leader has acted");
        } else if !at_device && (!open || target_gone) {
            self.refuse(id, FailureKind::Unreachable, "not connected");
        } else if at_device {
            self.plan(takes, Planned::Effect(id));
        } else {
            self.plan(takes, Planned::Arrive(id));
        }
    }

    fn refuse(&mut self, id: ActionId, kind: FailureKind, message: &str) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.replied = true;
        }
        self.answer_at(Span(1), id, Outcome::failed(kind, message));
    }

    fn answer_at(&mut self, delay: Span, id: ActionId, outcome: Outcome) {
        self.hear(delay, News::Outcome(id, outcome));
    }

    fn draw_fault(&mut self, host: &HostId) -> Option<CallFault> {
        let here = self.call_faults.iter().filter(|((on, _), _)| on.as_ref().is_none_or(|on| on == host));
        let mut drawn = here.map(|((_, fault), permille)| (*fault, *permille));
        let random = &mut self.call_random;
        drawn.find(|(_, permille)| random.chance(*permille)).map(|(fault, _)| fault)
    }

    /// The request is at the host.
    pub(super) fn arrive(&mut self, id: ActionId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(host) = self.hosts.get_mut(call.order.action.host()) else { return };
        if host.boots != call.boots {
            return; // the kernel that booted since knows nothing of that connection, and resets it
        }
        if !host.is_reached() || host.management == Management::Dead {
            // The sender's kernel goes on trying, unless nothing is left that it could be delivered to.
            let lives = (host.power == Power::On || host.hibernated) && host.management != Management::Dead;
            if call.fault == Some(CallFault::Late) && lives && self.now.since(call.sent_at) < TCP_PATIENCE {
                // It waits twice as long each time.
                let pause = self.now.since(call.sent_at).max(Span::millis(500));
                self.plan(pause, Planned::Arrive(id));
            }
            return;
        }
        if host.frozen || host.management == Management::Stopped {
            host.backlog.push(id);
            return;
        }
        let (low, high) = match &call.order.action {
            Action::Start { .. } => (250, 500),
            Action::Stop { .. } => (200, 300),
            Action::Migrate { .. } => (600, 1_100),
            Action::TakePoint { .. } => (60, 300),
            Action::Revert { .. } => (900, 1_300),
            Action::DeletePoint { .. } => (60, 120),
            _ => (10, 60),
        };
        let slow = if call.fault == Some(CallFault::Slow) { 40 } else { 1 };
        let latency = Span(self.call_random.between(low, high) * slow);
        self.plan(latency, Planned::Effect(id));
        let now = self.now;
        if let Some(Action::Migrate { workload, from, to }) = self.calls.get(&id).map(|call| call.order.action.clone())
            && let Some(outcome) = self.begin_or_skip_migration(&workload, &from, &to)
        {
            self.reply(id, outcome);
        } else if let Some(call) = self.calls.get_mut(&id) {
            call.begun_at = Some(now);
        }
    }

    /// `None`: it is under way. A guest that has moved already is where it was to be.
    fn begin_or_skip_migration(&mut self, workload: &WorkloadId, from: &HostId, to: &HostId) -> Option<Outcome> {
        let processes = self.guests.get(workload).map(|guest| &guest.processes);
        if processes.is_some_and(|processes| processes.contains_key(to) && !processes.contains_key(from)) {
            return Some(Outcome::done());
        }
        let refusal = self.begin_migration(workload, from, to).err();
        refusal.map(|(kind, message)| Outcome::failed(kind, message))
    }

    /// The host's management goes on: what waited arrives now.
    pub(super) fn work_off(&mut self, host: &HostId) {
        let waiting = self.hosts.get_mut(host).map(|host| std::mem::take(&mut host.backlog)).unwrap_or_default();
        for id in waiting {
            if self.calls.get(&id).is_some_and(|call| call.begun_at.is_some()) {
                self.plan(Span(1), Planned::Effect(id));
            } else {
                self.plan(Span(1), Planned::Arrive(id));
            }
        }
    }

    pub(super) fn effect(&mut self, id: ActionId) {
        let Some(call) = self.calls.get(&id) else { return };
        let (action, fault, begun_at) = (call.order.action.clone(), call.fault, call.begun_at);
        let late = call.replied && call.connection.is_some() && call.begun_at.is_none();
        if let Some((name, _)) = &call.connection {
            let Some(host) = self.hosts.get_mut(name) else { return };
            // What it had taken goes on with it.
            if host.hibernated && host.boots == call.boots {
                host.backlog.push(id);
                return;
            }
            if late || host.power != Power::On || host.boots != call.boots || host.management == Management::Dead {
                // The connection over which the target was told is closed: it ends what came in.
                if let (Action::Migrate { workload, .. }, true) = (&action, begun_at.is_some()) {
                    self.drop_incoming(workload);
                }
                return self.end(id);
            }
            if host.frozen || host.management == Management::Stopped {
                host.backlog.push(id);
                return;
            }
        }
        if fault == Some(CallFault::Late) && call.replied && self.has_nothing_to_start(&action) {
            return self.end(id);
        }
        if fault == Some(CallFault::Fail) {
            if let Action::Migrate { workload, .. } = &action {
                self.drop_incoming(workload); // libvirt undoes what it began
            }
            self.end(id);
            let proves = self.proof(&action);
            return self.reply(id, Outcome::failed_with(FailureKind::Other, "internal error (simulated)", proves));
        }
        let effect = match &action {
            Action::CheckPower { host } => self.check_power(host, begun_at.is_some()),
            Action::Fence { host, level } => self.fence(host, *level, begun_at.is_some()),
            Action::PowerOn { host } => self.switch_on(host),
            _ if self.is_so(&action) => Effect::Answer(Outcome::done()),
            _ if self.waits_for_lock(id) => self.wait_for_lock(begun_at),
            _ if self.stalls(&action) => Effect::Wait(Span::millis(500)),
            _ if self.is_locked(&action) => Effect::Answer(Outcome::failed(FailureKind::Other, LOCKED)),
            Action::Migrate { from, to, .. } if self.hangs_on_link(from, to, begun_at) => Effect::Wait(Span::secs(1)),
            _ => self.at_hypervisor(&action),
        };
        match effect {
            Effect::Answer(outcome) => {
                self.end(id);
                self.reply(id, outcome);
            }
            Effect::Wait(after) => {
                let now = self.now;
                if let Some(call) = self.calls.get_mut(&id).filter(|call| call.connection.is_none()) {
                    call.begun_at = Some(now); // the driver looks a second time
                }
                self.plan(after, Planned::Effect(id));
            }
            Effect::Never => {}
        }
    }

    /// The one request that TCP delivers after its connection was given up is that to start a domain that was defined before; if
    /// it is not any more, there is nothing to start.
    fn has_nothing_to_start(&self, action: &Action) -> bool {
        let (Action::Start { workload, host } | Action::Revert { workload, host, .. }) = action else { return false };
        self.hosts.get(host).is_some_and(|host| !host.domains.contains_key(workload))
    }

    /// Nothing of the call is under way at its host any more.
    fn end(&mut self, id: ActionId) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.ended = true;
        }
    }

    /// True if the action has to touch a disk that does not answer.
    fn stalls(&self, action: &Action) -> bool {
        let touches =
            !matches!(action, Action::Undefine { .. } | Action::DisableAutostart { .. } | Action::Screenshot { .. });
        let hangs = |name| self.storage_at(name, action.host()) == StorageState::Hang;
        touches && action.workload().is_some_and(hangs)
    }

    /// True if the action changes what somebody else's job holds.
    fn is_locked(&self, action: &Action) -> bool {
        let guest = action.workload().and_then(|name| self.guests.get(name));
        // A migration finds out when it begins.
        let changes = !matches!(action, Action::Screenshot { .. } | Action::Migrate { .. });
        changes && guest.is_some_and(|guest| guest.locked)
    }

    /// True if what the action is for is so already: executors ask first, and that needs no lock.
    fn is_so(&self, action: &Action) -> bool {
        let state = |name: &WorkloadId, on: &HostId| {
            self.guests.get(name).and_then(|guest| guest.processes.get(on)).map(|process| process.state())
        };
        match action {
            Action::Start { workload, host } => state(workload, host) == Some(DomainState::Running),
            Action::Stop { workload, host, .. } => state(workload, host).is_none(),
            _ => false,
        }
    }

    /// True while an earlier call about the workload at this host works on it: libvirt does one job of a domain at a time. A
    /// domain can be destroyed while it is migrated or a point is taken of it, not while it is being started.
    fn waits_for_lock(&self, id: ActionId) -> bool {
        let Some(call) = self.calls.get(&id) else { return false };
        let (Some(workload), Some(begun_at)) = (call.order.action.workload(), call.begun_at) else { return false };
        let holds = |action: &Action| match call.order.action {
            Action::Screenshot { .. } | Action::DisableAutostart { .. } | Action::Migrate { .. } => false,
            Action::Stop { .. } => matches!(action, Action::Start { .. } | Action::Revert { .. }),
            _ => !matches!(
                action,
                Action::Screenshot { .. }
                    | Action::DisableAutostart { .. }
                    | Action::Stop { .. }
                    | Action::Resume { .. }
            ),
        };
        let host = call.order.action.host();
        let boots = self.hosts.get(host).map(|host| host.boots);
        self.calls.iter().any(|(other, earlier)| {
            let here = earlier.order.action.host() == host && earlier.order.action.workload() == Some(workload);
            let before = earlier.begun_at.is_some_and(|at| (at, *other) < (begun_at, id));
            here && before && !earlier.ended && Some(earlier.boots) == boots && holds(&earlier.order.action)
        })
    }

    fn wait_for_lock(&self, begun_at: Option<Time>) -> Effect {
        let waited = begun_at.map_or(Span::ZERO, |at| self.now.since(at));
        if waited < LOCK_PATIENCE {
            return Effect::Wait(Span::millis(100));
        }
        Effect::Answer(Outcome::failed(FailureKind::Other, LOCKED))
    }

    fn at_hypervisor(&mut self, action: &Action) -> Effect {
        let result = match action {
            Action::Start { workload, host } => self.start(workload, host, Starter::Controller).map(|()| Detail::None),
            Action::Stop { workload, host, how } => return self.stop(workload, host, *how),
            Action::Resume { workload, host } => {
                self.resume(workload, host);
                let state = self.guests.get(workload).and_then(|guest| guest.processes.get(host)).map(|it| it.state());
                match state {
                    Some(mainstay_model::DomainState::Running) => Ok(Detail::None),
                    _ => Err((FailureKind::NotThere, format!("{workload} is not paused on {host}"))),
                }
            }
            Action::Undefine { workload, host } => {
                if self.guests.get(workload).is_some_and(|guest| guest.processes.contains_key(host)) {
                    Err((FailureKind::Refused, format!("{workload} runs on {host}")))
                } else {
                    self.undefine(workload, host);
                    Ok(Detail::None)
                }
            }
            Action::DisableAutostart { workload, host } => {
                let definition = self.hosts.get_mut(host).and_then(|host| host.domains.get_mut(workload));
                if let Some(definition) = definition {
                    definition.autostart = false;
                }
                Ok(Detail::None)
            }
            Action::Migrate { workload, from, to } => {
                self.finish_migration(workload, from, to, Starter::Controller).map(|()| Detail::None)
            }
            Action::TakePoint { workload, host, point, kind, freeze } => {
                self.take_point(workload, host, point, *kind, *freeze)
            }
            Action::DeletePoint { workload, point, .. } => {
                self.delete_point(workload, point);
                Ok(Detail::None)
            }
            Action::Revert { workload, host, point, keep_broken } => {
                match self.revert(workload, host, point, *keep_broken) {
                    Ok(detail) => Ok(detail),
                    Err(((kind, message), did)) => {
                        return Effect::Answer(Outcome::failed_with(kind, message, self.proof(action)).having(did));
                    }
                }
            }
            Action::Screenshot { workload, .. } => Ok(Detail::File(format!("{workload}.png"))),
            Action::CheckPower { .. } | Action::Fence { .. } | Action::PowerOn { .. } => return Effect::Never,
        };
        Effect::Answer(match result {
            Ok(detail) => Outcome::Done { detail },
            Err((kind, message)) => Outcome::failed_with(kind, message, self.proof(action)),
        })
    }

    /// What the executor finds when it asks after a start that failed.
    fn proof(&self, action: &Action) -> Proof {
        match (action.workload().and_then(|name| self.guests.get(name)), action.may_run_on()) {
            (Some(guest), Some(host)) if guest.processes.contains_key(host) => Proof::There,
            (Some(_), Some(_)) => Proof::Off,
            _ => Proof::Nothing,
        }
    }

    fn stop(&mut self, name: &WorkloadId, on: &HostId, how: StopHow) -> Effect {
        let Some(process) = self.guests.get(name).and_then(|guest| guest.processes.get(on)) else {
            return Effect::Answer(Outcome::done());
        };
        if how == StopHow::Graceful {
            let able = process.writes();
            if able {
                self.begin_shutdown(name, on, false);
            }
            return Effect::Wait(Span::secs(4));
        }
        // A process that is stopped by a signal is killed only after libvirt has asked it kindly for a while.
        if process.halted && self.call_random.chance(900) {
            return Effect::Wait(Span::secs(1));
        }
        self.end_process(name, on, OffReason::Destroyed);
        Effect::Answer(Outcome::done())
    }

    fn take_point(
        &mut self,
        name: &WorkloadId,
        on: &HostId,
        point: &PointId,
        kind: PointKind,
        freeze: bool,
    ) -> Result<Detail, Refusal> {
        let now = self.now;
        let storage = self.storage_at(name, on);
        let gone = || (FailureKind::NotThere, format!("{name} does not run on {on}"));
        let known = self.hosts.get(on).is_some_and(|host| host.domains.contains_key(name));
        let guest = self.guests.get_mut(name).ok_or_else(gone)?;
        // Of one that is off its host's tools write to the images: QEMU's lock keeps them from what runs elsewhere.
        let off = known && guest.processes.is_empty();
        if off && guest.saved_on.contains_key(on) {
            return Err((FailureKind::Refused, format!("the memory of {name} is saved on {on}")));
        }
        let process = guest.processes.get(on).filter(|process| process.condition != Condition::Incoming);
        if !off && process.is_none() {
            return Err(gone());
        }
        if process.is_some_and(|process| process.halted) {
            return Err((FailureKind::Other, "timed out: cannot acquire state change lock".into()));
        }
        match storage {
            StorageState::Full => return Err((FailureKind::Other, "No space left on device".into())),
            StorageState::IoError => return Err((FailureKind::Other, "Input/output error".into())),
            StorageState::ReadOnly => return Err((FailureKind::Other, "Read-only file system".into())),
            _ => {}
        }
        let sick = process.is_some_and(|process| !process.is_well());
        let frozen = freeze && !off && !sick && kind == PointKind::Disk;
        let made = Point { disk: guest.disk, taken_at: now };
        if guest.points.insert(point.clone(), made).is_none() {
            self.truths.push(Truth::PointTaken { guest: name.clone(), point: point.clone(), sick });
        }
        let kind = match kind {
            _ if off => PointKind::Disk,
            PointKind::Auto => PointKind::Memory,
            kind => kind,
        };
        Ok(Detail::Point { kind, frozen, handle: point.to_string(), bytes: Some(64 << 20) })
    }

    fn delete_point(&mut self, name: &WorkloadId, point: &PointId) {
        if let Some(guest) = self.guests.get_mut(name)
            && guest.points.remove(point).is_some()
        {
            self.truths.push(Truth::PointDeleted {
                guest: name.clone(),
                point: point.clone(),
                by: Starter::Controller,
            });
        }
    }

    /// The disk is switched first, and then the guest is started: that may fail, and the disk stays switched.
    fn revert(
        &mut self,
        name: &WorkloadId,
        on: &HostId,
        point: &PointId,
        keep_broken: bool,
    ) -> Result<Detail, (Refusal, Detail)> {
        let now = self.now;
        let gone = || ((FailureKind::NotThere, format!("no snapshot {point} of {name}")), Detail::None);
        let disk: Disk = self.guests.get(name).and_then(|guest| guest.points.get(point)).ok_or_else(gone)?.disk;
        self.end_process(name, on, OffReason::Destroyed);
        let storage = self.storage_at(name, on);
        let broken = matches!(storage, StorageState::Full | StorageState::IoError | StorageState::ReadOnly);
        let in_use = self.guests.get(name).is_none_or(|guest| !guest.processes.is_empty());
        if broken || in_use {
            self.start(name, on, Starter::Controller).map_err(|refusal| (refusal, Detail::None))?;
        }
        let Some(guest) = self.guests.get_mut(name) else { return Ok(Detail::None) };
        let lost_ms = guest.disk.written_ms.saturating_sub(disk.written_ms);
        let kept = keep_broken.then(|| PointId::new(format!("{SET_ASIDE}{}", now.0)));
        if let Some(kept) = &kept {
            guest.points.insert(kept.clone(), Point { disk: guest.disk, taken_at: now });
        }
        guest.disk = Disk { corrupted: guest.disk.corrupted, unflushed_ms: 0, ..disk };
        self.truths.push(Truth::Reverted { guest: name.clone(), point: point.clone(), lost_ms });
        let did = Detail::Reverted { set_aside: kept, handle: String::new() };
        match self.start(name, on, Starter::Controller) {
            Ok(()) => Ok(did),
            Err(refusal) => Err((refusal, did)),
        }
    }

    /// The executor answers, as the call's fault has it.
    fn reply(&mut self, id: ActionId, outcome: Outcome) {
        let Some(call) = self.calls.get(&id).filter(|call| !call.replied) else { return };
        let proves = self.proof(&call.order.action);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let outcome = match (call.fault, outcome) {
            (Some(CallFault::Unanswered), _) => return,
            (Some(CallFault::Lie), Outcome::Done { .. }) => {
                Outcome::failed_with(FailureKind::Other, "internal error (simulated; it was done)", proves)
            }
            (_, outcome) => outcome,
        };
        let connection = call.connection.clone();
        if let Some((name, number)) = connection {
            let heard = self
                .hosts
                .get(&name)
                .is_some_and(|host| host.connection.open && host.connection.number == number && host.is_heard());
            if !heard {
                return;
            }
            if let Some(call) = self.calls.get_mut(&id) {
                call.replied = true;
            }
            self.answer_at(Span(2), id, outcome);
            self.ask_list(&name);
            self.points_of(&name);
        } else {
            call.replied = true;
            self.answer_at(Span(2), id, outcome);
        }
    }

    pub(super) fn expire(&mut self, id: ActionId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if !call.replied && call.fault != Some(CallFault::Unanswered) {
            call.replied = true;
            self.answer_at(Span(1), id, Outcome::unknown("no answer before the deadline"));
        }
    }
}
