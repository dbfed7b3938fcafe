//! Alarms are level-triggered: each decision about a subject says which alarms should stand, and the difference to those
//! that do is raised or cleared. So an alarm can neither be doubled nor forgotten.

use crate::{
    belief::{AlarmKey, Asked, HostPhase, HostRecord, HostSenses, PointKey, Sight, StoppedHow, Want, WorkloadRecord},
    engine::Engine,
    explain::{Blocked, Doing, WaitingOn},
    restored::named,
};
use mainstay_model::{
    Alarm, Cause, Code, DomainState, EventKind, HostChannel, HostId, PauseReason, PointId, PointState, Severity,
    Subject, Time, WorkloadId, shell_word,
};

/// A stop that an operator asked for, and that failed so often, needs a person.
const STOPS_FAILED: u32 = 3;
const STOPS_FAILED_BY_FORCE: u32 = 2;

/// An alarm that should stand.
pub(crate) struct Draft {
    pub code: Code,
    pub severity: Severity,
    pub text: String,
    pub advice: String,
}

pub(crate) fn draft(code: Code, severity: Severity, text: impl Into<String>, advice: impl Into<String>) -> Draft {
    Draft { code, severity, text: text.into(), advice: advice.into() }
}

/// Why each fence level failed.
pub(crate) fn failures(record: &HostRecord) -> String {
    let why = record.fence_failures.iter().map(|(level, why)| format!("level {}: {why}", level + 1));
    why.collect::<Vec<_>>().join("; ")
}

impl Engine {
    /// Makes the alarms of a subject those which should stand, but for what the configuration mutes or weighs otherwise.
    pub(crate) fn settle_alarms(&mut self, subject: Subject, drafts: Vec<Draft>) {
        if drafts.is_empty() && self.belief.alarms.len() == 0 {
            return;
        }
        let policy = &self.spec.alarms;
        let weighed = |draft: Draft| Some(Draft { severity: policy.severity(draft.code, draft.severity)?, ..draft });
        let drafts: Vec<Draft> = drafts.into_iter().filter_map(weighed).collect();
        let first = AlarmKey(subject.clone(), Code(0));
        let last = AlarmKey(subject.clone(), Code(u16::MAX));
        let standing: Vec<AlarmKey> = self.belief.alarms.range(first..=last).map(|(key, _)| key.clone()).collect();
        for key in standing {
            if !drafts.iter().any(|draft| draft.code == key.1)
                && let Some(alarm) = self.belief.alarms.remove(&key)
            {
                let text = format!("alarm {} cleared: {}", alarm.code, alarm.text);
                self.note(EventKind::Alarm, Severity::Green, subject.clone(), text);
            }
        }
        for draft in drafts {
            let key = AlarmKey(subject.clone(), draft.code);
            match self.belief.alarms.get(&key) {
                None => {
                    self.note(
                        EventKind::Alarm,
                        draft.severity,
                        subject.clone(),
                        format!("alarm {}: {}", draft.code, draft.text),
                    );
                    self.belief.alarms.put(Alarm {
                        code: draft.code,
                        subject: subject.clone(),
                        severity: draft.severity,
                        text: draft.text,
                        advice: draft.advice,
                        raised_at: self.now,
                        acknowledged: None,
                    });
                }
                Some(alarm) if alarm.text != draft.text || alarm.severity != draft.severity => {
                    let worse = draft.severity > alarm.severity;
                    let alarm = self.belief.alarms.get_mut(&key).expect("looked up above");
                    (alarm.severity, alarm.text, alarm.advice) = (draft.severity, draft.text, draft.advice);
                    if worse {
                        alarm.acknowledged = None;
                    }
                }
                Some(_) => {}
            }
        }
    }

    pub(crate) fn cluster_alarms(&mut self) {
        let mut drafts = Vec::new();
        if self.belief.cut_off {
            drafts.push(draft(
                Code::CUT_OFF,
                Severity::Red,
                "most hosts fell silent together: the controller itself seems cut off, and acts on nothing",
                "look at the controller's network; if the hosts really are off: mainstay host confirm-off HOST",
            ));
        }
        drafts.extend(self.memory_alarm());
        if let Some(why) = &self.refused {
            drafts.push(draft(
                Code::RELOAD_REFUSED,
                Severity::Yellow,
                format!("a changed configuration was refused, the old one stays: {why}"),
                "see all that is wrong: mainstay config check; mend it, then: mainstay config reload",
            ));
        }
        // The cluster's alarms come first by their key. Most of the time there is none: every step passes here.
        if drafts.is_empty() && self.belief.alarms.keys().next().is_none_or(|key| key.0 != Subject::Cluster) {
            return;
        }
        self.settle_alarms(Subject::Cluster, drafts);
    }

    /// The memory was put back: which hosts are waited for, then which VMs an operator must speak of.
    fn memory_alarm(&self) -> Option<Draft> {
        let why = &self.belief.meta.restored()?.why;
        let missing = self.unlisted();
        if !missing.is_empty() {
            let missing = named(missing.iter().map(HostId::as_str));
            return Some(draft(
                Code::MEMORY_RESTORED,
                Severity::Red,
                format!(
                    "the memory is older than the world ({why}): nothing is started until every host has listed its VMs or is proved off; missing: {missing}"
                ),
                "wait for them; of a host that is off for good say so: mainstay host confirm-off HOST",
            ));
        }
        let asked: Vec<&str> = self.in_question().filter(|it| self.manages(it)).map(WorkloadId::as_str).collect();
        if asked.is_empty() {
            return None; // no operator is asked about what no rule manages
        }
        let (count, first) = (asked.len(), shell_word(asked[0]));
        Some(draft(
            Code::MEMORY_RESTORED,
            Severity::Red,
            format!(
                "the memory is older than the world ({why}): {count} VMs ran by it and are off now; say which should run: {}",
                named(asked.into_iter())
            ),
            format!("for each: mainstay vm start {first}, or vm stop; all others stay off: mainstay memory accept"),
        ))
    }

    pub(crate) fn host_alarms(&mut self, host: &HostId, doing: &Doing) {
        let Some(record) = self.belief.hosts.get(host) else { return };
        let Some(senses) = self.belief.host_senses.get(host) else { return };
        let mut drafts = Vec::new();
        if self.host_spec(host).is_none() {
            let count = self.belief.on_host(host).filter(|workload| self.manages(workload)).count();
            if count > 0 {
                drafts.push(draft(
                    Code::HOST_REMOVED,
                    Severity::Red,
                    format!("{host} is not in the configuration any more, but may still run {count} workloads, watched by nobody"),
                    format!("put {host} back into the configuration; or switch it off, then: mainstay host confirm-off {host}"),
                ));
            }
            return self.settle_alarms(Subject::Host(host.clone()), drafts);
        }
        match &record.phase {
            HostPhase::Lost { .. } | HostPhase::Off { .. } if self.said_goodbye(host) => drafts.push(draft(
                Code::HOST_OUT,
                Severity::Yellow,
                format!("{host} was shut down in good order, and is out of service"),
                format!("switch it on when it is wanted again; it returns by itself once it answers: mainstay host show {host}"),
            )),
            HostPhase::Lost { exhausted, .. } => {
                drafts.push(draft(
                    Code::HOST_LOST,
                    Severity::Red,
                    format!("{host} is lost: no channel hears it"),
                    format!("look at it; what is done: mainstay explain {host}"),
                ));
                if let Doing::Waiting { on: WaitingOn::ConfirmOff { .. }, .. } = doing {
                    drafts.push(draft(
                        Code::CONFIRM_OFF,
                        Severity::Red,
                        format!("{host} has no fence device: its workloads wait until a person says that it is off"),
                        format!("make sure that {host} is off, then: mainstay host confirm-off {host}"),
                    ));
                }
                if *exhausted {
                    drafts.push(draft(
                        Code::FENCE_FAILED,
                        Severity::Red,
                        format!(
                            "every fence level of {host} failed: its workloads can't be started elsewhere ({})",
                            failures(record)
                        ),
                        format!("switch {host} off by hand, then: mainstay host confirm-off {host}; and repair its fence device"),
                    ));
                }
            }
            HostPhase::Off { .. } => {
                drafts.push(draft(
                    Code::HOST_OUT,
                    Severity::Yellow,
                    format!("{host} is off and out of service"),
                    format!(
                        "find out why it was lost; it returns by itself once it answers: mainstay host show {host}"
                    ),
                ));
                if let Doing::Blocked { by: Blocked::Flapping { power_ons } } = doing {
                    drafts.push(draft(
                        Code::HOST_FLAPPING,
                        Severity::Red,
                        format!(
                            "{host} was powered on {power_ons} times within an hour and does not stay on: it is left off"
                        ),
                        format!("repair {host}, then power it on; or: mainstay host maintenance {host} on"),
                    ));
                }
            }
            HostPhase::Online | HostPhase::Returning => {}
        }
        drafts.extend(self.management_alarm(host, record, senses));
        drafts.extend(self.device_alarms(host));
        if let Doing::Blocked { by: Blocked::Drain { workload, why } } = doing {
            drafts.push(draft(
                Code::DRAIN_BLOCKED,
                Severity::Yellow,
                format!("{host} can't be drained: {workload}: {why}"),
                format!("make room or stop it: mainstay explain {}", shell_word(workload)),
            ));
        }
        self.settle_alarms(Subject::Host(host.clone()), drafts);
    }

    /// Whether a host's hypervisor should answer and does not, though nothing says that the host is down.
    fn management_alarm(&self, host: &HostId, record: &HostRecord, senses: &HostSenses) -> Option<Draft> {
        let in_use = !matches!(record.phase, HostPhase::Off { .. });
        let overdue =
            senses.silence_on(HostChannel::Hypervisor, self.now) >= self.spec.detection.management_fault_after;
        let never = record.capacity == Default::default();
        match senses.sight {
            Sight::Unmanaged if in_use && overdue => {}
            Sight::Silent if never => {}
            _ => return None,
        }
        let sense = senses.channels.get(&HostChannel::Hypervisor)?;
        let error = sense.error.as_deref().unwrap_or("no answer");
        let (text, advice) = if never {
            (
                format!("{host} has never been reached: {error}"),
                format!("check its address and uri in the configuration: mainstay host show {host}"),
            )
        } else if sense.unasked {
            (
                format!("{host} can't be asked: {error}; nothing is fenced, its workloads can't be managed"),
                format!(
                    "mend that; {host} is asked again every moment, a changed configuration takes: mainstay config reload"
                ),
            )
        } else {
            (
                format!(
                    "the hypervisor management of {host} does not answer, though the host or its guests do: nothing is fenced, its workloads can't be managed ({error})"
                ),
                format!("look at libvirtd on {host} (systemctl status libvirtd)"),
            )
        };
        Some(draft(Code::MANAGEMENT_FAULT, Severity::Yellow, text, advice))
    }

    pub(crate) fn workload_alarms(&mut self, workload: &WorkloadId, doing: &Doing) {
        let (subject, name) = (Subject::Workload(workload.clone()), shell_word(workload));
        if self.rule(workload).is_none() || self.belief.workloads.get(workload).is_none_or(|record| record.unprotected)
        {
            return self.settle_alarms(subject, vec![]);
        }
        let record = self.belief.workloads.get(workload).expect("checked above");
        let mut drafts = Vec::new();
        let migrating = self
            .life_order(workload)
            .is_some_and(|order| matches!(order.order.action, mainstay_model::Action::Migrate { .. }));
        if let Some(live) = self.runs_twice(record).filter(|_| !migrating) {
            let hosts: Vec<&str> = live.iter().map(|host| host.as_str()).collect();
            drafts.push(draft(
                Code::RUNS_TWICE,
                Severity::Red,
                format!("{workload} is seen running on {} at once", hosts.join(" and ")),
                format!("stop one of them at once (virsh destroy {name}); Mainstay touches neither"),
            ));
        }
        let namesakes = self.namesakes(workload);
        if !namesakes.is_empty() {
            let hosts: Vec<&str> = namesakes.iter().map(HostId::as_str).collect();
            drafts.push(draft(
                Code::NAMESAKE,
                Severity::Yellow,
                format!("another VM named {workload} is on {}: nobody looks after that one", hosts.join(" and ")),
                format!("rename it there, shut off (virsh domrename {name} NEW)"),
            ));
        }
        if let Want::Stopped { how, .. } = &record.want {
            let word = match how {
                StoppedHow::FoundOff | StoppedHow::Operator => None,
                StoppedHow::Shutdown => Some("shut down by its owner"),
                StoppedHow::Destroyed => Some("destroyed through the hypervisor"),
                StoppedHow::Saved => Some("saved to disk"),
            };
            if let Some(word) = word {
                drafts.push(draft(
                    Code::STOPPED_BY_PERSON,
                    Severity::Yellow,
                    format!("{workload} was {word} and is left alone"),
                    format!(
                        "start it again: mainstay vm start {name}; or accept: mainstay alarm ack {} {name}",
                        Code::STOPPED_BY_PERSON
                    ),
                ));
            }
        }
        drafts.extend(self.asked_alarms(record));
        let state = record.may_run_on.first().and_then(|host| self.seen_state(workload, host));
        if self.is_deaf(workload) {
            drafts.push(draft(
                Code::UNRESPONSIVE,
                Severity::Yellow,
                format!("{workload} answers no probe, though it still reads, writes or sends: it is not reset"),
                format!("look at its network and its load; restart it if need be: mainstay vm restart {name}"),
            ));
        }
        match state {
            Some(DomainState::Paused(PauseReason::Asleep)) => drafts.push(draft(
                Code::ASLEEP,
                Severity::Yellow,
                format!("{workload} is asleep: its guest went to sleep by its own power management"),
                format!("wake it: mainstay vm start {name} (or virsh dompmwakeup {name})"),
            )),
            Some(DomainState::Paused(PauseReason::NoSpace)) => {
                let stores: Vec<&str> = record.datastores.iter().map(String::as_str).collect();
                let on = if stores.is_empty() { String::new() } else { format!(" on {}", stores.join(" or ")) };
                drafts.push(draft(
                    Code::DISK_FULL,
                    Severity::Red,
                    format!("{workload} is paused: no space is left for its disk{on}"),
                    "make room there; the VM then goes on by itself within a minute, and is not restarted for it",
                ));
            }
            _ => {}
        }
        if let Some(DomainState::Paused(reason @ (PauseReason::Person | PauseReason::Other))) = state {
            let whom = if reason == PauseReason::Person { "by a person" } else { "by somebody unknown" };
            drafts.push(draft(
                Code::PAUSED_BY_PERSON,
                Severity::Yellow,
                format!("{workload} was paused {whom}"),
                format!("let it go on: virsh resume {name}"),
            ));
        }
        let trouble = record.trouble.as_ref().filter(|trouble| trouble.exhausted && trouble.started_at.is_none());
        if let Some(cause) = trouble.map(|trouble| trouble.cause) {
            drafts.push(draft(
                Code::RECOVERY_EXHAUSTED,
                Severity::Red,
                match cause {
                    Cause::Vanished => format!("{workload} vanished from its host: removed or moved by somebody else?"),
                    _ => format!("{workload} {cause}, and nothing that was tried has brought it back"),
                },
                match cause {
                    Cause::Vanished => format!(
                        "if it was removed on purpose: mainstay vm unprotect {name}; else: mainstay vm start {name}"
                    ),
                    _ => format!("look at its console and log, then: mainstay vm start {name}"),
                },
            ));
        }
        match doing {
            Doing::Blocked { by: Blocked::NoHost { why } } => drafts.push(draft(
                Code::NO_HOST_FITS,
                Severity::Red,
                format!("no host takes {workload}: {why}"),
                "make room, bring in a host, or loosen the constraint that is named",
            )),
            Doing::Blocked { by: Blocked::RunsAs { name: other, host } } => drafts.push(draft(
                Code::NO_HOST_FITS,
                Severity::Yellow,
                format!("{workload} is neither started nor moved: the same VM, by its uuid, runs as {other} on {host}"),
                format!("if it was renamed, leave the old name alone: mainstay vm unprotect {name}"),
            )),
            Doing::Waiting { on: WaitingOn::Predecessor { workload: other, .. }, .. } => drafts.push(draft(
                Code::ORDER_BLOCKED,
                Severity::Yellow,
                format!("{workload} waits for {other}, which does not run yet"),
                format!("see why: mainstay explain {}", shell_word(other)),
            )),
            Doing::Blocked { by: Blocked::WatchOnly { cause } } => drafts.push(draft(
                Code::WATCH_ONLY_DOWN,
                Severity::Yellow,
                format!("{workload} {cause}; it is only watched"),
                format!("start it: mainstay vm start {name}; or let Mainstay manage it (manage = \"yes\")"),
            )),
            _ => {}
        }
        if let Some((broken, why)) = self.broken.get(workload) {
            drafts.push(draft(
                Code::CONSTRAINT_BROKEN,
                Severity::Yellow,
                format!("{workload} breaks a required constraint ({broken}), and no host mends it: {why}"),
                "make room on the host that is named, or loosen the constraint",
            ));
        }
        let runs = self.runs_on(workload).is_some();
        if let Some(lacks) = self.ready_nowhere_else(record).filter(|_| runs && self.manages(workload)) {
            let advice = match self.bound_by_device(record) {
                Some(bound) => format!(
                    "expect it to be down while {bound} is, and acknowledge that: mainstay alarm ack {} {name}; or take the \
                     device out of its definition, and look again: mainstay ready {name}",
                    Code::READY_NOWHERE_ELSE
                ),
                None => format!("provide what is missing on one of these hosts; look again: mainstay ready {name}"),
            };
            let text = format!("{workload} could start on no other host now: {lacks}");
            drafts.push(draft(Code::READY_NOWHERE_ELSE, Severity::Yellow, text, advice));
        }
        drafts.extend(self.revert_alarm(workload));
        drafts.extend(self.protection_alarms(workload));
        self.settle_alarms(subject, drafts);
    }

    /// What an operator asked for, and what can't be done or is not known to be done.
    fn asked_alarms(&self, record: &WorkloadRecord) -> Vec<Draft> {
        let (mut drafts, workload, name) = (Vec::new(), &record.workload, shell_word(&record.workload));
        let by_operator = matches!(record.want, Want::Stopped { how: StoppedHow::Operator, .. });
        let forced = record.force_stop_at.is_some_and(|at| at <= self.now);
        let patience = if forced { STOPS_FAILED_BY_FORCE } else { STOPS_FAILED };
        if by_operator && record.stop_failures >= patience && !record.may_run_on.is_empty() {
            let tries = record.stop_failures;
            drafts.push(if forced {
                draft(
                    Code::STOP_FAILED,
                    Severity::Red,
                    format!("{workload} is to be stopped by force and still runs: {tries} tries failed"),
                    format!(
                        "see what holds it (virsh domjobinfo {name}; a disk that hangs); it is tried again by itself"
                    ),
                )
            } else {
                draft(
                    Code::STOP_FAILED,
                    Severity::Yellow,
                    format!("{workload} is to be stopped and does not shut down: it was asked {tries} times"),
                    format!("stop it by force: mainstay vm stop {name} --force"),
                )
            });
        }
        let asks =
            |asked: &&Asked| asked.in_doubt && self.runs_on(workload).is_some() && self.life_order(workload).is_none();
        if let Some(asked) = record.asked.as_ref().filter(asks) {
            drafts.push(draft(
                Code::REVERT_IN_DOUBT,
                Severity::Yellow,
                format!("{workload} runs, and it is not known whether the {} was done: its answer was lost", asked.what),
                format!(
                    "look at it; to revert it again: mainstay snapshot revert {name}; if all is as it should be: mainstay alarm ack {} {name}",
                    Code::REVERT_IN_DOUBT
                ),
            ));
        }
        drafts
    }

    fn seen_state(&self, workload: &WorkloadId, host: &HostId) -> Option<DomainState> {
        Some(self.belief.workload_senses.get(workload)?.seen.get(host)?.state)
    }

    /// Silent for as long as a hung guest would be, but active.
    fn is_deaf(&self, workload: &WorkloadId) -> bool {
        // Also if we started it, and all that is missing is an answer (scenario 866).
        let comes_up = |record: &WorkloadRecord| record.trouble.as_ref().is_none_or(|it| it.started_at.is_some());
        let answers = self.belief.workloads.get(workload).is_some_and(|record| record.answers && comes_up(record));
        let running = self.runs_on(workload).is_some_and(|host| self.sight(host) == Sight::Heard);
        answers && running && self.deaf_at(workload).is_some_and(|at| at <= self.now)
    }

    /// When it counts as deaf if it stays silent. A guest that boots has as long as it has for a start.
    pub(crate) fn deaf_at(&self, workload: &WorkloadId) -> Option<Time> {
        let senses = self.belief.workload_senses.get(workload).filter(|senses| senses.silent().is_some())?;
        let policy = self.recovery(workload);
        let since = senses.heard().max(senses.up_since).max(senses.watched_since).max(senses.rebooted_at)?;
        let boots = senses.answered_since.is_none() || senses.rebooted_at > senses.heard();
        Some(since + if boots { policy.answer_within.max(policy.hung_after) } else { policy.hung_after })
    }

    /// The workload's ladder brought it back to older data.
    fn revert_alarm(&self, workload: &WorkloadId) -> Option<Draft> {
        let (reverted, name) = (self.unanswered_revert(workload)?, shell_word(workload));
        let to = &reverted.to;
        let verb = if reverted.certain { "was reverted" } else { "may have been reverted" };
        let (fate, advice) = match &reverted.set_aside {
            Some(kept) => (
                format!("what it wrote after that is set aside as {kept}{}", self.also_set_aside(workload, kept)),
                format!(
                    "go back to it: mainstay snapshot revert {name} {kept}; or, when nothing in it is needed: mainstay snapshot delete {name} {kept}"
                ),
            ),
            None => (
                "what it wrote after that is not among its recovery points".to_owned(),
                format!("check what is missing, then accept it: mainstay alarm ack {} {name}", Code::REVERTED),
            ),
        };
        let text = format!("{workload} {verb} to recovery point {to}; {fate}");
        Some(draft(Code::REVERTED, Severity::Red, text, advice))
    }

    /// What other reverts set aside.
    fn also_set_aside(&self, workload: &WorkloadId, kept: &PointId) -> String {
        let others = self.belief.points_of(workload);
        let others = others.filter(|point| point.state == PointState::SetAside && point.id != *kept);
        let others: Vec<&str> = others.map(|point| point.id.as_str()).collect();
        if others.is_empty() { String::new() } else { format!(", and before other reverts as {}", others.join(", ")) }
    }

    fn protection_alarms(&self, workload: &WorkloadId) -> Vec<Draft> {
        let (mut drafts, name) = (Vec::new(), shell_word(workload));
        let (Some(record), Some(rule)) = (self.belief.workloads.get(workload), self.protection(workload)) else {
            return drafts;
        };
        if let Some(why) = &record.point_refused {
            drafts.push(draft(
                Code::POINT_FAILED,
                Severity::Yellow,
                format!("no recovery point of {workload} can be taken: {why}"),
                format!("choose another kind for it ([[protection]], `kind`), or take it out of protection; see: mainstay events {name}"),
            ));
        } else if record.point_failures >= 2 {
            drafts.push(draft(
                Code::POINT_FAILED,
                Severity::Yellow,
                format!("{} recovery points of {workload} in a row failed", record.point_failures),
                format!("see why: mainstay events {name}"),
            ));
        }
        let stuck = self.belief.workload_senses.get(workload).map(|senses| &senses.stuck_points);
        let stuck = stuck
            .into_iter()
            .flatten()
            .filter(|(point, _)| self.belief.points.contains(&PointKey(workload.clone(), (*point).clone())));
        let stuck: Vec<(&PointId, &str)> = stuck.map(|(point, (_, why))| (point, why.as_str())).collect();
        if let Some((point, why)) = stuck.first() {
            let others = if stuck.len() > 1 { format!(", nor {} others", stuck.len() - 1) } else { String::new() };
            drafts.push(draft(
                Code::POINT_STUCK,
                Severity::Yellow,
                format!("recovery point {point} of {workload} can't be deleted{others}: {why}"),
                format!("it is tried again every minute, and other points are deleted meanwhile; see: mainstay events {name}"),
            ));
        }
        if let Some(point) = &record.point_lost {
            drafts.push(draft(
                Code::POINT_LOST,
                Severity::Yellow,
                format!("recovery point {point} of {workload} is gone: somebody else deleted it"),
                format!("take another one: mainstay snapshot create {name}"),
            ));
        }
        if self.point_overdue_at(workload).is_some_and(|at| at <= self.now) && !self.belief.cut_off {
            drafts.push(draft(
                Code::POINT_OVERDUE,
                Severity::Yellow,
                format!(
                    "the newest good recovery point of {workload} is older than twice its interval of {}",
                    rule.policy.every
                ),
                format!("see why: mainstay explain {name}"),
            ));
        }
        drafts
    }
}
