//! Rule 10: no work is lost by a revert that no rung asked for. A revert leaves because an operator asked for it, or because the
//! rungs before it were tried; and it goes to the newest good recovery point.

use super::{Checker, Rule};
use crate::{store::Store, world::World};
use mainstay_model::{
    Action, Command, Order, PointId, PointState, Span, Time, WorkloadId,
    spec::{RecoveryPolicy, Rung},
};
use std::collections::{BTreeMap, BTreeSet};

/// A start this soon after a stop belongs to the same try.
const STARTS_WITHIN: Span = Span::secs(35);

/// Who asked for a revert.
#[derive(Clone, Debug, Default)]
pub(super) struct Reverts {
    /// Operators, until the controller knows that it was done: it carries on with what it was asked for.
    asked: BTreeSet<WorkloadId>,
    /// When the controller tried to bring a workload back.
    tries: BTreeMap<WorkloadId, Vec<Try>>,
}

/// One try: something is made an end of, if need be, and then it is started.
#[derive(Clone, Copy, Debug)]
struct Try {
    at: Time,
    started: bool,
}

impl Reverts {
    pub fn command(&mut self, command: &Command) {
        if let Command::Revert { workload, .. } = command {
            self.asked.insert(workload.clone());
        }
    }

    /// True while an operator wants it reverted, as far as the controller can know.
    pub fn is_asked(&self, workload: &WorkloadId) -> bool {
        self.asked.contains(workload)
    }

    /// The controller was told that the workload was brought back to a point.
    pub fn reverted(&mut self, workload: &WorkloadId) {
        self.asked.remove(workload);
    }

    /// An order is on record that tries to bring a workload back, or makes way for that. A revert is judged as it leaves, by
    /// what came before it.
    pub fn decided(&mut self, action: &Action, now: Time) {
        let (workload, started) = match action {
            Action::Start { workload, .. } => (workload, true),
            Action::Stop { workload, .. } | Action::Undefine { workload, .. } => (workload, false),
            _ => return,
        };
        let tries = self.tries.entry(workload.clone()).or_default();
        match tries.last_mut() {
            Some(last) if started && !last.started && now.since(last.at) < STARTS_WITHIN => {
                *last = Try { at: now, started };
            }
            _ => tries.push(Try { at: now, started }),
        }
    }
}

impl Checker {
    /// A revert leaves.
    pub(super) fn reverts(
        &mut self,
        world: &World,
        store: &Store,
        order: &Order,
        workload: &WorkloadId,
        point: &PointId,
    ) {
        self.stake(Rule::WorkKept);
        if self.reverts.is_asked(workload) {
            return;
        }
        let wrong = self.rungs_left(world, workload).or_else(|| newer_point(store, workload, point));
        if let Some(why) = wrong {
            self.violate(world, Rule::WorkKept, format!("{} although {why}", order.action));
        }
    }

    /// Why it is not the turn of the rung that reverts, if so.
    fn rungs_left(&self, world: &World, workload: &WorkloadId) -> Option<String> {
        let guest = world.guests.get(workload)?;
        let default = RecoveryPolicy::default();
        let policy = world.spec.recovery_rule(workload, &guest.tags).map_or(&default, |rule| &rule.policy);
        let ladders = policy.by_cause.values().chain([&policy.ladder]);
        let before = ladders.filter_map(|ladder| {
            let revert = ladder.iter().position(|step| step.rung == Rung::Revert)?;
            let restarts = ladder[..revert].iter().filter(|step| step.rung == Rung::Restart);
            Some(restarts.map(|step| step.attempts as usize).sum::<usize>())
        });
        let Some(before) = before.min() else { return Some("no ladder of it has such a rung".to_owned()) };
        let tries = self.reverts.tries.get(workload).into_iter().flatten();
        let tries = tries.filter(|it| world.now.since(it.at) <= policy.window).count();
        (tries < before).then(|| format!("it was tried {tries} times, and the ladder says {before} before a revert"))
    }
}

/// Why another point would lose less, if so.
fn newer_point(store: &Store, workload: &WorkloadId, point: &PointId) -> Option<String> {
    let taken_at = store.points().find(|kept| kept.workload == *workload && kept.id == *point)?.taken_at;
    let mut good = store.points().filter(|kept| kept.workload == *workload && kept.state == PointState::Good);
    let newer = good.find(|kept| kept.taken_at > taken_at)?;
    Some(format!("{} is good, and newer", newer.id))
}
