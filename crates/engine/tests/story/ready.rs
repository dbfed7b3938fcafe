//! What hosts lack to start a workload: told once, and in the way of no live move.

use crate::harness::{Story, domain};
use mainstay_model::{Action, Command, DomainSeen, DomainState, Fact, HostState, Obstacle, ObstacleKind, Span};
use std::sync::Arc;

fn looked_at(story: &mut Story, obstacles: &[Obstacle]) {
    for host in ["h1", "h2", "h3"] {
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
