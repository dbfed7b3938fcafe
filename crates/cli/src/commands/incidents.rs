//! Incidents: trouble from its first sign to its end.

use super::{Context, Listing, detail, listing};
use crate::{
    client::segment,
    completion,
    failure::{Exit, Failure},
    render,
};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use mainstay_model::Incident;

/// Trouble from its first sign to its end, told with times
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  mainstay incidents               all on record
  mainstay incidents show i7       one told as a story: seen, believed, decided, fenced, started, answering"
)]
pub struct Incidents {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// All incidents on record, newest last
    List(Listing),
    /// One incident told as a story, with total downtime and what can have been lost
    Show {
        /// Its number, such as i7
        #[arg(add = ArgValueCompleter::new(completion::incidents))]
        incident: String,
    },
}

pub(super) async fn run(context: &Context<'_>, arguments: Incidents) -> Result<Exit, Failure> {
    match arguments.verb.unwrap_or(Verb::List(arguments.listing)) {
        Verb::List(list) => {
            let render = |incidents: &Vec<Incident>, look: &_| render::incidents(incidents, look);
            listing(context, &list, "/v1/incidents", "no incident on record", render).await
        }
        Verb::Show { incident } => {
            detail(context, &format!("/v1/incidents/{}", segment(&incident)), render::incident).await
        }
    }
}
