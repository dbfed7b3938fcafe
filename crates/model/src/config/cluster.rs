//! Reads `[cluster]`, `[detection]`, `[limits]` and `[controller]`.

use super::problem::{CONTRADICTION, Report};
use super::table::Table;
use crate::Span;
use crate::spec::{ClusterSpec, Detection, Limits};
use serde::Serialize;

/// How the controller process runs: nothing of this concerns the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ControllerConfig {
    /// Where it keeps what it remembers.
    pub state_directory: String,
    /// UNIX socket of the API.
    pub api_socket: String,
    /// Address and port on which the API is also served over TCP.
    pub api_listen: Option<String>,
    /// File with the token that clients over TCP must send; there whenever `api_listen` is.
    pub api_token_file: Option<String>,
    /// What is logged, as `tracing` filters are written.
    pub log: String,
    /// How long events and closed incidents are kept.
    pub keep_history: Span,
}

/// Puts name, detection and limits into the spec; returns the rest.
pub fn read(document: &Table, spec: &mut ClusterSpec, report: &mut Report) -> ControllerConfig {
    if let Some(cluster) = document.table("cluster") {
        spec.name = cluster.text("name").to_owned();
    }
    if let Some(table) = document.table("detection") {
        spec.detection = detection(table, report);
    }
    if let Some(table) = document.table("limits") {
        spec.limits = limits(table);
    }
    document.table("controller").map(|table| controller(table, report)).expect("`controller` has a default")
}

fn detection(table: &Table, report: &mut Report) -> Detection {
    let detection = Detection {
        heartbeat_every: table.span("heartbeat_every"),
        host_lost_after: table.span("host_lost_after"),
        host_lost_floor: table.span("host_lost_floor"),
        phi_centi: table.hundredths("phi"),
        host_hung_after: table.span("host_hung_after"),
        management_fault_after: table.span("management_fault_after"),
        cut_off_percent: table.whole("cut_off_percent"),
        host_stable_for: table.span("host_stable_for"),
    };
    let mut in_order = |less: &str, more: &str, why: &str| {
        let (low, high) = (table.span(less), table.span(more));
        if low > high {
            let (key, other) = if table.is_default(more) { (less, more) } else { (more, less) };
            let message = format!("`{less}` is {low}, more than `{more}`, which is {high}");
            let problem = report.error(CONTRADICTION, &table.at(key), message);
            problem.help(why);
            if !table.is_default(other) {
                problem.also(&table.at(other), "against this");
            }
        }
    };
    in_order(
        "host_lost_floor",
        "host_lost_after",
        "the floor is the least silence that may count as loss, the bound the most",
    );
    in_order("heartbeat_every", "host_lost_floor", "a host would count as lost between two heartbeats");
    detection
}

fn limits(table: &Table) -> Limits {
    Limits {
        starts_per_host: table.whole("starts_per_host"),
        migrations_per_host: table.whole("migrations_per_host"),
        points_per_host: table.whole("points_per_host"),
        points_per_datastore: table.whole("points_per_datastore"),
        fencings: table.whole("fencings"),
    }
}

fn controller(table: &Table, report: &mut Report) -> ControllerConfig {
    let controller = ControllerConfig {
        state_directory: table.text("state_directory").to_owned(),
        api_socket: table.text("api_socket").to_owned(),
        api_listen: table.optional_text("api_listen"),
        api_token_file: table.optional_text("api_token_file"),
        log: table.text("log").to_owned(),
        keep_history: table.span("keep_history"),
    };
    if controller.api_listen.is_some() && table.node("api_token_file").is_none() {
        report
            .error(CONTRADICTION, &table.at("api_listen"), "`api_listen` is given without `api_token_file`")
            .help("over TCP, anybody could stop VMs; name a file with a token, or leave out `api_listen`");
    }
    controller
}
