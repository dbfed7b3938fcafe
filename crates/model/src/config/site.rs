//! Reads `[site.NAME]` with its driver and hosts, and `[fence.NAME]`.

use super::address;
use super::driver::{DriverConfig, LibvirtConfig};
use super::names;
use super::problem::{CONTRADICTION, Report, TWICE, WRONG_VALUE};
use super::table::{Entry, Table, Value};
use crate::spec::{ClusterSpec, FenceDevice, HostSpec, Revive, SiteSpec};
use crate::{DeviceId, HostId, Setting, SiteId};
use std::{collections::BTreeMap, net::IpAddr, ops::Range};

/// Puts sites, hosts and fence devices into the spec; returns the sites' drivers.
pub fn read(document: &Table, spec: &mut ClusterSpec, report: &mut Report) -> BTreeMap<SiteId, DriverConfig> {
    for Entry { name, node, .. } in document.named("fence") {
        if let Some(table) = node.table() {
            spec.fence_devices.insert(DeviceId::new(name), device(table, report));
        }
    }
    let mut drivers = BTreeMap::new();
    let mut seen: BTreeMap<HostId, Range<usize>> = BTreeMap::new();
    let mut machines = Machines::default();
    for Entry { name, node, .. } in document.named("site") {
        let Some(site) = node.table() else { continue };
        let id = SiteId::new(name);
        let (shared_storage, origin) = (site.flag("shared_storage"), report.origin(&site.at, &site.path));
        spec.sites.insert(id.clone(), SiteSpec { shared_storage, origin });
        let libvirt = site.table("libvirt");
        let mut in_clear = None;
        if let Some(table) = libvirt {
            drivers.insert(id.clone(), DriverConfig::Libvirt(LibvirtConfig::read(table)));
        }
        for entry in site.named("host") {
            let Some(table) = entry.node.table() else { continue };
            let host = host(&entry.name, &id, table, libvirt, spec, report);
            if let Some(first) = seen.insert(HostId::new(&entry.name), entry.at.clone()) {
                report
                    .error(TWICE, &entry.at, format!("host `{}` is in two sites", entry.name))
                    .also(&first, "and here")
                    .help("a host's name is unique over all sites; rename one, or remove it");
            }
            machines.take(&entry.name, &host, table, report);
            in_clear = in_clear.or_else(|| host.uri.contains("+tcp:").then(|| entry.name.clone()));
            spec.hosts.insert(HostId::new(&entry.name), host);
        }
        if let (Some(table), Some(host)) = (libvirt.filter(|driver| driver.flag("migrate_tls")), in_clear) {
            report
                .warning(
                    CONTRADICTION,
                    &table.at("migrate_tls"),
                    format!("host `{host}` is reached by `qemu+tcp`, in clear"),
                )
                .help("the memory of guests moves by TLS, but the hosts arrange it in clear: use `qemu+tls` URIs too");
        }
    }
    for Entry { node, .. } in document.named("fence") {
        for plug in node.table().map(|table| table.named("plug")).unwrap_or_default() {
            names::host(&plug.name, &plug.at, spec, report);
        }
    }
    drivers
}

fn host(
    name: &str,
    site: &SiteId,
    table: &Table,
    libvirt: Option<&Table>,
    spec: &ClusterSpec,
    report: &mut Report,
) -> HostSpec {
    let address = table.optional_text("address").unwrap_or_else(|| name.to_owned());
    let address = address::without_brackets(&address).to_owned();
    let own_uri = table.optional_text("uri");
    let template = own_uri.as_deref().or(libvirt.map(|driver| driver.text("uri"))).unwrap_or_default();
    if address.is_empty() && template.contains("{address}") {
        report
            .error(
                CONTRADICTION,
                &table.at("address"),
                format!("host `{name}` has no address, but its URI is `{template}`"),
            )
            .help("give the host an `address`, or a `uri` of its own");
    }
    let host = HostSpec {
        site: site.clone(),
        uri: address::filled(&template.replace("{host}", name), &address),
        address,
        tags: table.texts("tags"),
        spare: table.flag("spare"),
        reserve: table.table("reserve").map(Table::resources).unwrap_or_default(),
        capacity: table.table("capacity").map(Table::resources),
        cpu_overcommit_percent: table.hundredths("cpu_overcommit"),
        fence: fence_levels(table, spec, report),
        revive: table.table("revive").map(revive).unwrap_or_default(),
        origin: report.origin(&table.at, &table.path),
    };
    if host.capacity.is_some_and(|capacity| host.reserve.memory_mib >= capacity.memory_mib) {
        report
            .error(CONTRADICTION, &table.at("reserve"), format!("host `{name}` reserves all of its memory for itself"))
            .help("nothing could run there; lower `reserve`, raise `capacity`, or take the host out");
    }
    host
}

/// Which hosts have been read, by what makes two of them one machine. A machine with two names would seem to run each of its
/// VMs twice, and the advice for that is to destroy one of the two.
#[derive(Default)]
struct Machines(BTreeMap<String, (String, Range<usize>)>);

impl Machines {
    fn take(&mut self, name: &str, host: &HostSpec, table: &Table, report: &mut Report) {
        let address = host.address.trim_end_matches('.').to_lowercase();
        let address = address.parse().map_or(address, |address: IpAddr| address.to_canonical().to_string());
        for (key, what, machine) in [
            ("address", &host.address, Some(address).filter(|address| !address.is_empty())),
            ("uri", &host.uri, Some(host.uri.to_lowercase())),
        ] {
            let Some(machine) = machine else { continue };
            let at = table.at(key);
            match self.0.get(&machine) {
                None => drop(self.0.insert(machine, (name.to_owned(), at))),
                Some((other, first)) if other != name => {
                    let message =
                        format!("hosts `{other}` and `{name}` have one {key}, `{what}`: they are one machine");
                    let problem = report.error(CONTRADICTION, &at, message);
                    problem.also(first, "and here").help("correct one of the two, or take it out");
                    return;
                }
                Some(_) => {}
            }
        }
    }
}

fn revive(table: &Table) -> Revive {
    Revive {
        within: table.span("within"),
        after_fence: table.choice("after_fence"),
        power_ons_per_hour: table.whole("power_ons_per_hour"),
    }
}

/// `"bmc"`, `["bmc"]` and `[["bmc"], ["pdu-a", "pdu-b"]]`.
fn fence_levels(table: &Table, spec: &ClusterSpec, report: &mut Report) -> Vec<Vec<DeviceId>> {
    let items = table.items("fence");
    if items.len() > 1 && items[0].text().is_some() {
        let devices: Vec<String> = items.iter().filter_map(|item| item.text()).map(|d| format!("\"{d}\"")).collect();
        report
            .error(
                WRONG_VALUE,
                &table.at("fence"),
                "several fence devices, and it is not said how they belong together",
            )
            .help(format!(
                "[[{}]] tries one after the other; [[{}]] needs all of them to succeed",
                devices.join("], ["),
                devices.join(", ")
            ));
    }
    let mut levels = vec![];
    for item in items {
        let devices = match &item.value {
            Value::List(devices) => devices.as_slice(),
            _ => std::slice::from_ref(item),
        };
        if devices.is_empty() {
            report
                .error(WRONG_VALUE, &item.at, "a fence level without a device")
                .help("name at least one in each level");
        }
        for device in devices {
            names::device(device.text().unwrap_or_default(), &device.at, spec, report);
        }
        levels.push(devices.iter().filter_map(|device| device.text()).map(DeviceId::new).collect());
    }
    levels
}

fn device(table: &Table, report: &Report) -> FenceDevice {
    let text = |entry: &Entry| match &entry.node.value {
        Value::Whole(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        _ => entry.node.text().unwrap_or_default().to_owned(),
    };
    let option = |entry: &Entry| Setting::new(&entry.name, text(entry));
    FenceDevice {
        agent: table.text("agent").to_owned(),
        options: table.named("options").iter().map(|entry| (entry.name.clone(), option(entry))).collect(),
        plug: table.named("plug").iter().map(|entry| (HostId::new(&entry.name), text(entry))).collect(),
        timeout: table.span("timeout"),
        verify_within: table.span("verify_within"),
        retries: table.whole("retries"),
        settle: table.span("settle"),
        delay: table.span("delay"),
        probe_every: table.span("probe_every"),
        origin: report.origin(&table.at, &table.path),
    }
}
