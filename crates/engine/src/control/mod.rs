//! The controller's core: the engine behind a journal. Intent is durable before an action leaves.

use crate::{
    Input, Row, Step,
    view::{ClusterView, Points},
};
use mainstay_model::{Incident, Time, WorkloadId, spec::ClusterSpec};
use std::sync::Arc;

/// The engine with its memory, as one state machine: input in, a [`Step`] out. Cloning it makes a what-if.
#[derive(Clone, Debug)]
pub struct Controller {
    spec: Arc<ClusterSpec>,
}

/// Why memory could not be read back.
#[derive(Debug, thiserror::Error)]
#[error("row {key} of {table:?} can't be read: {source}")]
pub struct BadRow {
    /// Its table.
    pub table: crate::Table,
    /// Its key.
    pub key: String,
    /// What is wrong with it.
    pub source: serde_json::Error,
}

impl Controller {
    /// A controller that begins a new term at `now`, remembering `rows` (none: it has never run). Orders found in the
    /// journal without an outcome count as unknown. The first [`Step`] must be carried out before anything else.
    pub fn start(spec: Arc<ClusterSpec>, _rows: Vec<Row>, _now: Time) -> Result<(Controller, Step), BadRow> {
        Ok((Controller { spec }, Step::default()))
    }

    /// One turn of the loop: observe, believe, decide.
    pub fn step(&mut self, _now: Time, _inputs: Vec<Input>) -> Step {
        Step::default()
    }

    /// What is believed now.
    pub fn view(&self, _now: Time) -> ClusterView {
        unimplemented!("{}", self.spec.name)
    }

    /// The recovery points of a workload, oldest first.
    pub fn points(&self, _workload: &WorkloadId) -> Points {
        Vec::new()
    }

    /// Incidents on record, oldest first, closed ones included.
    pub fn incidents(&self) -> Vec<Incident> {
        Vec::new()
    }

    /// What is believed of a host or workload on which evidence, what is done or waited for and why, which line of the
    /// configuration says so, what would change it. `None`: no such thing.
    pub fn explain(&self, _subject: &str, _now: Time) -> Option<String> {
        None
    }
}
