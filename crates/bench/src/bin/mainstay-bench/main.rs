//! Measurements of the main job on real parts, with Pacemaker beside it: same lab, same guests, same fence device, same run.
//!
//! ```text
//!   kill        QEMU killed → started again
//!   host        a host's power cut → its guests started elsewhere
//!   unseen      faults that VirtualDomain does not look for: stopped QEMU, I/O error, hang, panic
//!   management  libvirtd frozen while its guests are well: an alarm, no fence
//! ```
//! Data goes to standard output (a table, or JSON), progress to standard error. Times are taken from the process table and
//! the power controller's log, never from what Mainstay or Pacemaker say of themselves.

mod host;
mod kill;
mod management;
mod report;
mod unseen;

use clap::{Parser, ValueEnum};
use mainstay_bench::{Controller, Result, Stage, Talk, until_interrupted};
use mainstay_lab::{DiskKind, Lab, LabSpec, peer};
use report::{Report, Row};
use std::{path::PathBuf, process::ExitCode, time::Duration};

/// Nothing that is measured takes longer, unless it does not happen.
const LIMIT: Duration = Duration::from_secs(90);
/// Three hosts keep a majority when one is cut.
const HOSTS: u8 = 3;
const GUESTS: u8 = 6;
/// Its guest is the one whose disk can be made to fail.
const FAULTY: usize = 5;

/// Measures Mainstay, and Pacemaker beside it.
#[derive(Debug, Parser)]
struct Arguments {
    /// The `mainstay` binary
    #[arg(long)]
    mainstay: PathBuf,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Guests killed, one after the other; hosts cut are three sevenths of that
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u8).range(1..=18))]
    runs: u8,
    /// Only these
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Case::Kill, Case::Host, Case::Unseen, Case::Management])]
    only: Vec<Case>,
    /// Mainstay alone
    #[arg(long)]
    no_peer: bool,
    /// Name of the lab
    #[arg(long, default_value = "bench")]
    name: String,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// QEMU killed
    Kill,
    /// A host's power cut
    Host,
    /// Faults that VirtualDomain does not look for
    Unseen,
    /// libvirtd frozen
    Management,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let talk = Talk::aside();
    let measured = until_interrupted(measure(&arguments, talk)).await;
    if let Err(error) = Lab::remove(&arguments.name).await {
        talk.say(&format!("the lab could not be removed: {error}"));
    }
    match measured {
        Ok(report) => {
            Talk::aloud().raw(&if arguments.json { report.json() } else { report.table() });
            if report.all_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            talk.say(&format!("the measurement ends: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments, talk: Talk) -> Result<Report> {
    let mut spec = LabSpec::new(&arguments.name, HOSTS, GUESTS);
    spec.guests[FAULTY].disk = DiskKind::Faulty;
    let stage = Stage::build(&arguments.mainstay, spec, talk).await?;
    let mut report = Report::default();
    with_mainstay(arguments, &stage, talk, &mut report).await?;
    if !arguments.no_peer {
        with_pacemaker(arguments, &stage, talk, &mut report).await?;
    }
    Ok(report)
}

async fn with_mainstay(arguments: &Arguments, stage: &Stage, talk: Talk, report: &mut Report) -> Result<()> {
    for case in &arguments.only {
        talk.say(&format!("Mainstay: {}", case.title()));
        let mut controller = fresh(stage).await?;
        match case {
            Case::Kill => report.mainstay(Row::Kill, kill::measure(stage, arguments.runs, talk).await?),
            Case::Host => {
                for round in 0..rounds(arguments.runs) {
                    report.mainstay(Row::Host, host::cut(stage, round, talk).await?);
                    controller.down().await?;
                    controller = fresh(stage).await?;
                }
            }
            Case::Unseen => unseen::with_mainstay(stage, &mut controller, talk, report).await?,
            Case::Management => management::with_mainstay(stage, &mut controller, talk, report).await?,
        }
        controller.down().await?;
    }
    Ok(())
}

async fn with_pacemaker(arguments: &Arguments, stage: &Stage, talk: Talk, report: &mut Report) -> Result<()> {
    all_hosts_on(stage).await?;
    talk.say("Pacemaker: setting it up in the same lab, monitor every second, token 3000 ms …");
    peer::pacemaker_up(&stage.lab, peer::PacemakerSettings { token_ms: 3000, monitor_s: 1 }).await?;
    for case in &arguments.only {
        talk.say(&format!("Pacemaker: {}", case.title()));
        match case {
            Case::Kill => report.peer(Row::Kill, kill::measure(stage, arguments.runs, talk).await?),
            Case::Host => {
                for round in 0..rounds(arguments.runs) {
                    report.peer(Row::Host, host::cut(stage, round, talk).await?);
                    all_hosts_on(stage).await?;
                    peer::wait_online(&stage.lab).await?;
                }
            }
            Case::Unseen => unseen::with_pacemaker(stage, talk, report).await?,
            Case::Management => management::with_pacemaker(stage, talk, report).await?,
        }
    }
    Ok(())
}

/// Hosts that are cut: each is a round with several guests, so fewer rounds make as many samples.
fn rounds(runs: u8) -> usize {
    (usize::from(runs) * 3).div_ceil(7)
}

/// Every host on, every guest where it was at first, a controller that remembers nothing.
async fn fresh(stage: &Stage) -> Result<Controller> {
    all_hosts_on(stage).await?;
    stage.lab.restart_guests().await?;
    stage.watched().await
}

async fn all_hosts_on(stage: &Stage) -> Result<()> {
    for host in stage.lab.host_names() {
        if !stage.lab.is_on(&host)? {
            stage.lab.power_on(&host).await?;
        }
    }
    Ok(())
}

impl Case {
    fn title(self) -> &'static str {
        match self {
            Case::Kill => "QEMU killed → started again",
            Case::Host => "host's power cut → its guests started elsewhere",
            Case::Unseen => "faults that VirtualDomain does not look for",
            Case::Management => "libvirtd frozen while its guests are well",
        }
    }
}
