//! Two VMs of one name on two hosts: a workload is its name, so only one of them can be looked after.

use crate::harness::{Story, domain};
use mainstay_model::{Action, Code, DomainChange, DomainSeen, DomainState, Fact, OffReason, Resources, Span};

fn other(state: DomainState) -> DomainSeen {
    DomainSeen { uuid: "another".to_owned(), ..domain(state) }
}

#[test]
fn another_vm_of_the_same_name_is_told_and_not_touched() {
    let mut story = Story::new();
    story.has("h2", other(DomainState::Running));
    let change = DomainChange::State(DomainState::Running);
    story.fact(Fact::Domain { host: "h2".into(), workload: "web-1".into(), change });
    assert!(!story.alarms().contains(&Code::RUNS_TWICE), "nobody knows yet what it is");
    story.pass(Span::secs(3));
    assert_eq!(story.alarms(), [Code::NAMESAKE]);
    assert_eq!(story.controller.view(story.now).workloads[0].may_run_on, ["h1".into()].into());
    let change = DomainChange::State(DomainState::Off(OffReason::Crashed));
    story.fact(Fact::Domain { host: "h2".into(), workload: "web-1".into(), change });
    story.pass(Span::secs(3));
    assert_eq!(story.ordered(), [], "the other one is not ours");
    story.has_not("h2");
    story.pass(Span::secs(3));
    assert_eq!(story.alarms(), []);
}

/// The host that has the namesake gets ours never: there its name is taken.
#[test]
fn a_workload_is_not_started_where_its_name_is_taken() {
    let mut story = Story::new();
    story.has("h2", other(DomainState::Off(OffReason::Shutdown)));
    story.has("h3", other(DomainState::Running));
    story.pass(Span::secs(3));
    story.host_proved_off();
    story.pass(Span::secs(2));
    assert!(story.ordered().iter().all(|action| !matches!(action, Action::Start { .. })));
    assert!(story.alarms().contains(&Code::NO_HOST_FITS) && story.alarms().contains(&Code::NAMESAKE));
    story.has_not("h2");
    story.pass(Span::secs(2));
    let start = Action::Start { workload: "web-1".into(), host: "h2".into() };
    assert!(story.ordered().contains(&start), "{}", story.said.join("\n"));
}

/// Over a restart of the controller, whoever answers first.
#[test]
fn a_new_term_does_not_mistake_one_for_the_other() {
    let mut story = Story::new();
    story.has("h2", other(DomainState::Running));
    story.pass(Span::secs(3));
    story.restart();
    story.now = story.now + Span::millis(100);
    let list = story.list(&"h2".into(), story.now);
    story.fact(list);
    story.pass(Span::secs(8));
    assert_eq!(story.alarms(), [Code::NAMESAKE]);
    assert_eq!(story.controller.view(story.now).workloads[0].host, Some("h1".into()));
}

/// Made anew on its own host under the same name: it is what runs under that name now.
#[test]
fn a_vm_that_was_made_anew_on_its_host_takes_its_place() {
    let mut story = Story::new();
    story.has("h1", other(DomainState::Running));
    story.pass(Span::secs(3));
    assert_eq!((story.alarms(), story.health().as_str()), (vec![], "running"));
    story.event("h1", DomainState::Running);
    story.has("h2", other(DomainState::Running));
    story.pass(Span::secs(3));
    assert_eq!(story.alarms(), [Code::NAMESAKE], "h1 has `u` again, by the event's helper");
}

/// A definition that was left on another host, and changed there or here since, is not what runs.
#[test]
fn a_leftover_definition_does_not_say_what_a_workload_needs() {
    let mut story = Story::new();
    let leftover = DomainSeen { needs: Resources::of(48 * 1024, 8), ..domain(DomainState::Off(OffReason::Shutdown)) };
    story.has("h2", leftover);
    story.pass(Span::secs(20));
    assert_eq!(story.controller.view(story.now).workloads[0].needs, Resources::of(1024, 1));
}

/// After a restart of the controller the host of a namesake may be the first to say what it has: what the others have still
/// to tell is not gone.
#[test]
fn a_workload_is_not_forgotten_because_a_namesakes_host_answers_first() {
    let mut story = Story::new();
    story.has("h2", other(DomainState::Running));
    story.pass(Span::secs(3));
    story.event("h1", DomainState::Off(OffReason::Shutdown));
    story.restart();
    let first = story.list(&"h2".into(), story.now);
    story.fact(first);
    story.pass(Span::secs(10));
    let said = story.said.join("\n");
    assert!(!said.contains("removed by a person"), "{said}");
    assert!(story.alarms().contains(&Code::STOPPED_BY_PERSON), "{said}");
}
