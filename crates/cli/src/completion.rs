//! Live names for the shell's completion, asked from the controller. A shell must not hang: whatever takes longer than
//! a moment completes nothing.

use crate::{
    arguments::SOCKET,
    client::{Client, segment},
    pages,
};
use clap_complete::CompletionCandidate;
use mainstay_engine::view::ClusterView;
use mainstay_model::{Incident, RecoveryPoint};
use serde::de::DeserializeOwned;
use std::{ffi::OsStr, time::Duration};

/// Shorter than what a person notices as waiting.
const WITHIN: Duration = Duration::from_millis(400);

/// Hosts.
pub fn hosts(start: &OsStr) -> Vec<CompletionCandidate> {
    let hosts = ask::<ClusterView>("/v1/cluster").map(|view| view.hosts).unwrap_or_default();
    candidates(start, hosts.into_iter().map(|host| (host.host.to_string(), host.health)))
}

/// VMs.
pub fn vms(start: &OsStr) -> Vec<CompletionCandidate> {
    let vms = ask::<ClusterView>("/v1/cluster").map(|view| view.workloads).unwrap_or_default();
    candidates(start, vms.into_iter().map(|vm| (vm.workload.to_string(), vm.health)))
}

/// The recovery points of the VM that was typed before.
pub fn points(start: &OsStr) -> Vec<CompletionCandidate> {
    let Some(vm) = vm_typed(std::env::args()) else { return Vec::new() };
    let points = ask::<Vec<RecoveryPoint>>(&format!("/v1/vms/{}/points", segment(&vm))).unwrap_or_default();
    candidates(
        start,
        points.into_iter().rev().map(|point| (point.id.to_string(), format!("{:?}", point.state).to_lowercase())),
    )
}

/// The VM in `mainstay snapshot revert web-1 …`, among the words that the shell passes on.
fn vm_typed(words: impl Iterator<Item = String>) -> Option<String> {
    let mut words = words.skip_while(|word| word != "revert" && word != "delete").skip(1);
    words.find(|word| !word.starts_with('-'))
}

/// Hosts and VMs.
pub fn subjects(start: &OsStr) -> Vec<CompletionCandidate> {
    hosts(start).into_iter().chain(vms(start)).collect()
}

/// Whatever `explain` knows: hosts, VMs, codes.
pub fn explainable(start: &OsStr) -> Vec<CompletionCandidate> {
    subjects(start).into_iter().chain(codes(start)).collect()
}

/// Incidents, by number.
pub fn incidents(start: &OsStr) -> Vec<CompletionCandidate> {
    let incidents = ask::<Vec<Incident>>("/v1/incidents").unwrap_or_default();
    candidates(start, incidents.into_iter().map(|incident| (incident.id.to_string(), incident.subject.to_string())))
}

/// Codes with a page.
pub fn codes(start: &OsStr) -> Vec<CompletionCandidate> {
    candidates(start, pages::codes().map(|code| (code.to_owned(), pages::title(code).to_owned())))
}

fn candidates(start: &OsStr, found: impl IntoIterator<Item = (String, String)>) -> Vec<CompletionCandidate> {
    let start = start.to_string_lossy();
    let fitting = found.into_iter().filter(|(name, _)| name.starts_with(&*start));
    fitting.map(|(name, help)| CompletionCandidate::new(name).help(Some(help.into()))).collect()
}

fn ask<T: DeserializeOwned>(path: &str) -> Option<T> {
    let socket = std::env::var_os("MAINSTAY_SOCKET").unwrap_or_else(|| SOCKET.into());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let client = Client::at_socket(socket);
    let answer = runtime.block_on(async { tokio::time::timeout(WITHIN, client.get::<T>(path)).await });
    answer.ok()?.ok().map(|envelope| envelope.data)
}
