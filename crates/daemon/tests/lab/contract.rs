//! The real parts, held to the list in [`crate::behaviour`].

use crate::{
    behaviour::{self, World},
    support::{SOON, TestLab},
};
use mainstay_daemon::Workbench;
use mainstay_model::{Action, Fact, HostId, Outcome, Span, WorkloadId};

struct Real {
    lab: TestLab,
    bench: Workbench,
}

impl World for Real {
    async fn order(&mut self, action: Action) -> Outcome {
        self.bench.order(action, Span::secs(60)).await
    }

    async fn fact(&mut self, what: &str, wanted: impl Fn(&Fact) -> bool) -> Fact {
        self.bench.fact(wanted, SOON).await.unwrap_or_else(|| panic!("{what}: no such fact came"))
    }

    async fn kill(&mut self, guest: &WorkloadId) {
        self.bench.forget_facts();
        self.lab.guest_kill(guest.as_str()).await.unwrap();
    }

    async fn cut_power(&mut self, host: &HostId) {
        self.lab.power_cut(host.as_str()).await.unwrap();
        self.bench.forget_facts();
    }

    fn runs_on(&self, guest: &WorkloadId) -> Vec<HostId> {
        self.lab.where_runs(guest.as_str()).unwrap().into_iter().map(HostId::from).collect()
    }
}

#[tokio::test]
async fn the_real_parts_behave_as_listed() {
    let lab = TestLab::up("contract", |_| (), 2, 1).await;
    let (runtime, config, state) = (lab.runtime(), lab.configure(""), lab.layout().dir.join("bench"));
    // On the lab's network: the drivers' sockets are made where they run.
    let behaviours = runtime.spawn(async move {
        let bench = Workbench::open(&config, &state).await.unwrap();
        let mut world = Real { lab, bench };
        world
            .fact("h1 tells what it has", |fact| matches!(fact, Fact::Inventory { host, .. } if host.as_str() == "h1"))
            .await;
        println!("starting and stopping");
        behaviour::starting_and_stopping_is_idempotent(&mut world).await;
        println!("crash");
        behaviour::a_crash_is_told_as_one(&mut world).await;
        println!("points");
        behaviour::points_come_and_go(&mut world).await;
        println!("migration");
        behaviour::a_guest_moves_with_its_points(&mut world).await;
        println!("dead host");
        behaviour::a_dead_hosts_guest_starts_elsewhere(&mut world).await;
    });
    let result = behaviours.await;
    runtime.shutdown_background();
    result.unwrap();
}
