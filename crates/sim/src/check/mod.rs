//! The checker: after every step it holds the ten safety rules of the design against the true state of the world.
//!
//! It sees three things: what was told to the controller (so that it never blames it for what it could not know), what
//! the controller ordered, and what truly happened. How often each rule was really at stake is counted: a rule never at
//! stake was not tested.

mod alone;
mod belief;
mod bounds;
mod evidence;
mod figures;
mod goodbye;
mod health;
mod liveness;
mod moves;
mod order;
mod points;
mod reverts;
mod room;
mod rule;
mod stops;

pub use rule::Rule;

use crate::{
    store::Store,
    world::{Guest, Starter, Truth, World},
};
use alone::Alone;
use belief::{Known, Recorded, Waits};
use bounds::Attempts;
use evidence::Evidence;
use figures::Figures;
use goodbye::Goodbyes;
use health::Signs;
use mainstay_engine::{Change, Input, Table, WITHHELD};
use mainstay_model::{
    Action, ActionId, Command, Detail, DomainChange, DomainSeen, DomainState, Epoch, Fact, HostId, Order, Outcome,
    PauseReason, PowerState, Span, Time, WorkloadId,
};
use moves::Moves;
use points::Points;
use reverts::Reverts;
use room::Sizes;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use stops::{Said, Stops};

/// An order that a memory put back has forgotten may be carried out for this long.
const FORGOTTEN_ORDER_MAY_COME: Span = Span::secs(90);

/// An order that the linter withholds is planned otherwise soon: so often in a row it may withhold those of one workload.
const WITHHELD_AT_MOST: usize = 2;

/// When a host's kernel began to run is known no better than this, and a twentieth of its age.
const BOOT_TIME_OFF_BY: Span = Span::secs(10);

/// When a host's kernel began to run, and how certain that is.
#[derive(Clone, Copy, Debug)]
struct Boot {
    at: Time,
    off_by: Span,
}

impl Boot {
    fn of(world: &World, host: &HostId) -> Boot {
        let at = world.hosts.get(host).map_or(Time(0), |host| host.booted_at);
        Boot { at, off_by: BOOT_TIME_OFF_BY + Span(world.now.since(at).0 / 20) }
    }
}

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
        self.stops.controller_sleeps(now, until);
    }

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
                // The new ladder may be climbed from its beginning; what was used of the old one was allowed.
                Input::Spec(spec) => {
                    self.signs.configured(spec);
                    self.attempts.values_mut().for_each(Attempts::policy_changed);
                    self.moves.reloaded();
                }
                Input::Command { .. } | Input::Refused(_) | Input::Tick | Input::Behind => {}
            }
        }
    }

    /// A command that the controller accepted.
    pub fn accepted(&mut self, world: &World, command: &Command) {
        self.evidence.command(command, world.now);
        self.moves.command(command);
        self.signs.command(command);
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
                if self.stops.went_with_its_host(workload) {
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

    fn told_fact(&mut self, world: &World, fact: &Fact) {
        let of_guests = without_namesakes(world, fact);
        let fact = of_guests.as_ref().unwrap_or(fact);
        self.evidence.fact(fact, world.now);
        self.alone.fact(fact, world.now);
        self.signs.fact(fact, world.now);
        self.goodbyes.told(fact, world.now);
        self.figures.fact(fact);
        match fact {
            Fact::Domain { host, workload, change: DomainChange::State(state) } => {
                let of_before = self.evidence.last_words(host);
                self.told_state(world, workload, host, Boot::of(world, host), *state, of_before);
            }
            Fact::Inventory { host, asked_at, domains, capacity } => {
                self.sizes.listed(host, *capacity, domains);
                let boot = Boot::of(world, host);
                for (workload, seen) in &**domains {
                    if self.last_ran.get(workload).is_none_or(|ran| ran == host) {
                        let newly_live = self.told_state(world, workload, host, boot, seen.state, false);
                        // A list that was asked for before an event, and arrives after it, is no news of the guest (scenario 427).
                        if newly_live && self.goodbyes.is_old(host, workload, *asked_at) {
                            self.live_since_put_back.remove(workload);
                        }
                    } else {
                        self.stops.told_of_before(workload, host, seen.state, world.now);
                    }
                }
                if let Some((at, listed)) = &mut self.put_back
                    && *asked_at > *at + FORGOTTEN_ORDER_MAY_COME
                {
                    listed.insert(host.clone());
                }
            }
            _ => {}
        }
    }

    /// True if it is said to run for the first time since the controller's memory was put back.
    /// `of_before`: the host may say so of the time before it was proved off.
    fn told_state(
        &mut self,
        world: &World,
        workload: &WorkloadId,
        host: &HostId,
        boot: Boot,
        state: DomainState,
        of_before: bool,
    ) -> bool {
        let mut newly_live = false;
        if state.is_live() {
            self.told_live.insert(workload.clone(), world.now);
            newly_live = self.live_since_put_back.insert(workload.clone());
            self.stopped_in_backup.remove(workload); // it was started since (scenario 582)
        } else if self.put_back.as_ref().is_some_and(|(_, listed)| !listed.contains(host)) {
            self.live_since_put_back.remove(workload);
        }
        let sick = match state {
            // A migration holds it for a moment; a slow list may tell of that when it is over.
            DomainState::Paused(reason) => reason != PauseReason::Busy,
            state => state == DomainState::Panicked,
        };
        if sick {
            self.told_sick.entry((workload.clone(), host.clone())).or_insert(world.now);
        } else if !self.told_sick.is_empty() {
            self.told_sick.remove(&(workload.clone(), host.clone()));
        }
        let in_doubt = self.evidence.has_open(workload);
        let on_record = self.on_record.get(workload);
        let said = Said { host, state, in_doubt, of_before, boot, on_record };
        if self.stops.told(workload, said, world.now) {
            self.stake(Rule::PersonsStop);
        }
        newly_live
    }

    fn told_outcome(&mut self, world: &World, id: ActionId, outcome: &Outcome) {
        if matches!(outcome, Outcome::Done { .. }) {
            self.done.insert(id);
        }
        let order = self.evidence.outcome(id, outcome, world.now, world.spec.detection.host_lost_after);
        let says_off =
            matches!(outcome, Outcome::Done { detail: Detail::Fenced { .. } | Detail::Power(PowerState::Off) });
        let Some(order) = order else { return };
        if let (Action::Revert { workload, .. }, Outcome::Done { .. }) = (&order.action, outcome) {
            self.reverts.reverted(workload);
        }
        if let (Action::Stop { workload, .. }, Outcome::Failed { .. }) = (&order.action, outcome) {
            self.stops.own_stop_failed(workload);
        }
        if let (Outcome::Done { .. }, Some(workload), Some(host)) =
            (outcome, order.action.workload(), order.action.may_run_on())
        {
            self.goodbyes.came_up(host, workload, world.now);
            self.newest_is_done.insert((workload.clone(), host.clone()));
            if let Some(sent) = self.last_start_on.get(&(workload.clone(), host.clone())) {
                self.signs.came_up(host, workload, *sent, world.now);
            }
        }
        if says_off {
            self.alone.claimed_off(world, order.action.host());
            // What a device said before the controller slept counts for nothing: it is asked again.
            if self.evidence.is_off_now(order.action.host()) {
                self.signs.told_off(order.action.host());
            }
        }
    }

    /// What truly happened.
    pub fn happened(&mut self, world: &World, truth: &Truth) {
        match truth {
            Truth::Started { guest, host, by } => self.started(world, guest, host, *by),
            Truth::Moved { guest, to, by, .. } => {
                self.moves.went_away(guest);
                self.last_ran.insert(guest.clone(), to.clone());
                self.stops.moved(guest);
                // What arrives had begun to leave before an operator said stop (scenario 804).
                if *by == Starter::Person && !self.stops.commanded_off(guest) {
                    self.stops.over(guest);
                }
            }
            Truth::Resumed { guest, host } => self.resumed(world, guest, host),
            Truth::PowerLost { host } | Truth::Hibernated { host } => {
                if matches!(truth, Truth::Hibernated { .. }) {
                    self.alone.hibernated(host, world.now);
                }
                self.alone.power_lost(host);
                self.signs.power_lost(host, world.now);
                self.goodbyes.power_lost(host, world.now);
                self.disturb_guests_of(host);
            }
            Truth::Ended { guest, why, .. } => {
                self.goodbyes.ended(guest, world.now);
                self.stops.ended(guest, *why, world.now);
            }
            Truth::Reverted { guest, .. } => {
                if world.guests.get(guest).is_some_and(|guest| guest.disk.loops) {
                    self.reverted_to_a_loop.insert(guest.clone());
                } else {
                    self.reverted_to_a_loop.remove(guest);
                }
            }
            Truth::PersonStopped { guest } => self.stops.happened(guest, world.now),
            Truth::Redefined { guest, .. } => self.stops.redefined(guest, world.now),
            Truth::PointDeleted { guest, point, .. } => self.points.gone(guest, point, world.now),
            _ => {}
        }
    }

    fn started(&mut self, world: &World, guest: &WorkloadId, host: &HostId, by: Starter) {
        if self.last_ran.get(guest).is_some_and(|ran| ran != host) {
            self.moves.went_away(guest);
        }
        self.last_ran.insert(guest.clone(), host.clone());
        self.alone.started(guest, host);
        if by != Starter::Controller {
            self.began.remove(guest);
            self.stops.started_by_others(guest);
        } else {
            self.began.insert(guest.clone(), world.now);
            self.stops.started_by_controller(guest);
        }
        // A start that left before an operator said stop, or before a person's stop was on record, does not end that wish (scenario 818).
        let on_record = self.is_on_record_as_stopped(guest) && self.stops.wanted_off(guest);
        // But after another start was done it can't be told from a person's (scenario 860).
        let as_a_persons = self.newest_is_done.contains(&(guest.clone(), host.clone()));
        // Nor is it the VM that was stopped, if the only one of that name that the controller was told of is another (scenario 883).
        let uuid = world.guests.get(guest).map(|it| &it.uuid);
        let as_another = uuid.is_some() && self.uuids.get(guest).is_some_and(|told| Some(told) != uuid);
        let stopped = self.stops.commanded_off(guest) || on_record && !as_a_persons;
        // A person's start where one of the controller's own hangs can't be told from that one (scenario 915).
        let as_ours = by == Starter::Person && on_record && self.evidence.may_come(guest, host);
        let late = by == Starter::Controller && stopped && !as_another || as_ours;
        // Of a start on a host that was out of sight since an operator's stop nothing is known: that word is the last (scenario 958).
        let unseen = self.stops.operators_word(guest).is_some_and(|at| self.signs.unheard_since(host, at));
        if !late {
            self.stops.started(guest);
        }
        // What its host started alone the controller still restarts, if an operator asked for that (scenario 520).
        // A stop that an operator asked for and that is still being tried ends by no start that the controller was not told of (scenarios 871 and 872).
        let unaware = by == Starter::Person && (self.stops.is_being_stopped(guest) || unseen);
        if !late && !unaware && by != Starter::Autostart {
            self.signs.started(guest, by == Starter::Person && self.evidence.may_come(guest, host));
        }
        if by != Starter::Autostart && !late && !unaware {
            self.stops.wanted(guest);
        }
        if by != Starter::Controller {
            self.attempts.entry(guest.clone()).or_default().disturbed();
        }
        if by == Starter::Controller {
            self.count_start(world, guest);
        }
        self.runs_once(world, guest, host, by);
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
