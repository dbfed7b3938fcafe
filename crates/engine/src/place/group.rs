//! Which workloads are kept together or apart, and where each of them is now.

use mainstay_model::{
    HostId, WorkloadId,
    spec::{ClusterSpec, Origin, Rule, Strength},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a group is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bond {
    /// On one host.
    Together,
    /// On different hosts.
    Apart,
}

/// Workloads under one `together` or `apart` rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What it is held to.
    pub bond: Bond,
    /// How strongly. The sign of a preference does not matter: the bond says whether it attracts.
    pub strength: Strength,
    /// Who belongs to it.
    pub members: BTreeSet<WorkloadId>,
    /// Where the rule stands.
    pub origin: Arc<Origin>,
}

impl Group {
    /// Points for every other member on a host, or `None` if the bond is required.
    pub(super) fn points(&self) -> Option<i64> {
        match (self.strength, self.bond) {
            (Strength::Required, _) => None,
            (Strength::Preferred(points), Bond::Together) => Some(i64::from(points).abs()),
            (Strength::Preferred(points), Bond::Apart) => Some(-i64::from(points).abs()),
        }
    }
    pub(crate) fn requires(&self, bond: Bond) -> bool {
        self.bond == bond && self.strength == Strength::Required
    }
}

/// All groups, indexed by member, with the places of their members. Resolve it when the configuration or the inventory
/// changes, [`Groups::locate`] members as they move: workloads in no group cost nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    groups: Vec<Group>,
    of: BTreeMap<WorkloadId, Vec<usize>>,
    places: BTreeMap<WorkloadId, BTreeSet<HostId>>,
}

impl Groups {
    /// The groups that the rules of a configuration make of the workloads there are (with their tags).
    pub fn resolve<'a>(
        spec: &ClusterSpec,
        workloads: impl Iterator<Item = (&'a WorkloadId, &'a BTreeSet<String>)> + Clone,
    ) -> Groups {
        fn group<'a, T>(
            rule: &Rule<T>,
            bond: Bond,
            strength: Strength,
            workloads: impl Iterator<Item = (&'a WorkloadId, &'a BTreeSet<String>)>,
        ) -> Group {
            let members = workloads.filter(|(id, tags)| rule.selector.chooses(id, tags)).map(|(id, _)| id.clone());
            Group { bond, strength, members: members.collect(), origin: Arc::new(rule.origin.clone()) }
        }
        let together =
            spec.together.iter().map(|rule| group(rule, Bond::Together, rule.policy.strength, workloads.clone()));
        let apart = spec.apart.iter().map(|rule| group(rule, Bond::Apart, rule.policy.strength, workloads.clone()));
        Groups::new(together.chain(apart))
    }

    /// These groups. A group of fewer than two binds nobody and is left out.
    pub fn new(groups: impl IntoIterator<Item = Group>) -> Groups {
        let mut all = Groups::default();
        for group in groups.into_iter().filter(|group| group.members.len() > 1) {
            for member in &group.members {
                all.of.entry(member.clone()).or_default().push(all.groups.len());
            }
            all.groups.push(group);
        }
        all
    }

    /// Says where a workload runs or may run: no host while it is proved off, several while it migrates or is in doubt.
    pub fn locate(&mut self, workload: &WorkloadId, on: impl IntoIterator<Item = HostId>) {
        if !self.of.contains_key(workload) {
            return;
        }
        let hosts: BTreeSet<HostId> = on.into_iter().collect();
        if hosts.is_empty() {
            self.places.remove(workload);
        } else {
            self.places.insert(workload.clone(), hosts);
        }
    }

    /// Everyone who is in a group, by name.
    pub fn members(&self) -> impl Iterator<Item = &WorkloadId> {
        self.of.keys()
    }

    /// Where a member is, as far as it was told.
    pub fn places(&self, member: &WorkloadId) -> impl Iterator<Item = &HostId> {
        self.places.get(member).into_iter().flatten()
    }

    /// The groups a workload belongs to.
    pub fn of(&self, workload: &WorkloadId) -> impl Iterator<Item = &Group> {
        self.indexes_of(workload).iter().map(|index| &self.groups[*index])
    }

    /// Everyone that must be with a workload, itself included, over however many rules.
    pub fn company(&self, workload: &WorkloadId) -> BTreeSet<WorkloadId> {
        let mut company = BTreeSet::from([workload.clone()]);
        let mut queue = vec![workload];
        while let Some(member) = queue.pop() {
            for group in self.of(member).filter(|group| group.requires(Bond::Together)) {
                queue.extend(group.members.iter().filter(|other| company.insert((*other).clone())));
            }
        }
        company
    }

    pub(super) fn indexes_of(&self, workload: &WorkloadId) -> &[usize] {
        self.of.get(workload).map_or(&[], Vec::as_slice)
    }
    pub(super) fn get(&self, index: usize) -> &Group {
        &self.groups[index]
    }
    pub(super) fn count(&self) -> usize {
        self.groups.len()
    }
    pub(super) fn places_of(&self, member: &WorkloadId) -> Option<&BTreeSet<HostId>> {
        self.places.get(member)
    }
}
