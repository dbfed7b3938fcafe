//! What comes of orders about workloads: started, stopped, migrated, or nobody knows.

use crate::{
    belief::{AskedFor, HostPhase, MoveWhy, Moving, Seen, StoppedHow, Unsettled, Want},
    engine::Engine,
    whose::{Whose, persons_stop},
};
use mainstay_model::{
    Cause, DomainState, EventKind, Failure, FailureKind, HostId, OffReason, Outcome, Proof, Severity, Span, StopHow,
    Subject, Time, WorkloadId,
};

/// A workload that could not be moved, live or cold, is left where it is for so long: what keeps it there lasts.
pub(crate) const MOVE_PAUSE: Span = Span::minutes(5);
/// A workload that did not stop when a person asked is asked again after this long.
const STOP_PAUSE: Span = Span::minutes(1);
/// One that could not be stopped by force, after this: what holds it may last a while.
const FORCE_PAUSE: Span = Span::secs(15);
/// Housekeeping that failed is tried again after this long.
const TIDY_PAUSE: Span = Span::minutes(1);
/// What a host refused to remove it is asked to remove again after this long.
const REFUSED_PAUSE: Span = Span::minutes(60);
/// A migration of unknown outcome that did not begin within this does not begin any more.
const MIGRATION_MAY_HAPPEN: Span = Span::secs(90);

/// A start that was sent over a connection that was given up arrives within this, or never: for so long TCP tries.
pub(super) const LATE_START: Span = Span::secs(100);

/// An order as it left.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    /// When it was ordered.
    pub since: Time,
    /// Until when it may still be carried out.
    pub until: Time,
    /// The workload might have run on the order's target before.
    pub doubted: bool,
}

impl Engine {
    /// Done, so it was running there at some moment after the order. What the host said since then counts more; but a list
    /// that was asked for before this was heard, and arrives after it, may be of the time before the start.
    pub(super) fn started(&mut self, workload: &WorkloadId, host: &HostId, since: Time) {
        let held_at = self.held_at(self.now).max(since);
        let senses = self.belief.workload_senses.entry(workload.clone()).or_default();
        let mut up_since = self.now;
        match senses.seen.get(host) {
            Some(seen) if seen.at > since && !seen.state.is_live() => {
                // It was started as was asked; whether it still runs its host's list shows (scenario 587).
                if let Some(record) = self.belief.workloads.get_mut(workload) {
                    record.moving = record.moving.take().filter(|moving| !moving.cold);
                }
                return self.unsettle(workload, host, self.now);
            }
            // Its host said so before the answer; that may come much later, or not at all (scenario 622).
            Some(seen) if seen.state == DomainState::Running && seen.since > since => up_since = seen.since,
            Some(seen) if seen.state == DomainState::Running => {}
            _ => {
                let autostart = senses.seen.get(host).is_some_and(|seen| seen.autostart);
                senses.seen.insert(
                    host.clone(),
                    Seen {
                        state: DomainState::Running,
                        at: self.now,
                        since: self.now,
                        not_before: self.now,
                        after: None,
                        ended: false,
                        autostart,
                    },
                );
                senses.up_since = Some(self.now);
                senses.ran_until = senses.ran_until.max(Some(held_at));
                senses.answered_since = None;
                senses.activity = None;
                senses.reboots = 0;
            }
        }
        self.belief.may_run(workload, host);
        let Some(record) = self.belief.workloads.get_mut(workload) else { return };
        record.order_worked(host);
        record.runs_since = Some(up_since);
        record.began_on = Some(host.clone());
        record.ended_unseen = false;
        record.stopped_on = None;
        // A start that hung there is not this one, and can come as long as TCP tries (scenario 468).
        let hung = record.unsettled.remove(host).is_some_and(|open| open.told_to_start);
        let hung = record.pending_on.remove(host) | hung;
        if let Some(trouble) = &mut record.trouble {
            trouble.started_at = Some(up_since);
        }
        if hung {
            self.one_more_may_come(workload, host);
        }
    }

    /// It runs there, and another start there that was never answered can come yet.
    pub(super) fn one_more_may_come(&mut self, workload: &WorkloadId, host: &HostId) {
        let now = self.now;
        if let Some(record) = self.belief.workloads.get_mut(workload) {
            record.late_on.retain(|_, until| *until > now);
            record.late_on.insert(host.clone(), now + LATE_START);
        }
    }

    /// A revert is done: the process seen there before is gone, and what it answered says nothing of the new one, whose events may
    /// come later than this (scenario 350).
    pub(super) fn runs_anew(&mut self, workload: &WorkloadId, host: &HostId, since: Time) {
        let (now, held_at) = (self.now, self.held_at(self.now).max(since));
        let Some(senses) = self.belief.workload_senses.get_mut(workload) else { return };
        let old = |seen: &&mut Seen| seen.state == DomainState::Running && seen.since <= since;
        if let Some(seen) = senses.seen.get_mut(host).filter(old) {
            seen.since = now;
            senses.up_since = Some(now);
            senses.ran_until = senses.ran_until.max(Some(held_at));
            senses.answered_since = None;
            senses.activity = None;
            senses.reboots = 0;
        }
    }

    pub(super) fn start_ended(&mut self, workload: &WorkloadId, host: &HostId, sent: Sent, outcome: Outcome) {
        // Of a start that failed, our own stop before it may be heard late, and that is nobody's will.
        let may_have_run = !matches!(outcome, Outcome::Failed { .. });
        // An earlier start there may have come through, and been stopped, before this one: a list tells (scenario 450).
        let two_starts = sent.doubted && matches!(outcome, Outcome::Done { .. });
        if may_have_run && !two_starts && self.stopped_meanwhile(workload, host, sent.since) {
            // What came up and ended may have been of the start before this one, and of this one no word is heard yet (scenario 480).
            if sent.doubted {
                self.unsettle(workload, host, sent.until);
            }
            return;
        }
        match outcome {
            Outcome::Done { .. } => {
                self.started(workload, host, sent.since);
            }
            Outcome::Failed { error } => self.start_failed(workload, host, error, sent.doubted),
            Outcome::Unknown { .. } => self.start_unknown(workload, host, sent.until),
        }
    }

    /// True if it came up there after that, and a list said so too: an event may be of an earlier start.
    pub(super) fn came_up_since(&self, workload: &WorkloadId, host: &HostId, since: Time) -> bool {
        let listed = self.belief.host_senses.get(host).and_then(|senses| senses.inventory);
        let senses = self.belief.workload_senses.get(workload);
        senses.and_then(|senses| senses.seen.get(host)).is_some_and(|seen| {
            seen.state == DomainState::Running && seen.since > since && listed.is_some_and(|at| at > seen.since)
        })
    }

    /// In an earlier term its host reported after that that it runs: true if so, and then what was tried has worked.
    pub(super) fn came_up_in_another_term(&mut self, workload: &WorkloadId, host: &HostId, since: Time) -> bool {
        let Some(record) = self.belief.workloads.get(workload) else { return false };
        let ran = record.began_on.as_ref() == Some(host) && record.runs_since > Some(since);
        if !ran || !record.may_run_on.contains(host) || record.pending_on.contains(host) {
            return false;
        }
        let Some(record) = self.belief.workloads.get_mut(workload) else { return false };
        record.order_worked(host);
        let runs_since = record.runs_since;
        if let Some(trouble) = &mut record.trouble {
            trouble.started_at = runs_since;
        }
        true
    }

    /// It may run there, or be started there yet, by a call that hangs.
    pub(crate) fn start_unknown(&mut self, workload: &WorkloadId, host: &HostId, until: Time) {
        self.unsettle(workload, host, until);
        if let Some(open) = self.belief.workloads.get_mut(workload).and_then(|record| record.unsettled.get_mut(host)) {
            open.told_to_start = true;
        }
    }

    /// True if it came up after the order and a person stopped it before the order ended: rule 3 counts more than what the
    /// order was for.
    fn stopped_meanwhile(&mut self, workload: &WorkloadId, host: &HostId, ordered_at: Time) -> bool {
        let Some(senses) = self.belief.workload_senses.get(workload) else { return false };
        // There, and not where a person started it meanwhile (scenario 859).
        let came_up = self
            .belief
            .workloads
            .get(workload)
            .is_some_and(|record| record.began_on.as_ref() == Some(host) && record.runs_since > Some(ordered_at));
        // A stop of ours before this start may be heard only now: then a list tells.
        let by_person = |reason| matches!(self.whose(workload, host, reason), Whose::Person(_));
        let how = match senses.seen.get(host) {
            Some(Seen { state: DomainState::Off(reason), since, .. }) if *since > ordered_at && by_person(*reason) => {
                persons_stop(*reason)
            }
            _ => None,
        };
        let Some(how) = how.filter(|_| came_up) else { return false };
        self.belief.runs_not(workload, host);
        self.stopped_by_person(host, workload, how);
        let Some(record) = self.belief.workloads.get_mut(workload) else { return true };
        record.trying = None;
        record.unsettled.remove(host);
        record.pending_on.remove(host);
        true
    }

    /// It did nothing. Whether the workload runs there all the same depends on what was known before, and on what the failure
    /// proves.
    fn start_failed(&mut self, workload: &WorkloadId, host: &HostId, error: Failure, doubted: bool) {
        let Some(record) = self.belief.workloads.get_mut(workload) else { return };
        let earlier = record.unsettled.contains_key(host) || record.pending_on.contains(host);
        if error.proves == Proof::There {
            record.moving = None;
            return self.unsettle(workload, host, self.now); // its next list says how it is there
        }
        if earlier {
            // What an earlier order there comes to is as unknown as before.
            if let Some(open) = record.unsettled.get_mut(host) {
                open.asked_again = true;
            }
            return if error.proves == Proof::Off { self.rung_failed(workload, host) } else { record.trying = None };
        }
        match error.proves {
            _ if self.seen_live(workload, host) => {}
            Proof::Nothing if doubted => self.unsettle(workload, host, self.now),
            _ => self.belief.runs_not(workload, host),
        }
        if error.kind == FailureKind::DiskLocked {
            let text = format!("its disk is in use by another process, so it may run somewhere: {}", error.message);
            self.note(EventKind::Believed, Severity::Red, Subject::Workload(workload.clone()), text);
            if let Some(attempt) = self.belief.workloads.get_mut(workload).and_then(|it| it.attempts.last_mut()) {
                attempt.locked = true;
            }
        }
        if self.drain_failed(workload, host, &error) {
            return;
        }
        self.rung_failed(workload, host);
        let off = !self.seen_live(workload, host);
        let Some(record) = self.belief.workloads.get_mut(workload) else { return };
        let nowhere = record.may_run_on.is_empty() && record.unsettled.is_empty() && record.want == Want::Running;
        if nowhere && let Some((there, how)) = record.stopped_on.take() {
            record.trying = None;
            return self.stopped_some_time_ago(&there, workload, how);
        }
        record.moving = None;
        // It ran after the last try of its ladder, and an operator had it restarted: the last start is the one that failed
        // (scenario 444).
        if let Some(attempt) = record.attempts.last_mut().filter(|_| off) {
            attempt.ran = false;
        }
        let well = record.trouble.as_ref().is_none_or(|trouble| trouble.started_at.is_some());
        if record.want == Want::Running && well && off && record.unsettled.is_empty() {
            self.trouble(workload, Cause::StartFailed);
        }
    }

    /// A start elsewhere of what was stopped for a drain failed: another host is tried, or it goes back. True if it was that.
    fn drain_failed(&mut self, workload: &WorkloadId, host: &HostId, error: &Failure) -> bool {
        let Some(record) = self.belief.workloads.get_mut(workload) else { return false };
        let drained = |moving: &&mut Moving| {
            moving.cold && moving.why != MoveWhy::Operator && moving.from.as_ref().is_some_and(|from| from != host)
        };
        let Some(moving) = record.moving.as_mut().filter(drained) else { return false };
        moving.not_cold_to.insert(host.clone());
        moving.cold_error = Some(format!("{host}: {}", error.message));
        record.unsettled.remove(host);
        record.pending_on.remove(host);
        true
    }

    /// Housekeeping did not work: what is in its way may go, but not at once.
    pub(crate) fn tidy_later(&mut self, workload: &WorkloadId) {
        self.belief.workload_senses.entry(workload.clone()).or_default().tidy_after = Some(self.now + TIDY_PAUSE);
    }

    /// What is left of it on a host was not removed. A refusal has a reason that lasts, such as saved memory that lies there.
    pub(super) fn removal_failed(&mut self, workload: &WorkloadId, host: &HostId, refused: bool) {
        self.tidy_later(workload);
        if refused {
            let senses = self.belief.workload_senses.entry(workload.clone()).or_default();
            senses.stays_defined.insert(host.clone(), self.now + REFUSED_PAUSE);
        }
    }

    /// The rung being tried did not help: the next decision chooses again, and avoids this host when relocating.
    pub(super) fn rung_failed(&mut self, workload: &WorkloadId, host: &HostId) {
        let Some(record) = self.belief.workloads.get_mut(workload) else { return };
        record.trying = None;
        if let Some(attempt) = record.attempts.last_mut() {
            attempt.host = Some(host.clone());
            attempt.failed = true;
        }
    }

    /// True while a start of ours that was never answered may still be carried out there.
    fn start_may_come(&self, workload: &WorkloadId, host: &HostId) -> bool {
        self.belief.workloads.get(workload).is_some_and(|record| {
            record.pending_on.contains(host) || record.unsettled.get(host).is_some_and(|open| open.told_to_start)
        })
    }

    /// Nobody knows whether it runs there, or whether it will before `until`: the host must be asked anew.
    pub(crate) fn unsettle(&mut self, workload: &WorkloadId, host: &HostId, until: Time) {
        let proved_off =
            self.belief.hosts.get(host).is_some_and(|record| matches!(record.phase, HostPhase::Off { .. }));
        if proved_off {
            self.belief.runs_not(workload, host);
            if let Some(record) = self.belief.workloads.get_mut(workload) {
                record.trying = None;
            }
            return;
        }
        self.belief.may_run(workload, host);
        let now = self.now;
        if let Some(record) = self.belief.workloads.get_mut(workload) {
            record.trying = None;
            // What was unknown before stays so: a start that was never answered may still come, whatever came after it.
            let before = record.unsettled.get(host).copied();
            let open = Unsettled {
                since: now,
                may_happen_until: before.map_or(until, |open| open.may_happen_until.max(until)).max(now),
                asked_again: before.is_some(),
                told_to_start: before.is_some_and(|open| open.told_to_start),
            };
            record.unsettled.insert(host.clone(), open);
        }
    }

    pub(super) fn stop_ended(
        &mut self,
        workload: &WorkloadId,
        host: &HostId,
        how: StopHow,
        since: Time,
        outcome: Outcome,
    ) {
        let seen = self.belief.workload_senses.get(workload).and_then(|senses| senses.seen.get(host));
        let leaves = match how {
            StopHow::Graceful => OffReason::Shutdown,
            StopHow::Force => OffReason::Destroyed,
        };
        let off_since = seen.is_some_and(|seen| seen.state == DomainState::Off(leaves) && seen.since > since);
        let settled = self.belief.workloads.get(workload).is_some_and(|record| !record.may_run_on.contains(host));
        match outcome {
            // Its host said meanwhile that it is off as this stop leaves it: that is done, whatever its answer says (scenario 831).
            Outcome::Failed { .. } if off_since && settled => {}
            // It came up again before the outcome was heard: somebody else started it, or the event is a late one.
            Outcome::Done { .. } if seen.is_some_and(|seen| seen.state.is_live() && seen.since > since) => {
                self.unsettle(workload, host, self.now);
            }
            Outcome::Done { .. } => {
                let (open, now) = (self.belief.workloads.get(workload).and_then(|it| it.unsettled.get(host)), self.now);
                let (in_doubt, may_happen) = (open.is_some(), open.is_some_and(|open| open.may_happen_until > now));
                if !self.start_may_come(workload, host) && !may_happen {
                    self.belief.runs_not(workload, host);
                    // Its executor looked after the stop: what was unknown before is over (scenario 349).
                    if in_doubt && let Some(record) = self.belief.workloads.get_mut(workload) {
                        record.unsettled.remove(host);
                    }
                }
                if let Some(senses) = self.belief.workload_senses.get_mut(workload)
                    && let Some(seen) = senses.seen.get_mut(host)
                {
                    if seen.state.is_live() {
                        (seen.since, seen.not_before, seen.after) = (self.now, self.now, None); // not since it began to run (scenario 485)
                        seen.ended = true;
                    }
                    seen.state = DomainState::Off(OffReason::Destroyed);
                    seen.at = self.now;
                }
            }
            Outcome::Failed { error } => {
                self.rung_failed(workload, host);
                let restart = self.is_asked(workload, |asked| matches!(asked, AskedFor::Restart { .. }));
                let Some(record) = self.belief.workloads.get_mut(workload) else { return };
                let moving = record.moving.take();
                let ours = moving.as_ref().is_some_and(|moving| moving.why != MoveWhy::Operator);
                if restart {
                    self.asked_failed(workload, &error);
                } else if moving.is_some() && !ours {
                    let text = format!("it is not moved: it could not be shut down for that ({})", error.message);
                    self.note(EventKind::Decided, Severity::Yellow, Subject::Workload(workload.clone()), text);
                }
                if ours && let Some(senses) = self.belief.workload_senses.get_mut(workload) {
                    senses.stays_until = Some(self.now + MOVE_PAUSE);
                }
                let Some(record) = self.belief.workloads.get_mut(workload) else { return };
                if matches!(record.want, Want::Stopped { how: StoppedHow::Operator, .. }) {
                    record.stop_failures += 1;
                    let (text, pause) = match how {
                        StopHow::Graceful => (
                            "it did not stop when asked, and is asked again; by force: mainstay vm stop --force",
                            STOP_PAUSE,
                        ),
                        StopHow::Force => ("it could not be stopped by force; that is tried again", FORCE_PAUSE),
                    };
                    let force_at = record.force_stop_at.filter(|at| *at > self.now);
                    let again_at = self.now + pause;
                    let again_at = force_at.map_or(again_at, |force_at| force_at.min(again_at));
                    self.belief.workload_senses.entry(workload.clone()).or_default().stop_again_at = Some(again_at);
                    self.note(EventKind::Decided, Severity::Yellow, Subject::Workload(workload.clone()), text);
                }
            }
            Outcome::Unknown { .. } => self.unsettle(workload, host, self.now),
        }
    }

    pub(super) fn migrate_ended(
        &mut self,
        workload: &WorkloadId,
        from: &HostId,
        to: &HostId,
        Sent { since, until, doubted }: Sent,
        outcome: Outcome,
    ) {
        // It arrived and its owner shut it down there, whatever is said of the order now, or never was. (A target that is given up
        // is destroyed: that tells nothing.)
        let seen = self.belief.workload_senses.get(workload).and_then(|senses| senses.seen.get(to));
        let shut_down = seen.is_some_and(|seen| seen.state == DomainState::Off(OffReason::Shutdown));
        let done = matches!(outcome, Outcome::Done { .. });
        if !done && shut_down && self.stopped_meanwhile(workload, to, since) {
            self.unsettle(workload, from, self.now);
            return;
        }
        match outcome {
            Outcome::Done { .. } => {
                self.belief.runs_not(workload, from);
                if let Some(seen) = self.belief.workload_senses.get_mut(workload).and_then(|it| it.seen.get_mut(from)) {
                    // Kept with this moment, so that an older list of that host, still on its way, is known to be older.
                    let gone = DomainState::Off(OffReason::Migrated);
                    let now = self.now;
                    *seen = Seen {
                        state: gone,
                        at: now,
                        since: now,
                        not_before: now,
                        after: None,
                        ended: true,
                        autostart: false,
                    };
                }
                if self.stopped_meanwhile(workload, to, since) {
                    return;
                }
                if let Some(record) = self.belief.workloads.get_mut(workload) {
                    record.want = Want::Running; // it arrived, so what its source said of it was its leaving
                }
                self.started(workload, to, since);
            }
            Outcome::Failed { error } => {
                // libvirt undoes a migration that fails, but in several steps on two hosts: the target is asked too, unless
                // nothing was ever sent.
                if error.kind != FailureKind::Unreachable || doubted {
                    self.unsettle(workload, to, self.now);
                } else if !self.seen_live(workload, to) {
                    self.belief.runs_not(workload, to);
                }
                let record = self.belief.workloads.get_mut(workload).expect("an order's workload is on record");
                if let Some(moving) = &mut record.moving {
                    moving.failures += 1;
                    if error.kind != FailureKind::Unreachable {
                        moving.not_live_to.insert(to.clone());
                    }
                }
                if !self.seen_live(workload, from) {
                    self.unsettle(workload, from, self.now);
                }
            }
            Outcome::Unknown { .. } => {
                self.unsettle(workload, from, self.now);
                // A migration has a long deadline, and all that time nothing would be done for the workload where it runs.
                self.unsettle(workload, to, until.min(self.now + MIGRATION_MAY_HAPPEN));
                let moving = self.belief.workloads.get_mut(workload).and_then(|record| record.moving.as_mut());
                if let Some(moving) = moving.filter(|moving| moving.why == MoveWhy::Operator) {
                    moving.to.get_or_insert_with(|| to.clone()); // if it is there after all, the move is over
                }
            }
        }
    }
}
