//! A person acts in the middle of something.

use crate::harness::{Story, domain};
use mainstay_model::{
    Action, Code, Command, DomainState, Fact, HostChannel, OffReason, Outcome, PauseReason, Reply, Span, StopHow, Time,
    spec::PersonStop,
};

/// Rule 3 while a migration is under way: the migration then fails, of course.
#[test]
fn what_its_owner_shuts_down_during_a_migration_stays_down() {
    let mut story = Story::new();
    let id = story.migration();
    story.now = story.now + Span::millis(100);
    story.event("h1", DomainState::Off(OffReason::Shutdown));
    story.fails(id);
    story.pass(Span::minutes(2));
    assert_eq!(story.ordered(), []);
    assert_eq!(story.health(), "stopped");
    assert_eq!(story.alarms(), [Code::STOPPED_BY_PERSON]);
}

/// Rule 3 while a start is under way: it came up, and was shut down before the start's outcome was known.
#[test]
fn what_is_shut_down_while_it_is_being_started_stays_down() {
    for outcome in [Outcome::done(), Outcome::unknown("connection lost")] {
        let mut story = Story::new();
        let id = story.crashed();
        for state in [DomainState::Running, DomainState::Off(OffReason::Destroyed)] {
            story.now = story.now + Span::millis(200);
            story.event("h1", state);
        }
        story.ends(id, outcome);
        story.pass(Span::minutes(3));
        assert_eq!(story.ordered(), [], "{}", story.said.join("\n"));
        assert_eq!((story.health().as_str(), story.open_incidents()), ("stopped", 0));
    }
}

/// Rule 3 while another host might run it too, and does not tell: a person had started it there as well (scenario 309).
#[test]
fn what_is_shut_down_while_another_host_might_run_it_stays_down() {
    for restarted in [false, true] {
        let mut story = Story::new();
        story.event("h2", DomainState::Running);
        let fence = story.host_lost();
        story.now = story.now + Span::millis(100);
        story.event("h2", DomainState::Off(OffReason::Shutdown));
        if restarted {
            story.restart();
            story.pass(Span::secs(8));
            let id = story.orders.drain(..).map(|(id, _)| id).next_back();
            story.fenced(id.expect("it is fenced in the new term"));
        } else {
            story.fenced(fence);
        }
        story.pass(Span::minutes(1));
        let starts = |action: &Action| matches!(action, Action::Start { .. });
        assert!(!story.ordered().iter().any(starts), "{}", story.said.join("\n"));
        assert_eq!(story.health(), "stopped");
    }
}

/// A fence device lied, and an operator stopped what could not be started elsewhere. Its host has not booted since, so it runs
/// as before; what boots and has it running was started by a person (scenario 311).
#[test]
fn an_operators_stop_counts_for_a_host_that_was_called_off_and_never_was() {
    for boots in [false, true] {
        let mut story = Story::new();
        story.fact(Fact::HostBooted { host: "h1".into(), at: Time(0) });
        for host in ["h2", "h3"] {
            story.command(Command::Maintenance { host: host.into(), on: true });
        }
        let fence = story.host_lost();
        story.fenced(fence);
        story.orders.clear();
        story.command(Command::StopWorkload { workload: "web-1".into(), how: StopHow::Graceful, within: None });
        story.pass(Span::secs(30));
        story.orders.clear();
        story.silent.clear();
        story.fact(Fact::HostHeard { host: "h1".into(), channel: HostChannel::Hypervisor });
        let at = if boots { story.now } else { Time(0) };
        story.fact(Fact::HostBooted { host: "h1".into(), at });
        story.pass(Span::secs(30));
        let stops = story.ordered().iter().any(|action| matches!(action, Action::Stop { .. }));
        assert_eq!(stops, !boots, "{}", story.said.join("\n"));
        let started = story.said.iter().any(|line| line.contains("started by a person"));
        assert_eq!(started, boots, "{}", story.said.join("\n"));
    }
}

/// A stop by force leaves another word than an owner's shutdown, which was faster (scenario 313).
#[test]
fn what_its_owner_shuts_down_while_it_is_stopped_by_force_stays_down() {
    for (word, health) in [(OffReason::Shutdown, "stopped"), (OffReason::Destroyed, "crashed")] {
        let mut story = Story::new();
        let stop = story.panicked();
        story.now = story.now + Span::secs(1);
        story.event("h1", DomainState::Off(word));
        story.done(stop);
        story.pass(Span::secs(2));
        let starts = story.ordered().iter().any(|action| matches!(action, Action::Start { .. }));
        assert_eq!(starts, word == OffReason::Destroyed, "{}", story.said.join("\n"));
        assert_eq!(story.health(), health);
    }
}

/// The outcome of a migration is unknown, and the host that it was to leave says `shut down` (scenario 314).
#[test]
fn what_shut_down_where_it_was_to_leave_stays_down() {
    let mut story = Story::new();
    story.migration();
    story.has("h1", domain(DomainState::Off(OffReason::Shutdown)));
    story.restart();
    story.pass(Span::minutes(4));
    let starts = |action: &Action| matches!(action, Action::Start { .. });
    assert!(!story.ordered().iter().any(starts), "{}", story.said.join("\n"));
    assert_eq!(story.health(), "stopped");
}

/// Undefined on one host and defined on another: in between it is defined nowhere, and forgotten (scenario 315).
#[test]
fn what_is_to_be_left_alone_stays_so_when_it_is_defined_elsewhere() {
    for restarted in [false, true] {
        let mut story = Story::new();
        story.event("h1", DomainState::Off(OffReason::Shutdown));
        story.command(Command::Unprotect { workload: "web-1".into() });
        story.has_not("h1");
        story.pass(Span::secs(2));
        assert!(story.controller.view(story.now).workloads.is_empty(), "{}", story.said.join("\n"));
        if restarted {
            story.restart();
        }
        story.has("h2", domain(DomainState::Running));
        story.pass(Span::secs(8));
        story.event("h2", DomainState::Off(OffReason::Crashed));
        story.pass(Span::secs(20));
        assert_eq!(story.ordered(), [], "{}", story.said.join("\n"));
        story.command(Command::Protect { workload: "web-1".into() });
        story.pass(Span::secs(15));
        let (_, action) = story.only_order();
        assert!(matches!(action, Action::Start { .. }), "{action}");
    }
}

/// A list catches a start halfway, when libvirt still holds the guest paused: it was started by a person all the same. Found
/// on real parts: the VM was shut down again.
#[test]
fn what_a_person_starts_is_not_stopped_because_it_was_first_seen_paused() {
    for first in [PauseReason::Busy, PauseReason::Person, PauseReason::Other] {
        let mut story = Story::new();
        story.event("h1", DomainState::Off(OffReason::Destroyed));
        story.pass(Span::secs(2));
        assert_eq!(story.health(), "stopped");
        story.event("h1", DomainState::Paused(first));
        story.pass(Span::secs(1));
        story.event("h1", DomainState::Running);
        story.pass(Span::minutes(1));
        assert_eq!(story.ordered(), [], "{}", story.said.join("\n"));
        assert_eq!(story.health(), "running");
    }
}

/// Right after its start the controller has heard of nobody: a person who confirms the wrong host must not be believed.
#[test]
fn a_host_that_was_not_listened_to_yet_can_not_be_confirmed_off() {
    let mut story = Story::new();
    story.restart();
    let reply = story.command(Command::ConfirmOff { host: "h1".into() });
    assert!(matches!(reply, Reply::Refused { .. }), "{reply:?}");
    story.silent.push("h1".into());
    story.pass(Span::secs(4));
    let reply = story.command(Command::ConfirmOff { host: "h1".into() });
    assert!(matches!(reply, Reply::Accepted { .. }), "{reply:?}");
}

/// Paused for a snapshot is not paused by a person, and a leftover with autostart would start by itself after a power cut.
#[test]
fn autostart_is_disabled_wherever_the_workload_is_defined() {
    let mut story = Story::new();
    let mut leftover = domain(DomainState::Off(OffReason::Unknown));
    leftover.autostart = true;
    story.has("h3", leftover);
    story.pass(Span::secs(1));
    let (_, action) = story.only_order();
    assert_eq!(action, Action::DisableAutostart { workload: "web-1".into(), host: "h3".into() });
}

/// Unprotected and protected again: what is off is missed by what it was, not taken for removed.
#[test]
fn what_crashed_and_was_left_alone_for_a_while_is_brought_back_afterwards() {
    let mut story = Story::new();
    let id = story.crashed();
    story.command(Command::Unprotect { workload: "web-1".into() });
    story.fails(id);
    story.pass(Span::minutes(2));
    assert_eq!(story.ordered(), []);
    assert_eq!(story.open_incidents(), 0);
    story.command(Command::Protect { workload: "web-1".into() });
    story.pass(Span::secs(15));
    let (_, action) = story.only_order();
    assert!(matches!(action, Action::Start { .. }), "{action}");
}

/// Words of our own stop come late, when the start after it has failed: that was nobody's will.
#[test]
fn late_words_of_our_own_stop_are_not_taken_for_a_persons() {
    let mut story = Story::new();
    let stop = story.panicked();
    story.done(stop);
    let (start, _) = story.only_order();
    for state in [DomainState::Panicked, DomainState::Off(OffReason::Destroyed)] {
        story.now = story.now + Span::millis(10);
        story.event("h1", state);
    }
    story.fails(start);
    story.pass(Span::secs(10));
    assert!(!story.ordered().is_empty(), "its ladder goes on");
}

/// A controller that dies with a start ordered knows nothing of it. If the host says afterwards that a person destroyed what
/// had crashed there, and no stop of ours can have left that word, then it came up and the person's stop counts (seed 5144).
#[test]
fn a_persons_stop_after_a_start_of_an_earlier_term_is_told_from_a_crash() {
    for (word, stays_down) in [(OffReason::Destroyed, true), (OffReason::Crashed, false)] {
        let mut story = Story::new();
        story.crashed();
        story.has("h1", domain(DomainState::Off(word)));
        story.now = story.now + Span::secs(20);
        story.restart();
        story.pass(Span::minutes(5));
        assert_eq!(story.ordered().is_empty(), stays_down, "{}", story.said.join("\n"));
        assert_eq!(story.alarms().contains(&Code::STOPPED_BY_PERSON), stays_down);
    }
}

/// A stop that hangs with its storage is carried out when that is back, long after its outcome counted as unknown. Nobody
/// else did it, and what it was for goes on.
#[test]
fn a_stop_of_ours_that_comes_through_late_is_not_a_persons() {
    let mut story = Story::new();
    story.tries_once();
    let stop = story.panicked();
    story.ends(stop, Outcome::unknown("no answer"));
    story.pass(Span::secs(2));
    assert_eq!(story.alarms(), [Code::RECOVERY_EXHAUSTED], "{}", story.said.join("\n"));
    story.event("h1", DomainState::Off(OffReason::Destroyed));
    let (_, action) = story.only_order();
    assert!(matches!(action, Action::Start { .. }), "{action}");
    assert_eq!(story.alarms(), []);
}

/// A report of our own stop that comes twice, the second time after the start: the host is asked before anything is believed.
#[test]
fn a_word_told_twice_is_not_taken_for_a_persons_stop() {
    for (then, stopped) in [(DomainState::Running, false), (DomainState::Off(OffReason::Destroyed), true)] {
        let mut story = Story::new();
        story.panicked_and_restarted();
        story.event("h1", DomainState::Off(OffReason::Destroyed));
        story.has("h1", domain(then));
        story.pass(Span::secs(20));
        assert_eq!(story.ordered(), [], "{}", story.said.join("\n"));
        let said = story.said.join("\n");
        assert_eq!((story.health() == "stopped", said.contains("by a person")), (stopped, stopped), "{said}");
    }
}

/// The word of our own stop comes late, and once more after the next list was asked for: that list says that the VM runs, and
/// counts for less than the word that overtook it. It settles nothing, and the next one tells.
#[test]
fn a_list_that_a_late_word_overtook_settles_nothing() {
    let mut story = Story::new();
    story.panicked_and_restarted();
    story.event("h1", DomainState::Off(OffReason::Destroyed));
    story.has("h1", domain(DomainState::Running));
    story.event("h1", DomainState::Off(OffReason::Destroyed));
    story.now = story.now + Span::millis(100);
    let list = story.list(&"h1".into(), story.now);
    story.now = story.now + Span::millis(200);
    story.event("h1", DomainState::Off(OffReason::Destroyed));
    story.has("h1", domain(DomainState::Running));
    story.fact(list);
    assert!(!story.said.join("\n").contains("by a person"), "{}", story.said.join("\n"));
    story.pass(Span::secs(20));
    assert_eq!(story.ordered(), [], "{}", story.said.join("\n"));
    assert_ne!(story.health(), "stopped", "{}", story.said.join("\n"));
}

/// Its host lost power for a moment, unseen, and a person started it on another, and shut it down there, before the first
/// host told that it does not have it any more.
#[test]
fn a_persons_stop_is_remembered_when_another_host_tells_later_that_it_was_off_long_ago() {
    let mut story = Story::new();
    story.guest_on("h2", "web-1", DomainState::Running);
    story.now = story.now + Span::secs(1);
    story.event("h2", DomainState::Off(OffReason::Shutdown));
    story.has("h1", domain(DomainState::Off(OffReason::Unknown)));
    story.pass(Span::secs(20));
    assert_eq!(story.ordered(), [], "{}", story.said.join("\n"));
    assert_eq!(story.alarms(), [Code::STOPPED_BY_PERSON]);
}

/// What a person stops is powered on by one policy and left off by the next, which comes while the start does not succeed.
#[test]
fn a_policy_that_respects_stops_ends_the_attempts_of_one_that_did_not() {
    let mut story = Story::new();
    story.spec.workloads[0].policy.on_person_stop = PersonStop::PowerOn;
    story.reload();
    story.event("h1", DomainState::Off(OffReason::Shutdown));
    let (start, _) = story.only_order();
    story.fails(start);
    story.spec.workloads[0].policy.on_person_stop = PersonStop::Alarm;
    story.reload();
    story.pass(Span::minutes(1));
    assert_eq!(story.ordered(), [], "{}", story.said.join("\n"));
    assert_eq!(story.alarms(), [Code::STOPPED_BY_PERSON]);
}

/// It ran on two hosts, and a person stops it on one, as the alarm asks. What crashes on the other a moment later is brought back.
#[test]
fn who_stops_one_of_two_does_not_stop_the_other() {
    let mut story = Story::new();
    story.guest_on("h2", "web-1", DomainState::Running);
    story.pass(Span::secs(3));
    assert_eq!(story.alarms(), [Code::RUNS_TWICE]);
    story.now = story.now + Span::millis(100);
    story.event("h2", DomainState::Off(OffReason::Destroyed));
    story.now = story.now + Span::millis(100);
    story.event("h1", DomainState::Off(OffReason::Crashed));
    story.pass(Span::secs(1)); // the other host lists that it has it no more
    let (_, action) = story.only_order();
    assert!(matches!(&action, Action::Start { .. }), "{action}");
}
