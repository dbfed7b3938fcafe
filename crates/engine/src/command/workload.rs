//! What an operator can ask of a workload: start, stop, restart or move it, or leave it alone.

use super::{accepted, nothing, refused};
use crate::{
    belief::{AskedFor, MoveWhy, Moving, Sight, StoppedHow, Want, WorkloadRecord},
    engine::Engine,
    place::{bound_words, state_words},
};
use mainstay_model::{
    Action, Cause, DomainState, HostId, PauseReason, Reply, Span, StopHow, Subject, WorkloadId, shell_word,
};

impl Engine {
    /// The workload, if it is known and managed, and nothing else is being done with it.
    pub(super) fn free_workload(&self, workload: &WorkloadId) -> Result<(), Reply> {
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

    pub(super) fn start_now(&mut self, workload: &WorkloadId, host: Option<HostId>, leave_state: bool) -> Reply {
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
                return refused(self.out_of_reach(host, record));
            }
            if !self.takes(host, record) {
                return refused(format!("{host} is not in service, or has no room; see: mainstay explain {workload}"));
            }
            if let Some(home) = self.may_keep_its_memory(record).filter(|home| home != host && !leave_state) {
                return refused(format!(
                    "{workload} was saved to disk on {home} a moment ago, and {home} has not listed it since; try again in a moment"
                ));
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
        self.belief.workload_senses.entry(workload.clone()).or_default().asked_to_start = Some(self.now);
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

    pub(super) fn stop_now(&mut self, workload: &WorkloadId, how: StopHow, within: Option<Span>) -> Reply {
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

    pub(super) fn restart_now(&mut self, workload: &WorkloadId, how: StopHow) -> Reply {
        if let Err(reply) = self.free_workload(workload) {
            return reply;
        }
        let Some(host) = self.runs_on(workload).cloned() else {
            return refused(format!("{workload} does not run; start it: mainstay vm start {workload}"));
        };
        self.commanded(Subject::Workload(workload.clone()), "a person asked to restart it");
        // It came up from its trouble in this very step: only from now on it is not its ladder that restarts it (scenario 894).
        let (now, came_up) = (self.now, self.runs_again(workload));
        let record = self.belief.workloads.get_mut(workload).filter(|_| came_up);
        if let Some(trouble) = record.and_then(|record| record.trouble.as_mut()) {
            trouble.started_at.get_or_insert(now);
        }
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

    pub(super) fn move_now(&mut self, workload: &WorkloadId, to: Option<HostId>, cold: bool) -> Reply {
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

    /// Why it can't go to a host outside of its reach.
    fn out_of_reach(&self, host: &HostId, record: &WorkloadRecord) -> String {
        let workload = &record.workload;
        let why = match self.bound_by_device(record) {
            Some(bound) => format!("{workload} is {}", bound_words(&bound, &record.passed_through)),
            None => format!("{host} can't reach the disks of {workload}"),
        };
        format!("{why}; see: mainstay explain {workload}")
    }

    /// Shut down here, started there. Nothing is shut down that its target could not take.
    fn move_cold_now(&mut self, workload: &WorkloadId, from: &HostId, to: Option<HostId>) -> Reply {
        let Some(to) = to else { return refused("a cold move needs a host to go to") };
        let record = self.belief.workloads.get(workload).expect("checked by the caller");
        if !self.reaches(&to, record) {
            return refused(self.out_of_reach(&to, record));
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

    pub(super) fn set_unprotected(&mut self, workload: &WorkloadId, unprotected: bool) -> Reply {
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
            self.withdraw(workload);
            accepted(format!("{workload} is left alone until: mainstay vm protect {workload}"))
        } else {
            self.commanded(Subject::Workload(workload.clone()), "a person put it under protection");
            accepted(format!("{workload} is protected"))
        }
    }

    pub(super) fn runs_renamed_already(&self, workload: &WorkloadId) -> Option<Reply> {
        let (name, host) = self.runs_under_another_name(workload)?;
        Some(refused(format!("the same VM, by its uuid, runs as {name} on {host}: it was renamed")))
    }

    // ---- recovery points ------------------------------------------------------------------------------------------

    /// An operator wants it to run.
    pub(super) fn wanted_from_now(&mut self, workload: &WorkloadId) {
        let now = self.now;
        let Some(record) = self.belief.workloads.get_mut(workload) else { return };
        if record.want != Want::Running {
            self.belief.workload_senses.entry(workload.clone()).or_default().wanted_since = Some(now);
        }
        record.want = Want::Running;
        record.stopped_on = None;
    }

    /// Since when it is off, if it is: it has written nothing since.
    pub(super) fn off_since(&self, workload: &WorkloadId) -> Option<mainstay_model::Time> {
        let record = self.belief.workloads.get(workload).filter(|record| record.may_run_on.is_empty())?;
        let seen = self.belief.workload_senses.get(workload)?.seen.get(record.host.as_ref()?)?;
        Some(seen.since)
    }
}
