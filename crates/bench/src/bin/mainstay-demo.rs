//! The main job in front of your eyes: real guests on real libvirtd hosts are protected, broken, and brought back.
//!
//! Scenes, in order: a guest killed, a guest hung, a guest powered off by its owner, a host's power cut, the host back. Every
//! time that is told is measured from outside, from the process table and from the guests' own counters. Waits are for
//! events; nothing sleeps blindly. Whatever happens, the lab is taken down at the end.

use clap::Parser;
use mainstay_bench::{Controller, Error, Restarted, Result, Stage, Talk, seconds, until_interrupted};
use mainstay_lab::{GuestReport, Lab, LabSpec, Watcher};
use mainstay_model::{Code, Subject, WorkloadId};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};

/// What the demo needs in order to break something of each kind on separate hosts.
const HOSTS: u8 = 3;
const GUESTS: u8 = 6;
/// The host whose power is cut.
const DOOMED: &str = "h3";
/// No scene takes longer on a machine that is up to it.
const LIMIT: Duration = Duration::from_secs(90);
/// Silences of a guest below this are the machine's, not the demo's.
const SILENCE: Duration = Duration::from_millis(500);

/// Mainstay's main job, shown on real parts on this machine.
#[derive(Debug, Parser)]
struct Arguments {
    /// The `mainstay` binary
    #[arg(long)]
    mainstay: PathBuf,
    /// Name of the lab; two demos at once need two names
    #[arg(long, default_value = "demo")]
    name: String,
    /// Leave lab and controller's files in place at the end, for a look
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let talk = Talk::aloud();
    let shown = until_interrupted(show(&arguments, talk)).await;
    let failed = shown.is_err();
    if let Err(error) = shown {
        talk.say(&format!("the demo ends: {error}"));
    }
    if arguments.keep {
        talk.say(&format!("the lab is left standing; remove it with: mainstay lab down --name {}", arguments.name));
    } else if let Err(error) = Lab::remove(&arguments.name).await {
        talk.say(&format!("the lab could not be removed: {error}"));
        return ExitCode::FAILURE;
    } else {
        talk.say("the lab is gone; nothing is left of it");
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

async fn show(arguments: &Arguments, talk: Talk) -> Result<()> {
    let stage = Stage::build(&arguments.mainstay, LabSpec::new(&arguments.name, HOSTS, GUESTS), talk).await?;
    let began = Instant::now();
    let mut controller = stage.protected().await?;
    talk.say(&format!("controller up, a first recovery point of each guest taken; {}", seconds(began.elapsed())));
    talk.raw(&format!("\n$ mainstay status\n{}\n", controller.mainstay(&["status"]).await?));

    let watcher = Watcher::start(&stage.lab, SILENCE)?;
    killed(&stage, talk).await?;
    hung(&stage, talk).await?;
    let stopped = stopped_by_owner(&stage, &mut controller, talk).await?;
    let cut_at = Instant::now();
    power_cut(&stage, talk).await?;
    host_back(&stage, &mut controller, cut_at, talk).await?;
    left_alone(&stage, &stopped, talk)?;

    the_end(&controller, watcher.reports(), &stopped, talk).await?;
    controller.down().await
}

/// A guest's QEMU is killed.
async fn killed(stage: &Stage, talk: Talk) -> Result<()> {
    let guest = "web-1";
    talk.say(&format!("{guest} is killed: SIGKILL to its QEMU"));
    let kill = || async { Ok(stage.lab.guest_kill(guest).await.map(drop)?) };
    let back = stage.restarted_after(guest, LIMIT, kill).await?;
    talk.more(&told(&back));
    Ok(())
}

/// A guest's kernel dies without a word, while libvirt goes on saying that it runs.
async fn hung(stage: &Stage, talk: Talk) -> Result<()> {
    let guest = "db-1";
    talk.say(&format!("{guest} hangs: its kernel is dead, libvirt says that it runs"));
    talk.more("no answer and no disk activity for hung_after = \"15s\" makes it so …");
    let back = stage.restarted_after(guest, LIMIT, || async { Ok(stage.lab.guest_hang(guest).await?) }).await?;
    talk.more(&told(&back));
    Ok(())
}

/// A guest's owner shuts it down: that is nobody's failure.
async fn stopped_by_owner(stage: &Stage, controller: &mut Controller, talk: Talk) -> Result<String> {
    let guest = "db-2";
    talk.say(&format!("{guest} is shut down from inside by its owner"));
    let began = Instant::now();
    stage.lab.guest_poweroff(guest).await?;
    let subject = Subject::Workload(WorkloadId::from(guest));
    let alarm = controller
        .wait("an alarm about a guest that its owner stopped", LIMIT, |view| {
            let about_it = |alarm: &&_| is_about(alarm, Code::STOPPED_BY_PERSON, &subject);
            view.alarms.iter().find(about_it).cloned()
        })
        .await?;
    talk.more(&format!("an alarm after {}, and nothing else: {}", seconds(began.elapsed()), alarm.text));
    Ok(guest.to_owned())
}

fn is_about(alarm: &mainstay_model::Alarm, code: Code, subject: &Subject) -> bool {
    alarm.code == code && alarm.subject == *subject
}

/// A host loses its power with all its guests; they come back on the other hosts.
async fn power_cut(stage: &Stage, talk: Talk) -> Result<()> {
    let host = DOOMED;
    let guests = stage.guests_on(host)?;
    talk.say(&format!("the power of {host} is cut, with {} on it", guests.join(" and ")));
    let mut before = BTreeMap::new();
    for guest in guests {
        before.insert(guest.clone(), stage.lab.wait_guest_answers(&guest, LIMIT).await?);
    }
    let at = SystemTime::now();
    stage.lab.power_cut(host).await?;
    for (guest, heartbeat) in &before {
        let back = stage.back_since(guest, heartbeat, at, LIMIT).await?;
        if let Some(proof) = stage.proved_off_since(host, at)?.filter(|_| before.keys().next() == Some(guest)) {
            talk.more(&format!("{host} is proved off after {}: its power device says so", seconds(proof)));
        }
        talk.more(&format!("{guest}: {}", told(&back)));
    }
    Ok(())
}

/// Mainstay powers the host on again, and takes it back into service when it has been well for a while.
async fn host_back(stage: &Stage, controller: &mut Controller, cut_at: Instant, talk: Talk) -> Result<()> {
    let host = DOOMED;
    talk.say(&format!("{host} is powered on again by Mainstay, and watched before it gets work …"));
    controller
        .wait(&format!("{host} back in service"), LIMIT, |view| {
            view.hosts.iter().find(|seen| seen.host.as_str() == host && seen.health == "online").map(drop)
        })
        .await?;
    let there = stage.guests_on(host)?;
    if !there.is_empty() {
        return Err(Error::Wrong(format!("{} runs on {host}, which just came back", there.join(", "))));
    }
    let after = seconds(cut_at.elapsed());
    talk.more(&format!("{host} is back in service {after} after the cut; its guests stay where they are well"));
    Ok(())
}

/// What its owner stopped must still be off.
fn left_alone(stage: &Stage, guest: &str, talk: Talk) -> Result<()> {
    match stage.lab.where_runs(guest)?.as_slice() {
        [] => talk.say(&format!("{guest} is still off, as its owner left it")),
        hosts => {
            return Err(Error::Wrong(format!("{guest} was started on {} against its owner's will", hosts.join(", "))));
        }
    }
    Ok(())
}

fn told(back: &Restarted) -> String {
    let Restarted { host, started, answered, lost_writes } = back;
    let lost = if *lost_writes == 0 { "nothing lost".to_owned() } else { format!("{lost_writes} writes lost") };
    format!("started again on {host} after {}, answering after {}, {lost}", seconds(*started), seconds(*answered))
}

/// The incident of the host as a story, the status, and what the guests counted themselves.
async fn the_end(
    controller: &Controller,
    reports: BTreeMap<String, GuestReport>,
    stopped: &str,
    talk: Talk,
) -> Result<()> {
    let list = controller.mainstay(&["incidents", "--json"]).await?;
    let list: serde_json::Value = serde_json::from_str(&list).unwrap_or_default();
    let of_host = list["data"].as_array().into_iter().flatten().rfind(|incident| incident["subject"]["host"] == DOOMED);
    if let Some(id) = of_host.map(|incident| format!("i{}", incident["id"])) {
        let story = controller.mainstay(&["incidents", "show", &id]).await?;
        talk.raw(&format!("\n$ mainstay incidents show {id}\n{story}"));
    }
    talk.raw(&format!("\n$ mainstay status\n{}", controller.mainstay(&["status"]).await?));
    talk.raw("\nWhat the guests say themselves (each writes a number to its disk ten times a second):\n");
    talk.raw("  GUEST    RESTARTS  SILENT IN ALL  WRITES LOST  LAST NUMBER ON DISK\n");
    for (guest, report) in reports {
        let last = report.last.as_ref().map_or(0, |heartbeat| heartbeat.disk_counter);
        let silent = if guest == stopped { "stopped".to_owned() } else { seconds(report.downtime()) };
        let (restarts, lost) = (report.restarts, report.lost_writes);
        talk.raw(&format!("  {guest:<8} {restarts:>8}  {silent:>13}  {lost:>11}  {last:>19}\n"));
    }
    talk.raw("\n");
    talk.say(&format!("done in {}", seconds(talk.passed())));
    Ok(())
}
