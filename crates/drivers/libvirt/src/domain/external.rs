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
    snapshot::{DeleteFlags, FrozenImage, Snapshot, SnapshotDisk, SnapshotRecord},
};
use crate::{
    connection::Connection,
    definition::{Definition, Image, with_disk_image},
    error::{Error, ErrorCode, Result},
    storage::{Folder, Volume, folder_and_name},
    types::DomainRef,
};

/// What a revert did to one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevertedDisk {
    /// Such as `vda`.
    pub target: String,
    /// The snapshot's image, which the disk now stands on.
    pub frozen: FrozenImage,
    /// The fresh image it writes to.
    pub overlay: String,
    /// The image it wrote to before: the broken state, kept. Delete it by [`Connection::delete_image`] when nobody
    /// needs it, and only if no snapshot froze it.
    pub left_aside: String,
}

impl Connection {
    /// Brings a domain that is off back to an external disk-only snapshot: each disk gets a fresh overlay on the frozen
    /// image, beside the image in use now, called `DOMAIN-DISK-SUFFIX.qcow2`. Nothing that exists is changed or
    /// deleted; a failure leaves the domain as it was, unless its outcome is unknown: then look at its definition.
    /// `limit` holds for each call.
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
            // A definition that was sent and not answered may be in force, and then needs the overlays.
            let unneeded = if error.outcome_unknown() { Vec::new() } else { created };
            for overlay in unneeded {
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
            let base = self.image(&disk.frozen.file, limit).await?;
            let folder = Folder::of(self, &disk.overlay, limit).await?;
            folder.create_overlay(&disk.overlay, &base, &disk.frozen.format).await?;
            created.push(&disk.overlay);
            xml = with_disk_image(&xml, &[], &disk.target, Image { file: &disk.overlay, format: "qcow2" })?;
        }
        self.define(&xml, DefineFlags::NONE, limit).await.map(drop)
    }

    /// Deletes an external snapshot of a running domain, keeping what came after it: forgets its record, folds each
    /// overlay into the image that it froze, mends the records of later snapshots, and deletes the overlays' files.
    /// Refused, with nothing changed, if the domain does not stand on it or another image of the same folder does. The
    /// record goes first, as a half-folded image is no state to go back to; after a failure call again with the same
    /// `snapshot` to finish. `limit` holds for each call, and for each disk's commit.
    pub async fn delete_external(&self, domain: &DomainRef, snapshot: &Snapshot, limit: Duration) -> Result<()> {
        if !self.domain_state(domain, limit).await?.is_active() {
            return Err(Error::unfit(format!("{domain} is off: images are folded by its QEMU, start it first")));
        }
        let mut others = self.list_snapshots(domain, limit).await?;
        others.retain(|other| other.reference.name != snapshot.reference.name);
        let mut folds = Vec::new();
        for disk in snapshot.disks.iter().filter(|disk| disk.overlay.is_some()) {
            let chain = self.image_chain(domain, &disk.target, limit).await?;
            let fold = plan_fold(domain, snapshot, disk, &chain, &others)?;
            self.refuse_if_shared(&fold, limit).await?;
            folds.push(fold);
        }
        match self.delete_snapshot(&snapshot.reference, DeleteFlags::METADATA_ONLY, limit).await {
            Err(error) if !error.is(ErrorCode::NO_DOMAIN_SNAPSHOT) => return Err(error),
            _ => {}
        }
        for fold in folds.iter().filter(|fold| !fold.done) {
            self.commit(domain, fold.target, &fold.overlay, &fold.frozen.file, limit).await?;
        }
        self.mend_records(domain, &others, &folds, limit).await?;
        for fold in &folds {
            self.delete_image(&fold.overlay, limit).await?;
        }
        Ok(())
    }

    /// Folding changes the frozen image: whatever else lies on it would be ruined.
    async fn refuse_if_shared(&self, fold: &Fold<'_>, limit: Duration) -> Result<()> {
        let neighbours = Folder::of(self, &fold.frozen.file, limit).await?.volumes().await?;
        let lies_on_it =
            |volume: &Volume| volume.backing.as_ref() == Some(&fold.frozen.file) && !fold.above.contains(&volume.path);
        match neighbours.into_iter().find(lies_on_it) {
            Some(other) => Err(Error::unfit(format!(
                "{} also lies on {} and would be ruined: delete it first if nobody needs it (a revert leaves the image \
                 used before aside)",
                other.path, fold.frozen.file
            ))),
            None => Ok(()),
        }
    }

    /// Snapshots that froze a folded overlay now find their state in the image it was folded into.
    async fn mend_records(
        &self,
        domain: &DomainRef,
        others: &[Snapshot],
        folds: &[Fold<'_>],
        limit: Duration,
    ) -> Result<()> {
        for other in others {
            let froze = |fold: &&Fold<'_>| {
                let same = |disk: &SnapshotDisk| disk.frozen.as_ref().is_some_and(|frozen| frozen.file == fold.overlay);
                other.disks.iter().any(|disk| disk.target == fold.target && same(disk))
            };
            let moved: Vec<_> = folds.iter().filter(froze).collect();
            if moved.is_empty() {
                continue;
            }
            let mut xml = self.snapshot_xml(&other.reference, limit).await?;
            for fold in moved {
                let FrozenImage { file, format } = fold.frozen;
                xml = with_disk_image(&xml, &["domain"], fold.target, Image { file, format })?;
            }
            let record = SnapshotRecord { name: other.reference.name.clone(), xml, current: other.current };
            self.write_record(domain, &record, limit).await?;
        }
        Ok(())
    }
}

/// One disk's overlay, to be folded into the image that the snapshot froze.
struct Fold<'a> {
    target: &'a str,
    overlay: String,
    frozen: &'a FrozenImage,
    /// An earlier try has folded it; its file and the records may still be as they were.
    done: bool,
    /// The images of the disk above the frozen one, and the overlay.
    above: Vec<String>,
}

fn plan_fold<'a>(
    domain: &DomainRef,
    snapshot: &Snapshot,
    disk: &'a SnapshotDisk,
    chain: &[String],
    others: &[Snapshot],
) -> Result<Fold<'a>> {
    let (name, target) = (&snapshot.reference.name, &disk.target);
    let (Some(frozen), Some(taken)) = (&disk.frozen, &disk.overlay) else {
        return Err(Error::unfit(format!("snapshot {name} does not tell which image of {target} it froze")));
    };
    let Some(place) = chain.iter().position(|image| *image == frozen.file) else {
        return Err(Error::unfit(format!(
            "{domain} does not stand on snapshot {name} ({} is not under {target}): it is on a branch that a revert \
             left; delete its record and its images one by one",
            frozen.file
        )));
    };
    let mut above = chain[..place].to_vec();
    // On the frozen image lies the overlay that the snapshot put there, or one that a revert put in its place. If it
    // is another snapshot's, then ours was folded already.
    let others_overlay = |image: &&String| {
        others.iter().flat_map(|other| &other.disks).any(|disk| disk.overlay.as_ref() == Some(*image))
    };
    let next = above.last().filter(|image| !others_overlay(image)).cloned();
    let done = next.is_none();
    let overlay = next.unwrap_or_else(|| taken.clone());
    above.push(overlay.clone());
    Ok(Fold { target, overlay, frozen, done, above })
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
