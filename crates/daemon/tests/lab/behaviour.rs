//! What every driver must do, real or simulated: the list, over a trait that each world implements. It names nothing of
//! libvirt, tokio or the lab, so that the simulator's tests can include this very file.
//!
//! The world has hosts `h1` and `h2` with shared storage and power switches, and `web-1`, which runs on `h1`.

use mainstay_model::{
    Action, Detail, DomainChange, DomainState, Fact, FailureKind, HostId, OffReason, Outcome, PointId, PointKind,
    PowerState, StopHow, WorkloadId,
};
use std::collections::BTreeSet;

/// A world that can be given orders, and says what it sees.
pub trait World {
    /// Gives an order and waits for its outcome.
    async fn order(&mut self, action: Action) -> Outcome;
    /// Waits for a fact that comes after this call, or fails with `what`.
    async fn fact(&mut self, what: &str, wanted: impl Fn(&Fact) -> bool) -> Fact;
    /// The hypervisor process of a guest dies.
    async fn kill(&mut self, guest: &WorkloadId);
    /// A host loses its power.
    async fn cut_power(&mut self, host: &HostId);
    /// Where the guest really runs, whatever is believed.
    fn runs_on(&self, guest: &WorkloadId) -> Vec<HostId>;
}

fn web() -> WorkloadId {
    "web-1".into()
}
fn h1() -> HostId {
    "h1".into()
}
fn h2() -> HostId {
    "h2".into()
}
fn start(host: HostId) -> Action {
    Action::Start { workload: web(), host }
}
fn stop(host: HostId) -> Action {
    Action::Stop { workload: web(), host, how: StopHow::Force }
}
fn take(host: HostId, point: &str) -> Action {
    Action::TakePoint { workload: web(), host, point: point.into(), kind: PointKind::Auto, freeze: false }
}
fn delete(host: HostId, point: &str) -> Action {
    Action::DeletePoint { workload: web(), host, point: point.into() }
}
fn revert(host: HostId, point: &str) -> Action {
    Action::Revert { workload: web(), host, point: point.into(), keep_broken: false }
}
fn migrate(from: HostId, to: HostId) -> Action {
    Action::Migrate { workload: web(), from, to }
}

async fn done(world: &mut impl World, action: Action) -> Detail {
    let what = action.to_string();
    match world.order(action).await {
        Outcome::Done { detail } => detail,
        other => panic!("{what}: {other}"),
    }
}

async fn fails(world: &mut impl World, action: Action) -> FailureKind {
    let what = action.to_string();
    match world.order(action).await {
        Outcome::Failed { error } => error.kind,
        other => panic!("{what}: expected to fail, but: {other}"),
    }
}

/// The state of web-1 on a host, pushed or in an inventory.
fn tells(fact: &Fact, on: &HostId, state: DomainState) -> bool {
    match fact {
        Fact::Domain { host, workload, change } => {
            host == on && *workload == web() && *change == DomainChange::State(state)
        }
        Fact::Inventory { host, domains, .. } => {
            host == on && domains.get(&web()).is_some_and(|seen| seen.state == state)
        }
        _ => false,
    }
}

/// Starting what runs, and stopping what is off, is done already.
pub async fn starting_and_stopping_is_idempotent(world: &mut impl World) {
    done(world, start(h1())).await;
    assert_eq!(world.runs_on(&web()), [h1()]);
    done(world, stop(h1())).await;
    assert!(world.runs_on(&web()).is_empty());
    world.fact("its stop is told", |fact| tells(fact, &h1(), DomainState::Off(OffReason::Destroyed))).await;
    done(world, stop(h1())).await;
    done(world, stop(h2())).await;
    done(world, start(h1())).await;
    assert_eq!(world.runs_on(&web()), [h1()]);
    done(world, Action::Resume { workload: web(), host: h1() }).await;
}

/// A dead hypervisor process is told as a crash, and the guest can be started again.
pub async fn a_crash_is_told_as_one(world: &mut impl World) {
    world.kill(&web()).await;
    world.fact("its crash is told", |fact| tells(fact, &h1(), DomainState::Off(OffReason::Crashed))).await;
    done(world, start(h1())).await;
    world.fact("it is told to run", |fact| tells(fact, &h1(), DomainState::Running)).await;
}

/// Recovery points are taken once, seen, gone back to, and deleted once.
pub async fn points_come_and_go(world: &mut impl World) {
    let Detail::Point { kind, .. } = done(world, take(h1(), "p1")).await else { panic!("no detail of the point") };
    assert_ne!(kind, PointKind::Auto, "the kind really taken is told");
    let seen = |names: &[&str]| {
        let names: BTreeSet<PointId> = names.iter().map(PointId::new).collect();
        move |fact: &Fact| matches!(fact, Fact::PointsSeen { workload, points, .. } if *workload == web() && *points == names)
    };
    world.fact("the point is seen", seen(&["p1"])).await;
    done(world, take(h1(), "p1")).await;
    done(world, revert(h1(), "p1")).await;
    assert_eq!(world.runs_on(&web()), [h1()]);
    assert_eq!(fails(world, revert(h1(), "never-taken")).await, FailureKind::NotThere);
    assert_eq!(world.runs_on(&web()), [h1()], "a revert that can't be done leaves it running");
    done(world, delete(h1(), "p1")).await;
    world.fact("its deletion is seen", seen(&[])).await;
    done(world, delete(h1(), "p1")).await;
}

/// Of a guest that is off a point of its disks is taken; going back to it starts the guest.
pub async fn points_of_what_is_off(world: &mut impl World) {
    done(world, stop(h1())).await;
    let Detail::Point { kind, frozen, .. } = done(world, take(h1(), "off")).await else { panic!("no detail") };
    assert_eq!((kind, frozen), (PointKind::Disk, false));
    done(world, take(h1(), "off")).await;
    assert!(world.runs_on(&web()).is_empty(), "it stays off");
    done(world, revert(h1(), "off")).await;
    assert_eq!(world.runs_on(&web()), [h1()]);
    done(world, delete(h1(), "off")).await;
}

/// A guest moves with its recovery points; a definition that is in use stays.
pub async fn a_guest_moves_with_its_points(world: &mut impl World) {
    done(world, take(h1(), "p2")).await;
    done(world, migrate(h1(), h2())).await;
    assert_eq!(world.runs_on(&web()), [h2()]);
    done(world, migrate(h1(), h2())).await;
    done(world, Action::Undefine { workload: web(), host: h1() }).await;
    assert_eq!(fails(world, Action::Undefine { workload: web(), host: h2() }).await, FailureKind::Refused);
    done(world, revert(h2(), "p2")).await;
    assert_eq!(world.runs_on(&web()), [h2()]);
}

/// From a dead host nothing is heard; its guest starts elsewhere, with its points; the host is fenced and comes back.
pub async fn a_dead_hosts_guest_starts_elsewhere(world: &mut impl World) {
    world.cut_power(&h2()).await;
    match world.order(stop(h2())).await {
        Outcome::Failed { error } if error.kind == FailureKind::Unreachable => {}
        Outcome::Unknown { .. } => {}
        other => panic!("nobody can know that it was stopped: {other}"),
    }
    let power = done(world, Action::CheckPower { host: h2() }).await;
    assert_eq!(power, Detail::Power(PowerState::Off));
    let fenced = done(world, Action::Fence { host: h2(), level: 0 }).await;
    assert!(matches!(fenced, Detail::Fenced { already_off: true, .. }), "{fenced:?}");
    done(world, start(h1())).await;
    assert_eq!(world.runs_on(&web()), [h1()]);
    done(world, delete(h1(), "p2")).await;
    done(world, Action::PowerOn { host: h2() }).await;
    world.fact("the host is heard again", |fact| matches!(fact, Fact::HostHeard { host, .. } if *host == h2())).await;
}

/// Disk-only points change where the guest writes to. Wherever it starts next, it goes on from there, and can go back.
pub async fn disk_points_follow_their_guest(world: &mut impl World) {
    let take_disk = |host, point: &str| Action::TakePoint {
        workload: web(),
        host,
        point: point.into(),
        kind: PointKind::Disk,
        freeze: true,
    };
    let detail = done(world, take_disk(h1(), "d1")).await;
    assert!(matches!(detail, Detail::Point { kind: PointKind::Disk, .. }), "{detail:?}");
    done(world, take_disk(h1(), "d2")).await;
    world.cut_power(&h1()).await;
    done(world, Action::Fence { host: h1(), level: 0 }).await;
    done(world, start(h2())).await;
    assert_eq!(world.runs_on(&web()), [h2()]);
    done(world, delete(h2(), "d2")).await;
    done(world, revert(h2(), "d1")).await;
    assert_eq!(world.runs_on(&web()), [h2()]);
}
