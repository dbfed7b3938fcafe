//! Reads whom a rule speaks of; `[[together]]`, `[[apart]]`, `[[order]]` and `[[maintenance_window]]`.

use super::format::minute_of_day;
use super::keys::DAYS;
use super::names;
use super::problem::{MISSING_KEY, Report, WRONG_VALUE};
use super::table::{Node, Table};
use crate::spec::{Apart, ClusterSpec, MaintenanceWindow, Order, Rule, Selector, Strength, Together};

/// The score of a wish without one.
const PREFERRED: i32 = 100;

/// Puts constraints and maintenance windows into the spec.
pub fn read(document: &Table, spec: &mut ClusterSpec, report: &mut Report) {
    let strong = |key| document.tables(key).map(|table| (table, strength(table)));
    spec.together = strong("together").map(|(table, strength)| rule(table, Together { strength }, report)).collect();
    spec.apart = strong("apart").map(|(table, strength)| rule(table, Apart { strength }, report)).collect();
    spec.order = document.tables("order").map(|table| rule(table, order(table, report), report)).collect();
    spec.maintenance_windows = document.tables("maintenance_window").map(|table| window(table, spec, report)).collect();
}

/// A policy with whom it is for and where it stands.
pub fn rule<T>(table: &Table, policy: T, report: &mut Report) -> Rule<T> {
    let selector = selector(table, "match", "tags", report);
    let whom = match (&selector.names[..], &selector.tags[..]) {
        ([], []) => String::new(),
        ([], tags) => format!(" tags = {tags:?}"),
        ([name], _) => format!(" match = {name:?}"),
        (names, _) => format!(" match = {names:?}"),
    };
    let origin = report.origin(&table.at, format!("{}{whom}", table.section.header));
    Rule { selector, policy, origin }
}

fn selector(table: &Table, name_key: &str, tag_key: &str, report: &mut Report) -> Selector {
    if table.node(name_key).is_none() && table.node(tag_key).is_none() {
        report
            .error(MISSING_KEY, &table.at, format!("`{}` needs `{name_key}` or `{tag_key}`", table.section.header))
            .help(format!("write for example {name_key} = \"web-*\", or {tag_key} = [\"database\"]"));
    }
    for key in [name_key, tag_key] {
        if table.node(key).is_some_and(Node::is_empty_list) {
            report.error(WRONG_VALUE, &table.at(key), format!("`{key}` is an empty list: it chooses nothing"));
        }
    }
    Selector { names: table.texts(name_key), tags: table.texts(tag_key) }
}

fn strength(table: &Table) -> Strength {
    match table.node("strength").map(|node| (node.text(), node.whole())) {
        Some((Some("preferred"), _)) => Strength::Preferred(PREFERRED),
        Some((_, Some(score))) => Strength::Preferred(i32::try_from(score).unwrap_or(i32::MAX)),
        _ => Strength::Required,
    }
}

fn order(table: &Table, report: &mut Report) -> Order {
    Order { after: selector(table, "after", "after_tags", report), strength: strength(table) }
}

fn window(table: &Table, spec: &ClusterSpec, report: &mut Report) -> MaintenanceWindow {
    let (hosts, tags) = names::hosts_and_tags(table.items("hosts"), spec, report);
    if table.node("hosts").is_some_and(Node::is_empty_list) {
        report.error(WRONG_VALUE, &table.at("hosts"), "`hosts` is an empty list: nobody is in maintenance");
    }
    let number = |day: &Node| DAYS.iter().position(|name| Some(*name) == day.text()).map(|index| index as u8);
    MaintenanceWindow {
        hosts: names::meant(&hosts, &tags, spec).into_iter().collect(),
        days: table.items("days").iter().filter_map(number).collect(),
        from_minute: minute_of_day(table.text("from")).unwrap_or_default(),
        lasts: table.span("lasts"),
        origin: report.origin(&table.at, table.section.header),
    }
}
