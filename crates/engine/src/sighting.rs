//! A host's word on one workload: it came up, it went off, by whom or what. The newest word counts, and a person's doing is
//! told apart from a failure here.

use crate::{
    belief::{HostPhase, OrderRecord, Seen, StoppedHow, Want},
    engine::Engine,
    whose::{Whose, cause_of_end, pause_cause, persons_stop},
};
use mainstay_model::{
    Action, Cause, DomainChange, DomainState, EventKind, HostChannel, HostId, OffReason, Outcome, PauseReason,
    Severity, Span, StopHow, Subject, Time, WorkloadId,
    spec::{PersonStop, Rung},
};

/// A migration's answer comes with its arrival; if it has not come after this long, it was lost.
const ANSWER_MAY_BE_LATE: Span = Span::secs(10);
/// A start's answer comes with the guest's process; if it has not come after this long, it was lost.
const START_ANSWER_MAY_BE_LATE: Span = Span::secs(5);

/// What was known of a workload on a host before it was seen live there.
struct Before {
    /// It was not seen there before.
    first: bool,
    /// It was live there.
    was_live: bool,
    /// By what was known it still ran there.
    still: bool,
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
        if !self.counts(host) || self.is_namesake(workload, host) {
            return;
        }
        match change {
            DomainChange::State(state) if self.is_of_before_our_stop(workload, host, state) => {
                self.unsettle(workload, host, self.now); // its next list tells
            }
            DomainChange::State(state) => self.sighting(host, workload, state, self.now),
            DomainChange::Undefined => {
                // What runs goes on without its definition. Where it may run and was not seen off, the next list tells.
                let record = self.belief.workloads.get(workload);
                let may_run = record.is_some_and(|record| record.may_run_on.contains(host));
                if may_run && self.seen_live(workload, host) {
                    self.belief.workload_senses.entry(workload.clone()).or_default().undefined_live = true;
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

    fn seen_off(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let senses = self.belief.workload_senses.get(workload);
        senses.and_then(|senses| senses.seen.get(host)).is_some_and(|seen| !seen.state.is_live())
    }

    /// True while an order is under way that may start it there.
    pub(crate) fn starting_there(&self, workload: &WorkloadId, host: &HostId) -> bool {
        self.belief
            .in_flight(&Subject::Workload(workload.clone()))
            .any(|record| record.order.action.may_run_on() == Some(host))
    }

    /// True while all that is under way for it is a resume there.
    fn resuming_there(&self, workload: &WorkloadId, host: &HostId) -> bool {
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

    /// A host's word on one workload, as of `at`.
    pub(crate) fn sighting(&mut self, host: &HostId, workload: &WorkloadId, state: DomainState, at: Time) {
        let state = self.target_given_up(workload, host, state).unwrap_or(state);
        let removed_by_us = state == DomainState::Off(OffReason::Undefined) && self.removing_there(workload, host);
        let senses = self.belief.workload_senses.entry(workload.clone()).or_default();
        let before = senses.seen.get(host).copied();
        if before.is_some_and(|seen| seen.at > at) || senses.gone.get(host).is_some_and(|gone| *gone > at) {
            return;
        }
        if state == DomainState::Running {
            senses.running_seen = senses.running_seen.max(Some(at));
        }
        if state == DomainState::Off(OffReason::Undefined) {
            // What ran without its definition is gone when it ends, and what migrated went: nobody renamed that.
            if before.is_some() {
                senses.gone.insert(host.clone(), at);
            }
            let gone = senses.seen.remove(host).filter(|_| !std::mem::take(&mut senses.undefined_live));
            let gone = gone.filter(|seen| !removed_by_us && seen.state != DomainState::Off(OffReason::Migrated));
            senses.gone_at = senses.gone_at.max(gone.map(|_| at));
        } else {
            senses.gone.remove(host);
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
            // Never believed off here: it did not start, it has not stopped yet (a stop that an earlier term ordered).
            let first = before.is_none();
            let still = self.not_seen_to_stop(workload, host) || (first && self.outlived_a_proof(workload, host));
            self.sight_settles(workload, host, at);
            self.went_live(host, workload, state, Before { first, was_live, still });
        } else {
            let arriving = before.is_some_and(|seen| seen.state == DomainState::Paused(PauseReason::Busy));
            self.went_off(host, workload, state, was_live, arriving, before.map(|seen| seen.at));
            if let DomainState::Off(reason) = state {
                self.stopped_in_trouble(host, workload, reason, before.map(|seen| seen.state));
            }
        }
    }

    fn went_live(&mut self, host: &HostId, workload: &WorkloadId, state: DomainState, before: Before) {
        let subject = Subject::Workload(workload.clone());
        let Before { first, was_live, still } = before;
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
        let late = record.pending_on.contains(host);
        let ours = self.life_order(workload).is_some() || late;
        if late && let Some(record) = self.belief.workloads.get_mut(workload) {
            record.pending_on.remove(host);
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
        let by_person = wanted_stopped && !ours && (!still || record.coming_up.as_ref() == Some(host));
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
        if state == DomainState::Running && elsewhere && !self.moving_away_from(workload, host) {
            let record = self.belief.workloads.get_mut(workload).expect("looked up above");
            let before = record.host.replace(host.clone());
            record.left.remove(host);
            if !ours && !was_in_question && before.is_some() {
                record.kept_on = Some(host.clone()); // somebody moved it or started it there
            }
        }
        self.agenda.stir();
    }

    /// It may run there by what is on record. What was seen to stop before, and is in doubt there only as the source of a
    /// migration, is not still running when it comes up: it was started (scenario 447).
    fn not_seen_to_stop(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let Some(record) = self.belief.workloads.get(workload) else { return false };
        let seen_to_stop = matches!(record.want, Want::Stopped { how, .. } if how != StoppedHow::Operator);
        let moved_from = record.unsettled.get(host).is_some_and(|open| !open.told_to_start);
        record.may_run_on.contains(host) && !(seen_to_stop && moved_from)
    }

    /// An operator wanted the workload stopped, and a host that was called off has it running without having booted since: it was
    /// never off, and no person started it there (scenario 311). If it booted, a person did (scenario 528).
    fn outlived_a_proof(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let Some(record) = self.belief.workloads.get(workload) else { return false };
        let by_operator = matches!(record.want, Want::Stopped { how: StoppedHow::Operator, .. });
        let never_off = self.belief.hosts.get(host).is_some_and(|host| host.booted_at <= host.called_off_at);
        by_operator && record.left.contains(host) && never_off
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
                let there = seen(workload, to).filter(|seen| seen.state == DomainState::Running);
                let gone = seen(workload, from).is_none_or(|seen| !seen.state.is_live());
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
        let orders = || self.belief.in_flight(&Subject::Host(host.clone()));
        let arrived: Vec<_> = orders().filter(arrived).map(|record| record.order.id).collect();
        let ended: Vec<_> = orders().filter(ended).map(|record| record.order.id).collect();
        for id in arrived {
            self.outcome(id, Outcome::unknown("it is there, and no answer came"));
        }
        for id in ended {
            self.outcome(id, Outcome::unknown("it runs on neither host, and no answer came"));
        }
    }

    /// `last_seen`: when the host last said otherwise.
    fn went_off(
        &mut self,
        host: &HostId,
        workload: &WorkloadId,
        state: DomainState,
        was_live: bool,
        arriving: bool,
        last_seen: Option<Time>,
    ) {
        let DomainState::Off(reason) = state else { return };
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let might_run_here = record.may_run_on.contains(host);
        let unsettled = record.unsettled.contains_key(host) || record.pending_on.contains(host);
        let starting = self.starting_there(workload, host);
        if let Some(how) = self.stopped_after_doubtful_start(workload, host).filter(|_| unsettled && !starting) {
            return self.stopped_by_person(host, workload, how);
        }
        // What is incoming is never shut down: it had arrived, whatever is not known of its migration.
        let shut_down = reason == OffReason::Shutdown && was_live && unsettled && !starting;
        if let Some(how) = persons_stop(reason).filter(|_| shut_down)
            && self
                .orders_there(workload, host)
                .next()
                .is_some_and(|last| matches!(last.order.action, Action::Migrate { .. }))
        {
            return self.stopped_by_person(host, workload, how);
        }
        if self.resuming_there(workload, host)
            && let Whose::Person(how) = self.whose(workload, host, reason)
        {
            // A resume starts nothing, and ends nothing (scenario 412).
            self.stopped_by_person(host, workload, how);
            if let Some(record) = self.belief.workloads.get_mut(workload) {
                record.trying = None;
            }
            return;
        }
        if starting || unsettled {
            // The order's own outcome, or a newer list, tells. After a boot of its host a list does not know what is known now
            // (scenario 414).
            let ran = was_live && !arriving && unsettled && !starting && record.want == Want::Running;
            if let Whose::Person(how) = self.whose(workload, host, reason)
                && ran
                && let Some(record) = self.belief.workloads.get_mut(workload)
            {
                record.stopped_on = Some((host.clone(), how));
            }
            return;
        }
        if self.ran_unseen(workload, host, reason, was_live) {
            return self.crashed_unseen(workload, host, reason);
        }
        let wanted = record.want == Want::Running;
        let whose = self.whose(workload, host, reason);
        if whose == Whose::Unclear && wanted && self.life_order(workload).is_none() {
            return self.unsettle(workload, host, self.now);
        }
        self.belief.runs_not(workload, host);
        if self.belief.workloads.get(workload).is_some_and(|record| record.coming_up.as_ref() == Some(host))
            && let Some(record) = self.belief.workloads.get_mut(workload)
        {
            record.coming_up = None;
        }
        let order = self.life_order(workload).map(|record| &record.order.action).filter(|action| action.host() == host);
        let (stopping, leaving) =
            (matches!(order, Some(Action::Stop { .. })), matches!(order, Some(Action::Migrate { .. })));
        let record = self.belief.workloads.get(workload).expect("looked up above");
        let known_trouble = record.trying.is_some() || record.moving.as_ref().is_some_and(|moving| moving.cold);
        let runs_elsewhere = !record.may_run_on.is_empty();
        let doubtful = |other: &HostId| record.unsettled.contains_key(other) || record.pending_on.contains(other);
        let in_doubt_elsewhere = runs_elsewhere && record.may_run_on.iter().all(doubtful);
        let forced = matches!(order, Some(Action::Stop { how: StopHow::Force, .. }));
        let unasked = record.asked.is_none() && !self.was_asked_to_shut_down(workload, host);
        if let Whose::Person(how) = whose
            && (forced && reason == OffReason::Shutdown && was_live && wanted && unasked)
        {
            // Our force leaves another word: its owner was faster (scenario 313).
            self.stopped_by_person(host, workload, how);
            if let Some(record) = self.belief.workloads.get_mut(workload) {
                record.trying = None;
            }
        } else if leaving {
            // The migration's outcome tells what becomes of it, unless a person ended it: that migration fails.
            // A stop of ours that hung may come through just then (scenario 343), and a report of one before the last start may
            // come late (scenario 445).
            if let Whose::Person(how) = whose
                && wanted
                && was_live
            {
                self.stopped_by_person(host, workload, how);
            }
        } else if let Whose::Person(how) = whose
            && ((was_live || might_run_here) && wanted && !stopping && !known_trouble && in_doubt_elsewhere)
        {
            // What another host has still to tell of a migration can't be that it runs there: it was stopped here.
            self.stopped_by_person(host, workload, how);
        } else if let Whose::Person(how) = whose
            && ((was_live || might_run_here) && wanted && !stopping && !known_trouble && runs_elsewhere)
        {
            // Another host may run it, and does not tell: what is found out of it decides (scenario 309).
            if let Some(record) = self.belief.workloads.get_mut(workload) {
                record.stopped_on = Some((host.clone(), how));
            }
        } else if (was_live || might_run_here) && wanted && !stopping && !known_trouble && !runs_elsewhere {
            if arriving && record.host.as_ref() != Some(host) {
                // The target of a migration, which never ran: libvirt ends it when the source is gone, and nobody wanted that.
                self.trouble(workload, Cause::HostLost);
            } else if matches!(reason, OffReason::Unknown | OffReason::Undefined)
                && let Some((there, how)) = self.stopped_elsewhere_since(workload, host, last_seen)
            {
                self.stopped_by_person(&there, workload, how);
            } else {
                self.fell(host, workload, reason, whose);
            }
        }
        if reason == OffReason::Undefined {
            self.forget_if_removed(workload);
        }
        self.agenda.stir();
    }

    /// A person had stopped it here, and its host says now that it crashed: somebody started it meanwhile, and nobody saw it run.
    fn ran_unseen(&self, workload: &WorkloadId, host: &HostId, reason: OffReason, was_live: bool) -> bool {
        let Some(record) = self.belief.workloads.get(workload) else { return false };
        let ended_here = record.host.as_ref() == Some(host) && !record.may_run_on.contains(host) && !was_live;
        let stopped = matches!(
            record.want,
            Want::Stopped { how: StoppedHow::Shutdown | StoppedHow::Saved | StoppedHow::Destroyed, .. }
        );
        let crashed = matches!(reason, OffReason::Crashed | OffReason::Signalled | OffReason::Panicked);
        ended_here && stopped && crashed && !record.in_question
    }

    /// As good as seen to run: it is wanted, and brought back as what crashed (scenario 437).
    fn crashed_unseen(&mut self, workload: &WorkloadId, host: &HostId, reason: OffReason) {
        let Some(record) = self.belief.workloads.get_mut(workload) else { return };
        record.want = Want::Running;
        let text = format!("it was started on {host} since a person stopped it");
        self.note(EventKind::Seen, Severity::Green, Subject::Workload(workload.clone()), text);
        self.trouble(workload, cause_of_end(reason));
        self.agenda.stir();
    }

    /// It is missed, and its host says that a person stopped it. Such answers count:
    /// - The host was called off, and lists it again. A host that was off does not know how a guest ended: it never was off
    ///   (scenario 408).
    /// - The host said before that it had ended by itself. It ran in between: that was an old report (scenario 411).
    /// - It had gone with its host, and that host said before that it ended in another way: its host started it (scenario 423).
    fn stopped_in_trouble(
        &mut self,
        host: &HostId,
        workload: &WorkloadId,
        reason: OffReason,
        before: Option<DomainState>,
    ) {
        let Whose::Person(how) = self.whose(workload, host, reason) else { return };
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let Some(trouble) = record.trouble.as_ref().filter(|trouble| trouble.started_at.is_none()) else { return };
        let lost = match before {
            // No host leaves the word *destroyed* when it goes, and after its boot it knows of no end before: it was back, and a
            // person ended it (scenarios 526 and 527).
            None if trouble.cause == Cause::HostShutdown => {
                let booted = self.belief.hosts.get(host).and_then(|host| host.booted_at);
                reason == OffReason::Destroyed || booted > Some(trouble.since)
            }
            None => trouble.cause == Cause::HostLost && record.left.contains(host),
            Some(DomainState::Off(before)) => match trouble.cause {
                Cause::Crashed | Cause::Signalled => persons_stop(before).is_none(),
                Cause::HostShutdown => before != reason,
                _ => false,
            },
            Some(_) => false,
        };
        let here = record.host.as_ref() == Some(host) && record.may_run_on.is_empty();
        let stopped_by_us = self.orders_there(workload, host).next().is_some_and(|last| {
            matches!(last.order.action, Action::Stop { .. }) || !matches!(last.ended, Some((_, Outcome::Done { .. })))
        });
        let idle = self.life_order(workload).is_none() && record.asked.is_none() && record.moving.is_none();
        let starts_elsewhere = self
            .life_order(workload)
            .is_some_and(|order| matches!(&order.order.action, Action::Start { host: there, .. } if there != host));
        let unasked = record.asked.is_none() && record.moving.is_none();
        if lost && starts_elsewhere && unasked && !stopped_by_us && record.host.as_ref() == Some(host) {
            // If that start fails, it is off as a person wants it (scenario 428).
            if let Some(record) = self.belief.workloads.get_mut(workload) {
                record.stopped_on = Some((host.clone(), how));
            }
        } else if lost && here && idle && !stopped_by_us && record.want == Want::Running {
            self.stopped_by_person(host, workload, how);
            if let Some(record) = self.belief.workloads.get_mut(workload) {
                record.trying = None;
            }
        }
    }

    /// It is missed, and a host that did not have it lists it as stopped by a person: a person started it there and stopped it
    /// again while nothing was heard of that host (scenario 415).
    pub(crate) fn stopped_unseen(&mut self, host: &HostId, workload: &WorkloadId, reason: OffReason) {
        let Some(how) = persons_stop(reason) else { return };
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let untold = |cause: Cause| matches!(cause, Cause::HostLost | Cause::HostRestarted | Cause::StartFailed);
        let lost = record.trouble.as_ref().is_some_and(|it| untold(it.cause) && it.started_at.is_none());
        let nowhere = record.may_run_on.is_empty() && record.unsettled.is_empty();
        let elsewhere = record.host.as_ref() != Some(host) && !record.left.contains(host);
        let idle = self.life_order(workload).is_none() && record.asked.is_none() && record.moving.is_none();
        let by_us = self.orders_there(workload, host).next().is_some();
        if lost && nowhere && elsewhere && idle && !by_us && record.want == Want::Running {
            self.stopped_by_person(host, workload, how);
            if let Some(record) = self.belief.workloads.get_mut(workload) {
                record.trying = None;
            }
        }
    }

    /// It is off here, who knows since when; and after it was last seen here a person stopped it where it ran then.
    fn stopped_elsewhere_since(
        &self,
        workload: &WorkloadId,
        host: &HostId,
        last_seen: Option<Time>,
    ) -> Option<(HostId, StoppedHow)> {
        let record = self.belief.workloads.get(workload)?;
        let senses = self.belief.workload_senses.get(workload)?;
        let since = |seen: &Seen| last_seen.is_some_and(|last| seen.since > last);
        // What it left behind on a host says how it ended there, long ago (scenario 435).
        let elsewhere = |other: &HostId| other != host && !record.left.contains(other);
        senses.seen.iter().filter(|(other, seen)| elsewhere(other) && since(seen)).find_map(|(other, seen)| {
            let DomainState::Off(reason) = seen.state else { return None };
            match self.whose_as_of(workload, other, reason, seen.since) {
                Whose::Person(how) => Some((other.clone(), how)),
                _ => None,
            }
        })
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
        self.relations.outdated = true;
    }

    /// A wanted workload is off without our doing: by whom or what?
    fn fell(&mut self, host: &HostId, workload: &WorkloadId, reason: OffReason, whose: Whose) {
        match whose {
            Whose::Person(how) => self.stopped_by_person(host, workload, how),
            Whose::Ours => self.stopped_late(workload),
            _ if reason == OffReason::Migrated => {} // it appears elsewhere, or is missed after a while
            _ => self.trouble(workload, cause_of_end(reason)),
        }
    }

    /// A stop of ours came through that was given up: the rung it was for goes on.
    fn stopped_late(&mut self, workload: &WorkloadId) {
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let last = record.attempts.last().map(|attempt| attempt.rung).filter(|rung| *rung != Rung::Resume);
        let in_trouble = record.trouble.as_ref().is_some_and(|trouble| trouble.started_at.is_none());
        match last.filter(|_| in_trouble) {
            Some(rung) => self.try_again(workload, rung),
            None => self.trouble(workload, Cause::StartFailed),
        }
    }

    pub(crate) fn stopped_by_person(&mut self, host: &HostId, workload: &WorkloadId, how: StoppedHow) {
        // The stop may be one of ours that was forgotten: an operator is asked.
        let forgotten = self.may_carry_out_what_was_forgotten(host);
        let Some(record) = self.belief.workloads.get_mut(workload) else { return };
        record.in_question |= forgotten;
        if record.in_question {
            return self.agenda.touch(workload);
        }
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
            self.asked_is_given_up(workload, "a person stopped it");
            let record = self.belief.workloads.get_mut(workload).expect("a seen workload is on record");
            record.want = Want::Stopped { at: self.now, how };
            record.trouble = None;
            record.moving = None;
        }
    }

    /// What a person stopped, and a policy that is gone would have powered on, stays off.
    pub(crate) fn respect_stops(&mut self) {
        let left_off = |workload: &WorkloadId| {
            self.rule(workload).is_some_and(|rule| rule.policy.on_person_stop == PersonStop::Alarm)
        };
        let powered_on = self.belief.workloads.values().filter(|record| {
            let trouble = record.trouble.as_ref();
            trouble.is_some_and(|it| it.cause == Cause::PersonStop && it.started_at.is_none())
                && record.may_run_on.is_empty()
                && record.asked.is_none()
                && left_off(&record.workload)
        });
        let powered_on: Vec<(WorkloadId, HostId)> =
            powered_on.filter_map(|record| Some((record.workload.clone(), record.host.clone()?))).collect();
        for (workload, host) in powered_on {
            let seen = self.belief.workload_senses.get(&workload).and_then(|senses| senses.seen.get(&host));
            let how = seen.and_then(|seen| match seen.state {
                DomainState::Off(reason) => persons_stop(reason),
                _ => None,
            });
            self.stopped_by_person(&host, &workload, how.unwrap_or(StoppedHow::Shutdown));
        }
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
        let stopped_on = record.stopped_on.clone();
        let after_start = self.stopped_after_sure_start(workload, host).map(|how| (host.clone(), how));
        if nowhere
            && !untold
            && record.want == Want::Running
            && let Some((host, how)) = stopped_on.or_else(|| after_start.clone())
        {
            self.stopped_by_person(&host, workload, how);
            if let Some(record) = self.belief.workloads.get_mut(workload) {
                (record.stopped_on, record.trying) = (None, None);
            }
        } else if nowhere && untold && record.want == Want::Running {
            match after_start.or_else(|| self.shut_down_where_it_was_to_leave(workload)) {
                Some((host, how)) => self.stopped_by_person(&host, workload, how),
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
