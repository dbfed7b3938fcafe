//! Programs of the operator around a recovery point. They run on the controller, each with a bound of its own.

use super::Tools;
use mainstay_model::{Action, WorkloadId, spec::Hooks};
use std::{process::Stdio, time::Duration};
use tokio::{
    process::Command,
    time::{Instant, timeout_at},
};

/// For the hook after, which runs whatever came of the point: a frozen database must not wait for ever.
const AFTER_LIMIT: Duration = Duration::from_secs(60);
/// Of what a failed hook said.
const QUOTED_BYTES: usize = 300;

/// The hooks of one order.
pub(super) struct Around {
    hooks: Hooks,
    workload: Option<WorkloadId>,
}

/// The hooks around an action; only recovery points have any.
pub(super) async fn of(tools: &Tools, action: &Action) -> Around {
    let none = Around { hooks: Hooks::default(), workload: None };
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
    rule.map_or(none, |rule| Around { hooks: rule.policy.hooks.clone(), workload: Some(workload.clone()) })
}

impl Around {
    /// Runs the one before.
    pub async fn before(&self, until: Instant) -> Result<(), String> {
        self.run("before", &self.hooks.before, until).await
    }

    /// Runs the one after; if it fails, a person should look.
    pub async fn after(&self) {
        if let Err(error) = self.run("after", &self.hooks.after, Instant::now() + AFTER_LIMIT).await {
            tracing::error!(error, "the hook after a recovery point failed");
        }
    }

    async fn run(&self, which: &str, words: &[String], until: Instant) -> Result<(), String> {
        let (Some((program, arguments)), Some(workload)) = (words.split_first(), &self.workload) else { return Ok(()) };
        let mut command = Command::new(program);
        command.args(arguments).env("MAINSTAY_VM", workload.as_str()).stdin(Stdio::null()).kill_on_drop(true);
        let failed = |what: String| Err(format!("hook {which} of {workload} ({program}): {what}"));
        match timeout_at(until, command.output()).await {
            Err(_) => failed("it did not end in time".to_owned()),
            Ok(Err(error)) => failed(error.to_string()),
            Ok(Ok(output)) if output.status.success() => Ok(()),
            Ok(Ok(output)) => {
                let said = String::from_utf8_lossy(&output.stderr);
                failed(format!("{}: {}", output.status, said.trim().chars().take(QUOTED_BYTES).collect::<String>()))
            }
        }
    }
}
