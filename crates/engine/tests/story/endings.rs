//! What comes of an order when it did not go as it should: what is believed then, and how soon it is tried again.

use crate::harness::{Story, domain};
use mainstay_model::{
    Action, Code, Command, DomainState, FailureKind, OffReason, Outcome, PauseReason, PointState, Reply, Span, StopHow,
    spec::{LadderStep, Managed, Origin, RecoveryPolicy, Rule, Rung, Selector},
};

/// The order failed since somebody else had been faster: it runs, so it must not be started anywhere else.
#[test]
fn what_runs_although_its_start_failed_is_not_started_again() {
    let mut story = Story::new();
    let start = story.crashed();
    story.now = story.now + Span::millis(200);
    story.event("h1", DomainState::Running);
    story.ends(start, Outcome::failed(FailureKind::Refused, "domain is already running"));
    story.pass(Span::minutes(2));
    assert_eq!(story.ordered(), [], "{}", story.said.join("\n"));
    assert_eq!((story.health().as_str(), story.alarms()), ("running", vec![]));
}

/// What came of a start is unknown, and then an operator wants the workload stopped: no start is given again.
#[test]
fn a_stop_that_was_asked_for_counts_more_than_a_start_in_doubt() {
    let mut story = Story::new();
    let start = story.crashed();
    story.ends(start, Outcome::unknown("no answer"));
    let (again, _) = story.only_order();
    story.ends(again, Outcome::unknown("no answer"));
    let reply = story.command(Command::StopWorkload { workload: "web-1".into(), how: StopHow::Force, within: None });
    assert!(matches!(reply, Reply::Accepted { .. }), "{reply:?}");
    story.pass(Span::minutes(10));
    let orders = story.ordered();
    assert!(!orders.iter().any(|action| matches!(action, Action::Start { .. })), "{orders:?}");
    assert_eq!(story.health(), "stopped");
}

/// It does not shut down when asked: it is asked again after a while, not at once, and not by force.
#[test]
fn a_stop_that_fails_is_asked_for_again_after_a_while() {
    let mut story = Story::new();
    story.command(Command::StopWorkload { workload: "web-1".into(), how: StopHow::Graceful, within: None });
    let (stop, _) = story.only_order();
    story.fails(stop);
    assert!(story.said.last().is_some_and(|said| said.contains("it did not stop when asked")), "{:?}", story.said);
    story.pass(Span::secs(50));
    assert_eq!(story.ordered(), []);
    story.pass(Span::secs(12));
    assert!(matches!(story.only_order().1, Action::Stop { how: StopHow::Graceful, .. }));
}

/// Its host says neither yes nor no to the removal of autostart; and one that can't be asked is not asked.
#[test]
fn autostart_that_can_not_be_disabled_is_tried_again_after_a_while() {
    let mut story = Story::new();
    let mut leftover = domain(DomainState::Off(OffReason::Unknown));
    leftover.autostart = true;
    story.has("h3", leftover);
    story.pass(Span::secs(1));
    let (disable, _) = story.only_order();
    story.pass(Span::secs(5));
    assert_eq!(story.ordered(), [], "the same is under way");
    story.fails(disable);
    story.pass(Span::secs(50));
    assert_eq!(story.ordered(), []);
    story.silent.push("h3".into());
    story.pass(Span::minutes(2));
    let asked = |action: &Action| matches!(action, Action::DisableAutostart { .. });
    assert!(!story.ordered().iter().any(asked), "nobody is there to be asked");
    story.silent.clear();
    story.pass(Span::minutes(2));
    assert!(story.ordered().iter().any(asked));
}

/// A revert that fails for another reason than that its point is gone says nothing against the point.
#[test]
fn a_revert_that_fails_costs_no_point() {
    let mut story = Story::new();
    story.point("one");
    story.now = story.now + Span::secs(1);
    story.point("two");
    story.command(Command::Revert { workload: "web-1".into(), point: Some("one".into()) });
    let (revert, _) = story.only_order();
    story.fails(revert);
    let states: Vec<_> = story.controller.points(&"web-1".into()).iter().map(|it| it.state).collect();
    assert_eq!(states, [PointState::Good, PointState::Good]);
}

/// The guest crashes; nothing was wrong when its recovery points were taken.
#[test]
fn points_taken_before_a_crash_are_good() {
    let mut story = Story::new();
    story.guest(true);
    story.pass(Span::secs(1));
    story.point("one");
    story.now = story.now + Span::secs(1);
    story.point("two");
    story.crashed();
    let states: Vec<_> = story.controller.points(&"web-1".into()).iter().map(|it| it.state).collect();
    assert_eq!(states, [PointState::Good, PointState::Good]);
}

/// The stop before a revert comes through late: the revert that it was for follows, to the point that was chosen.
#[test]
fn a_revert_goes_on_after_a_late_stop() {
    let mut story = Story::new();
    let ladder = vec![LadderStep { rung: Rung::Revert, attempts: 1 }, LadderStep { rung: Rung::Alarm, attempts: 1 }];
    let policy = RecoveryPolicy { ladder, window: Span::minutes(60), ..RecoveryPolicy::default() };
    story.spec.recovery.push(Rule { selector: Selector::all(), policy, origin: Origin::default_of("recovery") });
    story.reload();
    story.point("one");
    let stop = story.panicked();
    story.ends(stop, Outcome::unknown("no answer"));
    story.pass(Span::secs(2));
    story.event("h1", DomainState::Off(OffReason::Destroyed));
    let (_, action) = story.only_order();
    assert!(matches!(&action, Action::Revert { point, .. } if *point == "one".into()), "{action}");
}

/// Brought back a moment ago, it may fall again: a point of it now could hold what it fell of.
#[test]
fn no_point_is_taken_of_what_was_just_brought_back() {
    let mut story = Story::new();
    story.protected_once();
    story.pass(Span::minutes(9));
    story.crashed();
    story.event("h1", DomainState::Running);
    assert_eq!(story.ordered(), []);
}

/// What the incident tells of a workload that was brought back: where it runs, since when, and since when it answers.
#[test]
fn an_incident_tells_when_its_workload_ran_and_answered_again() {
    let mut story = Story::new();
    story.guest(true);
    story.pass(Span::secs(5));
    story.event("h1", DomainState::Off(OffReason::Crashed));
    story.comes_up();
    let running = story.now;
    story.pass(Span::secs(60));
    assert_eq!(story.open_incidents(), 1, "it runs, but nobody heard it yet");
    story.guest(true);
    let answering = story.now;
    story.pass(Span::minutes(5));
    assert_eq!(story.open_incidents(), 0, "{}", story.said.join("\n"));
    let incident = story.controller.incidents().pop().expect("one");
    let hit = &incident.workloads[0];
    assert_eq!((hit.to.clone(), hit.running_at, hit.answering_at), (Some("h1".into()), Some(running), Some(answering)));
    assert_eq!(hit.data_loss, Some(Span::ZERO));
    let timeline: Vec<&str> = incident.timeline.iter().map(|event| event.text.as_str()).collect();
    assert!(timeline.contains(&"crashed on h1") && timeline.contains(&"start web-1 on h1: done"), "{timeline:#?}");
    assert!(story.said.iter().any(|said| said.contains("answers again on h1")), "{}", story.said.join("\n"));
}

/// Whom Mainstay only watches it leaves alone, even on a host that goes into maintenance.
#[test]
fn what_is_only_watched_is_not_touched() {
    let mut story = Story::new();
    story.spec.workloads[0].policy.managed = Managed::WatchOnly;
    story.protect();
    story.command(Command::Maintenance { host: "h1".into(), on: true });
    story.pass(Span::minutes(2));
    assert_eq!(story.ordered(), [], "neither moved nor held still for recovery points");
    story.event("h1", DomainState::Off(OffReason::Crashed));
    story.pass(Span::minutes(2));
    assert_eq!(story.ordered(), []);
    assert!(!story.alarms().is_empty(), "but that it fell is told");
}

/// A migration's target was never told of it: whatever it can't be asked, it holds nobody up.
#[test]
fn a_migration_that_was_never_sent_leaves_its_target_out_of_doubt() {
    let mut story = Story::new();
    let id = story.migration();
    story.silent.push("h2".into());
    story.pass(Span::secs(1));
    story.ends(id, Outcome::failed(FailureKind::Unreachable, "not connected"));
    assert_eq!(story.controller.view(story.now).workloads[0].may_run_on, ["h1".into()].into());
    assert!(!story.alarms().contains(&Code::RUNS_TWICE));
}

/// Years of orders: the journal keeps the last ones.
#[test]
fn the_journal_does_not_grow_without_end() {
    let mut story = Story::new();
    for number in 0..1_500 {
        story
            .command(Command::TakePoint { workload: "web-1".into(), name: Some(format!("p{number}").as_str().into()) });
        let (take, _) = story.only_order();
        story.fails(take);
    }
    assert!(story.remembered(mainstay_engine::Table::Order) <= 1_001);
}

/// A migration fails, and its source does not say that it runs there either: both are asked before anything is believed.
#[test]
fn what_runs_nowhere_after_a_migration_that_failed_is_brought_back() {
    let mut story = Story::new();
    let id = story.migration();
    story.event("h1", DomainState::Off(OffReason::Migrated));
    story.fails(id);
    assert_eq!(story.ordered(), [], "it may be on h2");
    story.pass(Span::minutes(1));
    assert!(matches!(story.only_order().1, Action::Start { .. }), "{}", story.said.join("\n"));
}

/// It started elsewhere after the loss of its host, and a person shut it down there. What is left on the old host is not
/// removed as long as it does not run: nobody knows that the other can.
#[test]
fn a_leftover_is_kept_while_its_workload_is_off() {
    let mut story = Story::new();
    story.host_proved_off();
    let elsewhere = story.comes_up();
    story.pass(Span::secs(5));
    story.event(elsewhere.as_str(), DomainState::Off(OffReason::Shutdown));
    story.has("h1", domain(DomainState::Off(OffReason::Unknown)));
    story.silent.clear();
    story.pass(Span::minutes(2));
    let removed = |action: &Action| matches!(action, Action::Undefine { .. });
    assert!(!story.ordered().iter().any(removed));
    story.command(Command::StartWorkload { workload: "web-1".into(), host: Some(elsewhere), leave_state: false });
    story.comes_up();
    story.pass(Span::secs(20));
    assert!(story.ordered().iter().any(removed), "{}", story.said.join("\n"));
}

/// It is paused again each time it is resumed: that is tried a few times, then something else.
#[test]
fn a_resume_that_does_not_help_is_not_tried_without_end() {
    let mut story = Story::new();
    story.event("h1", DomainState::Paused(PauseReason::IoError));
    let (mut resumed, mut stopped) = (0, false);
    for _ in 0..300 {
        for (id, action) in std::mem::take(&mut story.orders) {
            match action {
                Action::Resume { .. } => resumed += 1,
                Action::Stop { .. } => stopped = true,
                _ => {}
            }
            story.fails(id);
        }
        story.pass(Span::secs(1));
    }
    assert!(resumed == 5 && stopped, "{resumed} times, as often as the ladder says, and then stopped: {stopped}");
}

/// Its disk lies on its host: there is no use in trying elsewhere, and a person is told.
#[test]
fn what_can_not_leave_its_host_is_not_started_elsewhere() {
    let mut story = Story::new();
    let mut pinned = domain(DomainState::Running);
    pinned.movable = false;
    story.has("h1", pinned.clone());
    story.pass(Span::secs(1));
    pinned.state = DomainState::Off(OffReason::Crashed);
    story.has("h1", pinned);
    for _ in 0..300 {
        for (id, action) in std::mem::take(&mut story.orders) {
            assert_eq!(action, Action::Start { workload: "web-1".into(), host: "h1".into() });
            story.fails(id);
        }
        story.pass(Span::secs(1));
    }
    assert_eq!(story.alarms(), [Code::RECOVERY_EXHAUSTED]);
}
