//! A cluster in a box.

use super::Context;
use crate::{
    failure::{Exit, Failure},
    render::{Cell, Table, Tone},
};
use clap::{Args, Subcommand, ValueEnum};
use mainstay_lab::{Lab as Cluster, LabError, LabSpec, PowerFault, PowerRunner};
use serde_json::json;
use std::{collections::BTreeMap, fs, path::PathBuf};

/// A cluster in a box, to try and to rehearse: real libvirtd and QEMU, real faults
#[derive(Debug, Args)]
#[command(after_help = "\
Needs root and what script/bootstrap installs. docs/lab.md tells more.

Examples:
  mainstay lab up --hosts 3 --guests 6
  mainstay lab status
  mainstay lab fault power-cut h2
  mainstay lab fault kill web-1
  mainstay lab down")]
pub struct Lab {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Build a lab and start its guests
    Up {
        #[command(flatten)]
        name: Name,
        /// Hosts that guests are spread over
        #[arg(long, default_value_t = 3)]
        hosts: u8,
        /// Further hosts, empty
        #[arg(long, default_value_t = 0)]
        spares: u8,
        /// Guests
        #[arg(long, default_value_t = 6)]
        guests: u8,
        /// Its folder; by default below /var/lib/mainstay/lab
        #[arg(long, value_name = "PATH")]
        dir: Option<PathBuf>,
        /// Hosts have addresses of IPv6 only
        #[arg(long)]
        ipv6: bool,
    },
    /// Remove a lab and every trace of it, also after a crash
    Down {
        #[command(flatten)]
        name: Name,
    },
    /// What really runs where, by the machine's own process table
    Status {
        #[command(flatten)]
        name: Name,
    },
    /// The labs on this machine
    List,
    /// Break something, or mend it again
    Fault {
        #[command(flatten)]
        name: Name,
        /// What happens
        fault: Fault,
        /// To which host or guest
        target: String,
    },
    /// Serve a lab's power controller
    #[command(hide = true)]
    Powerd {
        /// The lab's folder
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Name {
    /// The lab's name
    #[arg(long, default_value = "lab", env = "MAINSTAY_LAB")]
    name: String,
}

/// What can be broken and mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Fault {
    /// Host: every process ends at once
    PowerCut,
    /// Host: power on
    PowerOn,
    /// Host: its cable is pulled
    Partition,
    /// Host: its cable is back
    Heal,
    /// Host: every process stops
    Freeze,
    /// Host: they go on
    Thaw,
    /// Host: libvirtd is killed, guests run on
    LibvirtdKill,
    /// Host: libvirtd takes connections and says nothing
    LibvirtdStop,
    /// Host: libvirtd goes on
    LibvirtdContinue,
    /// Host: libvirtd is started
    LibvirtdStart,
    /// Host: its power device fails every request
    DeviceDead,
    /// Host: its power device takes 10 s longer
    DeviceSlow,
    /// Host: its power device says done and does nothing
    DeviceLying,
    /// Host: its power device works
    DeviceWell,
    /// Guest: QEMU is killed
    Kill,
    /// Guest: QEMU is stopped by SIGSTOP
    Stop,
    /// Guest: QEMU goes on
    Continue,
    /// Guest: its kernel dies without a word
    Hang,
    /// Guest: its kernel panics
    Panic,
    /// Guest: its owner shuts it down
    PowerOff,
    /// Guest: its disk fails (needs a faulty disk)
    IoError,
    /// Guest: its disk works again
    IoHeal,
    /// Guest: no space is left under its disk (needs a small disk)
    DiskFull,
    /// Guest: there is space again
    DiskFree,
}

pub(super) async fn run(context: &Context<'_>, arguments: Lab) -> Result<Exit, Failure> {
    let failed = |error: LabError| Failure::other("the lab", error);
    match arguments.verb {
        Verb::Up { name: Name { name }, hosts, spares, guests, dir, ipv6 } => {
            let spec = LabSpec { spares, dir, ipv6, ..LabSpec::new(&name, hosts, guests) };
            up(context, spec).await
        }
        Verb::Down { name: Name { name } } => {
            Cluster::remove(&name).await.map_err(failed)?;
            context.output.talk(&format!("nothing is left of the lab {name}"));
            Ok(Exit::Done)
        }
        Verb::Status { name: Name { name } } => status(context, &Cluster::attach(&name).map_err(failed)?),
        Verb::List => {
            let labs = Cluster::list();
            match context.output.json {
                true => context.output.document(&json!({ "version": mainstay_web::VERSION, "labs": labs })),
                false => labs.iter().for_each(|lab| context.output.data(&format!("{lab}\n"))),
            }
            Ok(Exit::Done)
        }
        Verb::Fault { name: Name { name }, fault, target } => {
            let lab = Cluster::attach(&name).map_err(failed)?;
            inject(&lab, fault, &target).await.map_err(failed)?;
            Ok(Exit::Done)
        }
        Verb::Powerd { dir } => mainstay_lab::power::serve(&dir).await.map(|()| Exit::Done).map_err(failed),
    }
}

async fn up(context: &Context<'_>, spec: LabSpec) -> Result<Exit, Failure> {
    let own = std::env::current_exe().map_err(|error| Failure::other("this program's own file is not found", error))?;
    let power = PowerRunner::Process(vec![own.display().to_string(), "lab".to_owned(), "powerd".to_owned()]);
    let progress = |step| context.output.talk(&format!("  {step}"));
    let lab = Cluster::up(spec, power, progress).await.map_err(|error| Failure::other("the lab is not up", error))?;
    let file = lab.layout().dir.join("mainstay.toml");
    let failed = |source| Failure::File { what: "can't write", path: file.clone(), source };
    fs::write(&file, lab.mainstay_toml()).map_err(failed)?;
    let (namespace, socket) = (lab.controller_namespace(), lab.api_socket());
    context.output.talk("\nNow start a controller for it:");
    context.output.data(&format!(
        "nsenter --net={} {} up --config {}\n",
        namespace.display(),
        own.display(),
        file.display()
    ));
    context.output.talk("and look at it:");
    context.output.data(&format!("{} --socket {} status\n", own.display(), socket.display()));
    Ok(Exit::Done)
}

fn status(context: &Context<'_>, lab: &Cluster) -> Result<Exit, Failure> {
    let failed = |error: LabError| Failure::other("the lab", error);
    let (mut hosts, mut guests) = (BTreeMap::new(), BTreeMap::new());
    for host in lab.host_names() {
        hosts.insert(host.clone(), lab.is_on(&host).map_err(failed)?);
    }
    for guest in lab.guest_names() {
        guests.insert(guest.clone(), lab.where_runs(&guest).map_err(failed)?);
    }
    if context.output.json {
        context.output.document(&json!({ "version": mainstay_web::VERSION, "hosts": hosts, "guests": guests }));
        return Ok(Exit::Done);
    }
    let look = context.output.look(crate::output::now());
    let mut table = Table::new(["HOST", "POWER", "GUESTS"]);
    for (host, on) in &hosts {
        let here = guests.iter().filter(|(_, places)| places.contains(host)).map(|(guest, _)| guest.as_str());
        let power = if *on { Cell::toned(Tone::Good, "on") } else { Cell::toned(Tone::Bad, "off") };
        table.row([Cell::from(host.as_str()), power, here.collect::<Vec<_>>().join(" ").into()]);
    }
    context.output.data(&table.render(&look));
    for (guest, places) in guests.iter().filter(|(_, places)| places.len() != 1) {
        let text =
            if places.is_empty() { "runs nowhere".to_owned() } else { format!("RUNS TWICE: {}", places.join(", ")) };
        context.output.data(&format!("  {guest} {text}\n"));
    }
    Ok(Exit::Done)
}

async fn inject(lab: &Cluster, fault: Fault, target: &str) -> Result<(), LabError> {
    match fault {
        Fault::PowerCut => lab.power_cut(target).await,
        Fault::PowerOn => lab.power_on(target).await,
        Fault::Partition => lab.partition(target).await,
        Fault::Heal => lab.heal(target).await,
        Fault::Freeze => lab.freeze(target).await,
        Fault::Thaw => lab.thaw(target).await,
        Fault::LibvirtdKill => lab.libvirtd_kill(target).await,
        Fault::LibvirtdStop => lab.libvirtd_stop(target).await,
        Fault::LibvirtdContinue => lab.libvirtd_cont(target).await,
        Fault::LibvirtdStart => lab.libvirtd_start(target).await,
        Fault::DeviceDead => lab.power_fault(target, Some(PowerFault::Dead)),
        Fault::DeviceSlow => lab.power_fault(target, Some(PowerFault::Slow { delay_ms: 10_000 })),
        Fault::DeviceLying => lab.power_fault(target, Some(PowerFault::Lying)),
        Fault::DeviceWell => lab.power_fault(target, None),
        Fault::Kill => lab.guest_kill(target).await.map(drop),
        Fault::Stop => lab.guest_stop(target).await.map(drop),
        Fault::Continue => lab.guest_cont(target).await.map(drop),
        Fault::Hang => lab.guest_hang(target).await,
        Fault::Panic => lab.guest_panic(target).await,
        Fault::PowerOff => lab.guest_poweroff(target).await,
        Fault::IoError => lab.guest_io_error(target).await,
        Fault::IoHeal => lab.guest_io_heal(target).await,
        Fault::DiskFull => lab.disk_full(target).await,
        Fault::DiskFree => lab.disk_free(target).await,
    }
}
