//! First step: facts become belief. Nothing is decided here; what a fact touches goes on the agenda.
//!
//! Facts can be late, doubled and out of order, so every sighting carries the time of which it speaks, and an older one
//! never overrules a newer one.

use crate::{
    Input,
    belief::{ActivitySense, HostPhase, HostSenses, Sight, WorkloadRecord, WorkloadSenses},
    engine::Engine,
};
use mainstay_model::{
    Activity, DomainSeen, DomainState, EventKind, Fact, GuestChannel, HostChannel, HostId, OffReason, PowerState,
    Resources, Severity, Span, Subject, Time, WorkloadId,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

impl Engine {
    pub(crate) fn observe(&mut self, input: Input) {
        match input {
            Input::Fact(fact) => self.fact(fact),
            Input::Outcome { id, outcome } => self.outcome(id, outcome),
            Input::Command { id, command, by } => {
                self.actor = by;
                let reply = self.command(command);
                self.actor = None;
                self.out.replies.push((id, reply));
            }
            Input::Spec(spec) => {
                let before = std::mem::replace(&mut self.spec, spec);
                self.refused = None;
                self.adopt_spec();
                self.ask_anew(&before);
                self.note(EventKind::Controller, Severity::Green, Subject::Cluster, "the configuration was reloaded");
            }
            Input::Refused(why) => self.refused = Some(why),
            Input::Tick => {}
            Input::Behind => self.watch_all_anew(),
        }
    }

    fn fact(&mut self, fact: Fact) {
        match fact {
            Fact::HostHeard { host, channel } => self.host_heard(&host, channel),
            Fact::HostSilent { host, channel, error, closed } => {
                self.host_silent(&host, channel, error, true);
                if closed {
                    self.host_closed(&host);
                }
            }
            Fact::HostBooted { host, at } => self.host_booted(&host, at),
            Fact::HostUnasked { host, channel, error } => self.host_silent(&host, channel, error, false),
            Fact::Inventory { host, asked_at, capacity, domains } => {
                self.inventory(&host, asked_at, capacity, &domains)
            }
            Fact::Domain { host, workload, change } => self.domain_changed(&host, &workload, change),
            Fact::Activity { host, activities } => {
                for (workload, activity) in activities {
                    self.activity(&host, &workload, activity);
                }
            }
            Fact::GuestHeard { workload, channel } => self.guest_heard(&workload, channel, true),
            Fact::GuestHeardAtItsWord { workload, channel } => self.guest_heard(&workload, channel, false),
            Fact::GuestSilent { workload, channel } => self.guest_silent(&workload, channel),
            Fact::Power { host, asked_at, state } => self.power_seen(&host, asked_at, state),
            Fact::FenceProbe { host, device, state, error } => self.fence_probed(&host, device, state, error),
            Fact::PointsSeen { workload, asked_at, points, set_aside } => {
                self.points_seen(&workload, asked_at, &points);
                self.set_aside_seen(&workload, asked_at, &set_aside);
            }
            Fact::Readiness { host, asked_at, workloads } => self.readiness_seen(&host, asked_at, workloads),
        }
    }

    // ---- hosts ----------------------------------------------------------------------------------------------------

    fn senses(&mut self, host: &HostId) -> Option<&mut HostSenses> {
        self.belief.host_senses.get_mut(host)
    }

    fn host_heard(&mut self, host: &HostId, channel: HostChannel) {
        let (now, awake_since) = (self.now, self.awake_since);
        let Some(senses) = self.senses(host) else { return };
        let sense = senses.channels.of(channel);
        let was_heard = sense.heard.is_some() && sense.silent_since.is_none();
        // A silence that the controller slept through is one as well (scenario 950).
        let slept = sense.heard.is_some_and(|heard| heard < awake_since);
        let earlier = sense.heard.replace(now);
        if let Some(earlier) = earlier {
            sense.beat.note(earlier, now);
        }
        (sense.silent_since, sense.unasked) = (None, false);
        sense.error = None;
        if channel == HostChannel::Hypervisor {
            if !was_heard || slept {
                senses.heard_before = earlier;
            }
            senses.well_since.get_or_insert(now);
            self.host_speaks(host);
            if self.belief.hosts.get(host).is_some_and(|record| record.unheard_since.is_some())
                && let Some(record) = self.belief.hosts.get_mut(host)
            {
                record.unheard_since = None;
            }
        }
        if !(was_heard && self.is_plainly_in_service(host)) {
            self.agenda.touch_host(host);
        }
    }

    /// Nothing follows for a host in ordinary service from one more sign of life: only a question in vain is news.
    fn is_plainly_in_service(&self, host: &HostId) -> bool {
        let in_sight = self.belief.host_senses.get(host).is_some_and(|senses| senses.sight == Sight::Heard);
        let waits_for_nothing = self.belief.hosts.get(host).is_some_and(|record| {
            record.phase == HostPhase::Online
                && record.maintenance.is_none()
                && !record.called_in
                && record.closed_at.is_none()
        });
        in_sight && waits_for_nothing
    }

    fn host_silent(&mut self, host: &HostId, channel: HostChannel, error: String, asked: bool) {
        let now = self.now;
        let Some(senses) = self.senses(host) else { return };
        let sense = senses.channels.of(channel);
        sense.silent_since.get_or_insert(now);
        (sense.error, sense.unasked) = (Some(error), !asked);
        if channel == HostChannel::Hypervisor {
            senses.well_since = None;
            let heard = senses.heard_on(HostChannel::Hypervisor).or(senses.known_before);
            if self.belief.hosts.get(host).is_some_and(|record| record.unheard_since.is_none())
                && let Some(record) = self.belief.hosts.get_mut(host)
            {
                record.unheard_since = heard;
            }
        }
        self.agenda.touch_host(host);
    }

    /// It was asked for before its host was proved off: nothing runs there any more, but what had ended or come up by then is known.
    fn listed_before_its_proof(&mut self, host: &HostId, asked_at: Time, domains: &BTreeMap<WorkloadId, DomainSeen>) {
        let newest = self.belief.host_senses.get(host).and_then(|senses| senses.inventory);
        if newest.is_some_and(|newest| newest > asked_at) {
            return;
        }
        for (workload, domain) in domains {
            match domain.state {
                _ if self.belief.workloads.get(workload).is_none_or(|record| record.uuid != domain.uuid) => {}
                DomainState::Running => self.ran_before_its_host_went(host, workload, asked_at),
                DomainState::Off(reason) => self.ended_before_its_host(host, workload, reason),
                DomainState::Paused(_) | DomainState::Panicked => {}
            }
        }
    }

    fn power_seen(&mut self, host: &HostId, asked_at: Time, state: PowerState) {
        let lost_since = self.belief.hosts.get(host).filter(|record| matches!(record.phase, HostPhase::Lost { .. }));
        if lost_since.is_some_and(|record| record.since.max(self.awake_since) <= asked_at) {
            self.power_learned(host, state);
        }
    }

    fn inventory(
        &mut self,
        host: &HostId,
        asked_at: Time,
        capacity: Resources,
        domains: &Arc<BTreeMap<WorkloadId, DomainSeen>>,
    ) {
        let Some(record) = self.belief.hosts.get(host) else { return };
        if matches!(record.phase, HostPhase::Off { .. }) && asked_at <= record.since {
            return self.listed_before_its_proof(host, asked_at, domains); // the proof is newer
        }
        if !self.counts(host) {
            self.host_heard(host, HostChannel::Hypervisor); // a list is a sign of life as well (scenario 900)
        }
        let Some(record) = self.belief.hosts.get(host) else { return };
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
        let last_list = senses.inventory.or(senses.heard_before).or(senses.known_before);
        senses.listed_before = last_list;
        // What waited for a word of the host since its silence goes on (scenario 750), or since the controller slept (scenario 911).
        let since = |silence: Time| senses.inventory <= Some(silence) && silence < asked_at;
        let slept = Some(self.asleep_at).filter(|asleep| *asleep < self.awake_since);
        let anew = senses.heard_before.is_some_and(since) || slept.is_some_and(since);
        let first = senses.inventory.replace(asked_at).is_none();
        let before = std::mem::replace(&mut senses.listed, domains.clone());
        if self.belief.unknown_runs.get(host).is_some_and(|unlisted| unlisted.since < asked_at) {
            self.belief.unknown_runs.remove(host);
        }
        let same = Arc::ptr_eq(&before, domains); // as nearly always
        let listed_before = before.keys().filter(|_| !same);
        let known = listed_before.chain(self.belief.on_host(host));
        let missing: BTreeSet<WorkloadId> =
            known.filter(|it| !domains.contains_key(*it) && self.belief.workloads.contains(it)).cloned().collect();
        for (workload, domain) in &**domains {
            let unchanged = same || before.get(workload) == Some(domain);
            let is_new = !unchanged && self.is_newly_listed(workload, host);
            if !(unchanged && self.seen_again(host, workload, asked_at, domain)) {
                self.domain_listed(host, workload, asked_at, domain);
            }
            if !unchanged && !before.contains_key(workload) {
                self.agenda.touch(workload); // an event told of it before: now it is certain
            }
            if is_new && let DomainState::Off(reason) = domain.state {
                self.ended_unseen(host, workload, reason, last_list);
            }
        }
        for workload in missing {
            self.no_namesake(&workload, host);
            if self.belief.workloads.get(&workload).is_some_and(|record| record.listed_on.contains(host))
                && let Some(record) = self.belief.workloads.get_mut(&workload)
            {
                record.listed_on.remove(host);
            }
            self.sighting(host, &workload, DomainState::Off(OffReason::Undefined), asked_at);
        }
        let unsettled: Vec<WorkloadId> = self
            .belief
            .on_host(host)
            .filter_map(|workload| self.belief.workloads.get(workload))
            .filter(|record| {
                record.unsettled.get(host).is_some_and(|open| {
                    open.since < asked_at
                        && self.counted(&record.workload, host, asked_at)
                        && (open.may_happen_until < asked_at || self.seen_live(&record.workload, host))
                })
            })
            .map(|record| record.workload.clone())
            .collect();
        for workload in unsettled {
            self.settled(&workload, host);
        }
        self.unanswered_orders(host);
        if anew {
            self.belief.on_host(host).for_each(|workload| self.agenda.touch(workload));
        }
        if first || !self.is_plainly_in_service(host) {
            self.agenda.touch_host(host);
        }
    }

    /// What a list asked for at that time says of the workload counted. A word that came later, but is older, may say off although
    /// the list says that it runs: that list settles nothing (scenario 461).
    fn counted(&self, workload: &WorkloadId, host: &HostId, asked_at: Time) -> bool {
        let senses = self.belief.workload_senses.get(workload);
        let newest = senses.and_then(|senses| senses.seen.get(host));
        newest.is_none_or(|seen| seen.at <= asked_at || seen.state.is_live())
    }

    /// It is on record where it was defined, and that host did not have it when it was listed last.
    pub(crate) fn is_newly_listed(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let record = self.belief.workloads.get(workload);
        record.is_some_and(|record| !record.listed_on.is_empty() && !record.listed_on.contains(host))
    }

    /// The host says of it what it said in the list before and what was heard since: only newer. False if that is not so.
    fn seen_again(&mut self, host: &HostId, workload: &WorkloadId, asked_at: Time, domain: &DomainSeen) -> bool {
        let senses = self.belief.workload_senses.get_mut(workload);
        let Some(seen) = senses.and_then(|senses| senses.seen.get_mut(host)) else { return false };
        let again = seen.state == domain.state && seen.autostart == domain.autostart && seen.at <= asked_at;
        if again {
            seen.at = asked_at;
        }
        again
    }

    fn domain_listed(&mut self, host: &HostId, workload: &WorkloadId, asked_at: Time, domain: &DomainSeen) {
        if self.was_replaced(workload, host, domain) {
            self.sighting(host, workload, DomainState::Off(OffReason::Undefined), asked_at);
        }
        if !self.belief.workloads.contains(workload) {
            if self.belief.removed.get(workload).is_some_and(|removed| *removed >= asked_at) {
                return; // asked for before it was removed (scenario 551)
            }
            let unprotected = self.belief.meta.was_left_alone(workload);
            let record = WorkloadRecord::new(workload.clone(), domain.uuid.clone(), self.now);
            self.belief.workloads.put(WorkloadRecord { unprotected, ..record });
            self.belief.has_uuid(workload, &domain.uuid);
            self.relations.outdated = true;
            let alone = if unprotected { "; left alone, as an operator said before" } else { "" };
            let text = format!("found on {host}, {}{alone}", domain.state);
            self.note(EventKind::Seen, Severity::Green, Subject::Workload(workload.clone()), text);
            self.may_run_where_it_was_unlisted(workload, host);
        }
        if self.is_another(workload, host, &domain.uuid) {
            self.namesake(workload, host);
            return self.sighting(host, workload, DomainState::Off(OffReason::Undefined), asked_at); // ours is not there
        }
        self.no_namesake(workload, host);
        if self.belief.workloads.get(workload).is_some_and(|record| !record.listed_on.contains(host))
            && let Some(record) = self.belief.workloads.get_mut(workload)
        {
            record.listed_on.insert(host.clone());
        }
        let record = self.belief.workloads.get(workload).expect("put above");
        // A leftover definition says nothing about what runs elsewhere.
        let elsewhere = !record.may_run_on.is_empty() && !record.may_run_on.contains(host);
        let same = record.needs == domain.needs
            && record.tags == domain.tags
            && record.datastores == domain.datastores
            && record.movable == domain.movable
            && record.passed_through == domain.passed_through;
        if !same
            && !elsewhere
            && let Some(record) = self.belief.workloads.get_mut(workload)
        {
            self.relations.outdated |= record.tags != domain.tags;
            record.may_run_on.iter().for_each(|host| _ = self.belief.taken.remove(host));
            record.needs = domain.needs;
            record.tags.clone_from(&domain.tags);
            record.datastores.clone_from(&domain.datastores);
            record.movable = domain.movable;
            if record.passed_through != domain.passed_through {
                record.passed_through.clone_from(&domain.passed_through);
                self.agenda.touch(workload);
            }
        }
        self.sighting(host, workload, domain.state, asked_at);
        if let Some(record) = self.belief.workloads.get(workload)
            && record.host.as_ref().is_none_or(|home| home == host)
            && record.only_here != domain.only_here
            && let Some(record) = self.belief.workloads.get_mut(workload)
        {
            record.only_here.clone_from(&domain.only_here);
            self.agenda.touch(workload);
        }
        let senses = self.belief.workload_senses.entry(workload.clone()).or_default();
        if let Some(seen) = senses.seen.get_mut(host)
            && seen.autostart != domain.autostart
        {
            seen.autostart = domain.autostart;
            self.agenda.touch(workload);
        }
    }

    // ---- guests ---------------------------------------------------------------------------------------------------

    fn activity(&mut self, host: &HostId, workload: &WorkloadId, activity: Activity) {
        let now = self.now;
        let senses = self.belief.workload_senses.get_mut(workload);
        let live_here = |senses: &&mut WorkloadSenses| senses.seen.get(host).is_some_and(|seen| seen.state.is_live());
        let Some(senses) = senses.filter(live_here) else { return };
        let another = senses.active_on.as_ref() != Some(host);
        let sense = match senses.activity.filter(|_| !another) {
            None => ActivitySense {
                last: activity,
                at: now,
                moved_at: now,
                moved_from: senses.activity.and_then(|before| before.moved_from),
                cpu_percent: 0.0,
                rates: [0.0; 4],
            },
            Some(before) => before.next(activity, now),
        };
        senses.activity = Some(sense);
        if another {
            senses.active_on = Some(host.clone());
        }
    }

    fn guest_heard(&mut self, workload: &WorkloadId, channel: GuestChannel, vouches: bool) {
        let (now, held_at) = (self.now, self.held_at(self.now));
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let in_trouble = record.trouble.as_ref().is_some_and(|trouble| trouble.started_at.is_none());
        let news = !record.answers || in_trouble;
        // An agent answers through the hypervisor: that is no sign of the host beside it (scenario 543).
        if channel != GuestChannel::Agent
            && record.may_run_on.len() == 1
            && let Some(senses) = record.may_run_on.first().and_then(|host| self.belief.host_senses.get_mut(host))
        {
            senses.guest_told = Some(now);
            if vouches {
                senses.guest_heard = Some(now);
            }
        }
        let of_two = record.may_run_on.len() > 1 && self.runs_twice(record).is_some();
        if !record.answers
            && let Some(record) = self.belief.workloads.get_mut(workload)
        {
            record.answers = true;
        }
        let senses = match self.belief.workload_senses.get_mut(workload) {
            Some(senses) => senses,
            None => self.belief.workload_senses.entry(workload.clone()).or_default(),
        };
        let was_silent = senses.silent().is_some();
        senses.reboots = 0;
        senses.answered_until = senses.answered_until.max(Some(held_at));
        if of_two {
            senses.one_of_two_answered = Some(now);
        }
        let sense = senses.channels.of(channel);
        (sense.heard, sense.vouches) = (Some(now), vouches);
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
        let was_silent = senses.silent().is_some();
        senses.channels.of(channel).silent = Some(self.now);
        if !was_silent {
            self.agenda.touch(workload); // what follows from longer silence has its time: `next_change`
        }
    }
}

/// Counters that were read no longer apart than this tell when they grew.
const IN_SIGHT: Span = Span::secs(6);

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
            moved_from: match moved {
                true if now.since(self.at) <= IN_SIGHT => Some(now),
                true => Some(self.at),
                false => self.moved_from,
            },
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
