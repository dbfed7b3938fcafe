//! What every change does: ask first if it cannot be taken back, give the command, say what came of it, wait if told so.

use super::{Context, what_if::foresee};
use crate::{
    failure::{Exit, Failure},
    follow::{Following, Goal},
};
use clap::Args;
use mainstay_engine::whatif::Hypothesis;
use mainstay_model::{Command, Reply, Span};

/// Arguments of every change.
#[derive(Debug, Args)]
pub struct Change {
    /// Print the plan that would run; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Wait until it is done, showing what happens
    #[arg(long)]
    pub wait: bool,
    /// With --wait: give up waiting (not the change) after this long
    #[arg(long, default_value = "10m", value_name = "SPAN")]
    pub timeout: Span,
}

impl Change {
    /// Gives a command. `question` is asked before what cannot be taken back; `goal` is what `--wait` waits for.
    pub(super) async fn give(
        &self,
        context: &Context<'_>,
        command: Command,
        question: Option<String>,
        goal: Option<Goal>,
    ) -> Result<Exit, Failure> {
        if self.dry_run {
            return foresee(context, "this were asked for now", vec![Hypothesis::Command { command }]).await;
        }
        if let Some(question) = question {
            context.confirm(&question)?;
        }
        // The stream is opened first: what happens between command and stream would be missed.
        let watching = if self.wait { Some(Following::start(&context.client).await?) } else { None };
        let answer = context.client.command(&command).await?;
        let (text, more) = match &answer.data {
            Reply::Accepted { text } => (text, true),
            Reply::Nothing { text } | Reply::Refused { text } => (text, false),
        };
        match context.output.json {
            true => context.output.document(&answer),
            false => context.output.talk(text),
        }
        match (watching, goal) {
            (Some(following), Some(goal)) if more => following.until(&goal, self.timeout, context.output).await,
            _ => Ok(Exit::Done),
        }
    }
}
