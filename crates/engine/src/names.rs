//! A workload is known by its name, and two hosts may each have a VM of one name. Only one of them is the workload: what
//! another host has under that name, with another uuid, is a namesake. Nothing that is seen of a namesake is believed of
//! the workload, nothing is ever done to it, and where it is the workload can't go: its name is taken there.
//!
//! The other way round, one VM may be known by two names: it was renamed. While it may run under one, it is not started under
//! the other.

use crate::{belief::WorkloadRecord, engine::Engine};
use mainstay_model::{DomainSeen, EventKind, HostId, Severity, Subject, WorkloadId};
use std::collections::BTreeSet;

impl Engine {
    /// True if the one that ran there was ended and removed: another VM, which is off, has its name now. The end of the one says nothing
    /// about the other (scenario 951).
    pub(crate) fn was_replaced(&self, workload: &WorkloadId, host: &HostId, domain: &DomainSeen) -> bool {
        let record = self.belief.workloads.get(workload);
        let is_new = record.is_some_and(|record| record.uuid != domain.uuid && record.host.as_ref() == Some(host));
        is_new && !domain.state.is_live() && self.seen_live(workload, host)
    }

    /// True if what a host has under the workload's name is another VM. One that was made anew where the workload was, and
    /// that nobody else has, takes its place.
    pub(crate) fn is_another(&mut self, workload: &WorkloadId, host: &HostId, uuid: &str) -> bool {
        let Some(record) = self.belief.workloads.get(workload).filter(|record| record.uuid != uuid) else {
            return false;
        };
        let at_home = record.host.as_ref().is_none_or(|home| home == host);
        let seen = self.belief.workload_senses.get(workload).into_iter().flat_map(|senses| senses.seen.keys());
        if !at_home || record.may_run_on.iter().chain(seen).any(|other| other != host) {
            return true;
        }
        self.belief.workloads.get_mut(workload).expect("looked up above").uuid = uuid.to_owned();
        self.belief.has_uuid(workload, uuid);
        let text = format!("was made anew on {host}: it has another uuid now");
        self.note(EventKind::Seen, Severity::Green, Subject::Workload(workload.clone()), text);
        false
    }

    pub(crate) fn is_namesake(&self, workload: &WorkloadId, host: &HostId) -> bool {
        self.belief.workload_senses.get(workload).is_some_and(|senses| senses.namesakes.contains(host))
    }

    pub(crate) fn namesake(&mut self, workload: &WorkloadId, host: &HostId) {
        if self.belief.workload_senses.entry(workload.clone()).or_default().namesakes.insert(host.clone()) {
            let text = format!("another VM of this name is on {host}; it is not this one, and is left alone");
            self.note(EventKind::Seen, Severity::Yellow, Subject::Workload(workload.clone()), text);
            self.agenda.touch(workload);
        }
    }

    pub(crate) fn no_namesake(&mut self, workload: &WorkloadId, host: &HostId) {
        let senses = self.belief.workload_senses.get_mut(workload);
        if senses.is_some_and(|senses| senses.namesakes.remove(host)) {
            self.agenda.touch(workload);
            self.agenda.stir();
        }
    }

    /// Hosts on which the workload's name is taken.
    pub(crate) fn namesakes(&self, workload: &WorkloadId) -> BTreeSet<HostId> {
        self.belief.workload_senses.get(workload).map(|senses| senses.namesakes.clone()).unwrap_or_default()
    }

    /// The name and a host under which the same VM may run, if it has another name too: it was renamed, and the memory that was
    /// put back does not know that. It is not started a second time.
    pub(crate) fn runs_under_another_name(&self, workload: &WorkloadId) -> Option<(WorkloadId, HostId)> {
        let record = self.belief.workloads.get(workload)?;
        let mut others = self.belief.other_names(record);
        others.find_map(|other| Some((other.workload.clone(), other.may_run_on.first()?.clone())))
    }

    /// The hosts on which one workload executes, if these are several and that is certain: each has listed it, and none
    /// holds it still for a migration that somebody else makes.
    pub(crate) fn runs_twice<'a>(&self, record: &'a WorkloadRecord) -> Option<Vec<&'a HostId>> {
        let certain = |host: &&HostId| {
            let listed =
                self.belief.host_senses.get(*host).is_some_and(|senses| senses.listed.contains_key(&record.workload));
            let seen = self.belief.workload_senses.get(&record.workload).and_then(|senses| senses.seen.get(*host));
            listed && seen.is_some_and(|seen| seen.state.is_live() && !seen.state.is_held())
        };
        let hosts: Vec<&HostId> = record.may_run_on.iter().filter(certain).collect();
        (hosts.len() > 1).then_some(hosts)
    }
}
