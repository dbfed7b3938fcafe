//! Which workloads a rule speaks of, and where the rule was written.

use crate::WorkloadId;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, str::Chars};

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
        let name = workload.as_str();
        self.names.iter().any(|pattern| fits(pattern, name)) || self.tags.iter().any(|tag| tags.contains(tag))
    }
}

/// Shell-like match with `*` and `?`. Asked for each workload many times a step, so it allocates nothing: most patterns are a
/// star, or a name that differs from this one in its first letter.
fn fits(pattern: &str, text: &str) -> bool {
    let wild = |letter: &u8| matches!(letter, b'*' | b'?');
    match pattern.as_bytes() {
        [b'*'] => return true,
        [first, ..] if !wild(first) && text.as_bytes().first() != Some(first) => return false,
        _ => {}
    }
    match pattern.bytes().position(|letter| wild(&letter)) {
        None => pattern == text,
        Some(begin) => text.starts_with(&pattern[..begin]) && fits_from_wildcard(&pattern[begin..], &text[begin..]),
    }
}

/// Greedy, with one point of return.
fn fits_from_wildcard(pattern: &str, text: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    let mut star: Option<(Chars<'_>, Chars<'_>)> = None;
    loop {
        let here = text.clone();
        match (pattern.next(), text.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                star = Some((pattern.clone(), here.clone()));
                text = here;
            }
            (Some('?'), Some(_)) => {}
            (Some(wanted), Some(found)) if wanted == found => {}
            (Some(_), None) => return false,
            _ => {
                // The star takes one more.
                let Some((after, from)) = &mut star else { return false };
                from.next();
                (pattern, text) = (after.clone(), from.clone());
            }
        }
    }
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
            ("a*b*c", "aXbYbd", false),
            ("*é?", "café!", true),
            ("web-*?", "web-", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }
}
