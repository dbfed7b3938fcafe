//! What the controller was told, as every rule hears of it: facts, outcomes, and what they say of one guest.

use super::{Attempts, Checker, Rule, stops::Said};
use crate::world::World;
use mainstay_engine::Input;
use mainstay_model::{
    Action, ActionId, Detail, DomainChange, DomainSeen, DomainState, Fact, HostId, Outcome, PauseReason, PowerState,
    Span, Time, WorkloadId,
};
use std::sync::Arc;

/// An order that a memory put back has forgotten may be carried out for this long.
const FORGOTTEN_ORDER_MAY_COME: Span = Span::secs(90);

/// When a host's kernel began to run is known no better than this, and a twentieth of its age.
pub(super) const BOOT_TIME_OFF_BY: Span = Span::secs(10);

/// When a host's kernel began to run, and how certain that is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Boot {
    pub at: Time,
    pub off_by: Span,
}

impl Boot {
    fn of(world: &World, host: &HostId) -> Boot {
        let at = world.hosts.get(host).map_or(Time(0), |host| host.booted_at);
        Boot { at, off_by: BOOT_TIME_OFF_BY + Span(world.now.since(at).0 / 20) }
    }
}

impl Checker {
    /// What the controller was told in a step that was made durable.
    pub fn told(&mut self, world: &World, inputs: &[Input]) {
        for input in inputs {
            match input {
                Input::Fact(fact) => self.told_fact(world, fact),
                Input::Outcome { id, outcome } => self.told_outcome(world, *id, outcome),
                // The new ladder may be climbed from its beginning; what was used of the old one was allowed.
                Input::Spec(spec) => {
                    self.signs.configured(spec);
                    self.attempts.values_mut().for_each(Attempts::policy_changed);
                    self.moves.reloaded();
                }
                Input::Command { .. } | Input::Refused(_) | Input::Tick | Input::Behind => {}
            }
        }
    }

    fn told_fact(&mut self, world: &World, fact: &Fact) {
        // A host that left the configuration, and on which nothing may run by the record, is forgotten: what it still says counts for
        // nothing (scenario 976).
        let forgotten = |host: &HostId| {
            !world.spec.hosts.contains_key(host) && !self.on_record.values().any(|hosts| hosts.contains(host))
        };
        if let Fact::Domain { host, .. } | Fact::Inventory { host, .. } = fact
            && forgotten(host)
        {
            return;
        }
        let of_guests = without_namesakes(world, fact);
        let fact = of_guests.as_ref().unwrap_or(fact);
        self.evidence.fact(fact, world.now);
        self.alone.fact(fact, world.now);
        self.signs.fact(fact, world.now);
        self.goodbyes.told(fact, world.now);
        self.figures.fact(fact);
        match fact {
            Fact::Domain { host, workload, change: DomainChange::State(state) } => {
                let of_before = self.evidence.last_words(host);
                self.told_state(world, workload, host, Boot::of(world, host), *state, of_before);
            }
            Fact::Inventory { host, asked_at, domains, capacity } => {
                self.sizes.listed(host, *capacity, domains);
                let boot = Boot::of(world, host);
                for (workload, seen) in &**domains {
                    if self.last_ran.get(workload).is_none_or(|ran| ran == host) {
                        let newly_live = self.told_state(world, workload, host, boot, seen.state, false);
                        // A list that was asked for before an event, and arrives after it, is no news of the guest (scenario 427).
                        if newly_live && self.goodbyes.is_old(host, workload, *asked_at) {
                            self.live_since_put_back.remove(workload);
                        }
                    } else {
                        self.stops.told_of_before(workload, host, seen.state, world.now);
                    }
                }
                if let Some((at, listed)) = &mut self.put_back
                    && *asked_at > *at + FORGOTTEN_ORDER_MAY_COME
                {
                    listed.insert(host.clone());
                }
            }
            _ => {}
        }
    }

    /// True if it is said to run for the first time since the controller's memory was put back.
    /// `of_before`: the host may say so of the time before it was proved off.
    fn told_state(
        &mut self,
        world: &World,
        workload: &WorkloadId,
        host: &HostId,
        boot: Boot,
        state: DomainState,
        of_before: bool,
    ) -> bool {
        let mut newly_live = false;
        if state.is_live() {
            self.told_live.insert(workload.clone(), world.now);
            newly_live = self.live_since_put_back.insert(workload.clone());
            self.stopped_in_backup.remove(workload); // it was started since (scenario 582)
        } else if self.put_back.as_ref().is_some_and(|(_, listed)| !listed.contains(host)) {
            self.live_since_put_back.remove(workload);
        }
        let sick = match state {
            // A migration holds it for a moment; a slow list may tell of that when it is over.
            DomainState::Paused(reason) => reason != PauseReason::Busy,
            state => state == DomainState::Panicked,
        };
        if sick {
            self.told_sick.entry((workload.clone(), host.clone())).or_insert(world.now);
        } else if !self.told_sick.is_empty() {
            self.told_sick.remove(&(workload.clone(), host.clone()));
        }
        let in_doubt = self.evidence.has_open(workload);
        let on_record = self.on_record.get(workload);
        let said = Said { host, state, in_doubt, of_before, boot, on_record };
        if self.stops.told(workload, said, world.now) {
            self.stake(Rule::PersonsStop);
        }
        newly_live
    }

    fn told_outcome(&mut self, world: &World, id: ActionId, outcome: &Outcome) {
        if matches!(outcome, Outcome::Done { .. }) {
            self.done.insert(id);
        }
        let order = self.evidence.outcome(id, outcome, world.now, world.spec.detection.host_lost_after);
        let says_off =
            matches!(outcome, Outcome::Done { detail: Detail::Fenced { .. } | Detail::Power(PowerState::Off) });
        let Some(order) = order else { return };
        if let (Action::Revert { workload, .. }, Outcome::Done { .. }) = (&order.action, outcome) {
            self.reverts.reverted(workload);
        }
        if let (Action::Stop { workload, .. }, Outcome::Failed { .. }) = (&order.action, outcome) {
            self.stops.own_stop_failed(workload);
        }
        if let (Outcome::Done { .. }, Some(workload), Some(host)) =
            (outcome, order.action.workload(), order.action.may_run_on())
        {
            self.goodbyes.came_up(host, workload, world.now);
            self.newest_is_done.insert((workload.clone(), host.clone()));
            if let Some(sent) = self.last_start_on.get(&(workload.clone(), host.clone())) {
                self.signs.came_up(host, workload, *sent, world.now);
            }
        }
        if says_off {
            self.alone.claimed_off(world, order.action.host());
            // What a device said before the controller slept counts for nothing: it is asked again.
            if self.evidence.is_off_now(order.action.host()) {
                self.signs.told_off(order.action.host());
            }
        }
    }
}

/// A list that has namesakes of guests in it, without them: what is said of those says nothing of the guests.
fn without_namesakes(world: &World, fact: &Fact) -> Option<Fact> {
    let Fact::Inventory { host, asked_at, capacity, domains } = fact else { return None };
    let own =
        |(name, seen): &(&WorkloadId, &DomainSeen)| world.guests.get(*name).is_none_or(|guest| guest.uuid == seen.uuid);
    if domains.iter().all(|domain| own(&domain)) {
        return None; // as nearly always
    }
    let domains = domains.iter().filter(own).map(|(name, seen)| (name.clone(), seen.clone())).collect();
    Some(Fact::Inventory { host: host.clone(), asked_at: *asked_at, capacity: *capacity, domains: Arc::new(domains) })
}
