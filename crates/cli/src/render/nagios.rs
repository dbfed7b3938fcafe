//! The verdict as a Nagios plugin says it: one line, figures behind a bar, an exit code of its own.

use crate::failure::{Exit, Failure};
use mainstay_engine::view::{ClusterView, WorkloadView};
use mainstay_model::Severity;

/// The line and the exit code. Their numbers are Nagios' here: 0 OK, 1 WARNING, 2 CRITICAL.
pub fn nagios(view: &ClusterView) -> (String, Exit) {
    let (word, exit) = match view.verdict.severity {
        Severity::Green => ("OK", Exit::Done),
        Severity::Yellow => ("WARNING", Exit::Failed),
        Severity::Red => ("CRITICAL", Exit::Usage),
    };
    let alarms = |severity| view.alarms.iter().filter(|alarm| alarm.severity == severity).count();
    let runs = |vm: &&WorkloadView| vm.health == "running" && vm.answers != Some(false);
    let figures = [
        ("hosts", view.hosts.len()),
        ("hosts_in_service", view.hosts.iter().filter(|host| host.in_service).count()),
        ("vms", view.workloads.len()),
        ("vms_well", view.workloads.iter().filter(runs).count()),
        ("alarms_red", alarms(Severity::Red)),
        ("alarms_yellow", alarms(Severity::Yellow)),
        ("incidents", view.incidents.len()),
    ];
    let figures: Vec<String> = figures.iter().map(|(name, count)| format!("{name}={count}")).collect();
    (format!("MAINSTAY {word} - {} | {}\n", plain(&view.verdict.text), figures.join(" ")), exit)
}

/// What is said if nothing is known: 3 UNKNOWN.
pub fn nagios_unknown(failure: &Failure) -> (String, Exit) {
    (format!("MAINSTAY UNKNOWN - {}\n", plain(&failure.to_string())), Exit::Degraded)
}

/// In one line, without the bar that begins the figures.
fn plain(text: &str) -> String {
    text.replace(['|', '\n', '\r'], " ")
}
