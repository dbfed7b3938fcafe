//! A workload is off: a person's doing, a failure, or a stop of our own that shows only now?
//!
//! A hypervisor says `destroyed` whoever did it. What we ordered ourselves is told from a person's doing by the journal: the
//! last orders about the workload at that host, and what became of them. [`crate::belief`]'s journal keeps exactly what is asked
//! for here.

use crate::{
    belief::{OrderRecord, StoppedHow, Want},
    engine::Engine,
};
use mainstay_model::{
    Action, Cause, DomainState, FailureKind, HostId, OffReason, Outcome, PauseReason, Proof, Span, StopHow, Time,
    WorkloadId,
};

/// Words of a stop can come this long after its outcome.
pub(crate) const LATE_WORD: Span = Span::secs(5);
/// A stop of unknown outcome can be carried out this long after it was given up, even if the workload was started meanwhile.
pub(crate) const STOP_MAY_COME: Span = Span::secs(90);
/// Stops that hung on the same storage are carried out one after the other within this.
const COME_OUT_TOGETHER: Span = Span::secs(10);

/// A revert that takes so long hung.
const HANGS_SINCE: Span = Span::secs(30);

/// Whose doing it is that a workload is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// A person's.
    Person(StoppedHow),
    /// Our own stop, whose outcome was unknown, or wrongly told as failed.
    Ours,
    /// A late word of a stop before our own start, or a person's stop after it: the host must be asked.
    Unclear,
    /// Nobody's.
    Nobody,
}

impl Engine {
    /// Whose doing it is that the workload is off on the host for that reason.
    pub(crate) fn whose(&self, workload: &WorkloadId, host: &HostId, reason: OffReason) -> Whose {
        self.whose_as_of(workload, host, reason, self.now)
    }

    /// As [`Engine::whose`], of what the host said at that time.
    pub(crate) fn whose_as_of(&self, workload: &WorkloadId, host: &HostId, reason: OffReason, said_at: Time) -> Whose {
        let of_before =
            self.may_tell_of_before(workload, host, reason) || self.may_tell_of_a_target(workload, host, reason);
        let Some(how) = persons_stop(reason) else {
            return if of_before { Whose::Unclear } else { Whose::Nobody };
        };
        if of_before {
            return Whose::Unclear;
        }
        let leaves_word = |order: &OrderRecord| match order.order.action {
            Action::Stop { how: StopHow::Graceful, .. } => reason == OffReason::Shutdown,
            _ => order.may_force() && reason == OffReason::Destroyed,
        };
        // Between terms the clock may have been set ahead: what is older than the watch on its host counts from there.
        let watched = self.belief.host_senses.get(host).map(|senses| senses.watched_since);
        // But what had its time in the term before is over (scenario 590), if its host was in sight then (scenario 751).
        let over = |order: &OrderRecord, given_up: Time, hung_until: Time| {
            let waited = if hung_until > given_up {
                self.in_sight_before_since(host, hung_until)
            } else {
                order.waited + order.waited_awake
            };
            waited > STOP_MAY_COME
        };
        // Out of sight, or if its event was lost, it may have ended at any time since it was seen there last (scenarios 627 and 851).
        let seen = self.belief.workload_senses.get(workload).and_then(|senses| senses.seen.get(host));
        let ended_from = seen
            .filter(|seen| seen.state == DomainState::Off(reason))
            .map_or(said_at, |seen| seen.not_before.min(said_at));
        // What waited for a controller that slept may have been said as it fell asleep (scenario 801). A late word of an end before is
        // told soon after that end, also if it was seen to run meanwhile (scenario 865).
        let held_at = self.held_at(said_at);
        let ran_since = self
            .orders_there(workload, host)
            .next()
            .is_some_and(|last| last.order.action.may_run_on().is_some() && self.came_through(last));
        let told_at_once = seen.is_some_and(|seen| seen.ended && seen.since == said_at) && ran_since;
        let said_from = if told_at_once { held_at } else { held_at.min(ended_from) };
        let lately =
            |order: &OrderRecord| order.ended.as_ref().is_some_and(|(at, _)| said_from.since(*at) <= LATE_WORD);
        // Stops that hung together come out together, whenever that is: one ended the run that all were for, which never recovered, and
        // the next can end what was started right after that (scenario 669).
        let trouble = self.belief.workloads.get(workload).and_then(|record| record.trouble.as_ref());
        let just_started = self.sent_there(workload, host).next().is_some_and(|last| {
            // A revert stops it first, and hangs there as the stops before it do (scenario 934).
            let began = match (&last.order.action, &last.ended) {
                (Action::Revert { .. }, Some((done_at, Outcome::Done { .. }))) => *done_at,
                _ => last.ordered_at,
            };
            last.order.action.may_run_on().is_some() && ended_from.since(began) <= COME_OUT_TOGETHER
        });
        let of_same_trouble =
            |order: &OrderRecord| trouble.is_some_and(|trouble| trouble.well_until <= order.ordered_at);
        // A revert that an operator asked for begins another trouble. If it hung as well, it ended the run that these stops were for
        // (scenario 994).
        let of_run_reverted_late = |order: &OrderRecord| {
            let mut later = self.sent_there(workload, host).take_while(|later| later.order.id > order.order.id);
            let late = |last: &OrderRecord| {
                let done = last.ended.as_ref().filter(|(_, outcome)| matches!(outcome, Outcome::Done { .. }));
                let hung = done.is_some_and(|(at, _)| at.since(last.ordered_at) >= HANGS_SINCE);
                matches!(last.order.action, Action::Revert { .. }) && hung
            };
            let starts = |order: &OrderRecord| order.order.action.may_run_on().is_some() && self.came_through(order);
            later.next().is_some_and(late) && !later.any(starts)
        };
        // Nothing that was under way before a boot of its host comes any more (scenario 807).
        let booted = self.belief.hosts.get(host).and_then(|host| host.booted_at);
        let ended_by_boot =
            |order: &OrderRecord| booted.is_some_and(|at| order.ordered_at + self.boot_time_off_by(at) < at);
        // A revert is over when its run came up and no other start was ordered since (scenario 855), or when what it set aside is seen
        // (scenario 861).
        let newest = self.sent_there(workload, host).find(|order| order.order.action.may_run_on().is_some());
        let was_done = |order: &OrderRecord| {
            let is_newest = newest.is_some_and(|newest| newest.order.id == order.order.id);
            order.left_its_mark || is_newest && self.came_through(order)
        };
        let may_come = |order: &OrderRecord| match &order.ended {
            Some((_, Outcome::Unknown { .. })) if ended_by_boot(order) || was_done(order) => false,
            Some((at, Outcome::Unknown { .. })) => {
                let given_up = *at;
                let at = self.hung_until(order, given_up); // what hung as long as others comes as late as they (scenario 752)
                let since = watched.map_or(at, |since| since.max(at));
                let same = of_same_trouble(order) || of_run_reverted_late(order);
                let comes = ended_from.since(since) <= STOP_MAY_COME || just_started && same;
                comes && !over(order, given_up, at)
            }
            _ => false,
        };
        if self.sent_there(workload, host).any(|order| leaves_word(order) && may_come(order)) {
            return Whose::Ours;
        }
        let mut orders = self.sent_there(workload, host);
        let Some(last) = orders.next() else { return Whose::Person(how) };
        let stop = leaves_word(last) && matches!(last.order.action, Action::Stop { .. });
        // A start that failed, or of which no answer came, may not have come to anything: what its host says may be of before it
        // (scenario 630).
        let in_vain = |order: &&OrderRecord| order.order.action.may_run_on().is_some() && !self.came_through(order);
        // Nothing is known to have run there since our own stop: it is still what that left (scenario 653).
        let runs_since = self.belief.workloads.get(workload).and_then(|record| record.runs_since);
        let still = |order: &OrderRecord| match (&order.order.action, &order.ended) {
            (Action::Stop { .. }, Some((at, Outcome::Done { .. }))) => {
                let anew = seen.is_some_and(|seen| seen.after > Some(*at + LATE_WORD)); // (scenario 870)
                leaves_word(order) && runs_since.is_none_or(|since| since <= *at) && !anew
            }
            _ => false,
        };
        if self.sent_there(workload, host).find(|order| !in_vain(order)).is_some_and(still) {
            return Whose::Ours;
        }
        let listed = self.belief.host_senses.get(host).and_then(|senses| senses.inventory);
        let told_by_list =
            listed.filter(|at| seen.is_some_and(|seen| seen.at == *at && seen.state == DomainState::Off(reason)));
        match last.ended {
            None if stop => Whose::Ours, // it is being carried out (scenario 628)
            Some(_) if stop && lately(last) => Whose::Ours,
            _ if leaves_word(last) && lately(last) => Whose::Unclear,
            // A list that was asked for after our start was done is no late word of a stop before it (scenario 972).
            Some((done_at, Outcome::Done { .. })) if told_by_list > Some(done_at) && !stop => Whose::Person(how),
            _ if orders.find(|before| !in_vain(before)).is_some_and(|before| leaves_word(before) && lately(before)) => {
                Whose::Unclear
            }
            _ => Whose::Person(how),
        }
    }

    /// Until when a stop of unknown outcome is known to have hung: until the last one for the same run ended, whatever its word, in vain
    /// or with an error (scenario 843).
    fn hung_until(&self, order: &OrderRecord, given_up: Time) -> Time {
        let Some((workload, host)) = order.order.action.workload().zip(order.acts_at()) else { return given_up };
        let since = || self.sent_there(workload, host).take_while(|later| later.order.id > order.order.id);
        let last = since().find(|later| matches!(later.order.action, Action::Stop { .. }));
        let hung = match last.map(|last| &last.ended) {
            Some(None) => self.now,
            Some(Some((at, Outcome::Unknown { .. } | Outcome::Failed { .. }))) => *at,
            _ => given_up,
        };
        if since().any(|later| self.came_through(later)) { given_up } else { hung.max(given_up) }
    }

    /// It ended there for the same reason before our start, and that start was done a moment ago: the word may be of the end before,
    /// told late or twice (scenario 462).
    fn may_tell_of_before(&self, workload: &WorkloadId, host: &HostId, reason: OffReason) -> bool {
        // What a person stopped and its policy powered on ended so before (scenario 554).
        let cause = persons_stop(reason).map_or(cause_of_end(reason), |_| Cause::PersonStop);
        let ended = matches!(cause, Cause::Crashed | Cause::Signalled | Cause::Panicked | Cause::PersonStop);
        let trouble = self.belief.workloads.get(workload).and_then(|record| record.trouble.as_ref());
        // That a revert was asked for ended nothing so (scenario 887).
        let again = trouble.is_some_and(|trouble| trouble.cause == cause && !trouble.by_revert);
        ended
            && again
            && self.orders_there(workload, host).next().is_some_and(|last| {
                // What a revert that was asked for ended left another word than that of a person (scenario 672).
                let started = match last.order.action {
                    Action::Revert { .. } => cause != Cause::PersonStop,
                    _ => last.order.action.may_run_on().is_some(),
                };
                let done = |(at, outcome): &(Time, Outcome)| {
                    matches!(outcome, Outcome::Done { .. }) && self.now.since(*at) <= LATE_WORD
                };
                started && last.ended.as_ref().is_some_and(done)
            })
    }

    /// Our own stop there was done a moment ago, no start of ours came through since, and the host says what it was stopped for: that
    /// may be told late or twice (scenario 448).
    pub(crate) fn is_of_before_our_stop(&self, workload: &WorkloadId, host: &HostId, state: DomainState) -> bool {
        let cause = match state {
            DomainState::Paused(reason) => pause_cause(reason),
            DomainState::Panicked => Some(Cause::Panicked),
            _ => None,
        };
        let record = self.belief.workloads.get(workload);
        let trouble = record.and_then(|record| record.trouble.as_ref());
        // An operator who has it stopped ends its trouble, and it may have run before that (scenario 599).
        let as_asked = record
            .is_some_and(|it| matches!(it.want, Want::Stopped { how: StoppedHow::Operator, .. }) && trouble.is_none());
        // It may have been stopped before its host came to say so: it need not be what it was stopped for (scenario 817).
        // A person may have paused it as it was being stopped (scenario 936).
        let paused = state == DomainState::Paused(PauseReason::Person);
        let again = as_asked && state.is_live() || (cause.is_some() || paused) && trouble.is_some();
        let not_through = |order: &&OrderRecord| {
            order.order.action.may_run_on() == Some(host)
                && match &order.ended {
                    Some((_, Outcome::Failed { error })) => error.proves != Proof::There,
                    Some((_, Outcome::Done { .. })) => false,
                    Some((_, Outcome::Unknown { .. })) | None => true, // a list tells (scenario 676)
                }
        };
        again
            && !self.seen_live(workload, host)
            && self.orders_there(workload, host).find(|order| !not_through(order)).is_some_and(|last| {
                // Told as failed, it is done if its host said since then that it is off (scenario 853).
                let seen = self.belief.workload_senses.get(workload).and_then(|senses| senses.seen.get(host));
                let off_since = seen.is_some_and(|seen| !seen.state.is_live() && seen.since > last.ordered_at);
                let done = |(at, outcome): &(Time, Outcome)| {
                    let through = matches!(outcome, Outcome::Done { .. })
                        || matches!(outcome, Outcome::Failed { .. }) && off_since;
                    through && self.now.since(*at) <= LATE_WORD
                };
                matches!(last.order.action, Action::Stop { .. }) && last.ended.as_ref().is_some_and(done)
            })
    }

    /// Our start there was done a moment ago, and its host has not said yet that it runs: what it says of an end may be of the run before
    /// (scenario 895).
    pub(crate) fn is_of_before_our_start(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let started =
            self.orders_there(workload, host).next().and_then(|last| match (&last.order.action, &last.ended) {
                // Of what it did not have before it can only say what came of this start (scenario 996).
                (Action::Start { .. }, Some((at, Outcome::Done { .. }))) if last.had_it => Some(*at),
                _ => None,
            });
        let seen = self.belief.workload_senses.get(workload).and_then(|senses| senses.seen.get(host));
        let untold = |at: Time| {
            seen.is_some_and(|seen| seen.state == DomainState::Running && seen.at == at && seen.after.is_none())
        };
        started.is_some_and(|at| untold(at) && self.now.since(at) <= LATE_WORD) && self.life_order(workload).is_none()
    }

    /// A person stopped it there a moment ago, and an event says that it lives: a person may have started it since, or that word is of
    /// before the stop, and was overtaken (scenario 829).
    pub(crate) fn is_of_before_a_persons_stop(&self, workload: &WorkloadId, host: &HostId, state: DomainState) -> bool {
        let Some(record) = self.belief.workloads.get(workload) else { return false };
        let Want::Stopped { at, how: StoppedHow::Shutdown | StoppedHow::Saved | StoppedHow::Destroyed } = record.want
        else {
            return false;
        };
        let just_stopped = record.host.as_ref() == Some(host) && self.now.since(at) <= LATE_WORD;
        state.is_live() && just_stopped && record.may_run_on.is_empty() && self.life_order(workload).is_none()
    }

    /// A start of ours is in doubt, and its host says that a person stopped it: that start came through.
    pub(crate) fn stopped_after_doubtful_start(&self, workload: &WorkloadId, host: &HostId) -> Option<StoppedHow> {
        let reason = self.off_there(workload, host)?;
        let since_start = self.tells_of_end_since_start(workload, host, reason);
        match self.whose(workload, host, reason) {
            Whose::Person(how) if since_start => Some(how),
            _ => None, // what is unclear a list tells (scenario 755)
        }
    }

    /// The last order there was a start or a revert, and no end before that order left the word that the host says now:
    /// - Where the host had nothing of it before, any word is new (scenario 793).
    /// - A word other than the one that the host had said before that order is new, too (scenarios 422, 792 and 832).
    /// - Of what an event tells it is known that it was after that order (scenario 870).
    /// - Our own stops may leave their word late: by force that is *destroyed*, and any other is its owner's, who was faster (scenario 667).
    pub(crate) fn tells_of_end_since_start(&self, workload: &WorkloadId, host: &HostId, reason: OffReason) -> bool {
        let Some(record) = self.belief.workloads.get(workload).filter(|it| it.want == Want::Running) else {
            return false;
        };
        let mut orders = self.orders_there(workload, host);
        let Some(last) = orders.next() else { return false };
        let OrderRecord { had_it, was_off, .. } = last;
        let reverts = last.may_force(); // a revert stops by force what runs, and starts it
        let starts = matches!(last.order.action, Action::Start { .. } | Action::Revert { .. });
        let senses = self.belief.workload_senses.get(workload);
        let ended_after = senses.and_then(|senses| senses.seen.get(host)).and_then(|seen| seen.after);
        let news = ended_after > Some(last.ordered_at);
        // A start that an operator asked for moves nothing (scenario 680).
        let moves = record.moving.as_ref().is_some_and(|moving| moving.from.is_some());
        if !starts || record.asked.is_some() || moves && !news {
            return false;
        }
        if record.host.as_ref() != Some(host) {
            // A person who took it elsewhere may have left it here as well (scenario 675).
            let newest = self.belief.acts_on(workload).next_back().is_some_and(|last| last.acts_at() == Some(host));
            // Also if what was new there was the first of some starts in a row (scenario 925).
            let row = orders.take_while(|before| matches!(before.order.action, Action::Start { .. }));
            return newest && (!*had_it || row.into_iter().any(|before| !before.had_it));
        }
        let since = record.trouble.as_ref().map(|trouble| trouble.since).unwrap_or_default();
        // What had left its word by then did not leave this one (scenario 870).
        let may_leave = |order: &&OrderRecord| match &order.ended {
            None => true,
            Some((at, Outcome::Unknown { .. })) => ended_after <= Some(*at + STOP_MAY_COME),
            Some((at, _)) => ended_after <= Some(*at + LATE_WORD),
        };
        let before: Vec<&OrderRecord> = orders.take_while(|it| it.ordered_at >= since).filter(may_leave).collect();
        let graceful = |order: &&OrderRecord| matches!(order.order.action, Action::Stop { how: StopHow::Graceful, .. });
        let leaves = match reason {
            OffReason::Destroyed => reverts || before.iter().any(|order| order.may_force()),
            OffReason::Shutdown => before.iter().any(graceful),
            _ => false,
        };
        !leaves && (news || was_off.is_some_and(|before| before != reason))
    }

    /// The order before the last one there was a migration to it that was given up a moment ago. The word of its target, which is
    /// destroyed, may come after a list that lacks it, and after a start that followed from that (scenario 966).
    pub(crate) fn may_tell_of_a_target(&self, workload: &WorkloadId, host: &HostId, reason: OffReason) -> bool {
        let given_up = |(at, outcome): &(Time, Outcome)| {
            !matches!(outcome, Outcome::Done { .. }) && self.now.since(*at) <= LATE_WORD
        };
        let before = self.orders_there(workload, host).nth(1);
        reason == OffReason::Destroyed
            && before.is_some_and(|before| {
                matches!(before.order.action, Action::Migrate { .. }) && before.ended.as_ref().is_some_and(given_up)
            })
    }

    /// Its migration failed, or its outcome is unknown, and the host that it was to leave says that a person stopped it: what
    /// arrives elsewhere leaves another word there (scenarios 314 and 417).
    pub(crate) fn shut_down_where_it_was_to_leave(&self, workload: &WorkloadId) -> Option<(HostId, StoppedHow)> {
        let Action::Migrate { from, .. } = &self.belief.acts_on(workload).next_back()?.order.action else {
            return None;
        };
        let reason = self.off_there(workload, from)?;
        match self.whose(workload, from, reason) {
            Whose::Person(how) => Some((from.clone(), how)),
            _ => None,
        }
    }

    /// Whether its migration came through is not known, and its target says that a person stopped it there: it had arrived.
    /// - Its target had nothing of it before, and says that it was shut down (scenario 791). Where a person took it elsewhere, it may have
    ///   been left as well (scenario 822).
    /// - A target that is given up is destroyed, which tells nothing; but its source says that it went, or has nothing of it any more
    ///   (scenario 833).
    pub(crate) fn stopped_where_it_arrived(&self, workload: &WorkloadId) -> Option<(HostId, StoppedHow)> {
        let last = self.belief.acts_on(workload).next_back()?;
        let (Action::Migrate { from, to, .. }, Some((_, Outcome::Unknown { .. }))) = (&last.order.action, &last.ended)
        else {
            return None;
        };
        let reason = self.off_there(workload, to)?;
        let went = || {
            let migrated = self.off_there(workload, from) == Some(OffReason::Migrated);
            migrated || self.host_spec(from).is_some() && !self.has_it(workload, from)
        };
        let arrived = match reason {
            OffReason::Shutdown => !last.had_it,
            OffReason::Destroyed => went(),
            _ => false,
        };
        match self.whose(workload, to, reason) {
            Whose::Person(how) if arrived => Some((to.clone(), how)),
            _ => None,
        }
    }

    /// A person took it from where it ran to this host, to which we never sent it, and stopped it here: its home says that it went, or
    /// has nothing of it any more (scenario 973).
    pub(crate) fn stopped_where_a_person_took_it(
        &self,
        workload: &WorkloadId,
        host: &HostId,
    ) -> Option<(HostId, StoppedHow)> {
        let home = self.belief.workloads.get(workload)?.host.as_ref().filter(|home| *home != host)?;
        let went = self.off_there(workload, home) == Some(OffReason::Migrated) || !self.has_it(workload, home);
        let reason = self.off_there(workload, host).filter(|_| went && self.host_spec(home).is_some())?;
        match self.whose(workload, host, reason) {
            Whose::Person(how) if self.orders_there(workload, host).next().is_none() => Some((host.clone(), how)),
            _ => None,
        }
    }

    /// How a person stopped it, if the host, asked after our start there was done, says so.
    pub(crate) fn stopped_after_sure_start(&self, workload: &WorkloadId, host: &HostId) -> Option<StoppedHow> {
        let reason = self.off_there(workload, host)?;
        let ran = |order: &OrderRecord| {
            let record = self.belief.workloads.get(workload);
            record.is_some_and(|it| it.began_on.as_ref() == Some(host) && it.runs_since > Some(order.ordered_at))
        };
        // Whether what a revert set back came up is not known; what it ended before left this word (scenario 909), or it was off
        // with this word before (scenario 929).
        let old_word = |order: &OrderRecord| reason == OffReason::Destroyed || order.was_off == Some(reason);
        let own_word = |order: &OrderRecord| order.left_its_mark && old_word(order) && !ran(order);
        let last = self.orders_there(workload, host).next();
        let started = last.is_some_and(|order| self.came_through(order) && !own_word(order));
        persons_stop(reason).filter(|_| started && self.whose(workload, host, reason) != Whose::Ours)
    }

    /// Our start there is known to be done, and the host has nothing of it any more: a person took it elsewhere or removed it (scenario 961).
    pub(crate) fn vanished_after_sure_start(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let started = self.orders_there(workload, host).next().is_some_and(|last| {
            // Not the target of a migration that was given up (scenario 962).
            let starts = matches!(last.order.action, Action::Start { .. } | Action::Revert { .. });
            starts && matches!(last.ended, Some((_, Outcome::Done { .. })))
        });
        started && !self.has_it(workload, host)
    }

    /// The trouble with what is off on that host and was started there by us: its own end, if our start is known to be done.
    pub(crate) fn fell_after_sure_start(&self, workload: &WorkloadId, host: &HostId) -> Cause {
        let seen = self.belief.workload_senses.get(workload).and_then(|senses| senses.seen.get(host));
        let reason = seen.and_then(|seen| match seen.state {
            DomainState::Off(reason) => Some(reason),
            _ => None,
        });
        let started = self.orders_there(workload, host).next().is_some_and(|order| self.came_through(order));
        let cause = reason.filter(|_| started).map(cause_of_end);
        cause
            .filter(|cause| matches!(cause, Cause::Crashed | Cause::Signalled | Cause::Panicked))
            .unwrap_or(Cause::StartFailed)
    }

    /// A start of ours that is done; or nothing else could have been running there, and its host reported since then that it runs,
    /// whatever became of the answer (scenarios 661 and 662).
    pub(crate) fn came_through(&self, order: &OrderRecord) -> bool {
        let Some((workload, host)) = order.order.action.workload().zip(order.acts_at()) else { return false };
        let seen_to_run = || {
            self.belief.workloads.get(workload).is_some_and(|record| {
                record.began_on.as_ref() == Some(host) && record.runs_since > Some(order.ordered_at)
            })
        };
        order.order.action.may_run_on().is_some()
            && match &order.ended {
                Some((_, Outcome::Done { .. })) => true,
                _ if order.left_its_mark => true,
                // A revert that was told as failed stops what ran before, and what runs since is another run (scenario 834).
                Some((_, Outcome::Failed { .. })) if matches!(order.order.action, Action::Revert { .. }) => {
                    seen_to_run()
                }
                _ => !order.doubted && seen_to_run(),
            }
    }

    /// An order of ours before the last one asked it to shut down there, and it may take its time.
    pub(crate) fn was_asked_to_shut_down(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let graceful = |order: &OrderRecord| matches!(order.order.action, Action::Stop { how: StopHow::Graceful, .. });
        self.orders_there(workload, host).nth(1).is_some_and(graceful)
    }

    /// As [`Engine::orders_there`], but for those of which nothing was sent: they leave no word (scenario 657).
    fn sent_there(&self, workload: &WorkloadId, host: &HostId) -> impl Iterator<Item = &OrderRecord> {
        self.orders_there(workload, host).filter(|order| match &order.ended {
            Some((_, Outcome::Failed { error })) => error.kind != FailureKind::Unreachable,
            _ => true,
        })
    }

    /// Orders that start or stop the workload at this host, the newest first.
    pub(crate) fn orders_there(&self, workload: &WorkloadId, host: &HostId) -> impl Iterator<Item = &OrderRecord> {
        self.belief.acts_on(workload).rev().filter(move |order| order.acts_at() == Some(host))
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

/// No person's doing, and not its host's: the guest ran until then.
pub(crate) fn fell_by_itself(reason: OffReason) -> bool {
    matches!(reason, OffReason::Crashed | OffReason::Signalled | OffReason::Panicked)
}

/// What the engine makes of a paused state.
pub(crate) fn pause_cause(reason: PauseReason) -> Option<Cause> {
    match reason {
        PauseReason::IoError | PauseReason::NoSpace => Some(Cause::IoError),
        PauseReason::Watchdog => Some(Cause::Hung),
        PauseReason::Person | PauseReason::Asleep | PauseReason::Busy | PauseReason::Other => None,
    }
}
