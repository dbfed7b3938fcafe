//! Where VMs could start.

use super::{Cell, Look, Table, Tone, ago_in_words};
use mainstay_engine::view::{HostReady, ReadyView};
use mainstay_model::Obstacle;

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
        for host in &lacking {
            let down = (!host.in_service).then(|| "not in service".to_owned());
            let because = down.into_iter().chain(host.obstacles.iter().map(Obstacle::to_string));
            let because = because.collect::<Vec<_>>().join(", ");
            line(Cell::toned(Tone::Warn, host.host.as_str()), because.into());
        }
        if lacking.is_empty() {
            line(Cell::default(), Cell::default());
        }
    }
    table.render(look)
}
