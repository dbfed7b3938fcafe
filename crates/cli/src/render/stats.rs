//! What people look for in a VM.

use super::{Cell, Look, Table, Tone, ago, ago_in_words, rate};
use mainstay_daemon::WorkloadStats;

/// One VM, a line for each thing.
pub fn stats(stats: &WorkloadStats, look: &Look) -> String {
    let mut table = Table::new(["", ""]);
    let mut line = |name: &'static str, value: String| {
        if !value.is_empty() {
            table.row([Cell::toned(Tone::Dim, name), value.into()]);
        }
    };
    line("guest system", stats.guest_system.clone().unwrap_or_default());
    line("power", stats.state.clone());
    line("since", format!("{} ({})", look.date(stats.since), ago(look.now.since(stats.since))));
    line("host", stats.host.to_string());
    line("address", stats.addresses.join(", "));
    line("guest agent", stats.agent.map_or("", |answers| if answers { "answers" } else { "silent" }).to_owned());
    let used = stats.memory_used_mib.map_or(String::new(), |used| format!(", {used} MiB taken on its host"));
    line("memory", format!("{} MiB{used}", stats.memory_mib));
    let load = stats.cpu_percent.map_or(String::new(), |percent| format!(", {percent:.0} % of one"));
    line("cpu", format!("{} vCPU{load}", stats.vcpus));
    if let Some(rates) = stats.rates {
        line("disk", format!("{} read, {} written", rate(rates.disk_read), rate(rates.disk_written)));
        line("network", format!("{} received, {} sent", rate(rates.net_received), rate(rates.net_sent)));
    }
    line("snapshots", stats.snapshots.join(", "));
    let age = format!("seen {}", ago_in_words(stats.age));
    let name = look.paint(Tone::Strong, stats.workload.as_str());
    format!("{name} {}\n{}", look.paint(Tone::Dim, &age), table.render(look))
}
