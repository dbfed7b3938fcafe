//! The board: what is used on each host and which group members are there, while a plan is being made.

use super::{
    Groups, HostCandidate, Refusal,
    score::{Score, ScorePart, share},
    unit::{Open, Unit, preferences},
};
use mainstay_model::{HostId, ResourceKind, Resources, WorkloadId};
use std::{cmp::Reverse, collections::BTreeMap};

/// Members of one group by host, counted: who migrates from a host to itself in a plan is there twice for a while.
type Seated<'a> = BTreeMap<usize, BTreeMap<&'a WorkloadId, u32>>;

/// Hosts by index in the order of their names.
#[derive(Clone)]
pub(super) struct Board<'a> {
    pub hosts: Vec<(&'a HostId, &'a HostCandidate)>,
    pub groups: &'a Groups,
    used: Vec<Resources>,
    seated: Vec<Seated<'a>>,
}

/// What stands in the way on a host as the board is now.
pub(super) enum Obstacle<'a> {
    Apart { from: &'a WorkloadId, group: usize },
    Lacks { what: ResourceKind, needed: u64, free: u64 },
}

/// Whether a lesser use share is better (the rule) or a greater one (to keep large gaps for large workloads).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Balance {
    Spread,
    Pack,
}

impl<'a> Board<'a> {
    /// The board before the plan, knowing the groups of these workloads.
    pub fn new(
        hosts: &'a BTreeMap<HostId, HostCandidate>,
        groups: &'a Groups,
        workloads: impl Iterator<Item = &'a WorkloadId>,
    ) -> Board<'a> {
        let mut board = Board {
            used: hosts.values().map(|host| host.used).collect(),
            hosts: hosts.iter().collect(),
            groups,
            seated: vec![Seated::new(); groups.count()],
        };
        let mut known = vec![false; groups.count()];
        for index in workloads.flat_map(|workload| groups.indexes_of(workload)) {
            if std::mem::replace(&mut known[*index], true) {
                continue;
            }
            for member in &groups.get(*index).members {
                for host in groups.places(member) {
                    let Some(host) = board.index_of(host) else { continue };
                    *board.seated[*index].entry(host).or_default().entry(member).or_default() += 1;
                }
            }
        }
        board
    }

    pub fn index_of(&self, host: &HostId) -> Option<usize> {
        self.hosts.binary_search_by_key(&host, |(id, _)| id).ok()
    }

    /// Puts a unit on a host.
    pub fn put(&mut self, unit: &Unit<'a>, host: usize) {
        self.used[host] = self.used[host].plus(unit.needs);
        for (group, member) in tracked(unit) {
            for member in member.filter(|member| self.groups.get(group).members.contains(*member)) {
                *self.seated[group].entry(host).or_default().entry(member).or_default() += 1;
            }
        }
    }

    /// Takes a unit from a host.
    pub fn take(&mut self, unit: &Unit<'a>, host: usize) {
        self.used[host] = self.used[host].minus(unit.needs);
        for (group, member) in tracked(unit) {
            let Some(seats) = self.seated[group].get_mut(&host) else { continue };
            for member in member {
                if let Some(count) = seats.get_mut(member) {
                    *count -= 1;
                    if *count == 0 {
                        seats.remove(member);
                    }
                }
            }
        }
    }

    /// What is free on a host.
    pub fn free(&self, host: usize) -> Resources {
        self.hosts[host].1.capacity.minus(self.used[host])
    }

    /// The use share of the host's scarcer resource, in hundredths of a percent.
    pub fn share(&self, host: usize) -> (u64, ResourceKind) {
        share(self.used[host], self.hosts[host].1.capacity)
    }

    /// Its use share with one more unit on it.
    pub fn share_with(&self, unit: &Unit<'a>, host: usize) -> u64 {
        share(self.used[host].plus(unit.needs), self.hosts[host].1.capacity).0
    }

    /// What stands in the way of a unit on an open host.
    pub fn obstacle(&self, unit: &Unit<'a>, host: usize) -> Option<Obstacle<'a>> {
        for group in &unit.apart {
            if let Some(from) = self.others(*group, host, unit).next() {
                return Some(Obstacle::Apart { from, group: *group });
            }
        }
        if unit.goes_back_to(self.hosts[host].0) {
            return None; // it changes nothing in the sum of what ran there
        }
        let (what, needed, free) = self.free(host).lacks(unit.needs)?;
        Some(Obstacle::Lacks { what, needed, free })
    }

    /// Why a host does not take a unit; `None`: it would.
    pub fn refusal(&self, unit: &Unit<'a>, host: usize) -> Option<Refusal> {
        if let Some(refusal) = unit.lasting_refusal(host, self) {
            return Some(refusal);
        }
        Some(match self.obstacle(unit, host)? {
            Obstacle::Apart { from, group } => {
                Refusal::KeptApartFrom { workload: from.clone(), origin: self.groups.get(group).origin.clone() }
            }
            Obstacle::Lacks { what, needed, free } => {
                let all = unit.members.iter().filter(|_| unit.members.len() > 1);
                let together = all.map(|(id, _)| (*id).clone()).collect();
                Refusal::Lacks { what, needed, free, together }
            }
        })
    }

    /// Points of location rules and preferred groups.
    pub fn preference(&self, unit: &Unit<'a>, open: Open) -> i64 {
        let company = unit.preferred.iter().map(|(group, points)| {
            let Some(seats) = self.seated[*group].get(&open.host) else { return 0 };
            let own = unit.members.iter().filter(|(member, _)| seats.contains_key(member)).count();
            points * (seats.len() - own) as i64
        });
        open.preference + company.sum::<i64>()
    }

    /// How good an open host is for a unit.
    pub fn score(&self, unit: &Unit<'a>, open: Open, balance: Balance) -> Score {
        let (id, candidate) = self.hosts[open.host];
        let share = i64::try_from(self.share_with(unit, open.host)).unwrap_or(i64::MAX);
        Score {
            unready: unit.unready(id),
            spare: candidate.spare,
            preference: Reverse(self.preference(unit, open)),
            stays: Reverse(unit.at_home(id)),
            balance: if balance == Balance::Spread { share } else { -share },
            host: open.host,
        }
    }

    /// The score of a host in words, with the unit on it.
    pub fn explain(&self, unit: &Unit<'a>, host: usize) -> Vec<ScorePart> {
        let (id, candidate) = self.hosts[host];
        let mut parts = Vec::new();
        if unit.unready(id) {
            parts.push(ScorePart::NotReady);
        }
        if candidate.spare {
            parts.push(ScorePart::Spare);
        }
        for (_, request) in &unit.members {
            for points in preferences(&request.rules, id, &candidate.tags).filter(|points| *points != 0) {
                parts.push(ScorePart::Preferred { points, origin: request.origin.clone() });
            }
        }
        for (group, points) in &unit.preferred {
            let mut others = self.others(*group, host, unit);
            if let Some(workload) = others.next() {
                let (more, group) = (others.count(), self.groups.get(*group));
                parts.push(ScorePart::Company {
                    bond: group.bond,
                    workload: workload.clone(),
                    more,
                    points: points * (more as i64 + 1),
                    origin: group.origin.clone(),
                });
            }
        }
        if unit.at_home(id) > 0 {
            parts.push(ScorePart::Stays);
        }
        let (share, what) = self.share(host);
        parts.push(ScorePart::Share { what, percent: share / 100 });
        parts
    }

    fn others(&self, group: usize, host: usize, unit: &Unit<'a>) -> impl Iterator<Item = &'a WorkloadId> {
        let seats = self.seated[group].get(&host).into_iter().flat_map(|seats| seats.keys().copied());
        seats.filter(|workload| !unit.has(workload))
    }
}

/// The groups of a unit of which the board keeps the seats.
fn tracked<'u, 'a>(
    unit: &'u Unit<'a>,
) -> impl Iterator<Item = (usize, impl Iterator<Item = &'a WorkloadId> + use<'u, 'a>)> {
    let groups = unit.apart.iter().copied().chain(unit.preferred.iter().map(|(group, _)| *group));
    groups.map(|group| (group, unit.members.iter().map(|(member, _)| *member)))
}
