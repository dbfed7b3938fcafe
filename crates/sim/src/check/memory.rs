//! What the controller has on record: after each step that changed it, and when a backup of it is put back.

use super::{Checker, Rule};
use crate::{store::Store, world::World};
use mainstay_engine::{Change, Table, WITHHELD};
use mainstay_model::{Action, Order, Outcome, Time, WorkloadId};
use serde::Deserialize;
use std::collections::BTreeSet;

/// An order that the linter withholds is planned otherwise soon: so often in a row it may withhold those of one workload.
const WITHHELD_AT_MOST: usize = 2;

impl Checker {
    /// The controller's memory was put back from a backup, with which it begins at that time.
    pub fn memory_put_back(&mut self, world: &World, at: Time) {
        self.figures.memory_put_back();
        self.live_since_put_back.clear();
        self.put_back = Some((at, BTreeSet::new()));
        self.put_back_on_record = false;
        self.memory_is_old = true;
        self.put_back_as_stopped.clone_from(&self.backed_up_as_stopped);
        // What it was told since the backup it does not know. What runs is wanted, whatever an operator said (scenarios 416 and 418).
        for guest in world.guests.values().filter(|guest| guest.runs_on().next().is_some()) {
            self.stops.forgotten(&guest.name);
        }
        self.unprotected.clear();
        self.waits.clear();
        for rule in [Rule::NeverTwice, Rule::ProofBeforeStart, Rule::PersonsStop] {
            self.stake(rule);
        }
    }

    /// VMs of which the controller was not told that they run since its memory was put back: an operator who accepts that
    /// memory speaks for these.
    pub fn in_question(&self, world: &World) -> Vec<WorkloadId> {
        let asked = |guest: &&WorkloadId| {
            // The old memory has it as stopped, and its host went down right after that: it takes one for the other (scenario 405).
            let stopped = self.stopped_in_backup.contains(*guest) && !self.goodbyes.went(guest);
            !self.live_since_put_back.contains(*guest) && !stopped
        };
        world.guests.keys().filter(asked).cloned().collect()
    }

    /// A person makes a backup of the controller's memory.
    pub fn memory_backed_up(&mut self, world: &World) {
        let stopped = world.guests.keys().filter(|guest| self.stops.known_since(guest).is_some());
        self.stopped_in_backup = stopped.cloned().collect();
        let stopped = self.recorded.iter().filter(|(_, recorded)| recorded.stopped).map(|(workload, _)| workload);
        self.backed_up_as_stopped = stopped.cloned().collect();
    }

    /// An operator accepted that memory and asked for starts. Of the VMs in question, those that it knows as stopped need not
    /// start.
    pub fn may_start_what_is_in_question(&mut self, world: &World) {
        for workload in self.in_question(world) {
            self.stops.may_start(&workload);
            self.attempts.entry(workload).or_default().disturbed();
        }
    }

    /// Checks memory after it changed.
    pub fn persisted(&mut self, world: &World, store: &Store, changes: &[Change]) {
        self.put_back_on_record = true;
        let mut points = false;
        for change in changes {
            match change.table {
                Table::Order => self.journaled(world, change),
                Table::Workload => {
                    if change.body.is_none() {
                        self.figures.forgotten(&change.key);
                    } else {
                        self.figures.recorded(&change.key, world.now);
                    }
                    self.believed(world, change);
                }
                Table::Point => {
                    points = true;
                    self.recorded(world, store, change);
                }
                _ => {}
            }
        }
        if !self.waits.is_empty() {
            self.waits_end(world);
        }
        let wrong = if points { self.points.persisted(store) } else { Vec::new() };
        for text in wrong {
            self.violate(world, Rule::LastGoodPoint, text);
        }
    }

    /// The linter withheld an order, if so. What brings a workload back must not be planned in the same wrong way for ever.
    fn is_withheld(&mut self, world: &World, order: &Order, why: &str) {
        let brings = order.action.workload().filter(|_| order.action.may_run_on().is_some());
        let Some(workload) = brings.filter(|_| why.starts_with(WITHHELD)) else { return };
        let times = self.withheld.entry(workload.clone()).or_default();
        *times += 1;
        if *times == WITHHELD_AT_MOST + 1 {
            let text = format!("the linter withheld {times} orders in a row, the last {}: {why}", order.action);
            self.violate(world, Rule::Liveness, text);
        }
    }

    /// A recovery point is on record.
    fn recorded(&mut self, world: &World, store: &Store, change: &Change) {
        let point = store.point(&change.key);
        if let Some(text) = point.and_then(|point| self.points.recorded(world, point)) {
            self.violate(world, Rule::LastGoodPoint, text);
        }
    }

    /// Unknown is never read as done: what the journal calls done was told to be done.
    fn journaled(&mut self, world: &World, change: &Change) {
        let entry = change.body.as_deref().and_then(|body| serde_json::from_str::<Journaled>(body).ok());
        if let Some(Journaled { order, ended: None }) = &entry {
            self.reverts.decided(&order.action, world.now); // also if the controller dies before it leaves
            self.stops.decided(&order.action, world.now);
            if let Action::Fence { host, .. } = &order.action {
                self.fence_decided(world, host);
            }
        }
        if let Some(Journaled { order, ended: Some((_, Outcome::Failed { error })) }) = &entry {
            self.is_withheld(world, order, &error.message);
        }
        if let Some(Journaled { order, ended: Some((_, Outcome::Unknown { .. })) }) = &entry {
            self.stops.given_up(&order.action, world.now); // also if it never left: the next term can't know
            self.evidence.given_up(order.id, world.now);
        }
        let Some(Journaled { order, ended: Some((_, Outcome::Done { .. })) }) = entry else { return };
        if !self.done.contains(&order.id) {
            let text = format!("{} ({}) is on record as done, and nobody said so", order.id, order.action);
            self.violate(world, Rule::ProofBeforeStart, text);
        }
    }
}

/// An order as the journal has it.
#[derive(Deserialize)]
struct Journaled {
    order: Order,
    ended: Option<(Time, Outcome)>,
}
