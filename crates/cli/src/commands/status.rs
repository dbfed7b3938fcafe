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
  mainstay status --nagios
  mainstay status --json | jq .data.verdict

Exit codes: 0 all is well, 3 something is not, 4 no controller or data too old.
With --nagios those of a Nagios plugin: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.")]
pub struct Status {
    #[command(flatten)]
    listing: Listing,
    /// One line with figures and an exit code, as Nagios, Icinga and their kin want it
    #[arg(long, conflicts_with = "watch")]
    nagios: bool,
}

pub(super) async fn run(context: &Context<'_>, arguments: Status) -> Result<Exit, Failure> {
    if arguments.listing.watch {
        return live(context, "/v1/cluster", render::status).await;
    }
    let asked = context.client.get_as_it_is::<ClusterView>("/v1/cluster").await;
    if arguments.nagios {
        let (line, exit) = match asked {
            Ok((answer, None)) => render::nagios(&answer.data),
            Ok((_, Some(failure))) | Err(failure) => render::nagios_unknown(&failure),
        };
        context.output.data(&line);
        return Ok(exit);
    }
    let (answer, too_old) = asked?;
    // Without its memory a controller knows what was, and says first that it is so; anything else that is old is not shown.
    let forgetful = matches!(too_old, Some(Failure::NothingRemembered { .. }));
    if let Some(failure) = too_old.filter(|_| !forgetful) {
        return Err(failure);
    }
    match context.output.json {
        true => context.output.document(&answer),
        false => context.output.data(&render::status(&answer, &context.output.look(answer.now()))),
    }
    super::drill::say_leftovers(context);
    Ok(match answer.data.verdict.severity {
        _ if forgetful => Exit::Stale,
        Severity::Green => Exit::Done,
        Severity::Yellow | Severity::Red => Exit::Degraded,
    })
}
