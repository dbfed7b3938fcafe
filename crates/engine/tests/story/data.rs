//! Nothing lost: state that one host alone has, guests that sleep, full disks, points that can't be taken or deleted.

use crate::harness::{Story, domain};
use mainstay_model::{
    Action, Code, Command, DomainSeen, DomainState, Fact, FailureKind, HostState, OffReason, Outcome, PauseReason,
    Reply, Span, spec::Keep,
};

fn holding(state: DomainState, only_here: HostState) -> DomainSeen {
    DomainSeen { only_here: [only_here].into(), ..domain(state) }
}

fn start(host: Option<&str>, leave_state: bool) -> Command {
    Command::StartWorkload { workload: "web-1".into(), host: host.map(Into::into), leave_state }
}

fn text(reply: Reply) -> String {
    match reply {
        Reply::Accepted { text } | Reply::Nothing { text } | Reply::Refused { text } => text,
    }
}

/// A guest with an emulated TPM, whose state libvirt keeps on h1.
fn with_tpm() -> Story {
    let mut story = Story::new();
    story.has("h1", holding(DomainState::Running, HostState::Tpm));
    story.pass(Span::secs(1));
    story
}

#[test]
fn vtpm_state_deleted() {
    let mut story = with_tpm();
    // Stopped, it is started elsewhere only if a person says that the state may be left behind.
    let stop = Command::StopWorkload { workload: "web-1".into(), how: mainstay_model::StopHow::Force, within: None };
    story.command(stop);
    let (id, _) = story.only_order();
    story.has("h1", holding(DomainState::Off(OffReason::Destroyed), HostState::Tpm));
    story.done(id);
    story.pass(Span::secs(1));
    let refused = text(story.command(start(Some("h2"), false)));
    assert!(refused.contains("the state of its TPM is on h1 only") && refused.contains("--leave-state"), "{refused}");
    story.command(start(None, false));
    assert!(matches!(story.only_order().1, Action::Start { host, .. } if host == "h1".into()));
}

#[test]
fn what_is_bound_to_its_host_by_a_tpm_waits_for_that_host() {
    let mut story = with_tpm();
    let cold = Command::MoveWorkload { workload: "web-1".into(), to: Some("h2".into()), cold: true };
    assert!(text(story.command(cold)).contains("moves along only live"));
    story.host_proved_off();
    story.pass(Span::secs(60));
    assert!(!story.ordered().iter().any(|action| matches!(action, Action::Start { .. })), "it would get an empty TPM");
    assert!(story.alarms().contains(&Code::NO_HOST_FITS));
    let told = story.controller.explain("web-1", story.now).unwrap_or_default();
    assert!(told.contains("the state of its TPM is on h1 only"), "{told}");
    // A person may decide otherwise.
    story.command(start(Some("h2"), true));
    assert!(story.ordered().iter().any(|action| matches!(action, Action::Start { .. })));
}

#[test]
fn with_its_host_gone_a_guest_starts_without_its_uefi_variables_unless_forbidden() {
    let mut story = Story::new();
    story.has("h1", holding(DomainState::Running, HostState::UefiVariables));
    story.pass(Span::secs(1));
    story.host_proved_off();
    assert_ne!(story.comes_up(), "h1".into());
    assert!(
        story.said.iter().any(|line| line.contains("its UEFI variables, which are on h1 only")),
        "{:#?}",
        story.said
    );
}

#[test]
fn what_a_tpm_binds_is_not_shut_down_to_drain_its_host() {
    let mut story = with_tpm();
    story.command(Command::Maintenance { host: "h1".into(), on: true });
    for _ in 0..4 {
        while let Some((id, action)) = story.orders.pop() {
            assert!(matches!(action, Action::Migrate { .. }), "{action}");
            story.fails(id);
        }
        story.pass(Span::secs(10));
    }
    assert_eq!(
        story.alarms(),
        [Code::NO_HOST_FITS, Code::DRAIN_BLOCKED]
            .into_iter()
            .filter(|code| story.alarms().contains(code))
            .collect::<Vec<_>>()
    );
    assert!(!story.alarms().is_empty());
}

#[test]
fn managed_save_deleted() {
    let mut story = Story::new();
    story.event("h1", DomainState::Off(OffReason::Saved));
    story.has("h1", holding(DomainState::Off(OffReason::Saved), HostState::SavedMemory));
    story.pass(Span::secs(2));
    assert_eq!(story.ordered(), []);
    // Its host is in maintenance: it waits for that, rather than boot afresh elsewhere.
    story.command(Command::Maintenance { host: "h1".into(), on: true });
    story.command(start(None, false));
    story.pass(Span::secs(20));
    assert_eq!(story.ordered(), []);
    assert!(story.alarms().contains(&Code::NO_HOST_FITS), "{:?}", story.alarms());
    story.command(Command::Maintenance { host: "h1".into(), on: false });
    story.pass(Span::secs(20));
    assert!(matches!(story.only_order().1, Action::Start { host, .. } if host == "h1".into()));
}

#[test]
fn a_guest_saved_a_moment_ago_is_not_promised_to_start_elsewhere_before_its_host_has_listed_it() {
    let mut story = Story::new();
    story.pass(Span::secs(1));
    story.event("h1", DomainState::Off(OffReason::Saved));
    let why = text(story.command(start(Some("h2"), false)));
    assert!(why.contains("try again"), "{why}");
    story.has("h1", holding(DomainState::Off(OffReason::Saved), HostState::SavedMemory));
    story.pass(Span::secs(1));
    let why = text(story.command(start(Some("h2"), false)));
    assert!(why.contains("its saved memory is on h1 only"), "{why}");
}

#[test]
fn asleep_guest() {
    let mut story = Story::new();
    let asleep = DomainState::Paused(PauseReason::Asleep);
    story.event("h1", asleep);
    story.has("h1", domain(asleep));
    story.pass(Span::secs(120));
    assert_eq!(story.ordered(), [], "it is left alone");
    assert_eq!((story.health().as_str(), story.alarms()), ("asleep", vec![Code::ASLEEP]));
    let told = story.controller.explain("web-1", story.now).unwrap_or_default();
    assert!(told.contains("went to sleep") && !told.contains("paused it"), "{told}");
    story.command(start(None, false));
    let (id, action) = story.only_order();
    assert!(matches!(action, Action::Resume { .. }), "{action}");
    story.event("h1", DomainState::Running);
    story.has("h1", domain(DomainState::Running));
    story.done(id);
    story.pass(Span::secs(2));
    assert_eq!(story.alarms(), []);
}

#[test]
fn a_guest_whose_disk_is_full_is_resumed_until_there_is_room_and_never_forced_off() {
    let mut story = Story::new();
    let full =
        DomainSeen { datastores: ["/srv/vm".to_owned()].into(), ..domain(DomainState::Paused(PauseReason::NoSpace)) };
    story.has("h1", full);
    let mut resumed = 0;
    for _ in 0..360 {
        story.pass(Span::secs(10));
        for (id, action) in std::mem::take(&mut story.orders) {
            assert!(matches!(action, Action::Resume { .. }), "{action}");
            resumed += 1;
            story.fails(id);
        }
    }
    assert!((50..80).contains(&resumed), "{resumed} in an hour");
    let alarms = story.controller.view(story.now).alarms.clone();
    assert!(alarms.iter().any(|alarm| alarm.code == Code::DISK_FULL && alarm.text.contains("/srv/vm")), "{alarms:?}");
    story.has("h1", domain(DomainState::Running));
    story.pass(Span::secs(70));
    assert_eq!((story.ordered(), story.alarms()), (vec![], vec![]));
    assert_eq!(story.open_incidents(), 0);
}

#[test]
fn a_point_that_can_not_be_deleted_holds_up_no_other() {
    let mut story = Story::new();
    story.protect();
    let keep = Keep { last: 1, hourly: 0, daily: 0, weekly: 0 };
    story.spec.protection[0].policy.keep = keep;
    story.spec.protection[0].policy.every = Span::minutes(1);
    story.reload();
    let (workload, points) = ("web-1".into(), [].into());
    story.fact(Fact::PointsSeen { workload, asked_at: story.now, points, set_aside: [].into() });
    let (mut stuck, mut most) = (None, 0);
    for _ in 0..40 {
        story.pass(Span::secs(30));
        for (id, action) in std::mem::take(&mut story.orders) {
            match action {
                Action::DeletePoint { point, .. } if stuck.get_or_insert_with(|| point.clone()) == &point => {
                    story.ends(id, Outcome::failed(FailureKind::Other, "a block job is under way"));
                }
                _ => story.done(id),
            }
        }
        most = most.max(story.controller.points(&"web-1".into()).len());
    }
    assert!(stuck.is_some() && most <= 4, "{most} points");
    let alarms = story.controller.view(story.now).alarms.clone();
    let told = alarms.iter().find(|alarm| alarm.code == Code::POINT_STUCK).map(|alarm| alarm.text.clone());
    let told = told.unwrap_or_default();
    assert!(told.contains(stuck.unwrap().as_str()) && told.contains("a block job is under way"), "{told}");
}

#[test]
fn a_guest_of_which_no_point_can_be_taken_is_told_at_once_and_asked_as_often_as_the_schedule_says() {
    let mut story = Story::new();
    story.protect();
    let mut tries = 0;
    for _ in 0..120 {
        story.pass(Span::secs(30));
        for (id, _) in std::mem::take(&mut story.orders) {
            tries += 1;
            story.ends(id, Outcome::failed(FailureKind::Refused, "it has no disk of its own"));
        }
    }
    assert!((5..=7).contains(&tries), "{tries} in an hour, every = 10m");
    let alarms = story.controller.view(story.now).alarms.clone();
    assert!(alarms.iter().any(|alarm| alarm.text.contains("can be taken: it has no disk of its own")), "{alarms:?}");
}
