//! A host reports that a person stopped a workload, and nothing was seen of its run there: did it end there before what is known of
//! it now, or after that?
//!
//! ```text
//!   the last known run begins        the host says otherwise       the end on that host      its report arrives
//!   ────────┼──────────────────────────────┼───────────────────────────────┼────────────────────────┼──▶
//!        runs_since          has booted, or listed it in                a person's
//!                            another state or not at all
//! ```
//!
//! A workload runs in one place at a time. So an end that came after the host said otherwise, on which the last known run had begun
//! before that, came after that run: it is the newest that is known of it, and it stays off (scenario 588). A hypervisor knows of
//! no end before its host's boot.

use crate::{
    belief::{OrderRecord, StoppedHow, Want},
    engine::Engine,
    whose::{LATE_WORD, STOP_MAY_COME, Whose, cause_of_end, fell_by_itself},
};
use mainstay_model::{Action, Cause, DomainState, HostId, OffReason, Outcome, StopHow, Time, WorkloadId};
use std::collections::BTreeSet;

impl Engine {
    /// The host reports that it is off, for that reason. `otherwise_at`: when the host last said something else of it.
    pub(crate) fn ended_unseen(
        &mut self,
        host: &HostId,
        workload: &WorkloadId,
        reason: OffReason,
        otherwise_at: Option<Time>,
    ) {
        let booted_at = self.belief.hosts.get(host).and_then(|record| record.booted_at);
        let booted_at = booted_at.map(|at| at - self.boot_time_off_by(at));
        if self.ran_since_its_stop(workload, reason, otherwise_at.max(booted_at)) {
            return self.fell_unseen(workload, host, cause_of_end(reason));
        }
        if self.belief.meta.restored().is_some() {
            return; // a stop of our own may be forgotten: an operator is asked
        }
        let Whose::Person(how) = self.whose(workload, host, reason) else { return };
        let Some(record) = self.belief.workloads.get(workload) else { return };
        match record.want {
            Want::Running => {}
            // A person stopped it elsewhere: the newest of these ends is the one that counts (scenario 670).
            Want::Stopped { how: StoppedHow::Shutdown | StoppedHow::Saved | StoppedHow::Destroyed, .. }
                if record.host.as_ref() != Some(host) => {}
            Want::Stopped { .. } => return,
        }
        let trouble = record.trouble.as_ref().filter(|trouble| trouble.started_at.is_none());
        // Its home said how it ended there, in this term or an earlier one.
        let home = record.host.as_ref() == Some(host);
        let fell = trouble.filter(|it| home && matches!(it.cause, Cause::Crashed | Cause::Signalled | Cause::Panicked));
        let fell_at = fell.filter(|_| !record.may_run_on.contains(host)).map(|trouble| trouble.since);
        // Or the last known run was there: its end is what is reported (scenario 596).
        // What failed to start was known to have ended before that (scenario 810).
        // So was what was off with the same word when an order of ours to start it left (scenario 929).
        let off_by_then =
            |order: &OrderRecord| order.was_off == Some(reason) && record.runs_since < Some(order.ordered_at);
        let known_off = trouble.is_some_and(|it| it.cause == Cause::StartFailed)
            || self.orders_there(workload, host).next().is_some_and(off_by_then);
        let ran_here = record.runs_since.filter(|_| home && !known_off && record.began_on.as_ref() == Some(host));
        // Or it ran out of sight when a start elsewhere found its disk in use (scenario 889).
        let silent_since = self.belief.host_senses.get(host).and_then(|senses| senses.heard_before);
        let ran_unseen =
            record.attempts.iter().filter(|it| it.locked && silent_since < Some(it.at)).map(|it| it.at).max();
        let Some(after) = otherwise_at.max(booted_at).max(fell_at).max(ran_here).max(ran_unseen) else { return };
        let began_later = record.runs_since.is_some_and(|since| since > after);
        // If what ran elsewhere later is off since, the end may be the newest all the same: better an alarm too many than a start too many
        // (scenario 932). But a run that is known of before explains it (scenario 935).
        let called_off_at = self.belief.hosts.get(host).and_then(|record| record.called_off_at);
        let booted_since = called_off_at.is_some() && booted_at > called_off_at; // (scenario 939)
        let news = otherwise_at.is_some() || booted_since;
        let may_be = !home && news && trouble.is_some() && ran_unseen.is_none();
        let newest = may_be
            || !began_later && (trouble.is_some_and(|trouble| trouble.since <= after) || record.runs_since.is_some());
        // What our own stop leaves there, or a migration that did not come through, is no person's word. What we stopped for certain is
        // off, whatever is said of how; and what is said of a run before that comes late at times.
        let ours = |order: &OrderRecord| {
            let stopped =
                matches!((&order.order.action, &order.ended), (Action::Stop { .. }, Some((_, Outcome::Done { .. }))));
            let stops = match order.order.action {
                _ if stopped => true,
                Action::Stop { how: StopHow::Graceful, .. } => reason == OffReason::Shutdown,
                Action::Migrate { .. } => reason == OffReason::Destroyed,
                _ => order.may_force() && reason == OffReason::Destroyed,
            };
            stops
                && match &order.ended {
                    None => true,
                    Some((at, Outcome::Unknown { .. })) => *at + STOP_MAY_COME >= after,
                    Some((at, _)) => *at + LATE_WORD >= after,
                }
        };
        let asked = record.asked.is_some() || record.moving.is_some();
        if !newest || asked || self.belief.acts_on(workload).any(|order| order.acts_at() == Some(host) && ours(order)) {
            return;
        }
        let doubtful = record.may_run_on.iter().chain(record.unsettled.keys());
        let elsewhere: Vec<&HostId> = doubtful.filter(|other| *other != host).collect();
        if elsewhere.iter().any(|other| self.runs_in_sight(workload, other)) {
            return; // one of two was stopped
        }
        let busy = self.life_order(workload).is_some();
        let here = record.may_run_on.contains(host) || record.unsettled.contains_key(host);
        if busy || here || !elsewhere.is_empty() {
            if let Some(record) = self.belief.workloads.get_mut(workload) {
                record.stopped_on = Some((host.clone(), how)); // until it is known that it runs nowhere
            }
            return;
        }
        self.stopped_by_person(host, workload, how);
        if let Some(record) = self.belief.workloads.get_mut(workload) {
            record.trying = None;
            record.ended_unseen = true;
        }
        self.agenda.touch(workload);
    }

    /// A person stopped it, and a host that said otherwise since then reports that it crashed: it was started meanwhile (scenario 597).
    fn ran_since_its_stop(&self, workload: &WorkloadId, reason: OffReason, otherwise_at: Option<Time>) -> bool {
        let Some(record) = self.belief.workloads.get(workload) else { return false };
        let Want::Stopped { at, how: StoppedHow::Shutdown | StoppedHow::Saved | StoppedHow::Destroyed } = record.want
        else {
            return false;
        };
        let crashed = fell_by_itself(reason);
        crashed && otherwise_at >= Some(at) && record.may_run_on.is_empty() && !record.in_question
    }

    /// The host booted: what it said before of ends there it does not know any more, and what it says since is news.
    pub(crate) fn forgets_ends(&mut self, host: &HostId, booted_at: Time) {
        let certain = booted_at + self.boot_time_off_by(booted_at);
        let mut told_since = Vec::new();
        // What waited for a controller that slept was said before it fell asleep, as far as can be told (scenario 896).
        let said_since: BTreeSet<WorkloadId> = self
            .belief
            .workload_senses
            .iter()
            .filter(|(_, senses)| senses.seen.get(host).is_some_and(|seen| self.held_at(seen.at) > certain))
            .map(|(workload, _)| workload.clone())
            .collect();
        for (workload, senses) in self.belief.workload_senses.iter_mut() {
            let Some(seen) = senses.seen.get_mut(host) else { continue };
            match seen.state {
                DomainState::Off(reason) if said_since.contains(workload) => {
                    told_since.push((workload.clone(), reason))
                }
                DomainState::Off(OffReason::Shutdown | OffReason::Destroyed | OffReason::Saved) => {
                    seen.state = DomainState::Off(OffReason::Unknown);
                }
                _ => {}
            }
        }
        for (workload, reason) in told_since {
            self.ended_unseen(host, &workload, reason, None);
        }
    }
}
