//! One host: its connection, its heartbeat, and the events it pushes.
//!
//! ```text
//!   connect ──▶ subscribe ──▶ inventory, heartbeat, events, statistics at the same time ──▶ closed, or heartbeats missed
//!      ▲                                                                                      │
//!      └───────────── short pause; each failed attempt is a fact ◀────────────────────────────┘
//! ```

use super::{
    Context, STUCK,
    domain::{Interpreter, Meaning},
    inventory, ping, ready, statistics,
};
use crate::{link::Link, pump::with_causes, shortage, supervise::Pulse};
use mainstay_libvirt::{CloseReason, Connection, Error, Event, EventKind, Events, Uuid};
use mainstay_model::{DomainChange, Fact, HostChannel, OffReason, Span, WorkloadId};
use std::{sync::Arc, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};

/// Missed one after the other, they end the connection: the way back is a new one, which a half-dead TCP session must not block.
const MISSED: u32 = 3;
/// No heartbeat waits less for its answer, however often it is asked: a busy libvirtd takes its time.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// Whose host is watched, and with what. Each part is a task of its own: what wakes one does not make the others look.
#[derive(Clone)]
struct Watch {
    link: Arc<Link>,
    context: Context,
    pulse: Pulse,
    every: Duration,
}

/// Watches a host for ever.
pub(crate) async fn watch_host(link: Arc<Link>, context: Context, pulse: Pulse, every: Span) {
    let watch = Watch { link, context, pulse, every: every.as_duration() };
    let (pinged, asked) = (watch.clone(), watch);
    let mut parts = JoinSet::new();
    parts.spawn(async move { ping::watch(&pinged.link, &pinged.context, &pinged.pulse, every).await });
    parts.spawn(async move { asked.hypervisor().await });
    first(&mut parts).await;
}

/// The first part that ends. If it panicked, so does whoever waits for it.
async fn first<T: 'static>(parts: &mut JoinSet<T>) -> Option<T> {
    match parts.join_next().await? {
        Ok(ended) => Some(ended),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => None,
    }
}

impl Watch {
    async fn hypervisor(&self) {
        let Watch { link, context, pulse, every } = self;
        // Three calls, each with this limit.
        let connecting = STUCK + *every + 3 * link.config.driver.connect_timeout.as_duration();
        loop {
            let part = pulse.part("connecting", connecting);
            let began = Instant::now();
            let attempt = tokio::select! {
                attempt = connect(link) => attempt,
                () = link.heard_again.notified() => continue,
            };
            drop(part);
            let fact = match attempt {
                Ok(connections) => {
                    tracing::info!(host = %link.host, "connected to libvirt");
                    self.connections(connections).await
                }
                Err(error) if shortage::is_ours(&error) || error.says_nothing_of_the_host() => {
                    unasked(link, with_causes(&error))
                }
                Err(error) => silent(link, with_causes(&error), false),
            };
            tracing::debug!(host = %link.host, ?fact, "no connection to libvirt");
            link.forget_idle();
            context.report(fact).await;
            tokio::select! {
                () = tokio::time::sleep_until(began + *every) => {}
                () = link.heard_again.notified() => {}
            }
        }
    }

    /// Works on connections until one is of no more use; returns what that says of the host.
    async fn connections(&self, Connections { main, events, alone }: Connections) -> Fact {
        // It answered real calls to get here. Told before any list, or what that list tells of would be judged as of a host that is not in
        // sight, and what fell meanwhile would start elsewhere.
        self.context.report(heard(&self.link)).await;
        let mut parts = JoinSet::new();
        let (watch, connection) = (self.clone(), main.clone());
        parts.spawn(async move { inventory::watch(&watch.link, &watch.context, &watch.pulse, &connection).await });
        let (watch, connection) = (self.clone(), main.clone());
        parts.spawn(async move {
            statistics::watch(&watch.link, &watch.context, &watch.pulse, &connection).await;
            "statistics ended".to_owned()
        });
        let watch = self.clone();
        parts.spawn(async move {
            ready::watch(&watch.link, &watch.context, &watch.pulse).await;
            "readiness ended".to_owned()
        });
        let watch = self.clone();
        parts.spawn(async move { watch.heartbeat(&alone).await });
        // Events that came before the connection ended are told before anything else ends: their stream ends with it.
        let why = tokio::select! {
            biased;
            () = receive(&self.link, &self.context, events) => "the stream of events ended".to_owned(),
            why = first(&mut parts) => why.unwrap_or_default(),
        };
        // Nothing that these saw may come after the word that the host is silent.
        parts.shutdown().await;
        match main.close_reason() {
            Some(reason) if shortage::is_ours(reason.as_ref()) => unasked(&self.link, reason.to_string()),
            Some(reason) => silent(&self.link, reason.to_string(), matches!(*reason, CloseReason::EndOfFile)),
            None => silent(&self.link, why, false),
        }
    }

    /// A real call each time: libvirtd may answer keepalives long after its workers are stuck.
    async fn heartbeat(&self, connection: &Connection) -> String {
        let Watch { link, context, pulse, every } = self;
        let mut missed = 0;
        let mut ticks = tokio::time::interval(*every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let part = pulse.part("heartbeat", STUCK + *every);
        loop {
            ticks.tick().await;
            part.beat();
            match connection.libvirt_version((*every).max(SHORTEST_WAIT)).await {
                Ok(_) => {
                    missed = 0;
                    context.report(heard(link)).await;
                }
                Err(error) => {
                    missed += 1;
                    if missed >= MISSED {
                        return with_causes(&error);
                    }
                    context.report(silent(link, with_causes(&error), false)).await;
                }
            }
        }
    }
}

/// Connections to one host.
struct Connections {
    /// For events, inventories and statistics, which a stuck domain may hold up.
    main: Connection,
    events: Events,
    /// For heartbeats alone, which nothing may hold up but libvirtd itself.
    alone: Connection,
}

async fn connect(link: &Link) -> Result<Connections, Error> {
    let limit = link.config.driver.connect_timeout.as_duration();
    let main = link.open(limit).await?;
    let events = main.subscribe(&EventKind::ALL, limit).await?;
    let alone = link.open(limit).await?;
    Ok(Connections { main, events, alone })
}

fn heard(link: &Link) -> Fact {
    Fact::HostHeard { host: link.host.clone(), channel: HostChannel::Hypervisor }
}

fn silent(link: &Link, error: String, closed: bool) -> Fact {
    Fact::HostSilent { host: link.host.clone(), channel: HostChannel::Hypervisor, error, closed }
}

fn unasked(link: &Link, error: String) -> Fact {
    Fact::HostUnasked { host: link.host.clone(), channel: HostChannel::Hypervisor, error }
}

async fn receive(link: &Link, context: &Context, mut events: Events) {
    let mut interpreter = Interpreter::default();
    while let Some(event) = events.next().await {
        match event {
            Event::Domain { name, uuid, what } => {
                tracing::debug!(host = %link.host, domain = name, ?what, "event");
                let workload = WorkloadId::from(name);
                match interpreter.meaning(uuid, &what) {
                    Meaning::Change(change) => changed(link, context, uuid, workload, change).await,
                    // An inventory tells. Asking here would hold up the events behind this one, and an inventory that was
                    // asked later than they came could overtake them.
                    Meaning::Ask => link.look.at(&workload),
                    Meaning::Nothing => {}
                }
            }
            Event::HypervisorClosed { .. } | Event::Lagged { .. } => {
                tracing::warn!(host = %link.host, ?event, "events may be missing; reading the inventory");
                link.look.at_all();
            }
        }
    }
}

async fn changed(link: &Link, context: &Context, uuid: Uuid, workload: WorkloadId, change: DomainChange) {
    let seen = match change {
        DomainChange::State(state) => Some(state),
        DomainChange::Undefined => Some(mainstay_model::DomainState::Off(OffReason::Undefined)),
        DomainChange::Defined | DomainChange::Rebooted | DomainChange::Watchdog => None,
    };
    let namesake = context.memory.is_namesake(&workload, uuid);
    // The engine first: everything else can wait.
    if !namesake {
        context.report(Fact::Domain { host: link.host.clone(), workload: workload.clone(), change }).await;
    }
    if let DomainChange::State(state) = change {
        link.told(uuid, state);
    }
    if let Some(state) = seen.filter(|_| !namesake) {
        let now = context.clock.now();
        context.roster.seen(&workload, uuid, &link.host, state, now);
        context.stats.seen(&workload, &link.host, state, now);
    }
    // A reboot changes nothing that an inventory would tell.
    if !matches!(change, DomainChange::Rebooted | DomainChange::Watchdog) {
        link.look.at(&workload);
    }
}
