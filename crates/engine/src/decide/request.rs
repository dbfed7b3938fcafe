//! What a workload needs of a host, where its disks and its state can be used, and which hosts are out of question for it.

use super::placing::PlaceFor;
use crate::{
    belief::{Attempt, MoveWhy, Sight, WorkloadRecord},
    engine::Engine,
    place::{Reach, Refusal, Request},
};
use mainstay_model::{
    Cause, DomainState, HostId, HostState, OffReason, Resources, WorkloadId,
    spec::{Ladder, Rung},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

impl Engine {
    /// What a workload needs of a host, and which hosts are out of question for it.
    pub(super) fn request(&self, workload: &WorkloadId, what: &PlaceFor) -> Option<Request> {
        let record = self.belief.workloads.get(workload)?;
        let rule = self.rule(workload)?;
        let mut excluded = BTreeMap::new();
        let mut unready = BTreeMap::new();
        let (mut only, mut back_to) = (None, None);
        let home = self.home(record);
        let mut current = home.clone();
        match what {
            PlaceFor::Recovery { rung: Rung::Relocate, cause } => {
                // What can't leave its host has no other to try.
                // Where it came up and was lost with that host, nothing speaks against it.
                let counts = |attempt: &&Attempt| match attempt.rung {
                    Rung::Relocate => attempt.failed || !cause.is_its_hosts(),
                    rung => attempt.failed && rung == Rung::Restart,
                };
                for attempt in
                    record.attempts.iter().filter(counts).filter(|_| !matches!(self.reach(record), Reach::Host(_)))
                {
                    attempt.host.iter().for_each(|host| {
                        excluded.insert(host.clone(), Refusal::FailedThere);
                    });
                }
                if !cause.is_its_hosts()
                    && let Some(host) = &home
                {
                    excluded.insert(host.clone(), Refusal::ToLeave);
                }
            }
            PlaceFor::Recovery { rung, cause } => {
                // Restart and revert stay on their host while it can take them: the one where it was tried last.
                let tried = (*rung == Rung::Restart)
                    .then(|| tried_last(record, self.recovery(workload).ladder_for(*cause)))
                    .flatten();
                // Where it ran last there is room for it: starting it again changes nothing in the sum.
                let ran = record.host.as_ref();
                let ran = ran.filter(|host| self.serves_again(host, record) && has_its_place(record, host));
                only = match tried {
                    Some(tried) if Some(&tried) != ran => Some(tried).filter(|host| self.takes(host, record)),
                    _ if ran.is_some() => ran.cloned(),
                    _ => home.clone().filter(|host| self.takes(host, record)),
                };
                back_to = only.clone().filter(|only| Some(only) == ran);
            }
            PlaceFor::LiveMove { to: Some(to), .. } => only = Some(to.clone()),
            PlaceFor::GoBack { to } => (only, back_to) = (Some(to.clone()), Some(to.clone())),
            // A restart that an operator asked for.
            PlaceFor::ColdMove { to: Some(to), leave: false } if record.host.as_ref() == Some(to) => {
                (only, back_to) = (Some(to.clone()).filter(|to| self.in_service(to)), Some(to.clone()));
            }
            PlaceFor::ColdMove { to: Some(to), .. } if self.takes(to, record) => only = Some(to.clone()),
            PlaceFor::ColdMove { leave: false, .. } => {}
            PlaceFor::LiveMove { to: None, .. } | PlaceFor::ColdMove { .. } => {
                if let Some(host) = &home {
                    excluded.insert(host.clone(), Refusal::ToLeave);
                }
                current = None;
            }
        }
        // No VM is moved to where it can't start. To bring it back, such a host is better than none: what was seen there may
        // have changed since. An operator who names a host knows what was repaired there.
        let by_name = matches!(what, PlaceFor::LiveMove { to: Some(_), why: MoveWhy::Operator });
        let moves = matches!(what, PlaceFor::LiveMove { .. } | PlaceFor::ColdMove { leave: true, .. });
        if !by_name {
            unready = self.unready(workload);
        }
        if moves {
            excluded.extend(std::mem::take(&mut unready));
        }
        if !matches!(what, PlaceFor::LiveMove { .. }) {
            excluded.extend(self.state_elsewhere(record));
        }
        let failed = record.moving.as_ref().and_then(|moving| match what {
            PlaceFor::LiveMove { to: None, .. } => Some(&moving.not_live_to),
            PlaceFor::ColdMove { .. } => Some(&moving.not_cold_to),
            _ => None,
        });
        excluded.extend(failed.into_iter().flatten().map(|host| (host.clone(), Refusal::FailedThere)));
        excluded.extend(self.namesakes(workload).into_iter().map(|host| (host, Refusal::NameTaken)));
        excluded.extend(self.device_elsewhere(record));
        Some(Request {
            needs: self.needs(record),
            priority: rule.policy.priority,
            rules: rule.policy.hosts.clone(),
            origin: Arc::new(rule.origin.clone()),
            reach: self.reach(record),
            current,
            only,
            back_to,
            excluded,
            unready: unready.into_keys().collect(),
        })
    }

    /// The question "where could it run?", for `explain`.
    pub(crate) fn request_for_survey(&self, record: &WorkloadRecord) -> Option<Request> {
        let what = PlaceFor::Recovery { rung: Rung::Alarm, cause: Cause::HostLost };
        let request = self.request(&record.workload, &what)?;
        let mut excluded = self.unready(&record.workload);
        excluded.extend(self.device_elsewhere(record));
        Some(Request { only: None, back_to: None, excluded, ..request })
    }

    /// True if a workload that ran there may be started there again: the host is in service, or it is to be emptied and this
    /// workload can't leave it.
    fn serves_again(&self, host: &HostId, record: &WorkloadRecord) -> bool {
        let stuck = record.stuck.as_ref().is_some_and(|stuck| stuck.host == *host);
        self.in_service(host) || stuck && self.can_go_back_to(host)
    }

    /// The same for a start, which is bound to a host by state that this host alone has.
    pub(crate) fn request_for_start(&self, record: &WorkloadRecord) -> Option<Request> {
        let mut request = self.request_for_survey(record)?;
        request.excluded.extend(self.state_elsewhere(record));
        request.excluded.extend(self.device_elsewhere(record)); // the more lasting reason
        Some(request)
    }

    /// The host that alone has state without which it may not start elsewhere, and that state. It may move live: then the
    /// state moves along.
    pub(crate) fn bound_by_state(&self, record: &WorkloadRecord) -> Option<(HostId, BTreeSet<HostState>)> {
        if record.leave_state || record.only_here.is_empty() {
            return None;
        }
        let may_leave = &self.rule(&record.workload)?.policy.leave_behind;
        let states: BTreeSet<HostState> = record.only_here.difference(may_leave).copied().collect();
        let home = self.home(record).filter(|_| !states.is_empty())?;
        Some((home, states))
    }

    /// Its host, if that told that it was saved to disk and has not listed since whether its memory lies there only.
    pub(crate) fn may_keep_its_memory(&self, record: &WorkloadRecord) -> Option<HostId> {
        let home = record.host.as_ref()?;
        let seen = self.belief.workload_senses.get(&record.workload)?.seen.get(home)?;
        let listed = self.belief.host_senses.get(home).and_then(|senses| senses.inventory);
        let unlisted =
            seen.state == DomainState::Off(OffReason::Saved) && listed.is_none_or(|asked_at| asked_at <= seen.since);
        (unlisted && self.sight(home) == Sight::Heard).then(|| home.clone())
    }

    /// The hosts on which it may not start for that.
    pub(super) fn state_elsewhere(&self, record: &WorkloadRecord) -> BTreeMap<HostId, Refusal> {
        let Some((bound, states)) = self.bound_by_state(record) else { return BTreeMap::new() };
        let others = self.spec.hosts.keys().filter(|host| **host != bound);
        others.map(|host| (host.clone(), Refusal::StateOn { host: bound.clone(), states: states.clone() })).collect()
    }

    /// The host whose devices are passed through to it, and in whose reach it stays for that.
    pub(crate) fn bound_by_device(&self, record: &WorkloadRecord) -> Option<HostId> {
        match self.reach(record) {
            Reach::Host(home) if !record.passed_through.is_empty() => Some(home),
            _ => None,
        }
    }

    /// The hosts that don't have those devices. Its reach ends before them anyway: this is the reason that people read.
    fn device_elsewhere(&self, record: &WorkloadRecord) -> BTreeMap<HostId, Refusal> {
        let Some(home) = self.bound_by_device(record) else { return BTreeMap::new() };
        let refusal = Refusal::DeviceOn { host: home.clone(), devices: record.passed_through.clone() };
        let others = self.spec.hosts.keys().filter(|host| **host != home);
        others.map(|host| (host.clone(), refusal.clone())).collect()
    }

    pub(crate) fn needs(&self, record: &WorkloadRecord) -> Resources {
        let memory = self.rule(&record.workload).and_then(|rule| rule.policy.memory_mib);
        Resources { memory_mib: memory.unwrap_or(record.needs.memory_mib), ..record.needs }
    }

    /// True if the host can use the workload's disks.
    pub(crate) fn reaches(&self, host: &HostId, record: &WorkloadRecord) -> bool {
        match self.reach(record) {
            Reach::Host(home) => home == *host,
            Reach::Site(site) => self.host_spec(host).is_some_and(|spec| spec.site == site),
        }
    }

    /// Where it runs or ran; what never ran in our sight is where it is defined.
    pub(crate) fn home(&self, record: &WorkloadRecord) -> Option<HostId> {
        let defined_on = || self.belief.workload_senses.get(&record.workload)?.seen.keys().next().cloned();
        record.host.clone().or_else(defined_on)
    }

    /// From where the workload's disks can be used.
    fn reach(&self, record: &WorkloadRecord) -> Reach {
        let home = record.host.clone().or_else(|| record.left.first().cloned()).or_else(|| self.home(record));
        let Some(home) = home else { return Reach::Host(HostId::from("nowhere")) };
        // A host that is out of the configuration has no site any more; where there is only one, it was that.
        let only_site = || self.spec.sites.keys().next().filter(|_| self.spec.sites.len() == 1).cloned();
        let site = self.host_spec(&home).map(|spec| spec.site.clone()).or_else(only_site);
        match site {
            Some(site) if record.movable && self.spec.sites.get(&site).is_some_and(|site| site.shared_storage) => {
                Reach::Site(site)
            }
            _ => Reach::Host(home),
        }
    }
}

/// Where the last attempt of the present trouble was made, if the ladder restarts again after it went elsewhere.
fn tried_last(record: &WorkloadRecord, ladder: &Ladder) -> Option<HostId> {
    let since = record.trouble.as_ref()?.since;
    let mut after = ladder.iter().skip_while(|step| step.rung != Rung::Relocate);
    after.find(|step| step.rung == Rung::Restart)?;
    record.attempts.last().filter(|attempt| attempt.at >= since)?.host.clone()
}

/// False if its last try that did not fail was on another host, where it may have run unseen: meanwhile its place on the one where
/// it ran before was free for others (scenario 477).
pub(super) fn has_its_place(record: &WorkloadRecord, host: &HostId) -> bool {
    let mut tries = record.attempts.iter().rev().filter(|it| !it.failed);
    let last = tries.find_map(|it| Some((it.host.as_ref()?, it.ran)));
    // Tries of long ago are forgotten, not that it left and was to start elsewhere (scenario 957).
    let left_for_another = record.left.contains(host) && record.left.len() > 1;
    last.map_or(!left_for_another, |(there, ran)| ran || there == host)
}
