//! How a workload is brought back: a ladder of rungs, each with attempts; windows and back-off.

use crate::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// Why a workload is in trouble. Each cause enters the ladder at its own rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The hypervisor process died: killed, out of memory, aborted.
    Crashed,
    /// The guest's kernel panicked.
    Panicked,
    /// No heartbeat and no disk or network activity, though the domain counts as running.
    Hung,
    /// The hypervisor process was asked to end by a signal from the host.
    Signalled,
    /// Paused by the hypervisor because its disk failed.
    IoError,
    /// It did not start.
    StartFailed,
    /// Its host is lost and proved off.
    HostLost,
    /// It was shut down with its host, in good order.
    HostShutdown,
    /// Its host restarted under it.
    HostRestarted,
    /// Its definition is gone from its host, without a person's stop having been seen.
    Vanished,
    /// A person stopped it, and its policy says to power it on again.
    PersonStop,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Cause; 11] = [
        Cause::Crashed,
        Cause::Panicked,
        Cause::Hung,
        Cause::Signalled,
        Cause::IoError,
        Cause::StartFailed,
        Cause::HostLost,
        Cause::HostShutdown,
        Cause::HostRestarted,
        Cause::Vanished,
        Cause::PersonStop,
    ];

    /// True if nothing is wrong with the workload itself: its host went away.
    pub fn is_its_hosts(self) -> bool {
        matches!(self, Cause::HostLost | Cause::HostShutdown)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Cause::Crashed => "crashed",
            Cause::Panicked => "panicked",
            Cause::Hung => "hung",
            Cause::Signalled => "ended by a signal",
            Cause::IoError => "paused on an I/O error",
            Cause::StartFailed => "failed to start",
            Cause::HostLost => "lost with its host",
            Cause::HostShutdown => "shut down with its host",
            Cause::HostRestarted => "stopped by its host's restart",
            Cause::Vanished => "vanished from its host",
            Cause::PersonStop => "stopped by a person",
        })
    }
}

/// One way to bring a workload back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// Resume it where it is paused (I/O error only).
    Resume,
    /// Start it again on the same host, stopping it by force first if need be.
    Restart,
    /// Bring it back to its last good recovery point on the same host.
    Revert,
    /// Start it on another host.
    Relocate,
    /// Leave it and call a person.
    Alarm,
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Rung::Resume => "resume",
            Rung::Restart => "restart",
            Rung::Revert => "revert",
            Rung::Relocate => "relocate",
            Rung::Alarm => "alarm",
        })
    }
}

/// A rung and how often it is tried within the policy's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LadderStep {
    /// The way.
    pub rung: Rung,
    /// Attempts before the next rung.
    pub attempts: u32,
}

/// Rungs in order. After the last one a person is called.
pub type Ladder = Vec<LadderStep>;

/// How a workload is brought back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryPolicy {
    /// The ladder for causes that have none of their own.
    pub ladder: Ladder,
    /// Ladders of single causes.
    pub by_cause: BTreeMap<Cause, Ladder>,
    /// Attempts older than this no longer count.
    pub window: Span,
    /// Wait before the second attempt; doubled with each further one. The first is made at once.
    pub backoff: Span,
    /// No wait is longer than this.
    pub backoff_limit: Span,
    /// No heartbeat and no activity for this long: hung.
    pub hung_after: Span,
    /// After a start, the workload must be seen running (and answer, if it ever did) within this.
    pub answer_within: Span,
    /// Running well for this long closes the incident and forgets the attempts of lower rungs.
    pub stable_after: Span,
    /// Bound for a start.
    pub start_timeout: Span,
    /// Bound for a graceful stop before force is used.
    pub stop_timeout: Span,
}

impl Default for RecoveryPolicy {
    fn default() -> RecoveryPolicy {
        let step = |rung, attempts| LadderStep { rung, attempts };
        let dead = vec![step(Rung::Restart, 3), step(Rung::Revert, 1), step(Rung::Relocate, 2), step(Rung::Alarm, 1)];
        let paused = vec![step(Rung::Resume, 5), step(Rung::Restart, 2), step(Rung::Relocate, 2), step(Rung::Alarm, 1)];
        let away = vec![step(Rung::Relocate, 5), step(Rung::Alarm, 1)];
        let gone = vec![step(Rung::Alarm, 1)];
        let with_host = vec![step(Rung::Restart, 3), step(Rung::Relocate, 5), step(Rung::Alarm, 1)];
        RecoveryPolicy {
            ladder: dead,
            by_cause: BTreeMap::from([
                (Cause::IoError, paused),
                (Cause::HostLost, away),
                (Cause::HostShutdown, with_host),
                (Cause::Vanished, gone),
            ]),
            window: Span::minutes(10),
            backoff: Span::secs(1),
            backoff_limit: Span::minutes(1),
            hung_after: Span::secs(15),
            answer_within: Span::minutes(2),
            stable_after: Span::minutes(1),
            start_timeout: Span::secs(90),
            stop_timeout: Span::minutes(1),
        }
    }
}

impl RecoveryPolicy {
    /// The ladder for a cause.
    pub fn ladder_for(&self, cause: Cause) -> &Ladder {
        self.by_cause.get(&cause).unwrap_or(&self.ladder)
    }
}
