//! A host reports of one workload that it runs, or that it is off. The newest report counts. What follows when it came up is
//! here; what follows when it is off is in `ends`.

use crate::{
    belief::{AskedFor, HostPhase, HostSenses, OrderRecord, Seen, Sight, StoppedHow, Want},
    engine::Engine,
    whose::{LATE_WORD, Whose, pause_cause},
};
use mainstay_model::{
    Action, DomainChange, DomainState, EventKind, HostChannel, HostId, OffReason, Outcome, PauseReason, Severity, Span,
    Subject, Time, WorkloadId,
};
use std::collections::BTreeMap;

/// A migration's answer comes with its arrival; if it has not come after this long, it was lost.
const ANSWER_MAY_BE_LATE: Span = Span::secs(10);
/// A migration that its target has nothing of after this long waits for no lock any more: it was lost.
const BEGINS_WITHIN: Span = Span::secs(60);
/// A start's answer comes with the guest's process; if it has not come after this long, it was lost.
const START_ANSWER_MAY_BE_LATE: Span = Span::secs(5);

/// No list is on its way for longer than this.
const LISTS_TAKE: Span = Span::minutes(10);

/// What was known of a workload on a host before it was seen live there.
struct Before {
    /// It was not seen there before.
    first: bool,
    /// The same guest was live there.
    was_live: bool,
    /// By what was known it still ran there.
    still: bool,
    /// Since when its host had said that it is off there.
    ended_at: Option<Time>,
    /// It was incoming, or only began to start there.
    busy: bool,
}

impl Engine {
    pub(crate) fn domain_changed(&mut self, host: &HostId, workload: &WorkloadId, change: DomainChange) {
        if !self.belief.workloads.contains(workload) {
            let runs = matches!(change, DomainChange::State(state) if state.is_live());
            if runs && self.belief.host_senses.contains_key(host) {
                self.belief.unknown_runs.entry(host.clone()).or_insert(self.now);
            }
            return; // the next inventory introduces it, if it is news at all
        }
        if self.is_namesake(workload, host) {
            if matches!(change, DomainChange::State(state) if state.is_live()) && self.counts(host) {
                self.unsettle(workload, host, self.now); // or it is this one, in the place of the other (scenario 912)
            }
            return;
        }
        if !self.counts(host) {
            match change {
                DomainChange::State(DomainState::Off(reason)) => self.ended_before_its_host(host, workload, reason),
                DomainChange::State(DomainState::Running) => {
                    let said_at = self.told_of_since(host).unwrap_or_default();
                    self.ran_before_its_host_went(host, workload, said_at);
                }
                _ => {}
            }
            return;
        }
        match change {
            DomainChange::State(state) if self.is_of_before_our_stop(workload, host, state) => {
                self.unsettle(workload, host, self.now); // its next list tells
            }
            DomainChange::State(DomainState::Off(_)) if self.is_of_before_our_start(workload, host) => {
                self.unsettle(workload, host, self.now);
            }
            DomainChange::State(state) if self.is_of_before_a_persons_stop(workload, host, state) => {
                self.unsettle(workload, host, self.now);
                if let Some(record) = self.belief.workloads.get_mut(workload) {
                    record.coming_up = Some(host.clone()); // if that list has it running, a person started it
                }
            }
            DomainChange::State(state) => {
                let after = self.told_of_since(host);
                self.seen(host, workload, state, self.now, after);
            }
            DomainChange::Undefined => {
                // What runs goes on without its definition. Where it may run and was not seen off, the next list tells.
                let record = self.belief.workloads.get(workload);
                let may_run = record.is_some_and(|record| record.may_run_on.contains(host));
                if may_run && self.seen_live(workload, host) {
                    // Or its host booted, and a person renamed it there before a list told of that (scenario 679).
                    let (now, ours) = (self.now, self.removing_there(workload, host));
                    let senses = self.belief.workload_senses.entry(workload.clone()).or_default();
                    senses.undefined_live = true;
                    senses.gone_at = senses.gone_at.max(Some(now).filter(|_| !ours));
                }
                if !may_run || self.seen_off(workload, host) {
                    self.sighting(host, workload, DomainState::Off(OffReason::Undefined), self.now);
                }
            }
            DomainChange::Rebooted => {
                let now = self.now;
                let senses = self.belief.workload_senses.entry(workload.clone()).or_default();
                if senses.reboots == 0 {
                    senses.rebooted_at = Some(now);
                }
                senses.reboots += 1;
                let subject = Subject::Workload(workload.clone());
                self.note(EventKind::Seen, Severity::Green, subject, format!("the guest rebooted on {host}"));
            }
            DomainChange::Watchdog => {
                let subject = Subject::Workload(workload.clone());
                self.note(EventKind::Seen, Severity::Yellow, subject, format!("its watchdog fired on {host}"));
            }
            DomainChange::Defined => {
                self.belief.workload_senses.entry(workload.clone()).or_default().undefined_live = false;
            }
        }
        self.agenda.touch(workload);
    }

    /// False for what is heard of a host that was proved off and not heard since: it is of the time before.
    pub(crate) fn counts(&self, host: &HostId) -> bool {
        let Some(record) = self.belief.hosts.get(host) else { return false };
        let heard = self.belief.host_senses.get(host).and_then(|senses| senses.heard_on(HostChannel::Hypervisor));
        !matches!(record.phase, HostPhase::Off { .. }) || heard.is_some_and(|heard| heard > record.since)
    }

    pub(crate) fn seen_live(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let senses = self.belief.workload_senses.get(workload);
        senses.and_then(|senses| senses.seen.get(host)).is_some_and(|seen| seen.state.is_live())
    }

    /// Its host is in sight, and reports that it is live there; that word is not of before the controller slept (scenario 869).
    pub(crate) fn runs_in_sight(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let seen = self.belief.workload_senses.get(workload).and_then(|senses| senses.seen.get(host));
        // What is incoming does not run yet (scenario 816).
        let runs =
            seen.is_some_and(|seen| seen.state.is_live() && seen.state != DomainState::Paused(PauseReason::Busy));
        let held_at = self.held_at(self.now);
        let slept_since = held_at < self.now && seen.is_some_and(|seen| seen.at <= held_at);
        runs && !slept_since && self.sight(host) == Sight::Heard
    }

    fn seen_off(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let senses = self.belief.workload_senses.get(workload);
        senses.and_then(|senses| senses.seen.get(host)).is_some_and(|seen| !seen.state.is_live())
    }

    /// How it is off there, if its host says that it is.
    pub(crate) fn off_there(&self, workload: &WorkloadId, host: &HostId) -> Option<OffReason> {
        match self.belief.workload_senses.get(workload)?.seen.get(host)?.state {
            DomainState::Off(reason) => Some(reason),
            _ => None,
        }
    }

    /// The host has it, running or not, by its newest list or what was heard since.
    pub(crate) fn has_it(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let senses = self.belief.workload_senses.get(workload);
        let seen = senses.is_some_and(|senses| senses.seen.contains_key(host));
        seen || self.belief.workloads.get(workload).is_some_and(|record| record.listed_on.contains(host))
    }

    /// True while an order is under way that may start it there.
    pub(crate) fn starting_there(&self, workload: &WorkloadId, host: &HostId) -> bool {
        self.belief
            .in_flight(&Subject::Workload(workload.clone()))
            .any(|record| record.order.action.may_run_on() == Some(host))
    }

    /// True while all that is under way for it is a resume there.
    pub(crate) fn resuming_there(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let order = self.life_order(workload).map(|record| &record.order.action);
        matches!(order, Some(Action::Resume { host: there, .. }) if there == host)
    }

    /// True while an order of ours is under way that removes its definition there.
    fn removing_there(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let mut orders = self.belief.in_flight(&Subject::Workload(workload.clone()));
        orders.any(|record| matches!(&record.order.action, Action::Undefine { host: there, .. } if there == host))
    }

    /// The target of a migration that did not come through is destroyed, and that is no person's doing. A migration of ours is
    /// known by its order; one by a person, by its source, which has not said that the workload left (scenario 433).
    fn target_given_up(&self, workload: &WorkloadId, host: &HostId, state: DomainState) -> Option<DomainState> {
        let before = self.belief.workload_senses.get(workload)?.seen.get(host)?.state;
        let incoming = before == DomainState::Paused(mainstay_model::PauseReason::Busy);
        let given_up = incoming && state == DomainState::Off(OffReason::Destroyed);
        let ours = || {
            let last = self.orders_there(workload, host).next();
            last.is_some_and(|last| matches!(last.order.action, Action::Migrate { .. }))
        };
        let has_a_source = || self.belief.may_run_on(workload).iter().any(|other| other != host);
        (given_up && (ours() || has_a_source())).then_some(DomainState::Off(OffReason::Unknown))
    }

    /// When the host told last of all that it has before that time, in this term or an earlier one.
    fn listed_before(&self, host: &HostId, at: Time) -> Option<Time> {
        let senses = self.belief.host_senses.get(host)?;
        senses.inventory.filter(|asked_at| *asked_at < at).or(senses.listed_before).or(senses.known_before)
    }

    /// What an event of the host tells happened no earlier: its words come in turn, one of them doubled or late at times (scenario 870).
    fn told_of_since(&self, host: &HostId) -> Option<Time> {
        let heard = self.belief.host_senses.get(host)?.heard_on(HostChannel::Hypervisor)?;
        Some(self.held_at(heard) - LATE_WORD)
    }

    /// A host's word on one workload, as of `at`.
    pub(crate) fn sighting(&mut self, host: &HostId, workload: &WorkloadId, state: DomainState, at: Time) {
        self.seen(host, workload, state, at, None);
    }

    /// The same; `after`: it came to be so after that.
    fn seen(&mut self, host: &HostId, workload: &WorkloadId, state: DomainState, at: Time, after: Option<Time>) {
        let state = self.target_given_up(workload, host, state).unwrap_or(state);
        let removed_by_us = state == DomainState::Off(OffReason::Undefined) && self.removing_there(workload, host);
        let held_at = self.held_at(at);
        let untold_until = self.listed_before(host, at);
        let senses = self.belief.workload_senses.entry(workload.clone()).or_default();
        let before = senses.seen.get(host).copied();
        if before.is_some_and(|seen| seen.at > at) || senses.gone.get(host).is_some_and(|gone| *gone > at) {
            return;
        }
        if state == DomainState::Running {
            senses.ran_until = senses.ran_until.max(Some(held_at));
        }
        if state == DomainState::Off(OffReason::Undefined) {
            // What ran without its definition is gone when it ends, and what migrated went: neither was renamed.
            if before.is_some() {
                senses.gone.insert(host.clone(), at);
            }
            let gone = senses.seen.remove(host).filter(|_| !std::mem::take(&mut senses.undefined_live));
            let gone = gone.filter(|seen| !removed_by_us && seen.state != DomainState::Off(OffReason::Migrated));
            senses.gone_at = senses.gone_at.max(gone.map(|_| at));
        } else {
            senses.gone.remove(host);
            let autostart = before.is_some_and(|seen| seen.autostart);
            let same = before.filter(|seen| seen.state == state);
            let since = same.map_or(at, |seen| seen.since);
            let not_before = same.map(|seen| seen.not_before).or(before.map(|seen| seen.at)).or(untold_until);
            let after = same.and_then(|seen| seen.after).or(after);
            let not_before = not_before.unwrap_or(at).max(after.unwrap_or_default());
            let ended = !state.is_live() && before.is_some_and(|seen| seen.state.is_live() || seen.ended);
            senses.seen.insert(host.clone(), Seen { state, at, since, not_before, after, ended, autostart });
        }
        if before.map(|seen| seen.state) == Some(state) {
            return;
        }
        self.agenda.touch(workload);
        let was_live = before.is_some_and(|seen| seen.state.is_live());
        // A panicked guest runs again only as another one, which has not answered yet (scenario 623); and so does what its host started
        // when it booted (scenario 899).
        let booted_at = self.belief.hosts.get(host).and_then(|record| record.booted_at);
        let booted = |seen: Seen| booted_at.is_some_and(|booted| seen.at + self.boot_time_off_by(booted) < booted);
        let is_another = state == DomainState::Running
            && before.is_some_and(|seen| seen.state == DomainState::Panicked || booted(seen));
        if state.is_live() {
            // Never believed off here: it did not start, it has not stopped yet (a stop that an earlier term ordered).
            let first = before.is_none();
            let stopped = before.is_some_and(|seen| !seen.state.is_live()) && self.stopped_for_certain(workload, host);
            let still = (self.not_seen_to_stop(workload, host) && !stopped)
                || (first && self.outlived_a_proof(workload, host, at))
                || self.ran_before_an_operators_stop(workload, held_at);
            if !was_live {
                self.run_begins(workload, host, first && still);
            }
            self.sight_settles(workload, host, at);
            let ended_at = before.filter(|seen| !seen.state.is_live()).map(|seen| seen.since);
            let busy = before.is_some_and(|seen| seen.state == DomainState::Paused(PauseReason::Busy));
            let was_live = was_live && !is_another;
            self.went_live(host, workload, state, Before { first, was_live, still, ended_at, busy });
        } else {
            // What is incoming is never shut down: it had arrived (scenario 664).
            let in_order = matches!(state, DomainState::Off(OffReason::Shutdown | OffReason::Saved));
            let arriving = !in_order && before.is_some_and(|seen| seen.state == DomainState::Paused(PauseReason::Busy));
            // Judged once: what follows from an end of our own doing changes what is known (scenario 669).
            let ours = matches!(state, DomainState::Off(reason) if self.whose(workload, host, reason) == Whose::Ours);
            self.went_off(host, workload, state, was_live, arriving, before.map(|seen| seen.at));
            if let DomainState::Off(reason) = state
                && !ours
            {
                self.stopped_in_trouble(host, workload, reason, before.map(|seen| seen.state));
                if !arriving {
                    self.ended_unseen(host, workload, reason, before.map(|seen| seen.at));
                }
            }
        }
    }

    fn went_live(&mut self, host: &HostId, workload: &WorkloadId, state: DomainState, before: Before) {
        let subject = Subject::Workload(workload.clone());
        let Before { first, was_live, still, ended_at, busy } = before;
        self.belief.may_run(workload, host);
        if state == DomainState::Running
            && let Some(record) = self.belief.workloads.get_mut(workload)
        {
            record.came_up(host);
            record.stopped_on = None;
        }
        if !was_live {
            let senses = self.belief.workload_senses.entry(workload.clone()).or_default();
            senses.up_since = Some(self.now);
            senses.answered_since = None;
            senses.activity = None;
            senses.reboots = 0;
        }
        if was_live && state == DomainState::Running {
            // It was paused: that it was silent until now says nothing of the guest.
            self.belief.workload_senses.entry(workload.clone()).or_default().watched_since = Some(self.now);
        }
        let was_in_question = self.answered_by_running(workload);
        let Some(record) = self.belief.workloads.get(workload) else { return };
        // A start that hung there when another was done can come as well (scenario 663). After a person's stop it is
        // as likely that person's start, which must not be undone.
        let hung = record.late_on.get(host).is_some_and(|until| *until > self.now);
        let operator = matches!(record.want, Want::Stopped { how: StoppedHow::Operator, .. });
        let late = record.pending_on.contains(host) || hung && operator;
        // A stop of ours on another host brings nothing up here (scenario 635).
        let stops_elsewhere =
            |order: &OrderRecord| matches!(&order.order.action, Action::Stop { host: there, .. } if there != host);
        let ours = self.life_order(workload).is_some_and(|order| !stops_elsewhere(order)) || late;
        if late && let Some(record) = self.belief.workloads.get_mut(workload) {
            record.pending_on.remove(host);
            record.late_on.remove(host);
        }
        // Its host said that the stop for that restart is through, whatever becomes of the answer (scenario 800).
        let stopped = |order: &OrderRecord| {
            matches!(&order.order.action, Action::Stop { host: there, .. } if there == host)
                && ended_at > Some(order.ordered_at)
        };
        let anew = !ours || !late && self.life_order(workload).is_some_and(stopped);
        if !still && anew && self.is_asked(workload, |asked| matches!(asked, AskedFor::Restart { .. })) {
            self.asked_is_given_up(workload, "a person started it since"); // it runs anew, as was asked for (scenario 733)
        }
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let starts_here = self.life_order(workload).is_some_and(|order| order.order.action.may_run_on() == Some(host));
        if state == DomainState::Running
            && (late || !starts_here && !still)
            && record.trying.is_some()
            && let Some(record) = self.belief.workloads.get_mut(workload)
        {
            // Its host, a person or a late start was faster: there is nothing left to try (scenarios 475, 521 and 522).
            record.trying = None;
        }
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let wanted_stopped = matches!(record.want, Want::Stopped { .. });
        let elsewhere = record.host.as_ref() != Some(host);
        let known_off = !first || record.host.is_some();
        // A start may be seen halfway: libvirt holds it for a moment, or a person lets it begin paused.
        // A person's move that arrives after an operator said stop starts nothing (scenarios 678 and 812).
        let arrived = busy && operator && self.left_another_host(workload, host);
        let by_person = wanted_stopped && !ours && !arrived && (!still || record.coming_up.as_ref() == Some(host));
        // What panicked had been running, and what its disk failed under too (scenario 345).
        let ran = match state {
            DomainState::Paused(reason) => pause_cause(reason).is_some(),
            _ => matches!(state, DomainState::Running | DomainState::Panicked),
        };
        let coming_up = (by_person && !ran).then(|| host.clone());
        if record.coming_up != coming_up
            && let Some(record) = self.belief.workloads.get_mut(workload)
        {
            record.coming_up = coming_up;
        }
        if by_person && ran {
            let record = self.belief.workloads.get_mut(workload).expect("looked up above");
            record.want = Want::Running;
            record.trouble = None;
            record.trying = None;
            if known_off {
                self.note(EventKind::Seen, Severity::Green, subject.clone(), format!("started by a person on {host}"));
            }
        }
        // A panic and a failed disk tell that it ran there, too (scenario 665).
        if ran && elsewhere && !self.moving_away_from(workload, host) {
            let record = self.belief.workloads.get_mut(workload).expect("looked up above");
            let before = record.host.replace(host.clone());
            record.left.remove(host);
            if !ours && !was_in_question && before.is_some() {
                record.kept_on = Some(host.clone()); // somebody moved it or started it there
            }
        }
        self.agenda.stir();
    }

    /// It was seen live on another host, or a stop of ours is under way there, and that host does not say that it ended: it left.
    fn left_another_host(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let seen = self.belief.workload_senses.get(workload).map(|senses| &senses.seen);
        let order = self.life_order(workload).map(|order| &order.order.action);
        let Some(Action::Stop { host: source, .. }) = order else {
            let live = |seen: &BTreeMap<HostId, Seen>| seen.iter().any(|(on, seen)| on != host && seen.state.is_live());
            // Or it may run on one that has told nothing of it in this term (scenario 862).
            let untold = |on: &HostId| on != host && seen.is_none_or(|seen| !seen.contains_key(on));
            return seen.is_some_and(live) || self.belief.may_run_on(workload).iter().any(untold);
        };
        let seen = seen.and_then(|seen| seen.get(source));
        let ended =
            seen.is_some_and(|seen| !seen.state.is_live() && seen.state != DomainState::Off(OffReason::Migrated));
        source != host && !ended
    }

    /// It came up there. `as_before`: it is first seen in this term, and ran there in the one before.
    fn run_begins(&mut self, workload: &WorkloadId, host: &HostId, as_before: bool) {
        let now = self.now;
        let starting = self.starting_there(workload, host);
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let doubtful = record.unsettled.contains_key(host) || record.pending_on.contains(host) || starting;
        let goes_on = as_before && !doubtful && record.runs_since.is_some() && record.host.as_ref() == Some(host);
        if !goes_on && let Some(record) = self.belief.workloads.get_mut(workload) {
            record.runs_since = Some(now);
            record.began_on = Some(host.clone());
            record.ended_unseen = false;
        }
    }

    /// It may run there by what is on record. What was seen to stop before, and is in doubt there only as the source of a
    /// migration, is not still running when it comes up: it was started (scenario 447).
    fn not_seen_to_stop(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let Some(record) = self.belief.workloads.get(workload) else { return false };
        let seen_to_stop = matches!(record.want, Want::Stopped { how, .. } if how != StoppedHow::Operator);
        let moved_from = record.unsettled.get(host).is_some_and(|open| !open.told_to_start);
        record.may_run_on.contains(host) && !(seen_to_stop && moved_from)
    }

    /// The last that we did to it there is a stop that is done: what runs there was started since.
    fn stopped_for_certain(&self, workload: &WorkloadId, host: &HostId) -> bool {
        self.orders_there(workload, host).next().is_some_and(|last| {
            matches!((&last.order.action, &last.ended), (Action::Stop { .. }, Some((_, Outcome::Done { .. }))))
        })
    }

    /// An operator wanted the workload stopped, and a host that was called off has it running without having booted since: it was
    /// never off, and no person started it there (scenario 311). If it booted, a person did (scenario 528); but not if it was out
    /// of sight all the time since the operator's word: that word is the last that is known (scenario 591).
    fn outlived_a_proof(&self, workload: &WorkloadId, host: &HostId, seen_at: Time) -> bool {
        let Some(record) = self.belief.workloads.get(workload) else { return false };
        let Want::Stopped { at, how: StoppedHow::Operator } = record.want else { return false };
        let Some(on) = self.belief.hosts.get(host) else { return false };
        let never_off = on.booted_at <= on.called_off_at;
        let senses = self.belief.host_senses.get(host);
        // An event speaks of now; a list, of all the time since the one before.
        let unseen = |senses: &HostSenses| {
            let by_list = senses.inventory == Some(seen_at) && senses.well_since > Some(at);
            by_list && senses.listed_before.is_some_and(|last| last < at)
        };
        // It ended elsewhere since that word, in sight: so it was started here later (scenario 842).
        let seen = self.belief.workload_senses.get(workload).map(|senses| &senses.seen);
        let ended_since =
            |(other, seen): (&HostId, &Seen)| other != host && !seen.state.is_live() && seen.ended && seen.since > at;
        let ran_elsewhere = seen.is_some_and(|seen| seen.iter().any(ended_since));
        let might_run_then = !ran_elsewhere && on.booted_at <= Some(at) && senses.is_some_and(unseen);
        record.left.contains(host) && never_off || might_run_then
    }

    /// An operator wants it stopped, and its host's word that it runs waited for a controller that slept: it is of before that (scenario
    /// 830).
    fn ran_before_an_operators_stop(&self, workload: &WorkloadId, said_since: Time) -> bool {
        let want = self.belief.workloads.get(workload).map(|record| &record.want);
        matches!(want, Some(Want::Stopped { at, how: StoppedHow::Operator }) if said_since < *at)
    }

    /// True while a migration takes the workload away from this host: its running there is no news.
    fn moving_away_from(&self, workload: &WorkloadId, host: &HostId) -> bool {
        self.life_order(workload)
            .is_some_and(|record| matches!(&record.order.action, Action::Migrate { from, .. } if from == host))
    }

    /// Starts on this host, and migrations from or to it, of which the hosts say that they are through, and whose answer did not
    /// come: they are not waited for until their deadline. So are migrations of a guest that runs on neither host any more:
    /// nothing is left to be moved (scenario 434).
    pub(crate) fn unanswered_orders(&mut self, host: &HostId) {
        let seen =
            |workload: &WorkloadId, at: &HostId| self.belief.workload_senses.get(workload)?.seen.get(at).copied();
        let arrived = |record: &&OrderRecord| match &record.order.action {
            // A start that came through: what becomes of the guest later is not its doing (scenario 409).
            Action::Start { workload, host: there } if there == host => {
                let runs = seen(workload, host).filter(|seen| seen.state == DomainState::Running);
                runs.is_some_and(|seen| {
                    seen.since > record.ordered_at && seen.at.since(seen.since) > START_ANSWER_MAY_BE_LATE
                })
            }
            Action::Migrate { workload, from, to } if to == host => {
                let source = seen(workload, from).map(|seen| seen.state);
                let gone = source.is_none_or(|state| !state.is_live());
                // What is live there when its source is gone has arrived, whatever became of it since (scenario 631).
                let incoming = DomainState::Paused(PauseReason::Busy);
                let there = seen(workload, to).filter(|seen| seen.state.is_live() && seen.state != incoming);
                gone && there
                    .is_some_and(|there| there.at.since(there.since.max(record.ordered_at)) > ANSWER_MAY_BE_LATE)
            }
            _ => false,
        };
        let listed = |host: &HostId| self.belief.host_senses.get(host).and_then(|senses| senses.inventory);
        let ended = |record: &&OrderRecord| match &record.order.action {
            Action::Migrate { workload, from, to } => [from, to].into_iter().all(|host| {
                !self.seen_live(workload, host)
                    && listed(host).is_some_and(|asked_at| asked_at > record.ordered_at + ANSWER_MAY_BE_LATE)
            }),
            _ => false,
        };
        // A target holds the incoming guest from the beginning on. What it has nothing of after so long was not begun (scenario 634).
        let not_begun = |record: &&OrderRecord| match &record.order.action {
            Action::Migrate { workload, from, to } => {
                let asked = |host: &HostId| listed(host).is_some_and(|at| at > record.ordered_at + BEGINS_WITHIN);
                self.seen_live(workload, from) && !self.seen_live(workload, to) && asked(from) && asked(to)
            }
            _ => false,
        };
        let orders = || self.belief.in_flight(&Subject::Host(host.clone()));
        let not_begun: Vec<_> = orders().filter(not_begun).map(|record| record.order.id).collect();
        let arrived: Vec<_> = orders().filter(arrived).map(|record| record.order.id).collect();
        let ended: Vec<_> = orders().filter(ended).map(|record| record.order.id).collect();
        for id in arrived {
            self.outcome(id, Outcome::unknown("it is there, and no answer came"));
        }
        for id in not_begun {
            self.outcome(id, Outcome::unknown("its target has nothing of it, and no answer came"));
        }
        for id in ended {
            self.outcome(id, Outcome::unknown("it runs on neither host, and no answer came"));
        }
    }

    /// A workload that nobody wants to run is defined nowhere any more: it was removed.
    pub(crate) fn forget_if_removed(&mut self, workload: &WorkloadId) {
        let Some(record) = self.belief.workloads.get(workload) else { return };
        if self.memory_in_doubt() || record.in_question {
            return; // it may be on a host that has not told yet
        }
        let wanted = record.want == Want::Running && self.rule(workload).is_some();
        let somewhere = self.belief.workload_senses.get(workload).is_some_and(|senses| !senses.seen.is_empty());
        let home = record.host.as_ref().and_then(|home| self.belief.host_senses.get(home));
        let told = home.is_none_or(|senses| senses.inventory.is_some());
        // A memory that was put back does not know where it went.
        let in_doubt = self.memory_in_doubt();
        if wanted || somewhere || !told || in_doubt || !record.may_run_on.is_empty() || !record.left.is_empty() {
            return;
        }
        let unprotected = record.unprotected;
        let subject = Subject::Workload(workload.clone());
        self.note(EventKind::Seen, Severity::Green, subject.clone(), "removed by a person: no host has it any more");
        self.settle_alarms(subject, vec![]);
        self.leave_incident_of(workload);
        if unprotected {
            self.belief.meta.leave_alone(workload); // it may only be defined elsewhere (scenario 315)
        }
        self.belief.forget(workload);
        let now = self.now;
        self.belief.removed.retain(|_, at| now.since(*at) < LISTS_TAKE);
        self.belief.removed.insert(workload.clone(), now);
        self.relations.outdated = true;
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
    pub(crate) fn settled(&mut self, workload: &WorkloadId, host: &HostId) {
        let (live, starting) = (self.seen_live(workload, host), self.starting_there(workload, host));
        let Some(record) = self.belief.workloads.get_mut(workload) else { return };
        let told_to_start = record.unsettled.remove(host).is_some_and(|open| open.told_to_start);
        if !live && told_to_start {
            record.pending_on.insert(host.clone());
        } else if !live && !starting {
            if record.coming_up.as_ref() == Some(host) {
                record.coming_up = None;
            }
            self.belief.runs_not(workload, host);
        }
        self.agenda.touch(workload);
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let nowhere = record.may_run_on.is_subset(&record.pending_on) && record.unsettled.is_empty();
        let untold = record.trouble.as_ref().is_none_or(|trouble| trouble.started_at.is_some());
        let stopped_on = record.stopped_on.clone();
        let after_start = self.stopped_after_sure_start(workload, host).map(|how| (host.clone(), how));
        if nowhere
            && !untold
            && record.want == Want::Running
            && let Some((host, how)) = stopped_on.clone().or_else(|| after_start.clone())
        {
            self.stopped_some_time_ago(&host, workload, how);
            if let Some(record) = self.belief.workloads.get_mut(workload) {
                record.trying = None;
            }
        } else if nowhere && untold && record.want == Want::Running {
            let migrated =
                || self.shut_down_where_it_was_to_leave(workload).or_else(|| self.stopped_where_it_arrived(workload));
            match stopped_on.or(after_start).or_else(migrated) {
                Some((host, how)) => self.stopped_some_time_ago(&host, workload, how),
                None => self.trouble(workload, self.fell_after_sure_start(workload, host)),
            }
        } else if untold
            && record.want == Want::Running
            && let Some(stopped) = self.shut_down_where_it_was_to_leave(workload)
            && let Some(record) = self.belief.workloads.get_mut(workload)
        {
            record.stopped_on = Some(stopped); // its target has not told yet (scenario 410)
        }
    }
}
