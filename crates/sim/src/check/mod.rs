//! The checker: after every step it holds the eight safety rules of the design against the true state of the world.
//!
//! It sees three things: what was told to the controller (so that it never blames it for what it could not know), what
//! the controller ordered, and what truly happened. How often each rule was really at stake is counted: a rule never at
//! stake was not tested.

mod bounds;
mod evidence;
mod figures;
mod goodbye;
mod liveness;
mod order;
mod points;
mod room;
mod rule;
mod stops;

pub use rule::Rule;

use crate::{
    store::Store,
    world::{Guest, Power, Starter, Truth, World},
};
use bounds::Attempts;
use evidence::Evidence;
use figures::Figures;
use goodbye::Goodbyes;
use mainstay_engine::{Change, Input, Table};
use mainstay_model::{
    ActionId, Command, Detail, DomainChange, DomainSeen, DomainState, Epoch, Fact, HostId, Order, Outcome, PowerState,
    Time, WorkloadId,
};
use points::Points;
use room::Sizes;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use stops::Stops;

/// A rule was broken.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Violation {
    /// Seconds since the beginning.
    pub at_s: f64,
    /// Which rule.
    pub rule: Rule,
    /// What happened.
    pub text: String,
}

/// Watches one run.
#[derive(Default)]
pub(crate) struct Checker {
    violations: Vec<Violation>,
    at_stake: BTreeMap<Rule, u64>,
    evidence: Evidence,
    figures: Figures,
    /// Hosts that a lying device or a mistaken person called off while they had power: rule 1 can't be kept there.
    falsely_off: BTreeSet<HostId>,
    goodbyes: Goodbyes,
    stops: Stops,
    /// States told of each workload that are not well, since when the controller knows.
    told_sick: BTreeMap<WorkloadId, Time>,
    last_ran: BTreeMap<WorkloadId, HostId>,
    attempts: BTreeMap<WorkloadId, Attempts>,
    points: Points,
    sizes: Sizes,
    /// Workloads that were rightly down when all should run: what becomes of them later is no restlessness.
    excused: BTreeSet<WorkloadId>,
    /// Highest of which an order left.
    epoch: Epoch,
    /// Orders of the present controller are of this epoch or a later one.
    oldest_allowed: Epoch,
    left: BTreeSet<ActionId>,
    /// Orders that were told to be done.
    done: BTreeSet<ActionId>,
}

impl Checker {
    /// Nothing was told yet; what runs where at the beginning is known.
    pub fn new(world: &World) -> Checker {
        let runs = |guest: &Guest| Some((guest.name.clone(), guest.host()?));
        Checker { last_ran: world.guests.values().filter_map(runs).collect(), ..Checker::default() }
    }

    /// A controller begins.
    pub fn controller_begins(&mut self, now: Time) {
        self.evidence.controller_died(now);
        if self.evidence.open_orders() > 0 {
            self.stake(Rule::OneEpoch);
            self.stake(Rule::DurableIntent);
        }
        self.oldest_allowed = Epoch(self.epoch.0 + 1);
    }

    /// A controller whose term is over goes on as if it were not.
    pub fn rival_wakes(&mut self) {
        self.stake(Rule::OneEpoch);
    }

    /// The controller's memory was put back from a backup.
    pub fn memory_put_back(&mut self) {
        self.figures.memory_put_back();
        for rule in [Rule::NeverTwice, Rule::ProofBeforeStart, Rule::PersonsStop] {
            self.stake(rule);
        }
    }

    /// The memory took what a controller wrote whose term is over.
    pub fn rival_writes(&mut self, world: &World) {
        self.violate(world, Rule::OneEpoch, "a controller wrote though its term is over".to_owned());
    }

    /// The controller can't read its own memory.
    pub fn cannot_begin(&mut self, world: &World, error: &str) {
        self.violate(world, Rule::DurableIntent, format!("the controller can't begin again: {error}"));
    }

    /// What the controller was told in a step that was made durable.
    pub fn told(&mut self, world: &World, inputs: &[Input]) {
        for input in inputs {
            match input {
                Input::Fact(fact) => self.told_fact(world, fact),
                Input::Outcome { id, outcome } => self.told_outcome(world, *id, outcome),
                // What the policy allowed before is no measure any more.
                Input::Spec(_) => self.attempts.clear(),
                Input::Command { .. } | Input::Refused(_) | Input::Tick | Input::Behind => {}
            }
        }
    }

    /// A command that the controller accepted.
    pub fn accepted(&mut self, world: &World, command: &Command) {
        self.evidence.command(command, world.now);
        match command {
            Command::ConfirmOff { host } => self.claimed_off(world, host),
            Command::StopWorkload { workload, .. } => {
                self.stops.commanded(workload, world.now);
                self.stake(Rule::PersonsStop);
            }
            Command::StartWorkload { workload, .. }
            | Command::RestartWorkload { workload, .. }
            | Command::MoveWorkload { workload, .. }
            | Command::Revert { workload, .. } => {
                self.stops.over(workload);
                self.attempts.entry(workload.clone()).or_default().disturbed();
            }
            // An operator speaks for every VM that is in question.
            Command::AcceptMemory { start: true } => {
                for workload in world.guests.keys() {
                    self.stops.over(workload);
                    self.attempts.entry(workload.clone()).or_default().disturbed();
                }
            }
            Command::AcceptMemory { start: false } => {
                for guest in world.guests.values().filter(|guest| guest.processes.is_empty()) {
                    self.stops.commanded(&guest.name, world.now);
                }
            }
            Command::DeletePoint { workload, point } => self.points.person_deletes(workload, point),
            _ => {}
        }
    }

    fn told_fact(&mut self, world: &World, fact: &Fact) {
        let of_guests = without_namesakes(world, fact);
        let fact = of_guests.as_ref().unwrap_or(fact);
        self.evidence.fact(fact, world.now);
        self.goodbyes.told(fact, world.now);
        match fact {
            Fact::Domain { host, workload, change: DomainChange::State(state) } => {
                self.told_state(world, workload, host, *state);
            }
            Fact::Inventory { host, domains, capacity, .. } => {
                self.sizes.listed(host, *capacity, domains);
                for (workload, seen) in &**domains {
                    if self.last_ran.get(workload).is_none_or(|ran| ran == host) {
                        self.told_state(world, workload, host, seen.state);
                    }
                }
            }
            _ => {}
        }
    }

    fn told_state(&mut self, world: &World, workload: &WorkloadId, host: &HostId, state: DomainState) {
        let sick = matches!(state, DomainState::Panicked | DomainState::Paused(_));
        if sick {
            self.told_sick.entry(workload.clone()).or_insert(world.now);
        } else {
            self.told_sick.remove(workload);
        }
        let in_doubt = self.evidence.has_open(workload);
        if self.stops.told(workload, host, state, in_doubt, world.now) {
            self.stake(Rule::PersonsStop);
        }
    }

    fn told_outcome(&mut self, world: &World, id: ActionId, outcome: &Outcome) {
        if matches!(outcome, Outcome::Done { .. }) {
            self.done.insert(id);
        }
        let order = self.evidence.outcome(id, outcome, world.now);
        let says_off =
            matches!(outcome, Outcome::Done { detail: Detail::Fenced { .. } | Detail::Power(PowerState::Off) });
        if let Some(order) = order.filter(|_| says_off) {
            self.claimed_off(world, order.action.host());
        }
    }

    fn claimed_off(&mut self, world: &World, host: &HostId) {
        if world.hosts.get(host).is_some_and(|host| host.power == Power::On) {
            self.falsely_off.insert(host.clone());
        }
    }

    /// What truly happened.
    pub fn happened(&mut self, world: &World, truth: &Truth) {
        match truth {
            Truth::Started { guest, host, by } => self.started(world, guest, host, *by),
            Truth::Moved { guest, to, by, .. } => {
                self.last_ran.insert(guest.clone(), to.clone());
                if *by == Starter::Person {
                    self.stops.over(guest);
                }
            }
            Truth::PowerLost { host } => {
                self.falsely_off.remove(host);
                self.disturb_guests_of(host);
            }
            Truth::Ended { guest, why, .. } => self.stops.ended(guest, *why, world.now),
            Truth::PersonStopped { guest } => self.stops.happened(guest, world.now),
            Truth::Redefined { guest, .. } => self.stops.redefined(guest, world.now),
            Truth::PointDeleted { guest, point, .. } => self.points.gone(guest, point),
            _ => {}
        }
    }

    fn started(&mut self, world: &World, guest: &WorkloadId, host: &HostId, by: Starter) {
        self.last_ran.insert(guest.clone(), host.clone());
        if by == Starter::Person {
            self.stops.started_by_person(guest);
        }
        self.stops.started(guest);
        if by != Starter::Controller {
            self.attempts.entry(guest.clone()).or_default().disturbed();
        }
        if by == Starter::Controller {
            self.count_start(world, guest);
            let others = self.true_others(world, guest, host);
            if let Some(other) = others.first() {
                self.violate(
                    world,
                    Rule::NeverTwice,
                    format!("{guest} began to execute on {host} while it executes on {other}"),
                );
            }
        }
    }

    /// Other hosts on which the workload truly executes, and of which the controller could know.
    fn true_others(&self, world: &World, guest: &WorkloadId, host: &HostId) -> Vec<HostId> {
        let Some(guest) = world.guests.get(guest) else { return Vec::new() };
        // Under its other name it would be the same disk, on the same host too.
        let twin = guest.twin.as_ref().and_then(|twin| world.guests.get(twin));
        let twins = twin.into_iter().flat_map(|twin| &twin.processes);
        let twins = twins.filter(|(on, process)| !process.unannounced && !self.falsely_off.contains(*on));
        let known = |other: &&HostId| {
            *other != host
                && !self.falsely_off.contains(*other)
                && guest.processes.get(*other).is_some_and(|process| !process.unannounced)
        };
        guest.runs_on().filter(known).chain(twins.map(|(on, _)| on)).cloned().collect()
    }

    fn disturb_guests_of(&mut self, host: &HostId) {
        let here: Vec<_> =
            self.last_ran.iter().filter(|(_, ran)| *ran == host).map(|(guest, _)| guest.clone()).collect();
        for guest in here {
            self.attempts.entry(guest).or_default().disturbed();
        }
    }

    fn stake(&mut self, rule: Rule) {
        *self.at_stake.entry(rule).or_default() += 1;
    }

    fn violate(&mut self, world: &World, rule: Rule, text: String) {
        self.violations.push(Violation { at_s: world.now.0 as f64 / 1000.0, rule, text });
    }

    /// What was found, and how often each rule was at stake.
    pub fn verdict(self) -> (Vec<Violation>, BTreeMap<Rule, u64>) {
        (self.violations, self.at_stake)
    }

    /// Checks memory after it changed.
    pub fn persisted(&mut self, world: &World, store: &Store, changes: &[Change]) {
        for change in changes.iter().filter(|change| change.table == Table::Order) {
            self.journaled(world, change);
        }
        let wrong = self.points.persisted(world, store);
        for text in wrong {
            self.violate(world, Rule::LastGoodPoint, text);
        }
    }

    /// Unknown is never read as done: what the journal calls done was told to be done.
    fn journaled(&mut self, world: &World, change: &Change) {
        let entry = change.body.as_deref().and_then(|body| serde_json::from_str::<Journaled>(body).ok());
        let Some(Journaled { order, ended: Some((_, Outcome::Done { .. })) }) = entry else { return };
        if !self.done.contains(&order.id) {
            let text = format!("{} ({}) is on record as done, and nobody said so", order.id, order.action);
            self.violate(world, Rule::ProofBeforeStart, text);
        }
    }
}

/// A list that has namesakes of guests in it, without them: what is said of those says nothing of the guests.
fn without_namesakes(world: &World, fact: &Fact) -> Option<Fact> {
    let Fact::Inventory { host, asked_at, capacity, domains } = fact else { return None };
    let own =
        |(name, seen): &(&WorkloadId, &DomainSeen)| world.guests.get(*name).is_none_or(|guest| guest.uuid == seen.uuid);
    if domains.iter().all(|domain| own(&domain)) {
        return None; // as nearly always
    }
    let domains = domains.iter().filter(own).map(|(name, seen)| (name.clone(), seen.clone())).collect();
    Some(Fact::Inventory { host: host.clone(), asked_at: *asked_at, capacity: *capacity, domains: Arc::new(domains) })
}

/// An order as the journal has it.
#[derive(Deserialize)]
struct Journaled {
    order: Order,
    ended: Option<(Time, Outcome)>,
}
