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
    inventory, ping, statistics,
};
use crate::{link::Link, pump::with_causes, supervise::Pulse};
use mainstay_libvirt::{CloseReason, Connection, Error, Event, EventKind, Events, Uuid};
use mainstay_model::{DomainChange, Fact, HostChannel, OffReason, Span, WorkloadId};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, MissedTickBehavior};

/// Missed one after the other, they end the connection: the way back is a new one, which a half-dead TCP session must not block.
const MISSED: u32 = 3;
/// No heartbeat waits less for its answer, however often it is asked: a busy libvirtd takes its time.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// Watches a host for ever.
pub(crate) async fn watch_host(link: Arc<Link>, context: Context, pulse: Pulse, every: Span) {
    tokio::join!(ping::watch(&link, &context, &pulse, every), watch_hypervisor(&link, &context, &pulse, every));
}

async fn watch_hypervisor(link: &Link, context: &Context, pulse: &Pulse, every: Span) {
    let every = every.as_duration();
    // Three calls, each with this limit.
    let connecting = STUCK + every + 3 * link.config.driver.connect_timeout.as_duration();
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
                let (error, closed) = watch_connections(link, context, pulse, connections, every).await;
                silent(link, error, closed)
            }
            Err(error) if error.says_nothing_of_the_host() => {
                let (host, channel) = (link.host.clone(), HostChannel::Hypervisor);
                Fact::HostUnasked { host, channel, error: with_causes(&error) }
            }
            Err(error) => silent(link, with_causes(&error), false),
        };
        tracing::debug!(host = %link.host, ?fact, "no connection to libvirt");
        link.forget_idle();
        context.report(fact).await;
        tokio::select! {
            () = tokio::time::sleep_until(began + every) => {}
            () = link.heard_again.notified() => {}
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

/// Works on connections until one is of no more use; returns why, and whether libvirtd closed it.
async fn watch_connections(
    link: &Link,
    context: &Context,
    pulse: &Pulse,
    connections: Connections,
    every: Duration,
) -> (String, bool) {
    let Connections { main, events, alone } = connections;
    let why = tokio::select! {
        reason = main.closed() => reason.to_string(),
        error = heartbeat(link, context, pulse, &alone, every) => error,
        () = receive(link, context, events) => "the stream of events ended".to_owned(),
        error = inventory::watch(link, context, pulse, &main) => error,
        () = statistics::watch(link, context, pulse, &main) => "statistics ended".to_owned(),
    };
    let closed = matches!(main.close_reason().as_deref(), Some(CloseReason::EndOfFile));
    (why, closed)
}

/// A real call each time: libvirtd may answer keepalives long after its workers are stuck.
async fn heartbeat(link: &Link, context: &Context, pulse: &Pulse, connection: &Connection, every: Duration) -> String {
    let mut missed = 0;
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let part = pulse.part("heartbeat", STUCK + every);
    loop {
        ticks.tick().await;
        part.beat();
        match connection.libvirt_version(every.max(SHORTEST_WAIT)).await {
            Ok(_) => {
                missed = 0;
                context.report(Fact::HostHeard { host: link.host.clone(), channel: HostChannel::Hypervisor }).await;
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

fn silent(link: &Link, error: String, closed: bool) -> Fact {
    Fact::HostSilent { host: link.host.clone(), channel: HostChannel::Hypervisor, error, closed }
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
