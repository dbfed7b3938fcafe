//! The eight safety rules of the design, by number and sentence; and what is held beside them.

use serde::Serialize;
use std::fmt;

/// A safety rule (docs/safety-case.md tells how each is kept).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// 1: A workload never runs in two places.
    NeverTwice,
    /// 2: Nothing starts elsewhere before its old host is proved off.
    ProofBeforeStart,
    /// 3: What a person stopped stays stopped.
    PersonsStop,
    /// 4: The last good recovery point is never deleted; none of an unhealthy workload counts as good.
    LastGoodPoint,
    /// 5: Of two controllers only one epoch acts.
    OneEpoch,
    /// 6: Restarts are bounded; no oscillation.
    Bounded,
    /// 7: When faults cease and capacity is there, every protected workload runs again.
    Liveness,
    /// 8: Intent is durable before an action leaves; nothing is done twice after a crash.
    DurableIntent,
    /// Beside the eight: nothing is sent where there is no room for it.
    Room,
    /// Beside the eight: the downtime of an incident is not shorter than it was, and does not change afterwards.
    Figures,
}

impl Rule {
    /// Every rule, in order.
    pub const ALL: [Rule; 10] = [
        Rule::NeverTwice,
        Rule::ProofBeforeStart,
        Rule::PersonsStop,
        Rule::LastGoodPoint,
        Rule::OneEpoch,
        Rule::Bounded,
        Rule::Liveness,
        Rule::DurableIntent,
        Rule::Room,
        Rule::Figures,
    ];
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Rule::NeverTwice => "rule 1 (never in two places)",
            Rule::ProofBeforeStart => "rule 2 (proved off before a start elsewhere)",
            Rule::PersonsStop => "rule 3 (what a person stopped stays stopped)",
            Rule::LastGoodPoint => "rule 4 (the last good recovery point)",
            Rule::OneEpoch => "rule 5 (one epoch acts)",
            Rule::Bounded => "rule 6 (bounded restarts, no oscillation)",
            Rule::Liveness => "rule 7 (runs again when faults cease)",
            Rule::DurableIntent => "rule 8 (intent durable before action)",
            Rule::Room => "room (nothing is sent where it does not fit)",
            Rule::Figures => "figures (an incident tells the true downtime)",
        })
    }
}
