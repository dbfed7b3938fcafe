//! Could it start elsewhere? What hosts said about it, for placement, for alarms and for people. Decides nothing by itself.

use crate::{
    belief::{Ready, WorkloadRecord},
    engine::Engine,
    place::Refusal,
    view::{HostReady, ReadyView},
};
use mainstay_model::{HostId, Obstacle, Time, WorkloadId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

impl Engine {
    /// A host said which workloads it could start now.
    pub(crate) fn readiness_seen(
        &mut self,
        host: &HostId,
        asked_at: Time,
        workloads: Arc<BTreeMap<WorkloadId, Vec<Obstacle>>>,
    ) {
        if !self.belief.host_senses.contains_key(host) {
            return;
        }
        for workload in self.belief.readiness.heard(host, asked_at, workloads) {
            if self.belief.workloads.contains(&workload) {
                self.agenda.touch(&workload);
            }
        }
    }

    /// Hosts on which it can't start now, each with what it lacks there.
    pub(crate) fn unready(&self, workload: &WorkloadId) -> BTreeMap<HostId, Refusal> {
        let lacking = self.belief.readiness.lacking(workload, self.now);
        lacking.map(|(host, obstacles)| (host.clone(), Refusal::NotReady { lacks: listed(obstacles) })).collect()
    }

    /// What is missing, host by host, if every other host in service that may take it was looked at and lacks something.
    /// Hosts that are down have alarms of their own.
    pub(crate) fn ready_nowhere_else(&self, record: &WorkloadRecord) -> Option<String> {
        let home = record.host.as_ref()?;
        let mut lacks = Vec::new();
        for host in self.spec.hosts.keys().filter(|host| *host != home && self.reaches(host, record)) {
            if !self.in_service(host) {
                continue;
            }
            match self.belief.readiness.of(&record.workload, host, self.now) {
                Ready::Lacks { obstacles, .. } => lacks.push(format!("{host}: {}", listed(obstacles))),
                Ready::Unknown | Ready::Yes { .. } => return None,
            }
        }
        (!lacks.is_empty()).then(|| lacks.join("; "))
    }

    /// What is known for one workload, host by host; the host where it runs is left out.
    pub(crate) fn ready_view(&self, record: &WorkloadRecord) -> ReadyView {
        let runs_on = self.runs_on(&record.workload).cloned();
        let candidates =
            self.spec.hosts.keys().filter(|host| runs_on.as_ref() != Some(*host) && self.reaches(host, record));
        let hosts = candidates.map(|host| {
            let (ready, looked_at, obstacles) = match self.belief.readiness.of(&record.workload, host, self.now) {
                Ready::Unknown => (None, None, BTreeSet::new()),
                Ready::Yes { asked_at } => (Some(true), Some(asked_at), BTreeSet::new()),
                Ready::Lacks { asked_at, obstacles } => {
                    (Some(false), Some(asked_at), obstacles.iter().cloned().collect())
                }
            };
            HostReady {
                host: host.clone(),
                in_service: self.in_service(host),
                ready,
                looked_at,
                obstacles: obstacles.into_iter().collect(),
            }
        });
        ReadyView { workload: record.workload.clone(), runs_on: runs_on.clone(), hosts: hosts.collect() }
    }
}

/// In one line.
fn listed(obstacles: &[Obstacle]) -> String {
    obstacles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
