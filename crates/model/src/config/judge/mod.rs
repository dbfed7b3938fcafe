//! What is right piece by piece and wrong together. Judges the finished spec; rules are pointed at by their line.

mod cycle;
mod effect;
mod overlap;
mod placement;

use super::problem::Report;
use crate::spec::ClusterSpec;

/// Reports contradictions, and warns of what has no effect or is unprotected.
pub fn judge(spec: &ClusterSpec, report: &mut Report) {
    cycle::order_cycles(spec, report);
    placement::together_and_apart(spec, report);
    placement::too_few_hosts(spec, report);
    placement::together_nowhere(spec, report);
    effect::unreachable_rules(spec, report);
    effect::unreachable_rungs(spec, report);
    effect::spares_only(spec, report);
    effect::unused_devices(spec, report);
    effect::unprotected(spec, report);
}
