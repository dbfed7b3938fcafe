//! What to do about a host: nothing, revive, fence, power on, wait.
//!
//! ```text
//! Lost ── revive bound ──▶ fence level 1 ──▶ level 2 … ──▶ all failed: alarm, again after a while
//!   │ no device: wait for a person          │ verified off
//!   └───────────────────────────────────────┴──▶ Off ──▶ power on (policy) ──▶ Returning ──▶ Online
//! ```

use super::{waiting, waiting_for, waiting_until};
use crate::{
    belief::{HostPhase, HostRecord, OffProof, Purpose, Sight},
    engine::Engine,
    explain::{Blocked, Doing, WaitingOn, Why},
};
use mainstay_model::{Action, EventKind, HostId, PowerState, Severity, Span, Subject, Time, spec::AfterFence};

/// A host is powered on this long after it was proved off: first the starts elsewhere, then the return.
const POWER_ON_PAUSE: Span = Span::secs(5);
/// A power-on that failed is tried again after this: mains that come back, a device that reboots.
const POWER_ON_AGAIN_AFTER: Span = Span::minutes(1);
/// A host that was powered on should answer within this; longer, and it is left to a person.
const BOOT_PATIENCE: Span = Span::minutes(15);
/// How often a silent host's power is asked about while the controller is cut off, or nothing is to be saved there.
const POWER_CHECK_EVERY: Span = Span::secs(15);
/// Devices that could not be asked for want of files or memory on the controller's machine are asked again after an eighth of
/// the time for which the host has been lost or off, within these bounds: a long want must not fill the history.
const STARVED_PAUSE: (Span, Span) = (Span::secs(2), Span::secs(10));
/// How long an operator's wish to fence a host is carried on with.
const FENCE_WANTED_FOR: Span = Span::minutes(5);
/// How soon a fence is looked at again that waits until it is clear whether other hosts fall silent too.
const CLARITY_EVERY: Span = Span::millis(100);
/// Bound for asking about power, and for switching on: neither proves anything, and a fencing must not wait for them for long.
const POWER_TIMEOUT: Span = Span::secs(60);

impl Engine {
    pub(super) fn decide_host(&mut self, host: &HostId) -> Doing {
        self.keep_window(host);
        let Some(record) = self.belief.hosts.get(host) else { return Doing::Nothing { why: Why::NotManaged } };
        if self.host_spec(host).is_none() {
            return self.removed(host);
        }
        if let Some(order) = self.host_order(host) {
            return order;
        }
        if self.belief.cut_off {
            return self.ask_power_while_cut_off(host);
        }
        let since = record.since;
        match record.phase.clone() {
            HostPhase::Online => self.online(host),
            HostPhase::Lost { level, try_at, power, .. } => self.lost(host, since, level, try_at, power),
            HostPhase::Off { proof, powered_on } => self.off(host, since, proof, powered_on),
            HostPhase::Returning => {
                let span = self.spec.detection.host_stable_for;
                let well_since = self.belief.host_senses.get(host).and_then(|senses| senses.well_since);
                waiting_until(WaitingOn::Stability { span }, well_since.unwrap_or(self.now) + span)
            }
        }
    }

    /// It is out of the configuration, so nobody watches it, and nothing but a person can tell that it is off.
    fn removed(&mut self, host: &HostId) -> Doing {
        if self.belief.on_host(host).next().is_some() {
            return waiting(WaitingOn::ConfirmOff { host: host.clone() });
        }
        self.forget_host(host);
        Doing::Nothing { why: Why::NotManaged }
    }

    /// An order about the host itself that is under way.
    fn host_order(&self, host: &HostId) -> Option<Doing> {
        let mut orders = self.belief.in_flight(&Subject::Host(host.clone()));
        let order = orders.find(|record| record.order.action.workload().is_none())?;
        Some(waiting_for(order))
    }

    fn online(&mut self, host: &HostId) -> Doing {
        let record = self.belief.hosts.get(host).expect("decided on record");
        let in_maintenance = record.maintenance.is_some();
        let never_reached = record.capacity == Default::default();
        match self.sight(host) {
            Sight::Heard if in_maintenance => self.draining(host),
            Sight::Heard if self.is_spare_again(host) => self.release_spare(host),
            Sight::Heard if self.is_idle_spare(host) => Doing::Nothing { why: Why::Spare },
            Sight::Heard => Doing::Nothing { why: Why::Well },
            Sight::Unknown => waiting(WaitingOn::Answer { host: host.clone() }),
            Sight::Unmanaged => waiting(WaitingOn::Management { host: host.clone() }),
            Sight::Silent if never_reached => Doing::Blocked { by: Blocked::NeverReached },
            Sight::Suspect | Sight::Silent | Sight::Hung => waiting(WaitingOn::Clarity { host: host.clone() }),
        }
    }

    fn lost(&mut self, host: &HostId, since: Time, level: usize, try_at: Time, power: Option<PowerState>) -> Doing {
        let spec = self.host_spec(host).expect("checked by decide_host");
        if spec.fence.is_empty() {
            return waiting(WaitingOn::ConfirmOff { host: host.clone() });
        }
        let revive_until = since + spec.revive.within;
        // A memory that was put back does not know what runs there.
        let to_save = self.memory_in_doubt() || self.belief.on_host(host).any(|workload| self.manages(workload));
        let asked = self.belief.hosts.get(host).is_some_and(|record| self.fence_is_asked(record));
        if !asked && (self.now < revive_until || !to_save) {
            return match power {
                _ if !to_save && self.said_goodbye(host) => waiting(WaitingOn::Owner),
                None => self.order_host(Action::CheckPower { host: host.clone() }, POWER_TIMEOUT, "it is lost"),
                Some(_) if to_save => waiting_until(WaitingOn::Revive { power }, revive_until),
                // Nothing of ours may run there, so there is no need to take its power away.
                Some(_) => waiting(WaitingOn::Revive { power }),
            };
        }
        // It was lost by what was heard before a pause or another term. Now it is asked again, for its whole bound: it may be
        // well since (scenario 183).
        match self.sight(host) {
            _ if asked => {}
            Sight::Silent | Sight::Hung => {}
            Sight::Unmanaged => return waiting(WaitingOn::Management { host: host.clone() }),
            Sight::Unknown | Sight::Heard | Sight::Suspect => {
                return waiting(WaitingOn::Clarity { host: host.clone() });
            }
        }
        if let Some(other) = self.may_be_cut_off_with(host).filter(|_| !asked) {
            return waiting_until(WaitingOn::Clarity { host: other }, self.now + CLARITY_EVERY);
        }
        if self.now < try_at {
            return waiting_until(WaitingOn::FenceRetry, try_at);
        }
        if let Some(again) = self.starved_until(host) {
            return waiting_until(WaitingOn::Starved, again);
        }
        if self.fencings() >= self.spec.limits.fencings as usize {
            return waiting_until(WaitingOn::FenceLimit, self.now + Span::secs(1));
        }
        let within = self.fence_bound(host, level);
        let because = if asked { "an operator asked for it" } else { "its workloads may still run there" };
        if let Some(record) = self.belief.hosts.get_mut(host) {
            record.fence_begun = true;
        }
        self.order_host(Action::Fence { host: host.clone(), level }, within, because)
    }

    /// Until when the host's fence devices are left alone, since this machine lacked something to ask them.
    fn starved_until(&self, host: &HostId) -> Option<Time> {
        let record = self.belief.hosts.get(host)?;
        let at = record.starved_at.filter(|at| *at <= self.now)?; // between terms the clock may have been set back
        let (least, most) = STARVED_PAUSE;
        let again = at + Span(at.since(record.since).0 / 8).clamp(least, most);
        (self.now < again).then_some(again)
    }

    /// True while an operator's wish to fence the host is carried on with, also by the next term; not for ever, since after
    /// a while the operator has looked after it.
    pub(crate) fn fence_is_asked(&self, record: &HostRecord) -> bool {
        record.fence_asked && self.now.since(record.since) < FENCE_WANTED_FOR
    }

    fn off(&mut self, host: &HostId, since: Time, proof: OffProof, powered_on: Option<Time>) -> Doing {
        let left_off = Doing::Nothing { why: Why::LeftOff };
        if let Some(at) = powered_on {
            let patience = at + BOOT_PATIENCE;
            return if self.now < patience { waiting_until(WaitingOn::Boot, patience) } else { left_off };
        }
        let spec = self.host_spec(host).expect("checked by decide_host");
        let record = self.belief.hosts.get(host).expect("decided on record");
        // Who shuts a host down in good order wants it off. Who tests its fence devices wants it back.
        let unwanted =
            proof == OffProof::Person || self.said_goodbye(host) || spec.revive.after_fence == AfterFence::LeaveOff;
        if spec.fence.is_empty() || !record.cycle && (unwanted || record.maintenance.is_some()) {
            return left_off;
        }
        let hour_ago = self.now - Span::hours(1);
        let recent = record.power_ons.iter().filter(|at| **at > hour_ago).count() as u32;
        if recent >= spec.revive.power_ons_per_hour {
            return Doing::Blocked { by: Blocked::Flapping { power_ons: recent } };
        }
        let pause = if spec.revive.within > Span::ZERO { Span::ZERO } else { POWER_ON_PAUSE };
        if self.now < since + pause {
            return waiting_until(WaitingOn::Boot, since + pause);
        }
        if let Some(again) = self.starved_until(host) {
            return waiting_until(WaitingOn::Starved, again);
        }
        let failed_at = record.power_ons.last().filter(|at| **at >= since);
        if let Some(again) = failed_at.map(|at| *at + POWER_ON_AGAIN_AFTER).filter(|again| self.now < *again) {
            return waiting_until(WaitingOn::Boot, again);
        }
        let now = self.now;
        let record = self.belief.hosts.get_mut(host).expect("decided on record");
        record.power_ons.retain(|at| *at > hour_ago);
        record.power_ons.push(now);
        record.phase = HostPhase::Off { proof, powered_on: Some(now) };
        self.order_host(Action::PowerOn { host: host.clone() }, POWER_TIMEOUT, "it is off and is wanted back")
    }

    /// Until when workloads of a host that was found off (revive), or is heard again, wait for it rather than start elsewhere.
    pub(super) fn reviving_until(&self, host: &HostId) -> Option<Time> {
        let record = self.belief.hosts.get(host)?;
        let within = self.host_spec(host)?.revive.within;
        match record.phase {
            HostPhase::Off { proof: OffProof::FoundOff, powered_on } if within > Span::ZERO => {
                Some(powered_on.unwrap_or(record.since) + within).filter(|until| *until > self.now)
            }
            // A moment more, and it is in service again: after a power cut of all hosts each gets its own back.
            HostPhase::Returning => Some(record.since + self.spec.detection.host_stable_for + Span::secs(1))
                .filter(|until| *until > self.now),
            _ => None,
        }
    }

    /// To ask changes nothing, and a fence device that answers may prove that a silent host is really off.
    fn ask_power_while_cut_off(&mut self, host: &HostId) -> Doing {
        let fenceable = self.host_spec(host).is_some_and(|spec| !spec.fence.is_empty());
        if !fenceable || self.sight(host) != Sight::Silent {
            return waiting(WaitingOn::Sight);
        }
        let asked = self.belief.host_senses.get(host).and_then(|senses| senses.power_asked);
        let again = asked.map_or(self.now, |asked| asked + POWER_CHECK_EVERY);
        if self.now < again {
            return waiting_until(WaitingOn::Sight, again);
        }
        self.belief.host_senses.get_mut(host).expect("it has a sight").power_asked = Some(self.now);
        self.order_host(
            Action::CheckPower { host: host.clone() },
            POWER_TIMEOUT,
            "the controller seems cut off: is the host really off?",
        )
    }

    fn order_host(&mut self, action: Action, within: Span, because: &str) -> Doing {
        let text = action.to_string();
        let id = self.order(action, within, Purpose::Life);
        Doing::Ordered { id, text, because: because.to_owned() }
    }

    fn fencings(&self) -> usize {
        self.belief.all_in_flight().filter(|record| matches!(record.order.action, Action::Fence { .. })).count()
    }

    /// How long one fence level may take by its devices' own bounds, which work at the same time.
    fn fence_bound(&self, host: &HostId, level: usize) -> Span {
        let level = self.host_spec(host).and_then(|spec| spec.fence.get(level)).into_iter().flatten();
        let bounds = level.filter_map(|id| self.spec.fence_devices.get(id)).map(|device| device.waits().off());
        Span::secs(2) + bounds.max().unwrap_or(Span::ZERO)
    }

    /// A spare that nobody has called in yet.
    pub(crate) fn is_idle_spare(&self, host: &HostId) -> bool {
        let called_in = self.belief.hosts.get(host).is_some_and(|record| record.called_in);
        self.host_spec(host).is_some_and(|spec| spec.spare) && !called_in
    }

    /// A spare that was called in, has nothing left to do, and all hosts it stood in for are back.
    fn is_spare_again(&self, host: &HostId) -> bool {
        let called_in = self.belief.hosts.get(host).is_some_and(|record| record.called_in);
        let ordinary = || self.spec.hosts.iter().filter(|(_, spec)| !spec.spare);
        called_in
            && self.host_spec(host).is_some_and(|spec| spec.spare)
            && self.belief.on_host(host).next().is_none()
            && ordinary().all(|(other, _)| self.in_service(other))
    }

    fn release_spare(&mut self, host: &HostId) -> Doing {
        self.belief.hosts.get_mut(host).expect("decided on record").called_in = false;
        let text = "a spare again: it is empty, and the others are back";
        self.note(EventKind::Decided, Severity::Green, Subject::Host(host.clone()), text);
        Doing::Nothing { why: Why::Spare }
    }

    pub(super) fn wake_host_at(&mut self, host: &HostId, at: Time) {
        self.agenda.wake_earlier(Subject::Host(host.clone()), at);
    }
}
