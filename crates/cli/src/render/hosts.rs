//! Hosts: the list, and one in detail.

use super::{Cell, Look, Table, Tone, ago, ago_in_words};
use mainstay_daemon::DeviceAnswer;
use mainstay_engine::view::HostView;
use mainstay_model::{HostId, ResourceKind};

/// The list.
pub fn hosts(hosts: &[HostView], look: &Look) -> String {
    let several_sites = hosts.windows(2).any(|pair| pair[0].site != pair[1].site);
    let mut table = Table::new(["HOST", "SITE", "HEALTH", "SINCE", "MEMORY", "CPU", "VMS", "FENCE", "DOING"]);
    for host in hosts {
        table.row([
            Cell::from(host.host.as_str()),
            if several_sites { host.site.as_str() } else { "" }.into(),
            health(host),
            ago(look.now.since(host.since)).into(),
            used(host, ResourceKind::Memory).into(),
            used(host, ResourceKind::Cpu).into(),
            host.workloads.len().to_string().into(),
            fence(host),
            host.doing.clone().unwrap_or_default().into(),
        ]);
    }
    table.render(look)
}

/// One host with its evidence.
pub fn host(host: &HostView, look: &Look) -> String {
    let mut text = format!("{} is {}", look.paint(Tone::Strong, host.host.as_str()), health_words(host));
    text.push_str(&format!(", since {} ({})\n", look.date(host.since), ago(look.now.since(host.since))));
    for line in &host.evidence {
        text.push_str(&format!("  · {}\n", look.wrap(line, 4)));
    }
    let mut table = Table::new(["", ""]);
    let mut line = |name: &'static str, value: String| table.row([Cell::toned(Tone::Dim, name), value.into()]);
    line("doing", host.doing.clone().unwrap_or_else(|| "nothing".to_owned()));
    line("site", host.site.to_string());
    line("memory", used(host, ResourceKind::Memory));
    line("cpu", used(host, ResourceKind::Cpu));
    line(
        "fencing",
        if host.fenceable { "by its devices" } else { "none: a person has to confirm that it is off" }.to_owned(),
    );
    for device in &host.fence {
        let name = format!("{} (level {})", device.device, device.level);
        let said = match (&device.error, device.answered) {
            (Some(error), _) => error.clone(),
            (None, Some(at)) => format!("answered {}", ago_in_words(look.now.since(at))),
            (None, None) => "not asked yet".to_owned(),
        };
        line("", format!("{name}: {said}"));
    }
    line("heard", host.heard.map_or("never".to_owned(), |heard| ago_in_words(look.now.since(heard))));
    let names: Vec<_> = host.workloads.iter().map(|vm| vm.as_str()).collect();
    line("VMs", if names.is_empty() { "none".to_owned() } else { names.join(", ") });
    text.push_str(&table.render(look));
    text
}

/// What a host's fence devices answered to a question that switches nothing.
pub fn devices(host: &HostId, answers: &[DeviceAnswer], look: &Look) -> String {
    let mut table = Table::new(["DEVICE", "LEVEL", "AGENT", "TOOK", "ANSWER"]);
    for answer in answers {
        let said = match (&answer.state, &answer.error) {
            (Some(state), _) if state == "on" => Cell::toned(Tone::Good, format!("{host} has power")),
            (Some(_), _) => Cell::toned(Tone::Bad, format!("{host} has no power: is it asked about the right one?")),
            (None, error) => Cell::toned(Tone::Bad, error.clone().unwrap_or_default()),
        };
        let took = format!("{:.1} s", answer.took_ms as f64 / 1_000.0);
        table.row([
            answer.device.as_str().into(),
            answer.level.to_string().into(),
            answer.agent.clone().into(),
            took.into(),
            said,
        ]);
    }
    table.render(look)
}

/// Nothing if all is well with its fence devices.
fn fence(host: &HostView) -> Cell {
    let broken = host.fence.iter().filter(|device| device.error.is_some()).count();
    match host.fenceable {
        false => Cell::toned(Tone::Warn, "none"),
        true if broken == 0 => Cell::default(),
        true if broken == host.fence.len() => Cell::toned(Tone::Bad, "broken"),
        true => Cell::toned(Tone::Warn, "partly"),
    }
}

fn health(host: &HostView) -> Cell {
    let tone = match host.health.as_str() {
        "online" => Tone::Good,
        "lost" | "fencing" | "fenced" => Tone::Bad,
        _ => Tone::Warn,
    };
    Cell::toned(tone, health_words(host))
}

fn health_words(host: &HostView) -> String {
    if host.spare { format!("{} (spare)", host.health) } else { host.health.clone() }
}

fn used(host: &HostView, kind: ResourceKind) -> String {
    let (used, all, one, unit) = match kind {
        ResourceKind::Memory if host.capacity.memory_mib < 1_024 => {
            (host.used.memory_mib, host.capacity.memory_mib, 1, " MiB")
        }
        ResourceKind::Memory => (host.used.memory_mib, host.capacity.memory_mib, 1_024, " GiB"),
        ResourceKind::Cpu => (host.used.cpu_centi, host.capacity.cpu_centi, 100, ""),
    };
    let short = |amount: u64| match amount.is_multiple_of(one) {
        true => (amount / one).to_string(),
        false => format!("{:.1}", amount as f64 / one as f64),
    };
    if all == 0 { String::new() } else { format!("{} of {}{unit}", short(used), short(all)) }
}
