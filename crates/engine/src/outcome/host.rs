//! What comes of orders about hosts: power that was asked about, fences, a host proved off.

use crate::{
    belief::{HostPhase, OffProof, Sight, Want},
    engine::Engine,
};
use mainstay_model::{
    Action, ActionId, Cause, Detail, EventKind, FailureKind, HostId, Outcome, PowerState, Severity, Span, Subject,
    WorkloadId,
};

/// After every fence level failed, the levels are tried again from the first after this long: a BMC that reboots, a
/// switch that comes back.
const FENCE_AGAIN_AFTER: Span = Span::secs(30);
/// Of the reason why a fence level failed, so much is kept.
const FAILURE_CHARS: usize = 500;

impl Engine {
    /// A fence device told whether a lost host has power.
    pub(crate) fn power_learned(&mut self, host: &HostId, state: PowerState) {
        self.agenda.touch_host(host);
        let sight = self.sight(host);
        if state == PowerState::Off && self.is_contradicted(host, None) {
            return; // it said so while the host answered
        }
        let senses = self.belief.host_senses.get(host).filter(|_| sight == Sight::Suspect);
        // One that was never heard in this term, or since the controller slept, is silent since then (scenario 436).
        let heard = senses
            .filter(|senses| !senses.hypervisor_answers())
            .map(|senses| senses.heard().unwrap_or(self.awake_since).max(self.awake_since));
        let silent_for_long = heard.is_some_and(|heard| self.now.since(heard) >= self.spec.detection.host_lost_floor);
        let Some(record) = self.belief.hosts.get_mut(host) else { return };
        let lost = match &mut record.phase {
            HostPhase::Lost { power, .. } => {
                *power = Some(state);
                sight != Sight::Heard // it answers again: the device told of the time before, or of another host
            }
            // Asked while most hosts were silent. The answer for another one may end that a moment before this comes; the silence
            // of this host is as long as before (scenario 347).
            HostPhase::Online | HostPhase::Returning => {
                (sight == Sight::Silent && self.belief.cut_off) || silent_for_long
            }
            HostPhase::Off { .. } => false,
        };
        if lost && state == PowerState::Off {
            self.proved_off(host, OffProof::FoundOff);
        }
    }

    pub(super) fn fence_ended(&mut self, host: &HostId, level: usize, outcome: Outcome) {
        let levels = self.host_spec(host).map_or(0, |spec| spec.fence.len());
        let outcome = match matches!(outcome, Outcome::Done { .. }) && self.is_contradicted(host, Some(level)) {
            true => Outcome::unknown("its device said `off` while the host answered: that is no proof"),
            false => outcome,
        };
        match outcome {
            Outcome::Done { detail: Detail::Fenced { already_off: true, .. } } => {
                self.proved_off(host, OffProof::FoundOff);
            }
            Outcome::Done { .. } => self.proved_off(host, OffProof::Fenced),
            Outcome::Failed { error } if error.kind == FailureKind::Starved => self.starved(host),
            Outcome::Failed { .. } | Outcome::Unknown { .. } => {
                let (now, failed) = (self.now, matches!(outcome, Outcome::Failed { .. }));
                let why: String = outcome.to_string().chars().take(FAILURE_CHARS).collect();
                let Some(record) = self.belief.hosts.get_mut(host) else { return };
                let mut all_failed = false;
                record.fence_failures.insert(level, why);
                record.fence_failures.retain(|level, _| *level < levels);
                if let HostPhase::Lost { level: next, try_at, exhausted, .. } = &mut record.phase {
                    if level + 1 < levels {
                        *next = level + 1;
                    } else {
                        *next = 0;
                        *try_at = now + FENCE_AGAIN_AFTER;
                        *exhausted = true;
                        all_failed = true;
                    }
                }
                if all_failed && failed && record.fence_asked {
                    record.fence_asked = false;
                    let text = "the fencing that an operator asked for is given up: every fence level failed";
                    self.note(EventKind::Decided, Severity::Yellow, Subject::Host(host.clone()), text);
                }
            }
        }
    }

    pub(super) fn power_on_ended(&mut self, host: &HostId, outcome: &Outcome) {
        if let Outcome::Failed { error } = outcome
            && let Some(record) = self.belief.hosts.get_mut(host)
            && let HostPhase::Off { powered_on, .. } = &mut record.phase
        {
            *powered_on = None; // tried again, as often as the flapping guard allows
            if error.kind == FailureKind::Starved {
                record.power_ons.pop();
                self.starved(host);
            }
        }
    }

    /// Nothing was learned of its fence devices, so no level is used up: the same is tried again soon (scenario 790).
    fn starved(&mut self, host: &HostId) {
        let now = self.now;
        if let Some(record) = self.belief.hosts.get_mut(host) {
            record.starved_at = Some(now);
        }
    }

    /// The host is certainly off: nothing runs there any more, and whatever should run is to be started elsewhere.
    pub(crate) fn proved_off(&mut self, host: &HostId, proof: OffProof) {
        let now = self.now;
        let well_until = self.belief.host_senses.get(host).and_then(|senses| senses.heard()).unwrap_or(now);
        let Some(record) = self.belief.hosts.get_mut(host) else { return };
        let was_in_use = matches!(record.phase, HostPhase::Online | HostPhase::Returning);
        record.phase = HostPhase::Off { proof, powered_on: None };
        record.fence_asked = false;
        record.fence_begun = false;
        record.since = now;
        record.called_off_at = Some(now);
        let text = match proof {
            OffProof::Fenced => "proved off: fenced",
            OffProof::FoundOff => "proved off: its fence device found it without power",
            OffProof::Person => "proved off, on a person's word",
        };
        self.note(EventKind::Believed, Severity::Yellow, Subject::Host(host.clone()), text);
        if let Some(senses) = self.belief.host_senses.get_mut(host) {
            let listed = std::mem::take(&mut senses.listed);
            (senses.guest_heard, senses.guest_told) = (None, None);
            senses.devices.values_mut().for_each(|device| device.off_at = None);
            // Whether a namesake is there its first list tells (scenario 963).
            listed.keys().for_each(|workload| self.no_namesake(workload, host));
        }
        let workloads: Vec<WorkloadId> = self.belief.on_host(host).cloned().collect();
        self.end_orders_at(host);
        for workload in workloads {
            self.belief.runs_not(&workload, host);
            if let Some(senses) = self.belief.workload_senses.get_mut(&workload) {
                senses.seen.remove(host);
            }
            let home_counts = self.home_counts(&workload);
            let targets = self.migrated_to(&workload, host);
            let record = self.belief.workloads.get_mut(&workload).expect("the index knows only workloads on record");
            let open = record.unsettled.remove(host);
            record.late_on.remove(host);
            if record.coming_up.as_ref() == Some(host) {
                record.coming_up = None;
            }
            let told_to_start = record.pending_on.remove(host) | open.is_some_and(|open| open.told_to_start);
            // It may never have run here: that it was told to start here makes this host no home of it (scenario 330).
            let ran_here = record.host.as_ref() == Some(host);
            // A migration away from here is over: what its target lists from now on counts.
            for (target, open) in &mut record.unsettled {
                if targets.contains(target) {
                    open.may_happen_until = open.may_happen_until.min(now);
                }
            }
            record.left.insert(host.clone());
            if home_counts && ran_here {
                record.came_from.get_or_insert_with(|| host.clone());
            }
            // Powered on after a person's stop, and not seen to come up: that stop is the last that is known of it (scenario 880).
            let still_stopped = told_to_start
                && record
                    .trouble
                    .as_ref()
                    .is_some_and(|it| it.cause == Cause::PersonStop && !it.by_revert && it.started_at.is_none());
            let nowhere = record.want == Want::Running && record.may_run_on.is_empty();
            if nowhere && still_stopped {
                if let Some((on, how)) = record.stopped_on.take() {
                    self.stopped_some_time_ago(&on, &workload, how); // its policy says by now that it stays off (scenario 910)
                }
            } else if nowhere {
                let well_until = self.last_well(&workload).unwrap_or(well_until);
                let cause = if told_to_start && !ran_here { Cause::StartFailed } else { Cause::HostLost };
                self.trouble_since(&workload, cause, well_until);
            }
            self.agenda.touch(&workload);
        }
        if was_in_use {
            self.took_its_guests(host); // as it would have when it was lost (scenario 825)
        }
        self.agenda.touch_host(host);
        self.agenda.stir();
    }

    /// Hosts to which the last order there was to migrate the workload from this one.
    fn migrated_to(&self, workload: &WorkloadId, host: &HostId) -> Vec<HostId> {
        let Some(record) = self.belief.workloads.get(workload) else { return Vec::new() };
        let from_here = |target: &&HostId| {
            let last = self.orders_there(workload, target).next();
            last.is_some_and(|last| matches!(&last.order.action, Action::Migrate { from, .. } if from == host))
        };
        record.unsettled.keys().filter(from_here).cloned().collect()
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
}
