//! The memory was put back from a backup: it is no proof of where a VM runs, and no wish to run it.

use crate::harness::{Story, domain};
use mainstay_model::{Action, Code, Command, DomainState, HostId, OffReason, Reply, Span, StopHow};

fn starts(story: &mut Story) -> Vec<HostId> {
    let orders = story.ordered().into_iter();
    orders.filter_map(|action| if let Action::Start { host, .. } = action { Some(host) } else { None }).collect()
}

/// A backup was made when web-1 ran on h1. Since then it moved to h2, which can't be asked when the backup is put back.
fn moved_since(story: &mut Story) {
    let backup = story.back_up();
    story.has_not("h1");
    story.has("h2", domain(DomainState::Running));
    story.pass(Span::secs(5));
    story.deaf.push("h2".into());
    story.put_back(backup);
}

#[test]
fn nothing_is_started_while_a_host_has_not_told_what_it_runs() {
    let mut story = Story::new();
    moved_since(&mut story);
    story.pass(Span::minutes(5));
    assert_eq!(story.ordered(), [], "{}", story.said.join("\n"));
    assert!(story.alarms().contains(&Code::MEMORY_RESTORED));
    let start = Command::StartWorkload { workload: "web-1".into(), host: None, leave_state: false };
    assert!(matches!(story.command(start), Reply::Refused { .. }), "not before h2 has told");
    story.deaf.clear();
    story.pass(Span::secs(5));
    assert_eq!(story.ordered(), []);
    assert!(!story.alarms().contains(&Code::MEMORY_RESTORED), "it runs, so nothing is in question");
    assert_eq!(story.health(), "running");
}

/// Orders of the forgotten time may still be carried out, so the first lists do not count.
#[test]
fn the_first_lists_are_too_early_to_count() {
    let mut story = Story::new();
    let backup = story.back_up();
    story.has("h1", domain(DomainState::Off(OffReason::Unknown)));
    story.put_back(backup);
    story.pass(Span::secs(60));
    let accept = Command::AcceptMemory { start: true };
    assert!(matches!(story.command(accept.clone()), Reply::Refused { .. }));
    story.pass(Span::secs(40));
    assert_eq!(starts(&mut story), Vec::<HostId>::new(), "it is in question");
    assert!(matches!(story.command(accept), Reply::Accepted { .. }));
    assert_eq!(starts(&mut story).len(), 1);
    assert!(!story.alarms().contains(&Code::MEMORY_RESTORED));
}

/// What an operator does not ask for stays off, over restarts of the controller.
#[test]
fn what_nobody_asks_for_stays_off() {
    let mut story = Story::new();
    let backup = story.back_up();
    story.has("h1", domain(DomainState::Off(OffReason::Unknown)));
    story.put_back(backup);
    story.pass(Span::minutes(2));
    story.restart();
    story.pass(Span::minutes(2));
    assert_eq!(starts(&mut story), Vec::<HostId>::new());
    assert!(story.alarms().contains(&Code::MEMORY_RESTORED));
    story.command(Command::AcceptMemory { start: false });
    story.restart();
    story.pass(Span::minutes(2));
    assert_eq!((starts(&mut story), story.health().as_str()), (Vec::new(), "stopped"));
}

/// The backup is of a time when an operator had it stopped. It was started since: a healthy guest is not stopped.
#[test]
fn what_runs_is_wanted_whatever_the_backup_says() {
    let mut story = Story::new();
    story.command(Command::StopWorkload { workload: "web-1".into(), how: StopHow::Graceful, within: None });
    story.only_order();
    let backup = story.back_up();
    story.put_back(backup);
    story.pass(Span::minutes(3));
    assert_eq!(story.ordered(), [], "{}", story.said.join("\n"));
    assert_eq!(story.health(), "running");
}

/// A reload takes all rules away for a while: what was in question then still is when they are back.
#[test]
fn a_rule_that_is_gone_for_a_while_answers_nothing() {
    let mut story = Story::new();
    let backup = story.back_up();
    story.has("h1", domain(DomainState::Off(OffReason::Unknown)));
    story.put_back(backup);
    story.pass(Span::minutes(2));
    let rules = std::mem::take(&mut story.spec.workloads);
    story.reload();
    story.pass(Span::secs(10));
    assert!(!story.alarms().contains(&Code::MEMORY_RESTORED), "no operator is asked about what no rule manages");
    story.spec.workloads = rules;
    story.reload();
    story.pass(Span::minutes(1));
    assert_eq!(starts(&mut story), Vec::<HostId>::new());
    assert!(story.alarms().contains(&Code::MEMORY_RESTORED));
}
