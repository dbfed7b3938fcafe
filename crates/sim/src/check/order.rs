//! Checks on an order at the moment at which it leaves the controller.

use super::{Checker, Rule, alone::Known};
use crate::{store::Store, world::World};
use mainstay_model::{Action, HostId, Order, StopHow, WorkloadId, spec::PersonStop};

impl Checker {
    /// An order leaves a controller, which leads or believes so.
    pub fn leaves(&mut self, world: &World, store: &Store, order: &Order, leads: bool) {
        if !self.left.insert(order.id) {
            self.violate(world, Rule::DurableIntent, format!("{} ({}) left twice", order.id, order.action));
        }
        if !store.knows_order(order.id) {
            let text = format!("{} ({}) left before it was durable", order.id, order.action);
            self.violate(world, Rule::DurableIntent, text);
        }
        if !leads {
            let text = format!("{} ({}) left a controller whose term is over", order.id, order.action);
            self.violate(world, Rule::OneEpoch, text);
        } else if order.epoch < self.oldest_allowed {
            let text = format!(
                "{} ({}) left in {} although {} leads",
                order.id, order.action, order.epoch, self.oldest_allowed
            );
            self.violate(world, Rule::OneEpoch, text);
        }
        self.epoch = self.epoch.max(order.epoch);
        let of_points = matches!(order.action, Action::TakePoint { .. } | Action::DeletePoint { .. });
        let left_alone = order.action.workload().filter(|workload| self.unprotected.contains(*workload));
        if let Some(workload) = left_alone.filter(|_| !of_points) {
            let text = format!("{} although an operator said to leave {workload} alone", order.action);
            self.violate(world, Rule::PersonsStop, text);
        }
        match &order.action {
            Action::Fence { host, .. } => self.fences(world, order, host),
            Action::Stop { workload, host, how: StopHow::Force } => self.kills(world, order, workload, host),
            Action::Revert { workload, host, point, .. } => {
                self.reverts(world, store, order, workload, point);
                self.kills(world, order, workload, host);
            }
            _ => {}
        }
        if let (Some(workload), Some(_)) = (order.action.workload(), order.action.may_run_on()) {
            self.withheld.remove(workload);
        }
        match &order.action {
            Action::Start { workload, host } | Action::Revert { workload, host, .. } => {
                self.person_stop_holds(world, order, workload);
                self.alone(world, order, workload, &[host]);
                self.fits(world, order, workload, host);
                self.count_try(world, workload);
            }
            Action::Resume { workload, host } => self.alone(world, order, workload, &[host]),
            Action::Migrate { workload, from, to } => {
                self.alone(world, order, workload, &[from, to]);
                self.fits(world, order, workload, to);
                self.asked_for(world, order, workload);
            }
            Action::TakePoint { workload, point, .. } => {
                let sick = self.known_sick(world, workload);
                if sick.is_some() {
                    self.stake(Rule::LastGoodPoint);
                }
                self.points.taking(workload, point, sick);
            }
            Action::DeletePoint { workload, point, .. } => {
                self.stake(Rule::LastGoodPoint);
                if let Some(text) = self.points.deleting(world, store, workload, point) {
                    self.violate(world, Rule::LastGoodPoint, text);
                }
            }
            _ => {}
        }
        if let Some((workload, host)) = order.action.workload().zip(order.action.may_run_on()) {
            self.last_start.insert(workload.clone(), world.now);
            if !matches!(order.action, Action::Migrate { .. }) {
                self.last_start_by_itself.insert((workload.clone(), host.clone()), world.now);
            }
            self.last_start_on.insert((workload.clone(), host.clone()), world.now);
            self.newest_is_done.remove(&(workload.clone(), host.clone()));
        }
        self.stops.ordered(order, world.now);
        self.evidence.left(order, world.now);
    }

    fn person_stop_holds(&mut self, world: &World, order: &Order, workload: &WorkloadId) {
        let Some(since) = self.stops.known_since(workload) else { return };
        let Some(guest) = world.guests.get(workload).filter(|guest| guest.stopped_by_person.is_some()) else { return };
        if self.is_another(world, workload) {
            return; // a person renamed the one that was stopped (scenario 401)
        }
        if self.alone.woke_up(workload) {
            return; // it ended one of two (scenario 850)
        }
        let wants_power = world
            .spec
            .workload_rule(workload, &guest.tags)
            .is_some_and(|rule| rule.policy.on_person_stop == PersonStop::PowerOn);
        if !wants_power && !self.goodbyes.took(workload, world.now) {
            let text = format!("{} although a person stopped it (told {:.1} s)", order.action, since.0 as f64 / 1000.0);
            self.violate(world, Rule::PersonsStop, text);
        }
    }

    /// The name belongs to another VM on record: one that a person defined under it, on a host in sight (scenarios 401 and 542).
    pub(super) fn is_another(&self, world: &World, workload: &WorkloadId) -> bool {
        let guest = world.guests.get(workload);
        guest.is_some_and(|guest| self.uuids.get(workload).is_some_and(|uuid| *uuid != guest.uuid))
    }

    /// The workload may run nowhere but on these hosts: neither by what was told, nor in truth.
    fn alone(&mut self, world: &World, order: &Order, workload: &WorkloadId, hosts: &[&HostId]) {
        let may_run = self.evidence.may_run(workload);
        let elsewhere = may_run.iter().find(|(host, _)| !hosts.contains(host));
        let target = order.action.may_run_on();
        if target != self.last_ran.get(workload) {
            self.stake(Rule::NeverTwice);
            self.stake(Rule::ProofBeforeStart);
        }
        if let Some((host, why)) = elsewhere {
            let text = format!("{} while it may run on {host}: {why}", order.action);
            self.violate(world, Rule::ProofBeforeStart, text);
            return;
        }
        let Some(host) = target.filter(|_| !self.is_another(world, workload)) else { return };
        // What does not run where it is to leave does not arrive anywhere either (scenario 803).
        if let Action::Migrate { from, .. } = &order.action
            && world.guests.get(workload).is_some_and(|guest| !guest.processes.contains_key(from))
        {
            return;
        }
        let others = self.true_others(world, workload, host, Known::Now);
        if let Some(other) = others.into_iter().find(|other| !hosts.contains(&other)) {
            let text = format!("{} while it truly executes on {other}", order.action);
            self.violate(world, Rule::ProofBeforeStart, text);
        }
    }
}
