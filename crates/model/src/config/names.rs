//! Names that must stand for something: hosts, tags of hosts, fence devices.

use super::nearest::suggest;
use super::problem::{Report, UNKNOWN_NAME};
use super::table::Node;
use crate::HostId;
use crate::spec::ClusterSpec;
use std::{collections::BTreeSet, ops::Range};

const TAG: &str = "tag:";

/// Reports a host that does not exist.
pub fn host(name: &str, at: &Range<usize>, spec: &ClusterSpec, report: &mut Report) {
    if !spec.hosts.contains_key(name) {
        let help = suggest(name, spec.hosts.keys().map(|host| host.as_str()), "no hosts are configured");
        report.error(UNKNOWN_NAME, at, format!("there is no host `{name}`")).help(help);
    }
}

/// Reports a fence device that does not exist.
pub fn device(name: &str, at: &Range<usize>, spec: &ClusterSpec, report: &mut Report) {
    if !spec.fence_devices.contains_key(name) {
        let none = "no fence devices are configured; add a table `[fence.NAME]`";
        let help = suggest(name, spec.fence_devices.keys().map(|device| device.as_str()), none);
        report.error(UNKNOWN_NAME, at, format!("there is no fence device `{name}`")).help(help);
    }
}

/// A host by name, or the tag behind `tag:`; reports what stands for nothing.
pub fn host_or_tag(name: &str, at: &Range<usize>, spec: &ClusterSpec, report: &mut Report) -> Result<HostId, String> {
    let Some(tag) = name.strip_prefix(TAG) else {
        host(name, at, spec, report);
        return Ok(HostId::new(name));
    };
    if !spec.hosts.values().any(|host| host.tags.contains(tag)) {
        let known: BTreeSet<&str> = spec.hosts.values().flat_map(|host| host.tags.iter().map(String::as_str)).collect();
        let help = suggest(tag, known, "no host has any tag; give one: tags = [\"ssd\"]");
        report.error(UNKNOWN_NAME, at, format!("no host has the tag `{tag}`")).help(help);
    }
    Err(tag.to_owned())
}

/// Hosts and tags of hosts in a list.
pub fn hosts_and_tags(items: &[Node], spec: &ClusterSpec, report: &mut Report) -> (Vec<HostId>, Vec<String>) {
    let (mut hosts, mut tags) = (vec![], vec![]);
    for item in items {
        match host_or_tag(item.text().unwrap_or_default(), &item.at, spec, report) {
            Ok(host) => hosts.push(host),
            Err(tag) => tags.push(tag),
        }
    }
    (hosts, tags)
}

/// The hosts meant by names and tags.
pub fn meant(hosts: &[HostId], tags: &[String], spec: &ClusterSpec) -> BTreeSet<HostId> {
    let tagged = spec.hosts.iter().filter(|(_, host)| tags.iter().any(|tag| host.tags.contains(tag)));
    hosts.iter().chain(tagged.map(|(host, _)| host)).cloned().collect()
}
