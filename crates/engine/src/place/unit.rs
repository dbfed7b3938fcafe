//! Units of placement: one workload, or several that must be together and of which none runs yet.

use super::{Bond, Groups, HostCandidate, Reach, Refusal, Request, board::Board};
use mainstay_model::{
    HostId, Resources, WorkloadId,
    spec::{HostRule, Origin, Strength},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What goes to one host as a whole.
pub(super) struct Unit<'a> {
    /// Who, by name.
    pub members: Vec<(&'a WorkloadId, &'a Request)>,
    /// What all need.
    pub needs: Resources,
    /// The highest of its members: who must be together waits for nobody less than the most important of them.
    pub priority: i32,
    /// Hosts that nothing lasting speaks against.
    pub open: Vec<Open>,
    /// Required `apart` groups of its members.
    pub apart: Vec<usize>,
    /// Preferred groups of its members, with points for every other member on a host.
    pub preferred: Vec<(usize, i64)>,
    /// Members of required `together` groups that have their places already.
    anchors: Vec<Anchor<'a>>,
    /// Two members that must be together and apart: no host will ever do.
    torn: Option<(&'a WorkloadId, &'a Arc<Origin>)>,
}

/// A host that nothing lasting speaks against.
#[derive(Clone, Copy)]
pub(super) struct Open {
    pub host: usize,
    /// Points of the location rules.
    pub preference: i64,
}

/// A placed workload that a unit has to be with.
#[derive(Clone)]
pub(super) struct Anchor<'a> {
    workload: &'a WorkloadId,
    on: &'a BTreeSet<HostId>,
    origin: &'a Arc<Origin>,
}

impl<'a> Unit<'a> {
    /// Members that have to be together, and the placed ones that they have to be with.
    pub fn new(members: Vec<(&'a WorkloadId, &'a Request)>, anchors: Vec<Anchor<'a>>, board: &Board<'a>) -> Unit<'a> {
        let groups = board.groups;
        let mut unit = Unit {
            needs: members.iter().fold(Resources::ZERO, |sum, (_, request)| sum.plus(request.needs)),
            priority: members.iter().map(|(_, request)| request.priority).max().unwrap_or_default(),
            members,
            open: Vec::new(),
            apart: Vec::new(),
            preferred: Vec::new(),
            anchors,
            torn: None,
        };
        let mut seen = BTreeSet::new();
        for (workload, _) in &unit.members {
            for index in groups.indexes_of(workload) {
                let (group, first) = (groups.get(*index), seen.insert(*index));
                match group.points() {
                    Some(points) if first => unit.preferred.push((*index, points)),
                    None if group.bond == Bond::Apart && first => unit.apart.push(*index),
                    None if group.bond == Bond::Apart => unit.torn = Some((workload, &group.origin)),
                    _ => {}
                }
            }
        }
        let only = unit.members.iter().find_map(|(_, request)| request.only.as_ref());
        let in_question = match only {
            Some(host) => board.index_of(host).map_or(0..0, |index| index..index + 1),
            None => 0..board.hosts.len(),
        };
        unit.open = in_question
            .filter(|host| unit.lasting_refusal(*host, board).is_none())
            .map(|host| Open { host, preference: unit.preference(board.hosts[host]) })
            .collect();
        unit
    }

    /// True if the workload is a member.
    pub fn has(&self, workload: &WorkloadId) -> bool {
        self.members.iter().any(|(member, _)| *member == workload)
    }

    /// How many members run or ran on the host.
    pub fn at_home(&self, host: &HostId) -> usize {
        self.members.iter().filter(|(_, request)| request.current.as_ref() == Some(host)).count()
    }

    /// True if a member lacks something on the host.
    pub fn unready(&self, host: &HostId) -> bool {
        self.members.iter().any(|(_, request)| request.unready.contains(host))
    }

    /// True if all its members go back to that host, where they ran.
    pub fn goes_back_to(&self, host: &HostId) -> bool {
        self.members.iter().all(|(_, request)| request.back_to.as_ref() == Some(host))
    }

    /// Importance, then size, then how few hosts it has to choose from, then how strong its wishes are; last the name. The
    /// lesser comes first.
    pub fn rank(&self) -> impl Ord + use<'a> {
        let Resources { memory_mib, cpu_centi } = self.needs;
        let mut wishes: Vec<i64> = self.open.iter().map(|open| open.preference).filter(|points| *points != 0).collect();
        wishes.sort_unstable();
        let narrowness = (self.open.len(), Reverse(self.apart.len() + self.preferred.len()), Reverse(wishes));
        (Reverse(self.priority), Reverse(memory_mib), Reverse(cpu_centi), narrowness, self.members[0].0)
    }

    /// What speaks against a host whatever else is placed there.
    pub fn lasting_refusal(&self, host: usize, board: &Board<'a>) -> Option<Refusal> {
        let (id, candidate) = board.hosts[host];
        if let Some(refusal) = &candidate.refused
            && !(*refusal == Refusal::Maintenance && self.goes_back_to(id))
        {
            return Some(refusal.clone());
        }
        if let Some((workload, origin)) = self.torn {
            return Some(Refusal::KeptApartFrom { workload: workload.clone(), origin: origin.clone() });
        }
        for (_, request) in &self.members {
            if let Some(host) = request.only.as_ref().filter(|only| *only != id) {
                return Some(Refusal::BoundFor { host: host.clone() });
            }
            if let Some(refusal) = request.excluded.get(id) {
                return Some(refusal.clone());
            }
            match &request.reach {
                Reach::Site(site) if *site != candidate.site => return Some(Refusal::OtherSite { site: site.clone() }),
                Reach::Host(home) if home != id => return Some(Refusal::DiskOn { host: home.clone() }),
                _ => {}
            }
            if required_elsewhere(&request.rules, id, candidate) {
                return Some(Refusal::NotAmongRequired { origin: request.origin.clone() });
            }
        }
        let far = self.anchors.iter().find(|anchor| !anchor.on.contains(id))?;
        Some(Refusal::MustBeWith { workload: far.workload.clone(), on: far.on.clone(), origin: far.origin.clone() })
    }

    fn preference(&self, (id, candidate): (&HostId, &HostCandidate)) -> i64 {
        self.members
            .iter()
            .flat_map(|(_, request)| preferences(&request.rules, id, &candidate.tags))
            .map(i64::from)
            .sum()
    }
}

/// True if a required location rule leaves the host out.
pub(super) fn required_elsewhere(rules: &[HostRule], id: &HostId, candidate: &HostCandidate) -> bool {
    rules.iter().any(|rule| rule.strength == Strength::Required && !names(rule, id, &candidate.tags))
}

/// Points of the preferred location rules that name the host.
pub(crate) fn preferences(rules: &[HostRule], id: &HostId, tags: &BTreeSet<String>) -> impl Iterator<Item = i32> {
    rules.iter().filter_map(move |rule| match rule.strength {
        Strength::Preferred(points) if names(rule, id, tags) => Some(points),
        _ => None,
    })
}

fn names(rule: &HostRule, id: &HostId, tags: &BTreeSet<String>) -> bool {
    rule.hosts.contains(id) || rule.host_tags.iter().any(|tag| tags.contains(tag))
}

/// The units that requests make, in the order of [`Unit::rank`].
pub(super) fn gather<'a>(requests: &'a BTreeMap<WorkloadId, Request>, board: &Board<'a>) -> Vec<Unit<'a>> {
    let mut units = Vec::new();
    let mut taken = BTreeSet::new();
    for workload in requests.keys() {
        if taken.contains(workload) {
            continue;
        }
        let (members, anchors) = bound_to(workload, requests, board.groups);
        taken.extend(members.iter().map(|(member, _)| *member));
        if anchors.is_empty() {
            units.push(Unit::new(members, anchors, board));
        } else {
            // Their host is settled already: whoever still fits there may start.
            units.extend(members.into_iter().map(|member| Unit::new(vec![member], anchors.clone(), board)));
        }
    }
    units.sort_by_cached_key(Unit::rank);
    units
}

/// The requested workloads that must be with `first`, itself included, and the placed ones that they must be with.
/// A requested workload counts as not placed: it is about to get a new place.
fn bound_to<'a>(
    first: &'a WorkloadId,
    requests: &'a BTreeMap<WorkloadId, Request>,
    groups: &'a Groups,
) -> (Vec<(&'a WorkloadId, &'a Request)>, Vec<Anchor<'a>>) {
    let mut members = BTreeMap::from([(first, &requests[first])]);
    let (mut anchors, mut seen, mut queue) = (Vec::new(), BTreeSet::new(), vec![first]);
    while let Some(workload) = queue.pop() {
        for index in groups.indexes_of(workload) {
            let group = groups.get(*index);
            if !group.requires(Bond::Together) || !seen.insert(*index) {
                continue;
            }
            for other in &group.members {
                if let Some(request) = requests.get(other) {
                    if members.insert(other, request).is_none() {
                        queue.push(other);
                    }
                } else if let Some(on) = groups.places_of(other) {
                    anchors.push(Anchor { workload: other, on, origin: &group.origin });
                }
            }
        }
    }
    anchors.sort_by_key(|anchor| anchor.workload);
    (members.into_iter().collect(), anchors)
}
