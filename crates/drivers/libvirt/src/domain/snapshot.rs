//! Snapshots as libvirt keeps them: list, create, revert, delete, and carrying their records from host to host.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use super::inventory::XmlFlags;
use crate::{
    connection::Connection,
    definition::Definition,
    error::{Error, ErrorCode, Result},
    numbers::flags,
    procedures::Procedure,
    types::{DomainRef, SnapshotRef},
    xml::{Element, escaped},
};

/// Between two attempts to list snapshots while one is being taken.
const TAKING_PAUSE: Duration = Duration::from_millis(100);

fn is_being_taken(error: &Error) -> bool {
    error.is(ErrorCode::INVALID_ARG) && error.to_string().contains("virGetDomainSnapshot")
}

flags! {
    /// How to create (`virDomainSnapshotCreateFlags`).
    CreateFlags {
        /// Only write libvirt's record, for a snapshot that exists.
        REDEFINE = 0,
        /// The redefined one is what the domain stands on.
        CURRENT = 1,
        /// Disks only, by overlays.
        DISK_ONLY = 4,
        /// Freeze the guest's file systems meanwhile; fails without an agent.
        QUIESCE = 6,
        /// All disks or none.
        ATOMIC = 7,
    }
}

flags! {
    /// How to revert (`virDomainSnapshotRevertFlags`).
    RevertFlags {
        /// Run afterwards, whatever state was recorded.
        RUNNING = 0,
        /// Be paused afterwards.
        PAUSED = 1,
        /// Do it although libvirt finds it risky.
        FORCE = 2,
    }
}

flags! {
    /// What to delete (`virDomainSnapshotDeleteFlags`).
    DeleteFlags {
        /// All that stem from it too.
        CHILDREN = 0,
        /// Only libvirt's record; the data stays.
        METADATA_ONLY = 1,
    }
}

const TOPOLOGICAL: u32 = 1 << 10;
const SECURE: u32 = 1;

/// A snapshot and how it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// How calls refer to it.
    pub reference: SnapshotRef,
    /// The snapshot the domain stood on when it was taken.
    pub parent: Option<String>,
    /// The domain stands on it now: the next one will have it for a parent.
    pub current: bool,
    /// When, in seconds since 1970.
    pub created_at_s: i64,
    /// `running`, `shutoff`, `paused` or `disk-snapshot`.
    pub state: String,
    /// The guest's memory is part of it.
    pub has_memory: bool,
    /// Words given when it was taken.
    pub description: Option<String>,
    /// Its disks.
    pub disks: Vec<SnapshotDisk>,
}

impl Snapshot {
    /// True if it is made of overlays alone: libvirt 9 can't revert it, [`Connection::revert_external`] can.
    pub fn is_external(&self) -> bool {
        self.disks.iter().any(|disk| disk.overlay.is_some())
    }

    /// Reads libvirt's record of a snapshot; `current` is the name of the one that the domain stands on.
    pub fn parse(reference: SnapshotRef, xml: &str, current: Option<&str>) -> Result<Self> {
        let subject = format!("snapshot {} of {}", reference.name, reference.domain);
        let root = Element::parse_without(xml, &subject, &["inactiveDomain"])?;
        let text = |path: &[&str]| root.text_of(path).map(str::to_owned);
        let defined = root.find(&["domain", "devices"]).into_iter().flat_map(|devices| devices.all("disk"));
        let target_of = |disk: &'_ Element| disk.find(&["target"])?.attribute("dev").map(str::to_owned);
        let defined: BTreeMap<_, _> = defined.filter_map(|disk| Some((target_of(disk)?, disk))).collect();
        let disks = root.find(&["disks"]).into_iter().flat_map(|disks| disks.all("disk")).filter_map(|disk| {
            let target = disk.attribute("name")?.to_owned();
            let file = |disk: &Element| Some(disk.find(&["source"])?.attribute("file")?.to_owned());
            let overlay = file(disk).filter(|_| disk.attribute("snapshot") == Some("external"));
            let inside = disk.attribute("snapshot") == Some("internal");
            let frozen = defined.get(&target).and_then(|disk| {
                let format = disk.find(&["driver"]).and_then(|driver| driver.attribute("type")).unwrap_or("raw");
                Some(FrozenImage { file: file(disk)?, format: format.to_owned() })
            });
            Some(SnapshotDisk { target, overlay, inside, frozen })
        });
        Ok(Self {
            parent: text(&["parent", "name"]),
            current: current == Some(&reference.name),
            created_at_s: root.text_of(&["creationTime"]).and_then(|time| time.parse().ok()).unwrap_or(0),
            state: text(&["state"]).unwrap_or_default(),
            has_memory: root
                .find(&["memory"])
                .and_then(|memory| memory.attribute("snapshot"))
                .is_some_and(|kind| kind != "no"),
            description: text(&["description"]),
            disks: disks.collect(),
            reference,
        })
    }
}

/// A disk of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotDisk {
    /// Such as `vda`.
    pub target: String,
    /// The overlay that was put on top, in an external snapshot: what came after.
    pub overlay: Option<String>,
    /// Its state lies within its image, in an internal snapshot.
    pub inside: bool,
    /// The image as it was: in an external snapshot the state itself, not to be written to.
    pub frozen: Option<FrozenImage>,
}

/// An image as a snapshot recorded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrozenImage {
    /// Its path.
    pub file: String,
    /// `qcow2`, `raw` and others, as the domain's definition said then.
    pub format: String,
}

/// What to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSnapshot {
    /// Its name, unique in the domain.
    pub name: String,
    /// Words for people.
    pub description: String,
    /// How.
    pub kind: SnapshotKind,
}

/// How to take a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotKind {
    /// Within the images (all must be qcow2), with the memory if it runs. The guest stands still meanwhile.
    Internal,
    /// Disks alone, by putting an overlay on each.
    External {
        /// Target and new file of each disk; disks not named are left out.
        overlays: Vec<(String, String)>,
        /// Freeze the guest's file systems meanwhile; fails without an agent.
        quiesce: bool,
    },
}

/// libvirt's record of a snapshot, enough to write it again on another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRecord {
    /// Its name.
    pub name: String,
    /// The whole record, passwords included.
    pub xml: String,
    /// The domain stands on it.
    pub current: bool,
}

/// Which snapshots a domain has: much less than their records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotNames {
    /// All of them, parents before children.
    pub all: Vec<String>,
    /// The one that the domain stands on.
    pub current: Option<String>,
}

impl Connection {
    /// Its snapshots, parents before children. `limit` holds for each call: two and one for each snapshot.
    pub async fn list_snapshots(&self, domain: &DomainRef, limit: Duration) -> Result<Vec<Snapshot>> {
        let names = self.snapshot_names(domain, limit).await?;
        let records = self.snapshot_records(domain, &names, limit).await?;
        let snapshots = records.into_iter().map(|SnapshotRecord { name, xml, .. }| {
            Snapshot::parse(SnapshotRef { name, domain: domain.clone() }, &xml, names.current.as_deref())
        });
        snapshots.collect()
    }

    /// The snapshot called `name`; `None` if there is none. `limit` holds for each of two calls.
    pub async fn find_snapshot(&self, domain: &DomainRef, name: &str, limit: Duration) -> Result<Option<Snapshot>> {
        let reference = SnapshotRef { name: name.to_owned(), domain: domain.clone() };
        match self.snapshot_xml(&reference, limit).await {
            Ok(xml) => {
                let current = self.current_snapshot(domain, limit).await?;
                Snapshot::parse(reference, &xml, current.as_deref()).map(Some)
            }
            Err(error) if error.is(ErrorCode::NO_DOMAIN_SNAPSHOT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Which snapshots it has. `limit` holds for each of two calls, made at once.
    pub async fn snapshot_names(&self, domain: &DomainRef, limit: Duration) -> Result<SnapshotNames> {
        let (all, current) = tokio::try_join!(self.snapshot_refs(domain, limit), self.current_snapshot(domain, limit))?;
        Ok(SnapshotNames { all: all.into_iter().map(|snapshot| snapshot.name).collect(), current })
    }

    /// While anybody takes a snapshot, libvirt 9 has one without a name yet, and fails to list any: asked again then.
    async fn snapshot_refs(&self, domain: &DomainRef, limit: Duration) -> Result<Vec<SnapshotRef>> {
        let (arguments, until) = ((domain, 1_i32, TOPOLOGICAL), Instant::now() + limit);
        loop {
            match self.call(Procedure::DomainListAllSnapshots, &arguments, limit).await {
                Ok(listed) => {
                    let (snapshots, _count): (_, i32) = listed;
                    return Ok(snapshots);
                }
                Err(error) if is_being_taken(&error) && Instant::now() + TAKING_PAUSE < until => {
                    tokio::time::sleep(TAKING_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn current_snapshot(&self, domain: &DomainRef, limit: Duration) -> Result<Option<String>> {
        let current: Result<(SnapshotRef,)> =
            self.call(Procedure::DomainSnapshotCurrent, &(domain, 0_u32), limit).await;
        match current {
            Ok((snapshot,)) => Ok(Some(snapshot.name)),
            Err(error) if error.is(ErrorCode::NO_DOMAIN_SNAPSHOT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// libvirt's record of a snapshot, passwords included.
    pub async fn snapshot_xml(&self, snapshot: &SnapshotRef, limit: Duration) -> Result<String> {
        let (xml,) = self.call(Procedure::DomainSnapshotGetXmlDesc, &(snapshot, SECURE), limit).await?;
        Ok(xml)
    }

    /// Takes a snapshot. All disks or none: a failure leaves the domain as it was.
    pub async fn create_snapshot(&self, domain: &DomainRef, new: &NewSnapshot, limit: Duration) -> Result<SnapshotRef> {
        let (disks, flags) = match &new.kind {
            SnapshotKind::Internal => (String::new(), CreateFlags::NONE),
            SnapshotKind::External { overlays, quiesce } => {
                let flags = CreateFlags::DISK_ONLY | CreateFlags::ATOMIC;
                let flags = if *quiesce { flags | CreateFlags::QUIESCE } else { flags };
                let xml = self.domain_xml(domain, XmlFlags::NONE, limit).await?;
                (external_disks(&Definition::parse(&xml)?, overlays), flags)
            }
        };
        let (name, description) = (escaped(&new.name), escaped(&new.description));
        let xml = format!(
            "<domainsnapshot><name>{name}</name><description>{description}</description>{disks}</domainsnapshot>"
        );
        self.create_snapshot_xml(domain, &xml, flags, limit).await
    }

    async fn create_snapshot_xml(
        &self,
        domain: &DomainRef,
        xml: &str,
        flags: CreateFlags,
        limit: Duration,
    ) -> Result<SnapshotRef> {
        let (snapshot,) = self.call(Procedure::DomainSnapshotCreateXml, &(domain, xml, flags), limit).await?;
        Ok(snapshot)
    }

    /// Brings the domain back to an internal snapshot, whatever that may ruin: ask [`Connection::check_revert`] first. For
    /// external ones see [`Connection::revert_external`].
    pub async fn revert(&self, snapshot: &SnapshotRef, flags: RevertFlags, limit: Duration) -> Result<()> {
        self.call(Procedure::DomainRevertToSnapshot, &(snapshot, flags), limit).await
    }

    /// Deletes an internal snapshot within the image in use, or only the record of any. See
    /// [`Connection::delete_internal`] and [`Connection::delete_external`].
    pub async fn delete_snapshot(&self, snapshot: &SnapshotRef, flags: DeleteFlags, limit: Duration) -> Result<()> {
        self.call(Procedure::DomainSnapshotDelete, &(snapshot, flags), limit).await
    }

    /// The records of these snapshots of a domain, in the same order: keep them before forgetting them on this host.
    pub async fn snapshot_records(
        &self,
        domain: &DomainRef,
        names: &SnapshotNames,
        limit: Duration,
    ) -> Result<Vec<SnapshotRecord>> {
        let mut records = Vec::new();
        for name in &names.all {
            let reference = SnapshotRef { name: name.clone(), domain: domain.clone() };
            let xml = self.snapshot_xml(&reference, limit).await?;
            records.push(SnapshotRecord { name: reference.name, xml, current: names.current.as_ref() == Some(name) });
        }
        Ok(records)
    }

    /// Removes all records of a domain's snapshots from this host; the data stays.
    pub async fn forget_snapshots(&self, domain: &DomainRef, limit: Duration) -> Result<()> {
        for snapshot in self.snapshot_refs(domain, limit).await?.iter().rev() {
            self.delete_snapshot(snapshot, DeleteFlags::METADATA_ONLY, limit).await?;
        }
        Ok(())
    }

    /// Writes records again, on this host or the one the domain moved to. Those that are there already are left alone.
    pub async fn restore_snapshots(
        &self,
        domain: &DomainRef,
        records: &[SnapshotRecord],
        limit: Duration,
    ) -> Result<()> {
        let known = self.snapshot_refs(domain, limit).await?;
        let known: BTreeSet<String> = known.into_iter().map(|snapshot| snapshot.name).collect();
        for record in records.iter().filter(|record| !known.contains(&record.name)) {
            self.write_record(domain, record, limit).await?;
        }
        Ok(())
    }

    /// Writes one record, over the one of the same name if there is one.
    pub(super) async fn write_record(
        &self,
        domain: &DomainRef,
        record: &SnapshotRecord,
        limit: Duration,
    ) -> Result<()> {
        let current = if record.current { CreateFlags::CURRENT } else { CreateFlags::NONE };
        self.create_snapshot_xml(domain, &record.xml, CreateFlags::REDEFINE | current, limit).await.map(drop)
    }
}

fn external_disks(definition: &Definition, overlays: &[(String, String)]) -> String {
    let disks = definition.disks.iter().map(|disk| {
        let target = escaped(&disk.target);
        match overlays.iter().find(|(target, _)| *target == disk.target) {
            Some((_, file)) => format!(
                "<disk name='{target}' snapshot='external'><driver type='qcow2'/><source file='{}'/></disk>",
                escaped(file)
            ),
            None => format!("<disk name='{target}' snapshot='no'/>"),
        }
    });
    format!("<disks>{}</disks>", disks.collect::<String>())
}
