//! Reads `[cluster]`, `[detection]`, `[limits]` and `[controller]`.

use super::problem::{CONTRADICTION, Report};
use super::table::Table;
use crate::spec::{ClusterSpec, Detection, Limits};
use crate::{Role, Span};
use serde::Serialize;
use std::{collections::BTreeMap, net::SocketAddr, path::Path};

/// How the controller process runs: nothing of this concerns the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ControllerConfig {
    /// Where it keeps what it remembers.
    pub state_directory: String,
    /// File on another machine's storage that says how far the memory has come.
    pub witness_file: Option<String>,
    /// UNIX socket of the API.
    pub api_socket: String,
    /// Address and port on which the API is also served over TCP.
    pub api_listen: Option<String>,
    /// Tokens that clients over TCP send, by name; at least one whenever `api_listen` is there.
    pub api_tokens: BTreeMap<String, TokenConfig>,
    /// File with the certificate for TLS; there if the API is served beyond this machine.
    pub api_certificate_file: Option<String>,
    /// File with its key; there whenever the certificate is.
    pub api_key_file: Option<String>,
    /// What is logged, as `tracing` filters are written.
    pub log: String,
    /// How long events and closed incidents are kept.
    pub keep_history: Span,
}

/// A token of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TokenConfig {
    /// The file that holds it.
    pub file: String,
    /// What its holder may do.
    pub role: Role,
}

/// The name of the token in `api_token_file`.
const PLAIN_TOKEN: &str = "api_token_file";

/// Puts name, detection and limits into the spec; returns the rest.
pub fn read(document: &Table, spec: &mut ClusterSpec, report: &mut Report) -> ControllerConfig {
    if let Some(cluster) = document.table("cluster") {
        spec.name = cluster.text("name").to_owned();
        spec.guest_networks =
            cluster.items("guest_networks").iter().filter_map(|item| item.text()?.parse().ok()).collect();
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
        witness_file: table.optional_text("witness_file"),
        api_socket: table.text("api_socket").to_owned(),
        api_listen: table.optional_text("api_listen"),
        api_tokens: tokens(table),
        api_certificate_file: table.optional_text("api_certificate_file"),
        api_key_file: table.optional_text("api_key_file"),
        log: table.text("log").to_owned(),
        keep_history: table.span("keep_history"),
    };
    if controller.witness_file.as_ref().is_some_and(|file| Path::new(file).starts_with(&controller.state_directory)) {
        report
            .error(CONTRADICTION, &table.at("witness_file"), "the witness lies in the state directory")
            .help("it would be put back with what it is to witness for; name a file on another machine's storage");
    }
    let (certificate, key) = (table.node("api_certificate_file"), table.node("api_key_file"));
    if certificate.is_some() != key.is_some() {
        let (there, missing) = match certificate.is_some() {
            true => ("api_certificate_file", "api_key_file"),
            false => ("api_key_file", "api_certificate_file"),
        };
        report
            .error(CONTRADICTION, &table.at(there), format!("`{there}` is given without `{missing}`"))
            .help("a certificate and its key belong together");
    }
    let Some(listen) = &controller.api_listen else { return controller };
    if table.node("api_token_file").is_none() && table.named("token").is_empty() {
        report
            .error(CONTRADICTION, &table.at("api_listen"), "`api_listen` is given without `api_token_file`")
            .help("over TCP, anybody could stop VMs; name a file with a token, or leave out `api_listen`");
    }
    let beyond = listen.parse::<SocketAddr>().is_ok_and(|address| !address.ip().to_canonical().is_loopback());
    if beyond && certificate.is_none() && key.is_none() {
        report
            .error(CONTRADICTION, &table.at("api_listen"), "beyond this machine the API is not served in clear")
            .help(
                "who reads along has the token; name `api_certificate_file` and `api_key_file`, or listen on 127.0.0.1",
            );
    }
    controller
}

fn tokens(table: &Table) -> BTreeMap<String, TokenConfig> {
    let plain = table.optional_text("api_token_file").map(|file| {
        let token = TokenConfig { file, role: Role::Administer };
        (PLAIN_TOKEN.to_owned(), token)
    });
    let named = table.named("token").iter().filter_map(|entry| {
        let token = entry.node.table()?;
        Some((entry.name.clone(), TokenConfig { file: token.text("file").to_owned(), role: token.choice("role") }))
    });
    plain.into_iter().chain(named).collect()
}
