//! What hosts lack to start a workload: told once, and in the way of no live move.

use crate::harness::{Story, domain};
use mainstay_engine::whatif::Hypothesis;
use mainstay_model::{
    Action, Code, Command, DomainSeen, DomainState, Fact, HostState, Obstacle, ObstacleKind, OffReason, Reply, Span,
    StopHow, WorkloadId,
};
use std::sync::Arc;

const BOUND: &str = "bound to h1 by its passthrough device 0000:3b:00.1";

fn looked_at(story: &mut Story, obstacles: &[Obstacle]) {
    looked_at_on(story, &["h1", "h2", "h3"], obstacles);
}

fn looked_at_on(story: &mut Story, hosts: &[&str], obstacles: &[Obstacle]) {
    for host in hosts.iter().copied() {
        let workloads = [("web-1".into(), obstacles.to_vec())].into();
        let (asked_at, workloads) = (story.now, Arc::new(workloads));
        story.fact(Fact::Readiness { host: host.into(), asked_at, workloads });
    }
    story.pass(Span::secs(1));
}

/// The driver reports no state that one host alone has; the engine knows of it, and counts it once.
#[test]
fn a_tpm_on_one_host_is_one_obstacle_for_a_start_and_none_for_a_live_move() {
    let mut story = Story::new();
    story.has("h1", DomainSeen { only_here: [HostState::Tpm].into(), ..domain(DomainState::Running) });
    story.pass(Span::secs(1));
    looked_at(&mut story, &[]);
    let ready = story.controller.ready(Some("web-1")).expect("it is known");
    let others: Vec<_> =
        ready[0].hosts.iter().map(|one| (one.host.to_string(), one.ready, one.obstacles.clone())).collect();
    let tpm = vec![Obstacle::new(ObstacleKind::TpmState, "on h1 only")];
    assert_eq!(others, [("h2".to_owned(), Some(false), tpm.clone()), ("h3".to_owned(), Some(false), tpm)]);
    story.command(Command::MoveWorkload { workload: "web-1".into(), to: Some("h2".into()), cold: false });
    assert!(matches!(story.only_order().1, Action::Migrate { .. }));
}

#[test]
fn what_may_be_left_behind_is_no_obstacle() {
    let mut story = Story::new();
    story.has("h1", DomainSeen { only_here: [HostState::UefiVariables].into(), ..domain(DomainState::Running) });
    story.pass(Span::secs(1));
    looked_at(&mut story, &[]);
    let ready = story.controller.ready(Some("web-1")).expect("it is known");
    assert!(ready[0].hosts.iter().all(|one| one.ready == Some(true) && one.obstacles.is_empty()), "{ready:?}");
}

fn with_a_card(state: DomainState) -> DomainSeen {
    DomainSeen { movable: false, passed_through: ["0000:3b:00.1".to_owned()].into(), ..domain(state) }
}

/// Each host with what stands in the way there.
fn rows(story: &Story) -> Vec<(String, Option<bool>, String)> {
    let ready = story.controller.ready(Some("web-1")).expect("it is known");
    let words = |obstacles: &[Obstacle]| obstacles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    ready[0].hosts.iter().map(|one| (one.host.to_string(), one.ready, words(&one.obstacles))).collect()
}

/// The scenario: a VM with a passed-through network card is protected. Its user wants to know that a lost host is a lost VM.
#[test]
fn a_passed_through_device_binds_a_vm_to_its_host_and_everything_says_so() {
    let mut story = Story::new();
    story.has("h1", with_a_card(DomainState::Running));
    story.pass(Span::secs(3));
    // Known before any host was looked at, and the same when all is there; what else is missing is listed as well.
    let on = |host: &str, why: &str| (host.to_owned(), Some(false), why.to_owned());
    assert_eq!(rows(&story), [on("h2", BOUND), on("h3", BOUND)]);
    assert_eq!(story.alarms(), [Code::READY_NOWHERE_ELSE]);
    looked_at(&mut story, &[]);
    assert_eq!(rows(&story), [on("h2", BOUND), on("h3", BOUND)]);
    looked_at_on(&mut story, &["h2", "h3"], &[Obstacle::new(ObstacleKind::Device, "0000:3b:00.1")]);
    let missing = format!("{BOUND}, device 0000:3b:00.1 is missing");
    assert_eq!(rows(&story), [on("h2", &missing), on("h3", &missing)]);
    let view = story.controller.view(story.now);
    let alarm = view.alarms.iter().find(|alarm| alarm.code == Code::READY_NOWHERE_ELSE).expect("it stands");
    assert_eq!(alarm.text, format!("web-1 could start on no other host now: {BOUND}"));
    assert!(alarm.advice.starts_with("expect it to be down while h1 is"), "{alarm:?}");

    let explained = story.controller.explain("web-1", story.now).expect("it is known");
    assert!(explained.contains(&format!("h2: {BOUND}\n")) && explained.contains("h1: would take it"), "{explained}");
    for cold in [false, true] {
        let to_h2 = Command::MoveWorkload { workload: "web-1".into(), to: Some("h2".into()), cold };
        let reply = story.command(to_h2);
        assert!(matches!(&reply, Reply::Refused { text } if text.contains(BOUND)), "{reply:?}");
    }
    // With the device its reason goes.
    story.has("h1", domain(DomainState::Running));
    story.pass(Span::secs(3));
    looked_at(&mut story, &[]);
    assert_eq!(
        rows(&story),
        [("h2", Some(true)), ("h3", Some(true))].map(|(host, ready)| (host.to_owned(), ready, String::new()))
    );
    assert_eq!(story.alarms(), []);
}

#[test]
fn a_vm_with_a_passed_through_device_is_down_while_its_host_is() {
    let mut story = Story::new();
    story.has("h1", with_a_card(DomainState::Running));
    story.pass(Span::secs(3));
    let lost = story.controller.what_if(vec![Hypothesis::HostLost { host: "h1".into() }], story.now);
    assert!(
        lost.moved.is_empty() && lost.down[&WorkloadId::from("web-1")].contains(&format!("h2 and h3: {BOUND}")),
        "{lost:#?}"
    );
    // A person who has stopped it is refused a start elsewhere, and told why.
    story.command(Command::StopWorkload { workload: "web-1".into(), how: StopHow::Force, within: None });
    story.has("h1", with_a_card(DomainState::Off(OffReason::Destroyed)));
    let (id, _) = story.only_order();
    story.done(id);
    story.pass(Span::secs(5));
    let elsewhere = Command::StartWorkload { workload: "web-1".into(), host: Some("h2".into()), leave_state: false };
    let reply = story.command(elsewhere);
    assert!(matches!(&reply, Reply::Refused { text } if text.starts_with(&format!("web-1 is {BOUND}"))), "{reply:?}");
    assert_eq!(
        rows(&story)[1..],
        [("h2", BOUND), ("h3", BOUND)].map(|(host, why)| (host.to_owned(), Some(false), why.to_owned()))
    );
}

#[test]
fn without_shared_storage_no_other_host_is_expected() {
    let mut story = Story::new();
    story.spec.sites.values_mut().for_each(|site| site.shared_storage = false);
    story.reload();
    story.has("h1", with_a_card(DomainState::Running));
    story.pass(Span::secs(3));
    assert_eq!(story.alarms(), []);
}
