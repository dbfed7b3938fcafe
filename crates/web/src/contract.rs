//! What travels: the shapes of answers, shared with the command line. Their field names are public.

use mainstay_engine::view::ClusterView;
use mainstay_model::{Event, Span, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Of the whole API; grows with every breaking change.
pub const VERSION: u32 = 1;

/// Around every answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AnswerOf{T}")]
pub struct Envelope<T> {
    /// Of this contract.
    pub version: u32,
    /// When the controller last looked: nothing in `data` is newer.
    pub at: Time,
    /// How long ago that was, in milliseconds, by the controller's clock.
    pub age_ms: u64,
    /// Who answered.
    pub leader: Leader,
    /// The answer.
    pub data: T,
}

impl<T> Envelope<T> {
    /// The controller's clock when it answered, from which ages are counted.
    pub fn now(&self) -> Time {
        self.at + Span(self.age_ms)
    }

    /// The same around other data, such as a part of it.
    pub fn with<U>(&self, data: U) -> Envelope<U> {
        Envelope { version: self.version, at: self.at, age_ms: self.age_ms, leader: self.leader.clone(), data }
    }
}

/// The controller that leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Leader {
    /// Its machine.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// Why it can make nothing durable just now, so that it starts nothing.
    pub trouble: Option<String>,
}

/// What is wrong, in the shape of RFC 9457 (`application/problem+json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// The kind of problem in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong here.
    pub detail: String,
    /// Its page in docs/errors, such as `MS1501`.
    pub code: String,
    /// What to do next.
    pub help: String,
}

/// The answer of `/v1/explain/{subject}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// What was asked about.
    pub subject: String,
    /// Lines for people.
    pub text: String,
}

/// Which events are wanted, as written in a query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventFilter {
    /// Not older than this, in milliseconds since the Unix epoch.
    pub since: Option<u64>,
    /// A host, a VM, or `cluster`. Where a host and a VM share the name: `host:NAME` or `vm:NAME`.
    pub subject: Option<String>,
    /// At least as bad: `green`, `yellow` or `red`.
    pub severity: Option<mainstay_model::Severity>,
    /// Only of this incident.
    pub incident: Option<u64>,
    /// The newest so many; 100 if not given, never more than 1000.
    pub limit: Option<u32>,
}

/// One message of `/v1/watch`: the server-sent event's name is the variant's, its data the content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// How things are now; sent at once, and after changes at most four times a second.
    View(Arc<Envelope<ClusterView>>),
    /// Something happened.
    Event(Arc<Event>),
    /// The reader was too slow: so many news are missing before this.
    Missed(u64),
}
