//! The recovery ladder: which way of bringing a workload back is tried next, and when. Attempts are counted within a
//! window, waits double, and after the last rung a person is called; so restarts are bounded whatever happens.
//!
//! A start that fails before the guest runs says that something it needs is away: a lock, a network, memory. It says
//! nothing about the guest's disk, so no revert follows from it. What it needs may also be away for longer than the ladder
//! lasts; so while a person is called, such a start is tried again, each time after the longest wait.

use super::{Next, PlaceFor, request::has_its_place, waiting_for, waiting_until};
use crate::{
    belief::{Attempt, Purpose, Trying, Want, WorkloadRecord},
    engine::Engine,
    explain::{Blocked, Doing, WaitingOn},
};
use mainstay_model::{
    Action, Cause, DomainState, HostId, PauseReason, PointId, PointState, RecoveryPoint, Span, StopHow, Subject, Time,
    WorkloadId,
    spec::{LadderStep, RecoveryPolicy, Rung},
};
use std::collections::BTreeMap;

/// A guest whose disk had no room is resumed again after this, then after twice as long, and so on up to the limit.
const ROOM_PAUSE: Span = Span::secs(5);
const ROOM_PAUSE_LIMIT: Span = Span::minutes(1);
/// So many tries that still count, in a trouble that is older than all that do, and a person is called.
const TRIED_AGAIN: usize = 3;
/// Bound for a picture of a console; a hypervisor that is stuck takes none.
const PICTURE_TIMEOUT: Span = Span::secs(2);

/// Which rung is next.
enum Chosen {
    /// This one, now.
    Now(Rung),
    /// This one, later.
    At(Rung, Time),
    /// None is left, and a person is called. This one goes on being tried from then on, if any does.
    Exhausted(Option<(Rung, Time)>),
}

impl Engine {
    /// Brings a workload in trouble back. `running_on`: the one host on which it still may run, in sight.
    pub(super) fn recover(&mut self, workload: &WorkloadId, running_on: Option<&HostId>) -> Next {
        if let Some(host) = running_on.filter(|host| self.lacks_room(workload, host) && self.manages(workload)) {
            return Next::Is(match self.runs_under_another_name(workload) {
                Some((name, host)) => Doing::Blocked { by: Blocked::RunsAs { name, host } },
                None => self.resume_when_there_is_room(workload, host),
            });
        }
        let (rung, cause) = match self.rung_now(workload, running_on, running_on.is_none()) {
            Ok(now) => now,
            Err(not_now) => return Next::Is(not_now),
        };
        if let Some((name, host)) = self.runs_under_another_name(workload).filter(|_| rung == Rung::Resume) {
            return Next::Is(Doing::Blocked { by: Blocked::RunsAs { name, host } }); // its disk is that one's as well (scenario 652)
        }
        match (rung, running_on) {
            (Rung::Resume, Some(host)) => {
                self.count_attempt(workload, rung, Some(host.clone()));
                let action = Action::Resume { workload: workload.clone(), host: host.clone() };
                let bound = self.recovery(workload).start_timeout;
                Next::Is(self.order_life(action, bound, &format!("it {cause}")))
            }
            (_, Some(host)) => {
                if let Some(hung_again_at) = self.woke_up(workload, cause) {
                    return Next::Is(waiting_until(WaitingOn::Guest, hung_again_at));
                }
                if let Some(doing) = self.picture(workload, host, cause) {
                    return Next::Is(doing);
                }
                self.count_attempt(workload, rung, None);
                Next::Is(self.stop(workload, host, StopHow::Force, &format!("it {cause}, and must stop before {rung}")))
            }
            (_, None) => Next::Place(PlaceFor::Recovery { rung, cause }),
        }
    }

    /// It counted as hung, and gave a sign of life since: until when it is waited for. A guest may wake up while what is done
    /// about its hang waits for a stop that is not answered (scenario 306); or a changed policy gives it more time.
    fn woke_up(&self, workload: &WorkloadId, cause: Cause) -> Option<Time> {
        let senses = self.belief.workload_senses.get(workload).filter(|senses| senses.reboots_since().is_none())?;
        let last_sign = senses.last_sign().filter(|_| cause == Cause::Hung)?;
        Some(last_sign + self.recovery(workload).hung_after).filter(|at| *at > self.now)
    }

    /// True if it is paused there because no space is left for its disk.
    pub(crate) fn lacks_room(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let seen = self.belief.workload_senses.get(workload).and_then(|senses| senses.seen.get(host));
        seen.is_some_and(|seen| seen.state == DomainState::Paused(PauseReason::NoSpace))
    }

    /// A restart makes no room, and would lose what the guest has in memory: it is only resumed, now and then, for as long as
    /// that takes. Whether there is room again no hypervisor reports; a resume without room pauses it again, unharmed.
    fn resume_when_there_is_room(&mut self, workload: &WorkloadId, host: &HostId) -> Doing {
        let now = self.now;
        let senses = self.belief.workload_senses.entry(workload.clone()).or_default();
        if let Some((at, tries)) = senses.resumed {
            let again_at = at + ROOM_PAUSE.times(1 << tries.min(4)).min(ROOM_PAUSE_LIMIT);
            if again_at > now {
                return waiting_until(WaitingOn::Room, again_at);
            }
        }
        senses.resumed = Some((now, senses.resumed.map_or(0, |(_, tries)| tries + 1)));
        let action = Action::Resume { workload: workload.clone(), host: host.clone() };
        let bound = self.recovery(workload).start_timeout;
        self.order_life(action, bound, "there may be room again for its disk")
    }

    /// The rung to try now and the trouble it is for, or why none is tried now. `starts`: what only made way for a start before,
    /// is followed by that now.
    fn rung_now(
        &mut self,
        workload: &WorkloadId,
        running_on: Option<&HostId>,
        starts: bool,
    ) -> Result<(Rung, Cause), Doing> {
        let record = self.belief.workloads.get(workload).expect("decided on record");
        let cause = record.trouble.as_ref().map_or(Cause::StartFailed, |trouble| trouble.cause);
        if self.watch_only(workload) {
            return Err(Doing::Blocked { by: Blocked::WatchOnly { cause } });
        }
        if let Some(trying) = &record.trying {
            let rung = trying.rung;
            if self.is_still_a_rung(workload, rung) {
                return Ok((rung, cause));
            }
            if let Some(record) = self.belief.workloads.get_mut(workload) {
                record.trying = None;
            }
        }
        if let Some(rung) = self.only_stopped(workload).filter(|_| starts) {
            return Ok((rung, cause));
        }
        if self.outlasts_its_window(workload) {
            self.call_a_person(workload);
        }
        self.forget_old_attempts(workload);
        match self.choose_rung(workload, cause, running_on) {
            Chosen::Now(rung) => Ok((rung, cause)),
            Chosen::At(rung, at) => Err(waiting_until(WaitingOn::Backoff { rung }, at)),
            Chosen::Exhausted(next) => {
                self.call_a_person(workload);
                match next {
                    None => Err(Doing::Blocked { by: Blocked::Exhausted { cause } }),
                    Some((rung, at)) if at > self.now => Err(waiting_until(WaitingOn::Backoff { rung }, at)),
                    Some((rung, _)) => Ok((rung, cause)),
                }
            }
        }
    }

    /// The rung for which it was stopped, or its definition removed, if what came of that was unknown or refused, and it was not
    /// started since: the start belongs to the same attempt, or the ladder would be used up by stops (scenario 302), also if
    /// its host went down meanwhile (scenario 420), and by removals (scenario 740).
    fn only_stopped(&self, workload: &WorkloadId) -> Option<Rung> {
        let record = self.belief.workloads.get(workload)?;
        let well_until = record.trouble.as_ref()?.well_until;
        let stopped = record.attempts.last().filter(|attempt| attempt.only_stopped && attempt.at >= well_until)?;
        let point = stopped.rung != Rung::Revert || self.last_good_point(workload).is_some();
        (point && self.is_still_a_rung(workload, stopped.rung)).then_some(stopped.rung)
    }

    /// False for a revert that no rung asks for any more since it was chosen: its ladders have none (scenario 421), or it waited for so
    /// long that the tries before it count no longer (scenario 848).
    fn is_still_a_rung(&self, workload: &WorkloadId, rung: Rung) -> bool {
        if rung != Rung::Revert {
            return true;
        }
        let policy = self.recovery(workload);
        let Some(record) = self.belief.workloads.get(workload) else { return false };
        let cause = record.trouble.as_ref().map_or(Cause::StartFailed, |trouble| trouble.cause);
        let oldest = self.now - policy.window;
        let counts = |rung: Rung| record.attempts.iter().filter(move |it| it.rung == rung && it.at > oldest).count();
        let used_up = |step: &LadderStep| {
            counts(step.rung) >= step.attempts as usize || !self.applies(workload, step.rung, cause, None)
        };
        // Any of them: it may have been chosen for the trouble before (scenario 856).
        policy.by_cause.values().chain([&policy.ladder]).any(|ladder| {
            let revert = ladder.iter().position(|step| step.rung == Rung::Revert);
            revert.is_some_and(|revert| ladder[..revert].iter().all(used_up))
        })
    }

    /// It was tried again and again for as long as tries count: those that are forgotten meanwhile never come to the ladder's end
    /// (scenario 874).
    fn outlasts_its_window(&self, workload: &WorkloadId) -> bool {
        let Some(record) = self.belief.workloads.get(workload) else { return false };
        let trouble = record.trouble.as_ref().filter(|trouble| trouble.started_at.is_none());
        let oldest = self.now - self.recovery(workload).window;
        let lasts = trouble.is_some_and(|trouble| trouble.since <= oldest);
        lasts && record.attempts.iter().filter(|attempt| attempt.at > oldest).count() >= TRIED_AGAIN
    }

    /// Its next try is due: it does not wait until later.
    fn is_tried_now(&self, record: &WorkloadRecord) -> bool {
        let cause = record.trouble.as_ref().map_or(Cause::StartFailed, |trouble| trouble.cause);
        let oldest = self.now - self.recovery(&record.workload).window;
        match self.choose_rung(&record.workload, cause, None) {
            _ if record.trying.is_some() || record.attempts.iter().any(|attempt| attempt.at <= oldest) => true,
            Chosen::Now(_) => true,
            Chosen::At(_, at) | Chosen::Exhausted(Some((_, at))) => at <= self.now,
            Chosen::Exhausted(None) => false,
        }
    }

    fn call_a_person(&mut self, workload: &WorkloadId) {
        let record = self.belief.workloads.get(workload);
        let called = record.and_then(|record| record.trouble.as_ref()).is_none_or(|trouble| trouble.exhausted);
        if !called && let Some(trouble) = self.belief.workloads.get_mut(workload).and_then(|it| it.trouble.as_mut()) {
            trouble.exhausted = true;
        }
    }

    /// A start that hangs on a host may be carried out yet. Another start there settles it; before the workload goes
    /// elsewhere its definition is taken from that host, which waits for the start, and leaves nothing to be started. Not
    /// before another host could take it: what is defined nowhere can be started nowhere (scenario 182).
    pub(super) fn recover_where_pending(&mut self, workload: &WorkloadId, host: &HostId) -> Next {
        // Others may have got its room there meanwhile: then it is as unable to start there as on a host out of service (`a_start_that_hangs_on_a_host_that_is_full_by_now_is_made_elsewhere`).
        let able = self.in_service(host) && self.keeps_its_room(workload, host);
        // The start after a removal belongs to the same attempt, another removal to the next: one that never comes through must
        // not go on for ever.
        let goes_on = self.only_stopped(workload).filter(|rung| *rung == Rung::Restart && able);
        let (rung, cause) = match self.rung_now(workload, None, goes_on.is_some()) {
            Ok(now) => now,
            Err(not_now) => return Next::Is(not_now),
        };
        let mut stays = rung == Rung::Restart && able;
        if !stays && let Err(why) = self.could_go(workload, host, rung, cause) {
            if !able {
                return Next::Is(self.nowhere(why));
            }
            stays = true; // no other host takes it, and this one may
        }
        if let Some(old) = self.only_hearsay(workload, host).filter(|_| stays) {
            return Next::Is(waiting_until(WaitingOn::Answer { host: old }, self.now + Span::secs(1)));
        }
        if stays {
            let goes_on = self.only_stopped(workload).filter(|rung| *rung != Rung::Revert);
            self.count_attempt(workload, goes_on.unwrap_or(rung), Some(host.clone()));
        } else {
            self.count_removal(workload, rung, host);
        }
        let (action, because) = if stays {
            let action = Action::Start { workload: workload.clone(), host: host.clone() };
            (action, "a start before it was never answered, and this one settles both")
        } else {
            let action = Action::Undefine { workload: workload.clone(), host: host.clone() };
            if let Some(record) = self.belief.workloads.get_mut(workload) {
                record.host.get_or_insert_with(|| host.clone()); // its disks are where this host reaches them
            }
            (action, "a start that was never answered must not happen there any more")
        };
        let bound = self.recovery(workload).start_timeout;
        Next::Is(self.order_life(action, bound, because))
    }

    /// What may run on a host, this workload included, fits there beside what is off there and to be started again now (scenarios 828, 927
    /// and 931);
    /// at home it has its place anyway.
    pub(super) fn keeps_its_room(&self, workload: &WorkloadId, host: &HostId) -> bool {
        if self.belief.workloads.get(workload).is_some_and(|record| record.host.as_ref() == Some(host)) {
            return true;
        }
        let comes_back = self.belief.workloads.values().filter(|record| {
            let falls = record.trouble.as_ref().is_some_and(|trouble| trouble.started_at.is_none());
            let comes = record.may_run_on.is_empty() && record.want == Want::Running && falls;
            comes
                && record.workload != *workload
                && record.host.as_ref() == Some(host)
                && has_its_place(record, host)
                && self.is_tried_now(record)
        });
        let needed = comes_back.fold(self.used(host), |sum, record| sum.plus(self.needs(record)));
        self.capacity(host).lacks(needed).is_none()
    }

    /// What a console shows is gone once the workload is stopped, so a picture comes first; but not for long.
    fn picture(&mut self, workload: &WorkloadId, host: &HostId, cause: Cause) -> Option<Doing> {
        let action = Action::Screenshot { workload: workload.clone(), host: host.clone() };
        let trouble = self.belief.workloads.get(workload)?.trouble.as_ref()?;
        if matches!(cause, Cause::Hung | Cause::Panicked) && !trouble.pictured {
            self.belief.workloads.get_mut(workload)?.trouble.as_mut()?.pictured = true;
            self.order(action, PICTURE_TIMEOUT, Purpose::Side);
        }
        let subject = Subject::Workload(workload.clone());
        let mut orders = self.belief.in_flight(&subject);
        let order = orders.find(|record| matches!(record.order.action, Action::Screenshot { .. }))?;
        Some(waiting_for(order))
    }

    /// Counts an attempt, unless it is the one under way already. Without a host it is only stopped for now.
    pub(super) fn count_attempt(&mut self, workload: &WorkloadId, rung: Rung, host: Option<HostId>) {
        let stops = host.is_none();
        let goes_on = !stops && self.only_stopped(workload) == Some(rung);
        self.count(workload, rung, host, stops, goes_on);
    }

    /// Counts an attempt that begins with the removal of its definition. The start that follows belongs to it, another removal
    /// does not.
    fn count_removal(&mut self, workload: &WorkloadId, rung: Rung, host: &HostId) {
        self.count(workload, rung, Some(host.clone()), true, false);
    }

    /// `makes_way`: nothing is started yet. `goes_on`: that was done before, and counted.
    fn count(&mut self, workload: &WorkloadId, rung: Rung, host: Option<HostId>, makes_way: bool, goes_on: bool) {
        let point =
            if rung == Rung::Revert { self.last_good_point(workload).map(|point| point.id.clone()) } else { None };
        let now = self.now;
        let kept = attempts_kept(self.recovery(workload));
        let record = self.belief.workloads.get_mut(workload).expect("decided on record");
        if record.trying.is_none() && !goes_on {
            if record.attempts.len() > kept {
                record.attempts.pop(); // of the tries beyond the ladder only the newest counts
            }
            record.attempts.push(Attempt {
                rung,
                at: now,
                host,
                failed: false,
                locked: false,
                only_stopped: makes_way,
                ran: false,
            });
        } else if let Some(attempt) = record.attempts.last_mut() {
            attempt.host = host.or_else(|| attempt.host.clone());
            attempt.only_stopped &= makes_way;
            attempt.failed &= !goes_on;
        }
        record.trying.get_or_insert(Trying { rung, point });
    }

    /// The rung of the attempt before goes on, without being counted again.
    pub(crate) fn try_again(&mut self, workload: &WorkloadId, rung: Rung) {
        let point = self.last_good_point(workload).filter(|_| rung == Rung::Revert).map(|point| point.id.clone());
        if let Some(record) = self.belief.workloads.get_mut(workload) {
            record.trying = Some(Trying { rung, point });
            if let Some(trouble) = &mut record.trouble {
                trouble.exhausted = false;
            }
        }
        self.agenda.touch(workload);
    }

    /// Tries count for so long.
    fn forget_old_attempts(&mut self, workload: &WorkloadId) {
        let oldest = self.now - self.recovery(workload).window;
        let has_old = |record: &WorkloadRecord| record.attempts.iter().any(|attempt| attempt.at <= oldest);
        if self.belief.workloads.get(workload).is_some_and(has_old) {
            let record = self.belief.workloads.get_mut(workload).expect("looked up above");
            record.attempts.retain(|attempt| attempt.at > oldest);
        }
    }

    fn choose_rung(&self, workload: &WorkloadId, cause: Cause, running_on: Option<&HostId>) -> Chosen {
        let policy = self.recovery(workload);
        let record = self.belief.workloads.get(workload).expect("decided on record");
        let mut tried: BTreeMap<Rung, usize> = BTreeMap::new();
        record.attempts.iter().for_each(|attempt| *tried.entry(attempt.rung).or_default() += 1);
        let next = policy.ladder_for(cause).iter().find(|step| {
            // A rung that stands twice in the ladder is tried in turn: its first attempts are those of the first.
            let left = tried.entry(step.rung).or_default();
            let open = *left < step.attempts as usize;
            *left = left.saturating_sub(step.attempts as usize);
            open && self.applies(workload, step.rung, cause, running_on)
        });
        match next.filter(|step| step.rung != Rung::Alarm) {
            None => Chosen::Exhausted(self.goes_on(workload, policy, cause, running_on)),
            Some(step) => match backoff(policy, &record.attempts).filter(|at| *at > self.now) {
                Some(at) => Chosen::At(step.rung, at),
                None => Chosen::Now(step.rung),
            },
        }
    }

    /// What is tried after the last rung, and when: the last way of starting it, for as long as starts fail before the guest
    /// runs. A guest that ran and fell over is left to the person.
    fn goes_on(
        &self,
        workload: &WorkloadId,
        policy: &RecoveryPolicy,
        cause: Cause,
        running_on: Option<&HostId>,
    ) -> Option<(Rung, Time)> {
        let record = self.belief.workloads.get(workload)?;
        let last = record.attempts.last().filter(|attempt| !attempt.ran)?;
        if running_on.is_some() {
            return None; // it is not stopped by force again and again
        }
        let repeats = |rung: &Rung| matches!(rung, Rung::Restart | Rung::Relocate);
        let mut rungs = policy.ladder_for(cause).iter().rev().map(|step| step.rung).filter(repeats);
        let rung = rungs.find(|rung| self.applies(workload, *rung, cause, running_on))?;
        Some((rung, last.at + policy.backoff_limit.max(policy.backoff)))
    }

    /// False after a start that failed before the guest ran: that is no evidence against its disk.
    fn fell_over(&self, workload: &WorkloadId) -> bool {
        let attempts = self.belief.workloads.get(workload).map_or(&[][..], |record| &record.attempts);
        let last = attempts.iter().rev().find(|attempt| attempt.rung != Rung::Resume);
        last.is_none_or(|attempt| attempt.ran)
    }

    /// Whether a rung makes sense at all for this workload now.
    fn applies(&self, workload: &WorkloadId, rung: Rung, cause: Cause, running_on: Option<&HostId>) -> bool {
        let record = self.belief.workloads.get(workload).expect("decided on record");
        match rung {
            Rung::Resume => running_on.is_some(),
            Rung::Revert => self.last_good_point(workload).is_some() && self.fell_over(workload),
            // After the loss of its host it may go anywhere, also back there: what can't leave waits for its host.
            Rung::Relocate => {
                let may_leave = || record.movable && self.bound_by_state(record).is_none();
                cause.is_its_hosts() || (may_leave() && self.spec.hosts.len() > 1)
            }
            Rung::Restart | Rung::Alarm => true,
        }
    }

    /// The newest recovery point that can be trusted.
    pub(crate) fn last_good_point(&self, workload: &WorkloadId) -> Option<&RecoveryPoint> {
        self.belief
            .points_of(workload)
            .filter(|point| point.state == PointState::Good)
            .max_by_key(|point| point.taken_at)
    }

    /// The point a revert under way goes back to.
    pub(super) fn point_to_revert_to(&self, workload: &WorkloadId) -> Option<PointId> {
        let trying = self.belief.workloads.get(workload)?.trying.as_ref()?;
        trying.point.clone()
    }
}

/// So many attempts are remembered: one for each of all ladders. Those beyond are the slow tries after the last rung.
fn attempts_kept(policy: &RecoveryPolicy) -> usize {
    let ladders = policy.by_cause.values().chain([&policy.ladder]);
    ladders.flatten().map(|step| step.attempts as usize).sum()
}

/// No attempt before this: the first at once, then doubling waits.
fn backoff(policy: &RecoveryPolicy, attempts: &[Attempt]) -> Option<Time> {
    let last = attempts.last()?;
    let doublings = (attempts.len() as u32 - 1).min(20);
    Some(last.at + policy.backoff.times(1 << doublings).min(policy.backoff_limit))
}
