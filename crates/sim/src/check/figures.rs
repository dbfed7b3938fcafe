//! Figures: what an incident says of a downtime is held against the true world. It may be longer than the truth, since nothing is seen
//! at once and nothing at all of a host that can't be reached; it is never shorter, and once the incident is over it stays.

use super::{Checker, Rule};
use crate::world::{Guest, Process, World};
use mainstay_engine::{Change, Table};
use mainstay_model::{
    DomainState, Fact, HostId, IncidentId, IncidentWorkload, PauseReason, Span, Time, WorkloadId,
    spec::{ClusterSpec, PersonStop},
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Signs of life take this long to arrive, on a path that loses and delays.
const SENSED_WITHIN: Span = Span::secs(6);
/// A list counts as of when it was asked for, and tells how it was up to this much later (scenario 956).
const LIST_TAKES: Span = Span::millis(20);

#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    /// What incidents said when they were over.
    over: BTreeMap<IncidentId, BTreeMap<WorkloadId, Span>>,
    /// What each incident tells of each workload that it is down, or was last.
    told: BTreeMap<WorkloadId, BTreeMap<IncidentId, Period>>,
    /// When each workload was truly well.
    well: BTreeMap<WorkloadId, Periods>,
    /// When an operator asked for a start of what had shut down with its host, as far as anybody can tell by a person.
    asked: BTreeMap<WorkloadId, Time>,
    /// When each was off because a person wanted it so: that is no downtime.
    left_off: BTreeMap<WorkloadId, Periods>,
    /// Which have answered since the controller has them on record. What never did is not known to answer at all, and counts as one that
    /// is not probed (scenario 484).
    answered: BTreeSet<WorkloadId>,
    /// Since when the controller has each on record: what was down when it was found is down since then (scenario 897).
    on_record: BTreeMap<WorkloadId, Time>,
    /// What the rule of each guest says, by the configuration in use.
    ruled: Option<(Arc<ClusterSpec>, BTreeMap<WorkloadId, Ruled>)>,
    /// When the controller slept: what it is told on waking up counts as of the moment at which it fell asleep.
    slept: Vec<(Time, Time)>,
}

/// What the rule of a guest says of what counts as well.
#[derive(Clone, Copy, Debug, Default)]
struct Ruled {
    /// It is asked.
    probed: bool,
    /// It is powered on when a person stops it.
    powered_on: bool,
}

impl Ruled {
    fn new(spec: &ClusterSpec, guest: &Guest) -> Ruled {
        let policy = spec.workload_rule(&guest.name, &guest.tags).map(|rule| &rule.policy);
        Ruled {
            probed: policy.is_some_and(|policy| policy.probes.any()),
            powered_on: policy.is_some_and(|policy| policy.on_person_stop == PersonStop::PowerOn),
        }
    }
}

/// From, until (`None`: it still lasts).
type Period = (Time, Option<Time>);

/// A controller that is at work takes a step within this.
const STEPS_WITHIN: Span = Span::secs(1);

/// In order.
type Periods = Vec<Period>;

/// The periods of one workload.
fn of<'a>(all: &'a mut BTreeMap<WorkloadId, Periods>, workload: &WorkloadId) -> &'a mut Periods {
    all.entry(workload.clone()).or_default()
}

/// Something holds now, or does not.
fn note(periods: &mut Periods, holds: bool, now: Time) {
    let open = periods.last_mut().filter(|(_, end)| end.is_none());
    match (holds, open) {
        (true, None) => periods.push((now, None)),
        (false, Some((_, end))) => *end = Some(now),
        _ => {}
    }
}

/// True if it held at some moment of the time that ends at `until`.
fn held(periods: Option<&Periods>, until: Time) -> bool {
    let from = until - SENSED_WITHIN;
    periods.into_iter().flatten().rev().any(|(begin, end)| *begin <= until && end.is_none_or(|end| end >= from))
}

/// What follows in an incident's row is its story. No text in it can look like that: its quotes are escaped.
const STORY: &str = ",\"timeline\":[";

/// What an incident tells of its workloads.
#[derive(Deserialize)]
struct Told {
    id: IncidentId,
    closed_at: Option<Time>,
    workloads: Vec<IncidentWorkload>,
}

impl Told {
    /// Most of a row is its story, which is not read.
    fn read(row: &str) -> Option<Told> {
        let (head, _) = row.split_once(STORY)?;
        serde_json::from_str(&format!("{head}}}")).ok()
    }
}

impl Figures {
    /// Looked up again only when the configuration changes: the world stirs all the time, and tags of guests stay as they are.
    fn ruled(&mut self, spec: &Arc<ClusterSpec>, guest: &Guest) -> Ruled {
        let known = self.ruled.take().filter(|(by, _)| Arc::ptr_eq(by, spec));
        let (_, ruled) = self.ruled.insert(known.unwrap_or_else(|| (spec.clone(), BTreeMap::new())));
        *ruled.entry(guest.name.clone()).or_insert_with(|| Ruled::new(spec, guest))
    }

    fn was_well(&self, workload: &WorkloadId, until: Time) -> bool {
        held(self.well.get(workload), until)
    }

    fn was_left_off(&self, workload: &WorkloadId, until: Time) -> bool {
        let asked = self.asked.get(workload).is_some_and(|at| *at <= until && until.since(*at) <= SENSED_WITHIN);
        asked || held(self.left_off.get(workload), until)
    }

    /// The controller stands still.
    pub fn controller_sleeps(&mut self, now: Time, until: Time) {
        self.slept.push((now, until));
    }

    /// True if the controller fell asleep at that time, and the workload was well until it had woken up and heard what waited: only
    /// that is known of when (scenario 745).
    fn was_well_in_sleep(&self, workload: &WorkloadId, at: Time) -> bool {
        let fell_asleep = |slept: &&(Time, Time)| at <= slept.0 && slept.0.since(at) <= STEPS_WITHIN;
        let well = |(from, until): &(Time, Time)| {
            let periods = self.well.get(workload).into_iter().flatten();
            periods
                .into_iter()
                .any(|(begin, end)| *begin <= *until + STEPS_WITHIN && end.is_none_or(|end| end >= *from))
        };
        self.slept.iter().filter(fell_asleep).any(well)
    }

    /// An operator asked for a start of it.
    pub fn asked(&mut self, workload: &WorkloadId, now: Time) {
        self.asked.insert(workload.clone(), now);
    }

    /// The controller was told something.
    pub fn fact(&mut self, fact: &Fact) {
        if let Fact::GuestHeard { workload, .. } | Fact::GuestHeardAtItsWord { workload, .. } = fact
            && !self.answered.contains(workload)
        {
            self.answered.insert(workload.clone());
        }
    }

    /// The controller has it on record no more.
    pub fn forgotten(&mut self, workload: &str) {
        self.answered.retain(|known| known.as_str() != workload);
        self.on_record.retain(|known, _| known.as_str() != workload);
    }

    /// The controller writes of it.
    pub fn recorded(&mut self, workload: &str, now: Time) {
        self.on_record.entry(WorkloadId::from(workload)).or_insert(now);
    }

    /// A memory that was put back holds incidents that are not over.
    pub fn memory_put_back(&mut self) {
        self.over.clear();
        self.told.clear();
    }

    /// What an incident tells now.
    fn tells(&mut self, incident: &Told) {
        for hit in &incident.workloads {
            let period = (hit.down_since.unwrap_or(hit.well_until), hit.back_at().or(hit.left_at));
            self.told.entry(hit.workload.clone()).or_default().insert(incident.id, period);
        }
    }

    /// True if another incident tells that it was down at that time: together they tell of all.
    fn tells_another(&self, incident: IncidentId, workload: &WorkloadId, at: Time) -> bool {
        let others = self.told.get(workload).into_iter().flatten().filter(|(id, _)| **id != incident);
        others.into_iter().any(|(_, (from, until))| *from <= at && until.is_none_or(|until| until >= at))
    }

    /// What is wrong with the figures of a workload in an incident that is over.
    fn wrong(&self, incident: IncidentId, hit: &IncidentWorkload) -> Option<String> {
        let (vm, from) = (&hit.workload, hit.down_since.unwrap_or(hit.well_until));
        let seconds = |time: Time| time.0 as f64 / 1_000.0;
        // Of a guest that never was well there is no moment from which it is down.
        let ever_well = self.well.get(vm).into_iter().flatten().any(|(begin, _)| *begin <= from);
        let asleep = hit.down_since.is_none() && self.was_well_in_sleep(vm, from);
        let found_down = self.on_record.get(vm).is_some_and(|found| from <= *found + STEPS_WITHIN);
        let known = asleep
            || found_down
            || self.was_well(vm, from)
            || self.was_left_off(vm, from)
            || self.tells_another(incident, vm, from);
        if ever_well && !known {
            return Some(format!("{vm} is down since {} s by its incident, and was down before", seconds(from)));
        }
        let well = |back: &Time| self.was_well(vm, *back + LIST_TAKES) || self.was_left_off(vm, *back);
        let down = |back: &Time| !well(back) && !self.tells_another(incident, vm, *back);
        // An incident without a downtime claims only when it began (scenario 954).
        let back = hit.back_at().filter(|back| *back > from).filter(down)?;
        Some(format!("{vm} is back at {} s by its incident, and was not", seconds(back)))
    }
}

impl Checker {
    /// It is well there, by what can be known of it. Nothing tells of a guest that is not probed whether it hangs, or boots again and
    /// again. A panic and a pause its host reports.
    pub(super) fn seems_well(&self, world: &World, guest: &Guest, host: &HostId) -> bool {
        self.seems_well_by(Ruled::new(&world.spec, guest), world, guest, host)
    }

    fn seems_well_by(&self, ruled: Ruled, world: &World, guest: &Guest, host: &HostId) -> bool {
        if ruled.probed && self.figures.answered.contains(&guest.name) {
            return world.is_well_on(guest, host);
        }
        let runs = |process: &Process| process.state() == DomainState::Running;
        guest.processes.get(host).is_some_and(runs) && world.hosts.get(host).is_some_and(|host| host.executes())
    }

    /// The world changed: who is well, by what can be known of it?
    pub fn who_is_well(&mut self, world: &World) {
        for guest in world.guests.values() {
            let ruled = self.figures.ruled(&world.spec, guest);
            let well = guest.processes.keys().any(|host| self.seems_well_by(ruled, world, guest, host));
            let left_off = match ruled.powered_on {
                true => self.stops.commanded_off(&guest.name),
                false => self.stops.wanted_off(&guest.name),
            };
            // Held by a person, as wanted.
            let held = |process: &Process| process.state() == DomainState::Paused(PauseReason::Person);
            // A copy that its host woke is stopped again, as an operator wants it (scenario 955).
            let to_stay_off = self.stops.is_to_stay_off(&guest.name);
            let left_off = left_off || (!well && (to_stay_off || guest.processes.values().any(held)));
            note(of(&mut self.figures.left_off, &guest.name), left_off, world.now);
            note(of(&mut self.figures.well, &guest.name), well, world.now);
        }
    }

    /// Incidents as they are put on record. `one_clock`: this is the first term, and its clock was never set.
    pub fn figures(&mut self, world: &World, changes: &[Change], one_clock: bool) {
        let mut rows = Vec::new();
        for change in changes.iter().filter(|change| change.table == Table::Incident) {
            let Some(incident) = change.body.as_deref().and_then(Told::read) else { continue };
            self.figures.tells(&incident);
            rows.push(incident);
        }
        for incident in rows.into_iter().filter(|incident| incident.closed_at.is_some()) {
            let said = |hit: &IncidentWorkload| (hit.workload.clone(), hit.downtime(Time(u64::MAX)));
            let said: BTreeMap<_, _> = incident.workloads.iter().map(said).collect();
            self.stake(Rule::Figures);
            let wrong = match self.figures.over.insert(incident.id, said.clone()) {
                Some(before) if before != said => Some(format!(
                    "the downtimes of {} changed after it was over: {before:?}, now {said:?}",
                    incident.id
                )),
                Some(_) => None,
                None if !one_clock => None,
                None => {
                    let same = |hit: &&IncidentWorkload| self.is_on_record(world, &hit.workload);
                    incident.workloads.iter().filter(same).find_map(|hit| self.figures.wrong(incident.id, hit))
                }
            };
            if let Some(text) = wrong {
                self.violate(world, Rule::Figures, text);
            }
        }
    }
}
