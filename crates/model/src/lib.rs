//! The nouns of Mainstay: names, times, what should be ([`spec`]), what was seen ([`Fact`]), what is to be done
//! ([`Action`]) and what came of it ([`Outcome`]), recovery points, alarms, history, and an operator's commands.
//!
//! Nothing here acts or decides. Every type can be written as JSON, since what the engine remembers is stored so.

mod action;
mod actor;
mod alarm;
mod command;
pub mod config;
mod event;
mod fact;
mod id;
mod network;
mod plain;
mod point;
mod readiness;
mod resources;
mod secret;
pub mod spec;
mod time;

pub use action::{Action, Detail, Failure, FailureKind, Order, Outcome, Proof, StopHow};
pub use actor::{Actor, Role};
pub use alarm::{Acknowledged, Alarm, Code, Severity, Subject};
pub use command::{Command, Reply};
pub use event::{Event, EventKind, Incident, IncidentCause, IncidentWorkload};
pub use fact::{
    Activity, DomainChange, DomainSeen, DomainState, Fact, GuestChannel, HostChannel, HostState, OffReason,
    PauseReason, PowerState,
};
pub use id::{ActionId, CommandId, DeviceId, Epoch, HostId, IncidentId, PointId, SiteId, WorkloadId, shell_word};
pub use network::{Network, NotANetwork, is_nobodys};
pub use plain::plain;
pub use point::{PointBy, PointState, RecoveryPoint};
pub use readiness::{Obstacle, ObstacleKind};
pub use resources::{ResourceKind, Resources};
pub use secret::{HIDDEN, Secret, Setting, is_secret};
pub use spec::{Cause, PointKind};
pub use time::{NotASpan, Span, Time};
