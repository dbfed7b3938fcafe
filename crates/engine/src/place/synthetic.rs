//! Clusters made up from two numbers, always the same ones: for measuring. Hosts are about 70 % full by memory; of every
//! ten workloads three are a set kept apart, two prefer to be together, one prefers some hosts by tag.

use super::{Bond, Group, Groups, HostCandidate, Reach, Refusal, Request};
use mainstay_model::{
    HostId, Resources, WorkloadId,
    spec::{HostRule, Origin, Strength},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A cluster in which everything runs.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its hosts.
    pub hosts: BTreeMap<HostId, HostCandidate>,
    /// What runs, `current` being where.
    pub running: BTreeMap<WorkloadId, Request>,
    /// Groups, with the places of their members.
    pub groups: Groups,
}

/// So many hosts (one in fifty a spare, without work) and so many workloads of 1 to 8 GiB.
pub fn cluster(hosts: usize, workloads: usize) -> Cluster {
    let name = |number: usize| WorkloadId::new(format!("vm-{number:05}"));
    let origin = Arc::new(Origin::default_of("synthetic"));
    let spare = |number: usize| number % 50 == 49;
    let busy: Vec<HostId> = (0..hosts).filter(|number| !spare(*number)).map(host_name).collect();
    let per_host = workloads.div_ceil(busy.len().max(1)) as u64;
    let mut candidates: BTreeMap<HostId, HostCandidate> = (0..hosts)
        .map(|number| {
            let candidate = HostCandidate {
                site: "here".into(),
                tags: if number % 4 == 0 { BTreeSet::from(["ssd".to_owned()]) } else { BTreeSet::new() },
                capacity: Resources::of(per_host * 1024 * 9 / 2 * 10 / 7, per_host * 4),
                used: Resources::ZERO,
                spare: spare(number),
                refused: None,
            };
            (host_name(number), candidate)
        })
        .collect();
    let mut running = BTreeMap::new();
    for number in 0..workloads {
        let home = busy[(number + number / busy.len()) % busy.len()].clone();
        let preferred =
            HostRule { hosts: vec![], host_tags: vec!["ssd".to_owned()], strength: Strength::Preferred(10) };
        let request = Request {
            needs: Resources::of(1024 * (1 + number as u64 * 5 % 8), 1 + number as u64 % 3),
            priority: (number % 3) as i32,
            rules: if number % 10 == 9 { vec![preferred] } else { vec![] },
            origin: origin.clone(),
            reach: Reach::Site("here".into()),
            current: Some(home.clone()),
            only: None,
            back_to: None,
            excluded: BTreeMap::new(),
            unready: BTreeSet::new(),
        };
        let candidate = candidates.get_mut(&home).expect("a name from the same list");
        candidate.used = candidate.used.plus(request.needs);
        running.insert(name(number), request);
    }
    let group = |bond, strength, members: &[usize]| Group {
        bond,
        strength,
        members: members.iter().map(|number| name(*number)).collect(),
        origin: origin.clone(),
    };
    let mut groups = Groups::new((0..workloads / 10).flat_map(|ten| {
        let apart = group(Bond::Apart, Strength::Required, &[ten * 10, ten * 10 + 1, ten * 10 + 2]);
        let together = group(Bond::Together, Strength::Preferred(5), &[ten * 10 + 3, ten * 10 + 4]);
        [apart, together]
    }));
    for (workload, request) in &running {
        groups.locate(workload, request.current.clone());
    }
    Cluster { hosts: candidates, running, groups }
}

fn host_name(number: usize) -> HostId {
    HostId::new(format!("host-{number:03}"))
}

impl Cluster {
    /// Loses the first so many hosts for good; gives the requests of what ran there.
    pub fn lose(&mut self, hosts: usize) -> BTreeMap<WorkloadId, Request> {
        for candidate in self.hosts.values_mut().take(hosts) {
            candidate.used = Resources::ZERO;
            candidate.refused = Some(Refusal::NotOnline { health: "fenced".to_owned() });
        }
        let lost: BTreeSet<HostId> = self.hosts.keys().take(hosts).cloned().collect();
        let (requests, left): (BTreeMap<_, _>, _) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|(_, request)| request.current.as_ref().is_some_and(|host| lost.contains(host)));
        self.running = left;
        for workload in requests.keys() {
            self.groups.locate(workload, None);
        }
        requests
    }
}
