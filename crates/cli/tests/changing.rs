//! Changing things: what is asked of the controller, what is asked of the person, how it ends.

mod common;

use common::*;
use mainstay_model::Command;

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
