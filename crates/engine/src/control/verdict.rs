//! The verdict: one sentence on how things are, and its severity, from which `mainstay status` makes its exit code.
//!
//! Alarms come first. Then every host and VM counts that is not as it should be and has no alarm that says so: "all is well" means
//! that every VM the configuration speaks of runs and answers, or was stopped by a person, and that every host was heard.
//! Acknowledged alarms count no more, but a VM that should run and does not counts whatever was acknowledged.

use crate::{
    belief::Want,
    engine::Engine,
    explain::{Doing, WaitingOn},
    health::{HostHealth, VmHealth},
    view::Verdict,
};
use mainstay_model::{Alarm, HostId, Severity, Subject, WorkloadId, shell_word, spec::Managed};
use std::collections::BTreeSet;

/// Who looks after a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Care {
    Managed,
    OnlyWatched,
    Unprotected,
    /// No rule of the configuration speaks of it: it is not counted.
    None,
}

/// What keeps a verdict from being "all is well", in the order in which it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Short {
    Vm(VmShort, /* left alone, and so not brought back */ Option<&'static str>),
    Host(HostShort),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum VmShort {
    Crashed,
    Down,
    DoesNotAnswer,
    NeverAnswered,
    Paused,
    OutOfSight,
    BroughtBack,
    Starting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum HostShort {
    Lost,
    Fencing,
    Suspect,
    Unmanaged,
    NotHeard,
    NotListed,
    Returning,
}

/// What the verdict needs of a VM.
#[derive(Clone, Copy, Debug)]
struct VmState {
    care: Care,
    wanted: bool,
    health: VmHealth,
    /// Something is done about it, or waited for.
    in_recovery: bool,
    /// It answered at some time and does not now.
    silent: bool,
    /// It has probes, has had time to boot, and never answered one.
    never_answered: bool,
}

fn vm_short(vm: VmState) -> Option<Short> {
    let left_alone = match vm.care {
        Care::None => return None,
        Care::Managed => None,
        Care::OnlyWatched => Some("only watched"),
        Care::Unprotected => Some("unprotected"),
    };
    if !vm.wanted {
        return None;
    }
    let what = match vm.health {
        VmHealth::Stopped | VmHealth::Migrating => return None,
        VmHealth::Unknown => VmShort::OutOfSight,
        _ if vm.in_recovery => VmShort::BroughtBack,
        VmHealth::Starting => VmShort::Starting,
        VmHealth::Unresponsive => VmShort::DoesNotAnswer,
        VmHealth::Crashed => VmShort::Crashed,
        VmHealth::Paused => VmShort::Paused,
        VmHealth::Down => VmShort::Down,
        VmHealth::Running if vm.silent => VmShort::DoesNotAnswer,
        VmHealth::Running if vm.never_answered => VmShort::NeverAnswered,
        VmHealth::Running => return None,
    };
    Some(Short::Vm(what, left_alone))
}

/// `listed`: the host has said in this term what runs there.
fn host_short(health: HostHealth, listed: bool) -> Option<Short> {
    let what = match health {
        HostHealth::Online if !listed => HostShort::NotListed,
        // A person asked for it, or an alarm tells it for as long as it is not acknowledged.
        HostHealth::Online
        | HostHealth::Draining
        | HostHealth::Maintenance
        | HostHealth::ShutDown
        | HostHealth::Fenced => return None,
        HostHealth::Suspect => HostShort::Suspect,
        HostHealth::Lost => HostShort::Lost,
        HostHealth::Fencing => HostShort::Fencing,
        HostHealth::Returning => HostShort::Returning,
        HostHealth::Unmanaged => HostShort::Unmanaged,
        HostHealth::Unknown => HostShort::NotHeard,
    };
    Some(Short::Host(what))
}

impl Short {
    /// What is said of one, and of several.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Short::Vm(what, _) => match what {
                VmShort::Crashed => ("crashed", "crashed"),
                VmShort::Down => ("is down", "are down"),
                VmShort::DoesNotAnswer => ("does not answer", "do not answer"),
                VmShort::NeverAnswered => ("has never answered a probe", "have never answered a probe"),
                VmShort::Paused => ("is paused", "are paused"),
                VmShort::OutOfSight => ("is out of sight", "are out of sight"),
                VmShort::BroughtBack => ("is being brought back", "are being brought back"),
                VmShort::Starting => ("is starting", "are starting"),
            },
            Short::Host(what) => match what {
                HostShort::Lost => ("is lost", "are lost"),
                HostShort::Fencing => ("is being fenced", "are being fenced"),
                HostShort::Suspect => ("is silent", "are silent"),
                HostShort::Unmanaged => {
                    ("has a management that does not answer", "have a management that does not answer")
                }
                HostShort::NotHeard => ("has not been heard yet", "have not been heard yet"),
                HostShort::NotListed => ("has not listed its VMs yet", "have not listed their VMs yet"),
                HostShort::Returning => ("is back and not in service yet", "are back and not in service yet"),
            },
        }
    }

    fn say(self, subjects: &[Subject]) -> String {
        let (one, several) = self.words();
        let alone = match self {
            Short::Vm(_, Some(alone)) => format!(" ({alone})"),
            _ => String::new(),
        };
        let kind = if matches!(self, Short::Vm(..)) { "VMs" } else { "hosts" };
        match subjects {
            [subject] => format!("{subject} {one}{alone}"),
            _ => format!("{} {kind} {several}{alone}", subjects.len()),
        }
    }
}

pub(super) fn verdict(engine: &Engine, alarms: &[Alarm]) -> Verdict {
    let (acknowledged, shouting): (Vec<&Alarm>, Vec<&Alarm>) =
        alarms.iter().partition(|alarm| alarm.acknowledged.is_some());
    let shouted: BTreeSet<&Subject> = shouting.iter().map(|alarm| &alarm.subject).collect();
    let accepted: BTreeSet<&Subject> = acknowledged.iter().map(|alarm| &alarm.subject).collect();

    let vms = engine.belief.workloads.keys().filter_map(|vm| Some((of_vm(engine, vm)?, Subject::Workload(vm.clone()))));
    let hosts = engine.spec.hosts.keys();
    let hosts = hosts.filter_map(|host| Some((of_host(engine, host)?, Subject::Host(host.clone()))));
    // What an alarm says already is counted as that alarm; only that it is seen to is news.
    let news = |(short, subject): &(Short, Subject)| match short {
        Short::Vm(VmShort::BroughtBack, _) => true,
        Short::Vm(..) => !shouted.contains(subject),
        Short::Host(_) => !shouted.contains(subject) && !accepted.contains(subject),
    };
    let mut shorts: Vec<(Short, Subject)> = vms.chain(hosts).filter(news).collect();
    shorts.sort();

    let of_alarms = shouting.iter().map(|alarm| alarm.severity).max().unwrap_or(Severity::Green);
    let severity = if shorts.is_empty() { of_alarms } else { of_alarms.max(Severity::Yellow) };
    let mut said: Vec<String> = alarms_said(&shouting).into_iter().collect();
    said.extend(shorts.chunk_by(|a, b| a.0 == b.0).map(|alike| {
        let subjects: Vec<Subject> = alike.iter().map(|(_, subject)| subject.clone()).collect();
        alike[0].0.say(&subjects)
    }));
    let text = match (said.is_empty(), acknowledged.len()) {
        (false, _) => said.join("; "),
        (true, 0) => "all is well".to_owned(),
        (true, 1) => "all is well, but for one acknowledged alarm".to_owned(),
        (true, count) => format!("all is well, but for {count} acknowledged alarms"),
    };
    let next = match (shouting.first().filter(|_| of_alarms > Severity::Green), shorts.first()) {
        // Its page is always there, also while nothing else is answered.
        (Some(alarm), _) if alarm.subject == Subject::Cluster => Some(format!("mainstay explain {}", alarm.code)),
        (Some(Alarm { subject, .. }), _) | (None, Some((_, subject))) => {
            Some(format!("mainstay explain {}", shell_word(subject)))
        }
        (None, None) => None,
    };
    Verdict { severity, text, next }
}

/// How many alarms shout; the one that says that nothing is remembered is named, since all else may be old then.
fn alarms_said(shouting: &[&Alarm]) -> Option<String> {
    let count = |severity| shouting.iter().filter(|alarm| alarm.severity == severity).count();
    if let Some(alarm) = shouting.iter().find(|alarm| alarm.code == mainstay_model::Code::NOTHING_REMEMBERED) {
        return Some(format!("{} ({})", alarm.text, alarm.code));
    }
    match (count(Severity::Red), count(Severity::Yellow)) {
        (0, 0) => None,
        (0, 1) => Some("one thing needs a look".to_owned()),
        (0, yellow) => Some(format!("{yellow} things need a look")),
        (1, _) => Some("one thing needs a person now".to_owned()),
        (red, _) => Some(format!("{red} things need a person now")),
    }
}

fn of_vm(engine: &Engine, vm: &WorkloadId) -> Option<Short> {
    let record = engine.belief.workloads.get(vm)?;
    let senses = engine.belief.workload_senses.get(vm);
    let care = match engine.rule(vm) {
        None => Care::None,
        Some(_) if record.unprotected => Care::Unprotected,
        Some(rule) if rule.policy.managed != Managed::Yes => Care::OnlyWatched,
        Some(_) => Care::Managed,
    };
    let probed = engine.rule(vm).is_some_and(|rule| rule.policy.probes.any());
    let silent = senses.filter(|senses| senses.silent().is_some());
    let booted = silent.and_then(|senses| senses.up_since.max(senses.watched_since));
    let patience = engine.recovery(vm).answer_within;
    // Then nothing is done for it until a person acts.
    let blocked = matches!(
        engine.doing.get(&Subject::Workload(vm.clone())),
        Some(Doing::Blocked { .. } | Doing::Waiting { on: WaitingOn::ConfirmOff { .. }, .. })
    );
    let in_trouble = record.trouble.as_ref().is_some_and(|trouble| trouble.started_at.is_none());
    vm_short(VmState {
        care,
        wanted: record.want == Want::Running,
        health: super::report::workload_health(engine, record).0,
        in_recovery: care == Care::Managed && in_trouble && !blocked,
        silent: record.answers && silent.is_some(),
        never_answered: probed && !record.answers && booted.is_some_and(|since| since + patience <= engine.now),
    })
}

fn of_host(engine: &Engine, host: &HostId) -> Option<Short> {
    let listed = engine.belief.host_senses.get(host).is_some_and(|senses| senses.inventory.is_some());
    host_short(engine.host_health(host), listed)
}

#[cfg(test)]
mod tests;
