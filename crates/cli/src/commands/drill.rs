//! Rehearsals: what would happen, or, live, what does happen when something is broken on purpose.

use super::{Context, what_if::foresee};
use crate::{
    broken::{Broken, Note},
    client::Watching,
    completion::subjects,
    failure::{Exit, Failure},
    render,
};
use clap::{Args, ValueEnum};
use clap_complete::ArgValueCompleter;
use mainstay_daemon::Disaster;
use mainstay_engine::{view::ClusterView, whatif::Hypothesis};
use mainstay_lab::{Lab, LabError};
use mainstay_model::{Incident, Reply, Span, Subject, Time, WorkloadId};
use mainstay_web::{Envelope, Notice};
use std::collections::BTreeSet;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, timeout_at},
};

/// Rehearse a disaster: foreseen, or live on the real thing
#[derive(Debug, Args)]
#[command(after_help = "\
Without --live nothing is touched: it says what would happen. With --live it asks, breaks the real thing behind the
controller's back, watches the recovery, and prints a timed report. In a lab (--lab) faults come from outside of it all.

Examples:
  mainstay drill power-cut h1                  what would happen
  mainstay drill --live crash web-1
  mainstay drill --live cut-network web-1      the cable is plugged in again at the end
  mainstay drill --live freeze web-1 --lab lab
  mainstay drill --live power-cut h1 --yes
  mainstay drill --take-back                   after a drill that was killed: plug the cable in again

Ended early (Ctrl-C, SIGTERM) it takes back what it broke. If it is killed it can't: then `status` and the next drill say so.

Exit codes: 0 recovered, 3 not recovered within --timeout, or ended early.")]
pub struct Drill {
    #[command(flatten)]
    blow: Option<Blow>,
    /// Take back what a drill left broken that was killed
    #[arg(long, conflicts_with_all = ["kind", "target", "live"])]
    take_back: bool,
    /// On the real thing
    #[arg(long)]
    live: bool,
    /// The cluster is this lab: break it from outside
    #[arg(long, value_name = "NAME", requires = "live")]
    lab: Option<String>,
    /// Stop watching after this long
    #[arg(long, default_value = "3m", value_name = "SPAN")]
    timeout: Span,
}

/// What is to happen, to what.
#[derive(Debug, Args)]
#[group(id = "blow")]
struct Blow {
    /// What happens
    kind: Kind,
    /// To which VM (or, for power-cut, host)
    #[arg(add = ArgValueCompleter::new(subjects))]
    target: String,
}

/// Disasters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A VM's process dies
    Crash,
    /// A VM's network cable is pulled
    CutNetwork,
    /// A VM stands still (only in a lab)
    Freeze,
    /// A host loses its power
    PowerCut,
}

pub(super) async fn run(context: &Context<'_>, arguments: Drill) -> Result<Exit, Failure> {
    if arguments.take_back {
        return take_back_all(context).await;
    }
    let Some(Blow { kind, target }) = &arguments.blow else {
        return Err(Failure::Usage("what is to happen, and to what? See `mainstay drill --help`".to_owned()));
    };
    if !arguments.live {
        say_leftovers(context);
        return match kind {
            Kind::PowerCut => {
                let lost = Hypothesis::HostLost { host: target.as_str().into() };
                foresee(context, &format!("{target} lost power now"), vec![lost]).await
            }
            _ => Err(Failure::Usage("a VM's disaster can only be rehearsed live: say --live".to_owned())),
        };
    }
    if say_leftovers(context) {
        return Err(Failure::Blocked("take that back first, or it spoils this drill".to_owned()));
    }
    let before = context.client.get::<ClusterView>("/v1/cluster").await?.data;
    let (subject, hit) = affected(&before, *kind, target)?;
    let names = hit.iter().map(WorkloadId::as_str).collect::<Vec<_>>().join(", ");
    let hit_too = if matches!(subject, Subject::Host(_)) { format!(", with {names}") } else { String::new() };
    context.confirm(&format!("{} {target}{hit_too}, really and now?", kind.verb()))?;

    let mut end = End::listen()?;
    let watching = context.client.watch().await?;
    let broken = kind.breaks(target, arguments.lab.as_deref());
    let note = broken.map(|broken| Note::write(broken, context.client.endpoint())).transpose()?;
    let struck = match strike(context, *kind, target, arguments.lab.as_deref()).await {
        Ok(struck) => struck,
        Err(refused @ (Failure::Problem(_) | Failure::Usage(_))) => {
            note.inspect(Note::remove);
            return Err(refused);
        }
        Err(unsure) => {
            // Whether it is broken is not known.
            if let Some(note) = &note {
                take_back(context, note).await?;
            }
            return Err(unsure);
        }
    };
    let watch = Watch { context, subject: &subject, hit: &hit, struck, seen_sick: false };
    let recovered = tokio::select! {
        recovered = watch.until_well(watching, arguments.timeout) => recovered,
        () = end.wanted() => Err(Failure::Blocked(match &note {
            Some(_) => "ended early; what the drill broke was taken back".to_owned(),
            None => format!("ended early; the recovery goes on: mainstay explain {target}"),
        })),
    };
    if let Some(note) = &note {
        // In any case; if the VM was restarted or moved, this changes nothing.
        take_back(context, note).await?;
    }
    report(context, &subject, &hit, struck).await?;
    recovered
}

/// Says what drills left broken that were killed; true if there is anything.
pub(super) fn say_leftovers(context: &Context<'_>) -> bool {
    let notes = Note::leftovers(&context.client.endpoint());
    for note in &notes {
        let broken = &note.broken;
        context.output.talk(&format!("A drill was killed, and {broken} since. Next: mainstay drill --take-back"));
    }
    !notes.is_empty()
}

async fn take_back_all(context: &Context<'_>) -> Result<Exit, Failure> {
    let notes = Note::leftovers(&context.client.endpoint());
    if notes.is_empty() {
        context.output.talk("no drill left anything broken");
    }
    for note in &notes {
        take_back(context, note).await?;
    }
    Ok(Exit::Done)
}

/// Takes back what was broken; if that is not possible now, says that it is broken still.
async fn take_back(context: &Context<'_>, note: &Note) -> Result<(), Failure> {
    let done = match &note.broken {
        Broken::Cable { vm } => {
            let repair = Disaster::Network { workload: vm.as_str().into(), up: true };
            context.client.post::<Reply>("/v1/drill", &repair).await.map(|answer| text(&answer.data))
        }
        Broken::Frozen { vm, lab } => {
            let failed = |error: LabError| Failure::other("the lab", error);
            match Lab::attach(lab) {
                // Its process may have been killed and started anew meanwhile: then it does not stand still.
                Ok(lab) => lab.guest_cont(vm).await.map(|_| format!("{vm} goes on")).map_err(failed),
                Err(error) => Err(failed(error)),
            }
        }
    };
    match done {
        Ok(text) => {
            note.remove();
            context.output.talk(&text);
            Ok(())
        }
        Err(failure) => {
            let broken = &note.broken;
            context.output.talk(&format!("{broken}, and could not be repaired. Try again: mainstay drill --take-back"));
            Err(failure)
        }
    }
}

/// A person or the system wants the drill to end.
struct End {
    signals: [Signal; 3],
}

impl End {
    fn listen() -> Result<End, Failure> {
        let on = |kind| signal(kind).map_err(|error| Failure::other("signals can't be heard", error));
        Ok(End { signals: [on(SignalKind::interrupt())?, on(SignalKind::terminate())?, on(SignalKind::hangup())?] })
    }

    async fn wanted(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

impl Kind {
    /// What stays broken by it until it is taken back.
    fn breaks(self, target: &str, lab: Option<&str>) -> Option<Broken> {
        match (self, lab) {
            (Kind::CutNetwork, None) => Some(Broken::Cable { vm: target.to_owned() }),
            (Kind::Freeze, Some(lab)) => Some(Broken::Frozen { vm: target.to_owned(), lab: lab.to_owned() }),
            _ => None,
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Kind::Crash => "Crash",
            Kind::CutNetwork => "Pull the network cable of",
            Kind::Freeze => "Freeze",
            Kind::PowerCut => "Cut the power of",
        }
    }
}

/// What is struck, and the VMs that are hit.
fn affected(view: &ClusterView, kind: Kind, target: &str) -> Result<(Subject, BTreeSet<WorkloadId>), Failure> {
    if kind == Kind::PowerCut {
        let host = view.hosts.iter().find(|host| host.host.as_str() == target);
        let host =
            host.ok_or_else(|| Failure::Usage(format!("there is no host {target}; see `mainstay host list`")))?;
        let managed = |name: &&WorkloadId| view.workloads.iter().any(|vm| vm.workload == **name && vm.managed);
        return Ok((Subject::Host(host.host.clone()), host.workloads.iter().filter(managed).cloned().collect()));
    }
    let vm = view.workloads.iter().find(|vm| vm.workload.as_str() == target);
    let vm = vm.ok_or_else(|| Failure::Usage(format!("there is no VM {target}; see `mainstay vm list`")))?;
    Ok((Subject::Workload(vm.workload.clone()), BTreeSet::from([vm.workload.clone()])))
}

/// Breaks it; returns when that was, by the controller's clock.
async fn strike(context: &Context<'_>, kind: Kind, target: &str, lab: Option<&str>) -> Result<Time, Failure> {
    let failed = |error: LabError| Failure::other("the lab", error);
    // The clock is read before: what follows the blow must not seem to come before it.
    let struck = context.client.get::<ClusterView>("/v1/cluster").await?.now();
    if let Some(name) = lab {
        let lab = Lab::attach(name).map_err(failed)?;
        let done = match kind {
            Kind::Crash => lab.guest_kill(target).await.map(drop),
            Kind::Freeze => lab.guest_stop(target).await.map(drop),
            Kind::PowerCut => lab.power_cut(target).await,
            Kind::CutNetwork => return Err(Failure::Usage("in a lab, cut-network works without --lab".to_owned())),
        };
        return done.map(|()| struck).map_err(failed);
    }
    let disaster = match kind {
        Kind::Crash => Disaster::Crash { workload: target.into() },
        Kind::CutNetwork => Disaster::Network { workload: target.into(), up: false },
        Kind::PowerCut => Disaster::PowerCut { host: target.into() },
        Kind::Freeze => {
            let why = "libvirt can't freeze a VM so that it does not know; stop its QEMU on the host with `kill -STOP`";
            return Err(Failure::Usage(why.to_owned()));
        }
    };
    let answer: Envelope<Reply> = context.client.post("/v1/drill", &disaster).await?;
    context.output.talk(&text(&answer.data));
    Ok(struck)
}

fn text(reply: &Reply) -> String {
    let (Reply::Accepted { text } | Reply::Nothing { text } | Reply::Refused { text }) = reply;
    text.clone()
}

/// Watching a recovery.
struct Watch<'a> {
    context: &'a Context<'a>,
    subject: &'a Subject,
    hit: &'a BTreeSet<WorkloadId>,
    struck: Time,
    seen_sick: bool,
}

impl Watch<'_> {
    /// Prints what happens until every VM that was hit has been seen sick and is well again.
    async fn until_well(mut self, mut watching: Watching, within: Span) -> Result<Exit, Failure> {
        let deadline = Instant::now() + within.as_duration();
        loop {
            let Ok(notice) = timeout_at(deadline, watching.next()).await else {
                self.context.output.talk(&format!("not recovered after {within}"));
                return Ok(Exit::Degraded);
            };
            match notice? {
                Notice::Event(event) if self.concerns(&event.subject) && event.at >= self.struck => {
                    let after = event.at.since(self.struck).as_secs_f64();
                    self.context.output.talk(&format!("  +{after:.2}s  {}: {}", event.subject, event.text));
                }
                Notice::View(view) => {
                    let well = self.hit.iter().all(|name| is_well(&view.data, name));
                    self.seen_sick |= !well || view.data.incidents.iter().any(|one| one.opened_at >= self.struck);
                    if well && self.seen_sick {
                        return Ok(Exit::Done);
                    }
                }
                Notice::Event(_) | Notice::Missed(_) => {}
            }
        }
    }

    fn concerns(&self, subject: &Subject) -> bool {
        subject == self.subject || matches!(subject, Subject::Workload(name) if self.hit.contains(name))
    }
}

fn is_well(view: &ClusterView, name: &WorkloadId) -> bool {
    let vm = view.workloads.iter().find(|vm| vm.workload == *name);
    vm.is_some_and(|vm| vm.health == "running" && vm.answers != Some(false) && vm.doing.is_none())
}

/// The incident that the disaster became, as a story.
async fn report(
    context: &Context<'_>,
    subject: &Subject,
    hit: &BTreeSet<WorkloadId>,
    struck: Time,
) -> Result<(), Failure> {
    let answer = context.client.get::<Vec<Incident>>("/v1/incidents").await?;
    let about = |incident: &&Incident| {
        incident.opened_at >= struck
            && (incident.subject == *subject || incident.workloads.iter().any(|vm| hit.contains(&vm.workload)))
    };
    let Some(incident) = answer.data.iter().find(about) else {
        context.output.talk("no incident came of it");
        return Ok(());
    };
    match context.output.json {
        true => context.output.document(&answer.with(incident)),
        false => {
            let noticed = render::span(incident.opened_at.since(struck));
            let story = render::incident(incident, &context.output.look(answer.now()));
            context.output.data(&format!("Believed {noticed} after the blow.\n\n{story}"));
        }
    }
    Ok(())
}
