//! A cluster made up from two numbers, always the same one, watched by a real controller core. About 70 % full by memory;
//! a tenth of the workloads may run on a quarter of the hosts only, another tenth is kept apart in sets of four.
//!
//! It keeps nothing per workload itself, so that what the process grows by is the controller's.

use mainstay_engine::{Input, Step, control::Controller};
use mainstay_model::{
    Action, ActionId, Detail, DomainSeen, DomainState, Fact, GuestChannel, HostChannel, HostId, Outcome, Resources,
    Span, Time, WorkloadId,
    config::load,
    spec::{Apart, ClusterSpec, HostRule, HostSpec, Limits, Origin, Rule, Selector, Strength, WorkloadPolicy},
};
use std::{collections::BTreeSet, ops::Range, sync::Arc};

/// What every host is like.
const CONFIG: &str = r#"
[site.here]
shared_storage = true
[site.here.libvirt]
[site.here.host.host]
address = "192.0.2.1"
cpu_overcommit = 1.0
fence = "bmc"
[fence.bmc]
agent = "fence_ipmilan"
"#;

/// How many members a set that is kept apart has.
const APART: usize = 4;

/// How large a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Hosts.
    pub hosts: usize,
    /// Workloads, spread over them evenly.
    pub workloads: usize,
}

/// A cluster in which everything runs, and the controller that watches it.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// How large it is.
    pub size: Size,
    /// What is measured.
    pub controller: Controller,
    /// The time there.
    pub now: Time,
}

impl Cluster {
    /// A cluster of this size, in service and in sight.
    pub fn settled(size: Size) -> Cluster {
        let now = Time(1_800_000_000_000);
        let (controller, _) = Controller::start(Arc::new(spec(size)), vec![], now).expect("there are no rows to read");
        let mut cluster = Cluster { size, controller, now };
        let all = 0..size.hosts;
        let heard = cluster.heard(all.clone());
        cluster.step(heard);
        cluster.now = cluster.now + Span::millis(1); // who is heard is asked for its list
        let lists = all.map(|host| cluster.inventory(host)).collect();
        cluster.step(lists);
        for _ in 0..4 {
            cluster.beat(0..0);
        }
        let answers = (0..size.workloads).map(|workload| cluster.guest_heard(workload)).collect();
        cluster.step(answers);
        cluster.beat(0..0);
        cluster
    }

    /// One step of the controller, now.
    pub fn step(&mut self, inputs: Vec<Input>) -> Step {
        self.controller.step(self.now, inputs)
    }

    /// The next heartbeat: these hosts are silent, all others answer.
    pub fn beat(&mut self, silent: Range<usize>) -> Step {
        self.now = self.now + Span::millis(500);
        let inputs = self.heartbeat(silent);
        self.step(inputs)
    }

    /// What the next heartbeat brings.
    pub fn heartbeat(&self, silent: Range<usize>) -> Vec<Input> {
        let mut inputs = self.heard((0..self.size.hosts).filter(|host| !silent.contains(host)));
        for host in silent {
            inputs.extend([HostChannel::Hypervisor, HostChannel::Ping].map(|channel| {
                let error = "no answer".to_owned();
                Input::Fact(Fact::HostSilent { host: host_name(host), channel, error, closed: false })
            }));
        }
        inputs
    }

    /// Signs of life of these hosts.
    pub fn heard(&self, hosts: impl Iterator<Item = usize>) -> Vec<Input> {
        let both = [HostChannel::Hypervisor, HostChannel::Ping];
        hosts
            .flat_map(|host| both.map(|channel| Input::Fact(Fact::HostHeard { host: host_name(host), channel })))
            .collect()
    }

    /// The list of a host's domains, all running.
    pub fn inventory(&self, host: usize) -> Input {
        let domains = self.living_on(host).map(|workload| (workload_name(workload), domain(self.size, workload)));
        Input::Fact(Fact::Inventory {
            host: host_name(host),
            asked_at: self.now,
            capacity: capacity(self.size),
            domains: Arc::new(domains.collect()),
        })
    }

    /// A sign of life of a guest.
    pub fn guest_heard(&self, workload: usize) -> Input {
        Input::Fact(Fact::GuestHeard { workload: workload_name(workload), channel: GuestChannel::Agent })
    }

    /// The workloads that run on a host.
    pub fn living_on(&self, host: usize) -> impl Iterator<Item = usize> {
        (host..self.size.workloads).step_by(self.size.hosts)
    }

    /// Where a workload runs.
    pub fn home(&self, workload: usize) -> usize {
        workload % self.size.hosts
    }

    /// The first so many hosts fall silent, until their fencing is ordered; gives the outcomes by which they are proved
    /// off, all at once. `seen` is shown the cluster, and what it is told, before each step.
    pub fn lose(&mut self, hosts: usize, mut seen: impl FnMut(&Cluster, &[Input])) -> Vec<Input> {
        let mut fences: Vec<ActionId> = Vec::new();
        for _ in 0..20 {
            self.now = self.now + Span::millis(500);
            let inputs = self.heartbeat(0..hosts);
            seen(self, &inputs);
            let orders = self.step(inputs).orders.into_iter();
            fences.extend(orders.filter(|order| matches!(order.action, Action::Fence { .. })).map(|order| order.id));
            if fences.len() == hosts {
                break;
            }
        }
        self.now = self.now + Span::millis(100);
        let off = |id| Input::Outcome {
            id,
            outcome: Outcome::Done { detail: Detail::Fenced { already_off: false, by: "bmc".to_owned() } },
        };
        fences.into_iter().map(off).collect()
    }
}

/// A host's name.
pub fn host_name(number: usize) -> HostId {
    HostId::new(format!("host-{number:04}"))
}

/// A workload's name.
pub fn workload_name(number: usize) -> WorkloadId {
    WorkloadId::new(format!("vm-{number:05}"))
}

/// What each host has.
pub fn capacity(size: Size) -> Resources {
    let each = size.workloads.div_ceil(size.hosts) as u64;
    Resources::of(each * 1024 * 9 / 2 * 10 / 7, each * 4)
}

/// The set that a workload belongs to whose members are kept apart, if it does.
pub fn set(size: Size, workload: usize) -> Option<usize> {
    (workload / size.hosts % 10 == 9).then_some(workload / APART)
}

/// What a workload needs: 1 to 8 GiB, 1 to 3 vCPUs, mixed on each host.
pub fn needs(size: Size, workload: usize) -> Resources {
    let mixed = (workload + workload / size.hosts) as u64;
    Resources::of(1024 * (1 + mixed * 5 % 8), 1 + mixed % 3)
}

/// True if it may run on hosts with an SSD only: every fourth.
pub fn bound(size: Size, workload: usize) -> bool {
    has_ssd(workload % size.hosts) && workload / size.hosts % 5 < 2
}

/// True if the host has an SSD.
pub fn has_ssd(host: usize) -> bool {
    host.is_multiple_of(4)
}

fn domain(size: Size, workload: usize) -> DomainSeen {
    let bound = bound(size, workload).then(|| "bound".to_owned());
    let set = set(size, workload).map(|set| format!("set-{set}"));
    DomainSeen {
        uuid: format!("00000000-0000-4000-8000-{workload:012}"),
        state: DomainState::Running,
        needs: needs(size, workload),
        autostart: false,
        tags: bound.into_iter().chain(set).collect(),
        datastores: BTreeSet::from(["/srv/vm".to_owned()]),
        movable: true,
        only_here: Default::default(),
        passed_through: Default::default(),
    }
}

fn spec(size: Size) -> ClusterSpec {
    let mut spec = load("scale.toml", CONFIG).expect("a good configuration").spec;
    let host = spec.hosts.remove("host").expect("written above");
    // What is lost together is to be decided together.
    spec.limits = Limits { fencings: u32::MAX, starts_per_host: u32::MAX, ..Limits::default() };
    for number in 0..size.hosts {
        let tags = if has_ssd(number) { BTreeSet::from(["ssd".to_owned()]) } else { BTreeSet::new() };
        spec.hosts.insert(host_name(number), HostSpec { tags, ..host.clone() });
    }
    let ssd = HostRule { hosts: vec![], host_tags: vec!["ssd".to_owned()], strength: Strength::Required };
    let bound = WorkloadPolicy { hosts: vec![ssd], priority: 1, ..WorkloadPolicy::default() };
    spec.workloads = vec![rule(tagged("bound"), bound), rule(Selector::all(), WorkloadPolicy::default())];
    let sets: BTreeSet<usize> = (0..size.workloads).filter_map(|workload| set(size, workload)).collect();
    let apart = |set| rule(tagged(&format!("set-{set}")), Apart { strength: Strength::Required });
    spec.apart = sets.into_iter().map(apart).collect();
    spec
}

fn tagged(tag: &str) -> Selector {
    Selector { names: vec![], tags: vec![tag.to_owned()] }
}

fn rule<T>(selector: Selector, policy: T) -> Rule<T> {
    Rule { selector, policy, origin: Origin::default_of("scale") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ran_on_a_lost_host_is_started_elsewhere() {
        let mut cluster = Cluster::settled(Size { hosts: 16, workloads: 250 });
        let proofs = cluster.lose(1, |_, _| {});
        assert_eq!(proofs.len(), 1);
        let orders = cluster.step(proofs).orders;
        let starts = orders.iter().filter(|order| matches!(order.action, Action::Start { .. })).count();
        assert_eq!(starts, 16, "{orders:?}");
    }
}
