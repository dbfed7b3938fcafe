//! Snapshots on real images: what was written after a snapshot is gone after the revert, what was before is there, and
//! nothing that someone still needs is ever written to or deleted.

use std::{process::Command, time::Duration};

use mainstay_libvirt::{
    Connection, DomainRef, Error,
    domain::{
        power::{DestroyFlags, StartFlags, UndefineFlags},
        snapshot::{DeleteFlags, FrozenImage, NewSnapshot, RevertFlags, Snapshot, SnapshotKind},
        state::{DomainState, Running},
    },
};

use crate::fixture::{BOOT, LIMIT, TestLab, domain, until};

/// A pattern written into, or looked for in, an image of a domain that is off.
fn qemu_io(image: &str, command: &str) -> bool {
    let output =
        Command::new("qemu-io").args(["-c", command, image]).output().expect("qemu-io (qemu-utils) is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() || text.contains("verification failed"), "{command} {image}: {output:?}");
    !text.contains("verification failed")
}

/// Writes `byte` far behind what the guest's file system uses.
fn write(image: &str, byte: u8) {
    assert!(qemu_io(image, &format!("write -P {byte} 200M 64k")));
}

fn holds(image: &str, byte: u8) -> bool {
    qemu_io(image, &format!("read -P {byte} 200M 64k"))
}

async fn snapshot(connection: &Connection, domain: &DomainRef, name: &str) -> Snapshot {
    let all = connection.list_snapshots(domain, LIMIT).await.unwrap();
    all.into_iter().find(|snapshot| snapshot.reference.name == name).unwrap_or_else(|| panic!("no snapshot {name}"))
}

struct Disk {
    lab: TestLab,
    connection: Connection,
    web: DomainRef,
    /// The guest's image, folder and all.
    base: String,
}

impl Disk {
    /// A guest that is off, with a disk to write patterns to.
    async fn off() -> Self {
        let lab = TestLab::up(1, 1).await;
        let connection = lab.open("h1").await;
        let web = domain(&connection, "web-1").await;
        connection.destroy(&web, DestroyFlags::NONE, LIMIT).await.unwrap();
        let base = lab.layout().guest_disk("web-1").display().to_string();
        Self { lab, connection, web, base }
    }

    fn file(&self, name: &str) -> String {
        self.lab.layout().shared().join(name).display().to_string()
    }

    async fn external(&self, name: &str) -> String {
        let file = self.file(&format!("{name}.qcow2"));
        let kind = SnapshotKind::External { overlays: vec![("vda".to_owned(), file.clone())], quiesce: false };
        let new = NewSnapshot { name: name.to_owned(), description: "it's a <test>".to_owned(), kind };
        self.connection.create_snapshot(&self.web, &new, LIMIT).await.unwrap();
        file
    }

    async fn start(&self) {
        self.connection.start(&self.web, StartFlags::NONE, BOOT).await.unwrap();
    }

    async fn stop(&self) {
        self.connection.destroy(&self.web, DestroyFlags::NONE, LIMIT).await.unwrap();
    }

    async fn chain(&self) -> Vec<String> {
        self.connection.image_chain(&self.web, "vda", LIMIT).await.unwrap()
    }
}

#[tokio::test]
async fn internal_with_memory() {
    let lab = TestLab::up(1, 1).await;
    let connection = lab.open("h1").await;
    let web = domain(&connection, "web-1").await;
    for name in ["first", "it's \"second\" & <last>"] {
        let new = NewSnapshot { name: name.to_owned(), description: String::new(), kind: SnapshotKind::Internal };
        connection.create_snapshot(&web, &new, BOOT).await.unwrap();
    }
    let all = connection.list_snapshots(&web, LIMIT).await.unwrap();
    let [first, second] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((first.parent.as_deref(), second.parent.as_deref()), (None, Some("first")));
    assert!(!first.current && second.current && first.has_memory && !first.is_external());
    assert!(first.created_at_s > 1_700_000_000 && first.state == "running", "{first:?}");

    connection.destroy(&web, DestroyFlags::NONE, LIMIT).await.unwrap();
    connection.revert(&first.reference, RevertFlags::RUNNING, BOOT).await.unwrap();
    // It goes on where it was, without booting.
    assert_eq!(connection.domain_state(&web, LIMIT).await.unwrap(), DomainState::Running(Running::FromSnapshot));
    lab.wait_guest_answers("web-1", BOOT).await.unwrap();
    assert!(snapshot(&connection, &web, "first").await.current);
    for snapshot in &all {
        connection.delete_snapshot(&snapshot.reference, DeleteFlags::NONE, LIMIT).await.unwrap();
    }
    assert_eq!(connection.list_snapshots(&web, LIMIT).await.unwrap(), []);
}

#[tokio::test]
async fn external_while_it_runs_with_its_file_systems_frozen() {
    let lab = TestLab::up(1, 1).await;
    let connection = lab.open("h1").await;
    let web = domain(&connection, "web-1").await;
    until("agent", async || connection.agent_ping(&web, Duration::from_secs(1)).await.ok()).await;
    let file = lab.layout().shared().join("live.qcow2").display().to_string();
    let kind = SnapshotKind::External { overlays: vec![("vda".to_owned(), file.clone())], quiesce: true };
    let new = NewSnapshot { name: "live".to_owned(), description: String::new(), kind };
    connection.create_snapshot(&web, &new, LIMIT).await.unwrap();
    assert_eq!(connection.image_chain(&web, "vda", LIMIT).await.unwrap()[0], file);
    assert_eq!(snapshot(&connection, &web, "live").await.state, "disk-snapshot");
    assert_eq!(connection.thaw(&web, LIMIT).await.unwrap(), 0, "nothing is left frozen");
}

#[tokio::test]
async fn external_reverts_grow_a_branch_and_touch_nothing() {
    let disk = Disk::off().await;
    write(&disk.base, 1);
    let overlay = disk.external("good").await;
    write(&overlay, 2);
    let good = snapshot(&disk.connection, &disk.web, "good").await;
    assert!(good.is_external() && !good.has_memory && good.current, "{good:?}");
    assert_eq!(good.description.as_deref(), Some("it's a <test>"));
    let frozen = FrozenImage { file: disk.base.clone(), format: "qcow2".to_owned() };
    assert_eq!(good.disks[0].frozen.as_ref(), Some(&frozen));

    disk.start().await;
    let running = disk.connection.revert_external(&disk.web, &good, "r0", LIMIT).await.unwrap_err();
    assert!(matches!(running, Error::Unfit { .. }), "{running:?}");
    disk.stop().await;

    let reverted = disk.connection.revert_external(&disk.web, &good, "r1", LIMIT).await.unwrap();
    let [reverted] = reverted.as_slice() else { panic!("{reverted:?}") };
    assert_eq!((&reverted.frozen, &reverted.left_aside), (&frozen, &overlay));
    assert!(holds(&reverted.overlay, 1), "the state of the snapshot is back");
    assert!(holds(&overlay, 2) && holds(&disk.base, 1), "what came after is kept aside, the snapshot untouched");
    disk.start().await;
    disk.lab.wait_guest_answers("web-1", BOOT).await.unwrap();
    assert_eq!(disk.chain().await, [reverted.overlay.clone(), disk.base.clone()]);
    disk.stop().await;

    // Again to the same point, from a state written meanwhile; a name that is taken changes nothing.
    write(&reverted.overlay, 3);
    let taken = disk.connection.revert_external(&disk.web, &good, "r1", LIMIT).await.unwrap_err();
    assert!(matches!(taken, Error::Libvirt { .. }), "{taken:?}");
    assert!(holds(&reverted.overlay, 3));
    let again = disk.connection.revert_external(&disk.web, &good, "r2", LIMIT).await.unwrap();
    assert!(holds(&again[0].overlay, 1));
    assert!(snapshot(&disk.connection, &disk.web, "good").await.current);

    // A later snapshot on the new branch has the one reverted to as its parent.
    disk.external("later").await;
    assert_eq!(snapshot(&disk.connection, &disk.web, "later").await.parent.as_deref(), Some("good"));
    disk.connection.undefine(&disk.web, UndefineFlags::LEAVE_DATA, LIMIT).await.unwrap();
    assert!(holds(&disk.base, 1), "undefining leaves the data");
}

/// libvirt 9 writes into the records of later snapshots that they stand on the image under the deleted one, folded or not.
#[tokio::test]
async fn a_later_point_keeps_its_state_when_only_the_record_before_it_goes() {
    let disk = Disk::off().await;
    write(&disk.base, 1);
    let first = disk.external("d1").await;
    write(&first, 2);
    disk.external("d2").await;
    let d1 = snapshot(&disk.connection, &disk.web, "d1").await;
    disk.connection.revert_external(&disk.web, &d1, "r1", LIMIT).await.unwrap();
    disk.start().await;
    disk.connection.delete_external(&disk.web, &d1, BOOT).await.unwrap();
    disk.stop().await;
    let d2 = snapshot(&disk.connection, &disk.web, "d2").await;
    assert_eq!(d2.disks[0].frozen.as_ref().map(|frozen| &frozen.file), Some(&first), "{d2:?}");
    let reverted = disk.connection.revert_external(&disk.web, &d2, "r2", LIMIT).await.unwrap();
    assert!(holds(&reverted[0].overlay, 2), "the state of d2, not of d1");
}

#[tokio::test]
async fn external_points_are_folded_oldest_and_newest() {
    let disk = Disk::off().await;
    write(&disk.base, 1);
    let mut overlays = Vec::new();
    for (name, byte) in [("s1", 2), ("s2", 3), ("s3", 4)] {
        let overlay = disk.external(name).await;
        write(&overlay, byte);
        overlays.push(overlay);
    }
    let s1 = snapshot(&disk.connection, &disk.web, "s1").await;
    let off = disk.connection.delete_external(&disk.web, &s1, LIMIT).await.unwrap_err();
    assert!(off.to_string().contains("start it first"), "{off}");

    disk.start().await;
    disk.connection.delete_external(&disk.web, &s1, BOOT).await.unwrap();
    assert_eq!(disk.chain().await, [overlays[2].clone(), overlays[1].clone(), disk.base.clone()]);
    let s2 = snapshot(&disk.connection, &disk.web, "s2").await;
    assert_eq!(
        s2.disks[0].frozen.as_ref().map(|frozen| &frozen.file),
        Some(&disk.base),
        "its state is where it was folded to"
    );
    assert_eq!(s2.parent, None);

    let s3 = snapshot(&disk.connection, &disk.web, "s3").await;
    disk.connection.delete_external(&disk.web, &s3, BOOT).await.unwrap();
    assert_eq!(disk.chain().await, [overlays[1].clone(), disk.base.clone()]);
    assert!(!std::path::Path::new(&overlays[0]).exists() && !std::path::Path::new(&overlays[2]).exists());
    disk.stop().await;
    assert!(holds(&overlays[1], 4), "the newest state is kept");
    assert!(holds(&disk.base, 2), "and so is the point that is left");

    let s2 = snapshot(&disk.connection, &disk.web, "s2").await;
    let reverted = disk.connection.revert_external(&disk.web, &s2, "r1", LIMIT).await.unwrap();
    assert!(holds(&reverted[0].overlay, 2));

    // The branch left aside lies on the same image: folding into that would ruin it, so only the record goes.
    disk.start().await;
    disk.connection.delete_external(&disk.web, &s2, BOOT).await.unwrap();
    assert_eq!(disk.chain().await, [reverted[0].overlay.clone(), disk.base.clone()]);
    assert_eq!(disk.connection.list_snapshots(&disk.web, LIMIT).await.unwrap(), []);
    disk.stop().await;
    assert!(holds(&overlays[1], 4), "what was left aside is whole");
}

#[tokio::test]
async fn points_of_both_kinds_do_not_ruin_each_other() {
    let disk = Disk::off().await;
    let internal = async |name: &str| {
        let new = NewSnapshot { name: name.to_owned(), description: String::new(), kind: SnapshotKind::Internal };
        disk.connection.create_snapshot(&disk.web, &new, BOOT).await.unwrap();
    };
    let point = async |name: &str| snapshot(&disk.connection, &disk.web, name).await;
    write(&disk.base, 1);
    internal("m1").await;
    write(&disk.base, 2);
    let overlay = disk.external("d1").await;
    write(&overlay, 3);
    let m1 = point("m1").await;
    let refused = disk.connection.check_revert(&disk.web, &m1, LIMIT).await.unwrap_err();
    assert!(refused.to_string().contains("would write over d1"), "{refused}");

    // Within the overlay, kept when the domain goes back to d1, and gone back to after that.
    internal("m2").await;
    write(&overlay, 4);
    let d1 = point("d1").await;
    let xml = disk.lab.virsh("h1", &["dumpxml", "--inactive", "web-1"]).await.unwrap();
    let reverted = disk.connection.revert_external(&disk.web, &d1, "r1", LIMIT).await.unwrap();
    disk.connection.keep_left_aside(&disk.web, "broken-1", "aside", &xml, &reverted, LIMIT).await.unwrap();
    assert!(holds(&reverted[0].overlay, 2));
    let aside = point("broken-1").await;
    assert_eq!(aside.disks[0].frozen.as_ref().map(|frozen| &frozen.file), Some(&overlay));
    disk.connection.check_revert(&disk.web, &aside, LIMIT).await.unwrap();
    let refused = disk.connection.check_revert(&disk.web, &point("m2").await, LIMIT).await.unwrap_err();
    assert!(refused.to_string().contains("would write over broken-1"), "{refused}");

    // d1 can't be folded: m2 and what was left aside lie on it. Its record goes, all else is as it was.
    disk.start().await;
    disk.connection.delete_external(&disk.web, &d1, BOOT).await.unwrap();
    assert_eq!(disk.chain().await, [reverted[0].overlay.clone(), disk.base.clone()]);
    disk.connection.delete_external(&disk.web, &aside, BOOT).await.unwrap();
    assert!(std::path::Path::new(&overlay).exists(), "m2 lies within it");
    disk.stop().await;
    let m2 = point("m2").await;
    disk.connection.check_revert(&disk.web, &m2, LIMIT).await.unwrap();
    disk.connection.revert(&m2.reference, RevertFlags::NONE, BOOT).await.unwrap();
    assert!(holds(&overlay, 3));
    disk.start().await;

    // m1 lies in an image that is not written to: only its record can go.
    disk.connection.delete_internal(&disk.web, &m1, BOOT).await.unwrap();
    disk.connection.delete_internal(&disk.web, &m2, BOOT).await.unwrap();
    assert_eq!(disk.connection.list_snapshots(&disk.web, LIMIT).await.unwrap(), []);
    assert_eq!(disk.chain().await, [overlay.clone(), disk.base.clone()]);
}

#[tokio::test]
async fn a_deletion_that_was_cut_short_is_finished_by_the_next_try() {
    let disk = Disk::off().await;
    write(&disk.base, 1);
    let first = disk.external("s1").await;
    write(&first, 2);
    let second = disk.external("s2").await;
    write(&second, 3);
    let s1 = snapshot(&disk.connection, &disk.web, "s1").await;
    disk.start().await;
    // As if all had ended right after the fold.
    disk.connection.delete_snapshot(&s1.reference, DeleteFlags::METADATA_ONLY, LIMIT).await.unwrap();
    disk.connection.commit(&disk.web, "vda", &first, &disk.base, BOOT).await.unwrap();

    disk.connection.delete_external(&disk.web, &s1, BOOT).await.unwrap();
    assert_eq!(disk.chain().await, [second.clone(), disk.base.clone()]);
    let s2 = snapshot(&disk.connection, &disk.web, "s2").await;
    assert_eq!(s2.disks[0].frozen.as_ref().map(|frozen| &frozen.file), Some(&disk.base));
    assert!(!std::path::Path::new(&first).exists());
    disk.stop().await;
    assert!(holds(&second, 3) && holds(&disk.base, 2));
}

#[tokio::test]
async fn several_reverts_on_one_folder_at_once() {
    let lab = TestLab::up(1, 3).await;
    let connection = lab.open("h1").await;
    let mut points = Vec::new();
    for name in lab.guest_names() {
        let domain = domain(&connection, &name).await;
        let file = lab.layout().shared().join(format!("{name}-s.qcow2")).display().to_string();
        let kind = SnapshotKind::External { overlays: vec![("vda".to_owned(), file)], quiesce: false };
        let new = NewSnapshot { name: "s".to_owned(), description: String::new(), kind };
        connection.create_snapshot(&domain, &new, LIMIT).await.unwrap();
        connection.destroy(&domain, DestroyFlags::NONE, LIMIT).await.unwrap();
        points.push((snapshot(&connection, &domain, "s").await, domain));
    }
    // By connections of their own: the folder is what they share.
    let revert = async |point: Snapshot, domain: DomainRef| {
        let connection = lab.open("h1").await;
        connection.revert_external(&domain, &point, "r", LIMIT).await.map(drop)
    };
    let [(point, domain), (other_point, other), (third_point, third)] = points.try_into().unwrap();
    let reverted = tokio::join!(revert(point, domain), revert(other_point, other), revert(third_point, third));
    assert!(matches!(reverted, (Ok(()), Ok(()), Ok(()))), "{reverted:?}");
    let pools = lab.virsh("h1", &["pool-list", "--all", "--name"]).await.unwrap();
    assert_eq!(pools.lines().filter(|line| !line.trim().is_empty()).count(), 1, "one pool for the folder: {pools}");
}
