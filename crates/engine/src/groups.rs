//! Relations between workloads (together, apart, order), resolved from patterns to names. Rebuilt only when the
//! configuration or the set of workloads changes.

use crate::{belief::Belief, place::Groups};
use mainstay_model::{
    WorkloadId,
    spec::{ClusterSpec, Rule, Strength},
};
use std::collections::{BTreeMap, BTreeSet};

/// See the module's doc.
#[derive(Clone, Debug, Default)]
pub(crate) struct Relations {
    /// True if the configuration or the set of workloads changed since.
    pub outdated: bool,
    /// Who must run before whom, and the rule that says so.
    pub after: BTreeMap<WorkloadId, BTreeMap<WorkloadId, Rule<Strength>>>,
    /// For placement.
    pub groups: Groups,
}

impl Relations {
    pub(crate) fn resolve(spec: &ClusterSpec, belief: &Belief) -> Relations {
        let all: Vec<(&WorkloadId, &BTreeSet<String>)> =
            belief.workloads.values().map(|record| (&record.workload, &record.tags)).collect();
        let mut after: BTreeMap<WorkloadId, BTreeMap<WorkloadId, Rule<Strength>>> = BTreeMap::new();
        for rule in &spec.order {
            let first = all.iter().filter(|(id, tags)| rule.policy.after.chooses(id, tags));
            let first: BTreeMap<WorkloadId, Rule<Strength>> = first
                .map(|(id, _)| {
                    let said = Rule {
                        selector: rule.selector.clone(),
                        policy: rule.policy.strength,
                        origin: rule.origin.clone(),
                    };
                    ((*id).clone(), said)
                })
                .collect();
            for (id, _) in all.iter().filter(|(id, tags)| rule.selector.chooses(id, tags)) {
                let before =
                    first.iter().filter(|(other, _)| other != id).map(|(other, rule)| (other.clone(), rule.clone()));
                after.entry((*id).clone()).or_default().extend(before);
            }
        }
        let groups = Groups::resolve(spec, all.iter().copied());
        Relations { outdated: false, after, groups }
    }
}
