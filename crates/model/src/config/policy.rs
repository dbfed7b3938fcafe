//! Reads `[[vm]]`, `[[recovery]]` and `[[protection]]`.

use super::address;
use super::format::ladder_step;
use super::names;
use super::problem::{CONTRADICTION, Report};
use super::rule::rule;
use super::table::{Node, Table, Value};
use crate::HostState;
use crate::spec::{
    Cause, ClusterSpec, Hooks, HostRule, Keep, Ladder, LadderStep, Probes, ProtectionPolicy, RecoveryPolicy, Strength,
    WorkloadPolicy,
};
use serde::de::{Deserialize, IntoDeserializer, value::Error};
use std::collections::BTreeMap;

/// The score of a host that is named without one.
const SCORE: i32 = 100;

/// Puts the policies into the spec.
pub fn read(document: &Table, spec: &mut ClusterSpec, report: &mut Report) {
    spec.workloads = document.tables("vm").map(|table| rule(table, workload(table, spec, report), report)).collect();
    spec.recovery = document.tables("recovery").map(|table| rule(table, recovery(table, report), report)).collect();
    spec.protection = document.tables("protection").map(|table| rule(table, protection(table), report)).collect();
}

fn workload(table: &Table, spec: &ClusterSpec, report: &mut Report) -> WorkloadPolicy {
    WorkloadPolicy {
        managed: table.choice("manage"),
        priority: table.whole("priority"),
        tags: table.texts("set_tags"),
        hosts: table.table("hosts").map(|hosts| host_rules(hosts, spec, report)).unwrap_or_default(),
        on_person_stop: table.choice("on_person_stop"),
        on_host_shutdown: table.choice("on_host_shutdown"),
        host_back_within: table.span("host_back_within"),
        fail_back: table.choice("fail_back"),
        memory_mib: table.memory("memory"),
        leave_behind: table.items("leave_behind").iter().filter_map(host_state).collect(),
        probes: table.table("probe").map(probes).unwrap_or_default(),
    }
}

fn host_rules(table: &Table, spec: &ClusterSpec, report: &mut Report) -> Vec<HostRule> {
    let mut rules = vec![];
    if let Some(node) = table.node("require") {
        let (hosts, host_tags) = names::hosts_and_tags(table.items("require"), spec, report);
        if node.is_empty_list() {
            report
                .error(CONTRADICTION, &node.at, "`require` names no host")
                .help("the VMs could run nowhere; name one, or leave the key out");
        }
        rules.push(HostRule { hosts, host_tags, strength: Strength::Required });
    }
    for (key, sign) in [("prefer", 1), ("avoid", -1)] {
        for entry in table.named(key) {
            let score = entry.node.whole().and_then(|score| i32::try_from(score).ok()).unwrap_or_default();
            let (hosts, host_tags) = match names::host_or_tag(&entry.name, &entry.at, spec, report) {
                Ok(host) => (vec![host], vec![]),
                Err(tag) => (vec![], vec![tag]),
            };
            rules.push(HostRule { hosts, host_tags, strength: Strength::Preferred(sign * score) });
        }
        if let Some(Node { value: Value::List(items), .. }) = table.node(key) {
            let (hosts, host_tags) = names::hosts_and_tags(items, spec, report);
            rules.push(HostRule { hosts, host_tags, strength: Strength::Preferred(sign * SCORE) });
        }
    }
    rules
}

/// `None`: the word is none of the type's, which was reported already.
fn host_state(node: &Node) -> Option<HostState> {
    let word: Result<HostState, Error> = HostState::deserialize(node.text()?.into_deserializer());
    word.ok()
}

fn probes(table: &Table) -> Probes {
    let port = |node: &Node| node.whole().and_then(|port| u16::try_from(port).ok());
    Probes {
        address: table.optional_text("address").map(|address| address::without_brackets(&address).to_owned()),
        ping: table.flag("ping"),
        agent: table.flag("agent"),
        tcp: table.items("tcp").iter().filter_map(port).collect(),
        http: table.texts("http"),
    }
}

fn recovery(table: &Table, report: &mut Report) -> RecoveryPolicy {
    let policy = RecoveryPolicy {
        ladder: ladder(table, "ladder", report),
        by_cause: table.table("on").map(|on| by_cause(on, report)).unwrap_or_default(),
        window: table.span("window"),
        backoff: table.span("backoff"),
        backoff_limit: table.span("backoff_limit"),
        hung_after: table.span("hung_after"),
        answer_within: table.span("answer_within"),
        stable_after: table.span("stable_after"),
        start_timeout: table.span("start_timeout"),
        stop_timeout: table.span("stop_timeout"),
    };
    if policy.backoff > policy.backoff_limit {
        let message =
            format!("`backoff` is {}, more than `backoff_limit`, which is {}", policy.backoff, policy.backoff_limit);
        let key = if table.is_default("backoff_limit") { "backoff" } else { "backoff_limit" };
        report
            .error(CONTRADICTION, &table.at(key), message)
            .help("the first wait is the shortest; swap the two, or raise the limit");
    }
    policy
}

/// The causes' names are those of their type.
fn by_cause(on: &Table, report: &mut Report) -> BTreeMap<Cause, Ladder> {
    let mut ladders = BTreeMap::new();
    for key in on.section.keys {
        let cause: Result<Cause, Error> = Cause::deserialize(key.name.into_deserializer());
        if on.node(key.name).is_some() {
            let cause = cause.expect("causes are described by the words of the type, see `every_cause_has_a_key`");
            ladders.insert(cause, ladder(on, key.name, report));
        }
    }
    ladders
}

fn ladder(table: &Table, key: &str, report: &mut Report) -> Ladder {
    let step = |node: &Node| match (node.text(), node.table()) {
        (Some(text), _) => ladder_step(text).ok(),
        (_, Some(table)) => {
            let rung = table.choice("rung");
            Some(LadderStep { rung, attempts: table.whole("attempts") })
        }
        _ => None,
    };
    if table.node(key).is_some_and(Node::is_empty_list) {
        report
            .error(CONTRADICTION, &table.at(key), format!("`{key}` has no rung"))
            .help("to do nothing but call a person, write [\"alarm\"]");
    }
    table.items(key).iter().filter_map(step).collect()
}

fn protection(table: &Table) -> ProtectionPolicy {
    ProtectionPolicy {
        every: table.span("every"),
        keep: table.table("keep").map(keep).unwrap_or_default(),
        kind: table.choice("kind"),
        freeze: table.flag("freeze"),
        timeout: table.span("timeout"),
        hooks: table.table("hooks").map(hooks).unwrap_or_default(),
        keep_broken: table.flag("keep_broken"),
    }
}

fn keep(table: &Table) -> Keep {
    Keep {
        last: table.whole("last"),
        hourly: table.whole("hourly"),
        daily: table.whole("daily"),
        weekly: table.whole("weekly"),
    }
}

fn hooks(table: &Table) -> Hooks {
    Hooks { before: table.texts("before"), after: table.texts("after") }
}
