//! Who is silent, and what that says: of the host, of its guests, of the controller itself.

use crate::harness::{Story, domain};
use mainstay_engine::Input;
use mainstay_model::{
    Action, Code, Command, Detail, DomainChange, DomainState, Fact, GuestChannel, HostChannel, Outcome, PowerState,
    Span,
};

/// No fact comes any more, as from a host whose connection hangs: the engine looks by itself when it said it would.
#[test]
fn what_is_due_is_looked_at_without_being_told() {
    let mut story = Story::new();
    for channel in [HostChannel::Hypervisor, HostChannel::Ping] {
        let (host, error) = ("h1".into(), "no answer".to_owned());
        story.fact(Fact::HostSilent { host, channel, error, closed: false });
    }
    let silent_since = story.now;
    while story.orders.is_empty() {
        let next = story.wake_at.expect("a silent host is to be looked at again");
        assert!(next > story.now && next.since(silent_since) < Span::secs(4), "{next:?}");
        story.now = next;
        story.tell(vec![Input::Tick]);
    }
    assert_eq!(story.only_order().1, Action::Fence { host: "h1".into(), level: 0 });
}

#[test]
fn one_beat_that_most_hosts_miss_is_no_cut_off() {
    let mut story = Story::new();
    story.silent = vec!["h1".into(), "h2".into()];
    story.pass(Span::millis(500));
    assert_eq!(story.alarms(), []);
    story.silent.clear();
    story.pass(Span::secs(5));
    assert_eq!((story.alarms(), story.ordered()), (vec![], vec![]));
}

/// Each dies alone, and the first is still lost when the second dies.
#[test]
fn hosts_that_die_one_after_another_are_no_cut_off() {
    let mut story = Story::new();
    story.guest_on("h2", "app", DomainState::Running);
    story.pass(Span::secs(2));
    let fence = story.host_lost();
    story.fails(fence);
    story.pass(Span::secs(5));
    story.orders.clear();
    story.silent.push("h2".into());
    story.pass(Span::secs(4));
    let fences = story.ordered();
    assert!(fences.contains(&Action::Fence { host: "h2".into(), level: 0 }), "{fences:?}");
    assert!(!story.alarms().contains(&Code::CUT_OFF));
}

/// Hosts that were never there (not built yet, a wrong address) say nothing about the controller's network.
#[test]
fn hosts_that_were_never_reached_neither_count_as_lost_nor_as_cut_off() {
    let mut story = Story::new();
    for name in ["h4", "h5"] {
        story.add_host(name);
        story.silent.push(name.into());
    }
    story.reload();
    story.pass(Span::secs(20));
    assert_eq!(story.ordered(), []);
    assert!(!story.alarms().contains(&Code::HOST_LOST), "{:?}", story.alarms());
    story.host_lost();
}

/// Most hosts are in sight again: one that is not was unheard because of the controller, and gets its time from now on.
#[test]
fn what_is_still_silent_after_a_cut_off_is_judged_anew() {
    let mut story = Story::new();
    story.silent = vec!["h1".into(), "h2".into()];
    story.pass(Span::secs(30));
    assert_eq!(story.alarms(), [Code::CUT_OFF], "no host is called lost or never reached");
    for _ in 0..2 {
        for (id, _) in std::mem::take(&mut story.orders) {
            story.ends(id, Outcome::Done { detail: Detail::Power(PowerState::On) });
        }
    }
    story.silent = vec!["h1".into()];
    story.pass(Span::secs(1));
    assert_eq!(story.ordered(), []);
    story.pass(Span::secs(4));
    assert_eq!(story.only_order().1, Action::Fence { host: "h1".into(), level: 0 });
}

/// Asked at leisure whether the silent hosts have power, and no start is given again, whatever comes back.
#[test]
fn little_is_asked_and_nothing_done_while_cut_off() {
    let mut story = Story::new();
    let start = story.crashed();
    story.silent = vec!["h2".into(), "h3".into()];
    story.pass(Span::secs(4));
    assert_eq!(story.alarms(), [Code::CUT_OFF]);
    story.ends(start, Outcome::unknown("no answer"));
    let mut asked = 0;
    for _ in 0..60 {
        for (id, action) in std::mem::take(&mut story.orders) {
            assert!(matches!(action, Action::CheckPower { .. }), "{action}");
            asked += 1;
            story.ends(id, Outcome::Done { detail: Detail::Power(PowerState::On) });
        }
        story.pass(Span::millis(500));
    }
    assert!((2..=6).contains(&asked), "two hosts were asked {asked} times within 30 s");
}

/// No name resolves any more, so neither host nor guests can be asked; a ping to its bare address goes unanswered.
#[test]
fn guests_that_can_not_be_asked_either_do_not_condemn_their_host() {
    let mut story = Story::new();
    story.guest(true);
    story.pass(Span::secs(1));
    story.deaf.push("h1".into());
    for _ in 0..240 {
        story.guest(false);
        let (host, error) = ("h1".into(), "no answer".to_owned());
        story.fact(Fact::HostSilent { host, channel: HostChannel::Ping, error, closed: false });
        story.pass(Span::millis(500));
    }
    assert_eq!(story.ordered(), [], "{}", story.said.join("\n"));
}

/// Its hypervisor hangs, its address answers. The one guest that ever answered had ceased to long before.
#[test]
fn a_guest_that_was_silent_before_tells_nothing_of_its_host() {
    let mut story = Story::new();
    story.guest_on("h1", "app", DomainState::Running);
    story.pass(Span::secs(2));
    story.fact(Fact::GuestHeard { workload: "app".into(), channel: mainstay_model::GuestChannel::Ping });
    story.command(Command::Unprotect { workload: "app".into() });
    story.pass(Span::minutes(1));
    story.silent.push("h1".into());
    for _ in 0..240 {
        story.fact(Fact::HostHeard { host: "h1".into(), channel: HostChannel::Ping });
        story.pass(Span::millis(500));
    }
    assert_eq!(story.ordered(), [], "{}", story.said.join("\n"));
    assert_eq!(story.alarms(), [Code::MANAGEMENT_FAULT]);
}

/// Three times within an hour it was fenced and powered on; an hour later that is forgotten.
#[test]
fn a_host_that_flapped_an_hour_ago_is_powered_on_again() {
    let mut story = Story::new();
    for (turn, powered_on) in [true, true, true, false, true].into_iter().enumerate() {
        if turn == 4 {
            story.now = story.now + Span::hours(1);
            story.pass(Span::secs(10));
        }
        story.has("h1", domain(DomainState::Running));
        story.has_not("h2");
        story.has_not("h3");
        story.silent.clear();
        story.pass(Span::minutes(1));
        story.orders.clear();
        story.host_proved_off();
        story.orders.clear();
        story.pass(Span::secs(10));
        let switched_on = story.ordered().contains(&Action::PowerOn { host: "h1".into() });
        assert_eq!(switched_on, powered_on, "turn {turn}: {}", story.said.join("\n"));
    }
}

/// A guest told its hypervisor the address of a machine that lives. Its host died, and "the guest answers" kept it from being
/// fenced: nothing was started elsewhere.
#[test]
fn a_guest_cannot_keep_its_dead_host_from_being_fenced() {
    let heard = |workload: &str, at_its_word: bool| {
        let (workload, channel) = (workload.into(), GuestChannel::Ping);
        if at_its_word {
            Fact::GuestHeardAtItsWord { workload, channel }
        } else {
            Fact::GuestHeard { workload, channel }
        }
    };
    for (at_its_word, fenced) in [(true, true), (false, false)] {
        let mut story = Story::new();
        story.fact(heard("web-1", at_its_word));
        story.silent.push("h1".into());
        for _ in 0..20 {
            story.pass(Span::millis(500));
            story.fact(heard("web-1", at_its_word));
        }
        let is_fenced = story.ordered().iter().any(|action| matches!(action, Action::Fence { .. }));
        assert_eq!(is_fenced, fenced, "at its word: {at_its_word}");
    }
}

/// What runs goes on when its definition is removed. In a new term that is the first word of it (scenario 308).
#[test]
fn a_definition_removed_before_the_first_list_is_no_proof_that_it_is_off() {
    let mut story = Story::new();
    story.restart();
    let change = DomainChange::Undefined;
    story.fact(Fact::Domain { host: "h1".into(), workload: "web-1".into(), change });
    story.now = story.now + Span::secs(15);
    story.tell(vec![Input::Tick]);
    story.pass(Span::secs(5));
    assert_eq!((story.ordered(), story.alarms()), (vec![], vec![]), "{:#?}", story.said);
    let off = |line: &String| line.contains("vanished");
    assert!(!story.said.iter().any(off), "{:#?}", story.said);
}
