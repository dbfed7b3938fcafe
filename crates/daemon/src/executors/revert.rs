//! Bring a workload back to a recovery point, and start it. The broken state is kept aside first, if it is wanted and
//! there is space.

use super::{
    failure, point, start, stop,
    task::{Act, Task},
};
use crate::pump::with_causes;
use mainstay_libvirt::{
    DomainRef,
    domain::{
        inventory::XmlFlags,
        snapshot::{NewSnapshot, RevertFlags, SnapshotKind},
    },
};
use mainstay_model::{Detail, DomainState, FailureKind, Outcome, PointId, Proof, WorkloadId};

/// Names of snapshots that hold a broken state begin so. None replaces another: a person drops them by name.
const BROKEN: &str = "broken-";
/// Said in libvirt's record of such a snapshot.
const ASIDE: &str = "the state before Mainstay brought it back to a recovery point";

pub(super) async fn revert(task: &Task<'_>, workload: &WorkloadId, wanted: &PointId, keep_broken: bool) -> Act {
    let (domain, _) = task.ready(workload).await?;
    let missing = || Outcome::failed(FailureKind::NotThere, format!("{workload} has no snapshot {wanted} here"));
    let snapshot = point::find(task, &domain, wanted).await?.ok_or_else(missing)?;
    // A start would wake the saved memory over older disks; without it, it would be lost.
    task.no_saved_memory(workload, &domain).await?;
    // Before the guest is stopped for nothing.
    task.connection.check_revert(&domain, &snapshot, task.short()).await.map_err(failure::before)?;
    let _changing = task.begin_change(workload, &format!("it was being brought back to {wanted}")).await?;
    if task.state(&domain).await?.is_live() {
        stop::destroy(task, &domain).await?;
    }
    let at = task.tools.clock.now();
    let aside = format!("{BROKEN}{}", at.0);
    let kept_within = keep_broken && keep_aside(task, &domain, &aside).await;
    let mut kept = kept_within;
    if snapshot.is_external() {
        let flags = XmlFlags::SECURE | XmlFlags::INACTIVE;
        let before = task.connection.domain_xml(&domain, flags, task.short()).await.map_err(failure::during)?;
        let suffix = format!("{wanted}-{}", at.0);
        let reverted = match task.connection.revert_external(&domain, &snapshot, &suffix, task.left()).await {
            Ok(reverted) => reverted,
            Err(error) => return Err(set_aside(failure::of_start(task, &domain, error).await, kept, &aside)),
        };
        if keep_broken && !kept_within {
            let on_record =
                task.connection.keep_left_aside(&domain, &aside, ASIDE, &before, &reverted, task.short()).await;
            kept = on_record.is_ok();
            if let Err(error) = on_record {
                // The image itself stays: nothing deletes what no record names.
                tracing::warn!(%domain, error = with_causes(&error), "its broken state is kept, but not on record");
            }
        }
        let started = async {
            task.capture(workload, &domain).await?;
            start::start(task, workload).await
        };
        // Its disks are switched, whatever comes of its start.
        started.await.map_err(|outcome| outcome.having(reverted_with(kept, &aside)))?;
        if !keep_broken {
            let left = reverted.iter().map(|disk| disk.left_aside.as_str());
            delete_unused(task, &domain, left).await;
        }
    } else {
        if let Err(error) = task.connection.revert(&snapshot.reference, RevertFlags::RUNNING, task.left()).await {
            return Err(set_aside(failure::of_start(task, &domain, error).await, kept, &aside));
        }
    }
    ended(task, workload, &domain).await.map_err(|outcome| outcome.having(reverted_with(kept, &aside)))?;
    Ok(reverted_with(kept, &aside))
}

async fn ended(task: &Task<'_>, workload: &WorkloadId, domain: &DomainRef) -> Result<(), Outcome> {
    task.capture_done(workload, domain).await?;
    match task.connection.domain_state(domain, task.short()).await.map(crate::sensors::state) {
        Ok(DomainState::Running) => Ok(()),
        Ok(state) if state.is_live() => Err(Outcome::unknown(format!("{workload} was brought back, but is {state}"))),
        Ok(state) => {
            let why = format!("{workload} was brought back, but is {state}");
            Err(Outcome::failed_with(FailureKind::Other, why, Proof::Off))
        }
        Err(error) => Err(failure::during(error)),
    }
}

fn reverted_with(kept: bool, aside: &str) -> Detail {
    Detail::Reverted { set_aside: kept.then(|| PointId::new(aside)), handle: aside.to_owned() }
}

/// The outcome of a revert that may have changed nothing, with what was set aside for it.
fn set_aside(outcome: Outcome, kept: bool, aside: &str) -> Outcome {
    let did = Detail::SetAside { name: PointId::new(aside), handle: aside.to_owned() };
    if kept { outcome.having(did) } else { outcome }
}

/// True if a snapshot of this name holds what a revert set aside. A person may call one `broken-disk`; ours have the time in it.
pub(crate) fn is_set_aside(name: &str) -> bool {
    name.strip_prefix(BROKEN).is_some_and(|at| at.len() >= 12 && at.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Keeps the disks as they are in a snapshot of the domain that is off, within the images. False if that can't be: the
/// images are of another kind, or there is no space.
async fn keep_aside(task: &Task<'_>, domain: &DomainRef, name: &str) -> bool {
    let new = NewSnapshot { name: name.to_owned(), description: ASIDE.to_owned(), kind: SnapshotKind::Internal };
    match task.connection.create_snapshot(domain, &new, task.left() / 2).await {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(%domain, error = with_causes(&error), "its broken state could not be kept within its images");
            false
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
