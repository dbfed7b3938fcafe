//! The main job on real parts: what fails is brought back, and nothing runs twice.

use crate::support::{Controller, SOON, TestLab};
use mainstay_daemon::Disaster;
use std::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_guest_is_started_again_on_its_host() {
    let lab = TestLab::up("kill", |_| (), 2, 2).await;
    let controller = lab.controller(lab.configure("")).await;
    controller.wait_all_well().await;
    let before = lab.wait_guest_answers("web-1", SOON).await.unwrap();
    let killed = Instant::now();
    assert_eq!(lab.guest_kill("web-1").await.unwrap(), "h1");
    lab.wait_runs_on("web-1", &[], SOON).await.unwrap();
    lab.wait_runs_on("web-1", &["h1"], SOON).await.unwrap();
    println!("started again after {:?}", killed.elapsed());
    lab.wait_guest_rebooted("web-1", &before.boot_id, SOON).await.unwrap();
    println!("answered after {:?}", killed.elapsed());
    drills_are_noticed_like_the_real_thing(&lab, &controller).await;
    println!("{}", controller.story().await);
    controller.stop().await;
}

/// What `mainstay drill --live` does goes past the engine.
async fn drills_are_noticed_like_the_real_thing(lab: &TestLab, controller: &Controller) {
    let strike = async |disaster: Disaster| controller.strike(disaster).await;
    let before = lab.wait_guest_answers("db-1", SOON).await.unwrap();
    let starts = lab.starts("db-1");
    assert_eq!(strike(Disaster::Crash { workload: "db-1".into() }).await.unwrap(), "db-1 was crashed");
    lab.wait_guest_rebooted("db-1", &before.boot_id, SOON).await.unwrap();
    assert_eq!(lab.starts("db-1"), starts + 1, "{}", controller.story().await);

    let cable = |up| Disaster::Network { workload: "db-1".into(), up };
    assert!(strike(cable(false)).await.unwrap().contains("pulled"));
    controller
        .wait("its silence is seen", |view| {
            view.workloads.iter().any(|one| one.workload.as_str() == "db-1" && one.answers == Some(false))
        })
        .await;
    strike(cable(true)).await.unwrap();
    controller.wait_all_well().await;
    let nobody = strike(Disaster::Crash { workload: "nobody".into() }).await;
    assert_eq!(nobody.unwrap_err(), "there is no VM nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_without_power_is_fenced_and_its_guests_start_elsewhere() {
    let lab = TestLab::up("cut", |_| (), 3, 3).await;
    let controller = lab.controller(lab.configure("")).await;
    controller.wait_all_well().await;
    let cut = Instant::now();
    lab.power_cut("h1").await.unwrap();
    lab.wait_runs_on("web-1", &[], SOON).await.unwrap();
    while lab.where_runs("web-1").unwrap().is_empty() {
        assert!(cut.elapsed() < SOON, "{}", controller.story().await);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    println!("runs elsewhere after {:?}", cut.elapsed());
    let view = controller.wait_all_but_answers().await;
    let web = view.workloads.iter().find(|workload| workload.workload.as_str() == "web-1").unwrap();
    assert_ne!(web.host.as_ref().unwrap().as_str(), "h1");
    println!("{}", controller.story().await);
    // The host comes back, is looked at, and gets nothing that lives elsewhere now.
    controller.wait("h1 is back", |view| view.hosts.iter().all(|host| host.health == "online")).await;
    lab.wait_guest_answers("web-1", SOON).await.unwrap();
    let where_now = lab.where_runs("web-1").unwrap();
    assert_eq!(where_now.len(), 1, "{where_now:?}");
    assert_ne!(where_now[0], "h1");
    println!("{}", controller.story().await);
    controller.stop().await;
}
