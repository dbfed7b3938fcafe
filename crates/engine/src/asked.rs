//! What an operator asked for and Mainstay accepted, where one order may not be enough: a revert, a restart, a stop. It is
//! carried on with, also by the next term of the controller, until it is done, replaced by another command, or given up with
//! an event that says so.
//!
//! ```text
//!   accepted ──▶ order ──▶ done: over
//!      ▲           ├ refused: given up
//!      ▲           ├ failed: again after a pause; too often, or too long ago: given up
//!      └───────────┤
//!                  └ unknown: the host is asked. Off: carried on with. It runs: was it reverted? A person is asked (MS1305),
//!                    since a second revert would throw away what it wrote after the first
//! ```
//!
//! Scenarios 185 and 187 to 189 show it.

use crate::{
    belief::{Asked, AskedFor, Moving, Purpose, Want},
    engine::Engine,
    explain::{Doing, WaitingOn},
};
use mainstay_model::{
    Action, ActionId, Cause, EventKind, Failure, FailureKind, HostId, Outcome, Proof, Severity, Span, StopHow, Subject,
    Time, WorkloadId, spec::Rung,
};

/// A revert that its host refused or undid is tried so often.
const REVERT_TRIES: u32 = 4;
/// A restart whose guest does not shut down is asked for so often; what can't be stopped by force, too.
const RESTART_TRIES: u32 = 3;
/// What could not be done for so long is wanted no longer: its operator has looked after it by then.
const WANTED_FOR: Span = Span::minutes(30);
/// The first pause before another try; it doubles.
const PAUSE: Span = Span::secs(10);
const LONGEST_PAUSE: Span = Span::minutes(2);
/// A list of recovery points comes within this; a revert of which no answer came shows in it.
const POINTS_LISTED_WITHIN: Span = Span::secs(30);
/// Bound for a revert that an operator asked for.
const REVERT_TIMEOUT: Span = Span::minutes(5);

impl Engine {
    /// An operator's command takes the place of what was asked for before.
    pub(crate) fn asked_anew(&mut self, workload: &WorkloadId, what: Option<AskedFor>) {
        self.asked_is_given_up(workload, "another command took its place");
        let now = self.now;
        let Some(record) = self.belief.workloads.get_mut(workload) else { return };
        let was_stopped = match record.want {
            Want::Running => None,
            Want::Stopped { how, .. } => Some(how),
        };
        record.asked = what.map(|what| Asked { what, at: now, tries: 0, in_doubt: false, was_stopped });
        record.stop_failures = 0;
        self.belief.workload_senses.entry(workload.clone()).or_default().stop_again_at = None;
    }

    /// It is not done, and it is not tried any more.
    pub(crate) fn asked_is_given_up(&mut self, workload: &WorkloadId, why: &str) {
        let Some(asked) = self.belief.workloads.get(workload).and_then(|record| record.asked.clone()) else { return };
        let text = format!("the {} that an operator asked for is given up: {why}", asked.what);
        self.note(EventKind::Decided, Severity::Yellow, Subject::Workload(workload.clone()), text);
        let Some(record) = self.belief.workloads.get_mut(workload) else { return };
        record.asked = None;
        let off = record.may_run_on.is_empty();
        if let (AskedFor::Revert { .. }, Some(trouble)) = (&asked.what, &mut record.trouble)
            && trouble.cause == Cause::PersonStop
            && trouble.started_at.is_none()
            && off
        {
            if let Some(how) = asked.was_stopped {
                // To start it as it is was not asked for: it stays off, as before.
                record.want = Want::Stopped { at: self.now, how };
                record.trouble = None;
                self.give_up_incident(workload);
            } else {
                trouble.cause = Cause::StartFailed; // it is wanted, and its ladder brings it up
            }
        }
        self.agenda.touch(workload);
    }

    /// It is done.
    pub(crate) fn asked_is_done(&mut self, workload: &WorkloadId) {
        if self.belief.workloads.get(workload).is_some_and(|record| record.asked.is_some())
            && let Some(record) = self.belief.workloads.get_mut(workload)
        {
            record.asked = None;
        }
    }

    /// True if this is what is being carried on with.
    pub(crate) fn is_asked(&self, workload: &WorkloadId, is: impl Fn(&AskedFor) -> bool) -> bool {
        let asked = self.belief.workloads.get(workload).and_then(|record| record.asked.as_ref());
        asked.is_some_and(|asked| is(&asked.what))
    }

    /// Whether it was done is not known.
    pub(crate) fn asked_in_doubt(&mut self, workload: &WorkloadId) {
        if let Some(asked) = self.belief.workloads.get_mut(workload).and_then(|record| record.asked.as_mut()) {
            asked.in_doubt = true;
        }
    }

    /// A try failed: another one follows, or it is given up.
    pub(crate) fn asked_failed(&mut self, workload: &WorkloadId, error: &Failure) {
        let Some(asked) = self.belief.workloads.get(workload).and_then(|record| record.asked.clone()) else { return };
        let (counts, most) = match asked.what {
            // What never reached the hypervisor was no try.
            AskedFor::Revert { .. } => (error.proves != Proof::Nothing, REVERT_TRIES),
            AskedFor::Restart { .. } => (error.kind != FailureKind::Unreachable, RESTART_TRIES),
        };
        let tries = asked.tries + u32::from(counts);
        let now = self.now;
        if self.runs_on(workload).is_some()
            && let Some(trouble) = self.belief.workloads.get_mut(workload).and_then(|record| record.trouble.as_mut())
        {
            trouble.started_at.get_or_insert(now); // it runs as before
        }
        // What refuses a revert would refuse it again: the point lies within another one's image, say. A guest that falls over
        // meanwhile would not be started for that.
        let refused = error.kind == FailureKind::Refused && matches!(asked.what, AskedFor::Revert { .. });
        let hopeless = refused || matches!(error.kind, FailureKind::NotThere | FailureKind::OldEpoch);
        if hopeless || tries >= most || self.now.since(asked.at) > WANTED_FOR {
            return self.asked_is_given_up(workload, &error.message);
        }
        let pause = PAUSE.times(1 << asked.tries.min(8)).min(LONGEST_PAUSE);
        self.belief.workload_senses.entry(workload.clone()).or_default().asked_again_at = Some(self.now + pause);
        if let Some(asked) = self.belief.workloads.get_mut(workload).and_then(|record| record.asked.as_mut()) {
            asked.tries = tries;
        }
    }

    /// Goes on with what was asked for. `there`: the one host on which the workload may run, in sight; none: it is off.
    /// `None`: nothing is to be done for it now.
    pub(crate) fn carry_on(&mut self, workload: &WorkloadId, there: Option<&HostId>) -> Option<Doing> {
        let record = self.belief.workloads.get(workload)?;
        let asked = record.asked.clone()?;
        let again_at = self.belief.workload_senses.get(workload).and_then(|senses| senses.asked_again_at);
        let again_at = again_at.filter(|at| *at > self.now);
        let live = there.is_some_and(|host| self.seen_live(workload, host));
        let waiting = |on| again_at.map(|at| Doing::Waiting { on, until: Some(at) });
        match asked.what {
            AskedFor::Revert { .. } if asked.in_doubt && live => None,
            AskedFor::Revert { point, keep_broken } => {
                let home = there.cloned().or_else(|| record.host.clone()).filter(|host| self.in_service(host));
                let Some(host) = home else {
                    self.asked_is_given_up(workload, "its host is not in service");
                    // A try may have come through, whatever its answer said: what runs is judged anew first (scenario 523).
                    let seen = there.filter(|_| live).cloned();
                    return seen.map(|host| Doing::Waiting {
                        on: WaitingOn::Answer { host },
                        until: Some(self.now + Span(1)),
                    });
                };
                if let Some(waiting) = waiting(WaitingOn::Backoff { rung: Rung::Revert }) {
                    return Some(waiting);
                }
                if let Some(until) = self.may_be_reverted(workload, &host).filter(|_| asked.in_doubt) {
                    return Some(Doing::Waiting { on: WaitingOn::Answer { host }, until: Some(until) });
                }
                let action = Action::Revert { workload: workload.clone(), host, point, keep_broken };
                Some(self.ordered(action, REVERT_TIMEOUT))
            }
            AskedFor::Restart { how } => {
                let in_trouble = record.trouble.as_ref().is_some_and(|trouble| trouble.started_at.is_none());
                let Some(host) = there.filter(|_| live && !in_trouble) else {
                    self.asked_is_done(workload); // it is off, and started as any other; or its ladder restarts it
                    return None;
                };
                waiting(WaitingOn::StopAgain).or_else(|| Some(self.stop_for_restart(workload, host, how)))
            }
        }
    }

    /// Until when it is waited for a list of its recovery points that shows whether the last revert there was carried out: a second one
    /// loses what was written since (scenario 923).
    fn may_be_reverted(&self, workload: &WorkloadId, host: &HostId) -> Option<Time> {
        let last = self.orders_there(workload, host).next()?;
        let reverts = matches!(last.order.action, Action::Revert { .. });
        let (at, outcome) = last.ended.as_ref().filter(|_| reverts)?;
        let listed = self.belief.workload_senses.get(workload).and_then(|senses| senses.points_listed);
        let until = *at + POINTS_LISTED_WITHIN;
        (matches!(outcome, Outcome::Unknown { .. }) && listed <= Some(*at) && until > self.now).then_some(until)
    }

    fn stop_for_restart(&mut self, workload: &WorkloadId, host: &HostId, how: StopHow) -> Doing {
        self.order_stop_for_restart(workload, host, how);
        let action = Action::Stop { workload: workload.clone(), host: host.clone(), how };
        let order = self.life_order(workload);
        Doing::Ordered {
            id: order.map_or(ActionId(0), |order| order.order.id),
            text: action.to_string(),
            because: "an operator asked for a restart".to_owned(),
        }
    }

    /// Stops it, to start it again in the same place.
    pub(crate) fn order_stop_for_restart(&mut self, workload: &WorkloadId, host: &HostId, how: StopHow) {
        if let Some(record) = self.belief.workloads.get_mut(workload) {
            record.moving = Some(Moving::start(Some(host.clone())));
        }
        let action = Action::Stop { workload: workload.clone(), host: host.clone(), how };
        let bound = self.recovery(workload).stop_timeout.max(Span::secs(30));
        self.order(action, bound, Purpose::Life);
    }

    fn ordered(&mut self, action: Action, within: Span) -> Doing {
        let text = action.to_string();
        let id = self.order(action, within, Purpose::Life);
        Doing::Ordered { id, text, because: "an operator asked for it".to_owned() }
    }
}
