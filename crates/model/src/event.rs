//! History: events one by one, and incidents, which tell them as a story.

use crate::{Cause, HostId, IncidentId, Severity, Span, Subject, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something worth remembering.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// When.
    pub at: Time,
    /// About what.
    pub subject: Subject,
    /// How bad.
    pub severity: Severity,
    /// Which step of the loop it belongs to.
    pub kind: EventKind,
    /// One sentence.
    pub text: String,
    /// The incident it is part of.
    pub incident: Option<IncidentId>,
}

/// Which step of the loop an event belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A fact.
    Seen,
    /// A belief made of facts.
    Believed,
    /// A decision.
    Decided,
    /// An action left.
    Ordered,
    /// An action's outcome came.
    Outcome,
    /// A command of an operator.
    Command,
    /// An alarm was raised or cleared.
    Alarm,
    /// The configuration or the controller itself.
    Controller,
}

/// From the first sign of trouble until all is well, or a person took over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Incident {
    /// Its number.
    pub id: IncidentId,
    /// About what: a host with all its workloads, or one workload.
    pub subject: Subject,
    /// Why.
    pub cause: IncidentCause,
    /// The last moment at which all was known to be well.
    pub well_until: Time,
    /// When the trouble was believed.
    pub opened_at: Time,
    /// When it ended.
    pub closed_at: Option<Time>,
    /// Workloads hit, each with what became of it.
    pub workloads: Vec<IncidentWorkload>,
    /// The story; bounded, the middle is dropped first.
    pub timeline: Vec<Event>,
}

/// Why an incident was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IncidentCause {
    /// A host was lost.
    HostLost,
    /// A person brought a workload back to a recovery point.
    Reverted,
    /// A workload fell into trouble.
    Workload(Cause),
}

/// What became of a workload in an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentWorkload {
    /// Which.
    pub workload: crate::WorkloadId,
    /// Where it ran.
    pub from: Option<HostId>,
    /// Where it runs now.
    pub to: Option<HostId>,
    /// Last moment at which it was known to be well, before the incident.
    pub well_until: Time,
    /// When it was seen running again after it was last down. It does not change once it is set, unless the workload falls
    /// again.
    pub running_at: Option<Time>,
    /// When it answered again after it was last down (only workloads that are probed).
    pub answering_at: Option<Time>,
    /// The most that can have been lost: zero if it went on from its disk, else what it may have written since the recovery
    /// point.
    pub data_loss: Option<Span>,
    /// True if it answers probes: then it is down until it answers.
    #[serde(default)]
    pub probed: bool,
    /// It fell again in the same incident: the last moment at which it was known to be well before that.
    #[serde(default)]
    pub down_since: Option<Time>,
    /// Downtime in this incident before `down_since`.
    #[serde(default)]
    pub down_before: Span,
    /// When its outage was believed: it may have written until then.
    #[serde(default)]
    pub wrote_until: Option<Time>,
    /// When its part in the incident ended although it was down: a person took over.
    #[serde(default)]
    pub left_at: Option<Time>,
}

impl IncidentWorkload {
    /// When it was back after it was last down: answering if it is probed, running otherwise.
    pub fn back_at(&self) -> Option<Time> {
        if self.probed { self.answering_at } else { self.answering_at.or(self.running_at) }
    }

    /// How long it was down in this incident, until `now` if it still is.
    pub fn downtime(&self, now: Time) -> Span {
        let from = self.down_since.unwrap_or(self.well_until);
        let until = self.back_at().or(self.left_at).unwrap_or(now);
        Span(self.down_before.0.saturating_add(until.since(from).0))
    }
}
