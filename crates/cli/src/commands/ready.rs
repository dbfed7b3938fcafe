//! On which hosts VMs could start now, and why not on the others.

use super::{Context, Listing, listing};
use crate::{
    client::segment,
    completion::subjects,
    failure::{Exit, Failure},
    render,
};
use clap::Args;
use clap_complete::ArgValueCompleter;
use mainstay_engine::view::ReadyView;

/// On which hosts VMs could start now, and what the others lack
#[derive(Debug, Args)]
#[command(after_help = "\
Each host is asked every few minutes, and when a definition changes, for all that a VM needs there: images and what they
are overlays of, CD images, networks and bridges, storage pools, secrets, firmware and TPM state, CPU model, machine
type, passed-through devices, huge pages. Whether there is room is another matter: mainstay explain VM.

Examples:
  mainstay ready               all VMs
  mainstay ready web-1         one VM
  mainstay ready h1            the VMs of one host, before it goes into maintenance")]
pub struct Ready {
    /// A VM, or a host for all VMs that run there
    #[arg(add = ArgValueCompleter::new(subjects))]
    subject: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

pub(super) async fn run(context: &Context<'_>, arguments: Ready) -> Result<Exit, Failure> {
    let path = match &arguments.subject {
        Some(subject) => format!("/v1/ready/{}", segment(subject)),
        None => "/v1/ready".to_owned(),
    };
    let render = |vms: &Vec<ReadyView>, look: &_| render::ready(vms, look);
    listing(context, &arguments.listing, &path, "no VM of which anything is known", render).await
}
