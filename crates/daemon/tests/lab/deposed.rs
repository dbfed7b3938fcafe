//! The controller's machine is suspended in the middle of what it does, its lock gets lost, and another controller takes over.
//! Then the first one wakes up and believes that it leads.

use crate::{
    killed::{Doomed, succeed},
    support::{SOON, TestLab, until},
};
use mainstay_daemon::{DieAt, Moment};
use mainstay_model::{Command, StopHow};
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_wakes_up_after_another_took_over_does_and_writes_nothing() {
    let lab = TestLab::up("deposed", |_| (), 2, 2).await;
    lab.configure("");
    let before = lab.wait_guest_answers("web-1", SOON).await.unwrap();
    let (starts, bystander) = (lab.starts("web-1"), lab.starts("db-1"));

    // It has on record that it starts the guest, and stands still before it does.
    let die_at = DieAt { moment: Moment::AfterPersist, action: "start web-1".to_owned(), only_stand_still: true };
    let mut first = Doomed::start(&lab, &die_at).await;
    lab.guest_kill("web-1").await.unwrap();
    wait_until_it_stands_still(first.child.id().unwrap()).await;
    assert_eq!(lab.starts("web-1"), starts, "it stands still before it acts");

    // The one that takes over starts the guest; then a person stops it.
    std::fs::remove_file(lab.layout().dir.join("controller/mainstay.db.lock")).unwrap();
    let second = succeed(&lab).await;
    lab.wait_guest_rebooted("web-1", &before.boot_id, SOON).await.unwrap();
    second.wait_all_well().await;
    second.accepted(Command::StopWorkload { workload: "web-1".into(), how: StopHow::Force, within: None }).await;
    let stopped = async || match lab.where_runs("web-1").unwrap() {
        hosts if hosts.is_empty() => Ok(()),
        hosts => Err(format!("on {hosts:?}")),
    };
    until(second.handle(), SOON, "web-1 is off", stopped).await;

    let woken = Pid::from_raw(first.child.id().unwrap() as i32).unwrap();
    kill_process(woken, Signal::CONT).unwrap();
    let ended = timeout(SOON, first.child.wait()).await;
    let (log, story) = (first.log.borrow().clone(), second.story().await);
    assert!(ended.is_ok_and(|status| status.unwrap().success()), "it ends by itself:\n{log}");
    assert!(log.contains("took over in term 2") && log.contains("ended: Err("), "{log}");
    second.settled().await;
    assert_eq!(lab.where_runs("web-1").unwrap(), Vec::<String>::new(), "what a person stopped stays stopped\n{log}");
    assert_eq!((lab.starts("web-1"), lab.starts("db-1")), (starts + 1, bystander), "{story}\n{log}");
    assert_eq!(lab.fencings(), Vec::<String>::new());
    let after = second.story().await;
    assert_eq!(after.matches("start web-1 on").count(), story.matches("start web-1 on").count(), "{after}");

    // And the second one still leads.
    second.accepted(Command::StartWorkload { workload: "web-1".into(), host: None, leave_state: false }).await;
    second.wait_all_well().await;
    second.stop().await;
}

async fn wait_until_it_stands_still(process: u32) {
    let stands = async {
        // The state is the first word after the name, which is in brackets.
        while !std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap().contains(") T ") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, stands).await.expect("it stands still");
}
