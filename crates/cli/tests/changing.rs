//! Changing things: what is asked of the controller, what is asked of the person, how it ends.

mod common;

use common::*;
use mainstay_engine::view::{OrderKind, OrderResult, OrderView};
use mainstay_model::{ActionId, Command, Subject};

#[test]
fn a_command_reaches_the_controller_and_its_reply_the_person() {
    let controller = Fixed::new(well());
    let server = Server::start(controller.clone());
    let ran = server.run(&["vm", "move", "web-1", "--to", "h2"]);
    assert_eq!((ran.exit, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", "it will be done\n"));
    let moved = Command::MoveWorkload { workload: "web-1".into(), to: Some("h2".into()), cold: false };
    assert_eq!(*controller.given.lock().unwrap(), [moved]);
}

#[test]
fn what_cannot_be_taken_back_is_not_done_unasked() {
    let controller = Fixed::new(well());
    let server = Server::start(controller.clone());
    for words in [
        &["vm", "stop", "web-1", "--force"][..],
        &["snapshot", "revert", "web-1"],
        &["snapshot", "delete", "web-1", "before-upgrade"],
        &["host", "confirm-off", "h2"],
        &["host", "fence", "h2"],
    ] {
        let ran = server.run(words);
        assert_eq!(ran.exit, 2, "{words:?}: {ran:?}");
        assert!(ran.stderr.contains("--yes"), "{ran:?}");
    }
    assert_eq!(*controller.given.lock().unwrap(), []);

    let ran = server.run(&["host", "confirm-off", "h2", "--yes"]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    assert_eq!(*controller.given.lock().unwrap(), [Command::ConfirmOff { host: "h2".into() }]);
}

#[test]
fn a_refusal_is_blocked_with_help() {
    let server = Server::start(Fixed::new(well()));
    let ran = server.run(&["host", "fence", "h1", "--yes"]);
    assert_eq!(ran.exit, 3);
    insta::assert_snapshot!(ran.stderr, @r"
    error: h1 has no fence device
      help: `mainstay status` shows how things are; `mainstay explain NAME` says why
      more: mainstay explain MS1505
    ");
}

#[test]
fn a_dry_run_prints_the_plan_and_gives_no_command() {
    let controller = Fixed::new(well());
    let server = Server::start(controller.clone());
    let ran = server.run(&["host", "maintenance", "h2", "on", "--dry-run"]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    assert!(controller.given.lock().unwrap().is_empty());
    insta::assert_snapshot!(ran.stdout);
}

#[test]
fn what_if_says_what_would_not_run() {
    let server = Server::start(Fixed::new(well()));
    let ran = server.run(&["what-if", "host-loss", "h2"]);
    assert_eq!(ran.exit, 3, "{ran:?}");
    insta::assert_snapshot!(ran.stdout);
}

#[test]
fn acknowledging_names_code_subject_and_person() {
    let controller = Fixed::new(trouble());
    let server = Server::start(controller.clone());
    let ran = server.run_with(&["alarm", "ack", "ms1104"], &[("USER", "ada")]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    let given = controller.given.lock().unwrap();
    let [Command::Acknowledge { code, subject, by }] = &given[..] else { panic!("{given:?}") };
    assert_eq!((code.to_string().as_str(), subject.to_string().as_str(), by.as_str()), ("MS1104", "h2", "ada"));
}

#[test]
fn waiting_ends_when_the_goal_is_reached() {
    let server = Server::start(Fixed::new(well()));
    let ran = server.run(&["vm", "move", "web-1", "--to", "h1", "--wait"]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    assert!(ran.stderr.contains("done after"), "{ran:?}");
}

#[test]
fn waiting_gives_up_and_says_that_the_change_goes_on() {
    let server = Server::start(Fixed::new(well()));
    let ran = server.run(&["vm", "move", "web-1", "--to", "h2", "--wait", "--timeout", "300ms"]);
    assert_eq!(ran.exit, 3, "{ran:?}");
    assert!(ran.stderr.contains("it goes on: `mainstay explain web-1`"), "{ran:?}");
}

fn order(kind: OrderKind, point: &str, result: OrderResult, reason: &str) -> OrderView {
    OrderView {
        id: ActionId(7),
        subject: Subject::Workload("web-1".into()),
        kind,
        text: format!("take recovery point {point} of web-1"),
        point: Some(point.into()),
        ordered_at: AT,
        ended_at: Some(AT),
        result,
        reason: Some(reason.to_owned()).filter(|reason| !reason.is_empty()),
    }
}

/// What is on record of web-1: `before-upgrade`, and nothing that failed.
#[test]
fn waiting_for_a_recovery_point_ends_with_what_came_of_it() {
    let take = |point, result, reason| order(OrderKind::TakePoint, point, result, reason);
    let delete = |point, result, reason| order(OrderKind::DeletePoint, point, result, reason);
    let full = "No space left on device";
    let create = ["snapshot", "create", "web-1", "--wait"];
    let named = ["snapshot", "create", "web-1", "--name", "before-upgrade", "--wait"];
    let drop = ["snapshot", "delete", "web-1", "before-upgrade", "--yes", "--wait"];
    let gone = ["snapshot", "delete", "web-1", "gone", "--yes", "--wait"];
    for (words, order, exit, told) in [
        (&create[..], take("ms-1", OrderResult::Failed, full), 1, full),
        (&create[..], take("before-upgrade", OrderResult::Done, ""), 0, "done after"),
        (&named[..], take("before-upgrade", OrderResult::Done, ""), 0, "done after"),
        (&named[..], take("another", OrderResult::Done, ""), 3, "not done after 500ms"),
        (&named[..], take("before-upgrade", OrderResult::UnderWay, ""), 3, "not done after 500ms"),
        (&drop[..], delete("before-upgrade", OrderResult::Failed, full), 1, full),
        (&drop[..], delete("before-upgrade", OrderResult::Unknown, "lost"), 3, "not done after 500ms"),
        (&gone[..], delete("gone", OrderResult::Done, ""), 0, "done after"),
        (&gone[..], delete("gone", OrderResult::Failed, "not there"), 0, "done after"),
    ] {
        let controller = Fixed::new(well());
        controller.orders.lock().unwrap().push(order.clone());
        let server = Server::start(controller);
        // Far longer than it takes, unless the end of the time is what is looked at.
        let timeout = if exit == 3 { "500ms" } else { "5m" };
        let ran = server.run(&[words, &["--timeout", timeout]].concat());
        assert!(ran.exit == exit && ran.stderr.contains(told), "{words:?} {order:?}: {ran:?}");
    }
}

#[test]
fn waiting_for_what_failed_ends_when_nothing_more_is_done() {
    let controller = Fixed::new(well());
    let migrate = order(OrderKind::Migrate, "", OrderResult::Failed, "unsupported configuration");
    controller.orders.lock().unwrap().push(migrate);
    let server = Server::start(controller);
    let ran = server.run(&["vm", "move", "web-1", "--to", "h2", "--wait"]);
    assert!(ran.exit == 1 && ran.stderr.contains("unsupported configuration"), "{ran:?}");
    let revert = server.run(&["snapshot", "revert", "web-1", "--yes", "--wait", "--timeout", "500ms"]);
    assert_eq!(revert.exit, 3, "no order of it is known: {revert:?}");
}

#[test]
fn a_revert_of_what_a_person_stopped_asks_whether_to_start_it() {
    let mut view = well();
    (view.workloads[1].wanted, view.workloads[1].health) = (false, "stopped".to_owned());
    let server = Server::start(Fixed::new(view));
    let ran = server.run(&["snapshot", "revert", "web-1"]);
    assert!(ran.exit == 2 && ran.stderr.contains("stopped by a person. Bring it back"), "{ran:?}");
    assert!(ran.stderr.contains("and start it?"), "{ran:?}");
}
