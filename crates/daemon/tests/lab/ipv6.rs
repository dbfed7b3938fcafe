//! Hosts that have addresses of IPv6 and no other: watched, protected, moved to and from, and replaced when they die.

use crate::support::{Controller, SOON, TestLab};
use mainstay_lab::kernel_has_ipv6;
use mainstay_model::{Command, PointState};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ipv6_address() {
    if !kernel_has_ipv6() {
        println!("SKIPPED: the kernel of this machine has no IPv6, so no lab can have it");
        return;
    }
    let lab = TestLab::up("ipv6", |spec| spec.ipv6 = true, 3, 1).await;
    for host in lab.host_names() {
        let addresses = lab.run_in_host(&host, &["ip", "-4", "-brief", "address", "show", "br0"]).await.unwrap();
        assert_eq!(addresses.trim(), "", "{host} has IPv4, and proves nothing");
    }
    let config = lab.configure("");
    let text = std::fs::read_to_string(&config).unwrap();
    // As people write it, without brackets: the URI gets them.
    assert!(text.contains("address = \"fd00:77::11\"") && text.contains("address = \"fd00:77::101\""), "{text}");
    let controller = lab.controller(config).await;
    controller.wait_all_well().await;
    every_channel_is_heard(&lab, &controller).await;

    controller.accepted(Command::TakePoint { workload: "web-1".into(), name: Some("one".into()) }).await;
    let good = |points: &[mainstay_model::RecoveryPoint]| {
        points.iter().any(|it| it.id.as_str() == "one" && it.state == PointState::Good)
    };
    controller.wait_points("web-1", "one is taken", good).await;

    // Live: the source's libvirtd connects to the target's, and one QEMU to the other, by addresses in brackets.
    let before = lab.wait_guest_answers("web-1", SOON).await.unwrap();
    let to = Some("h2".into());
    controller.accepted(Command::MoveWorkload { workload: "web-1".into(), to, cold: false }).await;
    lab.wait_runs_on("web-1", &["h2"], SOON).await.unwrap();
    controller.wait_event("web-1 from h1 to h2: done").await;
    let after = lab.wait_guest_answers("web-1", SOON).await.unwrap();
    assert_eq!(after.boot_id, before.boot_id, "it never stopped: {}", controller.story().await);
    controller.wait_all_well().await;
    controller.wait_points("web-1", "its point moved along", good).await;
    let records = lab.virsh("h2", &["snapshot-list", "--name", "web-1"]).await.unwrap();
    assert!(records.lines().any(|name| name.trim() == "one"), "{records}");

    // Its host dies.
    lab.power_cut("h2").await.unwrap();
    lab.wait_guest_rebooted("web-1", &after.boot_id, SOON).await.unwrap();
    controller.wait_event("proved off: its fence device found it without power").await;
    let view = controller.wait_all_well().await;
    let now = view.workloads[0].host.as_ref().unwrap().as_str();
    assert_eq!(lab.where_runs("web-1").unwrap(), [now], "{}", controller.story().await);
    assert_ne!(now, "h2");
    every_channel_is_heard(&lab, &controller).await;
    println!("{}", controller.story().await);
    controller.stop().await;
}

/// Each host is heard by its libvirtd and by ping, and the guest by ping: one channel less was how a wrong address went unseen.
async fn every_channel_is_heard(lab: &TestLab, controller: &Controller) {
    controller
        .wait("all channels of all hosts are heard", |view| {
            let heard = |evidence: &[String], channel: &str| {
                evidence
                    .iter()
                    .any(|line| line.contains(channel) && !line.contains("silent") && !line.contains("never"))
            };
            view.hosts.len() == lab.host_names().len()
                && view.hosts.iter().all(|host| heard(&host.evidence, "hypervisor") && heard(&host.evidence, "ping"))
                && view.workloads.iter().all(|workload| workload.answers == Some(true))
        })
        .await;
    let view = controller.handle().view().await.unwrap();
    println!("{:?}", view.hosts.iter().map(|host| &host.evidence).collect::<Vec<_>>());
}
