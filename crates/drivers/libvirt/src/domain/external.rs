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
//! Deleting folds the overlay into the frozen image, which ends the state and keeps what came after. Where that would ruin
//! another image, or another snapshot, only the record goes: the image stays under those that need it.

use std::time::Duration;

use super::{
    images::{BEING_DELETED, Images},
    inventory::XmlFlags,
    power::DefineFlags,
    snapshot::{DeleteFlags, FrozenImage, Snapshot, SnapshotDisk, SnapshotRecord},
};
use crate::{
    connection::Connection,
    definition::{Definition, Image, with_disk_image},
    error::{Error, ErrorCode, Result},
    storage::{Folder, folder_and_name},
    types::DomainRef,
    xml::{Element, escaped, spliced},
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

    /// Keeps the image that a revert left aside as an external snapshot of its own, so that it is listed, can be gone back to,
    /// and nothing writes to it or deletes it. For images that can hold no internal snapshot. `before` is the definition
    /// before the revert, with passwords.
    pub async fn keep_left_aside(
        &self,
        domain: &DomainRef,
        name: &str,
        description: &str,
        before: &str,
        reverted: &[RevertedDisk],
        limit: Duration,
    ) -> Result<()> {
        let created = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
        let disk = |disk: &RevertedDisk| {
            let (target, overlay) = (escaped(&disk.target), escaped(&disk.overlay));
            format!(
                "<disk name='{target}' snapshot='external' type='file'><driver type='qcow2'/><source file='{overlay}'/></disk>"
            )
        };
        let start = before.find("<domain").ok_or_else(|| Error::unfit("the definition is no <domain>"))?;
        let xml = format!(
            "<domainsnapshot><name>{}</name><description>{}</description><state>shutoff</state>\
             <creationTime>{created}</creationTime><memory snapshot='no'/><disks>{}</disks>{}</domainsnapshot>",
            escaped(name),
            escaped(description),
            reverted.iter().map(disk).collect::<String>(),
            &before[start..],
        );
        let record = SnapshotRecord { name: name.to_owned(), xml, current: false };
        self.write_record(domain, &record, limit).await
    }

    /// Deletes an external snapshot, keeping what came after it: folds each overlay into the image that it froze, updates
    /// the records of later snapshots, deletes the overlays' files, and then the record. The record says first that the
    /// deletion has begun, as a half-folded image is no state to go back to; after a failure, or a crash, call again.
    /// Where folding would ruin another image or snapshot, or the domain does not stand on this one any more, only the record
    /// goes, and those of its images that nothing needs. Folding needs a running domain: one that is off is refused.
    /// `limit` holds for each call, and for each disk's commit.
    pub async fn delete_external(&self, domain: &DomainRef, snapshot: &Snapshot, limit: Duration) -> Result<()> {
        let mut others = self.list_snapshots(domain, limit).await?;
        others.retain(|other| other.reference.name != snapshot.reference.name);
        let images = self.images(domain, snapshot, limit).await?;
        let disks = || snapshot.disks.iter().filter(|disk| disk.overlay.is_some());
        let folds: Option<Vec<Fold<'_>>> = disks().map(|disk| plan_fold(disk, &images, &others)).collect();
        let Some(folds) = folds else {
            self.leave_children(domain, snapshot, &others, limit).await?;
            self.forget(snapshot, limit).await?;
            return self.sweep(domain, snapshot, &images, limit).await;
        };
        if !self.domain_state(domain, limit).await?.is_active() {
            return Err(Error::unfit(format!("{domain} is off: images are folded by its QEMU, start it first")));
        }
        self.mark_as_being_deleted(domain, snapshot, limit).await?;
        for fold in &folds {
            if !fold.done {
                self.commit(domain, fold.target, &fold.overlay, &fold.frozen.file, limit).await?;
            }
        }
        self.update_records(domain, &others, &folds, limit).await?;
        for fold in &folds {
            if let Err(error) = self.delete_image(&fold.overlay, limit).await
                && !error.is(ErrorCode::NO_STORAGE_VOL)
            {
                return Err(error);
            }
        }
        self.forget(snapshot, limit).await
    }

    /// Before only the record goes, and the images stay: those that come after it come after its parent from here on. Of its
    /// descendants libvirt 9 would write that they stand on the image which it froze, as if its overlay were folded, and
    /// going back to one of them would bring back the wrong state.
    async fn leave_children(
        &self,
        domain: &DomainRef,
        snapshot: &Snapshot,
        others: &[Snapshot],
        limit: Duration,
    ) -> Result<()> {
        for child in others.iter().filter(|other| other.parent.as_ref() == Some(&snapshot.reference.name)) {
            let xml = self.snapshot_xml(&child.reference, limit).await?;
            let xml = with_parent(&xml, snapshot.parent.as_deref())?;
            let record = SnapshotRecord { name: child.reference.name.clone(), xml, current: child.current };
            self.write_record(domain, &record, limit).await?;
        }
        Ok(())
    }

    async fn forget(&self, snapshot: &Snapshot, limit: Duration) -> Result<()> {
        match self.delete_snapshot(&snapshot.reference, DeleteFlags::METADATA_ONLY, limit).await {
            Err(error) if !error.is(ErrorCode::NO_DOMAIN_SNAPSHOT) => Err(error),
            _ => Ok(()),
        }
    }

    /// From here on nobody goes back to it. If that was said before, an earlier deletion was cut short, and its block job may
    /// still go on: it is given up, and the fold is begun anew.
    async fn mark_as_being_deleted(&self, domain: &DomainRef, snapshot: &Snapshot, limit: Duration) -> Result<()> {
        if snapshot.is_being_deleted() {
            for disk in snapshot.disks.iter().filter(|disk| disk.overlay.is_some()) {
                self.give_up_commit(domain, &disk.target, limit).await?;
            }
            return Ok(());
        }
        let xml = match self.snapshot_xml(&snapshot.reference, limit).await {
            Err(gone) if gone.is(ErrorCode::NO_DOMAIN_SNAPSHOT) => return Ok(()),
            xml => xml?,
        };
        let description = format!("{}{BEING_DELETED}", snapshot.description.as_deref().unwrap_or_default());
        let xml = with_description(&xml, &description)?;
        let record = SnapshotRecord { name: snapshot.reference.name.clone(), xml, current: snapshot.current };
        self.write_record(domain, &record, limit).await
    }

    /// Snapshots that froze a folded overlay now find their state in the image it was folded into.
    async fn update_records(
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
}

/// `None`: it can't be folded without ruining something, or the disk does not stand on it.
fn plan_fold<'a>(disk: &'a SnapshotDisk, images: &Images, others: &[Snapshot]) -> Option<Fold<'a>> {
    let (target, frozen, taken) = (disk.target.as_str(), disk.frozen.as_ref()?, disk.overlay.as_ref()?);
    let chain = images.chain(target);
    let place = chain.iter().position(|image| *image == frozen.file)?;
    // On the frozen image lies the overlay that the snapshot put there, or one that a revert put in its place. If it
    // is another snapshot's, then ours was folded already.
    let others_overlay = |image: &&String| {
        others.iter().flat_map(|other| &other.disks).any(|disk| disk.overlay.as_ref() == Some(*image))
    };
    let next = chain[..place].last().filter(|image| !others_overlay(image)).cloned();
    let done = next.is_none();
    let overlay = next.unwrap_or_else(|| taken.clone());
    let above = if done { chain[..place].last() } else { place.checked_sub(2).map(|above| &chain[above]) };
    // Folding changes the frozen image and ends the overlay: whatever else lies on either would be ruined, and a
    // snapshot within the overlay would be lost. (After a fold, the next snapshot has the frozen image for its state.)
    let stays_on = |image: &&str| Some(*image) != above.map(String::as_str) && *image != overlay;
    let ruins = images.on(&frozen.file).any(|image| stays_on(&image))
        || images.on(&overlay).any(|image| stays_on(&image))
        || others.iter().any(|other| !done && other.froze(&frozen.file) || other.is_inside(&overlay));
    (!ruins).then_some(Fold { target, overlay, frozen, done })
}

/// A snapshot's record with another description.
fn with_description(xml: &str, description: &str) -> Result<String> {
    let root = Element::parse_without(xml, "a snapshot", &["domain", "inactiveDomain"])?;
    let element = format!("<description>{}</description>", escaped(description));
    let piece = match (root.find(&["description"]), root.find(&["name"])) {
        (Some(before), _) => (before.span.clone(), element),
        (None, Some(name)) => (name.span.end..name.span.end, element),
        (None, None) => return Err(Error::unfit("the snapshot's record has no name")),
    };
    Ok(spliced(xml, vec![piece]))
}

/// The record of a snapshot with another parent.
fn with_parent(xml: &str, parent: Option<&str>) -> Result<String> {
    let root = Element::parse_without(xml, "a snapshot", &["domain", "inactiveDomain"])?;
    let element = parent.map(|name| format!("<parent><name>{}</name></parent>", escaped(name))).unwrap_or_default();
    Ok(match root.find(&["parent"]) {
        Some(before) => spliced(xml, vec![(before.span.clone(), element)]),
        None => xml.to_owned(),
    })
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
