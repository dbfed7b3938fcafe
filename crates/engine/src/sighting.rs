//! A host reports of one workload that it runs, or that it is off. The newest report counts. What follows when it came up is in
//! `came_up`, when it is off in `ends`, and what that says of orders in `settle`.

use crate::{
    belief::{HostPhase, OrderRecord, Seen, Sight, Unlisted, Want},
    came_up::Before,
    engine::Engine,
    whose::{LATE_WORD, Whose},
};
use mainstay_model::{
    Action, DomainChange, DomainState, EventKind, HostChannel, HostId, OffReason, PauseReason, Severity, Span, Subject,
    Time, WorkloadId, spec::Rung,
};
use std::collections::BTreeSet;

/// As many VMs of a host as are taken in from a list.
const UNLISTED_AT_MOST: usize = 10_000;
/// No list is on its way for longer than this.
const LISTS_TAKE: Span = Span::minutes(10);

impl Engine {
    pub(crate) fn domain_changed(&mut self, host: &HostId, workload: &WorkloadId, change: DomainChange) {
        if !self.belief.workloads.contains(workload) {
            if let DomainChange::State(state) = change {
                self.told_of_unlisted(host, workload, state);
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

    /// An event of a VM that no list has told of.
    fn told_of_unlisted(&mut self, host: &HostId, workload: &WorkloadId, state: DomainState) {
        let since = self.now;
        if !state.is_live() {
            if let Some(unlisted) = self.belief.unknown_runs.get_mut(host) {
                unlisted.names.remove(workload);
            }
        } else if self.belief.host_senses.contains_key(host) {
            let unlisted = || Unlisted { since, names: BTreeSet::new() };
            let names = &mut self.belief.unknown_runs.entry(host.clone()).or_insert_with(unlisted).names;
            if names.len() < UNLISTED_AT_MOST {
                names.insert(workload.clone());
            }
        }
    }

    /// It is on record from now on. By an event another host ran it, and has not listed since what it has: it may run there (scenario 970).
    pub(crate) fn may_run_where_it_was_unlisted(&mut self, workload: &WorkloadId, listed_on: &HostId) {
        let elsewhere = self
            .belief
            .unknown_runs
            .iter()
            .filter(|(host, unlisted)| *host != listed_on && unlisted.names.contains(workload));
        for host in elsewhere.map(|(host, _)| host.clone()).collect::<Vec<_>>() {
            self.unsettle(workload, &host, self.now);
        }
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
        let removed = senses.is_some_and(|senses| senses.gone.contains_key(host)); // since that list (scenario 949)
        let listed = || self.belief.workloads.get(workload).is_some_and(|record| record.listed_on.contains(host));
        seen || !removed && listed()
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

    /// True if only a resume is in doubt there: the last start came through before it. The journal keeps no resumes, so the ladder's
    /// attempts tell (scenario 960).
    pub(crate) fn only_resumed(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let Some(record) = self.belief.workloads.get(workload) else { return false };
        let tried = record.attempts.last().filter(|it| it.rung == Rung::Resume && it.host.as_ref() == Some(host));
        let came_through = |order: &OrderRecord, at: Time| order.ordered_at < at && self.came_through(order);
        let last = self.orders_there(workload, host).next();
        record.unsettled.contains_key(host) && tried.zip(last).is_some_and(|(it, last)| came_through(last, it.at))
    }

    /// True while an order of ours is under way that removes its definition there.
    fn removing_there(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let mut orders = self.belief.in_flight(&Subject::Workload(workload.clone()));
        orders.any(|record| matches!(&record.order.action, Action::Undefine { host: there, .. } if there == host))
    }

    /// The target of a migration that did not come through is destroyed, and that is no person's doing. A migration of ours is
    /// known by its order; one by a person, by its source, which has not said that the workload left (scenario 433).
    fn target_given_up(&self, workload: &WorkloadId, host: &HostId, state: DomainState) -> Option<DomainState> {
        let senses = self.belief.workload_senses.get(workload)?;
        let incoming = match senses.seen.get(host) {
            Some(before) => before.state == DomainState::Paused(PauseReason::Busy),
            None => senses.gone.contains_key(host), // a list told sooner that nothing of it is left (scenario 952)
        };
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
            let ended_at = before.filter(|seen| !seen.state.is_live()).map(|seen| seen.since);
            let through = self.our_stop_is_through(workload, host, ended_at, untold_until);
            // Also if that its host told so was in another term (scenario 988).
            let told_off = ended_at.is_some() || first;
            let stopped = told_off && self.stopped_for_certain(workload, host) || through;
            // What it was before its host went out of sight says nothing of when it came up (scenario 991).
            let heard_before = || self.belief.host_senses.get(host).and_then(|senses| senses.heard_before);
            let unseen_since = || before.is_some_and(|seen| heard_before() >= Some(seen.at));
            let still = (self.not_seen_to_stop(workload, host) && !stopped)
                || ((first || unseen_since()) && self.outlived_a_proof(workload, host, at))
                || self.ran_before_an_operators_stop(workload, held_at);
            if !was_live {
                self.run_begins(workload, host, at, first && still);
            }
            self.sight_settles(workload, host, at);
            let busy = before.is_some_and(|seen| seen.state == DomainState::Paused(PauseReason::Busy));
            let was_live = was_live && !is_another;
            self.went_live(host, workload, state, Before { first, was_live, still, ended_at, through, busy });
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
                    // What it did not have when it was listed last came and ended since (scenario 977).
                    let unlisted = || untold_until.filter(|_| self.is_newly_listed(workload, host));
                    let otherwise_at = before.map(|seen| seen.at).or_else(unlisted);
                    self.ended_unseen(host, workload, reason, otherwise_at);
                }
            }
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
}
