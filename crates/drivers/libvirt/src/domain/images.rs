//! Which image holds which recovery point, and what may therefore be done to it.
//!
//! A snapshot's state lies in images, and two kinds of writes can ruin it:
//!
//! ```text
//! external   the state is the whole image as it was frozen: any write to it, or to an image below it, ruins the state
//! internal   the state lies inside the image beside the one in use: only deleting the image, or writing below it, ruins it
//! ```
//! A revert to an internal snapshot makes its image the one in use, so it is refused while an external snapshot froze that
//! image or another image lies on it. An image is deleted only if no snapshot and no disk needs it, nor any image above it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{
    inventory::XmlFlags,
    snapshot::{DeleteFlags, Snapshot, SnapshotDisk},
};
use crate::{
    connection::Connection,
    definition::{Definition, image_chain},
    error::{Error, Result},
    storage::{Folder, folder_and_name},
    types::DomainRef,
};

/// The images of a domain: what each lies on, and which are in use.
#[derive(Debug, Default)]
pub(super) struct Images {
    /// What each image of the folders lies on.
    backing: BTreeMap<String, Option<String>>,
    /// The images of each disk: the one written to first, then what it lies on.
    chains: BTreeMap<String, Vec<String>>,
}

impl Images {
    /// The images of a disk, the one written to first.
    pub(super) fn chain(&self, target: &str) -> &[String] {
        self.chains.get(target).map_or(&[], Vec::as_slice)
    }

    /// Images that lie on this one.
    pub(super) fn on<'a>(&'a self, file: &'a str) -> impl Iterator<Item = &'a str> {
        let on = move |(image, backing): (&'a String, &'a Option<String>)| {
            (backing.as_deref() == Some(file)).then_some(image.as_str())
        };
        self.backing.iter().filter_map(on)
    }

    /// These images and all that they lie on.
    fn with_all_below<'a>(&'a self, images: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::new();
        for image in images {
            let mut next = Some(image);
            while let Some(image) = next.filter(|image| found.insert(*image)) {
                next = self.backing.get(image).and_then(Option::as_deref);
            }
        }
        found
    }

    /// Of these images and those below them, the ones that nothing needs, the uppermost first: no disk, no snapshot, and
    /// no image that stays.
    fn unneeded(&self, name: &str, images: &[String], snapshots: &[Snapshot]) -> Vec<String> {
        let in_use = self.chains.values().flatten().map(String::as_str);
        let held = snapshots.iter().flat_map(|snapshot| &snapshot.disks).filter_map(SnapshotDisk::state_lies_in);
        let needed = self.with_all_below(in_use.chain(held));
        let mut unneeded: Vec<String> = Vec::new();
        let mut queue: Vec<&str> = images.iter().map(String::as_str).collect();
        while let Some(image) = queue.pop() {
            let carries = self.on(image).any(|above| !unneeded.iter().any(|gone| gone == above));
            if needed.contains(image)
                || carries
                || !is_our_own(name, image)
                || unneeded.iter().any(|gone| gone == image)
            {
                continue;
            }
            unneeded.push(image.to_owned());
            queue.extend(self.backing.get(image).and_then(Option::as_deref));
        }
        unneeded
    }
}

/// True for an image that Mainstay made for a domain: `DOMAIN-DISK-….qcow2`. A domain's own first image is never deleted.
fn is_our_own(name: &str, image: &str) -> bool {
    let Ok((_, file)) = folder_and_name(image) else { return false };
    let rest = file.strip_prefix(&name.replace('/', "_")).and_then(|rest| rest.strip_prefix('-'));
    let of_a_disk = |rest: &str| {
        let (target, tail) = rest.split_once('-')?;
        let disk = ["vd", "sd", "hd", "xvd", "nvme"].iter().any(|kind| target.starts_with(kind));
        (disk && tail.len() > ".qcow2".len() && tail.ends_with(".qcow2")).then_some(())
    };
    rest.and_then(of_a_disk).is_some()
}

impl SnapshotDisk {
    /// The image that holds the state of this disk; `None`: the disk is not part of the snapshot.
    pub(super) fn state_lies_in(&self) -> Option<&str> {
        let part = self.inside || self.overlay.is_some();
        self.frozen.as_ref().filter(|_| part).map(|frozen| frozen.file.as_str())
    }
}

impl Snapshot {
    /// True if the snapshot's state is this very image, which must never be written to again.
    pub(super) fn froze(&self, image: &str) -> bool {
        self.disks.iter().any(|disk| disk.overlay.is_some() && disk.state_lies_in() == Some(image))
    }

    /// True if the snapshot's state lies inside this image.
    pub(super) fn is_inside(&self, image: &str) -> bool {
        self.disks.iter().any(|disk| disk.inside && disk.state_lies_in() == Some(image))
    }

    /// True if its deletion has begun: its images may be changed already.
    pub fn is_being_deleted(&self) -> bool {
        self.description.as_deref().is_some_and(|text| text.ends_with(BEING_DELETED))
    }
}

/// The end of a snapshot's description once its deletion has begun.
pub(super) const BEING_DELETED: &str = " (being deleted)";

impl Connection {
    /// What lies in the folders of a snapshot's images, and what the domain's disks use.
    pub(super) async fn images(&self, domain: &DomainRef, snapshot: &Snapshot, limit: Duration) -> Result<Images> {
        let live = self.domain_state(domain, limit).await?.is_active();
        let xml = self.domain_xml(domain, if live { XmlFlags::NONE } else { XmlFlags::INACTIVE }, limit).await?;
        let disks = Definition::parse(&xml)?.disks;
        let mut images = Images::default();
        let used = disks.iter().filter(|disk| disk.kind == "file").filter_map(|disk| disk.source.as_deref());
        let held = snapshot.disks.iter().filter_map(SnapshotDisk::state_lies_in);
        let mut seen = BTreeSet::new();
        for file in used.chain(held) {
            let Ok((folder, _)) = folder_and_name(file) else { continue };
            if seen.insert(folder.to_owned()) {
                let volumes = Folder::of(self, file, limit).await?.volumes().await?;
                images.backing.extend(volumes.into_iter().map(|volume| (volume.path, volume.backing)));
            }
        }
        for disk in &disks {
            let chain = match &disk.source {
                _ if live => image_chain(&xml, &disk.target)?,
                Some(source) => {
                    let below = |image: &String| images.backing.get(image).cloned().flatten();
                    std::iter::successors(Some(source.clone()), below).take(CHAIN_MAX).collect()
                }
                None => Vec::new(),
            };
            images.chains.insert(disk.target.clone(), chain);
        }
        Ok(images)
    }

    /// Why the domain can't be brought back to this snapshot without ruining another, if so. Changes nothing.
    pub async fn check_revert(&self, domain: &DomainRef, snapshot: &Snapshot, limit: Duration) -> Result<()> {
        let name = &snapshot.reference.name;
        if snapshot.is_being_deleted() {
            return Err(Error::unfit(format!(
                "the deletion of {name} has begun: it is no state to go back to any more"
            )));
        }
        let mut others = self.list_snapshots(domain, limit).await?;
        others.retain(|other| other.reference.name != *name);
        let images = self.images(domain, snapshot, limit).await?;
        match hindrance(snapshot, &others, &images) {
            Some(why) => Err(Error::unfit(why)),
            None => Ok(()),
        }
    }

    /// Deletes an internal snapshot. If its image is not the one in use, only the record goes, and the image if nothing else
    /// needs it: QEMU can change no image that it does not write to. `limit` holds for each call.
    pub async fn delete_internal(&self, domain: &DomainRef, snapshot: &Snapshot, limit: Duration) -> Result<()> {
        let images = self.images(domain, snapshot, limit).await?;
        let held: Vec<&SnapshotDisk> = snapshot.disks.iter().filter(|disk| disk.inside).collect();
        let in_use =
            |disk: &&SnapshotDisk| images.chain(&disk.target).first().map(String::as_str) == disk.state_lies_in();
        if held.iter().all(in_use) {
            return self.delete_snapshot(&snapshot.reference, DeleteFlags::NONE, limit).await;
        }
        self.delete_snapshot(&snapshot.reference, DeleteFlags::METADATA_ONLY, limit).await?;
        self.sweep(domain, snapshot, &images, limit).await
    }

    /// Deletes the images of a snapshot whose record is gone, as far as nothing needs them.
    pub(super) async fn sweep(
        &self,
        domain: &DomainRef,
        gone: &Snapshot,
        images: &Images,
        limit: Duration,
    ) -> Result<()> {
        let others = self.list_snapshots(domain, limit).await?;
        let mut held: Vec<String> =
            gone.disks.iter().filter_map(SnapshotDisk::state_lies_in).map(str::to_owned).collect();
        if gone.is_being_deleted() {
            held.extend(gone.disks.iter().filter_map(|disk| disk.overlay.clone())); // folded by an earlier try
        }
        for image in images.unneeded(&domain.name, &held, &others) {
            if let Err(error) = self.delete_image(&image, limit).await {
                tracing::warn!(%domain, image, %error, "an image that nothing needs any more could not be deleted");
            }
        }
        Ok(())
    }
}

/// No chain of images is longer; a loop would be.
const CHAIN_MAX: usize = 1000;

/// What going back to a snapshot would ruin.
fn hindrance(snapshot: &Snapshot, others: &[Snapshot], images: &Images) -> Option<String> {
    let name = &snapshot.reference.name;
    for disk in &snapshot.disks {
        let Some(image) = disk.state_lies_in() else { continue };
        let in_use = images.chain(&disk.target).first().map(String::as_str) == Some(image);
        if !disk.inside {
            if in_use {
                return Some(format!("{image}, the image that {name} froze, is in use: its state is written over"));
            }
            continue;
        }
        if let Some(other) = others.iter().find(|other| other.froze(image)) {
            let other = &other.reference.name;
            return Some(format!(
                "{name} lies within {image}, which is the state of recovery point {other}: going back to {name} would write \
                 over {other}. Delete {other} first if it is not needed any more"
            ));
        }
        if let Some(above) = images.on(image).find(|_| !in_use) {
            return Some(format!(
                "{name} lies within {image}, and {above} lies on that image: going back to {name} would ruin {above}. \
                 Delete that first if it is not needed any more"
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::snapshot::FrozenImage,
        types::{SnapshotRef, Uuid},
    };

    fn snapshot(name: &str, image: &str, overlay: Option<&str>) -> Snapshot {
        let domain = DomainRef { name: "web".to_owned(), uuid: Uuid([0; 16]), id: 1 };
        Snapshot {
            reference: SnapshotRef { name: name.to_owned(), domain },
            parent: None,
            current: false,
            created_at_s: 0,
            state: String::new(),
            has_memory: overlay.is_none(),
            description: None,
            disks: vec![SnapshotDisk {
                target: "vda".to_owned(),
                overlay: overlay.map(str::to_owned),
                inside: overlay.is_none(),
                frozen: Some(FrozenImage { file: image.to_owned(), format: "qcow2".to_owned() }),
            }],
        }
    }

    /// `chain`: the image in use first. `others`: further images, each with what it lies on.
    fn images(chain: &[&str], others: &[(&str, &str)]) -> Images {
        let pairs = chain.iter().zip(chain.iter().skip(1).map(Some).chain([None]));
        let mut backing: BTreeMap<String, Option<String>> =
            pairs.map(|(image, below)| (image.to_string(), below.map(|below| below.to_string()))).collect();
        backing.extend(others.iter().map(|(image, below)| (image.to_string(), Some(below.to_string()))));
        let chains = [("vda".to_owned(), chain.iter().map(|image| image.to_string()).collect())].into();
        Images { backing, chains }
    }

    const BASE: &str = "/s/web.qcow2";
    const ONE: &str = "/s/web-vda-d1.qcow2";
    const TWO: &str = "/s/web-vda-d2.qcow2";

    #[test]
    fn no_revert_writes_to_an_image_that_another_point_froze() {
        let (m1, d1) = (snapshot("m1", BASE, None), snapshot("d1", BASE, Some(ONE)));
        let why = hindrance(&m1, std::slice::from_ref(&d1), &images(&[ONE, BASE], &[])).unwrap();
        assert!(why.contains("would write over d1"), "{why}");
        // Without the record, the image above is still in the way.
        let why = hindrance(&m1, &[], &images(&[ONE, BASE], &[])).unwrap();
        assert!(why.contains("would ruin /s/web-vda-d1.qcow2"), "{why}");
        assert_eq!(hindrance(&m1, &[], &images(&[BASE], &[])), None);
        // A point within the overlay may be gone back to, also after a revert of d1 put another on top.
        let m2 = snapshot("m2", ONE, None);
        assert_eq!(hindrance(&m2, std::slice::from_ref(&d1), &images(&[TWO, BASE], &[(ONE, BASE)])), None);
        assert_eq!(hindrance(&d1, &[m1], &images(&[ONE, BASE], &[])), None);
        let why = hindrance(&d1, &[], &images(&[BASE], &[])).unwrap();
        assert!(why.contains("is written over"), "{why}");
    }

    #[test]
    fn only_our_own_images_go_and_only_if_nothing_needs_them() {
        let unneeded =
            |images: &Images, held: &str, others: &[Snapshot]| images.unneeded("web", &[held.to_owned()], others);
        // On a branch that a revert left: both overlays go, the first image never.
        let branch = images(&["/s/web-vda-r1.qcow2", BASE], &[(ONE, BASE), (TWO, ONE)]);
        assert_eq!(unneeded(&branch, TWO, &[]), [TWO, ONE]);
        assert_eq!(unneeded(&branch, ONE, &[]), Vec::<String>::new(), "another image lies on it");
        assert_eq!(unneeded(&branch, TWO, &[snapshot("m2", ONE, None)]), [TWO]);
        assert_eq!(unneeded(&branch, TWO, &[snapshot("m2", TWO, None)]), Vec::<String>::new());
        assert_eq!(unneeded(&branch, "/s/web-vda-r1.qcow2", &[]), Vec::<String>::new(), "in use");
        assert_eq!(unneeded(&images(&[ONE], &[]), BASE, &[]), Vec::<String>::new());
        assert!(!is_our_own("web", "/s/web-1.qcow2") && !is_our_own("web", "/s/web-vda.qcow2"));
        assert!(is_our_own("a/b", "/s/a_b-vda-ms-1.qcow2"));
    }
}
