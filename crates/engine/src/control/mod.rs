//! The controller's core: the engine with its term and its journal, as one state machine. The daemon and the simulator
//! drive this and nothing else.
//!
//! The contract of a [`Step`]: make its changes durable, then let its orders leave, then send its replies. Since an order
//! is in the journal before it leaves, a controller that dies anywhere knows afterwards what may be under way.

mod orders;
mod report;
mod verdict;

use crate::{
    Input, Row, Step, Table,
    belief::Belief,
    engine::Engine,
    place::{Rebalance, RebalanceLimits},
    view::{ClusterView, OrderView, Points, ReadyView},
};
use mainstay_model::{
    Alarm, Epoch, EventKind, HostId, Incident, Severity, Span, Subject, Time, WorkloadId, spec::ClusterSpec,
};
use std::sync::Arc;

/// The engine with its memory: input in, a [`Step`] out. Cloning it makes a what-if.
#[derive(Clone, Debug)]
pub struct Controller {
    pub(crate) engine: Engine,
}

/// What happened between two terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// The clock was set ahead: so much less time has passed than it shows.
    pub set_ahead: Span,
    /// The memory is older than the world, for this reason: it was copied or put back, or the database was deleted.
    pub restored: Option<String>,
}

/// Why memory could not be read back.
#[derive(Debug, thiserror::Error)]
#[error("row {key} of {table:?} can't be read")]
pub struct BadRow {
    /// Its table.
    pub table: Table,
    /// Its key.
    pub key: String,
    /// What is wrong with it.
    pub source: serde_json::Error,
}

impl Controller {
    /// A controller that begins a new term at `now`, remembering `rows` (none: it has never run). Orders found in the
    /// journal without an outcome count as unknown. The returned [`Step`] must be carried out before anything else.
    pub fn start(spec: Arc<ClusterSpec>, rows: Vec<Row>, now: Time) -> Result<(Controller, Step), BadRow> {
        Controller::start_set_ahead(spec, rows, now, Span::ZERO)
    }

    /// As [`Controller::start`], with a clock that was set ahead since the last term: so much less time has passed than it shows.
    pub fn start_set_ahead(
        spec: Arc<ClusterSpec>,
        rows: Vec<Row>,
        now: Time,
        set_ahead: Span,
    ) -> Result<(Controller, Step), BadRow> {
        Controller::start_with(spec, rows, now, Circumstances { set_ahead, restored: None })
    }

    /// As [`Controller::start`], under circumstances that its memory can't know of.
    pub fn start_with(
        spec: Arc<ClusterSpec>,
        rows: Vec<Row>,
        now: Time,
        circumstances: Circumstances,
    ) -> Result<(Controller, Step), BadRow> {
        let Circumstances { set_ahead, restored } = circumstances;
        let first = rows.is_empty();
        let mut belief = Belief::restore(&rows)?;
        belief.shift(set_ahead);
        belief.meta.next_epoch(now);
        let mut engine = Engine::new(spec, belief, now);
        engine.resume(now, restored);
        let text = if first {
            "the controller runs for the first time".to_owned()
        } else {
            format!("the controller runs again, term {}", engine.belief.meta.epoch)
        };
        engine.note(EventKind::Controller, Severity::Green, Subject::Cluster, text);
        if set_ahead > Span::ZERO {
            let text = format!(
                "the clock was set ahead by {set_ahead} meanwhile; what is waited for or counted goes on from where it was"
            );
            engine.note(EventKind::Controller, Severity::Yellow, Subject::Cluster, text);
        }
        let step = engine.step(now, vec![]);
        Ok((Controller { engine }, step))
    }

    /// One turn of the loop: observe, believe, decide.
    pub fn step(&mut self, now: Time, inputs: Vec<Input>) -> Step {
        self.engine.step(now, inputs)
    }

    /// As [`Controller::step`]; it takes all inputs out of a list whose room is used again.
    pub fn step_drained(&mut self, now: Time, inputs: &mut Vec<Input>) -> Step {
        self.engine.step(now, inputs.drain(..))
    }

    /// The term of this controller.
    pub fn epoch(&self) -> Epoch {
        self.engine.belief.meta.epoch
    }

    /// What should be, as it is in use now.
    pub fn spec(&self) -> &ClusterSpec {
        &self.engine.spec
    }

    /// What is believed now.
    pub fn view(&self, now: Time) -> ClusterView {
        self.view_with(now, Vec::new())
    }

    /// What is believed now, and alarms that the process around the engine raises about itself.
    pub fn view_with(&self, now: Time, alarms: Vec<Alarm>) -> ClusterView {
        report::cluster(&self.engine, now, alarms)
    }

    /// Of each host and then of each workload the word for its health, as [`Controller::view`] has it.
    pub fn words(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        report::words(&self.engine)
    }

    /// The recovery points of a workload, oldest first.
    pub fn points(&self, workload: &WorkloadId) -> Points {
        let mut points: Points = self.engine.belief.points_of(workload).cloned().collect();
        points.sort_by_key(|point| point.taken_at);
        points
    }

    /// On which hosts workloads could start now, and what the others lack: of one workload, of those that run or may run on
    /// one host, or of all that are managed. `None`: there is no such workload or host.
    pub fn ready(&self, subject: Option<&str>) -> Option<Vec<ReadyView>> {
        let belief = &self.engine.belief;
        let host = subject.map(HostId::from).filter(|host| belief.hosts.contains(host));
        if let Some(workload) = subject.filter(|_| host.is_none()) {
            let record = belief.workloads.get(&WorkloadId::from(workload))?;
            return Some(vec![self.engine.ready_view(record)]);
        }
        let meant = belief.workloads.values().filter(|record| match &host {
            Some(host) => record.may_run_on.contains(host) || record.host.as_ref() == Some(host),
            None => self.engine.manages(&record.workload),
        });
        Some(meant.map(|record| self.engine.ready_view(record)).collect())
    }

    /// What evening out load between hosts would gain, and by which moves. Nothing is moved.
    pub fn balance(&self) -> Rebalance {
        self.engine.balance(RebalanceLimits::default())
    }

    /// Incidents on record, oldest first, closed ones included.
    pub fn incidents(&self) -> Vec<Incident> {
        self.engine.belief.incidents.values().cloned().collect()
    }

    /// The newest orders about a subject (`None`: about anything) that left at `since` or later, oldest first.
    pub fn orders(&self, subject: Option<&Subject>, since: Time) -> Vec<OrderView> {
        orders::orders(&self.engine, subject, since)
    }

    /// What is believed of a host or workload on which evidence, what is done or waited for and why, which line of the
    /// configuration says so, what would change it. `None`: no such thing.
    pub fn explain(&self, subject: &str, now: Time) -> Option<String> {
        report::explain(&self.engine, subject, now)
    }
}
