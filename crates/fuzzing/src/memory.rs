//! What the store gives back: rows that this version or another one wrote, or that were damaged.

use mainstay_engine::{Row, Table, control::Controller};
use mainstay_model::{Time, config, spec::ClusterSpec};
use std::sync::{Arc, OnceLock};

/// Rows as lines `TABLE KEY BODY`, separated by tabs: the engine starts from them, or says which one is bad.
pub fn restore(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let now = Time(1_800_000_000_000);
    let Ok((mut controller, first)) = Controller::start(spec(), text.lines().filter_map(row).collect(), now) else {
        return;
    };
    for change in &first.changes {
        let table = change.table;
        assert!(change.body.as_ref().is_none_or(|body| body.starts_with('{')), "{table:?} is written as an object");
    }
    controller.step(Time(now.0 + 1_000), vec![mainstay_engine::Input::Tick]);
    let view = controller.view(Time(now.0 + 1_000));
    for host in &view.hosts {
        let _ = controller.explain(host.host.as_str(), now);
    }
    for workload in &view.workloads {
        let _ = controller.explain(workload.workload.as_str(), now);
        let _ = controller.points(&workload.workload);
    }
}

fn row(line: &str) -> Option<Row> {
    let mut parts = line.splitn(3, '\t');
    let table = match parts.next()? {
        "meta" => Table::Meta,
        "host" => Table::Host,
        "workload" => Table::Workload,
        "point" => Table::Point,
        "order" => Table::Order,
        "alarm" => Table::Alarm,
        "incident" => Table::Incident,
        _ => return None,
    };
    Some(Row { table, key: parts.next()?.to_owned(), body: parts.next()?.to_owned() })
}

/// That of the example, read once.
fn spec() -> Arc<ClusterSpec> {
    static SPEC: OnceLock<Arc<ClusterSpec>> = OnceLock::new();
    let load = || Arc::new(config::load("example", config::example()).expect("the example loads").spec);
    Arc::clone(SPEC.get_or_init(load))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_engine::{Input, Step};
    use mainstay_model::{DomainChange, DomainSeen, DomainState, Fact, HostChannel, OffReason, Resources};
    use std::collections::BTreeMap;

    /// What a controller of this version remembers of a crash, as the corpus has it.
    fn remembered() -> String {
        let mut now = Time(1_799_999_000_000);
        let (mut controller, first) = Controller::start(spec(), vec![], now).expect("nothing to restore");
        let mut rows = BTreeMap::new();
        let mut keep = |step: Step| {
            for change in step.changes {
                let table = format!("{:?}", change.table).to_lowercase();
                rows.insert((table, change.key), change.body);
            }
        };
        keep(first);
        let (host, workload) = (spec().hosts.keys().next().expect("the example has hosts").clone(), "web-1".into());
        let seen = DomainSeen {
            uuid: "77000000-0000-4000-8000-000000000001".to_owned(),
            state: DomainState::Running,
            needs: Resources::of(1_024, 1),
            autostart: true,
            tags: Default::default(),
            datastores: Default::default(),
            movable: true,
            only_here: Default::default(),
            passed_through: Default::default(),
        };
        let domains = Arc::new(BTreeMap::from([(workload, seen)]));
        let inventory = |at| Fact::Inventory {
            host: host.clone(),
            asked_at: at,
            capacity: Resources::of(65_536, 16),
            domains: domains.clone(),
        };
        let crashed = DomainChange::State(DomainState::Off(OffReason::Crashed));
        for turn in 0..40 {
            now = Time(now.0 + 500);
            let mut inputs =
                vec![Input::Fact(Fact::HostHeard { host: host.clone(), channel: HostChannel::Hypervisor })];
            match turn {
                0 => inputs.push(Input::Fact(inventory(now))),
                30 => inputs.push(Input::Fact(Fact::Domain {
                    host: host.clone(),
                    workload: "web-1".into(),
                    change: crashed,
                })),
                _ => {}
            }
            keep(controller.step(now, inputs));
        }
        rows.into_iter().filter_map(|((table, key), body)| Some(format!("{table}\t{key}\t{}\n", body?))).collect()
    }

    /// The first seed of the corpus; `UPDATE=1` writes it anew.
    #[test]
    fn what_this_version_writes_it_reads() {
        let text = remembered();
        assert!(text.contains("\nincident\t") && text.contains("\norder\t"), "{text}");
        let rows = text.lines().filter_map(row).collect();
        Controller::start(spec(), rows, Time(1_800_000_000_000)).expect("it reads what it wrote");
        if std::env::var_os("UPDATE").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/memory/crash");
            std::fs::write(path, text).expect("the corpus is there");
        }
    }
}
