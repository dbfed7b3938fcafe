//! Could it start elsewhere? What hosts said about it, for placement, for alarms and for people. Decides nothing by itself.

use crate::{
    belief::{Ready, WorkloadRecord},
    engine::Engine,
    place::{Refusal, bound_words},
    view::{HostReady, ReadyView},
};
use mainstay_model::{HostId, HostState, Obstacle, ObstacleKind, Time, WorkloadId};
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
    /// Hosts that are down have alarms of their own. What a device binds to its host needs no look: the loss of that host is
    /// the loss of this workload, whatever the others have.
    pub(crate) fn ready_nowhere_else(&self, record: &WorkloadRecord) -> Option<String> {
        let home = record.host.as_ref()?;
        if let Some(bound) = self.bound_by_device(record) {
            let shares = |host: &HostId| {
                let site = self.host_spec(host).and_then(|spec| self.spec.sites.get(&spec.site));
                site.is_some_and(|site| site.shared_storage)
            };
            let would_go = self.spec.hosts.keys().any(|host| self.is_beside(host, &bound) && shares(host));
            return would_go.then(|| bound_words(&bound, &record.passed_through));
        }
        let mut lacks = Vec::new();
        for host in self.spec.hosts.keys().filter(|host| *host != home && self.reaches(host, record)) {
            if !self.in_service(host) {
                continue;
            }
            let mut obstacles = self.state_missing(record, host);
            match self.belief.readiness.of(&record.workload, host, self.now) {
                Ready::Lacks { obstacles: others, .. } => obstacles.extend_from_slice(others),
                Ready::Unknown => return None,
                Ready::Yes { .. } if obstacles.is_empty() => return None,
                Ready::Yes { .. } => {}
            }
            lacks.push(format!("{host}: {}", listed(&obstacles)));
        }
        (!lacks.is_empty()).then(|| lacks.join("; "))
    }

    /// State without which it may not start on the host. Drivers do not report it: what may be left behind, the policy says, and
    /// in a live move the state moves along.
    fn state_missing(&self, record: &WorkloadRecord, host: &HostId) -> Vec<Obstacle> {
        let Some((bound, states)) = self.bound_by_state(record).filter(|(bound, _)| bound != host) else {
            return vec![];
        };
        let kind = |state| match state {
            HostState::Tpm => ObstacleKind::TpmState,
            HostState::UefiVariables => ObstacleKind::FirmwareState,
            HostState::SavedMemory => ObstacleKind::SavedMemory,
        };
        states.into_iter().map(|state| Obstacle::new(kind(state), format!("on {bound} only"))).collect()
    }

    /// True of another host of the same site.
    fn is_beside(&self, host: &HostId, home: &HostId) -> bool {
        let site = |host| self.host_spec(host).map(|spec| &spec.site);
        host != home && site(host).is_some() && site(host) == site(home)
    }

    /// What is known for one workload, host by host; the host where it runs is left out.
    pub(crate) fn ready_view(&self, record: &WorkloadRecord) -> ReadyView {
        let runs_on = self.runs_on(&record.workload).cloned();
        let bound = self.bound_by_device(record);
        let binds = |host: &HostId| bound.as_ref().filter(|bound| self.is_beside(host, bound));
        let candidates =
            self.spec.hosts.keys().filter(|host| {
                runs_on.as_ref() != Some(*host) && (self.reaches(host, record) || binds(host).is_some())
            });
        let hosts = candidates.map(|host| {
            let mut obstacles: BTreeSet<Obstacle> = self.state_missing(record, host).into_iter().collect();
            obstacles.extend(
                binds(host)
                    .map(|bound| Obstacle::new(ObstacleKind::Passthrough, bound_words(bound, &record.passed_through))),
            );
            let (ready, looked_at) = match self.belief.readiness.of(&record.workload, host, self.now) {
                Ready::Unknown => (None, None),
                Ready::Yes { asked_at } => (Some(true), Some(asked_at)),
                Ready::Lacks { asked_at, obstacles: others } => {
                    obstacles.extend(others.iter().cloned());
                    (Some(false), Some(asked_at))
                }
            };
            let ready = if obstacles.is_empty() { ready } else { Some(false) };
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
