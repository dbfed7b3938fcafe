//! Live migration between two real hosts.

use mainstay_libvirt::{
    Error, EventKind, Lifecycle,
    domain::{
        migration::{JobKind, MigrateFlags, Migration, Records},
        snapshot::{NewSnapshot, SnapshotKind},
        state::{DomainState, Running},
    },
    lifecycle::Stopped,
};

use crate::fixture::{BOOT, LIMIT, TestLab, domain, turn, until};

fn to(lab: &TestLab, host: &str) -> Migration {
    Migration {
        destination: lab.libvirt_uri(host).unwrap(),
        // The lab's shared folder is no file system that libvirt knows as shared.
        flags: MigrateFlags::MOVE | MigrateFlags::UNSAFE,
        data_uri: None,
        bandwidth_mib_s: None,
    }
}

#[tokio::test]
async fn snapshots_move_along_and_stay_when_it_fails() {
    let lab = TestLab::up(2, 1).await;
    let (here, there) = (lab.open("h1").await, lab.open("h2").await);
    let mut events = here.subscribe(&[EventKind::Lifecycle], LIMIT).await.unwrap();
    let web = domain(&here, "web-1").await;
    for name in ["one", "two"] {
        let new = NewSnapshot { name: name.to_owned(), description: String::new(), kind: SnapshotKind::Internal };
        here.create_snapshot(&web, &new, BOOT).await.unwrap();
    }
    let before = here.list_snapshots(&web, LIMIT).await.unwrap();
    let names = here.snapshot_names(&web, LIMIT).await.unwrap();
    let snapshots = here.snapshot_records(&web, &names, LIMIT).await.unwrap();
    let records = Records { snapshots, checkpoints: Vec::new() };

    let refused = here.migrate(&web, &to(&lab, "h2"), BOOT).await.unwrap_err();
    assert!(matches!(refused, Error::Libvirt { .. }), "snapshots hold it back: {refused:?}");

    let nowhere = Migration { destination: "qemu+tcp://10.77.0.99/system".to_owned(), ..to(&lab, "h2") };
    let failed = here.migrate_with_records(&there, &web, &records, &nowhere, BOOT, LIMIT).await.unwrap_err();
    assert!(matches!(failed, Error::Libvirt { .. }), "{failed:?}");
    assert_eq!(here.list_snapshots(&web, LIMIT).await.unwrap(), before, "a failure leaves them as they were");

    here.migrate_with_records(&there, &web, &records, &to(&lab, "h2"), BOOT, LIMIT).await.unwrap();
    turn(&mut events, "web-1", Lifecycle::Stopped(Stopped::Migrated)).await;
    assert_eq!(here.find_domain("web-1", LIMIT).await.unwrap(), None);
    let moved = domain(&there, "web-1").await;
    assert_eq!(there.domain_state(&moved, LIMIT).await.unwrap(), DomainState::Running(Running::Migrated));
    let after = there.list_snapshots(&moved, LIMIT).await.unwrap();
    let shape = |list: &[mainstay_libvirt::domain::snapshot::Snapshot]| -> Vec<_> {
        list.iter().map(|s| (s.reference.name.clone(), s.parent.clone(), s.current, s.created_at_s)).collect()
    };
    assert_eq!(shape(&after), shape(&before));
    lab.wait_guest_answers("web-1", BOOT).await.unwrap();
}

#[tokio::test]
async fn checkpoints_move_along_with_their_bitmaps() {
    let lab = TestLab::up(2, 1).await;
    let (here, there) = (lab.open("h1").await, lab.open("h2").await);
    let web = domain(&here, "web-1").await;
    for name in ["full-1", "inc-2"] {
        lab.virsh("h1", &["checkpoint-create-as", "web-1", name]).await.unwrap();
    }
    let names = here.checkpoint_names(&web, LIMIT).await.unwrap();
    assert_eq!(names, ["full-1", "inc-2"]);
    let checkpoints = here.checkpoint_records(&web, &names, LIMIT).await.unwrap();
    let records = Records { snapshots: Vec::new(), checkpoints };
    here.migrate_with_records(&there, &web, &records, &to(&lab, "h2"), BOOT, LIMIT).await.unwrap();
    let moved = domain(&there, "web-1").await;
    assert_eq!(there.checkpoint_names(&moved, LIMIT).await.unwrap(), names);
    // The next incremental backup finds what it needs.
    let backup = "<domainbackup mode='push'><incremental>inc-2</incremental><disks><disk name='vda' type='file'>\
        <driver type='qcow2'/><target file='BACKUP'/></disk></disks></domainbackup>";
    let file = lab.layout().shared().join("inc.xml");
    let target = lab.layout().shared().join("inc.qcow2").display().to_string();
    std::fs::write(&file, backup.replace("BACKUP", &target)).unwrap();
    lab.virsh("h2", &["backup-begin", "web-1", &file.display().to_string()]).await.unwrap();
}

#[tokio::test]
async fn progress_is_seen_and_an_abort_leaves_it_where_it_is() {
    let lab = TestLab::up(2, 1).await;
    let here = lab.open("h1").await;
    let web = domain(&here, "web-1").await;
    // Slow enough to be caught under way.
    let slow = Migration { bandwidth_mib_s: Some(1), ..to(&lab, "h2") };
    let migrating = here.migrate(&web, &slow, BOOT);
    let aborting = async {
        let progress = until("progress", async || {
            let stats = here.job_stats(&web, LIMIT).await.unwrap();
            (stats.data_processed > Some(0)).then_some(stats)
        })
        .await;
        assert!(matches!(progress.kind, JobKind::Unbounded | JobKind::Bounded), "{progress:?}");
        assert!(progress.data_remaining > Some(0) && progress.elapsed_ms.is_some(), "{progress:?}");
        here.abort_job(&web, LIMIT).await.unwrap();
    };
    let (migrated, ()) = tokio::join!(migrating, aborting);
    let error = migrated.unwrap_err();
    assert!(matches!(error, Error::Libvirt { .. }) && !error.outcome_unknown(), "{error:?}");
    let state = here.domain_state(&web, LIMIT).await.unwrap();
    assert!(matches!(state, DomainState::Running(_)), "{state:?}");
    assert_eq!(here.job_stats(&web, LIMIT).await.unwrap().kind, JobKind::None);
    tokio::time::timeout(BOOT, lab.wait_guest_answers("web-1", BOOT)).await.unwrap().unwrap();
}

/// Asked for TLS, a guest never moves in clear: without certificates for QEMU it stays where it is, with them it moves.
#[tokio::test]
async fn a_guest_moves_by_tls_or_not_at_all() {
    let lab = TestLab::up(2, 1).await;
    let (here, there) = (lab.open("h1").await, lab.open("h2").await);
    let web = domain(&here, "web-1").await;
    let usual = to(&lab, "h2");
    let by_tls = Migration { flags: usual.flags | MigrateFlags::TLS, ..usual };
    let refused = here.migrate(&web, &by_tls, BOOT).await.unwrap_err();
    assert!(matches!(refused, Error::Libvirt { .. }) && !refused.outcome_unknown(), "{refused:?}");
    println!("without certificates: {refused}");
    assert_eq!(here.domain_state(&web, LIMIT).await.unwrap(), DomainState::Running(Running::Booted));
    assert!(there.find_domain("web-1", LIMIT).await.unwrap().is_none_or(|left| left.id < 0), "nothing runs there");
    lab.wait_guest_answers("web-1", BOOT).await.unwrap();

    // The target's certificate is of an authority that this host does not trust: it stays.
    let (of_h1, of_h2) = (lab.certificates("h1").await.unwrap(), lab.certificates("h2").await.unwrap());
    lab.migrate_by_tls("h1", &of_h2).await.unwrap();
    lab.migrate_by_tls("h2", &of_h1).await.unwrap();
    let here = lab.open("h1").await;
    let web = domain(&here, "web-1").await;
    let refused = here.migrate(&web, &by_tls, BOOT).await.unwrap_err();
    println!("with a certificate that this host does not trust: {refused}");
    assert!(matches!(here.domain_state(&web, LIMIT).await.unwrap(), DomainState::Running(_)));

    lab.migrate_by_tls("h2", &of_h2).await.unwrap();
    here.migrate(&web, &by_tls, BOOT).await.unwrap();
    let there = lab.open("h2").await;
    let moved = domain(&there, "web-1").await;
    assert_eq!(there.domain_state(&moved, LIMIT).await.unwrap(), DomainState::Running(Running::Migrated));
    lab.wait_guest_answers("web-1", BOOT).await.unwrap();
}
