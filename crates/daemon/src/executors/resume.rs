//! Let a paused workload go on, and wake one that is asleep.

use super::{
    failure,
    task::{Act, Task},
};
use mainstay_libvirt::DomainRef;
use mainstay_model::{Detail, DomainState, FailureKind, Outcome, PauseReason, WorkloadId};
use std::time::Duration;

/// Between two looks at a guest that wakes up.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Before the deadline the answer must be there.
const MARGIN: Duration = Duration::from_millis(500);

pub(super) async fn resume(task: &Task<'_>, workload: &WorkloadId) -> Act {
    let domain = task.expect(workload).await?;
    match task.state(&domain).await? {
        DomainState::Running => return Ok(Detail::None),
        DomainState::Paused(PauseReason::Asleep) => {
            task.connection.wake_up(&domain, task.left()).await.map_err(failure::during)?;
            return wait_until_awake(task, workload, &domain).await;
        }
        DomainState::Paused(_) => {}
        state => return Err(Outcome::failed(FailureKind::NotThere, format!("{workload} is {state}"))),
    }
    task.connection.resume(&domain, task.left()).await.map_err(failure::during)?;
    // A disk that still fails pauses it again within milliseconds.
    match task.state(&domain).await {
        Ok(DomainState::Running) => Ok(Detail::None),
        Ok(state) => Err(Outcome::failed(FailureKind::Other, format!("{workload} was resumed, and is {state} again"))),
        Err(_) => Err(Outcome::unknown("it was resumed, but its state can't be asked")),
    }
}

async fn wait_until_awake(task: &Task<'_>, workload: &WorkloadId, domain: &DomainRef) -> Act {
    while task.left() > MARGIN {
        if task.state(domain).await? == DomainState::Running {
            return Ok(Detail::None);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Err(Outcome::failed(FailureKind::Other, format!("{workload} was woken, and sleeps on")))
}
