//! A controller of a few lines, to try the world before the real one and the checker against one that is careless.

use crate::leader::Leader;
use mainstay_engine::{
    Change, Input, Step, Table,
    view::{ClusterView, Verdict},
};
use mainstay_model::spec::ClusterSpec;
use mainstay_model::*;
use std::{collections::BTreeMap, sync::Arc};

/// Starts whatever is off elsewhere at once, without any proof.
pub(crate) struct Careless {
    spec: Arc<ClusterSpec>,
    orders: u64,
    silent: BTreeMap<HostId, u32>,
    runs: BTreeMap<WorkloadId, HostId>,
}

impl Careless {
    pub fn new(spec: Arc<ClusterSpec>) -> Careless {
        Careless { spec, orders: 0, silent: BTreeMap::new(), runs: BTreeMap::new() }
    }
}

impl Leader for Careless {
    fn step(&mut self, now: Time, inputs: &mut Vec<Input>) -> Step {
        let mut step = Step::default();
        let mut start = Vec::new();
        for input in inputs.drain(..) {
            match input {
                Input::Fact(Fact::HostSilent { host, .. }) => {
                    *self.silent.entry(host.clone()).or_default() += 1;
                    if self.silent[&host] == 5 {
                        let other = self.spec.hosts.keys().find(|other| **other != host).cloned();
                        start.extend(
                            self.runs
                                .iter()
                                .filter(|(_, on)| **on == host)
                                .map(|(guest, _)| (guest.clone(), other.clone().unwrap())),
                        );
                    }
                }
                Input::Fact(Fact::HostHeard { host, .. }) => {
                    self.silent.remove(&host);
                }
                Input::Fact(Fact::Inventory { host, domains, .. }) => {
                    for (guest, _) in domains.iter().filter(|(_, seen)| seen.state.is_live()) {
                        self.runs.insert(guest.clone(), host.clone());
                    }
                }
                Input::Fact(Fact::Domain { host, workload, change: DomainChange::State(DomainState::Off(_)) }) => {
                    start.push((workload, host))
                }
                _ => {}
            }
        }
        for (workload, host) in start {
            self.orders += 1;
            let id = ActionId(self.orders);
            self.runs.insert(workload.clone(), host.clone());
            step.changes.push(Change { table: Table::Order, key: id.to_string(), body: Some("{}".into()) });
            step.orders.push(Order {
                id,
                epoch: Epoch(1),
                action: Action::Start { workload, host },
                deadline: now + Span::secs(30),
            });
        }
        step
    }
    fn view(&self, at: Time) -> ClusterView {
        let verdict = Verdict { severity: Severity::Green, text: String::new(), next: None };
        ClusterView {
            version: 1,
            at,
            name: String::new(),
            verdict,
            cut_off: false,
            hosts: vec![],
            workloads: vec![],
            alarms: vec![],
            incidents: vec![],
        }
    }
    fn words(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        (vec![], vec![])
    }
    fn explain(&self, _: &str, _: Time) -> Option<String> {
        None
    }
    fn incidents(&self) -> Vec<Incident> {
        Vec::new()
    }
}
