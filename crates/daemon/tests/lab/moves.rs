//! The controller is killed in the middle of a move, when no host has the records of the guest's snapshots: only its own
//! memory has them. They come back where the guest is.

use crate::{
    killed::{Doomed, succeed},
    support::{SOON, TestLab, alarm, until},
};
use mainstay_daemon::{DieAt, Moment};
use mainstay_model::{Code, Command, PointState};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const POINTS: [&str; 3] = ["one", "two", "three"];

/// When the controller is killed.
#[derive(Clone, Copy, Debug)]
enum Kill {
    /// As soon as the source has forgotten the records.
    WhenForgotten,
    /// So many milliseconds after the move was accepted.
    After(u64),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_killed_during_a_move_loses_no_record() {
    let lab = TestLab::up("moves", |_| (), 2, 1).await;
    lab.configure("");
    let controller = succeed(&lab).await;
    controller.wait_all_well().await;
    for point in POINTS {
        controller.accepted(Command::TakePoint { workload: "web-1".into(), name: Some(point.into()) }).await;
        controller
            .wait_points("web-1", point, |points| {
                points.iter().any(|it| it.id.as_str() == point && it.state == PointState::Good)
            })
            .await;
    }
    controller.stop().await;
    let early = [Kill::WhenForgotten, Kill::After(120), Kill::After(235), Kill::After(350), Kill::After(700)];
    for kill in early {
        killed_during_a_move(&lab, kill).await;
    }
    // What is on record is there: it can be gone back to.
    let controller = succeed(&lab).await;
    let before = lab.wait_guest_answers("web-1", SOON).await.unwrap();
    controller.accepted(Command::Revert { workload: "web-1".into(), point: Some("one".into()) }).await;
    controller.wait_event("to one: done").await;
    let after = lab.wait_guest_answers("web-1", SOON).await.unwrap();
    assert!(after.disk_counter < before.disk_counter, "{} {}", after.disk_counter, before.disk_counter);
    controller.stop().await;
}

async fn killed_during_a_move(lab: &TestLab, kill: Kill) {
    println!("moves: killed {kill:?}");
    let from = lab.where_runs("web-1").unwrap().pop().unwrap();
    let to = if from == "h1" { "h2" } else { "h1" };
    let before = lab.wait_guest_answers("web-1", SOON).await.unwrap();
    let never = DieAt { moment: Moment::BeforePersist, action: "never".to_owned(), only_stand_still: false };
    let mut doomed = Doomed::start(lab, &never).await;
    doomed.obey(&Command::MoveWorkload { workload: "web-1".into(), to: Some(to.into()), cold: false }).await;
    let accepted = timeout(SOON, doomed.log.wait_for(|log| log.contains("Accepted"))).await;
    assert!(accepted.is_ok_and(|seen| seen.is_ok()), "{kill:?}: the move is not accepted");
    match kill {
        Kill::After(milliseconds) => sleep(Duration::from_millis(milliseconds)).await,
        Kill::WhenForgotten => {
            // Listed no more there, or gone from there already.
            let forgotten = async || !records(lab, &from).await.contains(&"one".to_owned());
            crate::idle::until_true("the source forgets them", forgotten).await;
        }
    }
    doomed.child.kill().await.unwrap();
    let controller = succeed(lab).await;
    let whole = async || {
        let hosts = lab.where_runs("web-1").unwrap();
        let listed = match hosts.as_slice() {
            [host] => records(lab, host).await,
            _ => Vec::new(),
        };
        let points = controller.handle().points(&"web-1".into()).await.unwrap();
        let good = |name: &str| points.iter().any(|it| it.id.as_str() == name && it.state == PointState::Good);
        let all = POINTS.iter().all(|name| good(name) && listed.iter().any(|record| record == name));
        let story = controller.story().await;
        if all { Ok(()) } else { Err(format!("{hosts:?} {listed:?} {points:?}\n{story}")) }
    };
    until(controller.handle(), SOON, &format!("{kill:?}: all records are back"), whole).await;
    // Long enough that what would be missed is missed.
    controller.settled().await;
    let view = controller.handle().view().await.unwrap();
    assert!(alarm(&view, Code::POINT_LOST, "web-1").is_none(), "{kill:?}: {}", controller.story().await);
    let after = lab.wait_guest_answers("web-1", SOON).await.unwrap();
    assert_eq!(after.boot_id, before.boot_id, "{kill:?}: it never stopped: {}", controller.story().await);
    whole().await.unwrap_or_else(|error| panic!("{kill:?}: {error}"));
    controller.stop().await;
}

/// Names of the guest's snapshots on record on a host.
async fn records(lab: &TestLab, host: &str) -> Vec<String> {
    let names = lab.virsh(host, &["snapshot-list", "--name", "web-1"]).await.unwrap_or_default();
    names.split_whitespace().map(str::to_owned).collect()
}
