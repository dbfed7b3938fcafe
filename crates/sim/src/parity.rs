//! The simulated world, held to the same list of behaviours as the real parts: the daemon's contract test runs this very
//! list on real libvirtd and QEMU. What differs is not a simulator's freedom but its fault.

use crate::{
    deed::{Deed, GuestDeed, HostDeed},
    scenario::Scenario,
    world::{ANSWERS, Happened, News, World},
};
use behaviour::World as Behaves;
use mainstay_model::{Action, ActionId, Epoch, Fact, HostId, Order, Outcome, Span, WorkloadId};
use std::{
    collections::VecDeque,
    path::PathBuf,
    pin::pin,
    task::{Context, Poll, Waker},
};

#[path = "../../daemon/tests/lab/behaviour.rs"]
mod behaviour;

/// No order and no fact of the list takes longer.
const LIMIT: Span = Span::minutes(2);

struct Simulated {
    world: World,
    facts: VecDeque<Fact>,
    last: u64,
}

impl Simulated {
    fn new() -> Simulated {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/01-crash-restart");
        let scenario = Scenario::load(&folder).expect("the scenario can be read");
        Simulated { world: scenario.world(1), facts: VecDeque::new(), last: 0 }
    }

    /// The next thing happens; facts are kept, an outcome is returned.
    fn turn(&mut self) -> Option<(ActionId, Outcome)> {
        match self.world.advance() {
            Happened::Heard(News::Fact(fact)) => self.facts.push_back(fact),
            Happened::Heard(News::Outcome(id, outcome)) => return Some((id, outcome)),
            Happened::Alive(host) => {
                self.facts.extend(ANSWERS.map(|channel| Fact::HostHeard { host: host.clone(), channel }));
            }
            Happened::Unheard | Happened::Deed(_) => {}
        }
        None
    }

    fn happen(&mut self, deed: Deed) {
        let at = self.world.now;
        self.world.plan_deed(at, deed);
        while self.world.next_at() == Some(at) {
            self.turn();
        }
        self.facts.clear();
    }
}

impl Behaves for Simulated {
    async fn order(&mut self, action: Action) -> Outcome {
        self.last += 1;
        let id = ActionId(self.last);
        let deadline = self.world.now + Span::secs(60);
        self.world.carry_out(Order { id, epoch: Epoch(1), action, deadline });
        while self.world.now < deadline + LIMIT {
            if let Some((ended, outcome)) = self.turn()
                && ended == id
            {
                return outcome;
            }
        }
        panic!("no outcome, not even at the deadline");
    }

    async fn fact(&mut self, what: &str, wanted: impl Fn(&Fact) -> bool) -> Fact {
        let until = self.world.now + LIMIT;
        loop {
            while let Some(fact) = self.facts.pop_front() {
                if wanted(&fact) {
                    return fact;
                }
            }
            assert!(self.world.now < until, "{what}: no such fact came");
            self.turn();
        }
    }

    async fn kill(&mut self, guest: &WorkloadId) {
        self.happen(Deed::Guest(GuestDeed::Kill, guest.clone()));
    }

    async fn cut_power(&mut self, host: &HostId) {
        self.happen(Deed::Host(HostDeed::PowerCut, host.clone()));
    }

    fn runs_on(&self, guest: &WorkloadId) -> Vec<HostId> {
        self.world.guests[guest].runs_on().cloned().collect()
    }
}

/// Nothing in a simulated world really waits.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a simulated world never waits"),
    }
}

#[test]
fn the_simulated_world_behaves_as_listed() {
    let mut world = Simulated::new();
    at_once(async {
        for name in ["h1", "h2"] {
            let listed = |fact: &Fact| matches!(fact, Fact::Inventory { host, .. } if host.as_str() == name);
            world.fact("the host tells what it has", listed).await;
        }
        behaviour::starting_and_stopping_is_idempotent(&mut world).await;
        behaviour::a_crash_is_told_as_one(&mut world).await;
        behaviour::points_come_and_go(&mut world).await;
        behaviour::points_of_what_is_off(&mut world).await;
        behaviour::a_guest_moves_with_its_points(&mut world).await;
        behaviour::a_dead_hosts_guest_starts_elsewhere(&mut world).await;
        behaviour::disk_points_follow_their_guest(&mut world).await;
    });
}
