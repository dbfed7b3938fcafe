//! What goes into the engine and what comes out: values only.

use mainstay_model::{
    ActionId, Actor, Command, CommandId, Event, Fact, Order, Outcome, Reply, Time, spec::ClusterSpec,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One thing that reaches the engine.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A sensor saw something.
    Fact(Fact),
    /// An action came to an end.
    Outcome {
        /// Which.
        id: ActionId,
        /// How.
        outcome: Outcome,
    },
    /// An operator asks for something.
    Command {
        /// To find the way back with the reply.
        id: CommandId,
        /// What.
        command: Command,
        /// Who, if that is known.
        by: Option<Actor>,
    },
    /// The configuration changed.
    Spec(Arc<ClusterSpec>),
    /// A changed configuration was refused, for this reason; the old one stays.
    Refused(String),
    /// Only time passed.
    Tick,
    /// More was told than could be taken in yet: that nothing is heard of somebody says nothing now.
    Behind,
}

/// What one step of the engine asks of its surroundings, in this order: make `changes` and `events` durable (in one
/// transaction), then let `orders` leave, then send `replies`. If the first fails nothing else may happen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Memory that changed.
    pub changes: Vec<Change>,
    /// History.
    pub events: Vec<Event>,
    /// Actions to carry out.
    pub orders: Vec<Order>,
    /// Answers to commands.
    pub replies: Vec<(CommandId, Reply)>,
    /// When the engine wants to be called again at the latest, even if nothing happens.
    pub wake_at: Option<Time>,
}

/// A change of durable memory: the row's new body, or `None` if it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Which table.
    pub table: Table,
    /// Which row.
    pub key: String,
    /// JSON.
    pub body: Option<String>,
}

/// Tables of durable memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// Counters and the epoch.
    Meta,
    /// Hosts.
    Host,
    /// Workloads.
    Workload,
    /// Recovery points.
    Point,
    /// The journal: orders and their outcomes.
    Order,
    /// Alarms.
    Alarm,
    /// Incidents.
    Incident,
}

/// A row of durable memory, as it is read back after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Which table.
    pub table: Table,
    /// Which row.
    pub key: String,
    /// JSON.
    pub body: String,
}
