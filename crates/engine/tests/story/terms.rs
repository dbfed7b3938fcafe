//! The controller dies with orders under way: the next term asks before it acts, and does nothing twice that must not be.

use crate::harness::{Story, domain};
use mainstay_engine::Input;
use mainstay_model::{
    Action, Code, Command, DomainState, Fact, FailureKind, HostChannel, HostId, OffReason, Outcome, Resources, Span,
    StopHow, spec::Rung,
};

/// A start was ordered; whether it was done is unknown. Until its host has told, nothing is ordered elsewhere.
#[test]
fn a_start_of_an_earlier_term_is_asked_about_before_anything_else() {
    let mut story = Story::new();
    story.crashed();
    story.restart();
    assert_eq!(story.ordered(), []);
    story.has("h1", domain(DomainState::Running));
    story.pass(Span::minutes(2));
    assert_eq!(story.ordered(), []);
    assert_eq!((story.health().as_str(), story.open_incidents()), ("running", 0));
}

/// A fence was ordered: it is ordered again, and nothing starts before one has succeeded.
#[test]
fn a_fence_of_an_earlier_term_proves_nothing() {
    let mut story = Story::new();
    let old = story.host_lost();
    story.restart();
    story.pass(Span::secs(2));
    assert_eq!(story.ordered(), [], "the host is asked again, for its whole bound");
    story.pass(Span::secs(2));
    let (again, action) = story.only_order();
    assert!(matches!(action, Action::Fence { level: 0, .. }), "{action}");
    story.fenced(old);
    assert_eq!(story.ordered(), [], "an outcome of an earlier term counts for nothing");
    story.fenced(again);
    story.pass(Span::secs(2));
    assert!(matches!(story.only_order().1, Action::Start { .. }));
}

/// A migration was ordered: both hosts are asked, whoever of them has it.
#[test]
fn a_migration_of_an_earlier_term_is_found_where_it_is() {
    for arrived in [false, true] {
        let mut story = Story::new();
        story.migration();
        story.restart();
        if arrived {
            story.has_not("h1");
            story.has("h2", domain(DomainState::Running));
        }
        story.pass(Span::minutes(2));
        let starts = story.ordered().into_iter().filter(|action| matches!(action, Action::Start { .. })).count();
        let health = if arrived { "running" } else { "migrating" }; // what was asked for is gone on with
        assert_eq!((starts, story.health().as_str()), (0, health));
    }
}

/// A stop that an operator asked for is carried on with, and what it stopped stays stopped.
#[test]
fn a_stop_of_an_earlier_term_is_carried_on_with() {
    let mut story = Story::new();
    story.command(Command::StopWorkload { workload: "web-1".into(), how: StopHow::Graceful, within: None });
    story.only_order();
    story.restart();
    story.pass(Span::secs(1));
    assert!(matches!(story.only_order().1, Action::Stop { .. }), "it still runs");
    story.event("h1", DomainState::Off(OffReason::Shutdown));
    story.restart();
    story.pass(Span::minutes(2));
    assert_eq!(story.ordered(), []);
    assert_eq!(story.health(), "stopped");
}

/// The restart of a workload was between its stop and its start.
#[test]
fn what_was_stopped_to_be_started_again_is_started_in_the_next_term() {
    let mut story = Story::new();
    story.command(Command::RestartWorkload { workload: "web-1".into(), how: StopHow::Force });
    story.only_order();
    story.has("h1", domain(DomainState::Off(OffReason::Destroyed)));
    story.restart();
    story.pass(Span::secs(2));
    assert!(matches!(story.only_order().1, Action::Start { .. }));
}

/// Each try ends in doubt at once: that is no reason to try as fast as it fails.
#[test]
fn starts_that_all_end_in_doubt_are_bounded() {
    let mut story = Story::new();
    story.event("h1", DomainState::Off(OffReason::Crashed));
    let mut starts = 0;
    for _ in 0..240 {
        for (id, action) in std::mem::take(&mut story.orders) {
            if matches!(action, Action::Start { .. }) {
                starts += 1;
                story.ends(id, Outcome::unknown("the connection broke"));
            }
        }
        story.pass(Span::millis(500));
    }
    assert!((2..=6).contains(&starts), "{starts} starts within two minutes");
}

/// A fence that is under way is not ordered twice.
#[test]
fn a_fence_under_way_is_not_doubled_by_a_person() {
    let mut story = Story::new();
    story.host_lost();
    story.command(Command::FenceHost { host: "h1".into() });
    assert_eq!(story.ordered(), []);
}

/// A start in doubt was given again, and could not even be sent: what the first one comes to is as unknown as before.
#[test]
fn a_start_that_could_not_be_sent_does_not_settle_the_one_before() {
    let mut story = Story::new();
    let id = story.crashed();
    story.ends(id, Outcome::unknown("the connection broke"));
    for (id, _) in std::mem::take(&mut story.orders) {
        story.ends(id, Outcome::failed(FailureKind::Unreachable, "not connected"));
    }
    story.pass(Span::secs(60));
    assert!(story.ordered().iter().all(|action| action.host() == &"h1".into()), "it may be carried out on h1 yet");
}

/// Starts on h1 that are never answered may be carried out however late, though h1 says that nothing runs. Elsewhere it
/// starts only after its definition was taken from h1, which waits for them (seed 3375).
#[test]
fn a_start_that_hangs_is_shut_out_before_the_workload_goes_elsewhere() {
    let mut story = Story::new();
    story.event("h1", DomainState::Off(OffReason::Crashed));
    let (mut here, mut shut_out, mut elsewhere) = (0, false, false);
    for _ in 0..2_400 {
        for (id, action) in std::mem::take(&mut story.orders) {
            match action {
                Action::Start { host, .. } if host == "h1".into() => {
                    here += 1;
                    story.ends(id, Outcome::unknown("no answer"));
                }
                Action::Start { host, .. } => {
                    assert!(shut_out, "started on {host} while a start hangs on h1:\n{}", story.said.join("\n"));
                    elsewhere = true;
                }
                Action::Undefine { .. } => {
                    story.has_not("h1");
                    story.done(id);
                    shut_out = true;
                }
                _ => {}
            }
        }
        story.pass(Span::millis(500));
    }
    assert!(elsewhere && here > 2, "tried {here} times on its host, as its ladder says:\n{}", story.said.join("\n"));
}

/// A start was never answered, and a person has filled its host meanwhile: it is shut out there, and made on a host with room
/// (storm seed 276303920004106).
#[test]
fn a_start_that_hangs_on_a_host_that_is_full_by_now_is_made_elsewhere() {
    let mut story = Story::new();
    story.capacity = Resources::of(2 * 1024, 16);
    story.ladder(&[Rung::Restart, Rung::Restart, Rung::Restart, Rung::Restart]);
    story.spec.recovery[0].policy.by_cause.clear();
    story.reload();
    story.pass(Span::secs(1));
    let fence = story.host_lost();
    story.fenced(fence);
    let (start, action) = story.only_order();
    let Action::Start { host, .. } = action else { panic!("{action}") };
    story.ends(start, Outcome::unknown("no answer"));
    story.guest_on(host.as_str(), "big-1", DomainState::Running);
    story.guest_on(host.as_str(), "big-2", DomainState::Running);
    let mut elsewhere = None;
    for _ in 0..600 {
        for (id, action) in std::mem::take(&mut story.orders) {
            match action {
                Action::Start { host: there, .. } if there == host => story.ends(id, Outcome::unknown("no answer")),
                Action::Start { host: there, .. } => elsewhere = Some(there),
                Action::Undefine { .. } => story.done(id),
                _ => {}
            }
        }
        story.pass(Span::millis(500));
    }
    let said = story.said.join("\n");
    assert!(elsewhere.is_some(), "{said}");
    assert!(!said.contains("withheld"), "{said}");
}

/// The clock of the controller's machine was a day behind, and is set right while the controller is down. The guest's one restart
/// within an hour was a minute ago all the same.
#[test]
fn a_clock_that_was_set_ahead_gives_no_more_tries() {
    let mut story = Story::new();
    story.tries_once();
    let start = story.crashed();
    story.has("h1", domain(DomainState::Running));
    story.done(start);
    story.pass(Span::minutes(1));
    story.restart_set_ahead(Span::hours(24));
    story.pass(Span::secs(2));
    story.event("h1", DomainState::Off(OffReason::Crashed));
    story.pass(Span::secs(30));
    assert_eq!(story.ordered(), [], "{}", story.said.join("\n"));
    assert_eq!(story.alarms(), [Code::RECOVERY_EXHAUSTED]);
    assert!(story.said.iter().any(|text| text.contains("the clock was set ahead by 1d")), "{}", story.said.join("\n"));
    // The hour goes on from where it was.
    story.pass(Span::minutes(58));
    assert_eq!(story.ordered(), []);
}

/// A guest was given ten minutes to shut down, and the clock is set ahead by a day: it still has them.
#[test]
fn a_clock_that_was_set_ahead_takes_no_time_from_a_shutdown() {
    let mut story = Story::new();
    let within = Some(Span::minutes(10));
    story.command(Command::StopWorkload { workload: "web-1".into(), how: StopHow::Graceful, within });
    story.pass(Span::minutes(1));
    story.restart_set_ahead(Span::hours(24));
    let forced =
        |actions: Vec<Action>| actions.iter().any(|action| matches!(action, Action::Stop { how: StopHow::Force, .. }));
    story.pass(Span::minutes(8));
    assert!(!forced(story.ordered()), "it was forced early: {}", story.said.join("\n"));
    story.pass(Span::minutes(3));
    assert!(forced(story.ordered()), "it was not forced at all: {}", story.said.join("\n"));
}

/// A guest crashed between two terms: a person may have started it on any host meanwhile, so each tells first what it runs. Sensors ask for a
/// list before the engine takes in that its host was heard: such a list counts all the same, and the start does not wait for the next one.
#[test]
fn a_new_controller_hears_each_host_before_it_starts_anything_and_no_longer() {
    let mut story = Story::new();
    story.has("h1", domain(DomainState::Off(OffReason::Crashed)));
    story.restart();
    let hosts = ["h1", "h2", "h3"].map(HostId::from);
    let asked_at = story.now + Span::millis(3);
    story.now = story.now + Span::millis(5);
    let heard = |host: &HostId| Input::Fact(Fact::HostHeard { host: host.clone(), channel: HostChannel::Hypervisor });
    story.tell(hosts.iter().map(heard).collect());
    for host in &hosts {
        assert_eq!(story.ordered(), [], "{host} has not told");
        story.now = story.now + Span::millis(100);
        let list = story.list(host, asked_at);
        story.fact(list);
    }
    while story.orders.is_empty() {
        story.now = story.wake_at.expect("it looks again");
        story.tell(vec![Input::Tick]);
    }
    assert!(matches!(story.only_order().1, Action::Start { .. }));
    assert!(story.now < asked_at + Span::secs(2), "it waited for the next list: {:?}", story.now.since(asked_at));
}

/// The controller stood still, and what came of its start is unknown: a second one is given when it has heard what came to pass meanwhile.
#[test]
fn a_start_is_not_given_again_before_a_controller_that_stood_still_has_heard() {
    let mut story = Story::new();
    let start = story.crashed();
    story.now = story.now + Span::secs(20);
    story.ends(start, Outcome::unknown("no answer"));
    assert_eq!(story.ordered(), [], "it knows only what was before");
    story.pass(Span::secs(2));
    assert!(matches!(story.only_order().1, Action::Start { .. }));
}
