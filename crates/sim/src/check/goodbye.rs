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
    /// And the last one that was in a row before the end of a connection.
    went: BTreeMap<WorkloadId, Time>,
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
                    let went = self.went.entry(workload).or_insert(at);
                    *went = at.max(*went);
                }
            }
            _ => {}
        }
    }

    /// True if the workload's last end may have been its host's doing.
    pub fn took(&self, workload: &WorkloadId) -> bool {
        self.went.get(workload).is_some_and(|went| self.last.get(workload) == Some(went))
    }
}
