//! Start a workload from its disk: where it was, or on a host that never heard of it.

use super::{
    failure,
    task::{Act, Task},
};
use mainstay_libvirt::domain::power::{DestroyFlags, StartFlags};
use mainstay_model::{Detail, DomainState, FailureKind, Outcome, PauseReason, Proof, WorkloadId};
use std::time::Duration;

/// Between two looks at a domain that is being started, snapshotted or migrated already.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Before the deadline the answer must be there.
const MARGIN: Duration = Duration::from_millis(500);

pub(super) async fn start(task: &Task<'_>, workload: &WorkloadId) -> Act {
    let (domain, elsewhere) = task.ready(workload).await?;
    let mut state = task.state(&domain).await?;
    while state == DomainState::Paused(PauseReason::Busy) && task.left() > MARGIN {
        tokio::time::sleep(LOOK_EVERY).await;
        state = task.state(&domain).await?;
    }
    match state {
        DomainState::Running => return Ok(Detail::None),
        DomainState::Paused(_) => {
            let why = format!("{workload} is paused on {}; resume it, or stop it first", task.link.host);
            return Err(Outcome::failed_with(FailureKind::Other, why, Proof::There));
        }
        // It does not execute, and what it holds in memory is of no more use than a picture.
        DomainState::Panicked => {
            let destroyed = task.connection.destroy(&domain, DestroyFlags::NONE, task.left()).await;
            destroyed.map_err(failure::during)?;
        }
        DomainState::Off(_) => {}
    }
    // Memory saved on this host is older than what the disk has lived through since, here or elsewhere.
    let stale = elsewhere || task.tools.memory.stale_saves(workload).contains(&task.link.host);
    let flags = if stale { StartFlags::FORCE_BOOT } else { StartFlags::NONE };
    task.tools.still_our_term().await?;
    match task.connection.start(&domain, flags, task.left()).await {
        Ok(_) => {}
        Err(error) if failure::is_state_conflict(&error) => {}
        Err(error) => return Err(failure::of_start(task, &domain, error).await),
    }
    match task.state(&domain).await {
        Ok(DomainState::Running) => Ok(Detail::None),
        // It may go on at any moment: that is not "certainly not done".
        Ok(state) if state.is_live() => Err(Outcome::unknown(format!("{workload} was started, but is {state}"))),
        Ok(state) => {
            let why = format!("{workload} was started, but is {state}");
            Err(Outcome::failed_with(FailureKind::Other, why, Proof::Off))
        }
        Err(_) => Err(Outcome::unknown("it was started, but its state can't be asked")),
    }
}
