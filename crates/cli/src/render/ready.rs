//! Where VMs could start.

use super::{Cell, Look, Table, Tone, ago_in_words};
use mainstay_engine::view::{HostReady, ReadyView};
use mainstay_model::Obstacle;
use std::collections::BTreeMap;

/// More hosts than this with the same reason share a line: a passed-through device has one reason for all hosts of a site.
const LINES_ALIKE: usize = 8;

/// The table: a line for each VM, and one more for each host that lacks something for it.
pub fn ready(vms: &[ReadyView], look: &Look) -> String {
    let mut table = Table::new(["VM", "RUNS ON", "COULD START ON", "LOOKED AT", "NOT ON", "BECAUSE"]);
    for vm in vms {
        let names = |wanted: Option<bool>| {
            let hosts = vm.hosts.iter().filter(|host| host.ready == wanted && host.in_service);
            hosts.map(|host| host.host.as_str()).collect::<Vec<_>>().join(" ")
        };
        let lacking: Vec<&HostReady> =
            vm.hosts.iter().filter(|host| host.ready == Some(false) || !host.in_service).collect();
        let (could, unknown) = (names(Some(true)), names(None));
        let could = match (could.as_str(), unknown.as_str()) {
            ("", "") if vm.hosts.is_empty() => Cell::toned(Tone::Dim, "bound to its host by disks or devices"),
            ("", "") => Cell::toned(Tone::Warn, "no other host"),
            ("", _) => Cell::toned(Tone::Dim, "not known"),
            _ => Cell::toned(Tone::Good, could.clone()),
        };
        let oldest = vm.hosts.iter().filter_map(|host| host.looked_at).min();
        let mut first = Some((
            Cell::from(vm.workload.as_str()),
            Cell::from(vm.runs_on.as_ref().map_or("", |host| host.as_str())),
            could,
            Cell::from(oldest.map_or(String::new(), |at| ago_in_words(look.now.since(at)))),
        ));
        let mut line = |not_on: Cell, because: Cell| {
            let (vm, runs_on, could, looked_at) = first.take().unwrap_or_default();
            table.row([vm, runs_on, could, looked_at, not_on, because]);
        };
        let mut alike: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for host in &lacking {
            alike.entry(because(host)).or_default().push(host.host.as_str());
        }
        for host in &lacking {
            let (name, because) = (host.host.as_str(), because(host));
            match &alike[&because][..] {
                hosts if hosts.len() <= LINES_ALIKE => line(Cell::toned(Tone::Warn, name), because.into()),
                [first, second, others @ ..] if *first == name => {
                    let names = format!("{first} {second} and {} more", others.len());
                    line(Cell::toned(Tone::Warn, names), because.into());
                }
                _ => {}
            }
        }
        if lacking.is_empty() {
            line(Cell::default(), Cell::default());
        }
    }
    table.render(look)
}

fn because(host: &HostReady) -> String {
    let down = (!host.in_service).then(|| "not in service".to_owned());
    down.into_iter().chain(host.obstacles.iter().map(Obstacle::to_string)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_model::{ObstacleKind, Time};

    #[test]
    fn many_hosts_with_the_same_reason_share_a_line() {
        let host = |number: usize| {
            let what =
                if number == 3 { "another reason" } else { "bound to h0 by its passthrough device 0000:3b:00.1" };
            HostReady {
                host: format!("h{number}").as_str().into(),
                in_service: true,
                ready: Some(false),
                looked_at: None,
                obstacles: vec![Obstacle::new(ObstacleKind::Passthrough, what)],
            }
        };
        let look = Look { color: false, width: None, now: Time(0), zone: jiff::tz::TimeZone::UTC };
        let of = |hosts: usize| {
            let hosts = (1..=hosts).map(host).collect();
            ready(&[ReadyView { workload: "gpu-1".into(), runs_on: None, hosts }], &look)
        };
        assert_eq!(of(9).lines().count(), 10);
        let many = of(500);
        let rows: Vec<&str> = many.lines().skip(1).map(|row| row.trim()).collect();
        assert!(
            rows.len() == 2
                && rows[0].ends_with("h1 h2 and 497 more  bound to h0 by its passthrough device 0000:3b:00.1")
        );
        assert!(rows[1].starts_with("h3") && rows[1].ends_with("another reason"), "{many}");
    }
}
