//! What the controller's sensors see of the world: keepalive and ping, lists, statistics, probes, pushed events; each
//! with the delays, losses and half-truths that they have in life.

use super::{Condition, Definition, Guest, Host, Management, News, Planned, SET_ASIDE, World};
use crate::deed::{StorageState, Weather};
use mainstay_model::{
    Activity, DomainChange, DomainSeen, DomainState, Fact, GuestChannel, HostChannel, HostId, Obstacle, ObstacleKind,
    Outcome, Span, Time, WorkloadId,
};
use std::{collections::BTreeMap, sync::Arc};

pub(super) const LIST_EVERY: Span = Span::secs(5);
pub(super) const STATISTICS_EVERY: Span = Span::secs(2);
const PROBE_EVERY: Span = Span::secs(1);
/// A guest that is not probed is looked at again after this: the configuration may have changed.
const PROBES_CHANGE_WITHIN: Span = Span::secs(10);
pub(super) const POINTS_EVERY: Span = Span::minutes(1);
pub(super) const READINESS_EVERY: Span = Span::secs(30);
/// The fence devices of a host are asked so long after watching it began.
const DEVICES_FIRST: Span = Span::secs(30);
/// A probe that got no answer says so after this long.
const PROBE_TIMEOUT: Span = Span::millis(800);
/// Keepalives without an answer before a connection is given up.
const MISSES: u32 = 3;

impl World {
    /// Begins to ask a host, each question at its own moment.
    pub(super) fn watch_host(&mut self, name: &HostId) {
        let every = self.spec.detection.heartbeat_every.0;
        let Some(host) = self.hosts.get_mut(name) else { return };
        let [first, second, third, fourth] = [every, LIST_EVERY.0, STATISTICS_EVERY.0, POINTS_EVERY.0]
            .map(|every| Span(host.random.between(1, every.max(1))));
        self.plan(first, Planned::Heartbeat(name.clone()));
        self.plan(second, Planned::AskList(name.clone()));
        self.plan(third, Planned::Statistics(name.clone()));
        self.plan(fourth, Planned::AskPoints(name.clone()));
        self.plan(DEVICES_FIRST, Planned::AskDevices(name.clone()));
    }

    /// Begins to probe a guest.
    pub(super) fn watch_guest(&mut self, name: &WorkloadId) {
        let Some(guest) = self.guests.get_mut(name) else { return };
        let first = Span(guest.random.between(1, PROBE_EVERY.0));
        self.plan(first, Planned::Probe(name.clone()));
    }

    pub(super) fn heartbeat(&mut self, name: &HostId) {
        let (Some(host), Some(spec)) = (self.hosts.get_mut(name), self.spec.hosts.get(name)) else { return };
        let pinged = !spec.address.is_empty();
        let delay = Span(host.random.between(1, 15));
        let booted_at = host.booted_at;
        let (pings, manages, was_open) = (host.answers_ping(), host.answers_management(), host.connection.open);
        let refused = pings && host.management == Management::Dead;
        // A controller that sleeps opens no connection, so nothing new is pushed to it (scenario 588).
        let opens = manages && !was_open && !self.asleep;
        if manages {
            host.connection.misses = 0;
            host.connection.open |= opens;
            if opens {
                host.connection.number += 1;
            }
        } else {
            host.connection.misses += 1;
        }
        let give_up = was_open && !manages && (refused || host.connection.misses >= MISSES);
        let error = if refused { "connection refused" } else { "no answer" };
        let at_once = self.now + delay >= host.connection.last_arrival && self.weather.is_empty();
        if pinged && manages && at_once {
            host.connection.last_arrival = self.now + delay;
            self.plan(delay, Planned::Alive(self.session, name.clone()));
        } else {
            if pinged {
                self.tell(Some(name), delay, host_fact(name, HostChannel::Ping, pings, error));
            }
            self.tell_over(name, delay, host_fact(name, HostChannel::Hypervisor, manages, error));
        }
        if give_up {
            self.close(name, error);
        }
        if opens {
            self.tell_over(name, delay, Fact::HostBooted { host: name.clone(), at: booted_at });
            self.ask_list(name);
            self.points_of(name);
        }
    }

    /// The connection to a host ends: what was under way over it is unknown from now on.
    pub(super) fn close(&mut self, name: &HostId, error: &str) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        if !host.connection.open {
            return;
        }
        host.connection.open = false;
        let number = host.connection.number;
        let lost: Vec<_> =
            self.calls.iter_mut().filter_map(|(id, call)| call.lose(name, number).then_some(*id)).collect();
        for id in lost {
            self.hear(Span(1), News::Outcome(id, Outcome::unknown(format!("connection to {name} lost: {error}"))));
        }
    }

    /// The daemon went away and said so: the connection is closed at once.
    pub(super) fn hang_up(&mut self, name: &HostId, error: &str) {
        let Some(host) = self.hosts.get(name) else { return };
        if host.connection.open && !(host.path.cut || host.path.answers_lost || host.path.management_cut) {
            let (host, channel, error_text) = (name.clone(), HostChannel::Hypervisor, error.to_owned());
            self.tell_over(name, Span(2), Fact::HostSilent { host, channel, error: error_text, closed: true });
            self.close(name, error);
        }
    }

    pub(super) fn ask_list(&mut self, name: &HostId) {
        let asked_at = self.now;
        let Some(host) = self.hosts.get_mut(name).filter(|host| host.connection.open) else { return };
        let delay = Span(host.random.between(1, 8));
        self.plan(delay, Planned::List(name.clone(), asked_at));
    }

    /// The question is at the host: it answers with what it has now.
    pub(super) fn list(&mut self, name: &HostId, asked_at: Time) {
        let Some(host) = self.hosts.get(name) else { return };
        if !(host.connection.open && host.answers_management() && self.spec.hosts.contains_key(name)) {
            return;
        }
        let capacity = host.capacity;
        let domains = match self.lists.get(name) {
            Some(list) => list.clone(),
            None => {
                let list = Arc::new(self.domains_of(host));
                self.lists.insert(name.clone(), list.clone());
                list
            }
        };
        let delay = self.reply_delay(name);
        let fact = Fact::Inventory { host: name.clone(), asked_at, capacity, domains };
        match self.list_takes(name) {
            Span::ZERO => self.tell_over(name, delay, fact),
            takes => {
                let number = self.hosts.get(name).map_or(0, |host| host.connection.number);
                self.plan(takes, Planned::Listed(name.clone(), number, Box::new(fact)));
            }
        }
    }

    /// How long the host needs for a list: what it has is gathered in the beginning, and told in the end.
    fn list_takes(&mut self, name: &HostId) -> Span {
        let most = |host| self.slow_lists.get(&(host, ())).copied().unwrap_or(0);
        let most = most(None).max(most(Some(name.clone())));
        if most == 0 { Span::ZERO } else { Span(self.list_random.between(1, most)) }
    }

    /// Meanwhile heartbeats and events went their way.
    pub(super) fn listed(&mut self, name: &HostId, number: u64, list: Fact) {
        let host = self.hosts.get(name).filter(|host| host.connection.open && host.connection.number == number);
        if host.is_some_and(|host| host.answers_management()) {
            let delay = self.reply_delay(name);
            self.tell_over(name, delay, list);
        }
    }

    fn domains_of(&self, host: &Host) -> BTreeMap<WorkloadId, DomainSeen> {
        let seen = |(workload, definition): (&WorkloadId, &Definition)| {
            let guest = self.guests.get(workload)?;
            let process = guest.processes.get(&host.name);
            let seen = DomainSeen {
                uuid: guest.uuid.clone(),
                state: process.map_or(DomainState::Off(definition.off), |process| process.state()),
                needs: guest.needs,
                autostart: definition.autostart,
                tags: guest.tags.clone(),
                datastores: [guest.datastore.clone()].into(),
                movable: guest.movable,
                only_here: Default::default(),
                passed_through: Default::default(),
            };
            Some((workload.clone(), seen))
        };
        let mut domains: BTreeMap<_, _> = host.domains.iter().filter_map(seen).collect();
        for name in &host.namesakes {
            let other = self.guests.get(name).map(|guest| DomainSeen {
                uuid: format!("{name} of {}", host.name),
                state: DomainState::Running,
                needs: guest.needs,
                autostart: false,
                tags: guest.tags.clone(),
                datastores: [guest.datastore.clone()].into(),
                movable: true,
                only_here: Default::default(),
                passed_through: Default::default(),
            });
            domains.extend(other.map(|other| (name.clone(), other)));
        }
        domains
    }

    /// Lists the snapshots of each domain on the host.
    pub(super) fn points_of(&mut self, name: &HostId) {
        let Some(host) = self.hosts.get(name) else { return };
        if !(host.connection.open && host.answers_management()) {
            return;
        }
        let lists: Vec<Fact> = host
            .domains
            .keys()
            .filter_map(|workload| self.guests.get(workload))
            .filter(|guest| guest.host().is_none_or(|runs_on| runs_on == *name))
            .map(|guest| Fact::PointsSeen {
                workload: guest.name.clone(),
                asked_at: self.now,
                points: guest.points.keys().cloned().collect(),
                set_aside: guest.points.keys().filter(|name| name.as_str().starts_with(SET_ASIDE)).cloned().collect(),
            })
            .collect();
        for fact in lists {
            let delay = self.reply_delay(name);
            self.tell_over(name, delay, fact);
        }
    }

    /// Which guests the host could start, and what it lacks for the others.
    pub(super) fn readiness_of(&mut self, name: &HostId) {
        let Some(host) = self.hosts.get(name) else { return };
        if !(host.connection.open && host.answers_management()) {
            return;
        }
        let lacks = |guest: &Guest| {
            let gone = guest.bridges.intersection(&host.lacks);
            gone.map(|bridge| Obstacle { kind: ObstacleKind::Bridge, what: bridge.clone() }).collect()
        };
        let others = self.guests.values().filter(|guest| !guest.processes.contains_key(name));
        let workloads = Arc::new(others.map(|guest| (guest.name.clone(), lacks(guest))).collect());
        let delay = self.reply_delay(name);
        let asked_at = self.now;
        self.tell_over(name, delay, Fact::Readiness { host: name.clone(), asked_at, workloads });
    }

    /// Statistics of the host's domains; a stopped process gives none.
    pub(super) fn statistics(&mut self, name: &HostId) {
        let Some(host) = self.hosts.get(name) else { return };
        if !(host.connection.open && host.answers_management()) {
            return;
        }
        let mut activities = Vec::with_capacity(host.domains.len());
        for workload in host.domains.keys() {
            let Some(guest) = self.guests.get_mut(workload) else { continue };
            let moves = self.storage.get(&guest.datastore).is_none_or(|datastore| datastore.at(name).lets_write());
            let Some(process) = guest.processes.get_mut(name).filter(|process| !process.halted) else { continue };
            grow(&mut process.activity, process.condition, moves);
            let activity = process.activity;
            activities.push((workload.clone(), activity));
        }
        let delay = self.reply_delay(name);
        self.tell_over(name, delay, Fact::Activity { host: name.clone(), activities });
    }

    /// Asks a guest on every channel that its policy names; gives when it is to be asked again.
    pub(super) fn probe(&mut self, name: &WorkloadId) -> Span {
        let Some(guest) = self.guests.get_mut(name) else { return PROBES_CHANGE_WITHIN };
        let (mut by_network, mut by_management) = (false, false);
        let asked = guest.channels(&self.spec);
        if asked == [None; 4] {
            return PROBES_CHANGE_WITHIN;
        }
        for (host, _) in guest.processes.iter().filter(|(_, process)| process.is_well()) {
            let Some(on) = self.hosts.get(host).filter(|on| on.executes()) else { continue };
            let datastore = self.storage.get(&guest.datastore);
            if datastore.is_none_or(|datastore| datastore.at(host) != StorageState::Hang) {
                by_network |= on.carries_guests();
                by_management |= on.connection.open && on.answers_management();
            }
        }
        // Only the weather asks where it comes from.
        let host = if self.weather.is_empty() { None } else { guest.runs_on().next().cloned() };
        let mut random = guest.random.clone();
        for channel in asked.into_iter().flatten() {
            let workload = name.clone();
            if if channel == GuestChannel::Agent { by_management } else { by_network } {
                let delay = Span(random.between(1, 30));
                self.tell(host.as_ref(), delay, Fact::GuestHeard { workload, channel });
            } else {
                self.tell(host.as_ref(), PROBE_TIMEOUT, Fact::GuestSilent { workload, channel });
            }
        }
        if let Some(guest) = self.guests.get_mut(name).filter(|_| by_network || by_management) {
            guest.random = random;
        }
        PROBE_EVERY
    }

    /// A domain event is pushed, if anybody listens.
    pub(super) fn push(&mut self, name: &HostId, workload: &WorkloadId, change: DomainChange) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.connection.open && host.is_heard() {
            let delay = Span(host.random.between(5, 60));
            self.tell_over(name, delay, Fact::Domain { host: name.clone(), workload: workload.clone(), change });
        }
    }

    fn reply_delay(&mut self, name: &HostId) -> Span {
        Span(self.hosts.get_mut(name).map_or(1, |host| host.random.between(1, 8)))
    }

    /// A fact over a host's connection: nothing overtakes what was sent before, unless the weather is bad.
    pub(super) fn tell_over(&mut self, name: &HostId, delay: Span, fact: Fact) {
        let now = self.now;
        // Of a host that left the configuration nothing is heard any more.
        let watched = self.spec.hosts.contains_key(name);
        let Some(host) = self.hosts.get_mut(name).filter(|_| watched) else { return };
        let arrival = (now + delay).max(host.connection.last_arrival);
        host.connection.last_arrival = arrival;
        self.tell(Some(name), arrival.since(now), fact);
    }

    /// A fact on its way, from a host or what runs there; bad weather drops, doubles or delays it.
    pub(super) fn tell(&mut self, from: Option<&HostId>, delay: Span, fact: Fact) {
        let mut delay = delay;
        if !self.weather.is_empty() {
            let of = |kind| {
                let amount = |host| self.weather.get(&(host, kind)).copied().unwrap_or(0);
                amount(None).max(from.map_or(0, |host| amount(Some(host.clone()))))
            };
            let (drop, double, slow) = (of(Weather::Drop), of(Weather::Double), of(Weather::Delay));
            // There is no connection without the answer to its first question.
            if self.weather_random.chance(drop) && !matches!(fact, Fact::HostBooted { .. }) {
                return;
            }
            if self.weather_random.chance(double) {
                let later = Span(self.weather_random.between(1, 2_000));
                self.hear(delay + later, News::Fact(fact.clone()));
            }
            delay = delay + Span(self.weather_random.between(0, slow));
        }
        self.hear(delay, News::Fact(fact));
    }

    pub(super) fn hear(&mut self, delay: Span, news: News) {
        let session = self.session;
        self.plan(delay, Planned::Arrival(session, news));
    }
}

fn host_fact(name: &HostId, channel: HostChannel, heard: bool, error: &str) -> Fact {
    let host = name.clone();
    if heard {
        Fact::HostHeard { host, channel }
    } else {
        Fact::HostSilent { host, channel, error: error.to_owned(), closed: false }
    }
}

/// Counters over one interval. The network brings something to every guest (others talk to it), also to a hung one.
fn grow(activity: &mut Activity, condition: Condition, disk_moves: bool) {
    activity.net_received += 300;
    match condition {
        Condition::Booting | Condition::Well | Condition::Deaf => {
            activity.cpu_ms += 120;
            if disk_moves {
                activity.disk_written += 81_920;
                activity.disk_read += 4_096;
                activity.net_sent += 2_000;
            }
        }
        // A hung kernel spins.
        Condition::Hung => activity.cpu_ms += 2_000,
        Condition::Incoming | Condition::Panicked | Condition::Paused(_) => {}
    }
}
