//! Configurations that a script reloads: a file of its folder, or the one of `setup.toml` with a change.

use super::{ScenarioError, cluster};
use crate::deed::Reload;
use mainstay_model::spec::ClusterSpec;
use std::sync::Arc;
use toml::{Table, Value};

/// The configuration of `setup.toml` (that half of it), changed.
pub(super) fn changed(file: &str, setup: &str, reload: &Reload) -> Result<Arc<ClusterSpec>, ScenarioError> {
    let wrong =
        |what: String| ScenarioError::Setup { file: file.to_owned(), what: format!("`reload {reload}`: {what}") };
    let mut table: Table = toml::from_str(setup).map_err(|error| wrong(error.to_string()))?;
    match reload {
        Reload::File(_) | Reload::Refused => {}
        Reload::With(change) => {
            merge(&mut table, toml::from_str(change).map_err(|error| wrong(error.to_string()))?);
        }
        Reload::Without(path) => {
            remove(&mut table, path).ok_or_else(|| wrong(format!("there is no `{path}` in the setup")))?;
        }
    }
    let text = toml::to_string(&table).map_err(|error| wrong(error.to_string()))?;
    cluster(file, &text).map_err(|error| wrong(error.to_string()))
}

/// Tables are merged key by key. Of a list of tables, one that `match`es the same is merged; another is put before the rest,
/// as the first rule that fits counts. Everything else is replaced.
fn merge(table: &mut Table, change: Table) {
    for (key, new) in change {
        match (table.get_mut(&key), new) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (Some(Value::Array(old)), Value::Array(new)) if new.iter().all(Value::is_table) => {
                for entry in new.into_iter().rev() {
                    merge_rule(old, entry);
                }
            }
            (_, new) => drop(table.insert(key, new)),
        }
    }
}

fn merge_rule(rules: &mut Vec<Value>, rule: Value) {
    let same = |old: &&mut Value| rule.get("match").is_some() && old.get("match") == rule.get("match");
    match (rules.iter_mut().find(same), rule) {
        (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
        (_, rule) => rules.insert(0, rule),
    }
}

fn remove(table: &mut Table, path: &str) -> Option<Value> {
    match path.split_once('.') {
        None => table.remove(path),
        Some((first, rest)) => remove(table.get_mut(first)?.as_table_mut()?, rest),
    }
}
