//! The configuration changes under what is going on.

use crate::harness::{Story, domain};
use mainstay_model::{Action, Code, Command, DomainState, Reply, Resources, Span};

/// A host is taken out of the configuration though a workload runs there: nobody watches it any more, and that is said.
#[test]
fn a_host_that_is_removed_from_the_configuration_is_believed_only_by_a_person() {
    let mut story = Story::new();
    story.spec.hosts.remove("h1");
    story.reload();
    story.pass(Span::secs(10));
    assert_eq!(story.ordered(), []);
    assert_eq!(story.alarms(), [Code::HOST_REMOVED]);
    assert_eq!(story.health(), "unknown", "nobody looks there any more");
    let reply = story.command(Command::ConfirmOff { host: "h1".into() });
    assert!(matches!(reply, Reply::Accepted { .. }), "{reply:?}");
    let (_, action) = story.only_order();
    assert!(matches!(action, Action::Start { .. }), "{action}");
    story.pass(Span::secs(1));
    assert_eq!(story.alarms(), []);
    assert!(story.controller.view(story.now).hosts.iter().all(|host| host.host != "h1".into()));
}

/// Put back into the configuration, it is watched as before.
#[test]
fn a_host_that_is_put_back_into_the_configuration_is_watched_again() {
    let mut story = Story::new();
    let spec = story.spec.clone();
    story.spec.hosts.remove("h1");
    story.reload();
    story.pass(Span::secs(10));
    story.spec = spec;
    story.reload();
    story.pass(Span::secs(10));
    assert_eq!((story.health().as_str(), story.alarms()), ("running", vec![]));
    assert_eq!(story.ordered(), []);
}

/// Hosts that are no longer watched are not silent: the loss of another one is no cut-off.
#[test]
fn removed_hosts_do_not_count_as_silent() {
    let mut story = Story::new();
    for name in ["h1", "h2"] {
        let running = domain(DomainState::Running);
        story.domains.get_mut(name).unwrap().insert(format!("on-{name}").as_str().into(), running);
    }
    story.pass(Span::secs(2));
    story.add_host("h4");
    story.spec.hosts.remove("h1");
    story.spec.hosts.remove("h2");
    story.reload();
    story.pass(Span::secs(10));
    story.silent.push("h3".into());
    story.pass(Span::secs(5));
    assert!(!story.controller.view(story.now).cut_off);
}

/// A dead host is replaced: what waited for room starts on the new one.
#[test]
fn what_waits_for_room_starts_on_the_host_that_replaces_a_dead_one() {
    let mut story = Story::new();
    story.spec.hosts.remove("h2");
    story.spec.hosts.remove("h3");
    story.reload();
    story.silent.push("h1".into());
    story.pass(Span::secs(5));
    story.command(Command::ConfirmOff { host: "h1".into() });
    story.pass(Span::secs(5));
    story.add_host("h4");
    story.spec.hosts.remove("h1");
    story.domains.insert("h4".into(), Default::default());
    story.reload();
    story.orders.clear();
    story.pass(Span::secs(10));
    let (_, action) = story.only_order();
    assert_eq!(action, Action::Start { workload: "web-1".into(), host: "h4".into() });
}

/// A rule is dropped in the middle of a recovery: what was begun ends, nothing new begins, and no story stays open.
#[test]
fn a_workload_whose_rule_is_dropped_in_its_recovery_is_left_alone() {
    let mut story = Story::new();
    let rules = story.spec.workloads.clone();
    let id = story.crashed();
    story.spec.workloads.clear();
    story.reload();
    story.fails(id);
    story.pass(Span::minutes(1));
    assert_eq!(story.ordered(), []);
    assert_eq!(story.open_incidents(), 0);
    assert_eq!(story.controller.view(story.now).verdict.text, "all is well");
    story.spec.workloads = rules;
    story.reload();
    story.pass(Span::secs(15));
    assert!(matches!(story.only_order().1, Action::Start { .. }));
    assert_eq!(story.capacity, Resources::of(64 * 1024, 16));
}

/// Its probes are taken from the configuration: that it gives no answer any more says nothing, also after its next start.
#[test]
fn what_is_not_asked_any_more_is_well_without_an_answer() {
    let mut story = Story::new();
    story.spec.workloads[0].policy.probes.ping = true;
    story.reload();
    story.guest(true);
    story.spec.workloads[0].policy.probes.ping = false;
    story.reload();
    let start = story.crashed();
    story.has("h1", domain(DomainState::Running));
    story.done(start);
    story.pass(Span::minutes(2));
    assert_eq!(story.health(), "running");
    assert_eq!(story.alarms(), []);
}

/// A VM that was not asked for a while may hang since long: no recovery point of it is taken before it has answered.
#[test]
fn what_is_asked_anew_answers_before_a_recovery_point_is_taken() {
    let mut story = Story::new();
    story.spec.workloads[0].policy.probes.ping = true;
    story.reload();
    story.guest(true);
    story.protected_once();
    let rules = std::mem::take(&mut story.spec.workloads);
    story.reload();
    story.pass(Span::minutes(30));
    story.spec.workloads = rules;
    story.reload();
    story.pass(Span::secs(20));
    assert_eq!(story.ordered(), []);
    story.guest(true);
    story.pass(Span::secs(5));
    assert!(matches!(story.ordered()[..], [Action::TakePoint { .. }]));
}
