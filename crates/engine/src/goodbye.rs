//! A host that its owner shuts down in good order, with its guests: it ends them (libvirt-guests asks each to shut down, or
//! saves it), closes its connections, and falls silent. To the hypervisor's events each of these guests was stopped by a
//! person; but nobody wanted them off.
//!
//! ```text
//!   guests end by themselves ──▶ connection closed, most or all are off ──▶ silent on every channel: they went with it
//!          ≤ GOES_WITH apart                    ≤ FALLS_SILENT_WITHIN
//! ```
//!
//! All of this must be seen, in this order, or else each stop counts as a person's: better an alarm too many than a guest
//! started that somebody wanted off. One thing can't be told apart: a person's own stop, moments before the same host is
//! shut down. Whoever wants to be sure says `mainstay vm stop`, or destroys it; those never count as the host's doing.

use crate::{
    belief::{HostPhase, StoppedHow, Want},
    engine::Engine,
    explain::{Doing, WaitingOn},
};
use mainstay_model::{Cause, EventKind, HostId, Severity, Span, Subject, Time, WorkloadId, spec::HostShutdown};

/// Guests that end in a row, none later than this after the one before it, and the connection no later after the last.
const GOES_WITH: Span = Span::secs(30);
/// From the end of its management until a host that shuts down is silent altogether.
const FALLS_SILENT_WITHIN: Span = Span::minutes(2);

impl Engine {
    /// The host's management closed the connection itself.
    pub(crate) fn host_closed(&mut self, host: &HostId) {
        // A guest that hangs does not shut down, and is killed in the end; the others went in good order all the same.
        let running = self.belief.on_host(host).count();
        let in_order = running == 0 || self.went_with(host, self.now).len() > running;
        let Some(record) = self.belief.hosts.get(host) else { return };
        let in_use = matches!(record.phase, HostPhase::Online | HostPhase::Returning);
        if in_order
            && in_use
            && record.closed_at.is_none()
            && let Some(record) = self.belief.hosts.get_mut(host)
        {
            record.closed_at = Some(self.now);
        }
    }

    /// Its management answers although the host was not lost: it was only restarted.
    pub(crate) fn host_speaks(&mut self, host: &HostId) {
        let Some(record) = self.belief.hosts.get(host) else { return };
        let in_use = matches!(record.phase, HostPhase::Online | HostPhase::Returning);
        if in_use
            && record.closed_at.is_some()
            && let Some(record) = self.belief.hosts.get_mut(host)
        {
            record.closed_at = None;
        }
    }

    /// The host was shut down in good order, and nothing runs there any more.
    pub(crate) fn said_goodbye(&self, host: &HostId) -> bool {
        self.belief.hosts.get(host).is_some_and(|record| record.closed_at.is_some())
            && self.belief.on_host(host).next().is_none()
    }

    /// The host is lost: if it was shut down in good order, its guests went with it.
    pub(crate) fn took_its_guests(&mut self, host: &HostId) {
        let Some(closed_at) = self.belief.hosts.get(host).and_then(|record| record.closed_at) else { return };
        let heard = self.belief.host_senses.get(host).and_then(|senses| senses.heard()).unwrap_or(closed_at);
        if heard.since(closed_at) > FALLS_SILENT_WITHIN {
            if let Some(record) = self.belief.hosts.get_mut(host) {
                record.closed_at = None; // it lived on without its management: no shutdown
            }
            return;
        }
        let went = self.went_with(host, closed_at);
        let subject = Subject::Host(host.clone());
        let text = match went.len() {
            0 => "it was shut down in good order".to_owned(),
            1 => "it was shut down in good order, and one workload with it".to_owned(),
            count => format!("it was shut down in good order, and {count} workloads with it"),
        };
        self.note(EventKind::Believed, Severity::Yellow, subject, text);
        for (workload, at) in went {
            let home_counts = self.home_counts(&workload);
            let record = self.belief.workloads.get_mut(&workload).expect("found a moment ago");
            record.want = Want::Running;
            record.left.insert(host.clone());
            if home_counts {
                record.came_from.get_or_insert_with(|| host.clone());
            }
            self.join_incident(&workload, host, at); // first, or its trouble opens an incident of its own
            self.trouble_since(&workload, Cause::HostShutdown, at);
        }
    }

    /// Managed workloads that ended by themselves in a row that leads up to the end of their host's management.
    fn went_with(&self, host: &HostId, closed_at: Time) -> Vec<(WorkloadId, Time)> {
        let stopped = self.belief.workloads.values().filter(|record| record.host.as_ref() == Some(host));
        let mut ended: Vec<(Time, &WorkloadId)> = stopped
            .filter(|record| record.may_run_on.is_empty() && self.manages(&record.workload))
            .filter_map(|record| match record.want {
                Want::Stopped { at, how: StoppedHow::Shutdown | StoppedHow::Saved } => Some((at, &record.workload)),
                _ => None,
            })
            .filter(|(at, _)| *at <= closed_at)
            .collect();
        ended.sort();
        let mut next = closed_at;
        let in_a_row = ended.into_iter().rev().take_while(|(at, _)| {
            let near = next.since(*at) <= GOES_WITH;
            next = *at;
            near
        });
        in_a_row.map(|(at, workload)| (workload.clone(), at)).collect()
    }

    /// What a workload that was shut down with its host waits for, if its policy says so.
    pub(crate) fn waits_for_its_host(&self, workload: &WorkloadId) -> Option<Doing> {
        let record = self.belief.workloads.get(workload)?;
        let (host, trouble) = (record.host.as_ref()?, record.trouble.as_ref()?);
        let policy = &self.rule(workload)?.policy;
        if trouble.cause != Cause::HostShutdown || self.in_service(host) || self.host_spec(host).is_none() {
            return None;
        }
        let until = match policy.on_host_shutdown {
            HostShutdown::RestartElsewhere => return None,
            HostShutdown::Wait => None,
            HostShutdown::Conditional => Some(trouble.since + policy.host_back_within),
        };
        let waits = until.is_none_or(|until| until > self.now);
        waits.then(|| Doing::Waiting { on: WaitingOn::HostBack { host: host.clone() }, until })
    }
}
