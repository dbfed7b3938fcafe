//! The main job on real parts: what fails is brought back, and nothing runs twice.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "in a test, a failure is the report")]

mod support;

use std::time::Instant;
use support::{SOON, TestLab};

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
    println!("{}", controller.story().await);
    controller.stop().await;
}
