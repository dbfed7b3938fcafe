//! External snapshots: reverting and deleting them, which libvirt 9 does not do itself.
//!
//! An external snapshot freezes an image and puts an overlay on top. Its state is the frozen image, so nothing may ever
//! write to that. Reverting therefore never touches what is there; it grows a new branch:
//!
//! ```text
//! before   frozen ◀── overlay (broken state, in use)
//! after    frozen ◀── overlay (left aside)
//!                ◀── fresh overlay (in use)
//! ```
//! Deleting folds the overlay into the frozen image, which ends the state and keeps what came after. It is refused
//! when another image lies on the frozen one, since that would be ruined.

use std::time::Duration;

use super::{
    inventory::XmlFlags,
    power::DefineFlags,
    snapshot::{DeleteFlags, Snapshot, SnapshotRecord},
};
use crate::{
    connection::Connection,
    definition::{Definition, Image, with_disk_image},
    error::{Error, Result},
    storage::{Folder, Volume, folder_and_name},
    types::DomainRef,
};

/// What a revert did to one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevertedDisk {
    /// Such as `vda`.
    pub target: String,
    /// The snapshot's image, which the disk now stands on.
    pub frozen: String,
    /// The fresh image it writes to.
    pub overlay: String,
    /// The image it wrote to before: the broken state, kept. Delete it by [`Connection::delete_image`] when nobody
    /// needs it, and only if no snapshot froze it.
    pub left_aside: String,
}

impl Connection {
    /// Brings a domain that is off back to an external disk-only snapshot: each disk gets a fresh overlay on the frozen
    /// image, beside the image in use now and named after it with `suffix`. Nothing that exists is changed or deleted;
    /// a failure leaves the domain as it was. `limit` holds for each call.
    pub async fn revert_external(
        &self,
        domain: &DomainRef,
        snapshot: &Snapshot,
        suffix: &str,
        limit: Duration,
    ) -> Result<Vec<RevertedDisk>> {
        if self.domain_state(domain, limit).await?.is_active() {
            return Err(Error::unfit(format!("{domain} runs: destroy it before reverting")));
        }
        let xml = self.domain_xml(domain, XmlFlags::SECURE | XmlFlags::INACTIVE, limit).await?;
        let plan = plan_revert(&Definition::parse(&xml)?, snapshot, suffix)?;
        let mut created: Vec<&str> = Vec::new();
        let switched = self.switch(xml, &plan, &mut created, limit).await;
        if let Err(error) = switched {
            for overlay in created {
                if let Err(error) = self.delete_image(overlay, limit).await {
                    tracing::warn!(overlay, %error, "an unused overlay was left behind");
                }
            }
            return Err(error);
        }
        // The next snapshot's parent is what the domain stands on.
        let xml = self.snapshot_xml(&snapshot.reference, limit).await?;
        let record = SnapshotRecord { name: snapshot.reference.name.clone(), xml, current: true };
        if let Err(error) = self.write_record(domain, &record, limit).await {
            tracing::warn!(%domain, snapshot = record.name, %error, "reverted, but could not be marked as current");
        }
        Ok(plan)
    }

    async fn switch<'a>(
        &self,
        mut xml: String,
        plan: &'a [RevertedDisk],
        created: &mut Vec<&'a str>,
        limit: Duration,
    ) -> Result<()> {
        for disk in plan {
            let base = self.image(&disk.frozen, limit).await?;
            let folder = Folder::of(self, &disk.overlay, limit).await?;
            let overlay = folder.create_overlay(&disk.overlay, &base).await;
            folder.close().await;
            overlay?;
            created.push(&disk.overlay);
            xml = with_disk_image(&xml, &[], &disk.target, Image { file: &disk.overlay, format: "qcow2" })?;
        }
        self.define(&xml, DefineFlags::NONE, limit).await.map(drop)
    }

    /// Deletes an external snapshot of a running domain, keeping what came after it: folds each overlay into the image
    /// the snapshot froze, mends the records of later snapshots, and deletes the overlay's file and the record.
    /// Refused, with nothing changed, if the domain does not stand on it or another image does. Can be tried again
    /// after a failure. `limit` holds for each call, and for each disk's commit.
    pub async fn delete_external(&self, domain: &DomainRef, snapshot: &Snapshot, limit: Duration) -> Result<()> {
        if !self.domain_state(domain, limit).await?.is_active() {
            return Err(Error::unfit(format!("{domain} is off: images are folded by its QEMU, start it first")));
        }
        let mut folds = Vec::new();
        for disk in snapshot.disks.iter().filter(|disk| disk.overlay.is_some()) {
            folds.extend(self.plan_fold(domain, snapshot, &disk.target, limit).await?);
        }
        for fold in &folds {
            self.commit(domain, &fold.target, &fold.overlay, &fold.frozen.path, limit).await?;
        }
        self.mend_records(domain, snapshot, &folds, limit).await?;
        self.delete_snapshot(&snapshot.reference, DeleteFlags::METADATA_ONLY, limit).await?;
        for fold in &folds {
            self.delete_image(&fold.overlay, limit).await?;
        }
        Ok(())
    }

    /// `None` if this disk is folded already, by an earlier try.
    async fn plan_fold(
        &self,
        domain: &DomainRef,
        snapshot: &Snapshot,
        target: &str,
        limit: Duration,
    ) -> Result<Option<Fold>> {
        let name = &snapshot.reference.name;
        let disk = snapshot.disks.iter().find(|disk| disk.target == target);
        let (Some(frozen), Some(taken)) =
            (disk.and_then(|disk| disk.frozen.clone()), disk.and_then(|disk| disk.overlay.clone()))
        else {
            return Err(Error::unfit(format!("snapshot {name} does not tell which image of {target} it froze")));
        };
        let chain = self.image_chain(domain, target, limit).await?;
        let Some(place) = chain.iter().position(|image| *image == frozen) else {
            return Err(Error::unfit(format!(
                "{domain} does not stand on snapshot {name} ({frozen} is not under {target}): it is on a branch that a \
                 revert left; delete its record and its images one by one"
            )));
        };
        let Some(overlay) = place.checked_sub(1).and_then(|above| chain.get(above)) else {
            return Ok(None);
        };
        let folder = Folder::of(self, &frozen, limit).await?;
        let looked = async { Ok((folder.volume(&frozen).await?, folder.volumes().await?)) }.await;
        folder.close().await;
        let (frozen, neighbours): (Volume, Vec<Volume>) = looked?;
        let lies_on_it = |volume: &&Volume| volume.backing.as_ref() == Some(&frozen.path) && volume.path != *overlay;
        if let Some(other) = neighbours.iter().find(lies_on_it) {
            let hint = if other.path == taken { " (a revert left it aside)" } else { "" };
            return Err(Error::unfit(format!(
                "{} also lies on {}{hint} and would be ruined: delete it first if nobody needs it",
                other.path, frozen.path
            )));
        }
        Ok(Some(Fold { target: target.to_owned(), overlay: overlay.clone(), frozen }))
    }

    /// Snapshots that froze a folded overlay now find their state in the image it was folded into.
    async fn mend_records(
        &self,
        domain: &DomainRef,
        deleted: &Snapshot,
        folds: &[Fold],
        limit: Duration,
    ) -> Result<()> {
        for other in self.list_snapshots(domain, limit).await? {
            let froze = |fold: &&Fold| {
                other.disks.iter().any(|disk| disk.target == fold.target && disk.frozen.as_ref() == Some(&fold.overlay))
            };
            let moved: Vec<&Fold> = folds.iter().filter(froze).collect();
            if other.reference == deleted.reference || moved.is_empty() {
                continue;
            }
            let mut xml = self.snapshot_xml(&other.reference, limit).await?;
            for fold in moved {
                let image = Image { file: &fold.frozen.path, format: &fold.frozen.format };
                xml = with_disk_image(&xml, &["domain"], &fold.target, image)?;
            }
            let record = SnapshotRecord { name: other.reference.name, xml, current: other.current };
            self.write_record(domain, &record, limit).await?;
        }
        Ok(())
    }
}

/// One disk's overlay, to be folded into the image that the snapshot froze.
struct Fold {
    target: String,
    overlay: String,
    frozen: Volume,
}

fn plan_revert(definition: &Definition, snapshot: &Snapshot, suffix: &str) -> Result<Vec<RevertedDisk>> {
    let name = &snapshot.reference.name;
    if snapshot.has_memory || !snapshot.is_external() {
        return Err(Error::unfit(format!("snapshot {name} is not external and disk-only: let libvirt revert it")));
    }
    let disks = snapshot.disks.iter().filter(|disk| disk.overlay.is_some());
    let plan =
        disks.map(|disk| {
            let target = disk.target.clone();
            let frozen = disk.frozen.clone().ok_or_else(|| {
                Error::unfit(format!("snapshot {name} does not tell which image of {target} it froze"))
            })?;
            let now = definition.disk(&target).and_then(|disk| disk.source.clone()).ok_or_else(|| {
                Error::unfit(format!("snapshot {name} has disk {target}, the domain has it no longer"))
            })?;
            let (folder, _) = folder_and_name(&now)?;
            let overlay = format!("{folder}/{}-{target}-{suffix}.qcow2", definition.name.replace('/', "_"));
            Ok(RevertedDisk { target, frozen, overlay, left_aside: now })
        });
    plan.collect()
}
