//! Rule 4: what counts as a good recovery point, and whether one is always left.

use super::{Checker, Rule};
use crate::{
    store::Store,
    world::{SET_ASIDE, World},
};
use mainstay_model::{PointBy, PointId, PointState, RecoveryPoint, Span, Time, WorkloadId};
use std::collections::{BTreeMap, BTreeSet};

/// What was known of recovery points when they were ordered.
#[derive(Clone, Debug, Default)]
pub(super) struct Points {
    /// Ordered of a workload known to be sick, and why.
    of_sick: BTreeMap<(WorkloadId, PointId), String>,
    reported: BTreeSet<(WorkloadId, PointId)>,
    by_person: BTreeSet<(WorkloadId, PointId)>,
    /// When points were truly gone, no matter who deleted them.
    gone: BTreeMap<(WorkloadId, PointId), Time>,
}

/// By then a point that another person deleted is missed: two lists of points, one after a move.
const MISSED_WITHIN: Span = Span::minutes(4);
/// The controller has this long beyond its own bound to see that a guest hangs.
const HUNG_MARGIN: Span = Span::secs(5);

impl Points {
    pub fn taking(&mut self, workload: &WorkloadId, point: &PointId, sick: Option<String>) {
        if let Some(why) = sick {
            self.of_sick.insert((workload.clone(), point.clone()), why);
        }
    }

    pub fn person_deletes(&mut self, workload: &WorkloadId, point: &PointId) {
        self.by_person.insert((workload.clone(), point.clone()));
    }

    pub fn gone(&mut self, workload: &WorkloadId, point: &PointId, now: Time) {
        self.of_sick.remove(&(workload.clone(), point.clone()));
        self.gone.insert((workload.clone(), point.clone()), now);
    }

    /// A point is to be deleted: what is wrong with that.
    pub fn deleting(&self, world: &World, store: &Store, workload: &WorkloadId, point: &PointId) -> Option<String> {
        if self.by_person.contains(&(workload.clone(), point.clone())) {
            return None;
        }
        let of_it = || store.points().filter(|kept| kept.workload == *workload && kept.id != *point);
        // What is being deleted was marked so in the same step; whether it was good before is told by its being `Deleting`.
        let was_good = store.points().any(|kept| {
            kept.workload == *workload
                && kept.id == *point
                && matches!(kept.state, PointState::Good | PointState::Deleting)
        });
        let by_person = |kept: &&RecoveryPoint| kept.workload == *workload && kept.id == *point;
        if store.points().find(by_person).is_some_and(|kept| kept.by == PointBy::Person) {
            return Some(format!("{point} of {workload} is deleted, a person took it, and no person said so"));
        }
        // What is gone counts as there for as long as the controller can't know.
        let there = |kept: &&RecoveryPoint| {
            let key = (kept.workload.clone(), kept.id.clone());
            let unknown = |gone: &Time| world.now.since(*gone) < MISSED_WITHIN;
            exists(world, &kept.workload, &kept.id) || self.gone.get(&key).is_some_and(unknown)
        };
        let good_left = of_it().filter(|kept| kept.state == PointState::Good).any(|kept| there(&kept));
        (was_good && !good_left)
            .then(|| format!("{point} of {workload} is deleted, and no good recovery point is left"))
    }

    /// A good point is on record: it truly exists, or did.
    pub fn recorded(&mut self, world: &World, point: &RecoveryPoint) -> Option<String> {
        let key = (point.workload.clone(), point.id.clone());
        let good = point.state == PointState::Good;
        if !good || exists(world, &key.0, &key.1) || self.gone.contains_key(&key) || !self.reported.insert(key) {
            return None;
        }
        Some(format!("{} of {} counts as good, and never existed", point.id, point.workload))
    }

    /// Good points on record that another person deleted long ago.
    pub fn never_missed(&self, world: &World, store: &Store) -> Vec<String> {
        let long_gone = |point: &RecoveryPoint| {
            let gone = self.gone.get(&(point.workload.clone(), point.id.clone()));
            let long = gone.is_some_and(|gone| world.now.since(*gone) > MISSED_WITHIN);
            point.state == PointState::Good && long && !exists(world, &point.workload, &point.id)
        };
        let well = |point: &RecoveryPoint| {
            let guest = world.guests.get(&point.workload);
            guest.and_then(|guest| Some((guest, guest.host()?))).is_some_and(|(guest, host)| {
                // While it was down no host was asked for its points (scenario 875).
                let since = guest.processes.get(&host).map_or(world.now, |process| process.condition_since);
                world.is_well_on(guest, &host) && world.now.since(since) > MISSED_WITHIN
            })
        };
        let missing = store.points().filter(|point| long_gone(point) && well(point));
        missing
            .map(|point| format!("{} of {} counts as good, and is gone since long", point.id, point.workload))
            .collect()
    }

    /// What reverts set aside long ago, and is not on record. `in_doubt`: a revert that is not answered yet is no reason to ask for points
    /// (scenario 946).
    fn set_aside_unlisted(world: &World, store: &Store, in_doubt: impl Fn(&WorkloadId) -> bool) -> Vec<String> {
        let on_record: BTreeSet<(&WorkloadId, &PointId)> =
            store.points().map(|point| (&point.workload, &point.id)).collect();
        let mut unlisted = Vec::new();
        for guest in world.guests.values() {
            if !guest.host().is_some_and(|host| world.is_well_on(guest, &host)) || in_doubt(&guest.name) {
                continue;
            }
            let aside = guest.points.iter().filter(|(name, _)| name.as_str().starts_with(SET_ASIDE));
            let long = aside.filter(|(_, point)| world.now.since(point.taken_at) > MISSED_WITHIN);
            for (name, _) in long.filter(|(name, _)| !on_record.contains(&(&guest.name, *name))) {
                unlisted.push(format!("{name} of {}, which a revert set aside, is not on record", guest.name));
            }
        }
        unlisted
    }

    /// Points of sick workloads that memory calls good.
    pub fn persisted(&mut self, store: &Store) -> Vec<String> {
        if self.of_sick.is_empty() {
            return Vec::new();
        }
        let mut wrong = Vec::new();
        for point in store.points().filter(|point| point.state == PointState::Good) {
            let key = (point.workload.clone(), point.id.clone());
            if let Some(why) = self.of_sick.get(&key).filter(|_| !self.reported.contains(&key)) {
                wrong.push(format!("{} of {} counts as good although it was ordered when {why}", key.1, key.0));
                self.reported.insert(key);
            }
        }
        wrong
    }
}

/// True if the point truly exists.
fn exists(world: &World, workload: &WorkloadId, point: &PointId) -> bool {
    world.guests.get(workload).is_some_and(|guest| guest.points.contains_key(point))
}

impl Checker {
    /// Faults ceased long ago: what is gone is not on record as good any more, and what is set aside is on record.
    pub fn points_are_missed(&mut self, world: &World, store: &Store) {
        for text in self.points.never_missed(world, store) {
            self.violate(world, Rule::LastGoodPoint, text);
        }
        let in_doubt = |workload: &WorkloadId| self.evidence.has_open(workload);
        for text in Points::set_aside_unlisted(world, store, in_doubt) {
            self.violate(world, Rule::WorkKept, text);
        }
    }

    /// Why the workload was known to be sick by what was told; `None`: it was not.
    pub(super) fn known_sick(&self, world: &World, workload: &WorkloadId) -> Option<String> {
        let since = world.sick_since(workload)?;
        let guest = world.guests.get(workload)?;
        let told = guest.host().and_then(|host| self.told_sick.get(&(workload.clone(), host)));
        if told.is_some_and(|told| *told >= since) {
            return Some("it was told to be panicked or paused".to_owned());
        }
        let rule = world.spec.workload_rule(workload, &guest.tags)?;
        let probes = &rule.policy.probes;
        let probed = probes.any();
        let policy = world.spec.recovery_rule(workload, &guest.tags);
        let hung_after = policy
            .map_or_else(|| mainstay_model::spec::RecoveryPolicy::default().hung_after, |rule| rule.policy.hung_after);
        let hung = guest.processes.values().any(|process| process.has_hung());
        let long = world.now.since(since) > hung_after + HUNG_MARGIN;
        (probed && hung && long).then(|| "it had hung for longer than the policy's bound".to_owned())
    }
}
