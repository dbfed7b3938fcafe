//! Hosts: looking at them, draining, fencing, confirming.

use super::{
    Change, Context, Listing,
    config::File,
    detail,
    host_edit::{Edit, edit},
    listing, those,
};
use crate::{
    client::segment,
    completion::hosts,
    failure::{Exit, Failure},
    follow::Goal,
    render,
};
use clap::{Args, Subcommand, ValueEnum};
use clap_complete::ArgValueCompleter;
use mainstay_daemon::DeviceAnswer;
use mainstay_engine::view::HostView;
use mainstay_model::{Command, Event, HostId, config::edit::NewHost};
use std::time::Duration;

/// Look at hosts; drain, fence, confirm off
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mainstay host list
  mainstay host show h1
  mainstay host maintenance h1 on --wait     drain it, and say when it is empty
  mainstay host maintenance h1 off           take it back
  mainstay host add h4 --site paris --address 10.0.0.14 --fence ipmi-h4
  mainstay host fence-test h1                do its fence devices answer? Switches nothing
  mainstay host fence-test h1 --live         fence it and power it on again; it must be empty
  mainstay host fencings h1                  when it was fenced, by what, and what came of it
  mainstay host confirm-off h1               you have seen yourself that h1 is off")]
pub struct Host {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// All hosts
    List(Listing),
    /// One host: what is believed of it, on which evidence
    Show(One),
    /// Drain a host and keep it out of service, or take it back
    Maintenance {
        #[command(flatten)]
        host: One,
        /// In or out
        state: Switch,
        #[command(flatten)]
        change: Change,
    },
    /// Switch a host off through its fence devices, now
    Fence {
        #[command(flatten)]
        host: One,
        #[command(flatten)]
        change: Change,
    },
    /// Ask each of its fence devices for its power; with --live, really switch it off and on again
    FenceTest {
        #[command(flatten)]
        host: One,
        /// Fence it, and power it on again; only if no VM is on it, or with --yes
        #[arg(long)]
        live: bool,
        #[command(flatten)]
        change: Change,
    },
    /// The fencings on record: when each was decided, what came of it, and by which device
    Fencings {
        /// Only of this host
        #[arg(add = ArgValueCompleter::new(hosts))]
        host: Option<HostId>,
    },
    /// Add a host to the configuration and begin to watch it
    Add {
        /// Its name
        host: String,
        /// The site it belongs to
        #[arg(long)]
        site: String,
        /// Its address, if not its name
        #[arg(long)]
        address: Option<String>,
        /// Where its libvirtd is reached, if not as the site says
        #[arg(long)]
        uri: Option<String>,
        /// It gets work only when the others cannot take it
        #[arg(long)]
        spare: bool,
        /// Its fence devices; of several, the next is tried when one fails
        #[arg(long, value_name = "DEVICE")]
        fence: Vec<String>,
        #[command(flatten)]
        file: File,
        /// Print what would change in the file; change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove a host from the configuration
    Remove {
        #[command(flatten)]
        host: One,
        #[command(flatten)]
        file: File,
        /// Print what would change in the file; change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Say on your word that a host is off, so that its VMs may start elsewhere
    ConfirmOff {
        #[command(flatten)]
        host: One,
        #[command(flatten)]
        change: Change,
    },
}

/// Two devices at one board, each with a timeout of a minute, and the agents' start.
const FENCE_TEST_WITHIN: Duration = Duration::from_secs(150);

#[derive(Debug, Args)]
struct One {
    /// Its name
    #[arg(add = ArgValueCompleter::new(hosts))]
    host: HostId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// True for an order to fence, its outcome, and what is believed of it.
fn is_fencing(event: &Event) -> bool {
    event.text.starts_with("fence ") || event.text.starts_with("proved off")
}

pub(super) async fn run(context: &Context<'_>, arguments: Host) -> Result<Exit, Failure> {
    match arguments.verb {
        Verb::List(list) => {
            let render = |hosts: &Vec<HostView>, look: &_| render::hosts(hosts, look);
            listing(context, &list, "/v1/hosts", "no host is configured", render).await
        }
        Verb::Show(One { host }) => {
            detail(context, &format!("/v1/hosts/{}", segment(host.as_str())), render::host).await
        }
        Verb::Maintenance { host: One { host }, state, change } => {
            let on = state == Switch::On;
            let goal = Goal::Host(host.clone(), if on { "maintenance" } else { "online" });
            change.give(context, Command::Maintenance { host, on }, None, Some(goal)).await
        }
        Verb::Fence { host: One { host }, change } => {
            let question = Some(format!("Switch {host} off now? Every VM on it stops and starts elsewhere."));
            let goal = Goal::Host(host.clone(), "fenced");
            change.give(context, Command::FenceHost { host }, question, Some(goal)).await
        }
        Verb::FenceTest { host: One { host }, live: true, change } => {
            let question =
                Some(format!("Cut the power of {host} now, and give it back? Every VM on it loses its power."));
            let goal = Goal::Host(host.clone(), "fenced");
            let command = Command::CycleHost { host, busy: context.yes };
            change.give(context, command, question, Some(goal)).await
        }
        Verb::FenceTest { host: One { host }, .. } => {
            let path = format!("/v1/hosts/{}/fence-test", segment(host.as_str()));
            let answer = context.client.post_within::<Vec<DeviceAnswer>>(&path, FENCE_TEST_WITHIN).await?;
            let sound = answer.data.iter().all(|device| device.state.as_deref() == Some("on"));
            match context.output.json {
                true => context.output.document(&answer),
                false => context.output.data(&render::devices(&host, &answer.data, &context.output.look(answer.now()))),
            }
            Ok(if sound { Exit::Done } else { Exit::Degraded })
        }
        Verb::Fencings { host } => {
            let about = host.map_or(String::new(), |host| format!("&subject={}", segment(&format!("host:{host}"))));
            let path = format!("/v1/events?limit=1000{about}");
            those(context, &path, is_fencing, "no fencing on record", render::events).await
        }
        Verb::Add { host: name, site, address, uri, spare, fence, file, dry_run } => {
            let host = NewHost { name, site, address, uri, spare, fence };
            edit(context, &file.config, Edit::Add(host), dry_run).await
        }
        Verb::Remove { host: One { host }, file, dry_run } => {
            edit(context, &file.config, Edit::Remove(host.to_string()), dry_run).await
        }
        Verb::ConfirmOff { host: One { host }, change } => {
            let question = Some(format!(
                "Have you seen yourself that {host} is off? If it is not, its VMs will run twice and destroy their disks."
            ));
            let goal = Goal::Host(host.clone(), "fenced");
            change.give(context, Command::ConfirmOff { host }, question, Some(goal)).await
        }
    }
}
