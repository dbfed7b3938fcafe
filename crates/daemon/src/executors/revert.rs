//! Bring a workload back to a recovery point, and start it. The broken state is kept aside first, if it is wanted and
//! there is space.

use super::{
    failure, point, start, stop,
    task::{Act, Task},
};
use crate::pump::with_causes;
use mainstay_libvirt::{
    DomainRef,
    domain::snapshot::{DeleteFlags, NewSnapshot, RevertFlags, Snapshot, SnapshotKind},
};
use mainstay_model::{Detail, DomainState, FailureKind, Outcome, PointId, Proof, WorkloadId};

/// Names of snapshots that hold a broken state begin so. Only the newest is kept.
const BROKEN: &str = "broken-";

pub(super) async fn revert(task: &Task<'_>, workload: &WorkloadId, wanted: &PointId, keep_broken: bool) -> Act {
    let (domain, _) = task.ready(workload).await?;
    let missing = || Outcome::failed(FailureKind::NotThere, format!("{workload} has no snapshot {wanted} here"));
    let snapshot = point::find(task, &domain, wanted).await?.ok_or_else(missing)?;
    let _changing = task.begin_change(workload, &format!("it was being brought back to {wanted}")).await?;
    if task.state(&domain).await?.is_live() {
        stop::destroy(task, &domain).await?;
    }
    let at = task.tools.clock.now();
    if snapshot.is_external() {
        let suffix = format!("{wanted}-{}", at.0);
        let reverted = match task.connection.revert_external(&domain, &snapshot, &suffix, task.left()).await {
            Ok(reverted) => reverted,
            Err(error) => return Err(failure::of_start(task, &domain, error).await),
        };
        task.capture(workload, &domain).await?;
        start::start(task, workload).await?;
        if !keep_broken {
            let left = reverted.iter().map(|disk| disk.left_aside.as_str());
            delete_unused(task, &domain, left).await;
        }
    } else {
        if keep_broken {
            keep_aside(task, &domain, &format!("{BROKEN}{}", at.0)).await;
        }
        if let Err(error) = task.connection.revert(&snapshot.reference, RevertFlags::RUNNING, task.left()).await {
            return Err(failure::of_start(task, &domain, error).await);
        }
    }
    task.capture_done(workload, &domain).await?;
    match task.connection.domain_state(&domain, task.short()).await.map(crate::sensors::state) {
        Ok(DomainState::Running) => Ok(Detail::None),
        Ok(state) if state.is_live() => Err(Outcome::unknown(format!("{workload} was brought back, but is {state}"))),
        Ok(state) => {
            let why = format!("{workload} was brought back, but is {state}");
            Err(Outcome::failed_with(FailureKind::Other, why, Proof::Off))
        }
        Err(error) => Err(failure::during(error)),
    }
}

/// Keeps the disks as they are in a snapshot of the domain that is off. Without space the revert goes on without.
async fn keep_aside(task: &Task<'_>, domain: &DomainRef, name: &str) {
    let new = NewSnapshot {
        name: name.to_owned(),
        description: "the state before Mainstay brought it back to a recovery point".to_owned(),
        kind: SnapshotKind::Internal,
    };
    match task.connection.create_snapshot(domain, &new, task.left() / 2).await {
        Ok(_) => delete_older(task, domain, name).await,
        Err(error) => tracing::warn!(%domain, error = with_causes(&error), "its broken state could not be kept aside"),
    }
}

async fn delete_older(task: &Task<'_>, domain: &DomainRef, newest: &str) {
    let snapshots = task.connection.list_snapshots(domain, task.short()).await.unwrap_or_default();
    let name = |snapshot: &Snapshot| snapshot.reference.name.clone();
    for old in snapshots.iter().filter(|one| name(one).starts_with(BROKEN) && name(one) != newest) {
        if let Err(error) = task.connection.delete_snapshot(&old.reference, DeleteFlags::NONE, task.left()).await {
            tracing::warn!(%domain, snapshot = name(old), %error, "an older broken state could not be deleted");
        }
    }
}

/// Deletes images that the workload no longer uses, unless a snapshot holds them.
async fn delete_unused(task: &Task<'_>, domain: &DomainRef, images: impl Iterator<Item = &str>) {
    let Ok(snapshots) = task.connection.list_snapshots(domain, task.short()).await else { return };
    let frozen = |image: &str| {
        snapshots
            .iter()
            .flat_map(|snapshot| &snapshot.disks)
            .any(|disk| disk.frozen.as_ref().is_some_and(|frozen| frozen.file == image))
    };
    for image in images.filter(|image| !frozen(image)) {
        if let Err(error) = task.connection.delete_image(image, task.short()).await {
            tracing::warn!(%domain, image, %error, "an image that is no longer used could not be deleted");
        }
    }
}
