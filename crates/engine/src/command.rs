//! What an operator can ask. A command is checked against belief, then only changes what should be; the next decision, in
//! the same step, does the rest. Refusals say what to do instead.

use crate::place::state_words;
use crate::{
    belief::{
        AlarmKey, AskedFor, HostPhase, Maintenance, MoveWhy, Moving, OffProof, PointKey, Sight, StoppedHow, Want,
    },
    engine::Engine,
};
use mainstay_model::{
    Acknowledged, Action, Cause, Code, Command, DomainState, EventKind, HostId, PauseReason, PointBy, PointId,
    PointState, Reply, Severity, Span, StopHow, Subject, WorkloadId, shell_word, spec::Rung,
};

fn accepted(text: impl Into<String>) -> Reply {
    Reply::Accepted { text: text.into() }
}
fn nothing(text: impl Into<String>) -> Reply {
    Reply::Nothing { text: text.into() }
}
fn refused(text: impl Into<String>) -> Reply {
    Reply::Refused { text: text.into() }
}

impl Engine {
    pub(crate) fn command(&mut self, command: Command) -> Reply {
        let starts = matches!(
            command,
            Command::StartWorkload { .. }
                | Command::RestartWorkload { .. }
                | Command::MoveWorkload { .. }
                | Command::Revert { .. }
                | Command::Rebalance
        );
        if let Some(refused) = self.refused_in_doubt().filter(|_| starts) {
            return refused;
        }
        match command {
            Command::ConfirmOff { host } => self.confirm_off(&host),
            Command::FenceHost { host } => self.fence_now(&host),
            Command::CycleHost { host, busy } => self.cycle_now(&host, busy),
            Command::Maintenance { host, on } => self.maintenance(&host, on),
            Command::StartWorkload { workload, host, leave_state } => self.start_now(&workload, host, leave_state),
            Command::StopWorkload { workload, how, within } => self.stop_now(&workload, how, within),
            Command::RestartWorkload { workload, how } => self.restart_now(&workload, how),
            Command::MoveWorkload { workload, to, cold } => self.move_now(&workload, to, cold),
            Command::Protect { workload } => self.set_unprotected(&workload, false),
            Command::Unprotect { workload } => self.set_unprotected(&workload, true),
            Command::TakePoint { workload, name } => self.point_now(&workload, name),
            Command::Revert { workload, point } => self.revert_now(&workload, point),
            Command::DeletePoint { workload, point } => self.delete_point_now(&workload, point),
            Command::Rebalance => self.rebalance_now(),
            Command::AcceptMemory { start } => self.accept_memory(start),
            Command::Acknowledge { code, subject, by } => self.acknowledge(code, subject, by),
        }
    }

    fn commanded(&mut self, subject: Subject, text: &str) {
        self.note(EventKind::Command, Severity::Green, subject.clone(), text);
        match &subject {
            Subject::Host(host) => self.agenda.touch_host(host),
            Subject::Workload(workload) => self.agenda.touch(workload),
            Subject::Cluster => {}
        }
    }

    // ---- hosts ----------------------------------------------------------------------------------------------------

    fn known_host(&self, host: &HostId) -> Result<&HostPhase, Reply> {
        match self.belief.hosts.get(host) {
            Some(record) => Ok(&record.phase),
            None => Err(refused(format!("there is no host {host}; see: mainstay host list"))),
        }
    }

    fn confirm_off(&mut self, host: &HostId) -> Reply {
        match self.known_host(host) {
            Err(reply) => return reply,
            Ok(HostPhase::Off { .. }) => return nothing(format!("{host} is known to be off")),
            Ok(_) => {}
        }
        if !matches!(self.sight(host), Sight::Silent | Sight::Suspect | Sight::Unknown) {
            return refused(format!(
                "{host} answers, so it is not off; fence it (mainstay host fence {host}) or switch it off first"
            ));
        }
        if !self.listened_to(host) {
            return refused(format!(
                "nobody has listened to {host} for long enough: the controller began a moment ago; try again in a few seconds"
            ));
        }
        self.commanded(Subject::Host(host.clone()), "a person confirmed that it is off");
        self.proved_off(host, OffProof::Person);
        accepted(format!("{host} counts as off; its workloads start elsewhere"))
    }

    /// True if the host's silence tells something: it was lost before, is not watched at all, or was listened to for long.
    fn listened_to(&self, host: &HostId) -> bool {
        let lost = matches!(self.belief.hosts.get(host).map(|record| &record.phase), Some(HostPhase::Lost { .. }));
        let since = self.belief.host_senses.get(host).map_or(self.now, |senses| senses.watched_since);
        let long = self.now.since(since) >= self.spec.detection.host_lost_after;
        lost || long || self.host_spec(host).is_none() || self.sight(host) != Sight::Unknown
    }

    fn fence_now(&mut self, host: &HostId) -> Reply {
        if let Err(reply) = self.known_host(host) {
            return reply;
        }
        if self.host_spec(host).is_none_or(|spec| spec.fence.is_empty()) {
            return refused(format!(
                "{host} has no fence device; switch it off by hand, then: mainstay host confirm-off {host}"
            ));
        }
        if self.belief.cut_off {
            return refused("the controller seems cut off from most hosts, and acts on nothing");
        }
        if self.host_health(host) == crate::health::HostHealth::Fencing {
            return nothing(format!("{host} is being fenced already"));
        }
        self.commanded(Subject::Host(host.clone()), "a person asked to fence it");
        let heard = self.belief.host_senses.get(host).and_then(|senses| senses.heard()).unwrap_or(self.now);
        let now = self.now;
        let record = self.belief.hosts.get_mut(host).expect("checked above");
        record.phase = HostPhase::Lost { level: 0, try_at: now, exhausted: false, power: None };
        record.fence_asked = true;
        (record.since, record.cycle) = (now, false);
        if let Some(senses) = self.belief.host_senses.get_mut(host) {
            senses.inventory = None;
        }
        self.open_incident(Subject::Host(host.clone()), mainstay_model::IncidentCause::HostLost, heard);
        let workloads: Vec<WorkloadId> = self.belief.on_host(host).cloned().collect();
        for workload in &workloads {
            self.join_incident(workload, host, heard);
            self.agenda.touch(workload);
        }
        self.order(
            Action::Fence { host: host.clone(), level: 0 },
            mainstay_model::Span::minutes(2),
            crate::belief::Purpose::Life,
        );
        accepted(format!("{host} is being fenced; {} workloads are on it", workloads.len()))
    }

    /// A test of the fence devices by what they are for: the host is fenced, and then powered on whatever the policy is.
    fn cycle_now(&mut self, host: &HostId, busy: bool) -> Reply {
        let count = self.belief.on_host(host).count();
        if count > 0 && !busy {
            return refused(format!(
                "{count} workloads may run on {host}, and would lose their power; empty it first: mainstay host maintenance {host} on"
            ));
        }
        let reply = self.fence_now(host);
        if let (Reply::Accepted { .. }, Some(record)) = (&reply, self.belief.hosts.get_mut(host)) {
            record.cycle = true;
            return accepted(format!("{host} is being fenced, and powered on again"));
        }
        reply
    }

    fn maintenance(&mut self, host: &HostId, on: bool) -> Reply {
        if let Err(reply) = self.known_host(host) {
            return reply;
        }
        let in_maintenance = self.belief.hosts.get(host).is_some_and(|record| record.maintenance.is_some());
        match (on, in_maintenance) {
            (true, true) => nothing(format!("{host} is in maintenance already")),
            (false, false) => nothing(format!("{host} is not in maintenance")),
            (true, false) => {
                let left = self.belief.on_host(host).filter(|workload| self.manages(workload)).count();
                self.set_maintenance(host, Some(Maintenance { since: self.now, by_window: false }));
                accepted(format!("{host} goes into maintenance; {left} workloads leave it"))
            }
            (false, true) => {
                self.set_maintenance(host, None);
                accepted(format!("{host} is taken back into service"))
            }
        }
    }

    fn rebalance_now(&mut self) -> Reply {
        if self.belief.cut_off {
            return refused("the controller seems cut off from most hosts, and acts on nothing");
        }
        let proposal = self.balance_now();
        if proposal.moves.is_empty() { nothing(proposal.to_string()) } else { accepted(proposal.to_string()) }
    }

    // ---- workloads ------------------------------------------------------------------------------------------------

    /// The workload, if it is known and managed, and nothing else is being done with it.
    fn free_workload(&self, workload: &WorkloadId) -> Result<(), Reply> {
        let Some(record) = self.belief.workloads.get(workload) else {
            return Err(refused(format!("there is no workload {workload}; see: mainstay vm list")));
        };
        if self.rule(workload).is_none() {
            return Err(refused(format!(
                "no [[vm]] rule of the configuration speaks of {workload}: it is not managed"
            )));
        }
        if record.unprotected {
            return Err(refused(format!("{workload} is unprotected; first: mainstay vm protect {workload}")));
        }
        if self.belief.cut_off {
            return Err(refused("the controller seems cut off from most hosts, and acts on nothing"));
        }
        if let Some(order) = self.life_order(workload) {
            return Err(refused(format!("{workload} is busy: {}; try again when that has ended", order.order.action)));
        }
        Ok(())
    }

    fn start_now(&mut self, workload: &WorkloadId, host: Option<HostId>, leave_state: bool) -> Reply {
        if let Err(reply) = self.free_workload(workload) {
            return reply;
        }
        if let Some(reply) = self.wake_now(workload).or_else(|| self.point_of_stopped_first(workload)) {
            return reply;
        }
        if host.is_none() && self.stands_there_in_trouble(workload) {
            self.commanded(Subject::Workload(workload.clone()), "a person asked to start it: its ladder begins anew");
            let record = self.belief.workloads.get_mut(workload).expect("checked above");
            record.attempts.clear();
            if let Some(trouble) = &mut record.trouble {
                trouble.exhausted = false;
            }
            return accepted(format!("{workload} is being brought back"));
        }
        if let Some(at) = self.runs_on(workload) {
            return nothing(format!("{workload} runs on {at}"));
        }
        if let Some(reply) = self.runs_renamed_already(workload) {
            return reply;
        }
        if self.start_hangs_there(workload, host.as_ref()) {
            self.commanded(
                Subject::Workload(workload.clone()),
                "a person asked to start it, where a start of it hangs",
            );
            self.asked_anew(workload, None);
            self.wanted_from_now(workload);
            let record = self.belief.workloads.get_mut(workload).expect("checked above");
            record.attempts.clear();
            self.trouble(workload, Cause::StartFailed);
            return accepted(format!("{workload} is being started"));
        }
        let record = self.belief.workloads.get(workload).expect("checked above");
        if !record.may_run_on.is_empty() {
            let hosts: Vec<&str> = record.may_run_on.iter().map(HostId::as_str).collect();
            return refused(format!(
                "{workload} may still run on {}; see: mainstay explain {workload}",
                hosts.join(" and ")
            ));
        }
        if let Some(host) = &host {
            if !self.reaches(host, record) {
                return refused(format!(
                    "{host} can't reach the disks of {workload}; see: mainstay explain {workload}"
                ));
            }
            if !self.takes(host, record) {
                return refused(format!("{host} is not in service, or has no room; see: mainstay explain {workload}"));
            }
            if let Some((bound, states)) =
                self.bound_by_state(record).filter(|(bound, _)| bound != host && !leave_state)
            {
                let states = state_words(&states);
                let name = shell_word(workload);
                return refused(format!(
                    "{states} on {bound} only: started on {host}, {workload} would begin without; start it on {bound}, or, if \
                     that may be left behind: mainstay vm start {name} --on {host} --leave-state"
                ));
            }
        }
        self.commanded(Subject::Workload(workload.clone()), "a person asked to start it");
        self.asked_anew(workload, None);
        self.answered(workload);
        self.wanted_from_now(workload);
        let record = self.belief.workloads.get_mut(workload).expect("checked above");
        record.attempts.clear();
        record.trying = None;
        record.trouble = None;
        record.leave_state = leave_state;
        record.moving = Some(Moving::start(host));
        accepted(format!("{workload} is being started"))
    }

    /// A guest that sleeps is woken where it is; `None`: it does not sleep.
    fn wake_now(&mut self, workload: &WorkloadId) -> Option<Reply> {
        let record = self.belief.workloads.get(workload)?;
        let host = record.may_run_on.first().filter(|_| record.may_run_on.len() == 1)?.clone();
        let seen = self.belief.workload_senses.get(workload)?.seen.get(&host)?;
        if seen.state != DomainState::Paused(PauseReason::Asleep) || self.sight(&host) != Sight::Heard {
            return None;
        }
        self.commanded(Subject::Workload(workload.clone()), "a person asked to wake it");
        let record = self.belief.workloads.get_mut(workload)?;
        record.want = Want::Running;
        record.stopped_on = None;
        let bound = self.recovery(workload).start_timeout;
        self.order(Action::Resume { workload: workload.clone(), host }, bound, crate::belief::Purpose::Life);
        Some(accepted(format!("{workload} is being woken")))
    }

    /// Panicked, hung or paused in one place in sight: it does not run, and yet it is not off.
    fn stands_there_in_trouble(&self, workload: &WorkloadId) -> bool {
        let Some(record) = self.belief.workloads.get(workload) else { return false };
        let in_trouble = record.trouble.as_ref().is_some_and(|trouble| trouble.started_at.is_none());
        let mut hosts = record.may_run_on.iter();
        in_trouble && hosts.next().is_some_and(|host| self.sight(host) == Sight::Heard) && hosts.next().is_none()
    }

    /// It is off, and all that keeps it from being started is a start that was never answered, there where it is wanted.
    fn start_hangs_there(&self, workload: &WorkloadId, wanted: Option<&HostId>) -> bool {
        self.belief.workloads.get(workload).is_some_and(|record| {
            let hangs = |host: &HostId| record.pending_on.contains(host) && wanted.is_none_or(|wanted| wanted == host);
            record.unsettled.is_empty() && !record.may_run_on.is_empty() && record.may_run_on.iter().all(hangs)
        })
    }

    fn stop_now(&mut self, workload: &WorkloadId, how: StopHow, within: Option<Span>) -> Reply {
        if let Err(reply) = self.free_workload(workload) {
            return reply;
        }
        self.answered(workload);
        let record = self.belief.workloads.get(workload).expect("checked above");
        if record.want != Want::Running && record.may_run_on.is_empty() {
            return nothing(format!("{workload} is stopped"));
        }
        let away = record.may_run_on.iter().find(|host| self.sight(host) != Sight::Heard).cloned();
        self.commanded(Subject::Workload(workload.clone()), "a person asked to stop it");
        self.give_up_incident(workload);
        self.asked_anew(workload, None);
        let now = self.now;
        let record = self.belief.workloads.get_mut(workload).expect("checked above");
        record.want = Want::Stopped { at: now, how: StoppedHow::Operator };
        // Force goes on until it is off: what fails once is tried by force again.
        record.force_stop_at = match how {
            StopHow::Force => Some(now),
            StopHow::Graceful => within.map(|within| now + within),
        };
        record.trouble = None;
        record.trying = None;
        record.moving = None;
        match away {
            None => accepted(format!("{workload} is being stopped, and stays so")),
            Some(host) => accepted(format!(
                "{workload} is stopped as soon as {host} answers, and is started nowhere else; see: mainstay explain {workload}"
            )),
        }
    }

    fn restart_now(&mut self, workload: &WorkloadId, how: StopHow) -> Reply {
        if let Err(reply) = self.free_workload(workload) {
            return reply;
        }
        let Some(host) = self.runs_on(workload).cloned() else {
            return refused(format!("{workload} does not run; start it: mainstay vm start {workload}"));
        };
        self.commanded(Subject::Workload(workload.clone()), "a person asked to restart it");
        self.asked_anew(workload, Some(AskedFor::Restart { how }));
        // It takes the place of a stop that was asked for before and did not come through (scenario 344).
        if let Some(record) = self.belief.workloads.get_mut(workload)
            && record.want != Want::Running
        {
            record.want = Want::Running;
            record.force_stop_at = None;
        }
        self.order_stop_for_restart(workload, &host, how);
        accepted(format!("{workload} is being restarted"))
    }

    fn move_now(&mut self, workload: &WorkloadId, to: Option<HostId>, cold: bool) -> Reply {
        if let Err(reply) = self.free_workload(workload) {
            return reply;
        }
        let Some(from) = self.runs_on(workload).cloned() else {
            return refused(format!("{workload} does not run; start it there: mainstay vm start {workload} --on HOST"));
        };
        if to.as_ref() == Some(&from) {
            return nothing(format!("{workload} runs on {from}"));
        }
        if let Some(to) = &to
            && !self.in_service(to)
        {
            return refused(format!("{to} is not in service; see: mainstay host show {to}"));
        }
        if cold {
            return self.move_cold_now(workload, &from, to);
        }
        let company = self.moves_with(workload);
        if let Err(why) = self.could_move(&company, to.as_ref()) {
            return refused(format!("{workload} can't go there: {why}"));
        }
        let others = company.len() - 1;
        for member in company {
            let asked = if member == *workload { "it" } else { workload.as_str() };
            self.commanded(Subject::Workload(member.clone()), &format!("a person asked to move {asked}"));
            self.asked_anew(&member, None);
            let record = self.belief.workloads.get_mut(&member).expect("company is on record");
            record.moving = Some(Moving::live(&from, to.clone(), MoveWhy::Operator));
        }
        match others {
            0 => accepted(format!("{workload} is being moved")),
            _ => accepted(format!("{workload} is being moved, and {others} with it that must be on its host")),
        }
    }

    /// Shut down here, started there. Nothing is shut down that its target could not take.
    fn move_cold_now(&mut self, workload: &WorkloadId, from: &HostId, to: Option<HostId>) -> Reply {
        let Some(to) = to else { return refused("a cold move needs a host to go to") };
        let record = self.belief.workloads.get(workload).expect("checked by the caller");
        if !self.reaches(&to, record) {
            return refused(format!("{to} can't reach the disks of {workload}; see: mainstay explain {workload}"));
        }
        if !self.takes(&to, record) {
            return refused(format!("{to} has no room for {workload}; see: mainstay explain {workload}"));
        }
        if let Some((bound, states)) = self.bound_by_state(record) {
            let states = state_words(&states);
            return refused(format!(
                "{states} on {bound} only, and moves along only live: {workload} is not shut down for that"
            ));
        }
        self.commanded(Subject::Workload(workload.clone()), "a person asked to move it cold");
        self.asked_anew(workload, None);
        let record = self.belief.workloads.get_mut(workload).expect("checked by the caller");
        record.moving = Some(Moving::cold(from, to));
        let action = Action::Stop { workload: workload.clone(), host: from.clone(), how: StopHow::Graceful };
        let bound = self.recovery(workload).stop_timeout;
        self.order(action, bound, crate::belief::Purpose::Life);
        accepted(format!("{workload} is shut down and started there"))
    }

    fn set_unprotected(&mut self, workload: &WorkloadId, unprotected: bool) -> Reply {
        let Some(record) = self.belief.workloads.get(workload) else {
            return refused(format!("there is no workload {workload}; see: mainstay vm list"));
        };
        if record.unprotected == unprotected {
            return nothing(format!("{workload} is {} already", if unprotected { "unprotected" } else { "protected" }));
        }
        if self.rule(workload).is_none() {
            return refused(format!("no [[vm]] rule of the configuration speaks of {workload}: add one"));
        }
        let record = self.belief.workloads.get_mut(workload).expect("checked above");
        record.unprotected = unprotected;
        if unprotected {
            self.let_go(workload);
            self.commanded(Subject::Workload(workload.clone()), "a person said to leave it alone");
            accepted(format!("{workload} is left alone until: mainstay vm protect {workload}"))
        } else {
            self.commanded(Subject::Workload(workload.clone()), "a person put it under protection");
            accepted(format!("{workload} is protected"))
        }
    }

    fn runs_renamed_already(&self, workload: &WorkloadId) -> Option<Reply> {
        let (name, host) = self.runs_under_another_name(workload)?;
        Some(refused(format!("the same VM, by its uuid, runs as {name} on {host}: it was renamed")))
    }

    // ---- recovery points ------------------------------------------------------------------------------------------

    fn point_now(&mut self, workload: &WorkloadId, name: Option<PointId>) -> Reply {
        if let Err(reply) = self.free_workload(workload) {
            return reply;
        }
        let host = match self.runs_on(workload).cloned() {
            Some(_) if !self.is_well(workload) => {
                return refused(format!("{workload} is not well, and no recovery point is taken of a sick workload"));
            }
            Some(host) => host,
            None => match self.stopped_on(workload) {
                Ok(host) => host,
                Err(why) => return refused(format!("{why}; no recovery point is taken of it")),
            },
        };
        if self.point_order(workload) {
            return refused(format!("a recovery point of {workload} is being taken or deleted; try again in a moment"));
        }
        let name = name.unwrap_or_else(|| self.point_name(workload));
        if self.belief.points.contains(&PointKey(workload.clone(), name.clone())) {
            return refused(format!("{workload} has a recovery point {name} already"));
        }
        self.commanded(Subject::Workload(workload.clone()), "a person asked for a recovery point");
        self.take_point(workload, &host, name.clone(), PointBy::Person);
        accepted(format!("recovery point {name} of {workload} is being taken"))
    }

    /// While a point of a stopped workload is taken, its images are no others': nothing may start it, here or elsewhere.
    fn point_of_stopped_first(&self, workload: &WorkloadId) -> Option<Reply> {
        let order = self.point_order_of(workload).filter(|_| self.stopped_on(workload).is_ok())?;
        Some(refused(format!("{workload} is busy: {}; try again when that has ended", order.order.action)))
    }

    fn revert_now(&mut self, workload: &WorkloadId, point: Option<PointId>) -> Reply {
        if let Err(reply) = self.free_workload(workload) {
            return reply;
        }
        if let Some(reply) = self.point_of_stopped_first(workload) {
            return reply;
        }
        let Some(point) = point.or_else(|| self.last_good_point(workload).map(|point| point.id.clone())) else {
            return refused(format!("{workload} has no good recovery point; see: mainstay snapshot list {workload}"));
        };
        let state = self.belief.points.get(&PointKey(workload.clone(), point.clone())).map(|record| record.state);
        if !matches!(state, Some(PointState::Good | PointState::Bad | PointState::SetAside)) {
            return refused(format!(
                "{workload} has no recovery point {point}; see: mainstay snapshot list {workload}"
            ));
        }
        if let Some(reply) = self.runs_renamed_already(workload) {
            return reply;
        }
        let record = self.belief.workloads.get(workload).expect("checked above");
        let place = match record.may_run_on.len() {
            0 => record.host.clone().filter(|host| self.in_service(host)),
            1 => record.may_run_on.first().filter(|host| self.sight(host) == Sight::Heard).cloned(),
            _ => None,
        };
        let Some(host) = place else {
            return refused(format!("it is not certain where {workload} is; see: mainstay explain {workload}"));
        };
        self.commanded(Subject::Workload(workload.clone()), &format!("a person asked to revert it to {point}"));
        self.answered(workload);
        let off_since = self.off_since(workload);
        let keep_broken = self.protection(workload).is_none_or(|rule| rule.policy.keep_broken);
        self.asked_anew(workload, Some(AskedFor::Revert { point: point.clone(), keep_broken }));
        let well_until = self.last_well_as_wanted(workload);
        self.wanted_from_now(workload);
        let record = self.belief.workloads.get_mut(workload).expect("checked above");
        record.trouble = None;
        record.moving = None;
        record.trying = None;
        record.attempts.push(crate::belief::Attempt {
            rung: Rung::Revert,
            at: self.now,
            host: Some(host.clone()),
            failed: false,
            only_stopped: false,
            ran: false,
        });
        let action = Action::Revert { workload: workload.clone(), host, point: point.clone(), keep_broken };
        self.order(action, mainstay_model::Span::minutes(5), crate::belief::Purpose::Life);
        self.trouble_by_revert(workload, well_until, off_since);
        accepted(format!("{workload} is being reverted to {point}"))
    }

    /// A revert makes an incident of its own, so that its downtime and loss are on record. `off_since`: what was off already has
    /// written nothing since.
    fn trouble_by_revert(
        &mut self,
        workload: &WorkloadId,
        well_until: mainstay_model::Time,
        off_since: Option<mainstay_model::Time>,
    ) {
        let now = self.now;
        let record = self.belief.workloads.get_mut(workload).expect("checked by the caller");
        record.trouble = Some(crate::belief::Trouble {
            cause: Cause::PersonStop,
            since: now,
            well_until,
            started_at: None,
            pictured: true,
            exhausted: false,
        });
        if record.incident.is_some() {
            self.down_again(workload, well_until); // one that is down stays so
        } else {
            let cause = mainstay_model::IncidentCause::Reverted;
            self.open_incident(Subject::Workload(workload.clone()), cause, well_until);
        }
        self.wrote_until(workload, off_since);
    }

    /// The last moment at which it was well, or off as wanted: what it is down for after that is downtime.
    fn last_well_as_wanted(&self, workload: &WorkloadId) -> mainstay_model::Time {
        let wanted = self.belief.workloads.get(workload).is_some_and(|record| record.want == Want::Running);
        let known_until = if self.now.since(self.awake_since) < crate::goodbye::TOLD_ON_WAKING {
            self.asleep_at // what came of it while the controller slept is not known yet
        } else {
            self.now
        };
        let last = self.last_well(workload).filter(|_| wanted);
        last.map_or(self.now, |last| if self.is_well(workload) { known_until } else { last.min(known_until) })
    }

    /// An operator wants it to run.
    fn wanted_from_now(&mut self, workload: &WorkloadId) {
        let now = self.now;
        let Some(record) = self.belief.workloads.get_mut(workload) else { return };
        if record.want != Want::Running {
            self.belief.workload_senses.entry(workload.clone()).or_default().wanted_since = Some(now);
        }
        record.want = Want::Running;
        record.stopped_on = None;
    }

    /// Since when it is off, if it is: it has written nothing since.
    fn off_since(&self, workload: &WorkloadId) -> Option<mainstay_model::Time> {
        let record = self.belief.workloads.get(workload).filter(|record| record.may_run_on.is_empty())?;
        let seen = self.belief.workload_senses.get(workload)?.seen.get(record.host.as_ref()?)?;
        Some(seen.since)
    }

    fn delete_point_now(&mut self, workload: &WorkloadId, point: PointId) -> Reply {
        let Some(record) = self.belief.points.get(&PointKey(workload.clone(), point.clone())) else {
            return refused(format!(
                "{workload} has no recovery point {point}; see: mainstay snapshot list {workload}"
            ));
        };
        if record.state == PointState::Good && self.last_good_point(workload).is_some_and(|last| last.id == point) {
            return refused(format!(
                "{point} is the last good recovery point of {workload}; take another one first: mainstay snapshot create {workload}"
            ));
        }
        if self.point_order(workload) || self.point_in_flight(workload, &point) {
            return refused(format!("a recovery point of {workload} is in use just now; try again in a moment"));
        }
        let host = self.belief.workloads.get(workload).and_then(|record| record.host.clone());
        let Some(host) = host.filter(|host| self.sight(host) == Sight::Heard) else {
            return refused(format!("the host of {workload} does not answer"));
        };
        self.commanded(
            Subject::Workload(workload.clone()),
            &format!("a person asked to delete recovery point {point}"),
        );
        self.delete_point(workload, &host, point.clone());
        accepted(format!("recovery point {point} of {workload} is being deleted"))
    }

    // ---- alarms ---------------------------------------------------------------------------------------------------

    fn acknowledge(&mut self, code: Code, subject: Subject, by: String) -> Reply {
        // The name that the API knows counts more than the one in the command.
        let by = self.actor.as_ref().map_or(by, ToString::to_string);
        let key = AlarmKey(subject.clone(), code);
        match self.belief.alarms.get(&key) {
            None => return refused(format!("there is no alarm {code} of {subject}; see: mainstay alarm list")),
            Some(alarm) if alarm.acknowledged.is_some() => {
                return nothing(format!("{code} of {subject} is acknowledged already"));
            }
            Some(_) => {}
        }
        let at = self.now;
        self.note(EventKind::Command, Severity::Green, subject.clone(), format!("alarm {code} acknowledged by {by}"));
        self.belief.alarms.get_mut(&key).expect("looked up above").acknowledged = Some(Acknowledged { at, by });
        match (code, &subject) {
            (Code::REVERTED, Subject::Workload(workload)) => self.revert_acknowledged(workload),
            (Code::REVERT_IN_DOUBT, Subject::Workload(workload)) => {
                self.asked_is_done(workload); // a person looked: it is as it should be
                self.agenda.touch(workload);
            }
            _ => {}
        }
        accepted(format!("{code} of {subject} is acknowledged"))
    }
}
