//! Hosts that are lost, proved off and heard again; and a controller that slept.

use crate::harness::{Story, domain};
use mainstay_engine::Input;
use mainstay_model::{Action, Code, DomainChange, DomainState, Fact, FailureKind, OffReason, Outcome, Span};

/// The controller stood still for a minute, and the first probe after that failed: that says nothing of the guest.
#[test]
fn a_guest_is_not_hung_because_the_controller_slept() {
    let mut story = Story::new();
    story.guest(true);
    story.pass(Span::secs(5));
    story.guest(true);
    story.now = story.now + Span::minutes(1);
    story.guest(false);
    story.pass(Span::secs(5));
    assert_eq!(story.ordered(), []);
    story.pass(Span::secs(15));
    story.guest(false);
    assert!(!story.ordered().is_empty(), "if it stays silent, it is hung");
}

/// Ten thousand things happen at once: a beat is missed, and the next ones wait behind all that in the daemon's queue.
#[test]
fn no_host_is_lost_because_the_controller_is_behind() {
    let mut story = Story::new();
    story.silent.push("h1".into());
    story.pass(Span::millis(500));
    for _ in 0..20 {
        story.now = story.now + Span::millis(900);
        story.tell(vec![Input::Behind]);
    }
    assert_eq!(story.ordered(), []);
    story.pass(Span::secs(5));
    assert!(!story.ordered().is_empty(), "silence is judged again once all is taken in");
}

/// The last event of a host that died arrives when the host was proved off already.
#[test]
fn a_late_word_of_a_host_that_is_proved_off_holds_nobody_up() {
    let mut story = Story::new();
    story.host_proved_off();
    let change = DomainChange::State(DomainState::Running);
    story.fact(Fact::Domain { host: "h1".into(), workload: "web-1".into(), change });
    let elsewhere = story.comes_up();
    story.pass(Span::secs(3));
    assert_eq!(story.controller.view(story.now).workloads[0].may_run_on, [elsewhere].into());
}

/// The network healed before the fence device did its work: nobody was harmed, and the story is over.
#[test]
fn the_incident_of_a_host_that_came_back_unharmed_is_closed() {
    let mut story = Story::new();
    let fence = story.host_lost();
    story.fails(fence);
    story.silent.clear();
    story.pass(Span::secs(10));
    assert_eq!(story.health(), "running");
    assert_eq!(story.alarms(), []);
    assert_eq!(story.open_incidents(), 0, "{}", story.said.join("\n"));
}

/// A workload in trouble of its own whose host then dies: both stories have an end.
#[test]
fn no_incident_is_left_open_when_another_overtakes_it() {
    let mut story = Story::new();
    story.event("h1", DomainState::Panicked);
    story.pass(Span::secs(1));
    story.orders.clear();
    story.silent.push("h1".into());
    for _ in 0..3 {
        story.pass(Span::secs(2));
    }
    let (fence, _) = story.orders.drain(..).find(|(_, action)| matches!(action, Action::Fence { .. })).expect("lost");
    story.fenced(fence);
    story.comes_up();
    story.has_not("h1");
    story.silent.clear();
    story.pass(Span::minutes(2));
    assert_eq!(story.health(), "running");
    assert_eq!(story.open_incidents(), 0, "{:#?}", story.controller.incidents());
}

/// What can't be tidied up is not tried without end; and what its host refuses, as while memory is saved there, is not asked for
/// each minute, with two events each time.
#[test]
fn housekeeping_that_fails_is_tried_again_later() {
    for (kind, expected) in [(FailureKind::Other, 1..=3), (FailureKind::Refused, 1..=1)] {
        let mut story = Story::new();
        story.host_proved_off();
        story.has("h1", domain(DomainState::Off(OffReason::Unknown)));
        story.comes_up();
        story.silent.clear();
        let removals = |story: &mut Story, seconds: u64| {
            let mut tries = 0;
            for _ in 0..seconds {
                for (id, action) in std::mem::take(&mut story.orders) {
                    if matches!(action, Action::Undefine { .. }) {
                        tries += 1;
                        story.ends(id, Outcome::failed(kind, "memory of it is saved there"));
                    }
                }
                story.pass(Span::secs(1));
            }
            tries
        };
        let tries = removals(&mut story, 100);
        assert!(expected.contains(&tries), "{kind:?}: {tries} times within 100 s");
        assert!(removals(&mut story, 3_700) >= 1, "{kind:?}: never again");
    }
}

/// What waits for another is looked at again when that one answers again, whatever kept it silent.
#[test]
fn who_waits_for_another_is_not_forgotten() {
    use mainstay_model::{
        GuestChannel,
        spec::{Order, Rule, Selector, Strength},
    };
    let mut story = Story::new();
    let after = Selector { names: vec!["web-1".into()], ..Selector::default() };
    let app = Selector { names: vec!["app".into()], ..Selector::default() };
    let policy = Order { after, strength: Strength::Required };
    story.spec.order.push(Rule { selector: app, policy, origin: Default::default() });
    story.reload();
    story.domains.get_mut("h2").unwrap().insert("app".into(), domain(DomainState::Running));
    story.guest(true);
    story.pass(Span::secs(3));
    story.guest(false);
    story.domains.get_mut("h2").unwrap().insert("app".into(), domain(DomainState::Off(OffReason::Crashed)));
    story.pass(Span::secs(1));
    assert_eq!(story.ordered(), []);
    assert_eq!(story.alarms(), [Code::ORDER_BLOCKED]);
    story.fact(Fact::GuestHeard { workload: "web-1".into(), channel: GuestChannel::Ping });
    assert!(matches!(story.only_order().1, Action::Start { .. }));
}

/// Its name does not resolve any more, or it refuses us: that is no word about whether it lives. Only when it is asked, and
/// silent, is it lost.
#[test]
fn a_host_that_can_not_be_asked_is_not_fenced() {
    let mut story = Story::new();
    story.deaf.push("h1".into());
    story.pass(Span::minutes(2));
    assert_eq!(story.ordered(), [], "{}", story.said.join("\n"));
    assert_eq!(story.alarms(), [Code::MANAGEMENT_FAULT]);
    story.deaf.clear();
    story.pass(Span::secs(2));
    assert_eq!(story.alarms(), []);
    story.silent.push("h1".into());
    story.pass(Span::secs(5));
    assert!(matches!(story.only_order().1, Action::Fence { .. }));
}
