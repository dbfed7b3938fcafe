//! What an operator commands: `operator …` in a script, read and written.

use mainstay_model::{Code, Command, HostId, PointId, StopHow, Subject, WorkloadId};
use std::fmt;

/// Reads what follows `operator`.
pub(super) fn parse(words: &[&str]) -> Option<Command> {
    if words == ["rebalance"] {
        return Some(Command::Rebalance);
    }
    if let ["accept-memory", rest @ ..] = words {
        return [&[][..], &["start"]].contains(&rest).then_some(Command::AcceptMemory { start: !rest.is_empty() });
    }
    let name = *words.get(1)?;
    let (host, workload) = (HostId::from(name), WorkloadId::from(name));
    Some(match *words {
        ["confirm-off", _] => Command::ConfirmOff { host },
        ["fence", _] => Command::FenceHost { host },
        ["cycle", _] => Command::CycleHost { host, busy: false },
        ["cycle", _, "busy"] => Command::CycleHost { host, busy: true },
        ["maintenance", _, "on"] => Command::Maintenance { host, on: true },
        ["maintenance", _, "off"] => Command::Maintenance { host, on: false },
        ["start", _] => Command::StartWorkload { workload, host: None, leave_state: false },
        ["start", _, on] => Command::StartWorkload { workload, host: Some(on.into()), leave_state: false },
        ["stop", _] => Command::StopWorkload { workload, how: StopHow::Graceful, within: None },
        ["stop", _, "force"] => Command::StopWorkload { workload, how: StopHow::Force, within: None },
        ["stop", _, "within", span] => {
            Command::StopWorkload { workload, how: StopHow::Graceful, within: Some(span.parse().ok()?) }
        }
        ["restart", _] => Command::RestartWorkload { workload, how: StopHow::Graceful },
        ["restart", _, "force"] => Command::RestartWorkload { workload, how: StopHow::Force },
        ["move", _] => Command::MoveWorkload { workload, to: None, cold: false },
        ["move", _, to] => Command::MoveWorkload { workload, to: Some(to.into()), cold: false },
        ["move", _, to, "cold"] => Command::MoveWorkload { workload, to: Some(to.into()), cold: true },
        ["protect", _] => Command::Protect { workload },
        ["unprotect", _] => Command::Unprotect { workload },
        ["snapshot", _] => Command::TakePoint { workload, name: None },
        ["snapshot", _, point] => Command::TakePoint { workload, name: Some(point.into()) },
        ["revert", _] => Command::Revert { workload, point: None },
        ["revert", _, point] => Command::Revert { workload, point: Some(point.into()) },
        ["delete-snapshot", _, point] => Command::DeletePoint { workload, point: point.into() },
        ["ack", code, kind, subject] => Command::Acknowledge {
            code: Code(code.strip_prefix("MS")?.parse().ok()?),
            subject: match kind {
                "host" => Subject::Host(subject.into()),
                "vm" => Subject::Workload(subject.into()),
                _ => Subject::Cluster,
            },
            by: "script".to_owned(),
        },
        _ => return None,
    })
}

/// A command as a script says it.
pub(super) struct Spoken<'a>(pub &'a Command);

impl fmt::Display for Spoken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let force = |how: &StopHow| if *how == StopHow::Force { " force" } else { "" };
        let and = |name: Option<&str>| name.map(|name| format!(" {name}")).unwrap_or_default();
        match self.0 {
            Command::ConfirmOff { host } => write!(f, "confirm-off {host}"),
            Command::FenceHost { host } => write!(f, "fence {host}"),
            Command::CycleHost { host, busy } => write!(f, "cycle {host}{}", if *busy { " busy" } else { "" }),
            Command::Maintenance { host, on } => write!(f, "maintenance {host} {}", if *on { "on" } else { "off" }),
            Command::StartWorkload { workload, host, .. } => {
                write!(f, "start {workload}{}", and(host.as_ref().map(HostId::as_str)))
            }
            Command::StopWorkload { workload, within: Some(within), .. } => {
                write!(f, "stop {workload} within {within}")
            }
            Command::StopWorkload { workload, how, .. } => write!(f, "stop {workload}{}", force(how)),
            Command::RestartWorkload { workload, how } => write!(f, "restart {workload}{}", force(how)),
            Command::MoveWorkload { workload, to, cold } => {
                let cold = if *cold { " cold" } else { "" };
                write!(f, "move {workload}{}{cold}", and(to.as_ref().map(HostId::as_str)))
            }
            Command::Protect { workload } => write!(f, "protect {workload}"),
            Command::Unprotect { workload } => write!(f, "unprotect {workload}"),
            Command::TakePoint { workload, name } => {
                write!(f, "snapshot {workload}{}", and(name.as_ref().map(PointId::as_str)))
            }
            Command::Revert { workload, point } => {
                write!(f, "revert {workload}{}", and(point.as_ref().map(PointId::as_str)))
            }
            Command::DeletePoint { workload, point } => write!(f, "delete-snapshot {workload} {point}"),
            Command::Rebalance => f.write_str("rebalance"),
            Command::AcceptMemory { start } => {
                write!(f, "accept-memory{}", if *start { " start" } else { "" })
            }
            Command::Acknowledge { code, subject, .. } => match subject {
                Subject::Host(host) => write!(f, "ack {code} host {host}"),
                Subject::Workload(workload) => write!(f, "ack {code} vm {workload}"),
                Subject::Cluster => write!(f, "ack {code} the cluster"),
            },
        }
    }
}
