//! Rule 4: what counts as a good recovery point, and whether one is always left.

use super::Checker;
use crate::{store::Store, world::World};
use mainstay_model::{PointId, PointState, Span, WorkloadId};
use std::collections::{BTreeMap, BTreeSet};

/// What was known of recovery points when they were ordered.
#[derive(Clone, Debug, Default)]
pub(super) struct Points {
    /// Ordered of a workload known to be sick, and why.
    of_sick: BTreeMap<(WorkloadId, PointId), String>,
    reported: BTreeSet<(WorkloadId, PointId)>,
    by_person: BTreeSet<(WorkloadId, PointId)>,
}

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

    pub fn gone(&mut self, workload: &WorkloadId, point: &PointId) {
        self.of_sick.remove(&(workload.clone(), point.clone()));
    }

    /// A point is to be deleted: what is wrong with that.
    pub fn deleting(&self, store: &Store, workload: &WorkloadId, point: &PointId) -> Option<String> {
        if self.by_person.contains(&(workload.clone(), point.clone())) {
            return None;
        }
        let points = store.points();
        let of_it = || points.iter().filter(|kept| kept.workload == *workload && kept.id != *point);
        // What is being deleted was marked so in the same step; whether it was good before is told by its being `Deleting`.
        let was_good = points.iter().any(|kept| {
            kept.workload == *workload
                && kept.id == *point
                && matches!(kept.state, PointState::Good | PointState::Deleting)
        });
        let good_left = of_it().any(|kept| kept.state == PointState::Good);
        (was_good && !good_left)
            .then(|| format!("{point} of {workload} is deleted, and no good recovery point is left"))
    }

    /// Points of sick workloads that memory calls good.
    pub fn persisted(&mut self, _world: &World, store: &Store) -> Vec<String> {
        if self.of_sick.is_empty() {
            return Vec::new();
        }
        let mut wrong = Vec::new();
        for point in store.points().into_iter().filter(|point| point.state == PointState::Good) {
            let key = (point.workload.clone(), point.id.clone());
            if let Some(why) = self.of_sick.get(&key).filter(|_| !self.reported.contains(&key)) {
                wrong.push(format!("{} of {} counts as good although it was ordered when {why}", key.1, key.0));
                self.reported.insert(key);
            }
        }
        wrong
    }
}

impl Checker {
    /// Why the workload was known to be sick by what was told; `None`: it was not.
    pub(super) fn known_sick(&self, world: &World, workload: &WorkloadId) -> Option<String> {
        let since = world.sick_since(workload)?;
        if self.told_sick.get(workload).is_some_and(|told| *told >= since) {
            return Some("it was told to be panicked or paused".to_owned());
        }
        let guest = world.guests.get(workload)?;
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
