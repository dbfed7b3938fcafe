//! What the controller has on record of where a workload may run, held against the checker's own belief: a doubt that it forgot
//! is a start without proof to come, whether or not one follows.

use super::{Checker, Rule};
use crate::world::World;
use mainstay_engine::Change;
use mainstay_model::{HostId, Span, Time, WorkloadId};
use serde::Deserialize;
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
}

impl Checker {
    /// The record of a workload changed.
    pub(super) fn believed(&mut self, world: &World, change: &Change) {
        let Some(record) = change.body.as_deref().and_then(|body| serde_json::from_str::<Remembered>(body).ok()) else {
            return;
        };
        let Remembered { workload, uuid, known_since, may_run_on } = record;
        self.uuids.insert(workload.clone(), uuid);
        // By the world's clock: the controller's may be set back.
        let first = self.known.entry(workload.clone()).or_insert((known_since, world.now));
        if first.0 != known_since {
            *first = (known_since, world.now);
        }
        let known = world.now.since(first.1) >= KNOWN_FOR && !self.memory_is_old;
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

    /// Nothing waits for long for a host that is proved off.
    pub(super) fn waits_end(&mut self, world: &World) {
        let evidence = &self.evidence;
        self.waits.retain(|(workload, host), _| evidence.is_off_for(workload, host));
        let long = |since: &Time| world.now.since(*since) >= BELIEVED_WITHIN;
        let vain: Vec<_> = self.waits.iter().filter(|(_, since)| long(since)).map(|(key, _)| key.clone()).collect();
        self.waits.retain(|_, since| !long(since));
        for (workload, host) in vain {
            let text = format!("{workload} waits for {host}, which is proved off and was not heard since");
            self.violate(world, Rule::Liveness, text);
        }
    }
}
