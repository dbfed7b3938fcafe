//! What people write: the configuration, and scenarios of the simulator.

use mainstay_engine::{Input, control::Controller};
use mainstay_model::{
    Fact, HostChannel, Time,
    config::{
        edit::{NewHost, add_host, remove_host},
        load,
    },
};
use std::sync::Arc;

/// A configuration: refused with problems that have a place, or good enough to start with, and to be edited.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let loaded = match load("mainstay.toml", text) {
        Ok(loaded) => loaded,
        Err(problems) => {
            let lines = text.lines().count().max(1) + 1;
            for problem in problems.iter() {
                assert!(!problem.to_string().is_empty() && problem.line <= lines, "{problem} in line {}", problem.line);
            }
            return;
        }
    };
    let heard = |host: &_| Input::Fact(Fact::HostHeard { host: Clone::clone(host), channel: HostChannel::Hypervisor });
    let inputs = loaded.spec.hosts.keys().map(heard).collect();
    let hosts: Vec<String> = loaded.spec.hosts.keys().map(ToString::to_string).collect();
    let sites: Vec<String> = loaded.spec.sites.keys().map(ToString::to_string).collect();
    let (mut controller, _) =
        Controller::start(Arc::new(loaded.spec), vec![], Time(1_000)).expect("nothing to restore");
    controller.step(Time(2_000), inputs);
    controller.step(Time(60_000), vec![Input::Tick]);
    let _ = controller.view(Time(60_000));
    if let Some(host) = hosts.first() {
        // Something else may speak of it: then it is refused.
        let _ = remove_host("mainstay.toml", text, host);
    }
    if let Some(site) = sites.first() {
        let host = NewHost { name: "added-by-fuzzing".to_owned(), site: site.clone(), ..NewHost::default() };
        let _ = add_host("mainstay.toml", text, &host);
    }
}

/// A scenario: setup, script and expectations, separated by lines of `====`.
pub fn scenario(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.split("\n====\n");
    let mut part = || parts.next().unwrap_or_default();
    let _ = mainstay_sim::scenario::check(part(), part(), part());
}
