//! What a host's word settles: orders of which no answer came, and those of unknown outcome.

use crate::{
    belief::{OrderRecord, Want},
    engine::Engine,
    whose::STOP_MAY_COME,
};
use mainstay_model::{Action, DomainState, HostId, Outcome, PauseReason, Span, Subject, Time, WorkloadId};

/// A migration's answer comes with its arrival; if it has not come after this long, it was lost.
const ANSWER_MAY_BE_LATE: Span = Span::secs(10);
/// A migration that its target has nothing of after this long waits for no lock any more: it was lost.
const BEGINS_WITHIN: Span = Span::secs(60);
/// A start's answer comes with the guest's process; if it has not come after this long, it was lost.
const START_ANSWER_MAY_BE_LATE: Span = Span::secs(5);

impl Engine {
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
                let source = seen(workload, from).map(|seen| seen.state);
                let gone = source.is_none_or(|state| !state.is_live());
                // What is live there when its source is gone has arrived, whatever became of it since (scenario 631).
                let incoming = DomainState::Paused(PauseReason::Busy);
                let there = seen(workload, to).filter(|seen| seen.state.is_live() && seen.state != incoming);
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
        // A target holds the incoming guest from the beginning on. What it has nothing of after so long was not begun (scenario 634).
        let not_begun = |record: &&OrderRecord| match &record.order.action {
            Action::Migrate { workload, from, to } => {
                let asked = |host: &HostId| listed(host).is_some_and(|at| at > record.ordered_at + BEGINS_WITHIN);
                self.seen_live(workload, from) && !self.seen_live(workload, to) && asked(from) && asked(to)
            }
            _ => false,
        };
        let orders = || self.belief.in_flight(&Subject::Host(host.clone()));
        let not_begun: Vec<_> = orders().filter(not_begun).map(|record| record.order.id).collect();
        let arrived: Vec<_> = orders().filter(arrived).map(|record| record.order.id).collect();
        let ended: Vec<_> = orders().filter(ended).map(|record| record.order.id).collect();
        for id in arrived {
            self.outcome(id, Outcome::unknown("it is there, and no answer came"));
        }
        for id in not_begun {
            self.outcome(id, Outcome::unknown("its target has nothing of it, and no answer came"));
        }
        for id in ended {
            self.outcome(id, Outcome::unknown("it runs on neither host, and no answer came"));
        }
    }

    /// Until when a call that hung there may bring it up, though it is known whether it runs there now: a start, when another was done
    /// (scenario 904), or a revert of unknown outcome, unless what it set aside shows that it was carried out (scenario 948). So long it
    /// goes nowhere else.
    pub(crate) fn one_more_comes_until(&self, workload: &WorkloadId, host: &HostId) -> Option<Time> {
        let late = self.belief.workloads.get(workload)?.late_on.get(host).copied();
        let reverts = |order: &&OrderRecord| matches!(order.order.action, Action::Revert { .. });
        // Nothing that was under way before its host was proved off, or before a boot, comes any more.
        let on = self.belief.hosts.get(host);
        let (off_at, booted_at) = (on.and_then(|on| on.called_off_at), on.and_then(|on| on.booted_at));
        let over = |revert: &OrderRecord, at: Time| {
            let booted = |booted: Time| revert.ordered_at + self.boot_time_off_by(booted) < booted;
            revert.left_its_mark || off_at >= Some(at) || booted_at.is_some_and(booted)
        };
        let revert = self.orders_there(workload, host).find(reverts).and_then(|revert| match &revert.ended {
            Some((at, Outcome::Unknown { .. })) if !over(revert, *at) => Some(*at + STOP_MAY_COME),
            _ => None,
        });
        late.max(revert).filter(|until| *until > self.now)
    }

    /// Its host told later than the order of unknown outcome that it came up there: that order is through.
    pub(crate) fn sight_settles(&mut self, workload: &WorkloadId, host: &HostId, at: Time) {
        let record = self.belief.workloads.get(workload);
        let open = record.and_then(|record| record.unsettled.get(host)).is_some_and(|open| open.since < at);
        if open && let Some(record) = self.belief.workloads.get_mut(workload) {
            record.unsettled.remove(host);
        }
    }

    /// The host was asked after the order whose outcome is unknown: what it said counts.
    pub(crate) fn settled(&mut self, workload: &WorkloadId, host: &HostId) {
        let (live, starting) = (self.seen_live(workload, host), self.starting_there(workload, host));
        let Some(record) = self.belief.workloads.get_mut(workload) else { return };
        let told_to_start = record.unsettled.remove(host).is_some_and(|open| open.told_to_start);
        if !live && told_to_start {
            record.pending_on.insert(host.clone());
        } else if !live && !starting {
            if record.coming_up.as_ref() == Some(host) {
                record.coming_up = None;
            }
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
            && let Some((host, how)) = stopped_on.clone().or_else(|| after_start.clone())
        {
            self.stopped_some_time_ago(&host, workload, how);
            if let Some(record) = self.belief.workloads.get_mut(workload) {
                record.trying = None;
            }
        } else if nowhere && untold && record.want == Want::Running {
            let migrated = || {
                let ours = self.shut_down_where_it_was_to_leave(workload);
                let ours = ours.or_else(|| self.stopped_where_it_arrived(workload));
                ours.or_else(|| self.stopped_where_a_person_took_it(workload, host))
            };
            match stopped_on.or(after_start).or_else(migrated) {
                Some((host, how)) => self.stopped_some_time_ago(&host, workload, how),
                None if self.vanished_after_sure_start(workload, host) => {} // it may be elsewhere, and is missed after a while
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
