//! Required constraints that are broken by what runs now, and the move that mends each.

use super::{Bond, Groups, HostCandidate, Move, NoHostFits, Refusal, Request, place, unit::required_elsewhere};
use mainstay_model::{HostId, WorkloadId};
use serde::{Deserialize, Serialize};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// A workload that runs where it must not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Who. Of two that break a constraint between them, the less important one.
    pub workload: WorkloadId,
    /// Where it runs.
    pub host: HostId,
    /// What is broken.
    pub broken: Refusal,
    /// What mends it.
    pub mend: Mend,
}

/// What mends a violation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mend {
    /// This move. Those of one call fit beside each other.
    Move(Move),
    /// No host would do.
    Nowhere(NoHostFits),
}

/// Running workloads that break a required constraint now. `running` has `current` where each runs; they are counted in
/// `used` of their hosts. Who is more important (then bigger, then first by name) stays, the other is told.
pub fn violations(
    running: &BTreeMap<WorkloadId, Request>,
    hosts: &BTreeMap<HostId, HostCandidate>,
    groups: &Groups,
) -> Vec<Violation> {
    let offenders = offenders(running, hosts, groups);
    let requests = offenders.keys().map(|workload| ((*workload).clone(), running[*workload].clone())).collect();
    let mut placement = place(&requests, hosts, groups);
    let violation = |(workload, (host, broken)): (&WorkloadId, (&HostId, Refusal))| {
        let mend = match placement.placed.remove(workload) {
            Some(chosen) => Mend::Move(Move {
                workload: workload.clone(),
                from: host.clone(),
                why: format!("on {host}: {broken}"),
                to: chosen.host,
            }),
            None => Mend::Nowhere(placement.unplaced.remove(workload).unwrap_or_default()),
        };
        Violation { workload: workload.clone(), host: host.clone(), broken, mend }
    };
    offenders.into_iter().map(violation).collect()
}

/// Settles one workload after the other where it runs; whoever conflicts with a settled one is an offender.
fn offenders<'a>(
    running: &'a BTreeMap<WorkloadId, Request>,
    hosts: &'a BTreeMap<HostId, HostCandidate>,
    groups: &'a Groups,
) -> BTreeMap<&'a WorkloadId, (&'a HostId, Refusal)> {
    let mut settled = Settled::default();
    for member in groups.members().filter(|member| !running.contains_key(*member)) {
        for host in groups.places(member) {
            settled.settle(member, host, groups);
        }
    }
    let mut by_rank: Vec<(&WorkloadId, &Request)> = running.iter().collect();
    by_rank.sort_by_key(|(id, request)| (Reverse(request.priority), Reverse(request.needs), *id));
    let mut offenders = BTreeMap::new();
    for (workload, request) in by_rank {
        let Some((host, candidate)) = request.current.as_ref().and_then(|host| hosts.get_key_value(host)) else {
            continue;
        };
        let broken = if required_elsewhere(&request.rules, host, candidate) {
            Some(Refusal::NotAmongRequired { origin: request.origin.clone() })
        } else {
            settled.conflict(workload, host, groups)
        };
        match broken {
            Some(broken) => _ = offenders.insert(workload, (host, broken)),
            None => settled.settle(workload, host, groups),
        }
    }
    offenders
}

/// Members of required groups that stay where they are.
#[derive(Default)]
struct Settled<'a> {
    apart: BTreeMap<(usize, &'a HostId), &'a WorkloadId>,
    together: BTreeMap<usize, (&'a WorkloadId, BTreeSet<&'a HostId>)>,
}

impl<'a> Settled<'a> {
    fn settle(&mut self, workload: &'a WorkloadId, host: &'a HostId, groups: &'a Groups) {
        for index in groups.indexes_of(workload) {
            let group = groups.get(*index);
            if group.requires(Bond::Apart) {
                self.apart.entry((*index, host)).or_insert(workload);
            } else if group.requires(Bond::Together) {
                self.together.entry(*index).or_insert_with(|| (workload, BTreeSet::new())).1.insert(host);
            }
        }
    }

    fn conflict(&self, workload: &WorkloadId, host: &HostId, groups: &Groups) -> Option<Refusal> {
        groups.indexes_of(workload).iter().find_map(|index| {
            let origin = &groups.get(*index).origin;
            if let Some(other) = self.apart.get(&(*index, host)) {
                return Some(Refusal::KeptApartFrom { workload: (*other).clone(), origin: origin.clone() });
            }
            let (other, on) = self.together.get(index).filter(|(_, on)| !on.contains(host))?;
            let on = on.iter().map(|host| (*host).clone()).collect();
            Some(Refusal::MustBeWith { workload: (*other).clone(), on, origin: origin.clone() })
        })
    }
}
