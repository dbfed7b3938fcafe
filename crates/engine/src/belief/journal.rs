//! What the journal keeps of orders that ended: exactly what a later question reads, however many orders there are.
//!
//! [`crate::whose`] asks for the newest orders that started or stopped a workload at a host. These stay until newer ones
//! take their place, so the journal grows with workloads and hosts, and not with the load. Every other order leaves the
//! journal when it ends: recovery points, pictures, fencing. The events tell people about those.

use super::OrderRecord;
use mainstay_model::{Action, ActionId, HostId, Outcome, StopHow};
use std::collections::BTreeMap;

/// No question looks further back than this many orders of one workload at one host, whatever they were.
const NEWEST_READ: usize = 2;
/// Orders kept of one workload, on all hosts together.
const MOST_OF_WORKLOAD: usize = 64;

/// What is kept of one workload at one host so far, from the newest order on.
#[derive(Default)]
struct Kept {
    newest: usize,
    /// The newest order that ends a workload.
    end: bool,
    /// The newest of each kind whose outcome is unknown: it may still be carried out.
    shutdown_in_doubt: bool,
    destroy_in_doubt: bool,
}

impl Kept {
    /// True if a later question may read this order, which is older than all that were asked about before.
    fn needs(&mut self, record: &OrderRecord) -> bool {
        self.newest += 1;
        let mut needed = self.newest <= NEWEST_READ;
        let Some((_, outcome)) = &record.ended else { return true };
        let in_doubt = match &record.order.action {
            Action::Stop { how: StopHow::Graceful, .. } => &mut self.shutdown_in_doubt,
            _ if record.may_force() => &mut self.destroy_in_doubt, // a revert of what is off ends nothing (scenario 846)
            _ => return needed,
        };
        if matches!(outcome, Outcome::Unknown { .. }) {
            needed |= !std::mem::replace(in_doubt, true);
        }
        needed | !std::mem::replace(&mut self.end, true)
    }
}

/// The orders of one workload, newest first, that no later question reads.
pub(super) fn superseded<'a>(newest_first: impl Iterator<Item = &'a OrderRecord>) -> Vec<ActionId> {
    let mut kept: BTreeMap<&HostId, Kept> = BTreeMap::new();
    let mut count = 0;
    let mut surplus = Vec::new();
    for record in newest_first {
        let Some(host) = record.acts_at() else { continue };
        let needed = kept.entry(host).or_default().needs(record);
        if needed && (count < MOST_OF_WORKLOAD || record.ended.is_none()) {
            count += 1;
        } else {
            surplus.push(record.order.id);
        }
    }
    surplus
}
