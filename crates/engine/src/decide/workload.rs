//! What to do about a workload, read from the top: may anything be done at all; where may it run; if nowhere, start it; if
//! in one place in sight, see how it is there.

use super::{Next, PlaceFor, moving::COLD_TRIES, waiting, waiting_for, waiting_until};
use crate::{
    belief::{HostPhase, MoveWhy, Moving, Purpose, Seen, Sight, StoppedHow, Want, WorkloadRecord},
    engine::Engine,
    explain::{Blocked, Doing, WaitingOn, Why},
};
use mainstay_model::{
    Action, Cause, DomainState, HostId, PauseReason, Span, StopHow, Subject, WorkloadId,
    spec::{FailBack, Managed},
};

/// A host that is in sight again lists its VMs within this, as a rule; then it is looked again.
const LISTED_WITHIN: Span = Span::secs(1);
/// Bound for small housekeeping orders.
const TIDY_TIMEOUT: Span = Span::secs(30);

impl Engine {
    pub(super) fn decide_workload(&mut self, workload: &WorkloadId) -> Next {
        // Also while it waits for a host out of sight, where it may run: another one must not start it then (scenario 532).
        if !self.belief.cut_off && !self.memory_in_doubt() && self.life_order(workload).is_none() {
            self.disable_autostart(workload);
        }
        if let Some((name, host)) = self.runs_under_another_name(workload).filter(|_| self.is_to_start(workload)) {
            return Next::Is(Doing::Blocked { by: Blocked::RunsAs { name, host } });
        }
        match self.may_act(workload) {
            Some(reason) => Next::Is(self.start_again_where_unknown(workload).unwrap_or(reason)),
            None => self.where_is_it(workload),
        }
    }

    /// True if the next thing to do for it would be to start it: it is wanted, looked after, and not seen running.
    fn is_to_start(&self, workload: &WorkloadId) -> bool {
        let record = self.belief.workloads.get(workload);
        let wanted = record.is_some_and(|record| record.want == Want::Running && !record.unprotected);
        wanted
            && self.rule(workload).is_some()
            && !self.belief.may_run_on(workload).iter().any(|host| self.seen_live(workload, host))
    }

    /// A start of unknown outcome can be waited for until its deadline, or be given again to the same host: a host works
    /// on one order for a workload at a time, and to start what runs is nothing, so its answer settles both.
    fn start_again_where_unknown(&mut self, workload: &WorkloadId) -> Option<Doing> {
        let record = self.belief.workloads.get(workload)?;
        let (host, open) = record.unsettled.first_key_value()?;
        let nowhere_else = record.unsettled.len() == 1 && record.may_run_on.iter().all(|other| other == host);
        let wanted = record.want == Want::Running && record.trouble.is_some() && self.manages(workload);
        let (host, since) = (host.clone(), open.since);
        let (may_happen, asked_again) = (open.may_happen_until > self.now, open.asked_again);
        let able = !self.belief.cut_off
            && !self.memory_in_doubt()
            && self.hears_what_waited_until().is_none()
            && self.life_order(workload).is_none()
            && self.in_service(&host)
            && self.keeps_its_room(workload, &host);
        if !(nowhere_else && wanted && may_happen && able) || asked_again || self.seen_live(workload, &host) {
            return None;
        }
        if record.in_question {
            return None; // an operator says whether it should run (scenario 886)
        }
        if record.stopped_on.is_some() {
            return None; // a person stopped it, as far as is known: another start is no question (scenarios 584 and 585)
        }
        if record.asked.is_some() {
            // A revert is given again only if its host said since then that the workload is off: a second one loses work.
            let listed = self.belief.host_senses.get(&host).and_then(|senses| senses.inventory);
            return if listed.is_some_and(|at| at > since) { self.carry_on(workload, Some(&host)) } else { None };
        }
        // It may have been renamed and started by a person while its host was out of sight (scenario 555).
        let senses = self.belief.host_senses.get(&host);
        let listed = senses.is_some_and(|senses| senses.inventory.is_some_and(|at| Some(at) > senses.heard_before));
        let untold = if listed { self.only_hearsay(workload, &host) } else { Some(host.clone()) };
        if let Some(untold) = untold {
            return Some(waiting_until(WaitingOn::Answer { host: untold }, self.now + LISTED_WITHIN));
        }
        let bound = self.recovery(workload).start_timeout;
        let action = Action::Start { workload: workload.clone(), host };
        Some(self.order_life(action, bound, "what came of the start before is unknown; the same host tells by another"))
    }

    /// Why nothing may be done now, if so.
    fn may_act(&self, workload: &WorkloadId) -> Option<Doing> {
        let Some(record) = self.belief.workloads.get(workload) else {
            return Some(Doing::Nothing { why: Why::NotManaged });
        };
        if self.rule(workload).is_none() {
            return Some(Doing::Nothing { why: Why::NotManaged });
        }
        if record.unprotected {
            return Some(Doing::Nothing { why: Why::Unprotected });
        }
        if self.belief.cut_off {
            return Some(waiting(WaitingOn::Sight));
        }
        if self.memory_in_doubt() {
            return Some(waiting(WaitingOn::EveryHost));
        }
        if let Some(until) = self.hears_what_waited_until() {
            return Some(waiting_until(WaitingOn::Waking, until));
        }
        if let Some(order) = self.life_order(workload) {
            return Some(waiting_for(order));
        }
        let Some(doubtful) = record.unsettled.keys().next() else {
            return record.in_question.then(|| waiting(WaitingOn::Wish));
        };
        Some(self.waiting_for_host(doubtful).unwrap_or_else(|| waiting(WaitingOn::Answer { host: doubtful.clone() })))
    }

    /// What a workload waits for if a host on which it may run is not in sight.
    fn waiting_for_host(&self, host: &HostId) -> Option<Doing> {
        let host_of = || host.clone();
        match self.belief.hosts.get(host).map(|record| &record.phase) {
            Some(HostPhase::Lost { .. }) => {
                let fenceable = self.host_spec(host).is_some_and(|spec| !spec.fence.is_empty());
                let on = if fenceable {
                    WaitingOn::Fence { host: host_of() }
                } else {
                    WaitingOn::ConfirmOff { host: host_of() }
                };
                return Some(waiting(on));
            }
            None => return Some(waiting(WaitingOn::Answer { host: host_of() })),
            Some(_) => {}
        }
        let listed = self.belief.host_senses.get(host).is_some_and(|senses| senses.inventory.is_some());
        match self.sight(host) {
            Sight::Heard if listed => None,
            Sight::Heard | Sight::Unknown => Some(waiting(WaitingOn::Answer { host: host_of() })),
            Sight::Unmanaged => Some(waiting(WaitingOn::Management { host: host_of() })),
            Sight::Suspect | Sight::Silent | Sight::Hung => Some(waiting(WaitingOn::Clarity { host: host_of() })),
        }
    }

    fn where_is_it(&mut self, workload: &WorkloadId) -> Next {
        let hosts: Vec<HostId> = self
            .belief
            .workloads
            .get(workload)
            .map(|record| record.may_run_on.iter().cloned().collect())
            .unwrap_or_default();
        if let Some(doing) = hosts.iter().find_map(|host| self.waiting_for_host(host)) {
            return Next::Is(doing);
        }
        match hosts.as_slice() {
            [] => self.runs_nowhere(workload),
            [host] => self.runs_here(workload, host),
            _ if self.belief.workloads.get(workload).and_then(|record| self.runs_twice(record)).is_some() => {
                Next::Is(Doing::Blocked { by: Blocked::RunsTwice })
            }
            _ => Next::Is(self.end_hanging_starts(workload, &hosts).unwrap_or(waiting(WaitingOn::Arrival))),
        }
    }

    /// Another host was told to start it and never answered: that start may still be carried out. The
    /// removal of the definition there waits for the start, and ends it (scenario 280).
    fn end_hanging_starts(&mut self, workload: &WorkloadId, hosts: &[HostId]) -> Option<Doing> {
        let record = self.belief.workloads.get(workload)?;
        let (there, hanging): (Vec<&HostId>, Vec<&HostId>) =
            hosts.iter().partition(|host| self.seen_live(workload, host));
        let pending = hanging.iter().all(|host| record.pending_on.contains(*host));
        // Where it runs nowhere, and more than one start hangs, all but one are ended, and that one is gone on with (scenario 926).
        let kept = hanging.iter().find(|host| record.host.as_ref() == Some(**host)).or(hanging.first()).copied();
        let hanging: Vec<&HostId> = hanging.into_iter().filter(|it| !there.is_empty() || Some(*it) != kept).collect();
        let wanted = !there.is_empty() || record.want == Want::Running;
        let host = hanging.first().filter(|_| pending && wanted && self.manages(workload))?;
        for host in &hanging {
            self.order_side(Action::Undefine { workload: workload.clone(), host: (*host).clone() });
        }
        Some(waiting(WaitingOn::Answer { host: (*host).clone() }))
    }

    // ---- off everywhere -------------------------------------------------------------------------------------------

    fn runs_nowhere(&mut self, workload: &WorkloadId) -> Next {
        self.tidy(workload);
        let record = self.belief.workloads.get(workload).expect("decided on record");
        if record.want != Want::Running {
            return Next::Is(Doing::Nothing { why: Why::StoppedByPerson });
        }
        if let Some(doing) = self.carry_on(workload, None) {
            return Next::Is(doing);
        }
        let moves_live = |record: &WorkloadRecord| record.moving.as_ref().is_some_and(|moving| !moving.cold);
        if self.belief.workloads.get(workload).is_some_and(moves_live)
            && let Some(moving) = self.belief.workloads.get_mut(workload).and_then(|record| record.moving.as_mut())
        {
            moving.cold = true; // a stop of ours came through before it could move live (scenario 847)
        }
        let record = self.belief.workloads.get(workload).expect("decided on record");
        if let Some(moving) = record.moving.clone() {
            let tired = moving.why != MoveWhy::Operator && moving.not_cold_to.len() >= COLD_TRIES;
            if let Some(from) = moving.from.filter(|from| tired && self.can_go_back_to(from)) {
                return Next::Place(PlaceFor::GoBack { to: from });
            }
            return Next::Place(PlaceFor::ColdMove { to: moving.to, leave: moving.failures > 0 });
        }
        let Some(trouble) = record.trouble.as_ref().filter(|trouble| trouble.started_at.is_none()) else {
            return Next::Is(waiting_until(WaitingOn::Arrival, self.now + Span::secs(1)));
        };
        if let Some(waiting) = self.waits_for_its_host(workload) {
            return Next::Is(waiting);
        }
        if let Some(host) = &record.host
            && trouble.cause == Cause::HostLost
            && let Some(until) = self.reviving_until(host)
        {
            let on = WaitingOn::Revive { power: Some(mainstay_model::PowerState::Off) };
            return Next::Is(waiting_until(on, until));
        }
        self.recover(workload, None)
    }

    // ---- in one place, in sight -----------------------------------------------------------------------------------

    fn runs_here(&mut self, workload: &WorkloadId, host: &HostId) -> Next {
        let record = self.belief.workloads.get(workload).expect("decided on record");
        if record.pending_on.contains(host) && !self.seen_live(workload, host) {
            return self.may_start_yet(workload, host);
        }
        let seen = self.belief.workload_senses.get(workload).and_then(|senses| senses.seen.get(host)).copied();
        let Some(Seen { state, .. }) = seen else {
            return Next::Is(waiting(WaitingOn::Answer { host: host.clone() }));
        };
        let record = self.belief.workloads.get(workload).expect("decided on record");
        if let Want::Stopped { how, .. } = record.want {
            return Next::Is(match how {
                StoppedHow::Operator => self.stop_as_asked(workload, host),
                _ if state == DomainState::Running => {
                    self.stop(workload, host, StopHow::Graceful, "a person had stopped it before a late start of ours")
                }
                _ => Doing::Nothing { why: Why::StoppedByPerson },
            });
        }
        if let Some(doing) = self.carry_on(workload, Some(host)) {
            return Next::Is(doing);
        }
        let record = self.belief.workloads.get(workload).expect("decided on record");
        let in_trouble = record.trouble.as_ref().is_some_and(|trouble| trouble.started_at.is_none());
        if in_trouble && (!self.seen_in_sight(workload, host) || self.doubtful(host)) {
            // It may be well again, or a person may have stopped it (scenarios 586 and 858).
            return Next::Is(waiting(WaitingOn::Answer { host: host.clone() }));
        }
        // Or a person may have started it elsewhere beside this one (scenario 998).
        if let Some(untold) = self.listens_for(host).filter(|_| in_trouble) {
            return Next::Is(waiting_until(WaitingOn::Answer { host: untold }, self.now + LISTED_WITHIN));
        }
        if in_trouble || record.trying.is_some() {
            return self.recover(workload, Some(host));
        }
        match state {
            DomainState::Paused(PauseReason::Asleep) => Next::Is(Doing::Nothing { why: Why::Asleep }),
            DomainState::Paused(PauseReason::Person | PauseReason::Other) => {
                Next::Is(Doing::Nothing { why: Why::PausedByPerson })
            }
            DomainState::Running => self.runs_well(workload, host),
            _ => Next::Is(waiting(WaitingOn::Answer { host: host.clone() })),
        }
    }

    /// An operator wants it stopped, and it is not. Nothing is forced that was not asked to be; what was is forced until it is
    /// off (scenario 185).
    fn stop_as_asked(&mut self, workload: &WorkloadId, host: &HostId) -> Doing {
        let force_at = self.belief.workloads.get(workload).and_then(|record| record.force_stop_at);
        let again_at = self.belief.workload_senses.get(workload).and_then(|senses| senses.stop_again_at);
        match again_at.filter(|at| *at > self.now) {
            Some(at) => waiting_until(WaitingOn::StopAgain, at),
            None if force_at.is_some_and(|at| at <= self.now) => {
                let because = "an operator asked for force, at once or after the time given for it";
                self.stop(workload, host, StopHow::Force, because)
            }
            None => self.stop(workload, host, StopHow::Graceful, "an operator asked for it"),
        }
    }

    /// Off on its one possible host, where a start of ours hangs and may be carried out yet.
    fn may_start_yet(&mut self, workload: &WorkloadId, host: &HostId) -> Next {
        let record = self.belief.workloads.get(workload).expect("decided on record");
        if record.want != Want::Running {
            return Next::Is(Doing::Nothing { why: Why::StoppedByPerson });
        }
        if record.trouble.is_none() && record.trying.is_none() {
            return Next::Is(waiting(WaitingOn::Answer { host: host.clone() }));
        }
        if let Some(doing) = self.carry_on(workload, Some(host)) {
            return Next::Is(doing);
        }
        self.recover_where_pending(workload, host)
    }

    fn runs_well(&mut self, workload: &WorkloadId, host: &HostId) -> Next {
        self.tidy(workload);
        if !self.is_stuck_on(workload, host)
            && let Some(record) = self.belief.workloads.get(workload)
            && record.stuck.is_some()
            && let Some(record) = self.belief.workloads.get_mut(workload)
        {
            record.stuck = None;
        }
        if let Some(why) = self.reason_to_move(workload, host) {
            let to = match &why {
                MoveWhy::FailBack => self.belief.workloads.get(workload).and_then(|record| record.came_from.clone()),
                _ => None,
            };
            let record = self.belief.workloads.get_mut(workload).expect("decided on record");
            record.moving = Some(Moving::live(host, to, why));
            if why == MoveWhy::Maintenance {
                record.came_from.get_or_insert_with(|| host.clone());
            }
        }
        let record = self.belief.workloads.get(workload).expect("decided on record");
        if let Some(moving) = record.moving.clone() {
            return self.move_on(workload, host, moving);
        }
        let answered = self.belief.workload_senses.get(workload).is_some_and(|senses| senses.answered_since.is_some());
        if record.answers && !answered {
            return Next::Is(waiting(WaitingOn::Guest));
        }
        if record.came_from.as_ref() == Some(host) {
            self.belief.workloads.get_mut(workload).expect("looked up above").came_from = None;
        }
        Next::Is(Doing::Nothing { why: Why::Well })
    }

    /// Why a well workload should leave its host, if it should and no move is under way.
    fn reason_to_move(&self, workload: &WorkloadId, host: &HostId) -> Option<MoveWhy> {
        let record = self.belief.workloads.get(workload)?;
        if record.moving.is_some() || !self.manages(workload) || self.stays(workload) {
            return None;
        }
        if self.belief.hosts.get(host)?.maintenance.is_some() {
            return Some(MoveWhy::Maintenance);
        }
        let home = record.came_from.as_ref().filter(|home| *home != host)?;
        let returns = self.rule(workload)?.policy.fail_back != FailBack::Stay;
        let no_worse = || self.points(workload, home) >= self.points(workload, host);
        (returns && self.is_well(workload) && self.in_service(home) && no_worse()).then_some(MoveWhy::FailBack)
    }

    /// True if a workload that loses its host may go back there for no better reason than that it was there.
    pub(crate) fn home_counts(&self, workload: &WorkloadId) -> bool {
        self.rule(workload).is_none_or(|rule| rule.policy.fail_back != FailBack::Preferred)
    }

    /// True if the host may get work now.
    pub(crate) fn in_service(&self, host: &HostId) -> bool {
        self.sight(host) == Sight::Heard
            && self.host_spec(host).is_some()
            && self.belief.hosts.get(host).is_some_and(|record| {
                record.phase == HostPhase::Online
                    && record.maintenance.is_none()
                    && record.capacity != Default::default()
            })
    }

    // ---- orders ---------------------------------------------------------------------------------------------------

    pub(super) fn stop(&mut self, workload: &WorkloadId, host: &HostId, how: StopHow, because: &str) -> Doing {
        let bound = match how {
            StopHow::Graceful => {
                let force_at = self.belief.workloads.get(workload).and_then(|record| record.force_stop_at);
                let patience = self.recovery(workload).stop_timeout;
                force_at.filter(|at| *at > self.now).map_or(patience, |at| patience.min(at.since(self.now)))
            }
            StopHow::Force => Span::secs(30), // libvirt gives a stopped process 10 s before it kills it
        };
        let action = Action::Stop { workload: workload.clone(), host: host.clone(), how };
        self.order_life(action, bound, because)
    }

    pub(super) fn order_life(&mut self, action: Action, within: Span, because: &str) -> Doing {
        let text = action.to_string();
        let id = self.order(action, within, Purpose::Life);
        Doing::Ordered { id, text, because: because.to_owned() }
    }

    /// Housekeeping where a workload is not: leftovers of it on hosts it was taken from, that nobody may start.
    fn tidy(&mut self, workload: &WorkloadId) {
        let Some(record) = self.belief.workloads.get(workload) else { return };
        if record.left.is_empty() || !self.manages(workload) {
            return;
        }
        let current = record.host.clone();
        let senses = self.belief.workload_senses.get(workload);
        let refused = |host: &HostId| {
            senses.and_then(|senses| senses.stays_defined.get(host)).is_some_and(|until| *until > self.now)
        };
        let leftovers: Vec<HostId> = record
            .left
            .iter()
            .filter(|host| Some(*host) != current.as_ref() && self.in_service(host) && !refused(host))
            .cloned()
            .collect();
        for host in leftovers {
            let seen = self.belief.workload_senses.get(workload).and_then(|senses| senses.seen.get(&host));
            match seen.map(|seen| seen.state.is_live()) {
                Some(true) => {}
                Some(false) if self.runs_on(workload).is_some() => {
                    let action = Action::Undefine { workload: workload.clone(), host };
                    self.order_side(action);
                }
                Some(false) => {}
                None => {
                    // Its newest list does not have it: nothing is left there.
                    self.belief.workloads.get_mut(workload).expect("looked up above").left.remove(&host);
                }
            }
        }
    }

    /// A protected workload must never be started by a host alone, wherever a definition of it is: after a failover it would
    /// run twice, and what a person stopped would come back with its host.
    fn disable_autostart(&mut self, workload: &WorkloadId) {
        let Some(senses) = self.belief.workload_senses.get(workload).filter(|_| self.manages(workload)) else { return };
        let starts_alone = senses.seen.iter().filter(|(host, seen)| seen.autostart && self.sight(host) == Sight::Heard);
        let hosts: Vec<HostId> = starts_alone.map(|(host, _)| host.clone()).collect();
        for host in hosts {
            self.order_side(Action::DisableAutostart { workload: workload.clone(), host });
        }
    }

    /// Orders a side action, unless the same is under way, or one has failed a moment ago.
    pub(super) fn order_side(&mut self, action: Action) {
        let workload = action.workload().expect("side actions are about workloads");
        if self.tidies_later(workload) {
            return;
        }
        let subject = Subject::Workload(workload.clone());
        let under_way = self.belief.in_flight(&subject).any(|record| record.order.action == action);
        if !under_way {
            self.order(action, TIDY_TIMEOUT, Purpose::Side);
        }
    }

    /// True while housekeeping rests because it failed.
    pub(super) fn tidies_later(&self, workload: &WorkloadId) -> bool {
        let senses = self.belief.workload_senses.get(workload);
        senses.and_then(|senses| senses.tidy_after).is_some_and(|after| after > self.now)
    }

    pub(super) fn watch_only(&self, workload: &WorkloadId) -> bool {
        self.rule(workload).is_some_and(|rule| rule.policy.managed == Managed::WatchOnly)
    }
}
