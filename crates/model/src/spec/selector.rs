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
        self.names.iter().any(|pattern| fits(pattern, workload.as_str()))
            || self.tags.iter().any(|tag| tags.contains(tag))
    }
}

/// Shell-like match with `*` and `?`. Asked for each workload many times a step, so it allocates nothing, and looks once at
/// the letters before the first wildcard: most patterns are a star or a name.
fn fits(pattern: &str, text: &str) -> bool {
    let same = |(wanted, found): &(u8, u8)| wanted == found && !matches!(wanted, b'*' | b'?');
    let literal = pattern.bytes().zip(text.bytes()).take_while(same).count();
    match pattern.as_bytes().get(literal) {
        None => text.len() == literal,
        Some(b'*' | b'?') => fits_from_wildcard(&pattern[literal..], &text[literal..]),
        Some(_) => false,
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
