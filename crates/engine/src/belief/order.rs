//! The journal: every order with its reason, and what came of it. An order is written here before it leaves.

use crate::{Change, Row, Table, control::BadRow, ledger::Record, restored::Restored};
use mainstay_model::{
    Action, ActionId, Epoch, HostId, IncidentId, OffReason, Order, Outcome, Span, StopHow, Subject, Time, WorkloadId,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// An order in the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OrderRecord {
    pub order: Order,
    pub purpose: Purpose,
    pub ordered_at: Time,
    pub incident: Option<IncidentId>,
    /// The workload might have run on the order's target before it left: its failure does not show that it does not.
    #[serde(default)]
    pub doubted: bool,
    /// The order's target had the workload before it left, running or not: what it says of an end there may be of that.
    #[serde(default = "it_may_have")]
    pub had_it: bool,
    /// How it was off there before the order left, as its host had said.
    #[serde(default)]
    pub was_off: Option<OffReason>,
    /// A list of the workload's recovery points had come in the term that gave it: what such lists show anew is of later.
    #[serde(default)]
    pub points_listed: bool,
    /// It was never answered, and what it set aside is there: it was carried out.
    #[serde(default)]
    pub left_its_mark: bool,
    /// For how long its host was in sight after it ended, in terms of the controller before this one.
    #[serde(default)]
    pub waited: Span,
    /// The same in this term, up to the last time that the controller fell asleep.
    #[serde(default)]
    pub waited_awake: Span,
    /// When and how it ended.
    pub ended: Option<(Time, Outcome)>,
}

/// Whether an order decides over the workload's life, so that nothing else may be decided until it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Purpose {
    /// Starts, stops, moves, reverts; fencing and power.
    Life,
    /// Recovery points, pictures, housekeeping: recovery does not wait for them.
    Side,
}

/// Of a journal that an earlier version wrote.
fn it_may_have() -> bool {
    true
}

impl Record for OrderRecord {
    type Key = ActionId;
    const TABLE: Table = Table::Order;
    fn key(&self) -> ActionId {
        self.order.id
    }
}

impl OrderRecord {
    /// Whom it concerns: the workload, and every host it happens on.
    pub(crate) fn subjects(&self) -> Vec<Subject> {
        let action = &self.order.action;
        let mut subjects = vec![Subject::Host(action.host().clone())];
        if let Some(workload) = action.workload() {
            subjects.push(Subject::Workload(workload.clone()));
        }
        if let Action::Migrate { to, .. } = action {
            subjects.push(Subject::Host(to.clone()));
        }
        subjects
    }

    /// It may end a process there by force, which leaves the word *destroyed*: a stop by force, or a revert, but for one of what was off
    /// (scenario 835). A revert that hung may come after the next start (scenario 839).
    pub(crate) fn may_force(&self) -> bool {
        let hung = matches!(self.ended, Some((_, Outcome::Unknown { .. })));
        match self.order.action {
            Action::Stop { how, .. } => how == StopHow::Force,
            Action::Revert { .. } => self.doubted || self.was_off.is_none() || hung,
            _ => false,
        }
    }

    /// The host where the order starts or stops its workload: if the workload ends there later, this may be why.
    pub(crate) fn acts_at(&self) -> Option<&HostId> {
        match &self.order.action {
            Action::Stop { host, .. } => Some(host),
            Action::Resume { .. } => None, // the same process goes on
            action => action.may_run_on(),
        }
    }
}

/// Counters that must never go back.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub epoch: Epoch,
    pub next_order: u64,
    pub next_incident: u64,
    /// Set while the memory is known to be older than the world.
    #[serde(default)]
    restored: Option<Restored>,
    /// When the controller was last at work: what ends while none is there ended after this.
    #[serde(default)]
    pub alive_at: Option<Time>,
    /// `alive_at` of the term before this one.
    #[serde(skip)]
    pub alive_before: Option<Time>,
    /// When this term began.
    #[serde(default)]
    pub began_at: Option<Time>,
    /// `began_at` of the term before this one.
    #[serde(skip)]
    pub began_before: Option<Time>,
    /// When the controller last woke up in this term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    woke_at: Option<Time>,
    /// `woke_at` of the term before this one.
    #[serde(skip)]
    woke_before: Option<Time>,
    /// Workloads that were forgotten while an operator wanted them left alone: that word counts when they are found again.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    left_alone: BTreeSet<WorkloadId>,
    #[serde(skip)]
    changed: bool,
}

/// `alive_at` is written at least so often. Each write is a commit, also when all is well.
const ALIVE_EVERY: Span = Span::secs(10);

const META_KEY: &str = "counters";
/// Numbers that a forgotten time may have used are skipped: it lasted for fewer terms, orders and incidents than this.
const SKIPPED: u64 = 1_000_000;

impl Meta {
    /// Begins the next term.
    pub(crate) fn next_epoch(&mut self, now: Time) -> Epoch {
        self.changed = true;
        self.alive_before = self.alive_at;
        self.began_before = self.began_at.replace(now);
        self.woke_before = self.woke_at.take();
        self.epoch = Epoch(self.epoch.0 + 1);
        self.epoch
    }

    /// The controller was asleep until now.
    pub(crate) fn woke_up(&mut self, now: Time) {
        self.changed = true;
        self.woke_at = Some(now);
    }

    /// Since when the controller of the term before this one was at work and awake.
    pub(crate) fn awake_before_since(&self) -> Option<Time> {
        self.began_before.max(self.woke_before)
    }

    /// For how long the term before this one is known to have lasted after that time, by its own clock alone.
    pub(crate) fn lasted_before_since(&self, at: Time) -> Span {
        let lasted = self.began_before.zip(self.alive_before);
        lasted.map_or(Span::ZERO, |(began, alive)| alive.since(began.max(at)))
    }

    /// A step ends; `writes`: it changes something else as well.
    pub(crate) fn is_alive(&mut self, now: Time, writes: bool) {
        if writes || self.alive_at.is_none_or(|at| now.since(at) >= ALIVE_EVERY) {
            self.changed = true;
            self.alive_at = Some(now);
        }
    }
    pub(crate) fn new_order(&mut self) -> ActionId {
        self.changed = true;
        self.next_order += 1;
        ActionId(self.next_order)
    }
    pub(crate) fn new_incident(&mut self) -> IncidentId {
        self.changed = true;
        self.next_incident += 1;
        IncidentId(self.next_incident)
    }
    /// A workload is forgotten, and an operator wants it left alone.
    pub(crate) fn leave_alone(&mut self, workload: &WorkloadId) {
        self.changed |= self.left_alone.insert(workload.clone());
    }
    /// It is found again: true if it is to be left alone, which is on its own record from now on.
    pub(crate) fn was_left_alone(&mut self, workload: &WorkloadId) -> bool {
        let was = self.left_alone.remove(workload);
        self.changed |= was;
        was
    }
    /// Set while the memory is known to be older than the world.
    pub(crate) fn restored(&self) -> Option<&Restored> {
        self.restored.as_ref()
    }
    /// What it knows of times, to be told by another clock.
    pub(super) fn times(&mut self) -> impl Iterator<Item = &mut Time> {
        self.changed = true;
        let restored = self.restored.as_mut().map(|restored| &mut restored.since);
        self.alive_at.iter_mut().chain(&mut self.began_at).chain(&mut self.woke_at).chain(restored)
    }

    pub(crate) fn set_restored(&mut self, restored: Option<Restored>) {
        self.changed = true;
        self.restored = restored;
    }
    /// Skips the numbers that may have been used since the copy was made that is the memory now.
    pub(crate) fn skip_forgotten(&mut self) {
        self.changed = true;
        self.epoch = Epoch(self.epoch.0 + SKIPPED);
        self.next_order += SKIPPED;
        self.next_incident += SKIPPED;
    }
    pub(crate) fn restore(&mut self, row: &Row) -> Result<(), BadRow> {
        *self = serde_json::from_str(&row.body).map_err(|source| BadRow {
            table: row.table,
            key: row.key.clone(),
            source,
        })?;
        Ok(())
    }
    pub(crate) fn take_changes(&mut self, changes: &mut Vec<Change>) {
        if std::mem::take(&mut self.changed) {
            let body = serde_json::to_string(self).expect("counters are numbers");
            changes.push(Change { table: Table::Meta, key: META_KEY.to_owned(), body: Some(body) });
        }
    }
}
