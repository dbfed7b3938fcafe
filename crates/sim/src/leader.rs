//! The seam between the simulated world and what decides: the real controller, or one that is sabotaged on purpose.

use mainstay_engine::{
    Input, Row, Step,
    control::{BadRow, Controller},
    view::ClusterView,
};
use mainstay_model::{Time, spec::ClusterSpec};
use std::sync::Arc;

/// What leads the cluster.
pub(crate) trait Leader {
    fn step(&mut self, now: Time, inputs: Vec<Input>) -> Step;
    fn view(&self, now: Time) -> ClusterView;
    fn explain(&self, subject: &str, now: Time) -> Option<String>;
}

/// How a leader begins its term.
pub(crate) type Elect = fn(Arc<ClusterSpec>, Vec<Row>, Time) -> Result<(Box<dyn Leader>, Step), BadRow>;

impl Leader for Controller {
    fn step(&mut self, now: Time, inputs: Vec<Input>) -> Step {
        Controller::step(self, now, inputs)
    }
    fn view(&self, now: Time) -> ClusterView {
        Controller::view(self, now)
    }
    fn explain(&self, subject: &str, now: Time) -> Option<String> {
        Controller::explain(self, subject, now)
    }
}

/// The controller that ships.
pub(crate) fn real(spec: Arc<ClusterSpec>, rows: Vec<Row>, now: Time) -> Result<(Box<dyn Leader>, Step), BadRow> {
    let (controller, step) = Controller::start(spec, rows, now)?;
    Ok((Box::new(controller), step))
}
