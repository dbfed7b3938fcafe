//! Why: for every host and workload the last decision, as a value with its reason. Nothing to do is a decision too.

use crate::place::NoHostFits;
use mainstay_model::{
    ActionId, Cause, HostId, PowerState, Span, Time, WorkloadId,
    spec::{Origin, Rung},
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is being done about a host or workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "doing")]
pub enum Doing {
    /// Nothing, and that is right.
    Nothing {
        /// Why.
        why: Why,
    },
    /// Something has to happen first.
    Waiting {
        /// What.
        on: WaitingOn,
        /// When it is looked at again at the latest.
        until: Option<Time>,
    },
    /// Nothing can be done until something else changes, usually by a person.
    Blocked {
        /// By what.
        by: Blocked,
    },
    /// An order left.
    Ordered {
        /// Which.
        id: ActionId,
        /// In words.
        text: String,
        /// Why this.
        because: String,
    },
}

/// Why nothing is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "why")]
pub enum Why {
    /// All is well.
    Well,
    /// No rule of the configuration speaks of it.
    NotManaged,
    /// An operator said to leave it alone.
    Unprotected,
    /// A person stopped it.
    StoppedByPerson,
    /// A person paused it.
    PausedByPerson,
    /// Its guest went to sleep.
    Asleep,
    /// It is in maintenance and empty.
    InMaintenance,
    /// It is off, and left so.
    LeftOff,
    /// A spare, not needed.
    Spare,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "on")]
pub enum WaitingOn {
    /// The controller to see its hosts again.
    Sight,
    /// An order under way.
    Order {
        /// Which.
        id: ActionId,
        /// In words.
        text: String,
    },
    /// A host's answer to what runs there.
    Answer {
        /// Which host.
        host: HostId,
    },
    /// A host that may still run the workload to be proved off.
    Fence {
        /// Which host.
        host: HostId,
    },
    /// A person to say that a host is off.
    ConfirmOff {
        /// Which host.
        host: HostId,
    },
    /// A lost host to come back within its bound.
    Revive {
        /// What its fence device said.
        power: Option<PowerState>,
    },
    /// Its host, which was shut down, to come back.
    HostBack {
        /// Which host.
        host: HostId,
    },
    /// A host to become clear: it is silent, but not for long enough.
    Clarity {
        /// Which host.
        host: HostId,
    },
    /// A host's management to answer again.
    Management {
        /// Which host.
        host: HostId,
    },
    /// The next try.
    Backoff {
        /// Of which rung.
        rung: Rung,
    },
    /// A guest that was started to answer.
    Guest,
    /// Others to finish: so many at once are allowed.
    Limit {
        /// Of what.
        what: String,
        /// Where.
        host: HostId,
    },
    /// A workload that has to run before.
    Predecessor {
        /// Which.
        workload: WorkloadId,
        /// The rule that says so.
        origin: Origin,
    },
    /// A host that returned to be well for a while.
    Stability {
        /// For how long.
        span: Span,
    },
    /// Workloads to leave a host.
    Drain {
        /// How many are still there.
        left: usize,
    },
    /// Whoever shut the host down in good order to bring it back.
    Owner,
    /// A host that was powered on to answer.
    Boot,
    /// Another host's fencing: so many at once are allowed.
    FenceLimit,
    /// The next request to stop: the guest did not follow the last one.
    StopAgain,
    /// There is room again for its disk.
    Room,
    /// The next round of fence levels, after all of them failed.
    FenceRetry,
    /// Files, memory or processes of the controller's machine, without which no fence agent can be started.
    Starved,
    /// A migration that somebody else began, to be seen at its target.
    Arrival,
    /// Every host to list what it runs, since the memory was put back.
    EveryHost,
    /// An operator to say whether it should run, since the memory was put back.
    Wish,
    /// What came to pass while the controller slept: it is being told.
    Waking,
}

/// What blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum Blocked {
    /// No host takes it.
    NoHost {
        /// The reason of each.
        why: NoHostFits,
    },
    /// Every rung of its ladder was tried.
    Exhausted {
        /// The trouble.
        cause: Cause,
    },
    /// It is only watched.
    WatchOnly {
        /// The trouble.
        cause: Cause,
    },
    /// It runs in two places; nothing may be touched but by a person.
    RunsTwice,
    /// The same VM, by its uuid, runs under another name.
    RunsAs {
        /// That name.
        name: WorkloadId,
        /// Where it runs, or may run.
        host: HostId,
    },
    /// The host was powered on too often.
    Flapping {
        /// How often within an hour.
        power_ons: u32,
    },
    /// A host can't be drained.
    Drain {
        /// The first workload that can't leave.
        workload: WorkloadId,
        /// Why.
        why: String,
    },
    /// A host that was never reached.
    NeverReached,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doing::Nothing { why } => write!(f, "nothing to do: {why}"),
            Doing::Waiting { on, .. } => write!(f, "waiting for {on}"),
            Doing::Blocked { by } => write!(f, "blocked: {by}"),
            Doing::Ordered { text, because, .. } => write!(f, "{text}, because {because}"),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Well => "all is well",
            Why::NotManaged => "no [[vm]] rule of the configuration speaks of it",
            Why::Unprotected => "an operator said to leave it alone (mainstay vm unprotect)",
            Why::StoppedByPerson => "a person stopped it",
            Why::PausedByPerson => "a person or tool paused it",
            Why::Asleep => "its guest went to sleep by its own power management; wake it: mainstay vm start",
            Why::InMaintenance => "it is in maintenance and empty",
            Why::LeftOff => "it is off, and left so",
            Why::Spare => "it is a spare that is not needed",
        })
    }
}

impl fmt::Display for WaitingOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitingOn::Sight => {
                write!(f, "the controller to see its hosts again: it acts on nothing while it is cut off")
            }
            WaitingOn::Order { text, id } => write!(f, "order {id} under way: {text}"),
            WaitingOn::Answer { host } => write!(f, "{host} to say what runs there"),
            WaitingOn::Fence { host } => write!(f, "{host} to be proved off: it may still run there"),
            WaitingOn::ConfirmOff { host } => {
                write!(
                    f,
                    "a person to confirm that {host} is off (mainstay host confirm-off {host}): nothing else can tell"
                )
            }
            WaitingOn::Revive { power: Some(PowerState::Off) } => write!(f, "it to come back after power-on"),
            WaitingOn::Revive { .. } => write!(f, "it to come back by itself before it is fenced"),
            WaitingOn::HostBack { host } => {
                write!(f, "{host}, with which it was shut down, to come back (on_host_shutdown)")
            }
            WaitingOn::Clarity { host } => write!(f, "certainty about {host}: it is silent, but not for long enough"),
            WaitingOn::Management { host } => {
                write!(f, "the hypervisor management of {host}: the host lives, but can't be told anything")
            }
            WaitingOn::Backoff { rung } => write!(f, "the next try ({rung})"),
            WaitingOn::Guest => write!(f, "the guest to answer"),
            WaitingOn::Limit { what, host } => write!(f, "{what} on {host} to finish: no more are allowed at once"),
            WaitingOn::Predecessor { workload, origin } => write!(f, "{workload} to run first, as {origin} says"),
            WaitingOn::Stability { span } => write!(f, "it to be well for {span}"),
            WaitingOn::Drain { left: 1 } => write!(f, "one workload to leave"),
            WaitingOn::Drain { left } => write!(f, "{left} workloads to leave"),
            WaitingOn::Owner => write!(f, "its owner, who shut it down in good order, to bring it back"),
            WaitingOn::Boot => write!(f, "it to boot after power-on"),
            WaitingOn::Room => {
                write!(
                    f,
                    "room on the storage under its disk: it is not restarted for that, and resumed when there is room"
                )
            }
            WaitingOn::StopAgain => {
                write!(
                    f,
                    "the next request to stop: it did not follow the last one (by force: mainstay vm stop --force)"
                )
            }
            WaitingOn::FenceRetry => write!(f, "the next round of its fence levels: all of them failed"),
            WaitingOn::Starved => write!(
                f,
                "files, memory or processes on the controller's machine: its fence devices could not be asked (MS1007)"
            ),
            WaitingOn::FenceLimit => write!(f, "other fencings to finish"),
            WaitingOn::Arrival => write!(f, "it to appear on another host after a migration"),
            WaitingOn::EveryHost => {
                write!(f, "every host to list what it runs, or to be proved off: the memory was put back")
            }
            WaitingOn::Waking => write!(f, "word of what came to pass while the controller stood still"),
            WaitingOn::Wish => {
                write!(
                    f,
                    "an operator to say whether it should run, since the memory was put back (mainstay vm start or vm stop)"
                )
            }
        }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Blocked::NoHost { why } => write!(f, "no host takes it: {why}"),
            Blocked::Exhausted { cause } => write!(f, "it {cause}, and every way of bringing it back was tried"),
            Blocked::WatchOnly { cause } => write!(f, "it {cause}, but is only watched (manage = \"watch-only\")"),
            Blocked::RunsTwice => write!(f, "it is seen running in two places; a person must stop one of them"),
            Blocked::RunsAs { name, host } => write!(f, "the same VM runs as {name} on {host}: it was renamed"),
            Blocked::Flapping { power_ons } => {
                write!(f, "it was powered on {power_ons} times within an hour and does not stay on")
            }
            Blocked::Drain { workload, why } => write!(f, "{workload} can't leave: {why}"),
            Blocked::NeverReached => write!(f, "it was never reached: check its address and uri"),
        }
    }
}
