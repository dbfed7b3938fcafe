//! Where workloads could start now: the newest answer of each host, and which hosts lack something for which workload.

use mainstay_model::{HostId, Obstacle, Span, Time, WorkloadId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Hosts are asked every few minutes. An older answer than this says nothing any more.
const TRUSTED: Span = Span::minutes(30);

/// What the hosts said in this term.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness {
    hosts: BTreeMap<HostId, Answer>,
    /// Hosts that lack something, by workload: few, so that placement need not look at every host.
    lacking: BTreeMap<WorkloadId, BTreeSet<HostId>>,
}

#[derive(Clone, Debug)]
struct Answer {
    asked_at: Time,
    workloads: Arc<BTreeMap<WorkloadId, Vec<Obstacle>>>,
}

/// What is known of one workload on one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready<'a> {
    /// Not looked at, or too long ago.
    Unknown,
    /// It could start there.
    Yes { asked_at: Time },
    /// It lacks something there.
    Lacks { asked_at: Time, obstacles: &'a [Obstacle] },
}

impl Readiness {
    /// A host answered. Gives back the workloads of which it says something else than before.
    pub(crate) fn heard(
        &mut self,
        host: &HostId,
        asked_at: Time,
        workloads: Arc<BTreeMap<WorkloadId, Vec<Obstacle>>>,
    ) -> BTreeSet<WorkloadId> {
        if self.hosts.get(host).is_some_and(|answer| answer.asked_at > asked_at) {
            return BTreeSet::new();
        }
        let before = self.hosts.insert(host.clone(), Answer { asked_at, workloads: Arc::clone(&workloads) });
        let before = before.map(|answer| answer.workloads).unwrap_or_default();
        let other = |workload: &&WorkloadId| before.get(*workload) != workloads.get(*workload);
        let changed: BTreeSet<WorkloadId> = before.keys().chain(workloads.keys()).filter(other).cloned().collect();
        for workload in &changed {
            let lacks = workloads.get(workload).is_some_and(|obstacles| !obstacles.is_empty());
            if lacks {
                self.lacking.entry(workload.clone()).or_default().insert(host.clone());
            } else if let Some(hosts) = self.lacking.get_mut(workload) {
                hosts.remove(host);
                if hosts.is_empty() {
                    self.lacking.remove(workload);
                }
            }
        }
        changed
    }

    /// The host is out of the configuration.
    pub(crate) fn forget_host(&mut self, host: &HostId) {
        self.hosts.remove(host);
        self.lacking.retain(|_, hosts| {
            hosts.remove(host);
            !hosts.is_empty()
        });
    }

    /// What is known of a workload on a host.
    pub(crate) fn of(&self, workload: &WorkloadId, host: &HostId, now: Time) -> Ready<'_> {
        let answer = self.hosts.get(host).filter(|answer| now.since(answer.asked_at) <= TRUSTED);
        let Some((answer, obstacles)) = answer.and_then(|answer| Some((answer, answer.workloads.get(workload)?)))
        else {
            return Ready::Unknown;
        };
        let asked_at = answer.asked_at;
        if obstacles.is_empty() { Ready::Yes { asked_at } } else { Ready::Lacks { asked_at, obstacles } }
    }

    /// Hosts that lack something for the workload, and what.
    pub(crate) fn lacking(&self, workload: &WorkloadId, now: Time) -> impl Iterator<Item = (&HostId, &[Obstacle])> {
        let hosts = self.lacking.get(workload).into_iter().flatten();
        let workload = workload.clone();
        hosts.filter_map(move |host| match self.of(&workload, host, now) {
            Ready::Lacks { obstacles, .. } => Some((host, obstacles)),
            Ready::Unknown | Ready::Yes { .. } => None,
        })
    }
}
