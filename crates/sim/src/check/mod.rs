//! The checker: after every step it holds the ten safety rules of the design against the true state of the world.
//!
//! It sees three things: what was told to the controller (so that it never blames it for what it could not know), what
//! the controller ordered, and what truly happened. Each has a file: `told`, `order`, `happened`; `memory` holds what is put on record
//! against them. How often each rule was really at stake is counted: a rule never at
//! stake was not tested.

mod alone;
mod belief;
mod bounds;
mod evidence;
mod figures;
mod goodbye;
mod happened;
mod health;
mod liveness;
mod memory;
mod moves;
mod order;
mod points;
mod reverts;
mod room;
mod rule;
mod stops;
mod told;

pub use rule::Rule;

use crate::world::{Guest, World};
use alone::Alone;
use belief::{Known, Recorded, Waits};
use bounds::Attempts;
use evidence::Evidence;
use figures::Figures;
use goodbye::Goodbyes;
use health::Signs;
use mainstay_model::{ActionId, Command, Epoch, HostId, Time, WorkloadId};
use moves::Moves;
use points::Points;
use reverts::Reverts;
use room::Sizes;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
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
    /// Where each workload may run, as the memory has it.
    on_record: BTreeMap<WorkloadId, BTreeSet<HostId>>,
    waits: Waits,
    known: Known,
    /// The UUID that each workload has on record.
    uuids: BTreeMap<WorkloadId, String>,
    /// A backup of the memory was put back: what it has on record is of another time, and orders alone are judged.
    memory_is_old: bool,
    alone: Alone,
    signs: Signs,
    reverts: Reverts,
    /// Workloads that an operator took out of management.
    unprotected: BTreeSet<WorkloadId>,
    goodbyes: Goodbyes,
    stops: Stops,
    /// Workloads of which a host said last that they are not well there, since when the controller knows (scenario 841).
    told_sick: BTreeMap<(WorkloadId, HostId), Time>,
    last_ran: BTreeMap<WorkloadId, HostId>,
    /// When the newest order left that may start it.
    last_start: BTreeMap<WorkloadId, Time>,
    /// And on each host.
    last_start_on: BTreeMap<(WorkloadId, HostId), Time>,
    /// Where the newest of these was told to be done: what is started there now is one from before it, which hung.
    newest_is_done: BTreeSet<(WorkloadId, HostId)>,
    /// Likewise, without migrations: what they bring there began elsewhere.
    last_start_by_itself: BTreeMap<(WorkloadId, HostId), Time>,
    /// Known to be stopped when the backup was made: these stay so.
    stopped_in_backup: BTreeSet<WorkloadId>,
    /// On record as stopped when the backup was made.
    backed_up_as_stopped: BTreeSet<WorkloadId>,
    /// Stopped by the memory that was put back: unless they are seen to run, or an operator asks for it, they stay so.
    put_back_as_stopped: BTreeSet<WorkloadId>,
    /// What the record says of each workload's wish and request.
    recorded: BTreeMap<WorkloadId, Recorded>,
    /// When the controller was last told that it runs.
    told_live: BTreeMap<WorkloadId, Time>,
    /// When each began to execute last, by a start of the controller's own.
    began: BTreeMap<WorkloadId, Time>,
    /// Told to run since the controller's memory was put back.
    live_since_put_back: BTreeSet<WorkloadId>,
    /// When the memory was put back, and the hosts that listed their VMs since the last moment at which they may have carried
    /// out what it had forgotten. What ended on another host may have been ended by that.
    put_back: Option<(Time, BTreeSet<HostId>)>,
    /// The controller has that on record: the next one does not find it out anew, and waits no longer for it.
    put_back_on_record: bool,
    attempts: BTreeMap<WorkloadId, Attempts>,
    points: Points,
    moves: Moves,
    sizes: Sizes,
    /// Workloads that were rightly down when all should run: what becomes of them later is no restlessness.
    excused: BTreeSet<WorkloadId>,
    /// Reverted last to a point that boots in circles.
    reverted_to_a_loop: BTreeSet<WorkloadId>,
    /// Highest of which an order left.
    epoch: Epoch,
    /// Orders of the present controller are of this epoch or a later one.
    oldest_allowed: Epoch,
    left: BTreeSet<ActionId>,
    /// Orders that were told to be done.
    done: BTreeSet<ActionId>,
    /// How often in a row the linter withheld the orders that bring a workload somewhere.
    withheld: BTreeMap<WorkloadId, usize>,
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
        self.alone.looks_since(now);
        if self.evidence.open_orders() > 0 {
            self.stake(Rule::OneEpoch);
            self.stake(Rule::DurableIntent);
        }
        self.oldest_allowed = Epoch(self.epoch.0 + 1);
        // What the one before had heard and not made use of, this one does not know.
        self.waits.values_mut().for_each(|since| *since = now);
        self.stops.controller_begins(|workload| self.evidence.has_open(workload));
        if !self.put_back_on_record && self.put_back.is_some() {
            self.put_back = Some((now, BTreeSet::new())); // the one before died with what it had found out (scenario 759)
        }
    }

    /// A controller whose term is over goes on as if it were not.
    pub fn rival_wakes(&mut self) {
        self.stake(Rule::OneEpoch);
    }

    /// The controller stands still until then.
    pub fn controller_sleeps(&mut self, now: Time, until: Time) {
        self.figures.controller_sleeps(now, until);
        self.evidence.controller_sleeps(until);
        self.alone.looks_since(until);
        self.stops.controller_sleeps(now, until);
    }

    /// The memory took what a controller wrote whose term is over.
    pub fn rival_writes(&mut self, world: &World) {
        self.violate(world, Rule::OneEpoch, "a controller wrote though its term is over".to_owned());
    }

    /// The controller can't read its own memory.
    pub fn cannot_begin(&mut self, world: &World, error: &str) {
        self.violate(world, Rule::DurableIntent, format!("the controller can't begin again: {error}"));
    }

    /// A command that the controller accepted.
    pub fn accepted(&mut self, world: &World, command: &Command) {
        self.evidence.command(command, world.now);
        self.moves.command(command);
        self.signs.command(command, world.now);
        self.reverts.command(command);
        match command {
            Command::ConfirmOff { host } => self.alone.claimed_off(world, host),
            Command::Unprotect { workload } => _ = self.unprotected.insert(workload.clone()),
            Command::Protect { workload } => {
                self.unprotected.remove(workload);
                self.alone.protected(workload, world.now);
            }
            Command::StopWorkload { workload, .. } => {
                self.stops.commanded(workload, world.now);
                self.stake(Rule::PersonsStop);
            }
            // It runs; that it is to run elsewhere says nothing of whether a person stops it meanwhile.
            Command::MoveWorkload { workload, .. } => {
                self.attempts.entry(workload.clone()).or_default().disturbed();
            }
            Command::StartWorkload { workload, .. }
            | Command::RestartWorkload { workload, .. }
            | Command::Revert { workload, .. } => {
                // It is down since then for a controller that was told of no run since its owner's stop (scenario 995).
                if self.stops.went_with_its_host(workload) || self.is_believed_stopped(workload) {
                    self.figures.asked(workload, world.now);
                }
                if matches!(command, Command::Revert { .. }) {
                    self.stops.reverting(workload);
                }
                self.put_back_as_stopped.remove(workload);
                if matches!(command, Command::RestartWorkload { .. }) {
                    self.stops.restart_asked(workload, world.now);
                }
                self.stops.over(workload);
                self.stops.wanted(workload);
                if matches!(command, Command::Revert { .. }) {
                    self.stops.revert_asked(workload);
                }
                self.attempts.entry(workload.clone()).or_default().disturbed();
            }
            Command::DeletePoint { workload, point } => self.points.person_deletes(workload, point),
            _ => {}
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
}
