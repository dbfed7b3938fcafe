//! What people and other tools do through libvirt, behind the controller's back: `virsh …` in a script.

use mainstay_model::{HostId, PointId, WorkloadId};
use std::fmt;

/// What people do behind the controller's back, through libvirt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PersonDeed {
    Destroy(WorkloadId),
    Shutdown(WorkloadId),
    Start(WorkloadId, HostId),
    Suspend(WorkloadId),
    Resume(WorkloadId),
    Undefine(WorkloadId, HostId),
    Migrate(WorkloadId, HostId),
    Autostart(WorkloadId, HostId, bool),
    /// The named point, or the newest.
    SnapshotDelete(WorkloadId, Option<PointId>),
    SnapshotCreate(WorkloadId, PointId),
    /// The same uuid and disks, another name.
    Rename(WorkloadId, WorkloadId),
    /// Undefined where it was, defined there.
    Redefine(WorkloadId, HostId),
    /// Another VM, with a uuid and disks of its own, is given the guest's name on that host, and runs.
    DefineNamesake(WorkloadId, HostId),
    /// That one goes again.
    UndefineNamesake(WorkloadId, HostId),
}

impl PersonDeed {
    /// Reads what follows `virsh`.
    pub fn parse(words: &[&str]) -> Option<PersonDeed> {
        let workload = WorkloadId::from(*words.get(1)?);
        Some(match *words {
            ["destroy", _] => PersonDeed::Destroy(workload),
            ["shutdown", _] => PersonDeed::Shutdown(workload),
            ["start", _, host] => PersonDeed::Start(workload, host.into()),
            ["suspend", _] => PersonDeed::Suspend(workload),
            ["resume", _] => PersonDeed::Resume(workload),
            ["undefine", _, host] => PersonDeed::Undefine(workload, host.into()),
            ["migrate", _, host] => PersonDeed::Migrate(workload, host.into()),
            ["autostart", _, host, "on"] => PersonDeed::Autostart(workload, host.into(), true),
            ["autostart", _, host, "off"] => PersonDeed::Autostart(workload, host.into(), false),
            ["snapshot-delete", _, "newest"] => PersonDeed::SnapshotDelete(workload, None),
            ["snapshot-delete", _, point] => PersonDeed::SnapshotDelete(workload, Some(point.into())),
            ["snapshot-create", _, point] => PersonDeed::SnapshotCreate(workload, point.into()),
            ["domrename", _, new] => PersonDeed::Rename(workload, new.into()),
            ["redefine", _, host] => PersonDeed::Redefine(workload, host.into()),
            ["define-namesake", _, host] => PersonDeed::DefineNamesake(workload, host.into()),
            ["undefine-namesake", _, host] => PersonDeed::UndefineNamesake(workload, host.into()),
            _ => return None,
        })
    }
}

impl fmt::Display for PersonDeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PersonDeed::Destroy(guest) => write!(f, "destroy {guest}"),
            PersonDeed::Shutdown(guest) => write!(f, "shutdown {guest}"),
            PersonDeed::Start(guest, host) => write!(f, "start {guest} {host}"),
            PersonDeed::Suspend(guest) => write!(f, "suspend {guest}"),
            PersonDeed::Resume(guest) => write!(f, "resume {guest}"),
            PersonDeed::Undefine(guest, host) => write!(f, "undefine {guest} {host}"),
            PersonDeed::Migrate(guest, host) => write!(f, "migrate {guest} {host}"),
            PersonDeed::Autostart(guest, host, on) => {
                write!(f, "autostart {guest} {host} {}", if *on { "on" } else { "off" })
            }
            PersonDeed::SnapshotCreate(guest, point) => write!(f, "snapshot-create {guest} {point}"),
            PersonDeed::Rename(guest, new) => write!(f, "domrename {guest} {new}"),
            PersonDeed::Redefine(guest, host) => write!(f, "redefine {guest} {host}"),
            PersonDeed::DefineNamesake(guest, host) => write!(f, "define-namesake {guest} {host}"),
            PersonDeed::UndefineNamesake(guest, host) => write!(f, "undefine-namesake {guest} {host}"),
            PersonDeed::SnapshotDelete(guest, None) => write!(f, "snapshot-delete {guest} newest"),
            PersonDeed::SnapshotDelete(guest, Some(point)) => write!(f, "snapshot-delete {guest} {point}"),
        }
    }
}
