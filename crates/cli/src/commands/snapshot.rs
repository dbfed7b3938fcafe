//! Recovery points: looking at them, taking, going back to, deleting them.

use super::{Change, Context, Listing, listing};
use crate::{
    client::segment,
    completion::{points, vms},
    failure::{Exit, Failure},
    follow::Goal,
    render,
};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use mainstay_engine::view::WorkloadView;
use mainstay_model::{Command, PointId, RecoveryPoint, WorkloadId};

/// Recovery points: list, take, go back to, delete
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mainstay snapshot list web-1
  mainstay snapshot create web-1 --name before-upgrade --wait
  mainstay snapshot revert web-1                    to the last good one
  mainstay snapshot revert web-1 before-upgrade
  mainstay snapshot delete web-1 before-upgrade")]
pub struct Snapshot {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The recovery points of a VM, newest last
    List {
        #[command(flatten)]
        vm: Of,
        #[command(flatten)]
        listing: Listing,
    },
    /// Take a recovery point now; only a person deletes it again
    Create {
        #[command(flatten)]
        vm: Of,
        /// Its name; made from the time if not given
        #[arg(long)]
        name: Option<PointId>,
        #[command(flatten)]
        change: Change,
    },
    /// Bring a VM back to a recovery point
    Revert {
        #[command(flatten)]
        vm: Of,
        /// To which; the last good one if not given
        #[arg(add = ArgValueCompleter::new(points))]
        point: Option<PointId>,
        #[command(flatten)]
        change: Change,
    },
    /// Delete a recovery point
    Delete {
        #[command(flatten)]
        vm: Of,
        /// Which
        #[arg(add = ArgValueCompleter::new(points))]
        point: PointId,
        #[command(flatten)]
        change: Change,
    },
}

#[derive(Debug, Args)]
struct Of {
    /// The VM
    #[arg(add = ArgValueCompleter::new(vms))]
    vm: WorkloadId,
}

pub(super) async fn run(context: &Context<'_>, arguments: Snapshot) -> Result<Exit, Failure> {
    match arguments.verb {
        Verb::List { vm: Of { vm }, listing: list } => {
            let render = |points: &Vec<RecoveryPoint>, look: &_| render::points(points, look);
            let path = format!("/v1/vms/{}/points", segment(vm.as_str()));
            listing(context, &list, &path, "no recovery point on record", render).await
        }
        Verb::Create { vm: Of { vm: workload }, name, change } => {
            let goal = Goal::Point(workload.clone(), name.clone());
            change.give(context, Command::TakePoint { workload, name }, None, Some(goal)).await
        }
        Verb::Revert { vm: Of { vm: workload }, point, change } => {
            let to = point.as_ref().map_or("its last good recovery point".to_owned(), |point| point.to_string());
            let vm = context.client.get::<WorkloadView>(&format!("/v1/vms/{}", segment(workload.as_str()))).await?.data;
            let question = match vm.wanted {
                true => format!("Bring {workload} back to {to}? What it wrote since is lost."),
                // Being off may be what somebody wants: starting it is a decision of its own.
                false => format!(
                    "{workload} was stopped by a person. Bring it back to {to} and start it? What it wrote since is lost."
                ),
            };
            let goal = Goal::Reverted(workload.clone());
            change.give(context, Command::Revert { workload, point }, Some(question), Some(goal)).await
        }
        Verb::Delete { vm: Of { vm: workload }, point, change } => {
            let question = Some(format!("Delete the recovery point {point} of {workload}?"));
            let goal = Goal::Deleted(workload.clone(), point.clone());
            change.give(context, Command::DeletePoint { workload, point }, question, Some(goal)).await
        }
    }
}
