//! VMs: the list, and one in detail.

use super::{Cell, Look, Table, Tone, ago, ago_in_words};
use mainstay_engine::view::WorkloadView;
use mainstay_model::{Obstacle, ResourceKind, Span};

/// The list.
pub fn vms(vms: &[WorkloadView], look: &Look) -> String {
    let mut table = Table::new(["VM", "HEALTH", "HOST", "SINCE", "ANSWERS", "RECOVERY POINT", "DOING"]);
    for vm in vms {
        table.row([
            Cell::from(vm.workload.as_str()),
            health(vm),
            place(vm).into(),
            ago(look.now.since(vm.since)).into(),
            match vm.answers {
                Some(true) => "yes".into(),
                Some(false) => Cell::toned(Tone::Warn, "no"),
                None => Cell::default(),
            },
            point(vm, look),
            vm.doing.clone().unwrap_or_default().into(),
        ]);
    }
    table.render(look)
}

/// One VM with its evidence.
pub fn vm(vm: &WorkloadView, look: &Look) -> String {
    let name = look.paint(Tone::Strong, vm.workload.as_str());
    let place = vm.host.as_ref().map_or(String::new(), |host| format!(" on {host}"));
    let since = format!("since {} ({})", look.date(vm.since), ago(look.now.since(vm.since)));
    let mut text = format!("{name} is {}{place}, {since}\n", vm.health);
    for line in &vm.evidence {
        text.push_str(&format!("  · {}\n", look.wrap(line, 4)));
    }
    let mut table = Table::new(["", ""]);
    let mut line = |name: &'static str, value: String| table.row([Cell::toned(Tone::Dim, name), value.into()]);
    line("doing", vm.doing.clone().unwrap_or_else(|| "nothing".to_owned()));
    line("managed", if vm.managed { "yes" } else { "no: Mainstay only looks" }.to_owned());
    if let Some(bound) = &vm.bound {
        line("could start on", format!("no other host: {bound}"));
    }
    if !vm.lacks_on.is_empty() {
        let because = |obstacles: &[Obstacle]| obstacles.iter().map(Obstacle::to_string).collect::<Vec<_>>().join(", ");
        let hosts = vm.lacks_on.iter().map(|(host, obstacles)| format!("{host} ({})", because(obstacles)));
        line("can't start on", hosts.collect::<Vec<_>>().join("; "));
    }
    line("priority", vm.priority.to_string());
    let (memory, cpu) =
        (ResourceKind::Memory.amount(vm.needs.memory_mib), ResourceKind::Cpu.amount(vm.needs.cpu_centi));
    line("needs", format!("{memory}, {cpu}"));
    line(
        "protected",
        vm.protected_every.map_or("no".to_owned(), |every| format!("every {every}, {} points kept", vm.points)),
    );
    if let Some(last) = &vm.last_point {
        line("last point", format!("{}, {}", last.id, ago_in_words(look.now.since(last.taken_at))));
    }
    if let Some(incident) = vm.incident {
        line("incident", format!("{incident} (mainstay incidents show {incident})"));
    }
    text.push_str(&table.render(look));
    text
}

fn health(vm: &WorkloadView) -> Cell {
    let tone = match vm.health.as_str() {
        "running" => Tone::Good,
        "crashed" | "down" | "unresponsive" => Tone::Bad,
        _ => Tone::Warn,
    };
    Cell::toned(tone, if vm.managed { vm.health.clone() } else { format!("{} (watched only)", vm.health) })
}

/// Where it runs; with a question mark where it may run as far as anybody knows.
fn place(vm: &WorkloadView) -> String {
    match &vm.host {
        Some(host) => host.to_string(),
        None => vm.may_run_on.iter().map(|host| format!("{host}?")).collect::<Vec<_>>().join(" "),
    }
}

/// Age of the newest recovery point; loud when it is missing or older than twice its interval.
fn point(vm: &WorkloadView, look: &Look) -> Cell {
    let age = vm.last_point.as_ref().map(|last| look.now.since(last.taken_at));
    let overdue = vm.protected_every.is_some_and(|every| age.is_some_and(|age: Span| age > every.times(2)));
    match (age, vm.protected_every) {
        (Some(age), _) => Cell::toned(if overdue { Tone::Warn } else { Tone::Plain }, ago_in_words(age)),
        (None, Some(_)) => Cell::toned(Tone::Warn, "none yet"),
        (None, None) => Cell::default(),
    }
}
