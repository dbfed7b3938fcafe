//! Migrations, cold moves and starts on request: what can come in between.

use crate::harness::{Story, domain};
use mainstay_model::{
    Action, Code, Command, DomainState, FailureKind, OffReason, Outcome, PauseReason, Reply, Resources, Span, StopHow,
};

/// A start that has to wait for room is no workload that vanished: it starts when there is room.
#[test]
fn a_start_that_waits_for_room_is_made_when_there_is_room() {
    let mut story = Story::new();
    story.event("h1", DomainState::Off(OffReason::Shutdown));
    story.capacity = Resources::of(512, 1);
    story.pass(Span::secs(1));
    let reply = story.command(Command::StartWorkload { workload: "web-1".into(), host: None, leave_state: false });
    assert!(matches!(reply, Reply::Accepted { .. }), "{reply:?}");
    story.pass(Span::minutes(1));
    assert_eq!(story.alarms(), [Code::NO_HOST_FITS]);
    story.capacity = Resources::of(64 * 1024, 16);
    story.pass(Span::secs(1));
    assert!(matches!(story.only_order().1, Action::Start { .. }));
}

/// The list of the source was on its way when the migration ended: it tells of the time before.
#[test]
fn a_late_list_of_the_source_does_not_undo_a_migration() {
    let mut story = Story::new();
    let id = story.migration();
    let late = story.list(&"h1".into(), story.now + Span(1));
    story.now = story.now + Span::millis(100);
    story.has_not("h1");
    story.has("h2", domain(DomainState::Running));
    story.done(id);
    story.fact(late);
    let view = story.controller.view(story.now).workloads.remove(0);
    assert_eq!(view.may_run_on, ["h2".into()].into());
    story.pass(Span::secs(5));
    assert_eq!(story.controller.view(story.now).workloads[0].host, Some("h2".into()));
    assert_eq!(story.alarms(), []);
}

/// While a person (or a controller that died since) migrates it, the target holds it paused: nobody is to destroy that.
#[test]
fn a_migration_that_somebody_else_makes_is_not_called_running_twice() {
    let mut story = Story::new();
    story.has("h2", domain(DomainState::Paused(PauseReason::Busy)));
    story.pass(Span::secs(5));
    assert_eq!(story.alarms(), []);
    story.has_not("h1");
    story.has("h2", domain(DomainState::Running));
    story.pass(Span::secs(5));
    assert_eq!(story.alarms(), []);
    assert_eq!(story.ordered(), []);
    assert_eq!(story.controller.view(story.now).workloads[0].host, Some("h2".into()));
}

/// The connection to a host that has no power any more would be waited for until the order's deadline.
#[test]
fn an_order_at_a_host_that_is_proved_off_is_over() {
    let mut story = Story::new();
    story.migration();
    story.host_proved_off();
    story.pass(Span::secs(2));
    let (_, action) = story.only_order();
    assert!(matches!(action, Action::Start { .. }), "{action}");
}

/// A host on which a start is under way loses its power: the start is made elsewhere at once.
#[test]
fn a_start_whose_host_dies_is_made_elsewhere() {
    let mut story = Story::new();
    story.crashed();
    story.host_proved_off();
    story.pass(Span::secs(1));
    let (_, action) = story.only_order();
    assert!(matches!(&action, Action::Start { host, .. } if *host != "h1".into()), "{action}");
}

/// Somebody was faster than the outcome of our stop: it runs, so it must not be started elsewhere.
#[test]
fn what_was_started_again_while_it_was_being_stopped_is_not_taken_for_off() {
    let mut story = Story::new();
    let reply = story.command(Command::RestartWorkload { workload: "web-1".into(), how: StopHow::Force });
    assert!(matches!(reply, Reply::Accepted { .. }), "{reply:?}");
    let (id, _) = story.only_order();
    story.now = story.now + Span::millis(100);
    story.event("h1", DomainState::Off(OffReason::Destroyed));
    story.now = story.now + Span::millis(100);
    story.event("h1", DomainState::Running);
    story.done(id);
    assert_eq!(story.ordered(), [], "it runs, as far as anybody knows");
    story.pass(Span::secs(5));
    assert!(story.ordered().iter().all(|action| action.host() == &"h1".into()));
    assert_eq!(story.health(), "running");
}

/// Fail-back that is refused is not asked for again and again.
#[test]
fn a_fail_back_that_fails_is_given_up() {
    let mut story = Story::new();
    story.spec.workloads[0].policy.fail_back = mainstay_model::spec::FailBack::Return;
    story.reload();
    story.command(Command::Maintenance { host: "h1".into(), on: true });
    let (id, _) = story.only_order();
    story.has_not("h1");
    story.has("h2", domain(DomainState::Running));
    story.done(id);
    story.pass(Span::secs(2));
    story.command(Command::Maintenance { host: "h1".into(), on: false });
    let mut tries = 0;
    for _ in 0..120 {
        story.guest(true);
        story.guest(false);
        for (id, action) in std::mem::take(&mut story.orders) {
            assert!(matches!(action, Action::Migrate { .. }), "{action}");
            tries += 1;
            story.ends(id, Outcome::failed(FailureKind::Refused, "the CPU is another"));
        }
        story.pass(Span::secs(1));
    }
    assert!((1..=2).contains(&tries), "{tries} migrations within two minutes");
}

/// A guest that can neither be migrated nor shut down: said aloud, and not asked every minute.
#[test]
fn a_drain_that_fails_in_every_way_is_said_and_not_tried_without_end() {
    let mut story = Story::new();
    story.command(Command::Maintenance { host: "h1".into(), on: true });
    let mut tries = 0;
    for _ in 0..240 {
        for (id, action) in std::mem::take(&mut story.orders) {
            tries += 1;
            story.ends(id, Outcome::failed(FailureKind::Other, format!("{action} failed")));
        }
        story.pass(Span::secs(1));
    }
    assert!(tries <= 6, "{tries} tries within four minutes");
    assert_eq!(story.alarms(), [Code::DRAIN_BLOCKED], "{}", story.said.join("\n"));
}

/// Who asks anew for what failed before does not wait for the rest that it was given.
#[test]
fn a_drain_that_is_asked_for_anew_is_tried_at_once() {
    let mut story = Story::new();
    story.command(Command::Maintenance { host: "h1".into(), on: true });
    for _ in 0..10 {
        for (id, _) in std::mem::take(&mut story.orders) {
            story.fails(id);
        }
        story.pass(Span::secs(1));
    }
    assert_eq!(story.alarms(), [Code::DRAIN_BLOCKED]);
    story.command(Command::Maintenance { host: "h1".into(), on: false });
    assert_eq!(story.ordered(), []);
    story.command(Command::Maintenance { host: "h1".into(), on: true });
    assert!(matches!(story.only_order().1, Action::Migrate { .. }));
}

/// Where to was not said, the migration's answer was lost, and it is there: nobody moves it on (seed 5857).
#[test]
fn a_move_of_unknown_outcome_that_arrived_is_over() {
    let mut story = Story::new();
    story.command(Command::MoveWorkload { workload: "web-1".into(), to: None, cold: false });
    let (id, action) = story.only_order();
    let Action::Migrate { to, .. } = action else { panic!("{action}") };
    story.has_not("h1");
    story.has(to.as_str(), domain(DomainState::Running));
    story.ends(id, Outcome::unknown("no answer"));
    story.pass(Span::minutes(5));
    assert_eq!(story.ordered(), [], "{}", story.said.join("\n"));
    assert_eq!(story.controller.view(story.now).workloads[0].host, Some(to));
}

/// A migration failed but for its target, which waits for what will never come; then its source is lost. Who ends the
/// target is libvirt, and no person.
#[test]
fn a_target_that_ends_because_its_source_is_gone_was_stopped_by_nobody() {
    let mut story = Story::new();
    let id = story.migration();
    story.event("h2", DomainState::Paused(PauseReason::Busy));
    story.ends(id, Outcome::failed(FailureKind::Other, "internal error"));
    story.pass(Span::secs(5));
    story.host_proved_off();
    story.event("h2", DomainState::Off(OffReason::Destroyed));
    story.pass(Span::secs(1));
    let orders = story.ordered();
    assert!(matches!(&orders[..], [Action::Start { .. }]), "{orders:?}");
    assert!(!story.alarms().contains(&Code::STOPPED_BY_PERSON));
}

/// A migration failed, and its target has not said yet that nothing came of it, when a person shuts the guest down where it is.
#[test]
fn a_persons_stop_beside_a_failed_migration_is_not_forgotten() {
    let mut story = Story::new();
    let id = story.migration();
    story.fails(id);
    story.event("h1", DomainState::Off(OffReason::Shutdown));
    story.pass(Span::secs(10));
    assert_eq!(story.ordered(), []);
    assert_eq!(story.alarms(), [Code::STOPPED_BY_PERSON]);
}

/// Nothing waits for a host that can never take it: the wish is refused, and said why.
#[test]
fn a_start_where_its_disks_are_not_is_refused() {
    let mut story = Story::new();
    let local = mainstay_model::DomainSeen { movable: false, ..domain(DomainState::Off(OffReason::Shutdown)) };
    story.has("h1", local);
    story.pass(Span::secs(3));
    let reply =
        story.command(Command::StartWorkload { workload: "web-1".into(), host: Some("h2".into()), leave_state: false });
    assert!(matches!(&reply, Reply::Refused { text } if text.contains("can't reach the disks")), "{reply:?}");
}
