//! Rule 6: restarts are bounded. A workload begins to run no more often within the policy's window than its ladders allow.
//! A start that fails may be tried again after the last rung, while a person is called, but no sooner than the policy's
//! longest wait.

use super::{Checker, Rule};
use crate::world::World;
use mainstay_model::{Time, WorkloadId, spec::RecoveryPolicy};

/// Starts of one workload by the controller.
#[derive(Clone, Debug, Default)]
pub(super) struct Attempts {
    starts: Vec<Time>,
    /// Orders to start it, whatever became of them.
    tries: Vec<Time>,
    /// Faults of hosts, people and commands that justify one more start each.
    disturbances: usize,
    /// What the present policy allows, and what earlier ones allowed.
    allowed: usize,
    allowed_before: usize,
    reported: bool,
}

/// Starts beyond the ladder that are nobody's loop: a start that was lost with its host, a cold move.
const SLACK: usize = 2;

impl Attempts {
    /// Something happened that is not the workload's own doing.
    pub fn disturbed(&mut self) {
        self.disturbances += 1;
    }

    /// The configuration is replaced.
    pub fn policy_changed(&mut self) {
        self.allowed_before += std::mem::take(&mut self.allowed);
    }
}

impl Checker {
    /// An order to start a workload leaves. Each try may be ordered once more when its outcome is unknown.
    pub(super) fn count_try(&mut self, world: &World, workload: &WorkloadId) {
        let Some(guest) = world.guests.get(workload) else { return };
        let default = RecoveryPolicy::default();
        let policy = world.spec.recovery_rule(workload, &guest.tags).map_or(&default, |rule| &rule.policy);
        let waits = policy.window.0 / policy.backoff_limit.max(policy.backoff).0.max(1);
        let allowed = allowed(policy);
        let window = policy.window;
        let attempts = self.attempts.entry(workload.clone()).or_default();
        attempts.tries.push(world.now);
        attempts.tries.retain(|tried| world.now.since(*tried) <= window);
        let bound = 2 * (allowed + attempts.allowed_before + SLACK + 2 * attempts.disturbances) + waits as usize + 1;
        let count = attempts.tries.len();
        if count > bound && !attempts.reported {
            attempts.reported = true;
            let text = format!("{workload} was tried {count} times within {window}, the policy allows {bound}");
            self.violate(world, Rule::Bounded, text);
        }
    }

    pub(super) fn count_start(&mut self, world: &World, workload: &WorkloadId) {
        let Some(guest) = world.guests.get(workload) else { return };
        let default = RecoveryPolicy::default();
        let policy = world.spec.recovery_rule(workload, &guest.tags).map_or(&default, |rule| &rule.policy);
        let allowed = allowed(policy);
        let (window, stable_after) = (policy.window, policy.stable_after);
        let attempts = self.attempts.entry(workload.clone()).or_default();
        if attempts.starts.last().is_some_and(|last| world.now.since(*last) > stable_after.times(2)) {
            *attempts = Attempts { tries: std::mem::take(&mut attempts.tries), ..Attempts::default() };
        }
        attempts.allowed = allowed;
        let allowed = allowed + attempts.allowed_before;
        attempts.starts.push(world.now);
        attempts.starts.retain(|start| world.now.since(*start) <= window);
        let (count, disturbances) = (attempts.starts.len(), attempts.disturbances);
        let bound = allowed + SLACK + 2 * disturbances;
        let broken = count > bound && !attempts.reported;
        attempts.reported |= broken;
        if count > 1 {
            self.stake(Rule::Bounded);
        }
        if broken {
            let text = format!("{workload} was started {count} times within {window}, the policy allows {bound}");
            self.violate(world, Rule::Bounded, text);
        }
    }
}

/// One cause may hand over to another, so all ladders may be climbed within one window.
fn allowed(policy: &RecoveryPolicy) -> usize {
    let ladders = policy.by_cause.values().chain([&policy.ladder]);
    ladders.flatten().map(|step| step.attempts as usize).sum()
}
