//! How things are.

use super::{Context, Listing, listing::live};
use crate::{
    failure::{Exit, Failure},
    render,
};
use clap::Args;
use mainstay_engine::view::ClusterView;
use mainstay_model::Severity;

/// How things are: the verdict, what needs you and why, hosts and VMs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mainstay status
  mainstay status --watch
  mainstay status --json | jq .data.verdict

Exit codes: 0 all is well, 3 something is not, 4 no controller or data too old.")]
pub struct Status {
    #[command(flatten)]
    listing: Listing,
}

pub(super) async fn run(context: &Context<'_>, arguments: Status) -> Result<Exit, Failure> {
    if arguments.listing.watch {
        return live(context, "/v1/cluster", render::status).await;
    }
    let answer = context.client.get::<ClusterView>("/v1/cluster").await?;
    match context.output.json {
        true => context.output.document(&answer),
        false => context.output.data(&render::status(&answer, &context.output.look(answer.now()))),
    }
    super::drill::say_leftovers(context);
    Ok(if answer.data.verdict.severity == Severity::Green { Exit::Done } else { Exit::Degraded })
}
