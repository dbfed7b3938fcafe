//! The seam between the simulated world and what decides: the real controller, or one that is sabotaged on purpose.

use crate::sabotage::{Sabotage, Sabotaged};
use mainstay_engine::{
    Input, Row, Step,
    control::{BadRow, Circumstances, Controller},
    view::ClusterView,
};
use mainstay_model::{Incident, Time, spec::ClusterSpec};
use std::sync::Arc;

/// What leads the cluster.
pub(crate) trait Leader {
    /// It takes all inputs, and leaves the room that they took for the next ones.
    fn step(&mut self, now: Time, inputs: &mut Vec<Input>) -> Step;
    fn view(&self, now: Time) -> ClusterView;
    /// The words for the health of hosts and workloads, as the view has them.
    fn words(&self) -> (Vec<&'static str>, Vec<&'static str>);
    fn explain(&self, subject: &str, now: Time) -> Option<String>;
    fn incidents(&self) -> Vec<Incident>;
}

/// Who leads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Elect {
    /// The controller that ships.
    Real,
    /// The same, with its eyes covered or its hand forced.
    Sabotaged(Sabotage),
    /// A few lines that start whatever is off at once.
    #[cfg(test)]
    Careless,
}

impl Elect {
    /// True if this is taken from it.
    pub fn lacks(self, duty: Sabotage) -> bool {
        matches!(self, Elect::Sabotaged(how) if how == duty)
    }

    /// Begins a term with what is remembered.
    pub fn begin(
        self,
        spec: Arc<ClusterSpec>,
        rows: Vec<Row>,
        now: Time,
        circumstances: Circumstances,
    ) -> Result<(Box<dyn Leader>, Step), BadRow> {
        Ok(match self {
            Elect::Real => {
                let (controller, step) = Controller::start_with(spec, rows, now, circumstances)?;
                (Box::new(controller), step)
            }
            Elect::Sabotaged(how) => {
                let (leader, step) = Sabotaged::begin(how, spec, rows, now, circumstances)?;
                (Box::new(leader), step)
            }
            #[cfg(test)]
            Elect::Careless => (Box::new(crate::toy::Careless::new(spec)), Step::default()),
        })
    }
}

impl Leader for Controller {
    fn step(&mut self, now: Time, inputs: &mut Vec<Input>) -> Step {
        self.step_drained(now, inputs)
    }
    fn view(&self, now: Time) -> ClusterView {
        Controller::view(self, now)
    }
    fn words(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        Controller::words(self)
    }
    fn explain(&self, subject: &str, now: Time) -> Option<String> {
        Controller::explain(self, subject, now)
    }
    fn incidents(&self) -> Vec<Incident> {
        Controller::incidents(self)
    }
}
