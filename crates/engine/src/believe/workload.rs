//! What the signs of a workload amount to: well, in trouble and why, well again.

use crate::{
    belief::{HostPhase, Seen, Sight, Trouble, Want, WorkloadRecord, WorkloadSenses},
    engine::Engine,
    whose::{cause_of_end, pause_cause},
};
use mainstay_model::{
    Cause, DomainState, EventKind, HostId, IncidentCause, OffReason, Severity, Span, Subject, Time, WorkloadId,
    spec::RecoveryPolicy,
};

/// A workload that left a host by a migration we did not order must appear elsewhere within this.
const MIGRATION_GRACE: Span = Span::secs(10);
/// So many reboots in a row without an answer are no update being installed.
const BOOT_LOOP: u32 = 5;

impl Engine {
    pub(super) fn believe_workload(&mut self, workload: &WorkloadId) {
        self.follow(workload);
        let Some(record) = self.belief.workloads.get(workload) else { return };
        if record.want != Want::Running || self.belief.cut_off {
            return;
        }
        if record.trouble.as_ref().is_none_or(|trouble| trouble.started_at.is_some())
            && record.trying.is_none()
            && record.unsettled.is_empty()
            && self.life_order(workload).is_none()
            && let Some((cause, since)) = self.new_trouble(workload)
        {
            self.trouble_since(workload, cause, since);
        }
        self.put_on_record(workload);
        self.note_recovery(workload);
    }

    /// Trouble that began while the workload was left alone gets its incident when it is managed again (scenario 332).
    fn put_on_record(&mut self, workload: &WorkloadId) {
        let Some(record) = self.belief.workloads.get(workload).filter(|record| record.incident.is_none()) else {
            return;
        };
        let Some(trouble) = record.trouble.as_ref().filter(|trouble| trouble.started_at.is_none()) else { return };
        let (cause, well_until) = (IncidentCause::Workload(trouble.cause), trouble.well_until);
        if self.manages(workload) {
            self.open_incident(Subject::Workload(workload.clone()), cause, well_until);
        }
    }

    /// It is seen running in one place, and can run nowhere else: that is its host, whatever a late report of another host
    /// made of it (scenario 184).
    fn follow(&mut self, workload: &WorkloadId) {
        let Some(host) = self.runs_on(workload).cloned() else { return };
        let Some(record) = self.belief.workloads.get(workload).filter(|it| it.host.as_ref() != Some(&host)) else {
            return;
        };
        if !record.unsettled.is_empty() || self.life_order(workload).is_some() {
            return;
        }
        let record = self.belief.workloads.get_mut(workload).expect("looked up above");
        record.left.remove(&host);
        if record.kept_on.as_ref().is_some_and(|kept| *kept != host) {
            record.kept_on = None;
        }
        record.host = Some(host);
    }

    /// What is wrong with a workload that should run, if its one possible host is in sight.
    fn new_trouble(&self, workload: &WorkloadId) -> Option<(Cause, Time)> {
        let record = self.belief.workloads.get(workload)?;
        let senses = self.belief.workload_senses.get(workload)?;
        // A host that comes into sight again says how it is there, not since when (scenario 331).
        let well_until = |seen: Time| self.last_well(workload).map_or(seen, |well| well.min(seen));
        let Some(host) = record.may_run_on.first() else {
            // Off everywhere, wanted, and nobody brings it up: it left by somebody else's migration and did not arrive, or
            // it went off while it was left alone.
            let gone_since = senses.seen.values().map(|seen| seen.since).max();
            // It may have come up from its last trouble a moment ago (scenario 837).
            let missed =
                record.moving.is_none() && self.now.since(gone_since.unwrap_or(record.known_since)) >= MIGRATION_GRACE;
            let home = record.host.as_ref();
            let cause = match home.and_then(|host| senses.seen.get(host)).map(|seen| seen.state) {
                // It is wanted, so it was shut down with its host (scenario 332).
                Some(DomainState::Off(OffReason::Shutdown | OffReason::Saved)) => Cause::HostShutdown,
                Some(DomainState::Off(reason)) => cause_of_end(reason),
                _ if self.is_proved_off(home) => Cause::HostLost,
                _ if self.is_unlisted(home) => return None, // its home tells soon what became of it
                _ => Cause::Vanished,
            };
            // That it was off on another host before it ran on its home says nothing of its end (scenario 483).
            let ended = home.and_then(|host| senses.seen.get(host)).map(|seen| seen.since);
            let ended = ended.or_else(|| gone_since.filter(|_| self.last_well(workload).is_none()));
            return missed.then(|| (cause, well_until(ended.unwrap_or(self.now))));
        };
        if record.may_run_on.len() > 1 || self.sight(host) != Sight::Heard {
            return None;
        }
        let Some(seen) = senses.seen.get(host) else {
            // Its host lists it not at all, and a start of ours that was never answered may come there: after it was left alone,
            // or an operator accepted a memory put back, nothing else would say that it is missed (scenario 430).
            let missed = record.pending_on.contains(host) && !self.is_unlisted(Some(host));
            return missed.then(|| (Cause::StartFailed, well_until(self.now)));
        };
        match seen.state {
            DomainState::Running => {
                let policy = self.recovery(workload);
                let last_sign = senses.last_sign()?;
                if let Some(since) = senses.reboots_since().filter(|since| *since + policy.answer_within <= self.now) {
                    return Some((Cause::Hung, since));
                }
                (senses.hung_at(record.answers, policy)? <= self.now).then_some((Cause::Hung, last_sign))
            }
            DomainState::Paused(reason) => Some((pause_cause(reason)?, well_until(seen.since))),
            DomainState::Panicked => Some((Cause::Panicked, well_until(seen.since))),
            // Left alone for a while, with a start of ours that was never answered: it is missed again.
            DomainState::Off(_) if record.pending_on.contains(host) => {
                Some((Cause::StartFailed, well_until(seen.since)))
            }
            DomainState::Off(_) => None,
        }
    }

    fn is_proved_off(&self, host: Option<&HostId>) -> bool {
        let record = host.and_then(|host| self.belief.hosts.get(host));
        record.is_some_and(|record| matches!(record.phase, HostPhase::Off { .. }))
    }

    /// The host is in use, and has not listed its workloads since it came into sight.
    fn is_unlisted(&self, host: Option<&HostId>) -> bool {
        let senses =
            host.filter(|host| self.host_spec(host).is_some()).and_then(|host| self.belief.host_senses.get(host));
        senses.is_some_and(|senses| senses.inventory.is_none())
    }

    /// Trouble that began now.
    pub(crate) fn trouble(&mut self, workload: &WorkloadId, cause: Cause) {
        // If an end was not seen in this term, it may have come at any time since the last one.
        // What never ran in this term is down since an operator asked for it (scenario 992).
        let asked = || self.belief.workload_senses.get(workload).and_then(|senses| senses.asked_to_start);
        let well_until = self.last_well(workload).or_else(asked).or(self.belief.meta.alive_before).unwrap_or(self.now);
        self.trouble_since(workload, cause, well_until);
    }

    /// The last moment at which a workload is known to have been well: its last answer; if it is not asked, any sign of life, or
    /// its host's last word that it runs.
    pub(crate) fn last_well(&self, workload: &WorkloadId) -> Option<Time> {
        let senses = self.belief.workload_senses.get(workload)?;
        let moved = senses.activity.and_then(|activity| activity.moved_from);
        senses.answered_until.or_else(|| moved.max(senses.ran_until))
    }

    pub(crate) fn trouble_since(&mut self, workload: &WorkloadId, cause: Cause, last_sign: Time) {
        let subject = Subject::Workload(workload.clone());
        if self.was_stopped_before(workload, cause) {
            return;
        }
        let Some(record) = self.belief.workloads.get(workload) else { return };
        // It may have answered nobody for long before it hung or ended: it was as little there then as it is now.
        let senses = self.belief.workload_senses.get(workload);
        let answered = senses.and_then(|senses| senses.answered_until).filter(|_| record.answers);
        let well_until = answered.map_or(last_sign, |answered| answered.min(last_sign));
        let well_until =
            senses.and_then(|senses| senses.wanted_since).map_or(well_until, |since| well_until.max(since));
        let tried = record.attempts.last().filter(|_| cause == Cause::StartFailed).and_then(|last| last.host.clone());
        let host = tried.or_else(|| record.host.clone());
        let relapse = record.trouble.as_ref().is_some_and(|trouble| trouble.started_at.is_some());
        let first_well_until = record.trouble.as_ref().map_or(well_until, |trouble| trouble.well_until);
        let in_incident = record.incident.is_some();
        let managed = self.manages(workload);
        if in_incident {
            self.down_again(workload, well_until);
        } else if managed {
            self.open_incident(subject.clone(), IncidentCause::Workload(cause), well_until);
        }
        let place = host.map(|host| format!(" on {host}")).unwrap_or_default();
        let again = if relapse { " again" } else { "" };
        let severity = if managed { Severity::Red } else { Severity::Yellow };
        self.note(EventKind::Believed, severity, subject, format!("{cause}{place}{again}"));
        if relapse {
            self.blame_point(workload);
        }
        if cause == Cause::Hung {
            self.blame_points_since(workload, last_sign);
        }
        let now = self.now;
        let record = self.belief.workloads.get_mut(workload).expect("looked up above");
        record.trouble = Some(Trouble {
            cause,
            since: now,
            well_until: first_well_until,
            started_at: None,
            pictured: false,
            exhausted: false,
            by_revert: false,
        });
        record.trying = None;
        record.moving = None;
        self.agenda.touch(workload);
    }

    /// It is off now for a reason that says nothing of persons; but it was last seen to run where a person stopped it, while
    /// another host did not tell.
    fn was_stopped_before(&mut self, workload: &WorkloadId, cause: Cause) -> bool {
        let untold = matches!(cause, Cause::HostLost | Cause::HostRestarted | Cause::StartFailed | Cause::Vanished);
        // Or it crashed where it ran before, and ran and was stopped elsewhere since (scenario 892).
        let fell = matches!(cause, Cause::Crashed | Cause::Signalled | Cause::Panicked);
        let elsewhere = |record: &WorkloadRecord| {
            record.stopped_on.as_ref().is_some_and(|(on, _)| record.host.as_ref() != Some(on))
        };
        let record = self.belief.workloads.get_mut(workload);
        let Some(record) = record.filter(|record| untold || fell && elsewhere(record)) else { return false };
        if !record.may_run_on.is_empty() || record.want != Want::Running {
            return false;
        }
        let Some((host, how)) = record.stopped_on.take() else { return false };
        self.stopped_some_time_ago(&host, workload, how);
        true
    }

    /// A workload that was in trouble and runs: for the incident's story, and when it has been well long enough the
    /// trouble is over.
    fn note_recovery(&mut self, workload: &WorkloadId) {
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let Some(host) = self.runs_on(workload).cloned() else { return };
        if self.sight(&host) != Sight::Heard || self.doubtful(&host) {
            return;
        }
        if record.asked.as_ref().is_some_and(|asked| !asked.in_doubt) {
            return; // it is to be stopped yet, for a revert or a restart
        }
        if !self.seen_in_sight(workload, &host) {
            return; // what was heard of it is of before its host was out of sight (scenario 469)
        }
        let Some(trouble) = &record.trouble else {
            if record.incident.is_some() && self.is_well(workload) {
                self.was_spared(workload, &host);
            }
            return;
        };
        let senses = self.belief.workload_senses.get(workload);
        let started_at = match trouble.started_at {
            Some(started_at) => started_at,
            None if self.runs_again(workload) => self.now,
            None => return,
        };
        // It may have fallen more than once since then: the last time counts (scenario 744).
        let well_until = self.fell_at(workload).map_or(trouble.well_until, |at| at.max(trouble.well_until));
        let answered = senses.and_then(|senses| senses.answered_since);
        // A hang that ended by itself ended now; what it answered before says nothing.
        let silent = senses.is_some_and(|senses| senses.silent().is_some());
        let answered = answered.filter(|at| *at >= well_until || !silent);
        // What was not started since its last fall ran on all the while (scenario 819), unless it was asked in vain (scenario 941).
        let in_vain = senses.and_then(WorkloadSenses::asked_in_vain) > Some(started_at.max(well_until));
        let ran_on = if in_vain { self.now } else { started_at.max(well_until) };
        let answering = answered.map(|at| if at < well_until { ran_on } else { at });
        let settled = !record.answers || answering.is_some();
        let stable_for = self.recovery(workload).stable_after;
        if trouble.started_at.is_none() {
            self.belief
                .workloads
                .get_mut(workload)
                .expect("looked up above")
                .trouble
                .as_mut()
                .expect("looked up above")
                .started_at = Some(started_at);
        }
        self.tell_running(workload, &host, started_at, answering);
        if settled && self.now.since(started_at) >= stable_for {
            let record = self.belief.workloads.get_mut(workload).expect("looked up above");
            record.trouble = None;
            record.reverted_to = None;
            self.belief.workload_senses.entry(workload.clone()).or_default().resumed = None;
            self.note(
                EventKind::Believed,
                Severity::Green,
                Subject::Workload(workload.clone()),
                format!("well again on {host}"),
            );
            self.leave_incident_of(workload);
        }
    }

    /// Its host has told of it since it was silent last.
    pub(crate) fn seen_in_sight(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let seen = self.belief.workload_senses.get(workload).and_then(|senses| senses.seen.get(host));
        let senses = self.belief.host_senses.get(host);
        let before = senses.and_then(|senses| senses.heard_before);
        // What was pushed while the controller slept may be of any time before that (scenario 586).
        let listed = senses.and_then(|senses| senses.inventory);
        // And what was seen before that sleep is as old (scenario 906).
        let slept = |seen: &Seen| self.asleep_at < self.awake_since && seen.at <= self.asleep_at;
        seen.is_some_and(|seen| !slept(seen) && before.is_none_or(|before| seen.at > before && listed > Some(before)))
    }

    /// True if it executes again although nobody told that a start was done: the start's outcome was lost or overtaken, or
    /// a person was faster. Only a hang does not end by being seen running; it takes an answer or another start.
    pub(crate) fn runs_again(&self, workload: &WorkloadId) -> bool {
        let record = self.belief.workloads.get(workload);
        let Some(trouble) = record.filter(|record| record.trying.is_none()).and_then(|record| record.trouble.as_ref())
        else {
            return false;
        };
        if self.life_order(workload).is_some() {
            return false; // its outcome tells, and it may be stopped first
        }
        let Some(senses) = self.belief.workload_senses.get(workload) else { return false };
        let answers = senses.heard() > Some(trouble.since) && senses.silent().is_none();
        trouble.cause != Cause::Hung || answers || senses.up_since > Some(trouble.since)
    }

    /// True while a host counts as lost or off: what was seen there before says nothing.
    pub(crate) fn doubtful(&self, host: &HostId) -> bool {
        self.belief
            .hosts
            .get(host)
            .is_none_or(|record| !matches!(record.phase, HostPhase::Online | HostPhase::Returning))
    }

    /// Where it is seen running, if it is certain that it runs nowhere else.
    pub(crate) fn runs_on(&self, workload: &WorkloadId) -> Option<&HostId> {
        let record = self.belief.workloads.get(workload)?;
        let host = record.may_run_on.first().filter(|_| record.may_run_on.len() == 1)?;
        let seen = self.belief.workload_senses.get(workload)?.seen.get(host)?;
        (seen.state == DomainState::Running).then_some(host)
    }

    /// Running in sight, not in trouble, not silent.
    pub(crate) fn is_well(&self, workload: &WorkloadId) -> bool {
        let Some(record) = self.belief.workloads.get(workload) else { return false };
        let Some(host) = self.runs_on(workload) else { return false };
        let in_trouble = record.trouble.as_ref().is_some_and(|trouble| trouble.started_at.is_none());
        let senses = self.belief.workload_senses.get(workload);
        // That the other one of two answered says nothing of this one (scenario 940).
        let unheard = |it: &WorkloadSenses| it.one_of_two_answered.is_some() && it.heard() <= it.one_of_two_answered;
        let silent = record.answers
            && senses.is_some_and(|it| it.answered_since.is_none() || it.silent().is_some() || unheard(it));
        self.sight(host) == Sight::Heard && !in_trouble && !silent && record.unsettled.is_empty()
    }

    /// True if Mainstay acts for it.
    pub(crate) fn manages(&self, workload: &WorkloadId) -> bool {
        let told_not_to = self.belief.workloads.get(workload).is_none_or(|record| record.unprotected);
        !told_not_to
            && self.rule(workload).is_some_and(|rule| rule.policy.managed == mainstay_model::spec::Managed::Yes)
    }
}

impl WorkloadSenses {
    /// When it last gave any sign of life: an answer, a write, a packet sent, or its start.
    pub(crate) fn last_sign(&self) -> Option<Time> {
        let moved = self.activity.map(|activity| activity.moved_at);
        self.heard().into_iter().chain(moved).chain(self.up_since).max()
    }

    /// Since when it boots and boots and never answers, if it does; however busy it looks.
    pub(crate) fn reboots_since(&self) -> Option<Time> {
        self.silent()?;
        self.heard().max(self.up_since).filter(|_| self.reboots >= BOOT_LOOP)
    }

    /// When it will count as hung if nothing is heard until then. `None`: it can't be judged, since it never answered, or
    /// nobody asked in vain. A guest that still writes or sends is not hung, only unresponsive.
    pub(crate) fn hung_at(&self, ever_answered: bool, policy: &RecoveryPolicy) -> Option<Time> {
        let silent = self.silent().is_some();
        if !ever_answered || !silent {
            return None;
        }
        let last_sign = self.last_sign().max(self.watched_since)?;
        let patience = if self.answered_since.is_some() { policy.hung_after } else { policy.answer_within };
        Some(last_sign + patience)
    }
}
