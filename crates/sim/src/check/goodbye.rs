//! Hosts that were shut down in good order, as the controller was told of it: guests that ended in a row that leads up to
//! the end of their host's connection. A person's stop among them can't be told from the host's doing, so a start of such
//! a guest is not held against the controller.

use mainstay_model::{DomainChange, DomainState, Fact, HostId, OffReason, Span, Time, WorkloadId};
use std::collections::BTreeMap;

/// No end in the row is further than this from the next, nor the last from the end of the connection.
const IN_A_ROW: Span = Span::secs(30);

#[derive(Default)]
pub(super) struct Goodbyes {
    /// When guests were told to have ended by themselves, oldest first, since the last end of their host's connection.
    ended: BTreeMap<HostId, Vec<(Time, WorkloadId)>>,
    /// Of each guest the last such end.
    last: BTreeMap<WorkloadId, Time>,
    /// And the last one that was in a row before the end of a connection, with its host.
    went: BTreeMap<WorkloadId, (Time, HostId)>,
    /// When each host truly lost its power last.
    down: BTreeMap<HostId, Time>,
}

impl Goodbyes {
    /// The controller is told.
    pub fn told(&mut self, fact: &Fact, now: Time) {
        match fact {
            Fact::Domain {
                host,
                workload,
                change: DomainChange::State(DomainState::Off(OffReason::Shutdown | OffReason::Saved)),
            } => {
                self.ended.entry(host.clone()).or_default().push((now, workload.clone()));
                self.last.insert(workload.clone(), now);
            }
            Fact::HostSilent { host, closed: true, .. } => {
                let mut next = now;
                for (at, workload) in self.ended.remove(host).unwrap_or_default().into_iter().rev() {
                    if next.since(at) > IN_A_ROW {
                        break;
                    }
                    next = at;
                    let went = self.went.entry(workload).or_insert((at, host.clone()));
                    *went = (at, host.clone()).max(went.clone());
                }
            }
            _ => {}
        }
    }

    /// A host truly lost its power.
    pub fn power_lost(&mut self, host: &HostId, now: Time) {
        self.down.insert(host.clone(), now);
    }

    /// True if the workload's last end may have been its host's doing: the host did go down after it.
    pub fn took(&self, workload: &WorkloadId) -> bool {
        self.went.get(workload).is_some_and(|(at, host)| {
            self.last.get(workload) == Some(at) && self.down.get(host).is_some_and(|down| down >= at)
        })
    }
}
