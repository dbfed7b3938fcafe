//! The figures of an incident are true: downtime neither grows after the fact nor is too small, and a loss is not told smaller than
//! what was written.

use crate::harness::{Story, domain};
use mainstay_model::{
    Action, Command, DomainState, IncidentWorkload, OffReason, Reply, Span, StopHow, Time, WorkloadId,
};

fn web() -> WorkloadId {
    "web-1".into()
}

/// What the newest incident says of the workload.
fn part(story: &Story) -> IncidentWorkload {
    story.controller.incidents().last().expect("there is an incident").workloads[0].clone()
}

fn downtime(story: &Story) -> Span {
    part(story).downtime(story.now)
}

/// It answers its probes, crashes at the time that is returned, and is started again at once, but does not answer yet.
fn crashes_and_runs(story: &mut Story) -> Time {
    story.guest(true);
    let crashed_at = story.now;
    let start = story.crashed();
    story.pass(Span::secs(1));
    story.has("h1", domain(DomainState::Running));
    story.pass(Span::secs(1));
    story.done(start);
    crashed_at
}

fn about(found: Span, wanted: Span) {
    let (found, wanted) = (found.as_secs_f64(), wanted.as_secs_f64());
    assert!((found - wanted).abs() <= 1.0, "{found} s instead of {wanted} s");
}

#[test]
fn a_guest_that_runs_and_does_not_answer_is_still_down() {
    let mut story = Story::new();
    let crashed_at = crashes_and_runs(&mut story);
    story.guest(false);
    story.pass(Span::secs(20));
    about(downtime(&story), story.now.since(crashed_at));
    story.guest(true);
    let down = story.now.since(crashed_at);
    story.pass(Span::secs(30));
    about(downtime(&story), down);
}

#[test]
fn a_live_move_after_the_fact_is_no_downtime() {
    let mut story = Story::new();
    crashes_and_runs(&mut story);
    story.guest(true);
    let down = downtime(&story);
    story.pass(Span::secs(5));
    let migrate = story.migration();
    story.pass(Span::secs(15));
    story.has_not("h1");
    story.has("h2", domain(DomainState::Running));
    story.done(migrate);
    story.pass(Span::secs(5));
    story.guest(true);
    story.pass(Span::secs(5));
    assert_eq!((downtime(&story), part(&story).to), (down, Some("h2".into())));
}

#[test]
fn a_restart_of_the_controller_after_the_fact_is_no_downtime() {
    let mut story = Story::new();
    crashes_and_runs(&mut story);
    story.guest(true);
    let down = downtime(&story);
    story.pass(Span::secs(5));
    for _ in 0..3 {
        story.now = story.now + Span::secs(16);
        story.restart();
        story.pass(Span::secs(3));
        story.guest(true);
        story.pass(Span::secs(2));
        assert_eq!(downtime(&story), down);
    }
}

#[test]
fn a_crash_while_the_controller_was_away_is_counted_from_when_it_was_last_there() {
    let mut story = Story::new();
    story.has("h1", domain(DomainState::Off(OffReason::Crashed)));
    let last_there = story.now;
    story.now = story.now + Span::secs(60);
    story.restart();
    story.pass(Span::secs(3));
    let (start, _) = story.only_order();
    story.has("h1", domain(DomainState::Running));
    story.done(start);
    let down = story.now.since(last_there);
    story.pass(Span::secs(2));
    let found = downtime(&story);
    assert!(found >= down && found <= down + Span::secs(11), "{found} instead of {down}");
}

#[test]
fn the_downtime_of_what_a_person_took_over_does_not_go_on() {
    let mut story = Story::new();
    let crashed_at = crashes_and_runs(&mut story);
    story.guest(false);
    story.pass(Span::secs(4));
    let reply = story.command(Command::StopWorkload { workload: web(), how: StopHow::Force, within: None });
    assert!(matches!(reply, Reply::Accepted { .. }), "{reply:?}");
    let down = story.now.since(crashed_at);
    story.pass(Span::minutes(5));
    about(downtime(&story), down);
}

#[test]
fn what_ran_between_two_outages_of_one_incident_was_not_down() {
    let mut story = Story::new();
    crashes_and_runs(&mut story);
    story.guest(true);
    let first = downtime(&story);
    story.pass(Span::secs(10));
    story.guest(true);
    let again = story.now;
    let start = story.crashed();
    assert_eq!(story.controller.incidents().len(), 1);
    about(downtime(&story), first);
    story.pass(Span::secs(3));
    about(downtime(&story), first + story.now.since(again));
    story.has("h1", domain(DomainState::Running));
    story.pass(Span::secs(1));
    story.done(start);
    story.guest(true);
    let both = first + story.now.since(again);
    story.pass(Span::minutes(3));
    about(downtime(&story), both);
}

/// The first figure was counted from the beginning of the incident: 3.4 s for minutes.
#[test]
fn a_revert_in_an_open_incident_loses_what_was_written_until_then() {
    let mut story = Story::new();
    story.protect();
    story.point("before");
    let taken_at = story.now;
    story.pass(Span::secs(3));
    crashes_and_runs(&mut story);
    story.guest(true);
    story.pass(Span::secs(20));
    let reply = story.command(Command::Revert { workload: web(), point: Some("before".into()) });
    assert!(matches!(reply, Reply::Accepted { .. }), "{reply:?}");
    let lost = story.now.since(taken_at);
    let (revert, action) = story.only_order();
    assert!(matches!(action, Action::Revert { .. }), "{action}");
    story.pass(Span::secs(4));
    story.done(revert);
    about(part(&story).data_loss.expect("it is known"), lost);
}

#[test]
fn a_revert_of_what_is_long_off_loses_only_what_was_written_until_it_went_off() {
    let mut story = Story::new();
    story.protect();
    story.point("before");
    let taken_at = story.now;
    story.pass(Span::secs(30));
    story.event("h1", DomainState::Off(OffReason::Shutdown));
    let lost = story.now.since(taken_at);
    story.pass(Span::minutes(30));
    story.command(Command::Revert { workload: web(), point: Some("before".into()) });
    let (revert, _) = story.only_order();
    story.has("h1", domain(DomainState::Running));
    story.done(revert);
    about(part(&story).data_loss.expect("it is known"), lost);
}
