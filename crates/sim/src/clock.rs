//! The controller's clock, as the daemon derives it: the wall clock when it begins, never before the last time on record with
//! what has passed since then by the machine's time since its boot, and from then on monotonic. So what it shows differs from the world's time by the same amount for a whole term.

use crate::leader::Leader;
use mainstay_engine::{Input, Step, view::ClusterView};
use mainstay_model::{Fact, Incident, Time};

/// How far the wall clock of the controller's machine is ahead, and the last time on record.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WallClock {
    pub ahead_ms: i64,
    pub on_record: Time,
    /// How far the clock on record was ahead.
    pub ahead_on_record: Ahead,
}

impl WallClock {
    /// How far a controller's clock is ahead that begins now.
    pub fn begin(self, now: Time) -> Ahead {
        let shown = shifted(now, self.ahead_ms).max(self.on_record).max(self.ahead_on_record.shows(now));
        Ahead(signed(shown) - signed(now))
    }
}

/// How far a controller's clock is ahead of the world's time, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ahead(i64);

impl Ahead {
    /// What that clock shows.
    pub fn shows(self, now: Time) -> Time {
        shifted(now, self.0)
    }

    /// When in the world that clock shows this.
    pub fn when(self, shown: Time) -> Time {
        shifted(shown, -self.0)
    }

    /// The times in a step, as the world's.
    pub fn translate(self, mut step: Step) -> Step {
        step.orders.iter_mut().for_each(|order| order.deadline = self.when(order.deadline));
        step.events.iter_mut().for_each(|event| event.at = self.when(event.at));
        step.wake_at = step.wake_at.map(|at| self.when(at));
        step
    }
}

/// A leader that lives by its own clock.
pub(crate) struct Clocked {
    pub leader: Box<dyn Leader>,
    pub ahead: Ahead,
}

impl Leader for Clocked {
    fn step(&mut self, now: Time, inputs: &mut Vec<Input>) -> Step {
        for input in inputs.iter_mut() {
            if let Input::Fact(
                Fact::Inventory { asked_at, .. }
                | Fact::Power { asked_at, .. }
                | Fact::PointsSeen { asked_at, .. }
                | Fact::Readiness { asked_at, .. }
                | Fact::HostBooted { at: asked_at, .. },
            ) = input
            {
                *asked_at = self.ahead.shows(*asked_at);
            }
        }
        let step = self.leader.step(self.ahead.shows(now), inputs);
        self.ahead.translate(step)
    }

    fn view(&self, now: Time) -> ClusterView {
        self.leader.view(self.ahead.shows(now))
    }

    fn words(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        self.leader.words()
    }

    fn explain(&self, subject: &str, now: Time) -> Option<String> {
        self.leader.explain(subject, self.ahead.shows(now))
    }

    fn incidents(&self) -> Vec<Incident> {
        self.leader.incidents()
    }
}

fn signed(time: Time) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

fn shifted(time: Time, by_ms: i64) -> Time {
    Time(time.0.saturating_add_signed(by_ms))
}
