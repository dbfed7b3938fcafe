//! What people look for in a VM.

use super::{Context, Listing, listing};
use crate::{
    completion::vms,
    failure::{Exit, Failure},
    render,
};
use clap::Args;
use clap_complete::ArgValueCompleter;
use mainstay_daemon::WorkloadStats;

/// What people look for in a VM: system, memory, CPU, address, rates, state, snapshots
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mainstay stats web-1
  mainstay stats web-1 --watch
  mainstay stats                  every VM")]
pub struct Stats {
    /// Only this VM
    #[arg(add = ArgValueCompleter::new(vms))]
    vm: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

pub(super) async fn run(context: &Context<'_>, arguments: Stats) -> Result<Exit, Failure> {
    let path = match &arguments.vm {
        Some(vm) => format!("/v1/stats?vm={}", crate::client::segment(vm)),
        None => "/v1/stats".to_owned(),
    };
    let render = |all: &Vec<WorkloadStats>, look: &_| {
        all.iter().map(|one| render::stats(one, look)).collect::<Vec<_>>().join("\n")
    };
    listing(context, &arguments.listing, &path, "no VM has been seen yet", render).await
}
