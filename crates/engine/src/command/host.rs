//! What an operator can ask of a host: say that it is off, fence it, take it out of service, or balance all of them.

use super::{accepted, nothing, refused};
use crate::{
    belief::{HostPhase, Maintenance, OffProof, Sight},
    engine::Engine,
};
use mainstay_model::{Action, HostId, Reply, Subject, WorkloadId};

impl Engine {
    fn known_host(&self, host: &HostId) -> Result<&HostPhase, Reply> {
        match self.belief.hosts.get(host) {
            Some(record) => Ok(&record.phase),
            None => Err(refused(format!("there is no host {host}; see: mainstay host list"))),
        }
    }

    pub(super) fn confirm_off(&mut self, host: &HostId) -> Reply {
        match self.known_host(host) {
            Err(reply) => return reply,
            Ok(HostPhase::Off { .. }) => return nothing(format!("{host} is known to be off")),
            Ok(_) => {}
        }
        if !matches!(self.sight(host), Sight::Silent | Sight::Suspect | Sight::Unknown) {
            return refused(format!(
                "{host} answers, so it is not off; fence it (mainstay host fence {host}) or switch it off first"
            ));
        }
        if !self.listened_to(host) {
            return refused(format!(
                "{host} was not listened to for long enough: the controller began a moment ago; try again in a few seconds"
            ));
        }
        self.commanded(Subject::Host(host.clone()), "a person confirmed that it is off");
        self.proved_off(host, OffProof::Person);
        accepted(format!("{host} counts as off; its workloads start elsewhere"))
    }

    /// True if the host's silence tells something: it was lost before, is not watched at all, or was listened to for long.
    fn listened_to(&self, host: &HostId) -> bool {
        let lost = matches!(self.belief.hosts.get(host).map(|record| &record.phase), Some(HostPhase::Lost { .. }));
        let since = self.belief.host_senses.get(host).map_or(self.now, |senses| senses.watched_since);
        let long = self.now.since(since) >= self.spec.detection.host_lost_after;
        lost || long || self.host_spec(host).is_none() || self.sight(host) != Sight::Unknown
    }

    pub(super) fn fence_now(&mut self, host: &HostId) -> Reply {
        if let Err(reply) = self.known_host(host) {
            return reply;
        }
        if self.host_spec(host).is_none_or(|spec| spec.fence.is_empty()) {
            return refused(format!(
                "{host} has no fence device; switch it off by hand, then: mainstay host confirm-off {host}"
            ));
        }
        if self.belief.cut_off {
            return refused("the controller seems cut off from most hosts, and acts on nothing");
        }
        if self.host_health(host) == crate::health::HostHealth::Fencing {
            return nothing(format!("{host} is being fenced already"));
        }
        self.commanded(Subject::Host(host.clone()), "a person asked to fence it");
        let heard = self.belief.host_senses.get(host).and_then(|senses| senses.heard()).unwrap_or(self.now);
        let now = self.now;
        let record = self.belief.hosts.get_mut(host).expect("checked above");
        record.phase = HostPhase::Lost { level: 0, try_at: now, exhausted: false, power: None };
        (record.fence_asked, record.fence_begun) = (true, true);
        (record.since, record.cycle) = (now, false);
        if let Some(senses) = self.belief.host_senses.get_mut(host) {
            senses.inventory = None;
        }
        self.open_incident(Subject::Host(host.clone()), mainstay_model::IncidentCause::HostLost, heard);
        let workloads: Vec<WorkloadId> = self.belief.on_host(host).cloned().collect();
        for workload in &workloads {
            self.join_incident(workload, host, heard);
            self.agenda.touch(workload);
        }
        self.order(
            Action::Fence { host: host.clone(), level: 0 },
            mainstay_model::Span::minutes(2),
            crate::belief::Purpose::Life,
        );
        accepted(format!("{host} is being fenced; {} workloads are on it", workloads.len()))
    }

    /// A test of the fence devices by what they are for: the host is fenced, and then powered on whatever the policy is.
    pub(super) fn cycle_now(&mut self, host: &HostId, busy: bool) -> Reply {
        let count = self.belief.on_host(host).count();
        if count > 0 && !busy {
            return refused(format!(
                "{count} workloads may run on {host}, and would lose their power; empty it first: mainstay host maintenance {host} on"
            ));
        }
        let reply = self.fence_now(host);
        if let (Reply::Accepted { .. }, Some(record)) = (&reply, self.belief.hosts.get_mut(host)) {
            record.cycle = true;
            return accepted(format!("{host} is being fenced, and powered on again"));
        }
        reply
    }

    pub(super) fn maintenance(&mut self, host: &HostId, on: bool) -> Reply {
        if let Err(reply) = self.known_host(host) {
            return reply;
        }
        let in_maintenance = self.belief.hosts.get(host).is_some_and(|record| record.maintenance.is_some());
        match (on, in_maintenance) {
            (true, true) => nothing(format!("{host} is in maintenance already")),
            (false, false) => nothing(format!("{host} is not in maintenance")),
            (true, false) => {
                let left = self.belief.on_host(host).filter(|workload| self.manages(workload)).count();
                self.set_maintenance(host, Some(Maintenance { since: self.now, by_window: false }));
                accepted(format!("{host} goes into maintenance; {left} workloads leave it"))
            }
            (false, true) => {
                self.set_maintenance(host, None);
                accepted(format!("{host} is taken back into service"))
            }
        }
    }

    pub(super) fn rebalance_now(&mut self) -> Reply {
        if self.belief.cut_off {
            return refused("the controller seems cut off from most hosts, and acts on nothing");
        }
        let proposal = self.balance_now();
        if proposal.moves.is_empty() { nothing(proposal.to_string()) } else { accepted(proposal.to_string()) }
    }

    // ---- workloads ------------------------------------------------------------------------------------------------
}
