//! A guest dies in every way that the lab knows, and each looks from outside as it should.

#![allow(clippy::unwrap_used, reason = "in a test, a failure is the report")]

mod support;

use std::time::Duration;

use mainstay_lab::{DiskKind, Lab, ScratchLab, Watcher};
use support::{SOON, up};

/// Waits until libvirt's word on a guest (`state (reason)`) is this.
async fn wait_state(lab: &Lab, guest: &str, expected: &str) {
    let asking = async {
        loop {
            let state = lab.virsh("h1", &["domstate", "--reason", guest]).await.unwrap();
            if state.trim() == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, asking).await.unwrap_or_else(|_| panic!("{guest} never became {expected}"));
}

/// Waits until the watcher has heard a guest itself: of what it has not heard before, it can't tell that it was restarted.
async fn heard_by(watcher: &Watcher, guest: &str) {
    let heard = async {
        while watcher.reports().get(guest).is_none_or(|report| report.answers == 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, heard).await.unwrap_or_else(|_| panic!("the watcher never heard {guest}"));
}

#[tokio::test]
async fn every_way_of_dying_looks_different() {
    let lab = up(ScratchLab::spec("guests", 1, 4)).await;
    let watcher = Watcher::start(&lab, Duration::from_millis(500)).unwrap();

    // Killed: the process is gone, and libvirt calls it a crash. Its disk still has what it counted.
    let before = lab.wait_guest_answers("web-1", SOON).await.unwrap();
    heard_by(&watcher, "web-1").await;
    assert_eq!(lab.guest_kill("web-1").await.unwrap(), "h1");
    lab.wait_guest_gone("web-1", SOON).await.unwrap();
    wait_state(&lab, "web-1", "shut off (crashed)").await;
    lab.virsh("h1", &["start", "web-1"]).await.unwrap();
    let after = lab.wait_guest_rebooted("web-1", &before.boot_id, SOON).await.unwrap();
    assert!(after.disk_counter >= before.disk_counter, "written through, yet lost: {before:?} {after:?}");

    // Shut down by its owner from inside: no crash.
    lab.guest_poweroff("db-1").await.unwrap();
    wait_state(&lab, "db-1", "shut off (shutdown)").await;

    // Panicked: the panic device tells.
    lab.guest_panic("web-2").await.unwrap();
    wait_state(&lab, "web-2", "shut off (crashed)").await;

    // Hung: QEMU runs and libvirt is content, but there is no ping, no heartbeat and no disk activity.
    lab.guest_hang("db-2").await.unwrap();
    // It says that it will, and then does: on a loaded machine a last answer and a last write come after that.
    let silent = async {
        loop {
            let written = writes(&lab, "db-2").await;
            // Each waits half a second for an answer.
            let answers = [lab.guest_probe("db-2").await.unwrap(), lab.guest_probe("db-2").await.unwrap()];
            if answers == [None, None] && writes(&lab, "db-2").await == written {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, silent).await.expect("a hung guest answers nobody, and writes nothing to its disk");
    assert!(!lab.guest_pings("db-2").await.unwrap());
    wait_state(&lab, "db-2", "running (booted)").await;

    // Stopped from outside: the same silence, and it goes on as if nothing had been.
    let host = lab.guest_stop("web-1").await.unwrap();
    assert_eq!(lab.where_runs("web-1").unwrap(), [host]);
    // Half a second each: together a gap that the watcher counts, however slow the machine is.
    assert_eq!(lab.guest_probe("web-1").await.unwrap(), None);
    assert_eq!(lab.guest_probe("web-1").await.unwrap(), None);
    lab.guest_cont("web-1").await.unwrap();
    let same = lab.wait_guest_answers("web-1", SOON).await.unwrap();
    assert_eq!(same.boot_id, after.boot_id);

    let report = watcher.reports().remove("web-1").unwrap();
    assert_eq!((report.restarts, report.lost_writes), (1, 0), "{report:?}");
    assert!(report.gaps.len() >= 2, "the kill and the stop are both gaps: {report:?}");
}

#[tokio::test]
async fn disks_fail_and_the_guest_is_paused() {
    let mut spec = ScratchLab::spec("disks", 1, 2);
    spec.guests[0].disk = DiskKind::Faulty;
    spec.guests[1].disk = DiskKind::Small;
    spec.guests[1].agent = true;
    let lab = up(spec).await;

    lab.guest_io_error("web-1").await.unwrap();
    wait_state(&lab, "web-1", "paused (I/O error)").await;
    lab.guest_io_heal("web-1").await.unwrap();
    lab.virsh("h1", &["resume", "web-1"]).await.unwrap();
    lab.wait_guest_answers("web-1", SOON).await.unwrap();

    lab.disk_full("db-1").await.unwrap();
    wait_state(&lab, "db-1", "paused (I/O error)").await;
    lab.disk_free("db-1").await.unwrap();
    lab.virsh("h1", &["resume", "db-1"]).await.unwrap();
    lab.wait_guest_answers("db-1", SOON).await.unwrap();
    lab.virsh("h1", &["qemu-agent-command", "db-1", r#"{"execute":"guest-ping"}"#]).await.unwrap();

    let refused = lab.disk_full("web-1").await.unwrap_err().to_string();
    assert!(refused.contains("web-1") && refused.contains("disk"), "{refused}");
}

/// How many writes QEMU has done for the guest.
async fn writes(lab: &Lab, guest: &str) -> String {
    let statistics = lab.virsh("h1", &["domstats", "--block", guest]).await.unwrap();
    let line = statistics.lines().find(|line| line.contains("wr.reqs")).map(str::to_owned);
    line.unwrap_or_else(|| panic!("no write count in {statistics}"))
}
