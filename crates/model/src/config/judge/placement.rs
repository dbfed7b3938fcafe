//! Required constraints that no placement can meet. Only what is certain from names written in full is reported.

use super::overlap::{is_name, named, shared};
use crate::config::names::meant;
use crate::config::problem::{IMPOSSIBLE, Report};
use crate::spec::{ClusterSpec, Rule, Strength};
use crate::{HostId, WorkloadId};
use std::collections::{BTreeMap, BTreeSet};

/// The same workloads kept together and apart.
pub fn together_and_apart(spec: &ClusterSpec, report: &mut Report) {
    for together in spec.together.iter().filter(|rule| rule.policy.strength == Strength::Required) {
        for apart in spec.apart.iter().filter(|rule| rule.policy.strength == Strength::Required) {
            let both = shared(&together.selector, &apart.selector);
            if both.len() > 1 || both.iter().any(|pattern| !is_name(pattern)) {
                let whom = listed(both.iter().map(String::as_str));
                let also = report.span_of(&apart.origin);
                report
                    .error(
                        IMPOSSIBLE,
                        &report.span_of(&together.origin),
                        format!("{whom} are to be kept together and apart"),
                    )
                    .also(&also, "kept apart here")
                    .help("take one of the rules out, or give one strength = \"preferred\"");
            }
        }
    }
}

/// More workloads to be kept apart than hosts on which they may run.
pub fn too_few_hosts(spec: &ClusterSpec, report: &mut Report) {
    for rule in spec.apart.iter().filter(|rule| rule.policy.strength == Strength::Required) {
        let allowed: Vec<_> = named(&rule.selector).into_iter().map(|vm| (allowed_hosts(&vm, spec), vm)).collect();
        let placed = most_apart(&allowed);
        if placed < allowed.len() {
            let message = format!(
                "{} are to be kept apart, but only {placed} of the {} can have a host of their own",
                listed(allowed.iter().map(|(_, vm)| vm.as_str())),
                allowed.len(),
            );
            let hosts: BTreeSet<&HostId> = allowed.iter().flat_map(|(hosts, _)| hosts).collect();
            report.error(IMPOSSIBLE, &report.span_of(&rule.origin), message).help(format!(
                "they may run on {}; allow more hosts, or give the rule strength = \"preferred\"",
                listed(hosts.into_iter().map(HostId::as_str))
            ));
        }
    }
}

/// Workloads to be kept together that have no host in common.
pub fn together_nowhere(spec: &ClusterSpec, report: &mut Report) {
    for rule in spec.together.iter().filter(|rule| rule.policy.strength == Strength::Required) {
        let allowed: Vec<_> = named(&rule.selector).into_iter().map(|vm| (allowed_hosts(&vm, spec), vm)).collect();
        let common = allowed.iter().map(|(hosts, _)| hosts.clone()).reduce(|a, b| &a & &b);
        if common.is_some_and(|common| common.is_empty()) {
            let each = allowed
                .iter()
                .map(|(hosts, vm)| format!("`{vm}` only on {}", listed(hosts.iter().map(HostId::as_str))));
            let message = format!(
                "{} are to be kept together, but no host may run them all",
                listed(allowed.iter().map(|(_, vm)| vm.as_str()))
            );
            let help = format!("their [[vm]] rules allow {}", each.collect::<Vec<_>>().join(", "));
            report.error(IMPOSSIBLE, &report.span_of(&rule.origin), message).help(help);
        }
    }
}

/// The hosts on which a workload may run, as far as its name tells: all, if a rule before might choose it by a tag.
fn allowed_hosts(workload: &WorkloadId, spec: &ClusterSpec) -> BTreeSet<HostId> {
    let chosen = |rule: &&Rule<_>| rule.selector.chooses(workload, &BTreeSet::new()) || !rule.selector.tags.is_empty();
    let all = || spec.hosts.keys().cloned().collect();
    match spec.workloads.iter().find(chosen) {
        Some(rule) if rule.selector.chooses(workload, &BTreeSet::new()) => {
            let required = rule.policy.hosts.iter().filter(|hosts| hosts.strength == Strength::Required);
            required.map(|hosts| meant(&hosts.hosts, &hosts.host_tags, spec)).fold(all(), |a, b| &a & &b)
        }
        _ => all(),
    }
}

/// How many can be placed on a host of their own: a largest matching, by augmenting paths.
fn most_apart(allowed: &[(BTreeSet<HostId>, WorkloadId)]) -> usize {
    fn place<'a>(
        index: usize,
        allowed: &'a [(BTreeSet<HostId>, WorkloadId)],
        taken: &mut BTreeMap<&'a HostId, usize>,
        tried: &mut BTreeSet<&'a HostId>,
    ) -> bool {
        for host in &allowed[index].0 {
            if tried.insert(host) && taken.get(host).copied().is_none_or(|other| place(other, allowed, taken, tried)) {
                taken.insert(host, index);
                return true;
            }
        }
        false
    }
    let mut taken = BTreeMap::new();
    (0..allowed.len()).filter(|index| place(*index, allowed, &mut taken, &mut BTreeSet::new())).count()
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
