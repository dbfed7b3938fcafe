//! One host: its connection, its heartbeat, and the events it pushes.
//!
//! ```text
//!   connect ──▶ subscribe ──▶ inventory, heartbeat, events, statistics at the same time ──▶ closed, or heartbeats missed
//!      ▲                                                                                      │
//!      └───────────── short pause; each failed attempt is a fact ◀────────────────────────────┘
//! ```

use super::{
    Context,
    domain::{Interpreter, Meaning, explained},
    inventory, ping, statistics,
};
use crate::{link::Link, pump::with_causes};
use mainstay_libvirt::{CloseReason, Connection, Error, Event, EventKind, Events, Uuid};
use mainstay_model::{DomainChange, Fact, HostChannel, OffReason, Span, WorkloadId};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, MissedTickBehavior};

/// Missed one after the other, they end the connection: the way back is a new one, which a half-dead TCP session must not block.
const MISSED: u32 = 3;
/// No heartbeat waits less for its answer, however often it is asked: a busy libvirtd takes its time.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// Watches a host for ever.
pub(crate) async fn watch_host(link: Arc<Link>, context: Context, every: Span) {
    tokio::join!(ping::watch(&link, &context, every), watch_hypervisor(&link, &context, every));
}

async fn watch_hypervisor(link: &Link, context: &Context, every: Span) {
    let every = every.as_duration();
    loop {
        let began = Instant::now();
        let attempt = tokio::select! {
            attempt = connect(link) => attempt,
            () = link.heard_again.notified() => continue,
        };
        let (error, closed) = match attempt {
            Ok(connections) => {
                tracing::info!(host = %link.host, "connected to libvirt");
                watch_connections(link, context, connections, every).await
            }
            Err(error) => (with_causes(&error), false),
        };
        tracing::debug!(host = %link.host, error, "no connection to libvirt");
        link.forget_idle();
        context.report(silent(link, error, closed)).await;
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
    pulse: Connection,
}

async fn connect(link: &Link) -> Result<Connections, Error> {
    let limit = link.config.driver.connect_timeout.as_duration();
    let main = link.open(limit).await?;
    let events = main.subscribe(&EventKind::ALL, limit).await?;
    let pulse = link.open(limit).await?;
    Ok(Connections { main, events, pulse })
}

/// Works on connections until one is of no more use; returns why, and whether libvirtd closed it.
async fn watch_connections(
    link: &Link,
    context: &Context,
    connections: Connections,
    every: Duration,
) -> (String, bool) {
    let Connections { main, events, pulse } = connections;
    let why = tokio::select! {
        reason = main.closed() => reason.to_string(),
        error = heartbeat(link, context, &pulse, every) => error,
        () = receive(link, context, &main, events) => "the stream of events ended".to_owned(),
        error = inventory::watch(link, context, &main) => error,
        () = statistics::watch(link, context, &main) => "statistics ended".to_owned(),
    };
    let closed = matches!(main.close_reason().as_deref(), Some(CloseReason::EndOfFile));
    (why, closed)
}

/// A real call each time: libvirtd may answer keepalives long after its workers are stuck.
async fn heartbeat(link: &Link, context: &Context, connection: &Connection, every: Duration) -> String {
    let mut missed = 0;
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
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

async fn receive(link: &Link, context: &Context, connection: &Connection, mut events: Events) {
    let mut interpreter = Interpreter::default();
    while let Some(event) = events.next().await {
        match event {
            Event::Domain { name, uuid, what } => {
                tracing::debug!(host = %link.host, domain = name, ?what, "event");
                let workload = WorkloadId::from(name);
                match interpreter.meaning(uuid, &what) {
                    Meaning::Change(change) => changed(link, context, uuid, workload, change).await,
                    Meaning::Ask => ask(link, context, connection, uuid, workload).await,
                    Meaning::Nothing => {}
                }
            }
            Event::HypervisorClosed { .. } | Event::Lagged { .. } => {
                tracing::warn!(host = %link.host, ?event, "events may be missing; reading the inventory");
                link.look.notify_one();
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
    // The engine first: everything else can wait.
    context.report(Fact::Domain { host: link.host.clone(), workload: workload.clone(), change }).await;
    if let Some(state) = seen {
        link.told(uuid, state);
        let now = context.clock.now();
        context.roster.seen(&workload, &link.host, state, now);
        context.stats.seen(&workload, &link.host, state, now);
    }
    link.look.notify_one();
}

/// An event that is not clear by itself. If the answer does not come, the next inventory tells.
async fn ask(link: &Link, context: &Context, connection: &Connection, uuid: Uuid, workload: WorkloadId) {
    let state_now = async {
        let Some(domain) = connection.find_domain_by_uuid(uuid, link.limit()).await? else { return Ok(None) };
        let native = connection.domain_state(&domain, link.limit()).await?;
        Ok::<_, Error>(Some(explained(connection, &domain, native, link.limit()).await))
    };
    match state_now.await {
        Ok(Some(state)) => changed(link, context, uuid, workload, DomainChange::State(state)).await,
        Ok(None) => {}
        Err(error) => {
            tracing::debug!(host = %link.host, %workload, %error, "its state could not be asked");
            link.look.notify_one();
        }
    }
}
