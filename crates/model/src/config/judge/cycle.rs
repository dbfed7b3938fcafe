//! Order rules by which workloads would wait for themselves.

use super::overlap::{shared, whom};
use crate::config::problem::{CYCLE, Report};
use crate::spec::{ClusterSpec, Order, Rule, Strength};
use std::collections::{BTreeMap, VecDeque};

/// Rule b follows rule a if some of those that a waits for wait by b. Since a waits for *all* of them, a circle of rules is
/// a circle of workloads, provided that each pattern matches any.
pub fn order_cycles(spec: &ClusterSpec, report: &mut Report) {
    let rules: Vec<&Rule<Order>> =
        spec.order.iter().filter(|rule| rule.policy.strength == Strength::Required).collect();
    let overlap = |a: &Rule<Order>, b: &Rule<Order>| !shared(&a.policy.after, &b.selector).is_empty();
    let table: Vec<Vec<bool>> = rules.iter().map(|a| rules.iter().map(|b| overlap(a, b)).collect()).collect();
    let follows = |a: usize, b: usize| table[a][b];
    for first in 0..rules.len() {
        let Some(circle) = shortest_circle(first, rules.len(), follows) else { continue };
        let mut story = format!("{} starts after {}", whom(&rules[first].selector), whom(&rules[first].policy.after));
        for next in &circle[1..] {
            story += &format!(", and {} after {}", whom(&rules[*next].selector), whom(&rules[*next].policy.after));
        }
        if circle.len() == 1 {
            let both = shared(&rules[first].policy.after, &rules[first].selector);
            story += &format!(
                ", but {} is in both",
                both.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            );
        }
        let spans: Vec<_> = circle.iter().map(|index| report.span_of(&rules[*index].origin)).collect();
        let problem = report.error(CYCLE, &spans[0], format!("{story}: they would wait for themselves for ever"));
        problem.help("take a rule out, make its patterns narrower, or give it strength = \"preferred\"");
        for span in &spans[1..] {
            problem.also(span, "and here");
        }
    }
}

/// The shortest circle through `first` over it and later ones, so that each is found once, from its first rule.
fn shortest_circle(first: usize, count: usize, follows: impl Fn(usize, usize) -> bool) -> Option<Vec<usize>> {
    let mut before: BTreeMap<usize, usize> = BTreeMap::new();
    let mut queue = VecDeque::from([first]);
    while let Some(here) = queue.pop_front() {
        if follows(here, first) {
            let back = std::iter::successors(Some(here), |at| before.get(at).copied());
            let mut circle: Vec<usize> = back.collect();
            circle.reverse();
            return Some(circle);
        }
        for next in first + 1..count {
            if !before.contains_key(&next) && follows(here, next) {
                before.insert(next, here);
                queue.push_back(next);
            }
        }
    }
    None
}
