//! Which states and doings of the engine a run has seen, so that it can be told which no run ever saw.

use mainstay_engine::{Change, Table};
use mainstay_model::{Action, Code, Span, Time, spec::Rung};
use std::collections::{BTreeMap, BTreeSet};

/// A host's health in one word, as the engine says it.
const HOSTS: [&str; 11] = [
    "online",
    "suspect",
    "lost",
    "fencing",
    "fenced",
    "returning",
    "maintenance",
    "draining",
    "unmanaged",
    "shut-down",
    "unknown",
];
/// A workload's.
const WORKLOADS: [&str; 9] =
    ["running", "starting", "stopped", "down", "unknown", "unresponsive", "paused", "crashed", "migrating"];
/// Kinds of action.
const ACTIONS: [&str; 13] = [
    "check-power",
    "fence",
    "power-on",
    "start",
    "stop",
    "resume",
    "undefine",
    "disable-autostart",
    "migrate",
    "take-point",
    "delete-point",
    "revert",
    "screenshot",
];
/// Alarms that the process around the engine raises about itself.
const OF_THE_PROCESS: [Code; 5] =
    [Code::NOTHING_REMEMBERED, Code::SENSOR_FAULT, Code::TAKEN_OVER, Code::MEMORY_GONE, Code::OUT_OF_FILES];
const LOOK_EVERY: Span = Span::millis(500);
const RUNGS: [Rung; 4] = [Rung::Resume, Rung::Restart, Rung::Revert, Rung::Relocate];

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    states: BTreeMap<&'static str, BTreeSet<String>>,
    /// When the whole view was looked at last.
    viewed: Option<Time>,
}

impl Seen {
    /// All there is to see.
    pub fn all() -> BTreeSet<String> {
        let named =
            |kind: &'static str, words: &'static [&'static str]| words.iter().map(move |word| format!("{kind} {word}"));
        let by_engine = Code::ALARMS.iter().filter(|(code, _)| !OF_THE_PROCESS.contains(code));
        let alarms = by_engine.map(|(code, _)| format!("alarm {code}"));
        let rungs = RUNGS.iter().map(|rung| format!("rung {rung}"));
        named("host", &HOSTS)
            .chain(named("vm", &WORKLOADS))
            .chain(named("action", &ACTIONS))
            .chain(alarms)
            .chain(rungs)
            .collect()
    }

    /// Each as it is told: `host online`.
    pub fn states(&self) -> impl Iterator<Item = String> {
        self.states.iter().flat_map(|(kind, words)| words.iter().map(move |word| format!("{kind} {word}")))
    }

    /// All words are looked at now and then: it costs more than a step.
    pub fn is_due(&mut self, now: Time) -> bool {
        let due = self.viewed.is_none_or(|viewed| now.since(viewed) >= LOOK_EVERY);
        if due {
            self.viewed = Some(now);
        }
        due
    }

    pub fn words(&mut self, (hosts, workloads): (Vec<&'static str>, Vec<&'static str>)) {
        hosts.into_iter().for_each(|word| self.add("host", word));
        workloads.into_iter().for_each(|word| self.add("vm", word));
    }

    pub fn alarm(&mut self, code: Code) {
        self.add("alarm", &code.to_string());
    }

    pub fn action(&mut self, action: &Action) {
        let index = match action {
            Action::CheckPower { .. } => 0,
            Action::Fence { .. } => 1,
            Action::PowerOn { .. } => 2,
            Action::Start { .. } => 3,
            Action::Stop { .. } => 4,
            Action::Resume { .. } => 5,
            Action::Undefine { .. } => 6,
            Action::DisableAutostart { .. } => 7,
            Action::Migrate { .. } => 8,
            Action::TakePoint { .. } => 9,
            Action::DeletePoint { .. } => 10,
            Action::Revert { .. } => 11,
            Action::Screenshot { .. } => 12,
        };
        self.add("action", ACTIONS[index]);
    }

    /// The rung being tried is in the workload's row.
    pub fn change(&mut self, change: &Change) {
        let body = change.body.as_deref().filter(|_| change.table == Table::Workload);
        let trying = body.and_then(|body| body.split_once("\"trying\":{\"rung\":\"")?.1.split_once('"'));
        if let Some((rung, _)) = trying {
            self.add("rung", rung);
        }
    }

    fn add(&mut self, kind: &'static str, word: &str) {
        let words = self.states.entry(kind).or_default();
        if !words.contains(word) {
            words.insert(word.to_owned()); // most was seen before: no new text then
        }
    }
}
