//! What an operator can ask. A command is checked against belief, then only changes what should be; the next decision, in
//! the same step, does the rest. Refusals say what to do instead.

mod host;
mod point;
mod workload;

use crate::{belief::AlarmKey, engine::Engine};
use mainstay_model::{Acknowledged, Code, Command, EventKind, Reply, Severity, Subject};

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
