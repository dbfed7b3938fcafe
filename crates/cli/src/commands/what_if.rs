//! What would happen, foreseen by the controller on a copy of itself: nothing real is touched.

use super::{Context, config};
use crate::{
    completion::hosts,
    difference::difference,
    failure::{Exit, Failure},
    render,
};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use mainstay_engine::whatif::{Foreseen, Hypothesis};
use mainstay_model::{Command, HostId, spec::ClusterSpec};
use serde_json::Value;
use std::{path::PathBuf, sync::Arc};

/// What would happen: the plan for a failure, a maintenance, a changed configuration
#[derive(Debug, Args)]
#[command(after_help = "\
From the live state, touching nothing. For other commands say --dry-run.

Examples:
  mainstay what-if host-loss h1
  mainstay what-if host-loss h1 h2           both at once
  mainstay what-if maintenance h1
  mainstay what-if config ./mainstay.toml

Exit codes: 0 everything would run, 3 something would not.")]
pub struct WhatIf {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// If hosts lost their power now
    HostLoss {
        /// Which
        #[arg(required = true, add = ArgValueCompleter::new(hosts))]
        hosts: Vec<HostId>,
    },
    /// If a host were put into maintenance now
    Maintenance {
        /// Which
        #[arg(add = ArgValueCompleter::new(hosts))]
        host: HostId,
    },
    /// If this configuration were in force
    Config {
        /// The file
        file: PathBuf,
    },
}

pub(super) async fn run(context: &Context<'_>, arguments: WhatIf) -> Result<Exit, Failure> {
    match arguments.verb {
        Verb::HostLoss { hosts } => {
            let names: Vec<_> = hosts.iter().map(HostId::as_str).collect();
            let supposed = format!("{} lost power now", names.join(" and "));
            foresee(context, &supposed, hosts.into_iter().map(|host| Hypothesis::HostLost { host }).collect()).await
        }
        Verb::Maintenance { host } => {
            let supposed = format!("{host} were put into maintenance now");
            let command = Command::Maintenance { host, on: true };
            foresee(context, &supposed, vec![Hypothesis::Command { command }]).await
        }
        Verb::Config { file } => {
            let spec = Arc::new(config::read(context, &file).await?.spec);
            let in_force = context.client.get::<Value>("/v1/config").await?.data;
            say_difference(context, &in_force, &spec)?;
            let supposed = format!("{} were in force", file.display());
            foresee(context, &supposed, vec![Hypothesis::Configuration { spec }]).await
        }
    }
}

/// What the file says otherwise than what is in force; the plan alone does not tell that nothing is changed.
fn say_difference(context: &Context<'_>, in_force: &Value, spec: &ClusterSpec) -> Result<(), Failure> {
    let new = serde_json::to_value(spec).map_err(|error| Failure::other("the configuration", error))?;
    let lines = difference(in_force, &new);
    if lines.is_empty() {
        context.output.talk("the file says what is in force already");
    }
    lines.iter().for_each(|line| context.output.talk(line));
    Ok(())
}

/// Asks what would happen, and prints it.
pub(super) async fn foresee(
    context: &Context<'_>,
    supposed: &str,
    hypotheses: Vec<Hypothesis>,
) -> Result<Exit, Failure> {
    let answer = context.client.post::<Foreseen>("/v1/what-if", &hypotheses).await?;
    match context.output.json {
        true => context.output.document(&answer),
        false => context.output.data(&render::foreseen(supposed, &answer.data, &context.output.look(answer.now()))),
    }
    Ok(if answer.data.down.is_empty() { Exit::Done } else { Exit::Degraded })
}
