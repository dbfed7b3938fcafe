//! Guests fail in every way that can be told apart, and each gets what its case calls for.

use crate::support::{Controller, SOON, TestLab};
use mainstay_engine::view::ClusterView;
use mainstay_lab::DiskKind;
use mainstay_model::{Code, Subject};
use std::time::Instant;

/// Quick, so that a hang is seen within the test's patience.
const RECOVERY: &str = r#"
[[recovery]]
match = "*"
hung_after = "5s"
"#;

fn has_alarm(view: &ClusterView, code: Code, workload: &str) -> bool {
    view.alarms.iter().any(|alarm| alarm.code == code && alarm.subject == Subject::Workload(workload.into()))
}

/// Waits until a guest was started anew and answers.
async fn recovered(lab: &TestLab, controller: &Controller, guest: &str, boot: &str, since: Instant, what: &str) {
    if let Err(error) = lab.wait_guest_rebooted(guest, boot, SOON).await {
        panic!("{what}: {error}\n{}", controller.story().await);
    }
    println!("{what}: {guest} answers again after {:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_trouble_is_told_from_the_others() {
    let faulty = |spec: &mut mainstay_lab::LabSpec| {
        spec.guests[3].disk = DiskKind::Faulty;
        spec.guests[4].agent = true;
    };
    let lab = TestLab::up("troubles", faulty, 2, 6).await;
    let controller = lab.controller(lab.configure(RECOVERY)).await;
    controller.wait_all_well().await;
    let boot = async |guest: &str| lab.wait_guest_answers(guest, SOON).await.unwrap().boot_id;
    let [panics, hangs, stops, faulty, agent, owner] = ["web-1", "db-1", "web-2", "db-2", "web-3", "db-3"];

    // Its kernel panics.
    let (before, since) = (boot(panics).await, Instant::now());
    lab.guest_panic(panics).await.unwrap();
    recovered(&lab, &controller, panics, &before, since, "panic").await;

    // Its kernel hangs: no answer and no activity, though libvirt calls it running.
    let (before, since) = (boot(hangs).await, Instant::now());
    lab.guest_hang(hangs).await.unwrap();
    recovered(&lab, &controller, hangs, &before, since, "hang").await;

    // Its QEMU is stopped: libvirt goes on calling it running, and asking it would block.
    let (before, since) = (boot(stops).await, Instant::now());
    lab.guest_stop(stops).await.unwrap();
    recovered(&lab, &controller, stops, &before, since, "SIGSTOP").await;

    // Its disk fails, and heals again: resumed, not restarted.
    let (before, since) = (boot(faulty).await, Instant::now());
    lab.guest_io_error(faulty).await.unwrap();
    controller
        .wait("the pause is seen", |view| {
            view.workloads.iter().any(|one| one.workload.as_str() == faulty && one.health != "running")
        })
        .await;
    lab.guest_io_heal(faulty).await.unwrap();
    let after = lab.wait_guest_answers(faulty, SOON).await.unwrap();
    println!("I/O error: {faulty} answers again after {:?}, restarted: {}", since.elapsed(), after.boot_id != before);

    // The guest with an agent tells what it is.
    let stats = controller.handle().stats(&agent.into()).unwrap();
    assert_eq!(stats.agent, Some(true), "{stats:?}");
    assert!(stats.guest_system.is_some() && !stats.addresses.is_empty(), "{stats:?}");
    assert!(stats.rates.is_some_and(|rates| rates.disk_written > 0.0), "it counts on its disk: {stats:?}");

    // Its owner shuts it down inside: an alarm, and nothing else.
    lab.guest_poweroff(owner).await.unwrap();
    controller.wait("the owner's stop is told", |view| has_alarm(view, Code::STOPPED_BY_PERSON, owner)).await;
    lab.wait_guest_gone(owner, SOON).await.unwrap();
    assert_eq!(lab.where_runs(owner).unwrap(), Vec::<String>::new());

    // libvirtd stands still while guests answer: an alarm, no fencing.
    lab.libvirtd_stop("h1").await.unwrap();
    controller
        .wait("the fault of the management is told", |view| {
            let h1 = Subject::Host("h1".into());
            view.alarms.iter().any(|alarm| alarm.code == Code::MANAGEMENT_FAULT && alarm.subject == h1)
        })
        .await;
    assert!(lab.is_on("h1").unwrap());
    lab.libvirtd_cont("h1").await.unwrap();
    controller.wait("h1 is well again", |view| view.hosts.iter().all(|host| host.health == "online")).await;
    assert_eq!(lab.where_runs(owner).unwrap(), Vec::<String>::new(), "still off");
    println!("{}", controller.story().await);
    controller.stop().await;
}
