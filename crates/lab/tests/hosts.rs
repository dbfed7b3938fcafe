//! Hosts fail in every way that the lab knows; the power controller is the only one who sees through it all.

#![allow(clippy::unwrap_used, reason = "in a test, a failure is the report")]

mod support;

use std::process::Output;
use std::time::Duration;

use mainstay_lab::{Lab, PowerFault, ScratchLab};
use support::{SOON, up};
use tokio::process::Command;

/// Calls the lab's fence agent as a cluster manager does; gives its exit code.
async fn fence(lab: &Lab, action: &str, host: &str) -> i32 {
    let agent = lab.layout().fence_agent();
    let script = format!("printf 'action={action}\\nplug={host}\\n' | {}", agent.display());
    let Output { status, .. } = Command::new("sh").args(["-c", &script]).output().await.unwrap();
    status.code().unwrap()
}

async fn pings(lab: &Lab, address: &str) -> bool {
    let mut ping = lab.controller_command("ping");
    ping.args(["-n", "-q", "-c", "1", "-W", "0.5", address]);
    ping.output().await.unwrap().status.success()
}

#[tokio::test]
async fn every_way_of_failing_looks_different() {
    let lab = up(ScratchLab::spec("hosts", 2, 2)).await;
    assert_eq!(lab.where_runs("web-1").unwrap(), ["h1"]);
    assert_eq!(lab.where_runs("db-1").unwrap(), ["h2"]);

    // Cut off: silent, though it lives and its guest goes on counting.
    let before = lab.wait_guest_answers("web-1", SOON).await.unwrap();
    lab.partition("h1").await.unwrap();
    assert!(!pings(&lab, "10.77.0.11").await);
    assert_eq!(lab.guest_probe("web-1").await.unwrap(), None);
    assert_eq!(fence(&lab, "status", "h1").await, 0, "power is on");
    assert_eq!(lab.where_runs("web-1").unwrap(), ["h1"]);
    lab.heal("h1").await.unwrap();
    let after = lab.wait_guest_answers("web-1", SOON).await.unwrap();
    assert_eq!(after.boot_id, before.boot_id);
    assert!(after.disk_counter > before.disk_counter);

    // Frozen: its kernel answers, nothing else does.
    lab.freeze("h1").await.unwrap();
    assert!(pings(&lab, "10.77.0.11").await);
    assert_eq!(lab.guest_probe("web-1").await.unwrap(), None);
    lab.thaw("h1").await.unwrap();
    lab.wait_guest_answers("web-1", SOON).await.unwrap();

    // libvirtd killed: the guest notices nothing, and is taken over by the next libvirtd.
    lab.libvirtd_kill("h1").await.unwrap();
    lab.virsh("h1", &["list"]).await.unwrap_err();
    lab.wait_guest_answers("web-1", SOON).await.unwrap();
    lab.libvirtd_start("h1").await.unwrap();
    assert!(lab.virsh("h1", &["list", "--name"]).await.unwrap().contains("web-1"));

    // Fenced, even while frozen: every process gone at once; the other host is untouched.
    let counted = lab.wait_guest_answers("web-1", SOON).await.unwrap();
    lab.freeze("h1").await.unwrap();
    assert_eq!(fence(&lab, "off", "h1").await, 0);
    assert_eq!(fence(&lab, "status", "h1").await, 2, "power is off");
    assert_eq!(lab.where_runs("web-1").unwrap(), [""; 0]);
    assert_eq!(lab.where_runs("db-1").unwrap(), ["h2"]);
    assert!(!pings(&lab, "10.77.0.11").await);
    lab.power_on("h1").await.unwrap();
    let domains = lab.virsh("h1", &["list", "--all"]).await.unwrap();
    assert!(domains.contains("web-1") && domains.contains("shut off"), "its disk was kept: {domains}");
    lab.virsh("h1", &["start", "web-1"]).await.unwrap();
    let back = lab.wait_guest_answers("web-1", SOON).await.unwrap();
    assert!(back.disk_counter >= counted.disk_counter, "written through, yet lost: {counted:?} {back:?}");

    // Power devices fail, too.
    lab.power_fault("h2", Some(PowerFault::Dead)).unwrap();
    assert_eq!((fence(&lab, "off", "h2").await, fence(&lab, "status", "h2").await), (1, 1));
    lab.power_fault("h2", Some(PowerFault::Lying)).unwrap();
    assert_eq!((fence(&lab, "off", "h2").await, fence(&lab, "status", "h2").await), (0, 0), "said off, is on");
    lab.power_fault("h2", Some(PowerFault::Slow { delay_ms: 300 })).unwrap();
    let asked = std::time::Instant::now();
    assert_eq!(fence(&lab, "status", "h2").await, 0);
    assert!(asked.elapsed() >= Duration::from_millis(300));
    lab.power_fault("h2", None).unwrap();
    lab.power_cut("h2").await.unwrap();
    assert!(!lab.is_on("h2").unwrap());
}
