//! Hosts that their owners shut down, with their guests.

use crate::harness::Story;
use mainstay_model::{
    Action, Code, Command, DomainState, Fact, HostChannel, OffReason, Span, StopHow,
    spec::{FailBack, HostShutdown},
};
use std::collections::BTreeSet;

/// The connection to the host's libvirtd ends, by its own closing it in good order or not.
fn closes(story: &mut Story, closed: bool) {
    let host = "h1".into();
    let error = "libvirtd closed it".to_owned();
    story.fact(Fact::HostSilent { host, channel: HostChannel::Hypervisor, error, closed });
}

/// It ends, and then the host falls silent.
fn goes(story: &mut Story, closed: bool) {
    closes(story, closed);
    story.silent.push("h1".into());
    story.pass(Span::secs(10));
}

fn policy(story: &mut Story, on_host_shutdown: HostShutdown) {
    story.spec.workloads[0].policy.on_host_shutdown = on_host_shutdown;
    story.reload();
}

#[test]
fn a_guest_that_went_with_its_host_starts_elsewhere_and_nothing_is_fenced() {
    for reason in [OffReason::Shutdown, OffReason::Saved] {
        let mut story = Story::new();
        story.event("h1", DomainState::Off(reason));
        story.pass(Span::secs(3));
        assert_eq!(story.alarms(), [Code::STOPPED_BY_PERSON], "nobody can know yet");
        goes(&mut story, true);
        let orders = story.ordered();
        assert!(matches!(&orders[..], [Action::Start { host, .. }] if *host != "h1".into()), "{orders:?}");
        assert_eq!(story.alarms(), [Code::HOST_OUT]);
    }
}

#[test]
fn a_power_cut_after_a_persons_stop_is_no_goodbye() {
    let mut story = Story::new();
    story.event("h1", DomainState::Off(OffReason::Shutdown));
    story.pass(Span::secs(3));
    goes(&mut story, false);
    let orders = story.ordered();
    assert!(orders.iter().all(|action| matches!(action, Action::CheckPower { .. })), "{orders:?}");
    assert!(story.alarms().contains(&Code::STOPPED_BY_PERSON));
}

#[test]
fn what_was_stopped_by_command_or_destroyed_or_long_before_did_not_go_with_its_host() {
    let stopped = |story: &mut Story| {
        story.command(Command::StopWorkload { workload: "web-1".into(), how: StopHow::Graceful, within: None });
        let (id, _) = story.only_order();
        story.event("h1", DomainState::Off(OffReason::Shutdown));
        story.done(id);
    };
    let destroyed = |story: &mut Story| story.event("h1", DomainState::Off(OffReason::Destroyed));
    let long_before = |story: &mut Story| {
        story.event("h1", DomainState::Off(OffReason::Shutdown));
        story.pass(Span::secs(40));
    };
    for stop in [stopped as fn(&mut Story), destroyed, long_before] {
        let mut story = Story::new();
        stop(&mut story);
        goes(&mut story, true);
        assert_eq!(story.ordered(), []);
        assert_eq!(story.health(), "stopped");
    }
}

#[test]
fn it_waits_for_its_host_as_its_policy_says() {
    for (wish, waits) in [(HostShutdown::Wait, Span::hours(2)), (HostShutdown::Conditional, Span::minutes(4))] {
        let mut story = Story::new();
        policy(&mut story, wish);
        story.event("h1", DomainState::Off(OffReason::Shutdown));
        goes(&mut story, true);
        story.pass(waits);
        assert_eq!(story.ordered(), []);
        story.silent.clear();
        story.pass(Span::secs(8));
        let orders = story.ordered();
        assert!(matches!(&orders[..], [Action::Start { host, .. }] if *host == "h1".into()), "{orders:?}");
    }
}

#[test]
fn a_host_that_is_away_for_longer_than_a_reboot_is_waited_for_no_longer() {
    let mut story = Story::new();
    policy(&mut story, HostShutdown::Conditional);
    story.event("h1", DomainState::Off(OffReason::Shutdown));
    goes(&mut story, true);
    story.restart();
    story.pass(Span::minutes(6));
    let orders = story.ordered();
    assert!(matches!(&orders[..], [Action::Start { host, .. }] if *host != "h1".into()), "{orders:?}");
}

/// A person shut the last guest down, and libvirtd was restarted then: the power cut that comes after is no shutdown.
#[test]
fn a_libvirtd_that_was_only_restarted_has_said_no_goodbye() {
    let mut story = Story::new();
    story.event("h1", DomainState::Off(OffReason::Shutdown));
    closes(&mut story, true);
    story.pass(Span::secs(5));
    goes(&mut story, false);
    let orders = story.ordered();
    assert!(matches!(orders[..], [Action::CheckPower { .. }]), "{orders:?}");
    assert_eq!(story.health(), "stopped");
}

/// It answered to ping for minutes after its libvirtd had ended: whatever took it away then was no shutdown.
#[test]
fn a_host_that_lived_on_without_its_management_was_not_shut_down() {
    let mut story = Story::new();
    story.event("h1", DomainState::Off(OffReason::Shutdown));
    closes(&mut story, true);
    story.silent.push("h1".into());
    for _ in 0..300 {
        story.pass(Span::millis(500));
        story.fact(Fact::HostHeard { host: "h1".into(), channel: HostChannel::Ping });
    }
    story.pass(Span::secs(10));
    let orders = story.ordered();
    assert!(matches!(orders[..], [Action::CheckPower { .. }]), "{orders:?}");
    assert_eq!(story.health(), "stopped");
}

/// Connections are tried again while the host goes down, and closed again: it went when it closed the first.
#[test]
fn a_host_takes_its_guests_once_however_often_it_closes() {
    let mut story = Story::new();
    story.event("h1", DomainState::Off(OffReason::Shutdown));
    closes(&mut story, true);
    story.now = story.now + Span::secs(40);
    closes(&mut story, true);
    goes(&mut story, false);
    let orders = story.ordered();
    assert!(matches!(&orders[..], [Action::Start { host, .. }] if *host != "h1".into()), "{orders:?}");
}

/// Its fence device takes the power away, and the connection is closed by that: it is wanted back all the same.
#[test]
fn a_host_that_is_fenced_says_no_goodbye() {
    let mut story = Story::new();
    let fence = story.host_lost();
    closes(&mut story, true);
    story.fenced(fence);
    closes(&mut story, true);
    story.comes_up();
    story.pass(Span::secs(10));
    let power_on = Action::PowerOn { host: "h1".into() };
    assert!(story.ordered().contains(&power_on), "{}", story.said.join("\n"));
}

/// Who shuts a host down wants it off, also if it says a last word on its way.
#[test]
fn a_host_that_its_owner_shut_down_is_not_powered_on() {
    let mut story = Story::new();
    story.event("h1", DomainState::Off(OffReason::Shutdown));
    goes(&mut story, true);
    story.comes_up();
    story.fact(Fact::HostHeard { host: "h1".into(), channel: HostChannel::Hypervisor });
    story.pass(Span::minutes(5));
    assert_eq!(story.ordered(), []);
    assert_eq!(story.alarms(), [Code::HOST_OUT]);
}

/// One story, told once, that ends; and nothing of it is left behind on the host.
#[test]
fn the_shutdown_of_a_host_is_one_incident_and_its_leftover_goes() {
    let mut story = Story::new();
    story.event("h1", DomainState::Off(OffReason::Shutdown));
    goes(&mut story, true);
    let said = story.said.join("\n");
    assert!(said.contains("it was shut down in good order, and one workload with it"), "{said}");
    story.comes_up();
    story.silent.clear();
    story.pass(Span::minutes(2));
    let [incident] = &story.controller.incidents()[..] else { panic!("{:#?}", story.controller.incidents()) };
    assert!(incident.closed_at.is_some() && incident.workloads.len() == 1, "{incident:#?}");
    let orders = story.ordered();
    assert_eq!(orders.first(), Some(&Action::Undefine { workload: "web-1".into(), host: "h1".into() }), "{orders:?}");
}

/// It goes back when its host is back, if its policy says so; but not for a policy that knows only preferences.
#[test]
fn a_guest_that_went_with_its_host_fails_back_to_it() {
    for (fail_back, returns) in [(FailBack::Return, true), (FailBack::Preferred, false)] {
        let mut story = Story::new();
        story.spec.workloads[0].policy.fail_back = fail_back;
        story.reload();
        story.event("h1", DomainState::Off(OffReason::Shutdown));
        goes(&mut story, true);
        story.comes_up();
        story.has_not("h1");
        story.silent.clear();
        story.pass(Span::minutes(2));
        let home = |action: &Action| matches!(action, Action::Migrate { to, .. } if *to == "h1".into());
        assert_eq!(story.ordered().iter().any(home), returns, "{}", story.said.join("\n"));
    }
}

/// At the same moment a person shut another guest down, on a host that stays.
#[test]
fn a_guest_of_another_host_did_not_go_with_it() {
    let mut story = Story::new();
    story.guest_on("h2", "app", DomainState::Running);
    story.pass(Span::secs(2));
    story.event("h1", DomainState::Off(OffReason::Shutdown));
    story.guest_on("h2", "app", DomainState::Off(OffReason::Shutdown));
    goes(&mut story, true);
    let orders = story.ordered();
    assert!(matches!(&orders[..], [Action::Start { workload, .. }] if *workload == "web-1".into()), "{orders:?}");
}

/// They shut down in a row, each within a short while of the next; the first of them long before the host closes.
#[test]
fn guests_that_end_in_a_row_went_together() {
    let mut story = Story::new();
    story.guest_on("h1", "app", DomainState::Running);
    story.pass(Span::secs(2));
    story.guest_on("h1", "app", DomainState::Off(OffReason::Shutdown));
    story.pass(Span::secs(25));
    story.event("h1", DomainState::Off(OffReason::Shutdown));
    story.pass(Span::secs(25));
    goes(&mut story, true);
    let orders = story.ordered();
    let started: BTreeSet<_> = orders.iter().filter_map(|action| action.workload().cloned()).collect();
    assert_eq!(started, ["app".into(), "web-1".into()].into(), "{orders:?}");
}

/// To wait for a host that its owner shut down is no reason to wait for one that died.
#[test]
fn a_policy_for_shutdowns_does_not_hold_up_a_failover() {
    let mut story = Story::new();
    policy(&mut story, HostShutdown::Wait);
    story.host_proved_off();
    assert_ne!(story.comes_up(), "h1".into());
}
