//! Part of rule 6: a workload that runs is moved only if a rule, an operator or a drain asks for it.
//!
//! Judged are workloads that no rule places and that have never been elsewhere: for them only an operator or a drain can ask.

use super::{Checker, Rule};
use crate::world::World;
use mainstay_model::{Command, Order, WorkloadId};
use std::collections::BTreeSet;

/// What may have asked for moves so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Moves {
    asked: BTreeSet<WorkloadId>,
    /// Something that may move any workload: a drain, a rebalancing, another configuration.
    any_asked: bool,
    /// Workloads that came to another host than their first: they may be sent home.
    been_away: BTreeSet<WorkloadId>,
}

impl Moves {
    pub fn command(&mut self, command: &Command) {
        match command {
            Command::MoveWorkload { workload, .. } => _ = self.asked.insert(workload.clone()),
            Command::Rebalance | Command::Maintenance { .. } => self.any_asked = true,
            _ => {}
        }
    }

    pub fn reloaded(&mut self) {
        self.any_asked = true;
    }

    pub fn went_away(&mut self, workload: &WorkloadId) {
        if !self.been_away.contains(workload) {
            self.been_away.insert(workload.clone());
        }
    }
}

impl Checker {
    /// A migration leaves.
    pub(super) fn asked_for(&mut self, world: &World, order: &Order, workload: &WorkloadId) {
        let Some(guest) = world.guests.get(workload) else { return };
        let spec = &world.spec;
        let rule = spec.workload_rule(workload, &guest.tags);
        let placed = rule.is_none_or(|rule| !rule.policy.hosts.is_empty());
        let bound = !(spec.together.is_empty() && spec.apart.is_empty() && spec.maintenance_windows.is_empty());
        let moves = &self.moves;
        if placed || bound || moves.any_asked || moves.asked.contains(workload) || moves.been_away.contains(workload) {
            return;
        }
        let text = format!("{}: no rule, operator or drain asks for it", order.action);
        self.violate(world, Rule::Bounded, text);
    }
}
