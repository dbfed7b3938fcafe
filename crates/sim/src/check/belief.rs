//! What the controller has on record of where a workload may run, held against the checker's own belief: a doubt that it forgot
//! is a start without proof to come, whether or not one follows.

use super::{Checker, Rule};
use crate::world::World;
use mainstay_engine::Change;
use mainstay_model::{HostId, Span, Time, WorkloadId};
use serde::{Deserialize, de::IgnoredAny};
use std::collections::{BTreeMap, BTreeSet};

/// A workload is on record for this long before all that was heard of it counts: events of what is not known yet say nothing.
const KNOWN_FOR: Span = Span::secs(10);
/// No workload waits longer than this for a host that is proved off.
const BELIEVED_WITHIN: Span = Span::secs(30);

/// Workloads that are on record as running where nothing runs any more, and since when.
pub(super) type Waits = BTreeMap<(WorkloadId, HostId), Time>;

/// Since when workloads are on record: by the controller's clock, and by the world's.
pub(super) type Known = BTreeMap<WorkloadId, (Time, Time)>;

/// A workload as the memory has it.
#[derive(Deserialize)]
struct Remembered {
    workload: WorkloadId,
    uuid: String,
    known_since: Time,
    may_run_on: BTreeSet<HostId>,
    want: Wish,
    #[serde(default)]
    asked: Option<IgnoredAny>,
}

/// What should be, as the memory has it.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wish {
    Running,
    Stopped { how: String },
}

/// What the checker keeps of such a record.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recorded {
    /// It is to stay off.
    pub stopped: bool,
    /// Because it was off when it was found.
    pub found_off: bool,
    /// An operator asked for something, which is not done yet.
    pub asked: bool,
}

impl Checker {
    /// The record of a workload changed.
    pub(super) fn believed(&mut self, world: &World, change: &Change) {
        let Some(record) = change.body.as_deref().and_then(|body| serde_json::from_str::<Remembered>(body).ok()) else {
            return;
        };
        let Remembered { workload, uuid, known_since, may_run_on, want, asked } = record;
        let found_off = matches!(&want, Wish::Stopped { how } if how == "found_off");
        let recorded = Recorded { stopped: !matches!(want, Wish::Running), found_off, asked: asked.is_some() };
        let before = self.recorded.insert(workload.clone(), recorded).unwrap_or_default();
        if before.asked && !recorded.asked {
            self.stops.asked_is_over(&workload);
            if recorded.stopped {
                self.stops.given_up_asked(&workload);
            }
        }
        self.uuids.insert(workload.clone(), uuid);
        // By the world's clock: the controller's may be set back.
        let first = self.known.entry(workload.clone()).or_insert((known_since, world.now));
        if first.0 != known_since {
            *first = (known_since, world.now);
        }
        // The record may be of another VM of that name by now (scenario 806).
        let known = world.now.since(first.1) >= KNOWN_FOR && !self.memory_is_old && !self.is_another(world, &workload);
        let forgotten = self.evidence.may_run(&workload);
        let forgotten = forgotten.into_iter().find(|(host, _)| known && !may_run_on.contains(host));
        if let Some((host, why)) = forgotten {
            let text = format!("{workload} is on record as not running on {host}, and {why}");
            self.violate(world, Rule::ProofBeforeStart, text);
        }
        self.waits.retain(|(waiting, host), _| *waiting != workload || may_run_on.contains(host));
        let believes = |host: &&HostId| !self.memory_is_old && self.evidence.is_off_for(&workload, host);
        for host in may_run_on.iter().filter(believes) {
            self.waits.entry((workload.clone(), host.clone())).or_insert(world.now);
        }
        self.on_record.insert(workload, may_run_on);
    }

    /// True if it was off when the controller found it, and was not said to run since: it is left off.
    pub(super) fn was_found_off(&self, workload: &WorkloadId) -> bool {
        let found_off = self.recorded.get(workload).is_some_and(|recorded| recorded.found_off);
        let known = self.known.get(workload).map(|(_, at)| *at);
        found_off && known > self.told_live.get(workload).copied()
    }

    /// True if it is on record as stopped.
    pub(super) fn is_on_record_as_stopped(&self, workload: &WorkloadId) -> bool {
        self.recorded.get(workload).is_some_and(|recorded| recorded.stopped)
    }

    /// True if it is on record as stopped, and no more was told than an end that looks like a person's stop.
    pub(super) fn is_believed_stopped(&self, workload: &WorkloadId) -> bool {
        let stopped = self.recorded.get(workload).is_some_and(|recorded| recorded.stopped);
        stopped && self.stops.is_believed_stopped(workload)
    }

    /// True if the memory that was put back has it as stopped, and it was not said to run since.
    pub(super) fn stays_off_as_backed_up(&self, workload: &WorkloadId) -> bool {
        let stopped = self.recorded.get(workload).is_some_and(|recorded| recorded.stopped);
        stopped && self.put_back_as_stopped.contains(workload) && !self.live_since_put_back.contains(workload)
    }

    /// Nothing waits for long for a host that is proved off.
    pub(super) fn waits_end(&mut self, world: &World) {
        let evidence = &self.evidence;
        self.waits.retain(|(workload, host), _| evidence.is_off_for(workload, host));
        let long = |since: &Time| world.now.since(*since) >= BELIEVED_WITHIN;
        let vain: Vec<_> = self.waits.iter().filter(|(_, since)| long(since)).map(|(key, _)| key.clone()).collect();
        self.waits.retain(|_, since| !long(since));
        // A copy that another host woke answers in the place of a guest that was there, so this host seems to live (scenario 993).
        let seems_to_live = |host: &HostId| {
            self.on_record.iter().any(|(guest, hosts)| hosts.contains(host) && self.alone.woke_up(guest))
        };
        let vain: Vec<_> = vain.into_iter().filter(|(_, host)| !seems_to_live(host)).collect();
        for (workload, host) in vain {
            let text = format!("{workload} waits for {host}, which is proved off and was not heard since");
            self.violate(world, Rule::Liveness, text);
        }
    }
}
