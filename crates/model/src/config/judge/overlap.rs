//! What can be said of selectors without knowing the workloads: that one covers another, or that two surely share some.

use crate::WorkloadId;
use crate::spec::Selector;
use std::collections::BTreeSet;

/// True if `general` surely matches every name that `special` matches. (A false answer proves nothing.)
pub fn covers(general: &str, special: &str) -> bool {
    // Most are plain names, or all.
    if general == "*" || !general.contains(['*', '?']) {
        return general == "*" || general == special;
    }
    let (general, special): (Vec<char>, Vec<char>) = (general.chars().collect(), special.chars().collect());
    // reached[g]: general[..g] covers what was read of special so far
    let mut reached = vec![false; general.len() + 1];
    reached[0] = true;
    let skip_stars = |reached: &mut Vec<bool>| {
        for g in 0..general.len() {
            reached[g + 1] |= reached[g] && general[g] == '*';
        }
    };
    skip_stars(&mut reached);
    for c in &special {
        let mut next = vec![false; general.len() + 1];
        for g in 0..general.len() {
            next[g + 1] = reached[g] && (general[g] == *c || (general[g] == '?' && *c != '*'));
            next[g] |= reached[g] && general[g] == '*';
        }
        reached = next;
        skip_stars(&mut reached);
    }
    reached[general.len()]
}

/// True if every workload that `special` chooses is surely chosen by one of `general`.
pub fn covered<'a>(special: &Selector, general: impl Iterator<Item = &'a Selector> + Clone) -> bool {
    let all = || general.clone().flat_map(|selector| &selector.names).any(|name| covers(name, "*"));
    let name_covered = |name: &String| general.clone().flat_map(|s| &s.names).any(|pattern| covers(pattern, name));
    let tag_covered = |tag: &String| all() || general.clone().any(|selector| selector.tags.contains(tag));
    special.names.iter().all(name_covered) && special.tags.iter().all(tag_covered)
}

/// What workloads two selectors surely share, provided that each pattern and tag matches any at all.
pub fn shared(a: &Selector, b: &Selector) -> BTreeSet<String> {
    let names = a.names.iter().flat_map(|x| b.names.iter().map(move |y| (x, y)));
    let narrower = names.filter_map(|(x, y)| match (covers(x, y), covers(y, x)) {
        (true, _) => Some(y.clone()),
        (_, true) => Some(x.clone()),
        _ => None,
    });
    let tags = |one: &Selector, other: &Selector| -> Vec<String> {
        let all = other.names.iter().any(|name| covers(name, "*"));
        one.tags.iter().filter(|tag| all || other.tags.contains(tag)).map(|tag| format!("tag:{tag}")).collect()
    };
    narrower.chain(tags(a, b)).chain(tags(b, a)).collect()
}

/// True if the pattern is a plain name.
pub fn is_name(pattern: &str) -> bool {
    !pattern.contains(['*', '?']) && !pattern.starts_with("tag:")
}

/// The workloads a selector names in full.
pub fn named(selector: &Selector) -> BTreeSet<WorkloadId> {
    selector.names.iter().filter(|name| is_name(name)).map(WorkloadId::new).collect()
}

/// Whom a selector speaks of, in words.
pub fn whom(selector: &Selector) -> String {
    let names = selector.names.iter().map(|name| format!("`{name}`"));
    let tags = selector.tags.iter().map(|tag| format!("`tag:{tag}`"));
    names.chain(tags).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_what_it_surely_matches() {
        for (general, special, expected) in [
            ("*", "*", true),
            ("*", "web-*", true),
            ("web-*", "web-1", true),
            ("web-*", "web-1*", true),
            ("web-1", "web-*", false),
            ("web-?", "web-*", false),
            ("web-?", "web-?", true),
            ("web-*", "*", false),
            ("*-db", "web-*", false),
            ("*-db", "web-*-db", true),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(covers(general, special), expected, "{general} {special}");
        }
    }
}
