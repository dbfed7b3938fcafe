//! Hosts that their owners shut down, with their guests.

use crate::harness::Story;
use mainstay_model::{
    Action, Code, Command, DomainState, Fact, HostChannel, OffReason, Span, StopHow, spec::HostShutdown,
};

/// The host's libvirtd ends in good order, and then the host falls silent.
fn goes(story: &mut Story, closed: bool) {
    let host = "h1".into();
    let error = "libvirtd closed it".to_owned();
    story.fact(Fact::HostSilent { host, channel: HostChannel::Hypervisor, error, closed });
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
