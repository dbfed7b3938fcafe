//! VMs: looking at them and changing them.

use super::{Change, Context, Listing, detail, listing};
use crate::{
    client::segment,
    completion::{hosts, vms},
    failure::{Exit, Failure},
    follow::Goal,
    render,
};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use mainstay_daemon::{ByHand, Console, Touch};
use mainstay_engine::view::WorkloadView;
use mainstay_model::{Command, HostId, Reply, Span, StopHow, WorkloadId};
use mainstay_web::Envelope;
use std::os::unix::process::CommandExt;

/// Look at VMs; start, stop, restart, move, protect them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mainstay vm list
  mainstay vm show web-1
  mainstay vm move web-1 --to h2 --wait
  mainstay vm stop web-1 --dry-run
  mainstay vm pause web-1              and `vm resume web-1`
  mainstay vm console web-1
  mainstay vm rebalance --dry-run      what it would gain, and which VMs would move
  mainstay vm unprotect web-1          leave it alone until `vm protect`")]
pub struct Vm {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// All VMs
    List(Listing),
    /// One VM: what is believed of it, on which evidence
    Show(One),
    /// Start a VM, also one that a person stopped
    Start {
        #[command(flatten)]
        vm: One,
        /// Where; the best host if not given
        #[arg(long, value_name = "HOST", add = ArgValueCompleter::new(hosts))]
        on: Option<HostId>,
        /// Also where it starts without state that another host alone has: saved memory, a TPM's state
        #[arg(long, requires = "on")]
        leave_state: bool,
        #[command(flatten)]
        change: Change,
    },
    /// Stop a VM and keep it stopped
    Stop {
        #[command(flatten)]
        stop: Stopping,
        /// By force if it has not shut down within this, such as 30s
        #[arg(long, value_name = "TIME", conflicts_with = "force")]
        within: Option<Span>,
    },
    /// Stop a VM and start it again
    Restart(Stopping),
    /// Move a running VM to another host, once
    Move {
        #[command(flatten)]
        vm: One,
        /// Where; the best other host if not given
        #[arg(long, value_name = "HOST", add = ArgValueCompleter::new(hosts))]
        to: Option<HostId>,
        /// Shut it down here and start it there, instead of a live migration
        #[arg(long, requires = "to")]
        cold: bool,
        #[command(flatten)]
        change: Change,
    },
    /// Let a VM stand still until it is resumed
    Pause(One),
    /// Let a paused VM go on
    Resume(One),
    /// Press a VM's reset button: what it has not written to disk is lost
    Reset(One),
    /// Attach to a VM's serial console with virsh (leave it with Ctrl-])
    Console {
        #[command(flatten)]
        vm: One,
        /// Only print the command
        #[arg(long)]
        print: bool,
    },
    /// Even out load between hosts by a few live migrations, if that is worth it
    Rebalance(Change),
    /// Manage a VM (again): recover it, take recovery points
    Protect {
        #[command(flatten)]
        vm: One,
        #[command(flatten)]
        change: Change,
    },
    /// Leave a VM alone until told otherwise
    Unprotect {
        #[command(flatten)]
        vm: One,
        #[command(flatten)]
        change: Change,
    },
}

#[derive(Debug, Args)]
struct One {
    /// Its name
    #[arg(add = ArgValueCompleter::new(vms))]
    vm: WorkloadId,
}

#[derive(Debug, Args)]
struct Stopping {
    #[command(flatten)]
    vm: One,
    /// Pull its plug instead of asking the guest
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    change: Change,
}

impl Stopping {
    fn how(&self) -> StopHow {
        if self.force { StopHow::Force } else { StopHow::Graceful }
    }

    fn question(&self, verb: &str) -> Option<String> {
        let how = if self.force { " by force: what it has not written to disk is lost" } else { "" };
        Some(format!("{verb} {}{how}?", self.vm.vm))
    }
}

pub(super) async fn run(context: &Context<'_>, arguments: Vm) -> Result<Exit, Failure> {
    match arguments.verb {
        Verb::List(list) => {
            let render = |vms: &Vec<WorkloadView>, look: &_| render::vms(vms, look);
            listing(context, &list, "/v1/vms", "no VM has been seen yet", render).await
        }
        Verb::Show(One { vm }) => detail(context, &format!("/v1/vms/{}", segment(vm.as_str())), render::vm).await,
        Verb::Start { vm: One { vm: workload }, on: host, leave_state, change } => {
            let goal = Goal::Runs(workload.clone(), host.clone());
            change.give(context, Command::StartWorkload { workload, host, leave_state }, None, Some(goal)).await
        }
        Verb::Stop { stop, within } => {
            let (workload, question) = (stop.vm.vm.clone(), stop.question("Stop"));
            let goal = Goal::Off(workload.clone());
            let command = Command::StopWorkload { workload, how: stop.how(), within };
            stop.change.give(context, command, question, Some(goal)).await
        }
        Verb::Restart(stop) => {
            let (workload, question) = (stop.vm.vm.clone(), stop.question("Restart"));
            let goal = Goal::RunsAnew(workload.clone());
            stop.change
                .give(context, Command::RestartWorkload { workload, how: stop.how() }, question, Some(goal))
                .await
        }
        Verb::Move { vm: One { vm: workload }, to, cold, change } => {
            let goal = match (&to, change.wait) {
                (Some(host), _) => Some(Goal::Runs(workload.clone(), Some(host.clone()))),
                (None, true) => left(context, &workload).await?,
                (None, false) => None,
            };
            let question = cold.then(|| format!("Shut {workload} down and start it elsewhere?"));
            change.give(context, Command::MoveWorkload { workload, to, cold }, question, goal).await
        }
        Verb::Pause(One { vm }) => by_hand(context, vm, Touch::Pause).await,
        Verb::Resume(One { vm }) => by_hand(context, vm, Touch::Resume).await,
        Verb::Reset(One { vm }) => {
            context.confirm(&format!("Reset {vm}? What it has not written to disk is lost."))?;
            by_hand(context, vm, Touch::Reset).await
        }
        Verb::Console { vm: One { vm }, print } => console(context, &vm, print).await,
        Verb::Rebalance(change) => change.give(context, Command::Rebalance, None, Some(Goal::Rebalanced)).await,
        Verb::Protect { vm: One { vm: workload }, change } => {
            change.give(context, Command::Protect { workload }, None, None).await
        }
        Verb::Unprotect { vm: One { vm: workload }, change } => {
            let question = Some(format!("Leave {workload} alone, whatever happens to it?"));
            change.give(context, Command::Unprotect { workload }, question, None).await
        }
    }
}

/// Does something to a VM at its hypervisor.
async fn by_hand(context: &Context<'_>, workload: WorkloadId, touch: Touch) -> Result<Exit, Failure> {
    let answer: Envelope<Reply> = context.client.post("/v1/by-hand", &ByHand { workload, touch }).await?;
    let (Reply::Accepted { text } | Reply::Nothing { text } | Reply::Refused { text }) = &answer.data;
    match context.output.json {
        true => context.output.document(&answer),
        false => context.output.talk(text),
    }
    Ok(Exit::Done)
}

/// Becomes virsh at the VM's console; prints how, where there is no terminal or no virsh.
async fn console(context: &Context<'_>, vm: &WorkloadId, print: bool) -> Result<Exit, Failure> {
    let path = format!("/v1/vms/{}/console", segment(vm.as_str()));
    let answer = context.client.get::<Console>(&path).await?;
    if context.output.json {
        context.output.document(&answer);
        return Ok(Exit::Done);
    }
    let [program, words @ ..] = &answer.data.command[..] else {
        return Err(Failure::Undone(format!("{vm} has no console")));
    };
    if print || !context.output.is_terminal() {
        let words: Vec<String> =
            answer.data.command.iter().map(|word| mainstay_model::shell_word(word).to_string()).collect();
        context.output.data(&format!("{}\n", words.join(" ")));
        return Ok(Exit::Done);
    }
    // Returns only if it can't become that program.
    let source = std::process::Command::new(program).args(words).exec();
    Err(Failure::other(format!("{program} can't be run; see `mainstay vm console {vm} --print`"), source))
}

/// The goal of a move without a destination: away from where it is.
async fn left(context: &Context<'_>, workload: &WorkloadId) -> Result<Option<Goal>, Failure> {
    let vm = context.client.get::<WorkloadView>(&format!("/v1/vms/{}", segment(workload.as_str()))).await?;
    Ok(vm.data.host.map(|from| Goal::Left(workload.clone(), from)))
}
