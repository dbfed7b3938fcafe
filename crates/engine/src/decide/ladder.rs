//! The recovery ladder: which way of bringing a workload back is tried next, and when. Attempts are counted within a
//! window, waits double, and after the last rung a person is called; so restarts are bounded whatever happens.

use super::{Next, PlaceFor, waiting_until};
use crate::{
    belief::{Attempt, Purpose, Trying},
    engine::Engine,
    explain::{Blocked, Doing, WaitingOn},
};
use mainstay_model::{
    Action, Cause, HostId, PointId, PointState, RecoveryPoint, Span, StopHow, Subject, Time, WorkloadId,
    spec::{RecoveryPolicy, Rung},
};
use std::collections::BTreeMap;

/// Bound for a picture of a console; a hypervisor that is stuck takes none.
const PICTURE_TIMEOUT: Span = Span::secs(2);

/// Which rung is next.
enum Chosen {
    /// This one, now.
    Now(Rung),
    /// This one, later.
    At(Rung, Time),
    /// None is left.
    Exhausted,
}

impl Engine {
    /// Brings a workload in trouble back. `running_on`: the one host on which it still may run, in sight.
    pub(super) fn recover(&mut self, workload: &WorkloadId, running_on: Option<&HostId>) -> Next {
        let (rung, cause) = match self.rung_now(workload, running_on) {
            Ok(now) => now,
            Err(not_now) => return Next::Is(not_now),
        };
        match (rung, running_on) {
            (Rung::Resume, Some(host)) => {
                self.count_attempt(workload, rung, Some(host.clone()));
                let action = Action::Resume { workload: workload.clone(), host: host.clone() };
                let bound = self.recovery(workload).start_timeout;
                Next::Is(self.order_life(action, bound, &format!("it {cause}")))
            }
            (_, Some(host)) => {
                if let Some(doing) = self.picture(workload, host, cause) {
                    return Next::Is(doing);
                }
                self.count_attempt(workload, rung, None);
                Next::Is(self.stop(workload, host, StopHow::Force, &format!("it {cause}, and must stop before {rung}")))
            }
            (_, None) => Next::Place(PlaceFor::Recovery { rung, cause }),
        }
    }

    /// The rung to try now and the trouble it is for, or why none is tried now.
    fn rung_now(&mut self, workload: &WorkloadId, running_on: Option<&HostId>) -> Result<(Rung, Cause), Doing> {
        let record = self.belief.workloads.get(workload).expect("decided on record");
        let cause = record.trouble.as_ref().map_or(Cause::StartFailed, |trouble| trouble.cause);
        if self.watch_only(workload) {
            return Err(Doing::Blocked { by: Blocked::WatchOnly { cause } });
        }
        if let Some(trying) = &record.trying {
            return Ok((trying.rung, cause));
        }
        match self.choose_rung(workload, cause, running_on) {
            Chosen::Now(rung) => Ok((rung, cause)),
            Chosen::At(rung, at) => Err(waiting_until(WaitingOn::Backoff { rung }, at)),
            Chosen::Exhausted => Err(Doing::Blocked { by: Blocked::Exhausted { cause } }),
        }
    }

    /// A start that hangs on a host may be carried out yet. Another start there settles it; before the workload goes
    /// elsewhere its definition is taken from that host, which waits for the start, and leaves nothing to be started.
    pub(super) fn recover_where_pending(&mut self, workload: &WorkloadId, host: &HostId) -> Next {
        let rung = match self.rung_now(workload, None) {
            Ok((rung, _)) => rung,
            Err(not_now) => return Next::Is(not_now),
        };
        self.count_attempt(workload, rung, Some(host.clone()));
        let stays = rung == Rung::Restart && self.in_service(host);
        let (action, because) = if stays {
            let action = Action::Start { workload: workload.clone(), host: host.clone() };
            (action, "a start before it was never answered, and this one settles both")
        } else {
            let action = Action::Undefine { workload: workload.clone(), host: host.clone() };
            (action, "a start that was never answered must not happen there any more")
        };
        let bound = self.recovery(workload).start_timeout;
        Next::Is(self.order_life(action, bound, because))
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
        let on = WaitingOn::Order { id: order.order.id, text: order.order.action.to_string() };
        Some(waiting_until(on, order.order.deadline))
    }

    /// Counts an attempt, unless it is the one under way already.
    pub(super) fn count_attempt(&mut self, workload: &WorkloadId, rung: Rung, host: Option<HostId>) {
        let point =
            if rung == Rung::Revert { self.last_good_point(workload).map(|point| point.id.clone()) } else { None };
        let now = self.now;
        let record = self.belief.workloads.get_mut(workload).expect("decided on record");
        if record.trying.is_none() {
            record.attempts.push(Attempt { rung, at: now, host, failed: false });
            record.trying = Some(Trying { rung, point });
        } else if let Some(attempt) = record.attempts.last_mut() {
            attempt.host = host.or_else(|| attempt.host.clone());
        }
    }

    /// The rung of the attempt before goes on, without being counted again.
    pub(crate) fn try_again(&mut self, workload: &WorkloadId, rung: Rung) {
        let point = self.last_good_point(workload).filter(|_| rung == Rung::Revert).map(|point| point.id.clone());
        if let Some(record) = self.belief.workloads.get_mut(workload) {
            record.trying = Some(Trying { rung, point });
        }
        self.agenda.touch(workload);
    }

    fn choose_rung(&mut self, workload: &WorkloadId, cause: Cause, running_on: Option<&HostId>) -> Chosen {
        let oldest = self.now - self.recovery(workload).window;
        if self
            .belief
            .workloads
            .get(workload)
            .is_some_and(|record| record.attempts.iter().any(|attempt| attempt.at <= oldest))
        {
            let record = self.belief.workloads.get_mut(workload).expect("looked up above");
            record.attempts.retain(|attempt| attempt.at > oldest);
        }
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
        match next {
            None => Chosen::Exhausted,
            Some(step) if step.rung == Rung::Alarm => Chosen::Exhausted,
            Some(step) => match backoff(policy, &record.attempts).filter(|at| *at > self.now) {
                Some(at) => Chosen::At(step.rung, at),
                None => Chosen::Now(step.rung),
            },
        }
    }

    /// Whether a rung makes sense at all for this workload now.
    fn applies(&self, workload: &WorkloadId, rung: Rung, cause: Cause, running_on: Option<&HostId>) -> bool {
        let record = self.belief.workloads.get(workload).expect("decided on record");
        match rung {
            Rung::Resume => running_on.is_some(),
            Rung::Revert => self.last_good_point(workload).is_some(),
            // After the loss of its host it may go anywhere, also back there: what can't leave waits for its host.
            Rung::Relocate => cause.is_its_hosts() || (record.movable && self.spec.hosts.len() > 1),
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

/// No attempt before this: the first at once, then doubling waits.
fn backoff(policy: &RecoveryPolicy, attempts: &[Attempt]) -> Option<Time> {
    let last = attempts.last()?;
    let doublings = (attempts.len() as u32 - 1).min(20);
    Some(last.at + policy.backoff.times(1 << doublings).min(policy.backoff_limit))
}
