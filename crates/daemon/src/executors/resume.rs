//! Let a paused workload go on.

use super::{
    failure,
    task::{Act, Task},
};
use mainstay_model::{Detail, DomainState, FailureKind, Outcome, WorkloadId};

pub(super) async fn resume(task: &Task<'_>, workload: &WorkloadId) -> Act {
    let domain = task.expect(workload).await?;
    match task.state(&domain).await? {
        DomainState::Running => return Ok(Detail::None),
        DomainState::Paused(_) => {}
        state => return Err(Outcome::failed(FailureKind::NotThere, format!("{workload} is {state}"))),
    }
    task.connection.resume(&domain, task.left()).await.map_err(failure::during)?;
    match task.connection.domain_state(&domain, task.short()).await.map_err(failure::during)?.is_active() {
        true => Ok(Detail::None),
        false => Err(Outcome::failed(FailureKind::Other, format!("{workload} went off when it was resumed"))),
    }
}
