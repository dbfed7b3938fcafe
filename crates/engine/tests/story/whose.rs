//! Who stopped it? A hypervisor says `destroyed` whoever did it, and a person's stop is not undone.

use crate::harness::{Story, domain};
use mainstay_engine::Table;
use mainstay_model::{Action, Code, Command, DomainState, OffReason, Outcome, PauseReason, Reply, Span, WorkloadId};

/// Stopped by us after a panic, started again, and well.
fn restarted(story: &mut Story) {
    let stop = story.panicked();
    story.event("h1", DomainState::Off(OffReason::Destroyed));
    story.done(stop);
    story.comes_up();
}

/// Nothing of ours can have left that word: too long ago, or another word than our stop leaves.
#[test]
fn a_persons_stop_is_known_at_once() {
    for (later, word) in [
        (Span::secs(8), OffReason::Destroyed),
        (Span::millis(300), OffReason::Shutdown),
        (Span::millis(300), OffReason::Saved),
    ] {
        let mut story = Story::new();
        restarted(&mut story);
        story.pass(later); // awake: what waits for one that sleeps may be older
        story.event("h1", DomainState::Off(word));
        assert_eq!(story.alarms(), [Code::STOPPED_BY_PERSON], "{word:?}");
        story.pass(Span::minutes(2));
        assert_eq!(story.ordered(), [], "{word:?}");
    }
}

/// A guest that was to be moved cold shuts down a moment after that counted as failed: that was our asking. Later, or by
/// another word, it is a person's doing.
#[test]
fn a_shutdown_of_ours_that_comes_a_moment_late_is_not_a_persons() {
    for (late, word, ours) in [
        (Span::secs(2), OffReason::Shutdown, true),
        (Span::secs(2), OffReason::Destroyed, false),
        (Span::secs(8), OffReason::Shutdown, false),
    ] {
        let mut story = Story::new();
        story.command(Command::MoveWorkload { workload: "web-1".into(), to: Some("h2".into()), cold: true });
        let (stop, _) = story.only_order();
        story.fails(stop);
        story.pass(late);
        story.event("h1", DomainState::Off(word));
        story.pass(Span::secs(5));
        let starts = story.ordered().iter().any(|action| matches!(action, Action::Start { .. }));
        assert_eq!(starts, ours, "{late} {word:?}: {}", story.said.join("\n"));
        assert_eq!(story.alarms().contains(&Code::STOPPED_BY_PERSON), !ours);
    }
}

/// Nobody knows what came of our stop, and the ladder is at its end. It may come through for a while yet; an hour later it
/// was a person who destroyed what hung there.
#[test]
fn a_stop_of_ours_does_not_stand_for_a_persons_for_ever() {
    let mut story = Story::new();
    story.tries_once();
    let stop = story.panicked();
    story.ends(stop, Outcome::unknown("no answer"));
    story.pass(Span::minutes(5));
    assert_eq!(story.alarms(), [Code::RECOVERY_EXHAUSTED]);
    story.event("h1", DomainState::Off(OffReason::Destroyed));
    story.pass(Span::minutes(2));
    assert_eq!(story.ordered(), [], "{}", story.said.join("\n"));
    assert_eq!(story.alarms(), [Code::STOPPED_BY_PERSON]);
}

/// A revert destroys what runs and starts it anew; libvirt's word of the one can come after the other.
#[test]
fn the_word_that_a_revert_leaves_is_not_a_persons() {
    let mut story = Story::new();
    story.point("one");
    story.command(Command::Revert { workload: "web-1".into(), point: Some("one".into()) });
    let (revert, action) = story.only_order();
    assert!(matches!(action, Action::Revert { .. }), "{action}");
    story.now = story.now + Span::secs(1);
    story.event("h1", DomainState::Running);
    story.done(revert);
    story.now = story.now + Span::secs(1);
    story.event("h1", DomainState::Off(OffReason::Destroyed));
    story.has("h1", domain(DomainState::Running));
    story.pass(Span::secs(5));
    let said = story.said.join("\n");
    assert_eq!((story.ordered(), story.health().as_str()), (vec![], "running"), "{said}");
    assert!(!said.contains("by a person"), "{said}");
}

/// A controller dies with a start ordered. What its host tells of the guest is what our own stop before it left.
#[test]
fn our_own_stop_before_a_start_of_an_earlier_term_is_not_a_persons() {
    let mut story = Story::new();
    let stop = story.panicked();
    story.has("h1", domain(DomainState::Off(OffReason::Destroyed)));
    story.done(stop);
    story.only_order();
    story.now = story.now + Span::secs(20);
    story.restart();
    story.pass(Span::minutes(5));
    let orders = story.ordered();
    assert!(matches!(orders[..], [Action::Start { .. }, ..]), "{orders:?}\n{}", story.said.join("\n"));
    assert!(!story.alarms().contains(&Code::STOPPED_BY_PERSON));
}

/// What a guest ended of, or is held by, is told by its name, and brought back by what helps against that.
#[test]
fn each_trouble_is_called_by_its_name() {
    for (state, told) in [
        (DomainState::Off(OffReason::Crashed), "crashed on h1"),
        (DomainState::Off(OffReason::Panicked), "panicked on h1"),
        (DomainState::Off(OffReason::Signalled), "ended by a signal on h1"),
        (DomainState::Off(OffReason::Unknown), "stopped by its host's restart on h1"),
        (DomainState::Panicked, "panicked on h1"),
        (DomainState::Paused(PauseReason::IoError), "paused on an I/O error on h1"),
        (DomainState::Paused(PauseReason::Watchdog), "hung on h1"),
    ] {
        let mut story = Story::new();
        story.event("h1", state);
        story.pass(Span::secs(1));
        let said = story.said.join("\n");
        assert!(said.contains(told), "{state:?}: {said}");
        let orders = story.ordered();
        match state {
            DomainState::Off(_) => assert!(matches!(orders[..], [Action::Start { .. }]), "{orders:?}"),
            DomainState::Paused(PauseReason::IoError) => {
                assert!(matches!(orders[..], [Action::Resume { .. }]), "{orders:?}");
            }
            _ => {}
        }
    }
}

/// What the journal keeps does not depend on the load: while a stop of ours is in doubt, 1,100 recovery points of another VM
/// come to an end. The stop is carried out late, and is still known as ours.
#[test]
fn a_late_stop_is_ours_however_many_orders_ended_since() {
    let mut story = Story::new();
    story.guest_on("h2", "db-1", DomainState::Running);
    story.pass(Span::secs(5));
    let stop = story.panicked();
    story.ends(stop, Outcome::unknown("no answer"));
    story.ordered();
    for number in 0..1_100 {
        let (workload, name) = (WorkloadId::from("db-1"), Some(format!("p{number}").as_str().into()));
        let reply = story.command(Command::TakePoint { workload: workload.clone(), name });
        assert!(matches!(reply, Reply::Accepted { .. }), "{reply:?}");
        let (id, action) = story.orders.pop().expect("it was accepted");
        assert_eq!(action.workload(), Some(&workload));
        story.fails(id);
    }
    story.event("h1", DomainState::Off(OffReason::Destroyed));
    story.pass(Span::secs(20));
    assert!(!story.alarms().contains(&Code::STOPPED_BY_PERSON), "{}", story.said.join("\n"));
    assert!(story.ordered().iter().any(|action| matches!(action, Action::Start { .. })), "it is brought back");
    assert!(story.remembered(Table::Order) < 10, "the journal keeps what is asked for, and no more");
}
