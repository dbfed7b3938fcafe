//! What the signs of a host amount to: in sight, silent, hung, unmanaged; and from that lost, returning, back in service. Too
//! many silent at once, and it is the controller that is cut off.

use crate::{
    belief::{HostPhase, HostSenses, OffProof, OrderRecord, Sight},
    engine::Engine,
};
use mainstay_model::{
    Action, EventKind, GuestChannel, HostChannel, HostId, IncidentCause, Outcome, Severity, Span, Subject, Time,
    WorkloadId, spec::Detection,
};

/// A guest heard this shortly before its host's hypervisor fell silent was answering then: a few probes' time.
const GUEST_ANSWERED_WITHIN: Span = Span::secs(10);

/// Hosts whose last signs of life are no further apart than this may have been lost by one cause.
const FELL_TOGETHER: Span = Span::secs(5);
/// A host that lives is heard within this after the question.
const ANSWER_TAKES: Span = Span::millis(250);
/// A host of which this long after that no question is known to be in vain is not asked at all: nothing waits for it.
const UNASKED_AFTER: Span = Span::secs(1);

impl Engine {
    pub(super) fn see_host(&mut self, host: &HostId) {
        let (now, detection) = (self.now, self.spec.detection);
        let [guest_heard, guest_told] =
            [true, false].map(|vouching| self.guest_heard_beside_hypervisor(host, vouching));
        let Some(senses) = self.belief.host_senses.get_mut(host) else { return };
        if !senses.hypervisor_answers() {
            (senses.guest_heard, senses.guest_told) = (guest_heard, guest_told);
        }
        let before = senses.sight;
        senses.sight = sight(senses, &detection, now);
        let wake = senses.next_look(&detection, now);
        let after = senses.sight;
        self.agenda.wake(Subject::Host(host.clone()), wake);
        if before != after {
            match after {
                // What hangs, by its address, may fall silent with all others a moment later (scenario 732).
                Sight::Silent | Sight::Hung => _ = self.belief.silent.insert(host.clone()),
                _ => _ = self.belief.silent.remove(host),
            }
            let workloads: Vec<WorkloadId> = self.belief.on_host(host).cloned().collect();
            for workload in workloads {
                if after == Sight::Heard {
                    // Whatever kept its host out of sight may have kept its answers away too.
                    self.belief.workload_senses.entry(workload.clone()).or_default().watched_since = Some(now);
                }
                self.agenda.touch(&workload);
            }
            self.agenda.stir();
        }
    }

    /// When any guest on a host with a silent hypervisor was last heard. Only those count that still answered when the
    /// hypervisor fell silent, and not through it: nothing follows from the silence of the others. `vouching`: only guests at addresses
    /// of the configuration; at one that a guest gave itself, another machine may answer while the host is dead.
    fn guest_heard_beside_hypervisor(&self, host: &HostId, vouching: bool) -> Option<Time> {
        let senses = self.belief.host_senses.get(host).filter(|senses| !senses.hypervisor_answers())?;
        // A hypervisor that was never heard in this term says nothing of when its guests answered: all since count.
        let heard = senses.heard_on(HostChannel::Hypervisor);
        let answering_since = heard.map_or(senses.watched_since, |heard| heard - GUEST_ANSWERED_WITHIN);
        let only_here =
            |guest: &&WorkloadId| self.belief.workloads.get(*guest).is_some_and(|it| it.may_run_on.len() == 1);
        let guests = self.belief.on_host(host).filter(only_here);
        let guests = guests.filter_map(|guest| self.belief.workload_senses.get(guest));
        let channels =
            guests.flat_map(|guest| guest.channels.iter()).filter(|(channel, _)| **channel != GuestChannel::Agent);
        let channels = channels.filter(|(_, sense)| sense.vouches || !vouching);
        channels.filter_map(|(_, sense)| sense.heard).filter(|heard| *heard >= answering_since).max()
    }

    /// Counts the hosts that fell silent together. A host whose power is known to be off is silent for a reason.
    pub(super) fn judge_cut_off(&mut self) {
        if self.belief.silent.is_empty() && !self.belief.cut_off {
            return;
        }
        let detection = self.spec.detection;
        let falling_silent = detection.heartbeat_every.times(2).min(detection.host_lost_floor);
        // A controller that begins and hears none of them can't tell those that were lost in an earlier term from these (scenario 820). But
        // a fencing that was rightly begun is carried on with (scenario 524).
        let heard_any = self.belief.host_senses.values().any(|senses| senses.heard().is_some());
        let (mut watched, mut silent) = (0u64, 0u64);
        for record in self.belief.hosts.values() {
            let Some(senses) = self.belief.host_senses.get(&record.host) else { continue };
            let watched_at_all = self.host_spec(&record.host).is_some() && record.capacity != Default::default();
            if matches!(record.phase, HostPhase::Off { .. }) || !watched_at_all || record.closed_at.is_some() {
                continue; // known to be off, shut down, never reached, or taken out of the configuration
            }
            watched += 1;
            // Lost a moment before the controller counted as cut off, it fell with the others.
            let fell_with = self.belief.cut_off && record.since + FELL_TOGETHER >= self.belief.cut_off_since;
            // What was heard since it was lost, though it is not back in service, falls silent anew (scenario 944).
            let heard_since = senses.heard() > Some(record.since);
            let lost = matches!(record.phase, HostPhase::Lost { .. }) && !heard_since;
            let fell_before = lost && !fell_with && (heard_any || record.fence_begun);
            let falls_now = !senses.hypervisor_answers() && senses.silence(self.now) >= falling_silent;
            if !fell_before && falls_now {
                silent += 1;
            } else if fell_before {
                watched -= 1; // lost earlier, by itself: not part of this silence
            }
        }
        let cut_off = silent * 100 > watched * u64::from(detection.cut_off_percent);
        if cut_off == self.belief.cut_off {
            return;
        }
        self.belief.cut_off = cut_off;
        self.belief.cut_off_since = self.now;
        let (severity, text) = if cut_off {
            let text = format!(
                "{silent} of {watched} hosts fell silent together: the controller is cut off, and acts on nothing"
            );
            (Severity::Red, text)
        } else {
            for senses in self.belief.host_senses.values_mut() {
                senses.watch_anew(self.now);
            }
            // Or those that do not answer yet would be lost in this very step.
            let silent: Vec<HostId> = self.belief.silent.iter().cloned().collect();
            silent.iter().for_each(|host| self.see_host(host));
            (Severity::Green, "the hosts are in sight again; the controller acts".to_owned())
        };
        self.note(EventKind::Believed, severity, Subject::Cluster, text);
        self.agenda.touch_all_workloads(&self.belief);
        self.agenda.touch_all_hosts(&self.belief);
    }

    /// A host of which it is not clear yet whether it fell silent together with this one, if the controller would be cut off with
    /// all of these. A fence waits for them: each answers, or counts as silent, in a moment (scenario 301).
    pub(crate) fn may_be_cut_off_with(&self, host: &HostId) -> Option<HostId> {
        let detection = self.spec.detection;
        let counts_after = detection.heartbeat_every.times(2).min(detection.host_lost_floor);
        let answered_within = detection.heartbeat_every + ANSWER_TAKES;
        let fell = self.belief.host_senses.get(host)?.heard()?;
        let (mut watched, mut silent, mut unclear) = (1u64, 1u64, None);
        for record in self.belief.hosts.values().filter(|record| record.host != *host) {
            let Some(senses) = self.belief.host_senses.get(&record.host) else { continue };
            let watched_at_all = self.host_spec(&record.host).is_some() && record.capacity != Default::default();
            if matches!(record.phase, HostPhase::Off { .. }) || !watched_at_all || record.closed_at.is_some() {
                continue;
            }
            let heard = senses.heard().unwrap_or(senses.watched_since);
            let silence = senses.silence(self.now);
            let together = heard.max(fell).since(heard.min(fell)) <= FELL_TOGETHER;
            if matches!(record.phase, HostPhase::Lost { .. }) && !together {
                continue; // lost at another time, by itself
            }
            watched += 1;
            let counts = !senses.hypervisor_answers() && silence >= counts_after;
            if counts || silence > answered_within {
                silent += 1;
            }
            if !counts && silence > answered_within && silence < counts_after + UNASKED_AFTER {
                unclear.get_or_insert_with(|| record.host.clone());
            }
        }
        unclear.filter(|_| watched > 1 && silent * 100 > watched * u64::from(detection.cut_off_percent))
    }

    /// It was called off, and its kernel has run since long before: whoever said so was wrong, or it hibernated. A person has to know.
    fn ran_on_though_called_off(&mut self, host: &HostId, proof: OffProof) {
        let Some(record) = self.belief.hosts.get(host) else { return };
        let Some((booted, off_at)) = record.booted_at.zip(record.called_off_at) else { return };
        if booted + self.boot_time_off_by(booted) >= off_at {
            return;
        }
        let text = match proof {
            OffProof::Person => "a person said that it is off, and it has not booted since".to_owned(),
            OffProof::Fenced | OffProof::FoundOff => format!(
                "its fence device said that it is off, and it has not booted since: unless it hibernated, the device was wrong \
                 (mainstay host fence-test {host} --live)"
            ),
        };
        self.note(EventKind::Believed, Severity::Red, Subject::Host(host.clone()), text);
    }

    /// It was called off, and has not booted since for certain: it was never off, whatever its fence device said. So what it was told to
    /// start before that, and never answered, may come yet (scenario 878).
    fn doubt_what_it_was_told(&mut self, host: &HostId) {
        let Some(record) = self.belief.hosts.get(host) else { return };
        let Some(off_at) = record.called_off_at else { return };
        if record.booted_at.is_some_and(|booted| booted > off_at + self.boot_time_off_by(booted)) {
            return;
        }
        let may_come = |order: &&OrderRecord| {
            let unknown = matches!(order.ended, Some((_, Outcome::Unknown { .. })));
            let there = match &order.order.action {
                Action::Start { host: there, .. } | Action::Revert { host: there, .. } => *there == *host,
                _ => false,
            };
            there
                && unknown
                && order.ordered_at <= off_at
                && order.order.deadline > self.now
                && !self.came_through(order)
        };
        let told = self.belief.orders.values().filter(may_come);
        let told = told.filter_map(|it| Some((it.order.action.workload()?.clone(), it.order.deadline)));
        for (workload, until) in told.collect::<Vec<_>>() {
            self.start_unknown(&workload, host, until);
        }
    }

    pub(super) fn believe_host(&mut self, host: &HostId) {
        let Some(record) = self.belief.hosts.get(host) else { return };
        let Some(senses) = self.belief.host_senses.get(host) else { return };
        let (sight, since) = (senses.sight, record.since);
        // A list that was asked for before its boot may reach a controller that slept after it (scenario 845).
        let of_this_boot =
            |asked_at: Time| record.booted_at.is_none_or(|booted| asked_at + self.boot_time_off_by(booted) > booted);
        let fresh_list = senses.inventory.is_some_and(|asked_at| asked_at > since && of_this_boot(asked_at));
        let stable = senses.well_since.is_some_and(|well| self.now.since(well) >= self.spec.detection.host_stable_for);
        let known = record.capacity != Default::default();
        let phase = match (&record.phase, sight) {
            (HostPhase::Online | HostPhase::Returning, Sight::Silent | Sight::Hung)
                if known && !self.belief.cut_off =>
            {
                return self.lose_host(host, sight);
            }
            (HostPhase::Lost { .. }, Sight::Heard) if self.fence_is_asked(record) => return,
            (HostPhase::Lost { .. } | HostPhase::Off { .. }, Sight::Heard) if fresh_list => HostPhase::Returning,
            // Not while it may be switched off any moment (scenario 952).
            (HostPhase::Returning, Sight::Heard) if stable && self.belief.fence_under_way(host).is_none() => {
                HostPhase::Online
            }
            _ => return,
        };
        let text = match phase {
            HostPhase::Returning => "heard again; it gets work when it has been well for a while",
            _ => "back in service",
        };
        let called_off = match record.phase {
            HostPhase::Off { proof, .. } => Some(proof),
            _ => None,
        };
        let record = self.belief.hosts.get_mut(host).expect("looked up above");
        record.phase = phase.clone();
        record.since = self.now;
        record.closed_at = None;
        (record.fence_asked, record.fence_begun) = (false, false);
        record.cycle &= phase != HostPhase::Online;
        self.note(EventKind::Believed, Severity::Green, Subject::Host(host.clone()), text);
        if phase == HostPhase::Online {
            self.leave_incident(host);
        }
        if let Some(proof) = called_off {
            self.ran_on_though_called_off(host, proof);
            self.doubt_what_it_was_told(host);
        }
        let workloads: Vec<WorkloadId> = self.belief.on_host(host).cloned().collect();
        for workload in workloads {
            self.agenda.touch(&workload);
        }
        for record in self.belief.workloads.values() {
            let senses = self.belief.workload_senses.get(&record.workload);
            let starts_alone = senses.and_then(|it| it.seen.get(host)).is_some_and(|seen| seen.autostart);
            if record.came_from.as_ref() == Some(host) || record.left.contains(host) || starts_alone {
                self.agenda.touch(&record.workload);
            }
        }
        self.agenda.stir();
    }

    fn lose_host(&mut self, host: &HostId, sight: Sight) {
        let now = self.now;
        let senses = self.belief.host_senses.get_mut(host).expect("a lost host was watched");
        senses.inventory = None;
        senses.well_since = None;
        let well_until = senses.heard().unwrap_or(senses.watched_since);
        let silence = senses.silence(now);
        let record = self.belief.hosts.get_mut(host).expect("a lost host is on record");
        record.phase = HostPhase::Lost { level: 0, try_at: now, exhausted: false, power: None };
        (record.fence_asked, record.fence_begun) = (false, false);
        record.since = now;
        self.open_incident(Subject::Host(host.clone()), IncidentCause::HostLost, well_until);
        let text = match sight {
            Sight::Hung => {
                let silence = self.spec.detection.host_hung_after;
                format!("lost: its address answers, but its hypervisor and all its guests are silent for {silence}")
            }
            _ => format!("lost: silent on every channel for {}", silence.roughly()),
        };
        self.note(EventKind::Believed, Severity::Red, Subject::Host(host.clone()), text);
        let workloads: Vec<WorkloadId> = self.belief.on_host(host).cloned().collect();
        for workload in workloads {
            self.join_incident(&workload, host, well_until);
            self.agenda.touch(&workload);
        }
        self.took_its_guests(host);
    }

    /// How a host looks.
    pub(crate) fn sight(&self, host: &HostId) -> Sight {
        self.belief.host_senses.get(host).map_or(Sight::Unknown, |senses| senses.sight)
    }
}

/// How a host looks, by its channels.
fn sight(senses: &HostSenses, detection: &Detection, now: Time) -> Sight {
    let Some(hypervisor) = senses.channels.get(&HostChannel::Hypervisor) else { return Sight::Unknown };
    if hypervisor.heard.is_some() && hypervisor.silent_since.is_none() {
        return Sight::Heard;
    }
    if hypervisor.silent_since.is_none() {
        return Sight::Unknown;
    }
    let lost_after = hypervisor.beat.lost_after(detection);
    let asked_everywhere = senses.channels.values().all(|sense| sense.silent_since.is_some() && !sense.unasked);
    if asked_everywhere && senses.silence(now) >= lost_after {
        return Sight::Silent;
    }
    let hypervisor_silence = senses.silence_on(HostChannel::Hypervisor, now);
    if hypervisor_silence < lost_after {
        return Sight::Suspect;
    }
    let guests_silent =
        !hypervisor.unasked && senses.guest_told.is_some_and(|heard| now.since(heard) >= detection.host_hung_after);
    if guests_silent && hypervisor_silence >= detection.host_hung_after {
        return Sight::Hung;
    }
    Sight::Unmanaged
}

impl HostSenses {
    /// When it could look different although nothing new is heard.
    fn next_look(&self, detection: &Detection, now: Time) -> Option<Time> {
        let stable = self.well_since.map(|well| well + detection.host_stable_for);
        if self.hypervisor_answers() {
            return stable.filter(|at| *at > now); // it falls silent by a question in vain, which is news
        }
        let lost_after = self
            .channels
            .get(&HostChannel::Hypervisor)
            .map_or(detection.host_lost_after, |sense| sense.beat.lost_after(detection));
        let heard = self.heard().map_or(self.watched_since, |heard| heard.max(self.watched_since));
        let hypervisor =
            self.heard_on(HostChannel::Hypervisor).map_or(self.watched_since, |heard| heard.max(self.watched_since));
        let looks = [
            Some(heard + lost_after),
            Some(hypervisor + lost_after),
            Some(hypervisor + detection.management_fault_after),
            Some(hypervisor + detection.host_hung_after),
            self.guest_told.map(|heard| heard + detection.host_hung_after),
            stable,
        ];
        looks.into_iter().flatten().filter(|at| *at > now).min()
    }
}
