//! Stop a workload, kindly or by force. One that is off, or not here, is stopped.

use super::{
    failure,
    task::{Act, Task},
};
use mainstay_libvirt::{
    DomainRef,
    domain::power::{DestroyFlags, ShutdownFlags},
};
use mainstay_model::{Detail, FailureKind, Outcome, StopHow, WorkloadId};
use std::time::Duration;

/// Between two looks whether the guest has shut down; the event goes to the sensors.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Before the deadline the answer must be there: that it still runs is certain, not unknown.
const MARGIN: Duration = Duration::from_millis(500);

pub(super) async fn stop(task: &Task<'_>, workload: &WorkloadId, how: StopHow) -> Act {
    let Some(domain) = task.find(workload).await? else { return Ok(Detail::None) };
    if !task.state(&domain).await?.is_live() {
        return Ok(Detail::None);
    }
    match how {
        StopHow::Graceful => shut_down(task, workload, &domain).await,
        StopHow::Force => destroy(task, &domain).await.map(|()| Detail::None),
    }
}

/// Pulls the plug, and proves it.
pub(super) async fn destroy(task: &Task<'_>, domain: &DomainRef) -> Result<(), Outcome> {
    match task.connection.destroy(domain, DestroyFlags::NONE, task.left()).await {
        Ok(()) => {}
        // Off meanwhile; a transient domain is gone with that.
        Err(error) if failure::is_state_conflict(&error) || error.is(mainstay_libvirt::ErrorCode::NO_DOMAIN) => {}
        Err(error) => return Err(failure::during(error)),
    }
    if is_off(task, domain).await? {
        Ok(())
    } else {
        Err(Outcome::unknown("it was destroyed, but runs: someone started it again?"))
    }
}

async fn shut_down(task: &Task<'_>, workload: &WorkloadId, domain: &DomainRef) -> Act {
    match task.connection.shut_down(domain, ShutdownFlags::NONE, task.short()).await {
        Ok(()) => {}
        Err(error) if failure::is_state_conflict(&error) && is_off(task, domain).await? => return Ok(Detail::None),
        Err(error) => return Err(failure::during(error)),
    }
    while task.left() > MARGIN {
        tokio::time::sleep(LOOK_EVERY).await;
        if is_off(task, domain).await? {
            return Ok(Detail::None);
        }
    }
    Err(Outcome::failed(FailureKind::Other, format!("{workload} was asked to shut down, and still runs")))
}

async fn is_off(task: &Task<'_>, domain: &DomainRef) -> Result<bool, Outcome> {
    let found = task.connection.find_domain_by_uuid(domain.uuid, task.short()).await.map_err(failure::during)?;
    match found {
        Some(domain) => {
            let state = task.connection.domain_state(&domain, task.short()).await.map_err(failure::during)?;
            Ok(!state.is_active())
        }
        None => Ok(true),
    }
}
