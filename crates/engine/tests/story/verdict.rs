//! What `status` says first must be true: never that all is well while a VM that should run does not.

use crate::harness::{Story, domain};
use mainstay_model::{
    Acknowledged, Code, Command, DomainState, OffReason, PauseReason, Severity, Span, Subject, spec::Managed,
};

fn verdict(story: &Story) -> (Severity, String) {
    let verdict = story.controller.view(story.now).verdict;
    (verdict.severity, verdict.text)
}

fn yellow(text: &str) -> (Severity, String) {
    (Severity::Yellow, text.to_owned())
}

fn well() -> (Severity, String) {
    (Severity::Green, "all is well".to_owned())
}

#[test]
fn a_vm_that_crashed_while_it_was_left_alone_is_not_well() {
    let mut story = Story::new();
    assert_eq!(verdict(&story), well());
    story.command(Command::Unprotect { workload: "web-1".into() });
    assert_eq!(verdict(&story), well(), "it runs, though nothing would be done for it");
    story.event("h1", DomainState::Off(OffReason::Crashed));
    story.pass(Span::minutes(1));
    assert_eq!(verdict(&story), yellow("web-1 crashed (unprotected)"));
    let next = story.controller.view(story.now).verdict.next;
    assert_eq!(next.as_deref(), Some("mainstay explain web-1"));
}

#[test]
fn a_vm_that_panicked_hung_or_was_paused_while_it_was_left_alone_is_not_well() {
    let mut story = Story::new();
    story.guest(true);
    story.command(Command::Unprotect { workload: "web-1".into() });
    story.pass(Span::secs(1));
    story.guest(false);
    assert_eq!(verdict(&story), yellow("web-1 does not answer (unprotected)"));
    for state in
        [DomainState::Panicked, DomainState::Paused(PauseReason::Person), DomainState::Paused(PauseReason::IoError)]
    {
        story.event("h1", state);
        story.pass(Span::secs(2));
        assert_ne!(verdict(&story).0, Severity::Green, "{state:?}: {}", verdict(&story).1);
    }
}

#[test]
fn a_vm_that_is_only_watched_and_is_down_is_not_well() {
    let mut story = Story::new();
    story.spec.workloads[0].policy.managed = Managed::WatchOnly;
    story.reload();
    story.event("h1", DomainState::Off(OffReason::Crashed));
    story.pass(Span::secs(20));
    assert_eq!(verdict(&story), yellow("one thing needs a look"));
}

#[test]
fn a_vm_that_does_not_answer_is_not_well_before_any_alarm() {
    let mut story = Story::new();
    story.guest(true);
    story.pass(Span::secs(1));
    assert_eq!(verdict(&story), well());
    story.guest(false);
    assert_eq!(verdict(&story), yellow("web-1 does not answer"));
    story.guest(true);
    assert_eq!(verdict(&story), well());
}

#[test]
fn a_vm_that_has_probes_and_never_answered_one_is_not_well() {
    let mut story = Story::new();
    story.spec.workloads[0].policy.probes.ping = true;
    story.reload();
    story.guest(false);
    assert_eq!(verdict(&story), well(), "it may still boot");
    story.pass(Span::minutes(10));
    story.guest(false);
    assert_eq!(verdict(&story), yellow("web-1 has never answered a probe"));
}

#[test]
fn what_is_being_brought_back_is_not_well_yet() {
    let mut story = Story::new();
    story.crashed();
    assert_eq!(verdict(&story), yellow("web-1 is being brought back"));
}

#[test]
fn a_person_may_stop_a_vm_and_accept_the_alarm() {
    let mut story = Story::new();
    story.event("h1", DomainState::Off(OffReason::Shutdown));
    story.pass(Span::secs(2));
    assert_eq!(verdict(&story), yellow("one thing needs a look"));
    let subject = Subject::Workload("web-1".into());
    story.command(Command::Acknowledge { code: Code::STOPPED_BY_PERSON, subject, by: "ada".to_owned() });
    assert_eq!(verdict(&story), (Severity::Green, "all is well, but for one acknowledged alarm".to_owned()));
}

/// An alarm that is acknowledged does not make a VM run.
#[test]
fn a_vm_that_is_down_counts_whatever_was_acknowledged() {
    let mut story = Story::new();
    story.tries_once();
    let start = story.crashed();
    story.fails(start);
    story.pass(Span::secs(5));
    assert_eq!(verdict(&story).0, Severity::Red, "{:?}", verdict(&story));
    let subject = Subject::Workload("web-1".into());
    story.command(Command::Acknowledge { code: Code::RECOVERY_EXHAUSTED, subject, by: "ada".to_owned() });
    let alarms = story.controller.view(story.now).alarms;
    assert!(matches!(alarms[0].acknowledged, Some(Acknowledged { .. })));
    let (severity, text) = verdict(&story);
    assert!(severity == Severity::Yellow && text.starts_with("web-1 "), "{text}");
}

#[test]
fn a_host_that_is_silent_lost_or_not_heard_yet_is_not_well() {
    let mut story = Story::new();
    story.has_not("h1");
    story.has("h2", domain(DomainState::Running));
    story.pass(Span::secs(1));
    story.restart();
    let (severity, text) = verdict(&story);
    assert!(severity == Severity::Yellow && text.contains("3 hosts have not been heard yet"), "{text}");
    story.pass(Span::secs(8));
    story.silent.push("h1".into());
    story.pass(Span::millis(1_500));
    assert_ne!(verdict(&story).0, Severity::Green, "{}", verdict(&story).1);
    story.pass(Span::secs(5));
    assert_eq!(verdict(&story).0, Severity::Red);
}

#[test]
fn a_host_in_maintenance_and_a_vm_that_migrates_are_as_they_should_be() {
    let mut story = Story::new();
    story.command(Command::Maintenance { host: "h1".into(), on: true });
    assert_eq!(story.health(), "migrating");
    assert_eq!(verdict(&story), well());
}
