//! A host reports that a workload is off: it failed, a person stopped it, it went with its host, or an order of ours ended it.
//! `whose` judges which; here belief follows, and the incident or the alarm begins.

use crate::{
    belief::{OrderRecord, Seen, StoppedHow, Want, WorkloadRecord},
    engine::Engine,
    whose::{LATE_WORD, Whose, cause_of_end, fell_by_itself, persons_stop},
};
use mainstay_model::{
    Action, Cause, DomainState, EventKind, HostId, OffReason, Outcome, Severity, StopHow, Subject, Time, WorkloadId,
    spec::{PersonStop, Rung},
};

impl Engine {
    /// `last_seen`: when the host last said otherwise.
    pub(crate) fn went_off(
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
        // If it runs elsewhere, in sight, one of two was stopped (scenario 920).
        let one_of_two = record.may_run_on.iter().any(|other| other != host && self.runs_in_sight(workload, other));
        let doubtful = unsettled && !starting && !one_of_two;
        if let Some(how) = self.stopped_after_doubtful_start(workload, host).filter(|_| doubtful) {
            self.stopped_by_person(host, workload, how);
            if let Some(record) = self.belief.workloads.get_mut(workload) {
                record.ended_unseen = !was_live; // when that was is not known (scenario 674)
            }
            return;
        }
        // What is incoming is never shut down: it had arrived, whatever is not known of its migration.
        // Or it had nothing of it before (scenario 824).
        let arrived = || was_live || self.stopped_where_it_arrived(workload).is_some();
        let shut_down = reason == OffReason::Shutdown && unsettled && !starting && arrived();
        if let Some(how) = persons_stop(reason).filter(|_| shut_down)
            && self
                .orders_there(workload, host)
                .next()
                .is_some_and(|last| matches!(last.order.action, Action::Migrate { .. }))
        {
            return self.stopped_by_person(host, workload, how);
        }
        if (self.resuming_there(workload, host) || self.only_resumed(workload, host))
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
            let by_person = match self.whose(workload, host, reason) {
                Whose::Person(how) => Some(how),
                _ => None,
            };
            let since_start = self.tells_of_end_since_start(workload, host, reason);
            let faster = || reason == OffReason::Shutdown && self.forced_before_this_start(workload, host);
            let how = by_person.filter(|_| ran || starting && (since_start || faster()));
            if let (Some(how), Some(record)) = (how, self.belief.workloads.get_mut(workload)) {
                record.stopped_on = Some((host.clone(), how));
            }
            if unsettled && !starting && since_start && fell_by_itself(reason) {
                // That start came through, and what a person had stopped before it is over (scenario 867).
                self.trouble(workload, cause_of_end(reason));
                self.belief.workloads.get_mut(workload).expect("looked up above").stopped_on = None;
            }
            return;
        }
        if self.ran_unseen(workload, host, reason, was_live) {
            return self.fell_unseen(workload, host, cause_of_end(reason));
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
            && (forced && was_live || self.just_forced(workload, host))
            && (reason == OffReason::Shutdown && wanted && unasked)
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
            // Another host may run it, and does not tell: what is found out of it decides (scenario 309). If it tells that it runs there,
            // this end was before that (scenario 666); and a memory that was put back may lack a stop of our own (scenario 668).
            let runs = record.may_run_on.iter().any(|other| self.runs_in_sight(workload, other));
            let forgotten = self.belief.meta.restored().is_some() && last_seen.is_none();
            let in_question = forgotten && self.may_carry_out_what_was_forgotten(host);
            if !runs && let Some(record) = self.belief.workloads.get_mut(workload) {
                if !forgotten {
                    record.stopped_on = Some((host.clone(), how));
                }
                record.in_question |= in_question; // an operator is asked (scenario 868)
            }
        } else if (was_live || might_run_here) && wanted && !stopping && !known_trouble && !runs_elsewhere {
            if arriving && record.host.as_ref() != Some(host) {
                // The target of a migration, which never ran: libvirt ends it when the source is gone, and no person wanted that, unless
                // one stopped it there (scenario 816).
                match record.stopped_on.clone() {
                    Some((there, how)) => self.stopped_some_time_ago(&there, workload, how),
                    None => self.trouble(workload, Cause::HostLost),
                }
            } else if let Some((there, how)) = self.stopped_where_it_began(workload, host, last_seen) {
                self.stopped_some_time_ago(&there, workload, how);
            } else if matches!(reason, OffReason::Unknown | OffReason::Undefined)
                && let Some((there, how)) = self.stopped_elsewhere_since(workload, host, last_seen)
            {
                self.stopped_some_time_ago(&there, workload, how);
            } else {
                self.fell(host, workload, reason, whose);
            }
        }
        if reason == OffReason::Undefined {
            self.forget_if_removed(workload);
        }
        self.agenda.stir();
    }

    /// A host that was proved off reports only now that a person stopped the workload there: that was before the host went
    /// (scenarios 671 and 885).
    pub(crate) fn ended_before_its_host(&mut self, host: &HostId, workload: &WorkloadId, reason: OffReason) {
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let lost = record.trouble.as_ref().is_some_and(|it| it.cause == Cause::HostLost && it.started_at.is_none());
        let here = record.host.as_ref() == Some(host) && record.want == Want::Running;
        let unasked = record.asked.is_none() && record.moving.is_none();
        let Whose::Person(how) = self.whose(workload, host, reason) else { return };
        if !lost || !here || !unasked {
            return;
        }
        if record.may_run_on.is_empty() && self.life_order(workload).is_none() {
            self.stopped_by_person(host, workload, how);
            if let Some(record) = self.belief.workloads.get_mut(workload) {
                record.trying = None;
            }
        } else if let Some(record) = self.belief.workloads.get_mut(workload) {
            record.stopped_on = Some((host.clone(), how)); // if it comes up nowhere, it is off as a person wants it
        }
        self.agenda.touch(workload);
    }

    /// The last order there is a start, and our stop by force before it was done a moment ago, and no shutdown was asked for. Another
    /// word than *destroyed* shows that its owner was faster (scenario 905).
    fn forced_before_this_start(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let asked = self.belief.workloads.get(workload).is_none_or(|record| record.asked.is_some());
        let mut orders = self.orders_there(workload, host);
        let starts = orders.next().is_some_and(|last| matches!(last.order.action, Action::Start { .. }));
        let forced = orders.next().is_some_and(|before| {
            let done = before.ended.as_ref().filter(|(_, outcome)| matches!(outcome, Outcome::Done { .. }));
            matches!(before.order.action, Action::Stop { how: StopHow::Force, .. })
                && done.is_some_and(|(at, _)| self.now.since(*at) <= LATE_WORD)
        });
        let shut_down =
            orders.next().is_some_and(|it| matches!(it.order.action, Action::Stop { how: StopHow::Graceful, .. }));
        starts && forced && !shut_down && !asked
    }

    /// Our stop by force there was done a moment ago, and nothing was ordered there since: its word can come after its answer
    /// (scenario 813).
    fn just_forced(&self, workload: &WorkloadId, host: &HostId) -> bool {
        self.orders_there(workload, host).next().is_some_and(|last| {
            let done = last.ended.as_ref().filter(|(_, outcome)| matches!(outcome, Outcome::Done { .. }));
            matches!(last.order.action, Action::Stop { how: StopHow::Force, .. })
                && done.is_some_and(|(at, _)| self.now.since(*at) <= LATE_WORD)
        })
    }

    /// A person had stopped it here, and its host says now that it crashed: it was started meanwhile, and not seen to run. So it was if
    /// another host says so whose kernel began to run after that stop (scenario 632): no host knows of an end before its boot.
    fn ran_unseen(&self, workload: &WorkloadId, host: &HostId, reason: OffReason, was_live: bool) -> bool {
        let Some(record) = self.belief.workloads.get(workload) else { return false };
        let Want::Stopped { at, how: StoppedHow::Shutdown | StoppedHow::Saved | StoppedHow::Destroyed } = record.want
        else {
            return false;
        };
        let booted = self.belief.hosts.get(host).and_then(|record| record.booted_at);
        let booted_since = booted.is_some_and(|booted| booted > at + self.boot_time_off_by(booted));
        let here = record.host.as_ref() == Some(host) || booted_since;
        let ended_here = here && !record.may_run_on.contains(host) && !was_live;
        let crashed = fell_by_itself(reason);
        ended_here && crashed && !record.in_question
    }

    /// As good as seen to run: it is wanted, and brought back as what crashed (scenario 437).
    pub(crate) fn fell_unseen(&mut self, workload: &WorkloadId, host: &HostId, cause: Cause) {
        let Some(record) = self.belief.workloads.get_mut(workload) else { return };
        record.want = Want::Running;
        record.host = Some(host.clone());
        record.left.remove(host);
        let text = format!("it was started on {host} since a person stopped it");
        self.note(EventKind::Seen, Severity::Green, Subject::Workload(workload.clone()), text);
        self.trouble(workload, cause);
        self.agenda.stir();
    }

    /// A host that was proved off had said, and that comes only now, that a workload runs there which a person had stopped: it was
    /// started since, and went with its host (scenario 876).
    pub(crate) fn ran_before_its_host_went(&mut self, host: &HostId, workload: &WorkloadId, said_at: Time) {
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let Want::Stopped { at, how: StoppedHow::Shutdown | StoppedHow::Saved | StoppedHow::Destroyed } = record.want
        else {
            return;
        };
        let here = record.host.as_ref() == Some(host) && record.may_run_on.is_empty() && !record.in_question;
        if here && said_at > at && self.life_order(workload).is_none() {
            self.fell_unseen(workload, host, Cause::HostLost);
        }
    }

    /// It is missed, and its host says that a person stopped it. Such answers count:
    /// - The host was called off, and lists it again. A host that was off does not know how a guest ended: it never was off
    ///   (scenario 408).
    /// - The host said before that it had ended by itself. It ran in between: that was an old report (scenario 411).
    /// - It had gone with its host, and that host said before that it ended in another way: its host started it (scenario 423).
    pub(crate) fn stopped_in_trouble(
        &mut self,
        host: &HostId,
        workload: &WorkloadId,
        reason: OffReason,
        before: Option<DomainState>,
    ) {
        let Whose::Person(how) = self.whose(workload, host, reason) else { return };
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let Some(trouble) = record.trouble.as_ref().filter(|trouble| trouble.started_at.is_none()) else { return };
        // A host knows of no end before its boot: it ran there since, and a person ended it (scenarios 526, 527 and 550).
        let booted = self.belief.hosts.get(host).and_then(|host| host.booted_at);
        // But not if it ran elsewhere after that boot (scenario 935).
        let elsewhere = record.runs_since.filter(|_| record.began_on.as_ref() != Some(host));
        let since_boot = before.is_none() && booted > Some(trouble.well_until).max(elsewhere);
        let lost = since_boot
            || match before {
                // No host leaves the word *destroyed* when it goes.
                None if trouble.cause == Cause::HostShutdown => reason == OffReason::Destroyed,
                None => trouble.cause == Cause::HostLost && record.left.contains(host),
                Some(DomainState::Off(before)) => match trouble.cause {
                    Cause::Crashed | Cause::Signalled => persons_stop(before).is_none(),
                    Cause::HostShutdown => before != reason,
                    _ => false,
                },
                Some(_) => false,
            };
        let here = (since_boot || record.host.as_ref() == Some(host)) && record.may_run_on.is_empty();
        let before_boot = |last: &OrderRecord| {
            since_boot && booted.is_some_and(|booted| last.ordered_at + self.boot_time_off_by(booted) < booted)
        };
        let last = self.orders_there(workload, host).next().filter(|last| !before_boot(last));
        let stopped_by_us = last.is_some_and(|last| {
            // A start that was told as failed came through if its host reported since that it runs (scenario 942).
            let through = matches!(last.ended, Some((_, Outcome::Done { .. }))) || self.came_through(last);
            matches!(last.order.action, Action::Stop { .. }) || !through
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
                record.ended_unseen = true; // when that was is not known (scenario 893)
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
        if self.belief.meta.restored().is_some() {
            return None; // a stop of our own may be forgotten (scenario 668)
        }
        let record = self.belief.workloads.get(workload)?;
        let senses = self.belief.workload_senses.get(workload)?;
        let since =
            |seen: &Seen| last_seen.is_some_and(|last| seen.since > last && (seen.ended || seen.not_before > last));
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

    /// A person stopped it where it began to run last, after this host was seen to run it: how it ended here was before that
    /// (scenario 798).
    fn stopped_where_it_began(
        &self,
        workload: &WorkloadId,
        host: &HostId,
        last_seen: Option<Time>,
    ) -> Option<(HostId, StoppedHow)> {
        let record = self.belief.workloads.get(workload)?;
        let (there, _) = record.stopped_on.as_ref().filter(|(there, _)| there != host)?;
        // If not in this term, an earlier one saw it there last (scenario 975).
        let known_before = || self.belief.host_senses.get(host)?.known_before;
        let last_seen = last_seen.or_else(known_before);
        let newest =
            record.began_on.as_ref() == Some(there) && last_seen.is_some_and(|seen| record.runs_since > Some(seen));
        record.stopped_on.clone().filter(|_| newest)
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

    /// A person stopped it, and that is acted on only now: when it was is not known any more, and its host may be shut down since
    /// (scenario 916).
    pub(crate) fn stopped_some_time_ago(&mut self, host: &HostId, workload: &WorkloadId, how: StoppedHow) {
        self.stopped_by_person(host, workload, how);
        if let Some(record) = self.belief.workloads.get_mut(workload) {
            record.stopped_on = None;
            record.ended_unseen = true;
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
            if record.host.as_ref() != Some(host) {
                // It ran there last: what becomes of its host before that says nothing of it (scenario 589).
                record.host = Some(host.clone());
                record.left.remove(host);
            }
        }
    }

    /// What a person stopped, and a policy that is gone would have powered on, stays off.
    pub(crate) fn respect_stops(&mut self) {
        let left_off = |workload: &WorkloadId| {
            self.rule(workload).is_some_and(|rule| rule.policy.on_person_stop == PersonStop::Alarm)
        };
        let powered_on = self.belief.workloads.values().filter(|record| {
            let trouble = record.trouble.as_ref();
            trouble.is_some_and(|it| it.cause == Cause::PersonStop && !it.by_revert && it.started_at.is_none())
                && record.asked.is_none()
                && left_off(&record.workload)
        });
        let in_doubt = |record: &WorkloadRecord| {
            // Or it is being started (scenario 953).
            let starting = |host: &HostId| self.starting_there(&record.workload, host);
            let hangs = |host: &HostId| record.pending_on.contains(host) || record.unsettled.contains_key(host);
            record.may_run_on.iter().all(|host| hangs(host) || starting(host))
        };
        let powered_on: Vec<(WorkloadId, HostId, bool)> = powered_on
            .filter(|record| in_doubt(record))
            .filter_map(|record| Some((record.workload.clone(), record.host.clone()?, record.may_run_on.is_empty())))
            .collect();
        for (workload, host, runs_nowhere) in powered_on {
            let seen = self.belief.workload_senses.get(&workload).and_then(|senses| senses.seen.get(&host));
            let how = seen.and_then(|seen| match seen.state {
                DomainState::Off(reason) => persons_stop(reason),
                _ => None,
            });
            let how = how.unwrap_or(StoppedHow::Shutdown);
            if runs_nowhere {
                self.stopped_by_person(&host, &workload, how);
            } else if let Some(record) = self.belief.workloads.get_mut(&workload) {
                record.stopped_on = Some((host, how)); // until it is known what came of the start (scenario 809)
            }
        }
    }
}
