//! Take and delete recovery points: libvirt's snapshots, within the images where these allow, by overlays otherwise.

use super::{
    failure,
    task::{Act, Task},
};
use crate::definition::Defined;
use mainstay_libvirt::{
    DomainRef,
    definition::{Definition, Disk},
    domain::{
        inventory::XmlFlags,
        snapshot::{NewSnapshot, Snapshot, SnapshotKind},
    },
};
use mainstay_model::{Detail, FailureKind, Outcome, PointId, PointKind, WorkloadId};
use std::{path::Path, time::Duration};

/// An agent that does not answer within this is not there.
const AGENT_ANSWERS: Duration = Duration::from_secs(2);
/// Said in libvirt's record.
const DESCRIPTION: &str = "recovery point of Mainstay";

pub(super) async fn take(
    task: &Task<'_>,
    workload: &WorkloadId,
    point: &PointId,
    kind: PointKind,
    freeze: bool,
) -> Act {
    let mut domain = task.expect(workload).await?;
    let off = !task.state(&domain).await?.is_live();
    if off {
        // What is defined here may be a leftover.
        (domain, _) = task.ready(workload).await?;
        task.no_saved_memory(workload, &domain).await?;
    } else {
        task.settle(workload, &domain).await?;
    }
    if let Some(taken) = find(task, &domain, point).await? {
        return Ok(described(&taken, false));
    }
    let xml = task.connection.domain_xml(&domain, XmlFlags::NONE, task.short()).await.map_err(failure::before)?;
    let internal = match kind {
        PointKind::Memory => true,
        PointKind::Disk => false,
        PointKind::Auto => Defined::read(&xml).map_err(failure::before)?.internal_snapshots,
    };
    let doing = format!("recovery point {point} was being taken");
    // Of one that is off, the host's own tools write to its images: until they are done, it may start nowhere else.
    let _changing = task.begin_point(workload, internal && !off, &doing).await?;
    let new = |kind| NewSnapshot { name: point.to_string(), description: DESCRIPTION.to_owned(), kind };
    let frozen = if internal {
        let taken = task.connection.create_snapshot(&domain, &new(SnapshotKind::Internal), task.left()).await;
        taken.map_err(failure::during)?;
        false
    } else {
        let overlays = overlays(&Definition::parse(&xml).map_err(failure::before)?, point)?;
        let quiesce =
            freeze && !off && task.connection.agent_ping(&domain, AGENT_ANSWERS.min(task.left())).await.is_ok();
        let external = |quiesce| new(SnapshotKind::External { overlays: overlays.clone(), quiesce });
        match task.connection.create_snapshot(&domain, &external(quiesce), task.left()).await {
            Ok(_) => quiesce,
            Err(error) if quiesce && !error.outcome_unknown() => {
                tracing::warn!(%workload, %error, "its file systems could not be frozen; taking the point without");
                let taken = task.connection.create_snapshot(&domain, &external(false), task.left()).await;
                taken.map_err(failure::during)?;
                false
            }
            Err(error) => return Err(failure::during(error)),
        }
    };
    task.capture_done(workload, &domain).await?;
    let unlisted = |why: String| Outcome::unknown(format!("{point} was taken, but libvirt does not list it{why}"));
    let taken = find(task, &domain, point).await.map_err(|outcome| unlisted(format!(": {outcome}")))?;
    Ok(described(&taken.ok_or_else(|| unlisted(String::new()))?, frozen))
}

pub(super) async fn delete(task: &Task<'_>, workload: &WorkloadId, point: &PointId) -> Act {
    let (domain, _) = task.ready(workload).await?;
    let Some(snapshot) = find(task, &domain, point).await? else { return Ok(Detail::None) };
    let external = snapshot.is_external();
    let doing = format!("recovery point {point} was being deleted");
    let _changing = task.begin_point(workload, !external, &doing).await?;
    let deleted = if external {
        task.connection.delete_external(&domain, &snapshot, task.left()).await
    } else {
        task.connection.delete_internal(&domain, &snapshot, task.left()).await
    };
    // Also after a failure: what is on record must not stay in doubt if libvirt can tell.
    let captured = task.capture_done(workload, &domain).await;
    deleted.map_err(failure::during)?;
    captured.map(|()| Detail::None)
}

/// The point as libvirt knows it.
pub(super) async fn find(task: &Task<'_>, domain: &DomainRef, point: &PointId) -> Result<Option<Snapshot>, Outcome> {
    task.connection.find_snapshot(domain, point.as_str(), task.short()).await.map_err(failure::before)
}

/// libvirt finds it again by its name; its record is kept with the definition.
fn described(snapshot: &Snapshot, frozen: bool) -> Detail {
    let kind = if snapshot.has_memory { PointKind::Memory } else { PointKind::Disk };
    Detail::Point { kind, frozen, handle: snapshot.reference.name.clone(), bytes: None }
}

/// A new file beside the image in use, for each disk that is part of a point: those that the guest writes to, but for shared
/// ones, and those that their owner excluded.
fn overlays(definition: &Definition, point: &PointId) -> Result<Vec<(String, String)>, Outcome> {
    let disks: Vec<&Disk> = definition.disks.iter().filter(|disk| disk.is_protected()).collect();
    if disks.is_empty() {
        let why = format!("{} has no disk of its own that a recovery point could hold", definition.name);
        return Err(Outcome::failed(FailureKind::Refused, why));
    }
    let overlay = |disk: &&Disk| {
        let folder = disk.source.as_deref().filter(|_| disk.kind == "file").and_then(|path| Path::new(path).parent());
        let folder = folder.ok_or_else(|| {
            let why = format!("disk {} of {} is no file: no overlay can be put on it", disk.target, definition.name);
            Outcome::failed(FailureKind::Refused, why)
        })?;
        let name = format!("{}-{}-{point}.qcow2", definition.name, disk.target).replace('/', "_");
        Ok((disk.target.clone(), folder.join(name).display().to_string()))
    };
    disks.iter().map(overlay).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(disks: &str) -> Result<Vec<String>, String> {
        let xml = format!(
            "<domain><name>a/b</name><uuid>77000000-0000-4000-8000-000000000001</uuid><memory>1</memory>\
             <devices>{disks}</devices></domain>"
        );
        let overlays = overlays(&Definition::parse(&xml).unwrap(), &"p1".into());
        overlays.map(|all| all.into_iter().map(|(_, file)| file).collect()).map_err(|outcome| outcome.to_string())
    }

    fn disk(target: &str, attributes: &str, more: &str) -> String {
        format!(
            "<disk type='file' device='disk' {attributes}><source file='/s/{target}.qcow2'/><target dev='{target}'/>{more}</disk>"
        )
    }

    #[test]
    fn disk_excluded_from_snapshots() {
        let own = disk("vda", "", "");
        for other in [disk("vdb", "snapshot='no'", ""), disk("vdb", "", "<shareable/>"), disk("vdb", "", "<readonly/>")]
        {
            assert_eq!(targets(&format!("{own}{other}")).unwrap(), ["/s/a_b-vda-p1.qcow2"], "{other}");
            assert!(targets(&other).unwrap_err().contains("has no disk of its own"), "{other}");
        }
        assert!(targets("").unwrap_err().contains("has no disk of its own"));
    }
}
