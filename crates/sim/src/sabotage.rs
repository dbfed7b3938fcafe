//! Sabotage: the controller that ships, with one of its duties taken from it, so that it can be seen that the checker
//! bites. Nothing in the engine is changed: what goes in or what comes out is falsified, or what should refuse it takes it, and
//! the checker has to find out.

use crate::{check::Rule, leader::Leader};
use mainstay_engine::{
    Change, Input, Row, Step, Table,
    control::{BadRow, Circumstances, Controller},
    view::ClusterView,
};
use mainstay_model::{
    Action, ActionId, Detail, DomainChange, DomainState, Epoch, Fact, OffReason, Order, Outcome, PauseReason,
    PointState, RecoveryPoint, Resources, Span, Time, WorkloadId, spec::ClusterSpec,
};
use serde::{Serialize, Serializer};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// A way of being wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// No fence order leaves; the engine is told that each was done.
    FencingSkipped,
    /// What a controller had decided leaves and is carried out, though its term is over.
    StaleEpoch,
    /// The memory takes what a controller writes whose term is over.
    StaleJournal,
    /// A new term goes on under the number of the one before.
    ReusedEpoch,
    /// What nobody knows the outcome of is told as done.
    UnknownIsDone,
    /// Nobody sees that a VM panicked, is paused or silent, so recovery points go on being taken of it.
    SickPoint,
    /// When one good recovery point is left, that is the one which is deleted.
    LastPointDeleted,
    /// Every host seems to have room for everything.
    CapacityIgnored,
    /// Orders reach the journal after they left.
    JournalAfter,
    /// That a person stopped a VM is taken for a crash.
    StopForgotten,
    /// A memory that was put back counts as the newest.
    PutBackUnnoticed,
}

impl Sabotage {
    /// Every one.
    pub const ALL: [Sabotage; 11] = [
        Sabotage::FencingSkipped,
        Sabotage::StaleEpoch,
        Sabotage::StaleJournal,
        Sabotage::ReusedEpoch,
        Sabotage::UnknownIsDone,
        Sabotage::SickPoint,
        Sabotage::LastPointDeleted,
        Sabotage::CapacityIgnored,
        Sabotage::JournalAfter,
        Sabotage::StopForgotten,
        Sabotage::PutBackUnnoticed,
    ];

    /// The one of that name.
    pub fn named(name: &str) -> Option<Sabotage> {
        Sabotage::ALL.into_iter().find(|sabotage| sabotage.to_string() == name)
    }

    /// The rule that it breaks, and by which it has to be found out.
    pub fn breaks(self) -> Rule {
        match self {
            Sabotage::FencingSkipped | Sabotage::UnknownIsDone | Sabotage::PutBackUnnoticed => Rule::ProofBeforeStart,
            Sabotage::StaleEpoch | Sabotage::StaleJournal | Sabotage::ReusedEpoch => Rule::OneEpoch,
            Sabotage::SickPoint | Sabotage::LastPointDeleted => Rule::LastGoodPoint,
            Sabotage::CapacityIgnored => Rule::Room,
            Sabotage::JournalAfter => Rule::DurableIntent,
            Sabotage::StopForgotten => Rule::PersonsStop,
        }
    }
}

impl Serialize for Sabotage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Sabotage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Sabotage::FencingSkipped => "fencing-skipped",
            Sabotage::StaleEpoch => "stale-epoch",
            Sabotage::StaleJournal => "stale-journal",
            Sabotage::ReusedEpoch => "reused-epoch",
            Sabotage::UnknownIsDone => "unknown-is-done",
            Sabotage::SickPoint => "sick-point",
            Sabotage::LastPointDeleted => "last-point-deleted",
            Sabotage::CapacityIgnored => "capacity-ignored",
            Sabotage::JournalAfter => "journal-after",
            Sabotage::StopForgotten => "stop-forgotten",
            Sabotage::PutBackUnnoticed => "put-back-unnoticed",
        })
    }
}

/// The controller that ships, sabotaged.
pub(crate) struct Sabotaged {
    how: Sabotage,
    controller: Controller,
    /// Told to the engine in its next step, made up.
    made_up: Vec<Input>,
    /// Changes of the journal that are held back.
    held_back: Vec<Change>,
    /// Orders without an outcome.
    open: BTreeMap<ActionId, Order>,
    /// Recovery points, as the memory has them.
    points: BTreeMap<String, RecoveryPoint>,
}

impl Sabotaged {
    pub fn begin(
        how: Sabotage,
        spec: Arc<ClusterSpec>,
        rows: Vec<Row>,
        now: Time,
        mut circumstances: Circumstances,
    ) -> Result<(Sabotaged, Step), BadRow> {
        let mut rows = rows;
        if how == Sabotage::PutBackUnnoticed && circumstances.restored.take().is_some() {
            // Its numbers go on, or they alone would give it away.
            rows.iter_mut().filter(|row| row.table == Table::Meta).for_each(skip_numbers);
        }
        let points = rows.iter().filter(|row| row.table == Table::Point);
        let points = points.filter_map(|row| Some((row.key.clone(), serde_json::from_str(&row.body).ok()?))).collect();
        let (controller, step) = Controller::start_with(spec, rows, now, circumstances)?;
        let (made_up, held_back, open) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut leader = Sabotaged { how, controller, made_up, held_back, open, points };
        let step = leader.falsified(now, step);
        Ok((leader, step))
    }

    /// What the engine is told instead of this.
    fn told(&mut self, input: Input) -> Option<Input> {
        let Input::Fact(fact) = input else { return Some(self.ended(input)) };
        Some(Input::Fact(match (self.how, fact) {
            (Sabotage::SickPoint, Fact::GuestSilent { workload, channel }) => Fact::GuestHeard { workload, channel },
            (how, Fact::Domain { host, workload, change: DomainChange::State(state) }) => {
                let change = DomainChange::State(how.seen(state)?);
                Fact::Domain { host, workload, change }
            }
            (how, Fact::Inventory { host, asked_at, mut capacity, mut domains }) => {
                for seen in Arc::make_mut(&mut domains).values_mut() {
                    seen.state = how.seen(seen.state).unwrap_or(DomainState::Running);
                }
                if how == Sabotage::CapacityIgnored {
                    capacity = Resources::of(1 << 30, 1 << 20);
                }
                Fact::Inventory { host, asked_at, capacity, domains }
            }
            (_, fact) => fact,
        }))
    }

    fn ended(&mut self, input: Input) -> Input {
        let Input::Outcome { id, outcome } = input else { return input };
        self.open.remove(&id);
        match outcome {
            Outcome::Unknown { .. } if self.how == Sabotage::UnknownIsDone => {
                Input::Outcome { id, outcome: Outcome::done() }
            }
            outcome => Input::Outcome { id, outcome },
        }
    }

    /// What comes of a step instead of this.
    fn falsified(&mut self, now: Time, mut step: Step) -> Step {
        for change in step.changes.iter().filter(|change| change.table == Table::Point) {
            match change.body.as_deref().and_then(|body| serde_json::from_str(body).ok()) {
                Some(point) => self.points.insert(change.key.clone(), point),
                None => self.points.remove(&change.key),
            };
        }
        self.open.extend(step.orders.iter().map(|order| (order.id, order.clone())));
        match self.how {
            Sabotage::FencingSkipped => {
                for order in step.orders.extract_if(.., |order| matches!(order.action, Action::Fence { .. })) {
                    let detail = Detail::Fenced { already_off: false, by: "nobody".to_owned() };
                    self.made_up.push(Input::Outcome { id: order.id, outcome: Outcome::Done { detail } });
                    step.wake_at = Some(now + Span(1));
                }
            }
            Sabotage::ReusedEpoch => {
                step.orders.iter_mut().for_each(|order| order.epoch = Epoch(order.epoch.0.saturating_sub(1).max(1)));
            }
            Sabotage::LastPointDeleted => {
                for order in &mut step.orders {
                    if let Action::DeletePoint { workload, point, .. } = &mut order.action
                        && let [last] = self.good_points(workload).as_slice()
                    {
                        point.clone_from(&last.id);
                    }
                }
            }
            Sabotage::JournalAfter => {
                let late = step.changes.extract_if(.., |change| change.table == Table::Order).collect();
                step.changes.append(&mut std::mem::replace(&mut self.held_back, late));
            }
            _ => {}
        }
        step
    }

    fn good_points(&self, workload: &WorkloadId) -> Vec<&RecoveryPoint> {
        let of_it = self.points.values().filter(|point| point.workload == *workload);
        of_it.filter(|point| point.state == PointState::Good).collect()
    }

    /// Orders whose deadline passed: the engine itself would take their outcome for unknown.
    fn expired(&mut self, now: Time) -> Vec<Input> {
        let open = std::mem::take(&mut self.open);
        let (expired, open) = open.into_iter().partition(|(_, order)| order.deadline <= now);
        self.open = open;
        let expired: BTreeMap<ActionId, Order> = expired;
        expired.into_keys().map(|id| Input::Outcome { id, outcome: Outcome::done() }).collect()
    }
}

impl Sabotage {
    /// The state that the engine is told instead of this; `None`: it is told nothing.
    fn seen(self, state: DomainState) -> Option<DomainState> {
        match (self, state) {
            (Sabotage::SickPoint, DomainState::Panicked | DomainState::Paused(PauseReason::IoError)) => None,
            (Sabotage::StopForgotten, DomainState::Off(OffReason::Shutdown | OffReason::Destroyed)) => {
                Some(DomainState::Off(OffReason::Crashed))
            }
            (_, state) => Some(state),
        }
    }
}

/// Counters go on far beyond those of a forgotten time.
fn skip_numbers(row: &mut Row) {
    let Ok(mut counters) = serde_json::from_str::<serde_json::Value>(&row.body) else { return };
    for counter in ["epoch", "next_order", "next_incident"] {
        if let Some(number) = counters.get(counter).and_then(serde_json::Value::as_u64) {
            counters[counter] = (number + 1_000_000).into();
        }
    }
    row.body = counters.to_string();
}

impl Leader for Sabotaged {
    fn step(&mut self, now: Time, inputs: Vec<Input>) -> Step {
        let mut told = std::mem::take(&mut self.made_up);
        told.extend(inputs.into_iter().filter_map(|input| self.told(input)));
        if self.how == Sabotage::UnknownIsDone {
            told.extend(self.expired(now));
        }
        let step = self.controller.step(now, told);
        self.falsified(now, step)
    }
    fn view(&self, now: Time) -> ClusterView {
        self.controller.view(now)
    }
    fn words(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        self.controller.words()
    }
    fn explain(&self, subject: &str, now: Time) -> Option<String> {
        self.controller.explain(subject, now)
    }
}
