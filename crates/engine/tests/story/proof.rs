//! What a failed order proves, and what an operator was promised.

use crate::harness::{Story, domain};
use mainstay_model::{
    Action, Code, Command, DomainState, FailureKind, OffReason, Outcome, PauseReason, Proof, Reply, Span, StopHow,
};

fn failed(proves: Proof) -> Outcome {
    Outcome::failed_with(FailureKind::Other, "it did not work", proves)
}

/// A start of unknown outcome, and a second one on the same host that fails: nothing starts elsewhere before the definition was
/// taken from that host, whatever the second failure proves.
#[test]
fn a_failed_second_start_says_nothing_of_the_first() {
    for proves in [Proof::Nothing, Proof::Off] {
        let mut story = Story::new();
        let start = story.crashed();
        story.ends(start, Outcome::unknown("no answer"));
        let mut removed = false;
        for _ in 0..240 {
            story.pass(Span::secs(1));
            for (id, action) in std::mem::take(&mut story.orders) {
                match action {
                    Action::Start { host, .. } if host.as_str() == "h1" => story.ends(id, failed(proves)),
                    Action::Undefine { host, .. } if host.as_str() == "h1" => {
                        story.has_not("h1");
                        story.done(id);
                        removed = true;
                    }
                    Action::Start { .. } => assert!(removed, "{proves:?}: {action}: {}", story.said.join("\n")),
                    _ => {}
                }
            }
        }
        assert!(removed, "{proves:?}: {}", story.said.join("\n"));
    }
}

/// "It is here already": its host stays the only one on which it may run.
#[test]
fn a_start_that_is_there_already_keeps_its_host() {
    let mut story = Story::new();
    let start = story.crashed();
    story.has("h1", domain(DomainState::Paused(PauseReason::IoError)));
    story.ends(start, failed(Proof::There));
    assert_eq!(story.ordered(), []);
    story.pass(Span::secs(30));
    for action in story.ordered() {
        assert_eq!(action.host().as_str(), "h1", "{action}");
    }
}

/// A revert of a running VM that never reached its host, in a term that has no list of that host yet: it runs there all the same.
#[test]
fn what_never_reached_its_host_leaves_the_workload_where_it_may_run() {
    let mut story = Story::new();
    story.point("one");
    let reply = story.command(Command::Revert { workload: "web-1".into(), point: Some("one".into()) });
    assert!(matches!(reply, Reply::Accepted { .. }), "{reply:?}");
    let (revert, _) = story.only_order();
    story.ends(revert, Outcome::failed(FailureKind::Unreachable, "not connected"));
    assert_eq!(story.health(), "running");
    // It is tried again, also after a reload.
    story.reload();
    story.pass(Span::secs(15));
    let (revert, action) = story.only_order();
    assert!(matches!(action, Action::Revert { .. }), "{action}");
    story.done(revert);
    story.pass(Span::secs(5));
    assert_eq!(story.alarms(), []);
}

/// The controller was killed with a revert in its hands, and the VM is off: the revert is carried on with.
#[test]
fn a_revert_of_unknown_outcome_is_carried_on_with_if_the_workload_is_off() {
    let mut story = Story::new();
    story.point("one");
    story.command(Command::Revert { workload: "web-1".into(), point: Some("one".into()) });
    story.orders.clear();
    story.has("h1", domain(DomainState::Off(OffReason::Destroyed)));
    story.restart();
    story.pass(Span::minutes(6));
    let orders = story.ordered();
    assert!(
        matches!(orders.first(), Some(Action::Revert { point, .. }) if point.as_str() == "one"),
        "{orders:?}: {}",
        story.said.join("\n")
    );
}

/// ... and the VM runs: a person is asked, and acknowledges.
#[test]
fn a_revert_of_unknown_outcome_is_asked_about_if_the_workload_runs() {
    let mut story = Story::new();
    story.point("one");
    story.command(Command::Revert { workload: "web-1".into(), point: Some("one".into()) });
    story.orders.clear();
    story.restart();
    story.pass(Span::secs(10));
    assert_eq!(story.alarms(), [Code::REVERT_IN_DOUBT]);
    assert!(!story.ordered().iter().any(|action| matches!(action, Action::Revert { .. })));
    let subject = mainstay_model::Subject::Workload("web-1".into());
    story.command(Command::Acknowledge { code: Code::REVERT_IN_DOUBT, subject, by: "ann".to_owned() });
    story.pass(Span::secs(1));
    assert_eq!(story.alarms(), []);
}

/// A stop by force that is done says nothing of a start that hangs there.
#[test]
fn a_stop_does_not_settle_a_start_that_hangs() {
    let mut story = Story::new();
    let start = story.crashed();
    story.ends(start, Outcome::unknown("no answer"));
    story.pass(Span::minutes(3));
    story.orders.clear();
    story.command(Command::StopWorkload { workload: "web-1".into(), how: StopHow::Force, within: None });
    for (id, action) in std::mem::take(&mut story.orders) {
        if matches!(action, Action::Stop { .. }) {
            story.done(id);
        }
    }
    story.pass(Span::secs(5));
    let reply =
        story.command(Command::StartWorkload { workload: "web-1".into(), host: Some("h2".into()), leave_state: false });
    assert!(matches!(reply, Reply::Refused { .. }), "{reply:?}");
}
