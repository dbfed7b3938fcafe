//! Remembers where things are written that only the controller can check: URIs, fence devices, the log's filter.

use super::Places;
use super::problem::Report;
use super::table::{Entry, Table};
use crate::is_secret;
use crate::{DeviceId, HostId};

/// Where those things are written.
pub fn of(document: &Table, report: &Report) -> Places {
    let mut places = Places { file: Some(report.place(&(0..0))), ..Places::default() };
    for Entry { node, .. } in document.named("site") {
        let Some(site) = node.table() else { continue };
        let driver = site.table("libvirt");
        for Entry { name, node, .. } in site.named("host") {
            let Some(host) = node.table() else { continue };
            let written = match (host.is_default("uri"), driver) {
                (false, _) => host.at("uri"),
                (true, Some(driver)) if !driver.is_default("uri") => driver.at("uri"),
                _ => host.at("address"),
            };
            places.uris.insert(HostId::new(name), report.place(&written));
        }
    }
    for Entry { name, at, node } in document.named("fence") {
        let device = DeviceId::new(name);
        for option in node.table().map(|table| table.named("options")).unwrap_or_default() {
            if is_secret(&option.name) {
                places.secret.get_or_insert(report.place(&option.at));
            }
            places.options.insert((device.clone(), option.name.clone()), report.place(&option.at));
        }
        places.devices.insert(device, report.place(at));
    }
    places.log = document.table("controller").map(|table| report.place(&table.at("log")));
    places
}
