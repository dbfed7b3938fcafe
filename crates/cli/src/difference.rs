//! The difference between two configurations, as lines for people.

use serde_json::Value;
use std::collections::BTreeSet;

/// Where something is written is no part of what it says.
const ASIDE: &str = "origin";
/// A secret of the running controller is not known here, so it can't be compared.
const HIDDEN: &str = "***";

/// What differs, a line each: `detection.heartbeat_every: 1000 → 2000`.
pub fn difference(old: &Value, new: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", old, new, &mut lines);
    lines
}

fn compare(path: &str, old: &Value, new: &Value, lines: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(before), Value::Object(after)) => {
            let keys: BTreeSet<&String> = before.keys().chain(after.keys()).filter(|key| *key != ASIDE).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare_entry(&path, before.get(key), after.get(key), lines);
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            for index in 0..before.len().max(after.len()) {
                compare_entry(&format!("{path}[{}]", index + 1), before.get(index), after.get(index), lines);
            }
        }
        (Value::String(hidden), _) if hidden == HIDDEN => {}
        _ if old != new => lines.push(format!("{path}: {old} → {new}")),
        _ => {}
    }
}

fn compare_entry(path: &str, old: Option<&Value>, new: Option<&Value>, lines: &mut Vec<String>) {
    match (old, new) {
        (Some(old), Some(new)) => compare(path, old, new, lines),
        (None, Some(_)) => lines.push(format!("{path}: added")),
        (Some(_), None) => lines.push(format!("{path}: removed")),
        (None, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_differs_is_said_and_where_it_stands_is_not() {
        let old =
            json!({ "a": { "x": 1, "origin": { "line": 3 } }, "b": [1, { "y": 2 }], "gone": {}, "password": "***" });
        let new =
            json!({ "a": { "x": 2, "origin": { "line": 9 } }, "b": [1, { "y": 3 }, 4], "new": null, "password": "p" });
        let lines = difference(&old, &new);
        assert_eq!(lines, ["a.x: 1 → 2", "b[2].y: 2 → 3", "b[3]: added", "gone: removed", "new: added"]);
        assert_eq!(difference(&old, &old), [""; 0]);
    }
}
