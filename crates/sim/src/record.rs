//! What is written down of a run: a trace to read, and the parts that reports and expectations ask for.

use crate::{
    seen::Seen,
    world::{News, Starter, Truth, World},
};
use mainstay_engine::{Step, Table};
use mainstay_model::{
    Action, ActionId, Alarm, Detail, Event, Fact, HostId, Order, Outcome, PointId, Reply, Span, StopHow, Time,
    WorkloadId,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// A fencing, from decision to confirmation.
#[derive(Clone, Debug)]
pub(crate) struct Fencing {
    pub host: HostId,
    pub decided: Time,
    pub off: Option<Time>,
    pub confirmed: Option<Time>,
}

/// A workload that came to another place or back to life.
#[derive(Clone, Debug)]
pub(crate) struct Passage {
    pub workload: WorkloadId,
    pub from: Option<HostId>,
    pub to: HostId,
    pub at: Time,
}

/// An alarm's life.
#[derive(Clone, Debug)]
pub(crate) struct AlarmSpan {
    pub alarm: Alarm,
    pub raised: Time,
    pub cleared: Option<Time>,
}

/// A time in which a workload did not execute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    pub from: Time,
    pub to: Option<Time>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// The trace is written: of thousands of seeds that pass none is read.
    pub traced: bool,
    /// One line per thing worth reading.
    pub trace: Vec<String>,
    pub events: Vec<Event>,
    pub fencings: Vec<Fencing>,
    pub recoveries: Vec<Passage>,
    pub moves: Vec<Passage>,
    /// Every start by the controller, recoveries and moves included.
    pub starts: Vec<Passage>,
    pub alarms: Vec<AlarmSpan>,
    pub outages: BTreeMap<WorkloadId, Vec<Outage>>,
    pub reverts: Vec<(WorkloadId, PointId, u64)>,
    /// Work in milliseconds that storage lost, however it had acknowledged it: nobody's doing.
    pub lost_to_disk: BTreeMap<WorkloadId, u64>,
    pub replies: Vec<Reply>,
    /// States and doings of the engine that were seen.
    pub seen: Seen,
    alarm_rows: BTreeMap<String, usize>,
    orders: BTreeMap<ActionId, Action>,
    last_ran: BTreeMap<WorkloadId, HostId>,
    power_lost: BTreeMap<HostId, Time>,
    /// Stopped by the controller to be moved, while it was well.
    moving: BTreeSet<WorkloadId>,
    /// Off at the beginning or stopped by a person: starting it is no recovery.
    wanted_off: BTreeSet<WorkloadId>,
}

impl Record {
    /// Nothing yet; remembers where guests run at the beginning.
    pub fn new(world: &World) -> Record {
        let mut record = Record { traced: true, ..Record::default() };
        for guest in world.guests.values() {
            match guest.host() {
                Some(host) => _ = record.last_ran.insert(guest.name.clone(), host),
                None => _ = record.wanted_off.insert(guest.name.clone()),
            }
        }
        record
    }

    /// A line of the trace.
    pub fn note(&mut self, now: Time, text: fmt::Arguments<'_>) {
        if self.traced {
            self.trace.push(format!("{:>10.3} {text}", now.0 as f64 / 1000.0));
        }
    }

    /// What reached the controller: outcomes always, facts that are not mere routine.
    pub fn news(&mut self, now: Time, news: &News) {
        match news {
            News::Outcome(id, outcome) => {
                self.note(now, format_args!("  {id} ◀ {outcome}"));
                let confirmed = matches!(outcome, Outcome::Done { detail: Detail::Fenced { .. } });
                if confirmed && let Some(Action::Fence { host, .. }) = self.orders.get(id) {
                    let lost = self.power_lost.get(host).copied();
                    let open = self.fencings.iter_mut().rev().find(|fencing| fencing.host == *host);
                    if let Some(fencing) = open.filter(|fencing| fencing.confirmed.is_none()) {
                        fencing.confirmed = Some(now);
                        fencing.off = lost;
                    }
                }
            }
            News::Fact(Fact::Domain { host, workload, change }) => {
                self.note(now, format_args!("  {host} says of {workload}: {change:?}"));
            }
            News::Fact(_) => {}
        }
    }

    /// An order left.
    pub fn order(&mut self, now: Time, order: &Order) {
        self.note(now, format_args!("  {} ▶ {}", order.id, order.action));
        self.orders.insert(order.id, order.action.clone());
        self.seen.action(&order.action);
        match &order.action {
            Action::Fence { host, .. } => {
                let open = self.fencings.iter().any(|fencing| fencing.host == *host && fencing.confirmed.is_none());
                if !open {
                    let fencing = Fencing { host: host.clone(), decided: now, off: None, confirmed: None };
                    self.fencings.push(fencing);
                }
            }
            Action::Stop { workload, how: StopHow::Graceful, .. } => {
                self.moving.insert(workload.clone());
            }
            _ => {}
        }
    }

    /// Memory changed, events were written.
    pub fn changes(&mut self, now: Time, step: &Step) {
        for event in &step.events {
            self.note(now, format_args!("  {}: {}", event.subject, event.text));
        }
        self.events.extend(step.events.iter().cloned());
        step.changes.iter().for_each(|change| self.seen.change(change));
        for change in step.changes.iter().filter(|change| change.table == Table::Alarm) {
            let alarm = change.body.as_deref().and_then(|body| serde_json::from_str::<Alarm>(body).ok());
            let known = self.alarm_rows.get(&change.key).copied();
            match (alarm, known) {
                (Some(alarm), None) => {
                    self.seen.alarm(alarm.code);
                    self.alarm_rows.insert(change.key.clone(), self.alarms.len());
                    self.alarms.push(AlarmSpan { alarm, raised: now, cleared: None });
                }
                (Some(alarm), Some(index)) => {
                    if let Some(known) = self.alarms.get_mut(index) {
                        known.alarm = alarm;
                    }
                }
                (None, Some(index)) => {
                    self.alarm_rows.remove(&change.key);
                    if let Some(alarm) = self.alarms.get_mut(index) {
                        alarm.cleared = Some(now);
                    }
                }
                (None, None) => {}
            }
        }
    }

    /// A command was answered.
    pub fn reply(&mut self, now: Time, reply: &Reply) {
        self.note(now, format_args!("  reply: {reply:?}"));
        self.replies.push(reply.clone());
    }

    /// Something truly happened.
    pub fn truth(&mut self, world: &World, truth: &Truth) {
        let now = world.now;
        self.note(now, format_args!("* {truth}"));
        match truth {
            Truth::Started { guest, host, by } => {
                let from = self.last_ran.insert(guest.clone(), host.clone());
                let passage = Passage { workload: guest.clone(), from, to: host.clone(), at: now };
                let (moving, wanted_off) = (self.moving.remove(guest), self.wanted_off.remove(guest));
                if *by != Starter::Controller {
                    return;
                }
                self.starts.push(passage.clone());
                if wanted_off {
                    return;
                }
                if !moving {
                    self.recoveries.push(passage);
                } else if passage.from.as_ref() != Some(host) {
                    self.moves.push(passage);
                }
            }
            Truth::Moved { guest, from, to, .. } => {
                self.last_ran.insert(guest.clone(), to.clone());
                let passage = Passage { workload: guest.clone(), from: Some(from.clone()), to: to.clone(), at: now };
                self.moves.push(passage);
            }
            Truth::PersonStopped { guest } => {
                self.wanted_off.insert(guest.clone());
            }
            Truth::PowerLost { host } | Truth::Hibernated { host } => {
                self.power_lost.insert(host.clone(), now);
            }
            Truth::WorkLost { guest, lost_ms } => *self.lost_to_disk.entry(guest.clone()).or_default() += lost_ms,
            Truth::Reverted { guest, point, lost_ms } => self.reverts.push((guest.clone(), point.clone(), *lost_ms)),
            _ => {}
        }
    }

    /// Writes down which workloads begin or cease to execute.
    pub fn outages(&mut self, world: &World) {
        for guest in world.guests.values() {
            let executes = guest
                .processes
                .iter()
                .any(|(host, process)| process.writes() && world.hosts.get(host).is_some_and(|host| host.executes()));
            let outages = self.outages.entry(guest.name.clone()).or_default();
            let open = outages.last_mut().filter(|outage| outage.to.is_none());
            match (executes, open) {
                (false, None) => outages.push(Outage { from: world.now, to: None }),
                (true, Some(outage)) => outage.to = Some(world.now),
                _ => {}
            }
        }
    }

    /// The longest time in which the workload did not execute, until `end`.
    pub fn downtime(&self, workload: &WorkloadId, end: Time) -> Span {
        let outages = self.outages.get(workload).into_iter().flatten();
        outages.map(|outage| outage.to.unwrap_or(end).since(outage.from)).max().unwrap_or(Span::ZERO)
    }
}
