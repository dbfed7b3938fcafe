//! Programs of the operator around a recovery point. They run on the controller, each with a bound of its own for time and
//! output. Whatever a hook has started ends with it.

use super::Tools;
use crate::shortage;
use mainstay_fence::process::{Ended, run};
use mainstay_model::{Action, Secret, WorkloadId, spec::Hooks};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};
use tokio::{
    process::Command,
    sync::OwnedMutexGuard,
    time::{Instant, timeout_at},
};

/// For the hook after, which runs whatever came of the point: a frozen database must not wait for ever.
const AFTER_LIMIT: Duration = Duration::from_secs(60);
/// Of what a failed hook said.
const QUOTED_BYTES: usize = 300;

/// The hooks of one VM run one after the other: the hook before a point waits for the one after the last point. Clones
/// share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct HookTurns(Arc<Mutex<BTreeMap<WorkloadId, Weak<tokio::sync::Mutex<()>>>>>);

impl HookTurns {
    fn of(&self, workload: &WorkloadId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = turns.get(workload).and_then(Weak::upgrade).unwrap_or_default();
        turns.insert(workload.clone(), Arc::downgrade(&turn));
        turn
    }
}

/// The hooks of one order.
pub(super) struct Around {
    hooks: Hooks,
    workload: Option<WorkloadId>,
    turns: HookTurns,
    turn: tokio::sync::Mutex<Option<OwnedMutexGuard<()>>>,
}

/// The hooks around an action; only recovery points have any.
pub(super) async fn of(tools: &Tools, action: &Action) -> Around {
    let around =
        |hooks, workload| Around { hooks, workload, turns: tools.hook_turns.clone(), turn: Default::default() };
    let none = around(Hooks::default(), None);
    let Action::TakePoint { workload, .. } = action else { return none };
    // Mostly there are none at all, and a definition is long.
    if tools.spec.borrow().protection.iter().all(|rule| rule.policy.hooks == Hooks::default()) {
        return none;
    }
    // Without its tags, rules by name still count.
    let kept = tools.memory.definition(workload).await.unwrap_or_default();
    let tags = kept.and_then(|kept| crate::definition::Defined::read(&kept.xml).ok()).map(|defined| defined.tags);
    let spec = tools.spec.borrow();
    let rule = spec.protection_rule(workload, &tags.unwrap_or_default());
    rule.map_or(none, |rule| around(rule.policy.hooks.clone(), Some(workload.clone())))
}

impl Around {
    /// Runs the one before.
    pub async fn before(&self, until: Instant) -> Result<(), String> {
        let Some(workload) = &self.workload else { return Ok(()) };
        let Ok(turn) = timeout_at(until, self.turns.of(workload).lock_owned()).await else {
            return Err(format!("the hook after the last recovery point of {workload} still runs"));
        };
        *self.turn.lock().await = Some(turn);
        let limit = until.saturating_duration_since(Instant::now());
        run_hook("before", &self.hooks.before, workload, limit).await
    }

    /// Runs the one after, by itself; if it fails, a person should look.
    pub fn after(self) {
        let Some(workload) = self.workload else { return };
        let (words, turn) = (self.hooks.after, self.turn);
        tokio::spawn(async move {
            if let Err(error) = run_hook("after", &words, &workload, AFTER_LIMIT).await {
                tracing::error!(error, "the hook after a recovery point failed");
            }
            drop(turn);
        });
    }
}

async fn run_hook(which: &str, words: &[String], workload: &WorkloadId, limit: Duration) -> Result<(), String> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let failed = |what: String| Err(format!("hook {which} of {workload} ({program}): {what}"));
    let until = Instant::now() + limit;
    // One that can't be started now must not be left out: the hook after may be what thaws a database.
    let ended = loop {
        let mut command = Command::new(program);
        command.args(arguments).env("MAINSTAY_VM", workload.as_str());
        match run(command, Secret::new(String::new()), until.saturating_duration_since(Instant::now())).await {
            Err(error) if shortage::may_pass(&error, until).await => {}
            ended => break ended,
        }
    };
    match ended {
        Err(error) => failed(error.to_string()),
        Ok(Ended { status: None, .. }) => failed("it did not end in time, and was killed".to_owned()),
        Ok(Ended { status: Some(status), .. }) if status.success() => Ok(()),
        Ok(Ended { status: Some(status), stderr, .. }) => {
            failed(format!("{status}: {}", stderr.trim().chars().take(QUOTED_BYTES).collect::<String>()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    /// A hook that is given up takes with it what it started: here a child that would write a file later.
    #[tokio::test]
    async fn a_hook_that_is_given_up_ends_with_its_whole_group() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let late = directory.path().join("late");
        let pids = directory.path().join("pids");
        let script = format!("(sleep 30; touch {}) & echo $! > {}; wait", late.display(), pids.display());
        let ended = run_hook("before", &shell(&script), &"web-1".into(), Duration::from_secs(2)).await;
        assert!(ended.expect_err("it is too slow").contains("did not end in time"));
        let pid: i32 = std::fs::read_to_string(&pids).expect("it began").trim().parse().expect("a number");
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let gone = stat.is_empty() || stat.contains(") Z ");
        assert!(gone && !late.exists(), "the child lives on: {stat}");
    }

    #[tokio::test]
    async fn a_hook_that_says_much_is_quoted_in_short() {
        let script = "yes a long complaint | head -c 3000000 >&2; exit 3";
        let ended = run_hook("before", &shell(script), &"web-1".into(), Duration::from_secs(60)).await;
        let said = ended.expect_err("it failed");
        assert!(said.contains("exit status: 3") && said.len() < 500, "{said}");
    }

    /// A point is done when its snapshot is, however long the hook after it takes; the next point's hook waits for it.
    #[tokio::test]
    async fn nothing_waits_for_the_hook_after_but_the_next_hook_before() {
        let turns = HookTurns::default();
        let hooks = |before: &str, after: &str| Hooks { before: shell(before), after: shell(after) };
        let around =
            |hooks| Around { hooks, workload: Some("web-1".into()), turns: turns.clone(), turn: Default::default() };
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (go, done) = (directory.path().join("go"), directory.path().join("done"));
        let slow = format!("until [ -e {} ]; do sleep 0.05; done; touch {}", go.display(), done.display());
        let first = around(hooks("true", &slow));
        first.before(Instant::now() + AFTER_LIMIT).await.expect("it succeeds");
        first.after(); // returns at once, or the file that ends it would never be made
        let second = around(hooks(&format!("test -e {}", done.display()), "true"));
        let early = second.before(Instant::now() + Duration::from_millis(200)).await;
        assert!(early.expect_err("the first still runs").contains("still runs"));
        std::fs::write(&go, "").expect("it can be written");
        second.before(Instant::now() + AFTER_LIMIT).await.expect("the first hook after had ended");
    }

    /// The hook after may be what thaws a database.
    #[tokio::test]
    async fn a_hook_that_cannot_be_started_for_want_of_files_is_started_later() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let ran = directory.path().join("ran");
        let words = shell(&format!("touch {}", ran.display()));
        let workload = WorkloadId::from("web-1");
        let hook = run_hook("after", &words, &workload, AFTER_LIMIT);
        let test = "executors::hooks::tests::a_hook_that_cannot_be_started_for_want_of_files_is_started_later";
        if let Some(ended) = shortage::tests::starved(test, hook).await {
            ended.expect("it ran");
            assert!(ran.exists());
        }
    }
}
