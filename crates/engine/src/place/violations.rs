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
    /// Who. Of two that break a constraint between them, the less important one, if it can be moved.
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
    /// These moves, of it and of others that must be on its host.
    Together(Vec<Move>),
    /// No host would do.
    Nowhere(NoHostFits),
}

impl Mend {
    /// The moves that repair it; none if no host would do.
    pub fn steps(&self) -> &[Move] {
        match self {
            Mend::Move(step) => std::slice::from_ref(step),
            Mend::Together(steps) => steps,
            Mend::Nowhere(_) => &[],
        }
    }
}

/// So often at most it is tried to let others move instead of those that can't.
const ROUNDS: usize = 4;

/// Running workloads that break a required constraint now. `running` has `current` where each runs; they are counted in
/// `used` of their hosts. The more important one (then the bigger, then the first by name) stays, the other moves. If that
/// one has no host to go to, it stays and those move that are in its way.
pub fn violations(
    running: &BTreeMap<WorkloadId, Request>,
    hosts: &BTreeMap<HostId, HostCandidate>,
    groups: &Groups,
) -> Vec<Violation> {
    let mut staying = BTreeSet::new();
    let mut best = repairs(running, hosts, groups, &staying);
    let mut last = best.clone();
    for _ in 1..ROUNDS {
        let before = staying.len();
        staying.extend(last.iter().filter(|one| one.is_stuck()).map(|one| one.workload.clone()));
        if staying.len() == before {
            break;
        }
        last = repairs(running, hosts, groups, &staying);
        let stuck = |found: &[Violation]| found.iter().filter(|one| one.is_stuck()).count();
        if stuck(&last) < stuck(&best) {
            best.clone_from(&last);
        }
    }
    best
}

/// The violations if `staying` stay, each with what repairs it.
fn repairs(
    running: &BTreeMap<WorkloadId, Request>,
    hosts: &BTreeMap<HostId, HostCandidate>,
    groups: &Groups,
    staying: &BTreeSet<WorkloadId>,
) -> Vec<Violation> {
    let offenders = offenders(running, hosts, groups, staying);
    let requests = offenders.keys().map(|workload| ((*workload).clone(), running[*workload].clone())).collect();
    let mut placement = place(&requests, hosts, groups);
    let mut found = Vec::new();
    let mut moves: Vec<Move> = Vec::new();
    for (workload, (host, broken)) in offenders {
        let mend = match placement.placed.remove(workload) {
            Some(chosen) => Mend::Move(Move {
                workload: workload.clone(),
                from: host.clone(),
                why: format!("on {host}: {broken}"),
                to: chosen.host,
            }),
            None => Mend::Nowhere(placement.unplaced.remove(workload).unwrap_or_default()),
        };
        if let Mend::Move(step) = &mend {
            moves.push(step.clone());
        }
        found.push(Violation { workload: workload.clone(), host: host.clone(), broken, mend });
    }
    for violation in found.iter_mut().filter(|violation| violation.is_stuck()) {
        let steps = as_company(violation, running, hosts, groups, &moves);
        if !steps.is_empty() {
            moves.extend(steps.iter().cloned());
            violation.mend = Mend::Together(steps);
        }
    }
    found
}

/// The moves that bring it and all that must be on its host to one host, beside moves that are to be made already.
fn as_company(
    violation: &Violation,
    running: &BTreeMap<WorkloadId, Request>,
    hosts: &BTreeMap<HostId, HostCandidate>,
    groups: &Groups,
    moves: &[Move],
) -> Vec<Move> {
    let moved = |member: &WorkloadId| moves.iter().any(|step| step.workload == *member);
    let requests = running_company(&violation.workload, running, groups);
    if requests.len() < 2 || requests.keys().any(moved) {
        return Vec::new();
    }
    let (mut hosts, mut groups) = (hosts.clone(), groups.clone());
    for step in moves {
        if let Some(target) = hosts.get_mut(&step.to) {
            target.used = target.used.plus(running[&step.workload].needs);
        }
        groups.locate(&step.workload, [step.from.clone(), step.to.clone()]);
    }
    for request in requests.values() {
        // Those of the company that stay have their room.
        if let Some(host) = request.current.as_ref().and_then(|host| hosts.get_mut(host)) {
            host.used = host.used.minus(request.needs);
        }
    }
    let placement = place(&requests, &hosts, &groups);
    if !placement.unplaced.is_empty() {
        return Vec::new();
    }
    let why = format!("on {}: {}", violation.host, violation.broken);
    let step = |(workload, chosen): (WorkloadId, super::Chosen)| {
        let from = requests[&workload].current.clone().filter(|from| *from != chosen.host)?;
        Some(Move { workload, from, to: chosen.host, why: why.clone() })
    };
    placement.placed.into_iter().filter_map(step).collect()
}

/// All that run and must be on its host: over rules that they share, not over those who do not run.
fn running_company(
    workload: &WorkloadId,
    running: &BTreeMap<WorkloadId, Request>,
    groups: &Groups,
) -> BTreeMap<WorkloadId, Request> {
    let mut company = BTreeMap::new();
    let mut queue = vec![workload];
    while let Some(member) = queue.pop() {
        let Some(request) = running.get(member) else { continue };
        if company.insert(member.clone(), request.clone()).is_none() {
            let bound = groups.of(member).filter(|group| group.requires(Bond::Together));
            queue.extend(bound.flat_map(|group| &group.members));
        }
    }
    company
}

impl Violation {
    fn is_stuck(&self) -> bool {
        matches!(self.mend, Mend::Nowhere(_))
    }
}

/// Settles one workload after the other where it runs; whoever conflicts with a settled one is an offender.
fn offenders<'a>(
    running: &'a BTreeMap<WorkloadId, Request>,
    hosts: &'a BTreeMap<HostId, HostCandidate>,
    groups: &'a Groups,
    staying: &BTreeSet<WorkloadId>,
) -> BTreeMap<&'a WorkloadId, (&'a HostId, Refusal)> {
    let mut settled = Settled::default();
    for member in groups.members().filter(|member| !running.contains_key(*member)) {
        for host in groups.places(member) {
            settled.settle(member, host, groups);
        }
    }
    let mut by_rank: Vec<(&WorkloadId, &Request)> = running.iter().collect();
    by_rank
        .sort_by_key(|(id, request)| (!staying.contains(*id), Reverse(request.priority), Reverse(request.needs), *id));
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
