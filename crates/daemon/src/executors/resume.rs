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
    // A disk that still fails pauses it again within milliseconds.
    match task.state(&domain).await {
        Ok(DomainState::Running) => Ok(Detail::None),
        Ok(state) => Err(Outcome::failed(FailureKind::Other, format!("{workload} was resumed, and is {state} again"))),
        Err(_) => Err(Outcome::unknown("it was resumed, but its state can't be asked")),
    }
}
