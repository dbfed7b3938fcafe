//! What a run is reported as: to people by `Display`, to programs as the JSON that docs/simulator.md documents.

use crate::{
    check::{Rule, Violation},
    record::{Passage, Record},
    run::Simulation,
    seen::Seen,
    world::Power,
};
use mainstay_model::{Event, HostId, Severity, Subject, Time, WorkloadId};
use serde::Serialize;
use std::{collections::BTreeMap, fmt};

/// The outcome of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name of the scenario, or `seed N`.
    pub scenario: String,
    /// True if every expectation held and no rule was broken.
    pub passed: bool,
    /// Simulated seconds.
    pub end_s: f64,
    /// Workloads by name at the end.
    pub workloads: BTreeMap<WorkloadId, WorkloadEnd>,
    /// Hosts by name at the end.
    pub hosts: BTreeMap<HostId, HostEnd>,
    /// Fencings in order.
    pub fenced: Vec<Fenced>,
    /// Workloads brought back by the controller.
    pub recoveries: Vec<Moved>,
    /// Workloads that went elsewhere although nothing was wrong with them.
    pub moves: Vec<Moved>,
    /// Alarms raised, in order.
    pub alarms: Vec<Alarmed>,
    /// Safety rules that were broken.
    pub violations: Vec<Violation>,
    /// What the controller wrote into its history.
    pub events: Vec<Told>,
    /// Expectations, each with its verdict.
    pub expectations: Vec<Verdict>,
    /// How often each rule was at stake.
    pub at_stake: BTreeMap<Rule, u64>,
    /// The whole run, line by line, for people.
    #[serde(skip)]
    pub trace: Vec<String>,
    /// States and doings of the engine that were seen.
    #[serde(skip)]
    pub(crate) seen: Seen,
}

/// A workload at the end.
#[derive(Clone, Debug, Serialize)]
pub struct WorkloadEnd {
    /// As believed: `running`, `stopped`, …
    pub state: String,
    /// Where it is believed to run.
    pub host: Option<HostId>,
    /// Where it truly runs.
    pub running_on: Vec<HostId>,
    /// Whether it should run, as believed: false if a person stopped it.
    pub wanted: bool,
    /// True if the controller acts for it.
    pub managed: bool,
    /// Red alarms that stand about it, as `MS1203: what is wrong`: a person has to act.
    pub errors: Vec<String>,
    /// True if it truly does its work.
    pub well: bool,
    /// Its longest time without executing, in seconds.
    pub downtime_s: f64,
}

/// A host at the end.
#[derive(Clone, Debug, Serialize)]
pub struct HostEnd {
    /// As believed: `online`, `fenced`, `maintenance`, …
    pub state: String,
    /// Whether it truly has power.
    pub power: bool,
    /// Red alarms that stand about it.
    pub errors: Vec<String>,
}

/// A fencing.
#[derive(Clone, Debug, Serialize)]
pub struct Fenced {
    /// Which host.
    pub host: HostId,
    /// When it was ordered.
    pub decided_s: f64,
    /// When it truly lost its power.
    pub off_s: Option<f64>,
    /// When the controller knew.
    pub confirmed_s: Option<f64>,
}

/// A workload that came somewhere.
#[derive(Clone, Debug, Serialize)]
pub struct Moved {
    /// Which.
    pub workload: WorkloadId,
    /// Where it ran before.
    pub from: Option<HostId>,
    /// Where it runs since.
    pub to: HostId,
    /// Since when.
    pub at_s: f64,
}

/// An alarm.
#[derive(Clone, Debug, Serialize)]
pub struct Alarmed {
    /// Its code, such as `MS1201`.
    pub code: String,
    /// About what.
    pub subject: String,
    /// When it was raised.
    pub raised_s: f64,
    /// When it was cleared; absent: it stands.
    pub cleared_s: Option<f64>,
    /// What it says.
    pub text: String,
}

/// An entry of the controller's history.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    /// When.
    pub at_s: f64,
    /// About what.
    pub subject: String,
    /// One sentence.
    pub text: String,
}

/// An expectation and whether it held.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// As written.
    pub expectation: String,
    /// Whether it held.
    pub holds: bool,
    /// What was found.
    pub found: String,
}

impl Report {
    /// The report of a run that is over.
    pub(crate) fn of(name: &str, simulation: Simulation, expectations: Vec<Verdict>) -> Report {
        let view = simulation.view();
        let (world, record) = (&simulation.world, &simulation.record);
        let mut workloads = BTreeMap::new();
        for guest in world.guests.values() {
            let seen = view.iter().flat_map(|view| &view.workloads).find(|seen| seen.workload == guest.name);
            let end = WorkloadEnd {
                state: seen.map_or("unknown".to_owned(), |seen| seen.health.clone()),
                host: seen.and_then(|seen| seen.host.clone()),
                running_on: guest.runs_on().cloned().collect(),
                wanted: seen.is_some_and(|seen| seen.wanted),
                managed: seen.is_some_and(|seen| seen.managed),
                errors: errors(record, &Subject::Workload(guest.name.clone())),
                well: guest.host().is_some_and(|host| world.is_well_on(guest, &host)),
                downtime_s: record.downtime(&guest.name, world.now).as_secs_f64(),
            };
            workloads.insert(guest.name.clone(), end);
        }
        let mut hosts = BTreeMap::new();
        for host in world.hosts.values() {
            let seen = view.iter().flat_map(|view| &view.hosts).find(|seen| seen.host == host.name);
            let state = seen.map_or("unknown".to_owned(), |seen| seen.health.clone());
            hosts.insert(host.name.clone(), {
                let errors = errors(record, &Subject::Host(host.name.clone()));
                HostEnd { state, power: host.power != Power::Off, errors }
            });
        }
        let end_s = seconds(world.now);
        let Simulation { record, checker, .. } = simulation;
        let (violations, at_stake) = checker.verdict();
        Report {
            scenario: name.to_owned(),
            passed: violations.is_empty() && expectations.iter().all(|verdict| verdict.holds),
            end_s,
            workloads,
            hosts,
            fenced: fenced(&record),
            recoveries: record.recoveries.iter().map(moved).collect(),
            moves: record.moves.iter().map(moved).collect(),
            alarms: alarmed(&record),
            violations,
            events: record.events.iter().map(told).collect(),
            expectations,
            at_stake,
            trace: record.trace,
            seen: record.seen,
        }
    }
}

/// Red alarms that stand about a subject.
fn errors(record: &Record, subject: &Subject) -> Vec<String> {
    let standing = record.alarms.iter().filter(|span| span.cleared.is_none()).map(|span| &span.alarm);
    let red = standing.filter(|alarm| alarm.severity == Severity::Red && alarm.subject == *subject);
    red.map(|alarm| format!("{}: {}", alarm.code, alarm.text)).collect()
}

fn seconds(at: Time) -> f64 {
    at.0 as f64 / 1000.0
}

fn moved(passage: &Passage) -> Moved {
    let Passage { workload, from, to, at } = passage.clone();
    Moved { workload, from, to, at_s: seconds(at) }
}

fn told(event: &Event) -> Told {
    Told { at_s: seconds(event.at), subject: event.subject.to_string(), text: event.text.clone() }
}

fn fenced(record: &Record) -> Vec<Fenced> {
    let one = |fencing: &crate::record::Fencing| Fenced {
        host: fencing.host.clone(),
        decided_s: seconds(fencing.decided),
        off_s: fencing.off.map(seconds),
        confirmed_s: fencing.confirmed.map(seconds),
    };
    record.fencings.iter().map(one).collect()
}

fn alarmed(record: &Record) -> Vec<Alarmed> {
    let one = |span: &crate::record::AlarmSpan| Alarmed {
        code: span.alarm.code.to_string(),
        subject: span.alarm.subject.to_string(),
        raised_s: seconds(span.raised),
        cleared_s: span.cleared.map(seconds),
        text: span.alarm.text.clone(),
    };
    record.alarms.iter().map(one).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed { "ok" } else { "FAILED" };
        writeln!(f, "{verdict:<7}{} ({} s simulated)", self.scenario, self.end_s)?;
        for violation in &self.violations {
            writeln!(f, "       broken at {} s: {}: {}", violation.at_s, violation.rule, violation.text)?;
        }
        for wrong in self.expectations.iter().filter(|verdict| !verdict.holds) {
            writeln!(f, "       expected: {}; found: {}", wrong.expectation, wrong.found)?;
        }
        Ok(())
    }
}
