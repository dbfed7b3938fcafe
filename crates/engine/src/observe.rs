//! First step: facts become belief. Nothing is decided here; what a fact touches goes on the agenda.
//!
//! Facts can be late, doubled and out of order, so every sighting carries the time of which it speaks, and an older one
//! never overrules a newer one.

use crate::{
    Input,
    belief::{ActivitySense, HostPhase, HostSenses, Seen, StoppedHow, Want, WorkloadRecord},
    engine::Engine,
};
use mainstay_model::{
    Action, Activity, Cause, DomainChange, DomainSeen, DomainState, EventKind, Fact, GuestChannel, HostChannel, HostId,
    OffReason, PauseReason, PowerState, Resources, Severity, Subject, Time, WorkloadId, spec::PersonStop,
};
use std::collections::BTreeMap;

impl Engine {
    pub(crate) fn observe(&mut self, input: Input) {
        match input {
            Input::Fact(fact) => self.fact(fact),
            Input::Outcome { id, outcome } => self.outcome(id, outcome),
            Input::Command { id, command } => {
                let reply = self.command(command);
                self.out.replies.push((id, reply));
            }
            Input::Spec(spec) => {
                (self.spec, self.refused) = (spec, None);
                self.adopt_spec();
                self.note(EventKind::Controller, Severity::Green, Subject::Cluster, "the configuration was reloaded");
            }
            Input::Refused(why) => self.refused = Some(why),
            Input::Tick => {}
        }
    }

    fn fact(&mut self, fact: Fact) {
        match fact {
            Fact::HostHeard { host, channel } => self.host_heard(&host, channel),
            Fact::HostSilent { host, channel, error } => self.host_silent(&host, channel, error),
            Fact::Inventory { host, asked_at, capacity, domains } => self.inventory(&host, asked_at, capacity, domains),
            Fact::Domain { host, workload, change } => self.domain_changed(&host, &workload, change),
            Fact::Activity { host, workload, activity } => self.activity(&host, &workload, activity),
            Fact::GuestHeard { workload, channel } => self.guest_heard(&workload, channel),
            Fact::GuestSilent { workload, channel } => self.guest_silent(&workload, channel),
            Fact::Power { host, asked_at, state } => self.power_seen(&host, asked_at, state),
            Fact::PointsSeen { workload, asked_at, points } => self.points_seen(&workload, asked_at, &points),
        }
    }

    // ---- hosts ----------------------------------------------------------------------------------------------------

    fn senses(&mut self, host: &HostId) -> Option<&mut HostSenses> {
        self.belief.host_senses.get_mut(host)
    }

    fn host_heard(&mut self, host: &HostId, channel: HostChannel) {
        let now = self.now;
        let Some(senses) = self.senses(host) else { return };
        let sense = senses.channels.entry(channel).or_default();
        if let Some(earlier) = sense.heard.replace(now) {
            sense.beat.note(earlier, now);
        }
        sense.silent_since = None;
        sense.error = None;
        if channel == HostChannel::Hypervisor && senses.well_since.is_none() {
            senses.well_since = Some(now);
        }
        self.agenda.touch_host(host);
    }

    fn host_silent(&mut self, host: &HostId, channel: HostChannel, error: String) {
        let now = self.now;
        let Some(senses) = self.senses(host) else { return };
        let sense = senses.channels.entry(channel).or_default();
        sense.silent_since.get_or_insert(now);
        sense.error = Some(error);
        if channel == HostChannel::Hypervisor {
            senses.well_since = None;
        }
        self.agenda.touch_host(host);
    }

    fn power_seen(&mut self, host: &HostId, asked_at: Time, state: PowerState) {
        let lost_since = self.belief.hosts.get(host).filter(|record| matches!(record.phase, HostPhase::Lost { .. }));
        if lost_since.is_some_and(|record| record.since <= asked_at) {
            self.power_learned(host, state);
        }
    }

    fn inventory(
        &mut self,
        host: &HostId,
        asked_at: Time,
        capacity: Resources,
        domains: BTreeMap<WorkloadId, DomainSeen>,
    ) {
        let Some(record) = self.belief.hosts.get(host) else { return };
        if matches!(record.phase, HostPhase::Off { .. }) && asked_at <= record.since {
            return; // asked before the host was proved off: the proof is newer
        }
        if record.capacity != capacity
            && let Some(record) = self.belief.hosts.get_mut(host)
        {
            record.capacity = capacity;
            self.agenda.stir();
        }
        let Some(senses) = self.belief.host_senses.get_mut(host) else { return };
        if senses.inventory.is_some_and(|newest| newest > asked_at) {
            return;
        }
        senses.inventory = Some(asked_at);
        let mut missing = std::mem::replace(&mut senses.listed, domains.keys().cloned().collect());
        missing.extend(self.belief.on_host(host).cloned());
        for (workload, domain) in domains {
            missing.remove(&workload);
            self.domain_listed(host, &workload, asked_at, domain);
        }
        for workload in missing {
            self.no_namesake(&workload, host);
            self.sighting(host, &workload, DomainState::Off(OffReason::Undefined), asked_at);
        }
        let unsettled: Vec<WorkloadId> = self
            .belief
            .on_host(host)
            .filter_map(|workload| self.belief.workloads.get(workload))
            .filter(|record| {
                record.unsettled.get(host).is_some_and(|open| {
                    open.since < asked_at
                        && (open.may_happen_until < asked_at || self.seen_live(&record.workload, host))
                })
            })
            .map(|record| record.workload.clone())
            .collect();
        for workload in unsettled {
            self.settled(&workload, host);
        }
        self.agenda.touch_host(host);
    }

    /// Its host told later than the order of unknown outcome that it came up there: that order is through.
    fn sight_settles(&mut self, workload: &WorkloadId, host: &HostId, at: Time) {
        let record = self.belief.workloads.get(workload);
        let open = record.and_then(|record| record.unsettled.get(host)).is_some_and(|open| open.since < at);
        if open && let Some(record) = self.belief.workloads.get_mut(workload) {
            record.unsettled.remove(host);
        }
    }

    /// The host was asked after the order whose outcome is unknown: what it said counts.
    fn settled(&mut self, workload: &WorkloadId, host: &HostId) {
        let live = self.seen_live(workload, host);
        let Some(record) = self.belief.workloads.get_mut(workload) else { return };
        let told_to_start = record.unsettled.remove(host).is_some_and(|open| open.told_to_start);
        if !live && told_to_start {
            record.pending_on.insert(host.clone());
        } else if !live && !self.starting_there(workload, host) {
            self.belief.runs_not(workload, host);
        }
        self.agenda.touch(workload);
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let nowhere = record.may_run_on.is_subset(&record.pending_on) && record.unsettled.is_empty();
        let untold = record.trouble.as_ref().is_none_or(|trouble| trouble.started_at.is_some());
        if nowhere && untold && record.want == Want::Running {
            self.trouble(workload, Cause::StartFailed);
        }
    }

    fn domain_listed(&mut self, host: &HostId, workload: &WorkloadId, asked_at: Time, domain: DomainSeen) {
        if !self.belief.workloads.contains(workload) {
            self.belief.workloads.put(WorkloadRecord::new(workload.clone(), domain.uuid.clone(), self.now));
            self.relations.outdated = true;
            let text = format!("found on {host}, {}", domain.state);
            self.note(EventKind::Seen, Severity::Green, Subject::Workload(workload.clone()), text);
        }
        if self.is_another(workload, host, &domain.uuid) {
            self.namesake(workload, host);
            return self.sighting(host, workload, DomainState::Off(OffReason::Undefined), asked_at); // ours is not there
        }
        self.no_namesake(workload, host);
        let record = self.belief.workloads.get(workload).expect("put above");
        let same = record.needs == domain.needs
            && record.tags == domain.tags
            && record.datastores == domain.datastores
            && record.movable == domain.movable;
        if !same && let Some(record) = self.belief.workloads.get_mut(workload) {
            self.relations.outdated |= record.tags != domain.tags;
            record.may_run_on.iter().for_each(|host| _ = self.belief.taken.remove(host));
            record.needs = domain.needs;
            record.tags = domain.tags;
            record.datastores = domain.datastores;
            record.movable = domain.movable;
        }
        self.sighting(host, workload, domain.state, asked_at);
        let senses = self.belief.workload_senses.entry(workload.clone()).or_default();
        if let Some(seen) = senses.seen.get_mut(host)
            && seen.autostart != domain.autostart
        {
            seen.autostart = domain.autostart;
            self.agenda.touch(workload);
        }
    }

    // ---- workloads on hosts ---------------------------------------------------------------------------------------

    fn domain_changed(&mut self, host: &HostId, workload: &WorkloadId, change: DomainChange) {
        if !self.belief.workloads.contains(workload) || !self.counts(host) || self.is_namesake(workload, host) {
            return; // the next inventory introduces it, if it is news at all
        }
        match change {
            DomainChange::State(state) => self.sighting(host, workload, state, self.now),
            DomainChange::Undefined => {
                if !self.seen_live(workload, host) {
                    self.sighting(host, workload, DomainState::Off(OffReason::Undefined), self.now);
                }
            }
            DomainChange::Rebooted => {
                let subject = Subject::Workload(workload.clone());
                self.note(EventKind::Seen, Severity::Green, subject, format!("the guest rebooted on {host}"));
            }
            DomainChange::Watchdog => {
                let subject = Subject::Workload(workload.clone());
                self.note(EventKind::Seen, Severity::Yellow, subject, format!("its watchdog fired on {host}"));
            }
            DomainChange::Defined => {}
        }
        self.agenda.touch(workload);
    }

    /// False for what is heard of a host that was proved off and not heard since: it is of the time before.
    fn counts(&self, host: &HostId) -> bool {
        let Some(record) = self.belief.hosts.get(host) else { return false };
        let heard = self.belief.host_senses.get(host).and_then(|senses| senses.heard_on(HostChannel::Hypervisor));
        !matches!(record.phase, HostPhase::Off { .. }) || heard.is_some_and(|heard| heard > record.since)
    }

    pub(crate) fn seen_live(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let senses = self.belief.workload_senses.get(workload);
        senses.and_then(|senses| senses.seen.get(host)).is_some_and(|seen| seen.state.is_live())
    }

    /// True while an order is under way that may start it there.
    pub(crate) fn starting_there(&self, workload: &WorkloadId, host: &HostId) -> bool {
        self.belief
            .in_flight(&Subject::Workload(workload.clone()))
            .any(|record| record.order.action.may_run_on() == Some(host))
    }

    /// A host's word on one workload, as of `at`.
    fn sighting(&mut self, host: &HostId, workload: &WorkloadId, state: DomainState, at: Time) {
        let senses = self.belief.workload_senses.entry(workload.clone()).or_default();
        let before = senses.seen.get(host).copied();
        if before.is_some_and(|seen| seen.at > at) {
            return;
        }
        if state == DomainState::Off(OffReason::Undefined) {
            senses.seen.remove(host);
        } else {
            let autostart = before.is_some_and(|seen| seen.autostart);
            let since = before.filter(|seen| seen.state == state).map_or(at, |seen| seen.since);
            senses.seen.insert(host.clone(), Seen { state, at, since, autostart });
        }
        if before.map(|seen| seen.state) == Some(state) {
            return;
        }
        self.agenda.touch(workload);
        let was_live = before.is_some_and(|seen| seen.state.is_live());
        if state.is_live() {
            self.sight_settles(workload, host, at);
            self.went_live(host, workload, state, before.is_none(), was_live);
        } else {
            self.went_off(host, workload, state, was_live);
        }
    }

    fn went_live(&mut self, host: &HostId, workload: &WorkloadId, state: DomainState, first: bool, was_live: bool) {
        let subject = Subject::Workload(workload.clone());
        // Never believed off here: it did not start, it has not stopped yet (a stop that an earlier term ordered).
        let still = self.belief.workloads.get(workload).is_some_and(|record| record.may_run_on.contains(host));
        self.belief.may_run(workload, host);
        if !was_live {
            let senses = self.belief.workload_senses.entry(workload.clone()).or_default();
            senses.up_since = Some(self.now);
            senses.answered_since = None;
            senses.activity = None;
        }
        if was_live && state == DomainState::Running {
            // It was paused: that it was silent until now says nothing of the guest.
            self.belief.workload_senses.entry(workload.clone()).or_default().watched_since = Some(self.now);
        }
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let late = record.pending_on.contains(host);
        let ours = self.life_order(workload).is_some() || late;
        if late && let Some(record) = self.belief.workloads.get_mut(workload) {
            record.pending_on.remove(host);
        }
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let wanted_stopped = matches!(record.want, Want::Stopped { .. });
        let elsewhere = record.host.as_ref() != Some(host);
        if wanted_stopped && !ours && !still && state == DomainState::Running {
            let known_off = !first || record.host.is_some();
            let record = self.belief.workloads.get_mut(workload).expect("looked up above");
            record.want = Want::Running;
            record.trouble = None;
            record.trying = None;
            if known_off {
                self.note(EventKind::Seen, Severity::Green, subject.clone(), format!("started by a person on {host}"));
            }
        }
        if state == DomainState::Running && elsewhere && !self.moving_away_from(workload, host) {
            let record = self.belief.workloads.get_mut(workload).expect("looked up above");
            record.host = Some(host.clone());
            record.left.remove(host);
        }
        self.agenda.stir();
    }

    /// True while a migration takes the workload away from this host: its running there is no news.
    fn moving_away_from(&self, workload: &WorkloadId, host: &HostId) -> bool {
        self.life_order(workload)
            .is_some_and(|record| matches!(&record.order.action, Action::Migrate { from, .. } if from == host))
    }

    fn went_off(&mut self, host: &HostId, workload: &WorkloadId, state: DomainState, was_live: bool) {
        let DomainState::Off(reason) = state else { return };
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let might_run_here = record.may_run_on.contains(host);
        let unsettled = record.unsettled.contains_key(host) || record.pending_on.contains(host);
        if self.starting_there(workload, host) || unsettled {
            return; // the order's own outcome, or a newer list, tells
        }
        self.belief.runs_not(workload, host);
        let order = self.life_order(workload).map(|record| &record.order.action).filter(|action| action.host() == host);
        let (stopping, leaving) =
            (matches!(order, Some(Action::Stop { .. })), matches!(order, Some(Action::Migrate { .. })));
        let record = self.belief.workloads.get(workload).expect("looked up above");
        let wanted = record.want == Want::Running;
        let known_trouble = record.trying.is_some() || record.moving.as_ref().is_some_and(|moving| moving.cold);
        let runs_elsewhere = !record.may_run_on.is_empty();
        if leaving {
            // The migration's outcome tells what becomes of it, unless a person ended it: that migration fails.
            if let Some(how) = persons_stop(reason).filter(|_| wanted && was_live) {
                self.stopped_by_person(host, workload, how);
            }
        } else if (was_live || might_run_here) && wanted && !stopping && !known_trouble && !runs_elsewhere {
            self.fell(host, workload, reason);
        }
        if reason == OffReason::Undefined {
            self.forget_if_removed(workload);
        }
        self.agenda.stir();
    }

    /// A workload that nobody wants to run is defined nowhere any more: it was removed.
    fn forget_if_removed(&mut self, workload: &WorkloadId) {
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let wanted = record.want == Want::Running && self.rule(workload).is_some();
        let somewhere = self.belief.workload_senses.get(workload).is_some_and(|senses| !senses.seen.is_empty());
        if wanted || somewhere || !record.may_run_on.is_empty() || !record.left.is_empty() {
            return;
        }
        let subject = Subject::Workload(workload.clone());
        self.note(EventKind::Seen, Severity::Green, subject.clone(), "removed by a person: no host has it any more");
        self.settle_alarms(subject, vec![]);
        self.leave_incident_of(workload);
        self.belief.forget(workload);
        self.relations.outdated = true;
    }

    /// A wanted workload is off without our doing: by whom or what?
    fn fell(&mut self, host: &HostId, workload: &WorkloadId, reason: OffReason) {
        match persons_stop(reason) {
            Some(how) => self.stopped_by_person(host, workload, how),
            None if reason == OffReason::Migrated => {} // it appears elsewhere, or is missed after a while
            None => self.trouble(workload, cause_of_end(reason)),
        }
    }

    pub(crate) fn stopped_by_person(&mut self, host: &HostId, workload: &WorkloadId, how: StoppedHow) {
        let policy = self.rule(workload).map(|rule| rule.policy.on_person_stop);
        let word = match how {
            StoppedHow::Shutdown => "shut down by its owner",
            StoppedHow::Saved => "saved to disk by a person",
            _ => "destroyed by a person",
        };
        let subject = Subject::Workload(workload.clone());
        self.note(EventKind::Seen, Severity::Yellow, subject, format!("{word} on {host}"));
        if policy == Some(PersonStop::PowerOn) {
            self.trouble(workload, Cause::PersonStop);
        } else {
            self.give_up_incident(workload);
            let record = self.belief.workloads.get_mut(workload).expect("a seen workload is on record");
            record.want = Want::Stopped { at: self.now, how };
            record.trouble = None;
            record.moving = None;
        }
    }

    // ---- guests ---------------------------------------------------------------------------------------------------

    fn activity(&mut self, host: &HostId, workload: &WorkloadId, activity: Activity) {
        let now = self.now;
        if !self.seen_live(workload, host) {
            return;
        }
        let senses = self.belief.workload_senses.entry(workload.clone()).or_default();
        let sense = match senses.activity {
            None => ActivitySense { last: activity, at: now, moved_at: now, cpu_percent: 0.0, rates: [0.0; 4] },
            Some(before) => before.next(activity, now),
        };
        senses.activity = Some(sense);
    }

    fn guest_heard(&mut self, workload: &WorkloadId, channel: GuestChannel) {
        let now = self.now;
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let news = !record.answers || record.trouble.is_some();
        if !record.answers
            && let Some(record) = self.belief.workloads.get_mut(workload)
        {
            record.answers = true;
        }
        let record = self.belief.workloads.get(workload).expect("looked up above");
        if record.may_run_on.len() == 1
            && let Some(host) = record.may_run_on.first().cloned()
            && let Some(senses) = self.belief.host_senses.get_mut(&host)
        {
            senses.guest_heard = Some(now);
        }
        let senses = self.belief.workload_senses.entry(workload.clone()).or_default();
        let was_silent = senses.silent().is_some();
        senses.channels.entry(channel).or_default().heard = Some(now);
        let first_answer = senses.up_since.is_some() && senses.answered_since.is_none();
        if first_answer {
            senses.answered_since = Some(now);
        }
        if first_answer || was_silent {
            self.agenda.stir(); // others may wait for it to be well
        }
        if news || was_silent || first_answer {
            self.agenda.touch(workload);
        }
    }

    fn guest_silent(&mut self, workload: &WorkloadId, channel: GuestChannel) {
        if !self.belief.workloads.contains(workload) {
            return;
        }
        let senses = self.belief.workload_senses.entry(workload.clone()).or_default();
        senses.channels.entry(channel).or_default().silent = Some(self.now);
        self.agenda.touch(workload);
    }
}

impl ActivitySense {
    fn next(self, activity: Activity, now: Time) -> ActivitySense {
        let seconds = now.since(self.at).as_secs_f64();
        if seconds <= 0.0 {
            return self;
        }
        let last = self.last;
        let moved = activity.disk_read != last.disk_read
            || activity.disk_written != last.disk_written
            || activity.net_sent != last.net_sent;
        let rate = |new: u64, old: u64| new.saturating_sub(old) as f64 / seconds;
        ActivitySense {
            last: activity,
            at: now,
            moved_at: if moved { now } else { self.moved_at },
            cpu_percent: rate(activity.cpu_ms, last.cpu_ms) / 10.0,
            rates: [
                rate(activity.disk_read, last.disk_read),
                rate(activity.disk_written, last.disk_written),
                rate(activity.net_received, last.net_received),
                rate(activity.net_sent, last.net_sent),
            ],
        }
    }
}

/// How a person stopped it, if it was a person.
pub(crate) fn persons_stop(reason: OffReason) -> Option<StoppedHow> {
    match reason {
        OffReason::Shutdown => Some(StoppedHow::Shutdown),
        OffReason::Destroyed => Some(StoppedHow::Destroyed),
        OffReason::Saved => Some(StoppedHow::Saved),
        _ => None,
    }
}

/// The trouble with a workload that no person stopped and that is off for this reason.
pub(crate) fn cause_of_end(reason: OffReason) -> Cause {
    match reason {
        OffReason::Panicked => Cause::Panicked,
        OffReason::Crashed => Cause::Crashed,
        OffReason::Signalled => Cause::Signalled,
        OffReason::Unknown => Cause::HostRestarted,
        _ => Cause::Vanished,
    }
}

/// What the engine makes of a paused state.
pub(crate) fn pause_cause(reason: PauseReason) -> Option<Cause> {
    match reason {
        PauseReason::IoError => Some(Cause::IoError),
        PauseReason::Watchdog => Some(Cause::Hung),
        PauseReason::Person | PauseReason::Busy | PauseReason::Other => None,
    }
}
