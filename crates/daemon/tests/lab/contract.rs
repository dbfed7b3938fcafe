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
    /// What the guest had counted on its disk, each step written through, when it was last hit: it must go on from there.
    durable: u64,
}

impl Real {
    async fn count(&self, guest: &str) -> u64 {
        self.lab.wait_guest_answers(guest, SOON).await.unwrap().disk_counter
    }
}

impl World for Real {
    async fn order(&mut self, action: Action) -> Outcome {
        let started = match &action {
            Action::Start { workload, .. } => Some(workload.clone()),
            _ => None,
        };
        let outcome = self.bench.order(action, Span::secs(60)).await;
        if let (Some(guest), true) = (started, self.durable > 0) {
            let (before, now) = (std::mem::take(&mut self.durable), self.count(guest.as_str()).await);
            assert!(
                now >= before,
                "{guest} lost what it had written: it had counted to {before}, and goes on from {now}"
            );
        }
        outcome
    }

    async fn fact(&mut self, what: &str, wanted: impl Fn(&Fact) -> bool) -> Fact {
        self.bench.fact(wanted, SOON).await.unwrap_or_else(|| panic!("{what}: no such fact came"))
    }

    async fn kill(&mut self, guest: &WorkloadId) {
        self.durable = self.count(guest.as_str()).await;
        self.bench.forget_facts();
        self.lab.guest_kill(guest.as_str()).await.unwrap();
    }

    async fn cut_power(&mut self, host: &HostId) {
        self.durable = self.count("web-1").await;
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
        let mut world = Real { lab, bench, durable: 0 };
        world
            .fact("h1 tells what it has", |fact| matches!(fact, Fact::Inventory { host, .. } if host.as_str() == "h1"))
            .await;
        println!("starting and stopping");
        behaviour::starting_and_stopping_is_idempotent(&mut world).await;
        println!("crash");
        behaviour::a_crash_is_told_as_one(&mut world).await;
        println!("points");
        behaviour::points_come_and_go(&mut world).await;
        println!("points of what is off");
        behaviour::points_of_what_is_off(&mut world).await;
        println!("migration");
        behaviour::a_guest_moves_with_its_points(&mut world).await;
        println!("dead host");
        behaviour::a_dead_hosts_guest_starts_elsewhere(&mut world).await;
        println!("disk points");
        behaviour::disk_points_follow_their_guest(&mut world).await;
        let xml = world.lab.virsh("h2", &["dumpxml", "web-1"]).await.unwrap();
        assert!(xml.contains("d1") && xml.contains(".qcow2"), "it writes to an overlay on the point: {xml}");
        world.lab.wait_guest_answers("web-1", SOON).await.unwrap();
    });
    let result = behaviours.await;
    runtime.shutdown_background();
    result.unwrap();
}
