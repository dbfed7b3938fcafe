//! The controller that ships, sabotaged: it stands where the controller stands, and falsifies what passes.

use super::{Sabotage, lies};
use crate::leader::Leader;
use mainstay_engine::{
    Change, Input, Row, Step, Table,
    control::{BadRow, Circumstances, Controller},
    view::ClusterView,
};
use mainstay_model::{
    Action, ActionId, Code, Command, CommandId, Detail, Epoch, Fact, HostId, Incident, Order, Outcome, PointBy,
    PointState, RecoveryPoint, Reply, Span, StopHow, Time, WorkloadId, spec::ClusterSpec,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Made-up commands are numbered from here.
const MADE_UP: u64 = 1 << 40;
/// How often a restless controller moves something.
const RESTLESS_EVERY: Span = Span::secs(60);

/// The controller that ships, sabotaged.
pub(crate) struct Sabotaged {
    how: Sabotage,
    controller: Controller,
    pub(super) now: Time,
    pub(super) began: Time,
    /// The engine hears it in its next step, made up.
    pub(super) made_up: Vec<Input>,
    /// Replies to commands that the engine never heard.
    replies: Vec<(CommandId, Reply)>,
    commands: u64,
    restless_at: Time,
    /// Changes of the journal that are held back.
    held_back: Vec<Change>,
    /// Orders without an outcome.
    pub(super) open: BTreeMap<ActionId, Order>,
    /// Orders whose unknown outcome is held back.
    pub(super) doubtful: BTreeSet<ActionId>,
    /// The last true list of each host.
    pub(super) lists: BTreeMap<HostId, Fact>,
    /// Hosts whose hypervisor does not answer, since when; and those that did not for long, once.
    pub(super) silent: BTreeMap<HostId, Time>,
    pub(super) fallen: BTreeSet<HostId>,
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
        let mut rows = lies::remembered(how, rows);
        if how == Sabotage::PutBackUnnoticed && circumstances.restored.take().is_some() {
            // Its numbers go on, or they alone would give it away.
            rows.iter_mut().filter(|row| row.table == Table::Meta).for_each(lies::skip_numbers);
        }
        let points = rows.iter().filter(|row| row.table == Table::Point);
        let points = points.filter_map(|row| Some((row.key.clone(), serde_json::from_str(&row.body).ok()?))).collect();
        let spec = lies::configured(how, spec);
        let (controller, step) = Controller::start_with(spec, rows, now, circumstances)?;
        let mut leader = Sabotaged {
            how,
            controller,
            now,
            began: now,
            made_up: Vec::new(),
            replies: Vec::new(),
            commands: MADE_UP,
            restless_at: now + RESTLESS_EVERY,
            held_back: Vec::new(),
            open: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            lists: BTreeMap::new(),
            silent: BTreeMap::new(),
            fallen: BTreeSet::new(),
            points,
        };
        let step = leader.falsified(step);
        Ok((leader, step))
    }

    /// What the engine hears instead of this.
    fn told(&mut self, input: Input, told: &mut Vec<Input>) {
        match input {
            Input::Fact(fact) => {
                self.remember(&fact);
                let fact = self.fact(self.how, fact, told);
                told.extend(fact.map(Input::Fact));
                self.lists_settle(self.how, told);
            }
            Input::Outcome { id, outcome } => {
                if let Some(outcome) = self.outcome(self.how, id, outcome) {
                    self.open.remove(&id);
                    told.push(Input::Outcome { id, outcome });
                }
            }
            Input::Command { id, command: Command::Unprotect { workload }, .. }
                if self.how == Sabotage::UnprotectIgnored =>
            {
                self.replies.push((id, Reply::Accepted { text: format!("{workload} is left alone") }));
            }
            Input::Spec(spec) => told.push(Input::Spec(lies::configured(self.how, spec))),
            other => told.push(other),
        }
    }

    /// What comes of a step instead of this.
    fn falsified(&mut self, mut step: Step) -> Step {
        for change in step.changes.iter().filter(|change| change.table == Table::Point) {
            match change.body.as_deref().and_then(|body| serde_json::from_str(body).ok()) {
                Some(point) => self.points.insert(change.key.clone(), point),
                None => self.points.remove(&change.key),
            };
        }
        match self.how {
            Sabotage::FencingSkipped => {
                let detail = Detail::Fenced { already_off: false, by: "nobody".to_owned() };
                self.swallow(&mut step, detail, |action| matches!(action, Action::Fence { .. }));
            }
            Sabotage::AutostartLeftOn => {
                self.swallow(&mut step, Detail::None, |action| matches!(action, Action::DisableAutostart { .. }));
            }
            Sabotage::ReusedEpoch => {
                step.orders.iter_mut().for_each(|order| order.epoch = Epoch(order.epoch.0.saturating_sub(1).max(1)));
            }
            Sabotage::JournalAfter => {
                let late = step.changes.extract_if(.., |change| change.table == Table::Order).collect();
                step.changes.append(&mut std::mem::replace(&mut self.held_back, late));
            }
            Sabotage::DowntimeFromDetection => {
                step.changes.iter_mut().filter(|it| it.table == Table::Incident).for_each(lies::from_detection);
            }
            Sabotage::LadderNeverEnds => {
                let exhausted = format!("/{}", Code::RECOVERY_EXHAUSTED);
                let called = step.changes.iter().filter(|change| change.table == Table::Alarm && change.body.is_some());
                let called: Vec<_> = called.filter_map(|change| change.key.strip_suffix(&exhausted)).collect();
                for workload in called.into_iter().filter_map(|subject| subject.strip_prefix("vm/")) {
                    let command =
                        Command::StartWorkload { workload: WorkloadId::from(workload), host: None, leave_state: false };
                    self.commands += 1;
                    self.made_up.push(Input::Command { id: CommandId(self.commands), by: None, command });
                }
            }
            _ => step.orders.iter_mut().for_each(|order| self.bend(&mut order.action)),
        }
        self.open.extend(step.orders.iter().map(|order| (order.id, order.clone())));
        step.replies.retain(|(id, _)| id.0 <= MADE_UP);
        step.replies.append(&mut self.replies);
        if !self.made_up.is_empty() {
            step.wake_at = Some(self.now + Span(1));
        }
        step
    }

    /// Such orders do not leave, and the engine hears that they were done.
    fn swallow(&mut self, step: &mut Step, detail: Detail, which: fn(&Action) -> bool) {
        for order in step.orders.extract_if(.., |order| which(&order.action)) {
            let outcome = Outcome::Done { detail: detail.clone() };
            self.made_up.push(Input::Outcome { id: order.id, outcome });
        }
    }

    /// What is ordered instead of this.
    fn bend(&self, action: &mut Action) {
        let good = |workload: &WorkloadId| self.good_points(workload);
        match (self.how, &mut *action) {
            (Sabotage::LastPointDeleted, Action::DeletePoint { workload, point, .. }) => {
                if let [last] = good(workload).as_slice() {
                    point.clone_from(&last.id);
                }
            }
            (Sabotage::PersonsPointDeleted, Action::DeletePoint { workload, point, .. }) => {
                if let Some(other) = good(workload).iter().find(|other| other.by == PointBy::Person) {
                    point.clone_from(&other.id);
                }
            }
            (Sabotage::OldestPointReverted, Action::Revert { workload, point, .. }) => {
                if let Some(oldest) = good(workload).first() {
                    point.clone_from(&oldest.id);
                }
            }
            (Sabotage::StopsByForce, Action::Stop { how, .. }) => *how = StopHow::Force,
            (Sabotage::EveryRecoveryReverts, Action::Start { workload, host }) => {
                if let Some(last) = good(workload).last() {
                    let (workload, host, point) = (workload.clone(), host.clone(), last.id.clone());
                    *action = Action::Revert { workload, host, point, keep_broken: false };
                }
            }
            _ => {}
        }
    }

    /// Good points of a workload, the oldest first.
    fn good_points(&self, workload: &WorkloadId) -> Vec<&RecoveryPoint> {
        let of_it = self.points.values().filter(|point| point.workload == *workload);
        let mut good: Vec<_> = of_it.filter(|point| point.state == PointState::Good).collect();
        good.sort_by_key(|point| point.taken_at);
        good
    }

    /// Names of recovery points on record.
    pub(super) fn points_on_record(&self, workload: &WorkloadId) -> BTreeSet<mainstay_model::PointId> {
        self.points.values().filter(|point| point.workload == *workload).map(|point| point.id.clone()).collect()
    }

    /// Moves something that runs.
    fn move_something(&mut self, told: &mut Vec<Input>) {
        let once = self.how == Sabotage::MovedUnasked;
        if !(once || self.how == Sabotage::Restless) || self.now < self.restless_at {
            return;
        }
        self.restless_at = if once { Time(u64::MAX) } else { self.now + RESTLESS_EVERY };
        let domains = self.lists.values().flat_map(|list| match list {
            Fact::Inventory { domains, .. } => domains.iter().collect::<Vec<_>>(),
            _ => Vec::new(),
        });
        for workload in domains.filter(|(_, seen)| seen.state.is_live()).map(|(workload, _)| workload.clone()) {
            self.commands += 1;
            let command = Command::MoveWorkload { workload, to: None, cold: false };
            told.push(Input::Command { id: CommandId(self.commands), by: None, command });
        }
    }
}

impl Leader for Sabotaged {
    fn step(&mut self, now: Time, inputs: &mut Vec<Input>) -> Step {
        self.now = now;
        let mut told = std::mem::take(&mut self.made_up);
        for input in inputs.drain(..) {
            self.told(input, &mut told);
        }
        self.deadlines_pass(self.how, &mut told);
        self.move_something(&mut told);
        let step = self.controller.step(now, told);
        self.falsified(step)
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
    fn incidents(&self) -> Vec<Incident> {
        self.controller.incidents()
    }
}
