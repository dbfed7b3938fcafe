//! Which workloads a rule speaks of, and where the rule was written.

use crate::WorkloadId;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

/// Where a rule stands in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// File as the user named it; empty for a built-in default.
    pub file: String,
    /// Line, from 1; 0 for a built-in default.
    pub line: u32,
    /// The key or table, such as `vm.web`.
    pub key: String,
}

impl Origin {
    /// The origin of a built-in default.
    pub fn default_of(key: &str) -> Origin {
        Origin { file: String::new(), line: 0, key: key.to_owned() }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "the built-in default of `{}`", self.key)
        } else {
            write!(f, "{}:{} `{}`", self.file, self.line, self.key)
        }
    }
}

/// Chooses workloads by name pattern (`*` and `?`) or tag. Empty chooses nothing; `*` chooses all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    /// Name patterns; one match is enough.
    pub names: Vec<String>,
    /// Tags; one match is enough.
    pub tags: Vec<String>,
}

impl Selector {
    /// All workloads.
    pub fn all() -> Selector {
        Selector { names: vec!["*".to_owned()], tags: vec![] }
    }
    /// Workloads whose name fits the pattern.
    pub fn name(pattern: &str) -> Selector {
        Selector { names: vec![pattern.to_owned()], tags: vec![] }
    }
    /// True if the workload is meant.
    pub fn chooses(&self, workload: &WorkloadId, tags: &BTreeSet<String>) -> bool {
        self.names.iter().any(|pattern| fits(pattern, workload.as_str()))
            || self.tags.iter().any(|tag| tags.contains(tag))
    }
}

/// Shell-like match with `*` and `?` in linear time (greedy with one point of return).
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((star_p, star_t)) = star {
            star = Some((star_p, star_t + 1));
            p = star_p + 1;
            t = star_t + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// A policy, for whom, and where it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule<T> {
    /// For whom.
    pub selector: Selector,
    /// What.
    pub policy: T,
    /// Where it says so.
    pub origin: Origin,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, text, expected) in [
            ("*", "anything", true),
            ("web-*", "web-1", true),
            ("web-*", "db-1", false),
            ("web-?", "web-12", false),
            ("*-1", "web-1-1", true),
            ("a*b*c", "aXbYbc", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }
}
