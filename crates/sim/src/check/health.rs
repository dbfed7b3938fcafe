//! Rule 9: a host that reported health within its bound is not fenced, and a healthy guest is not stopped by force, unless an
//! operator asked. Judged by what the controller heard; the checker adds it up by itself.

use super::{Checker, Rule, told::BOOT_TIME_OFF_BY};
use crate::world::World;
use mainstay_model::{
    Action, Activity, Command, DomainChange, DomainState, Fact, GuestChannel, HostChannel, HostId, Order, Span,
    StopHow, Time, WorkloadId,
    spec::{ClusterSpec, RecoveryPolicy},
};
use std::collections::{BTreeMap, BTreeSet};

/// Hosts whose last signs are no further apart than this fell silent together.
const TOGETHER: Span = Span::secs(2);
/// So many reboots in a row without an answer, and a guest is not healthy, however busy it is.
const REBOOTS: u32 = 5;

/// Signs of life, as the controller heard them.
#[derive(Clone, Debug, Default)]
pub(super) struct Signs {
    hosts: BTreeMap<HostId, HostSigns>,
    guests: BTreeMap<WorkloadId, GuestSigns>,
    /// Hosts that an operator wants fenced, until the controller can know that they were off.
    to_fence: BTreeMap<HostId, ToFence>,
    /// Guests that an operator wants stopped by force, until they are started again.
    to_stop: BTreeSet<WorkloadId>,
}

/// What an operator wants fenced.
#[derive(Clone, Copy, Debug)]
struct ToFence {
    asked: Time,
    /// When it lost its power since.
    off: Option<Time>,
}

#[derive(Clone, Debug, Default)]
struct HostSigns {
    heard: BTreeMap<HostChannel, Time>,
    /// It was asked in vain since.
    silent: bool,
    /// It was listed, so the controller watches it; and listed since it was silent last.
    known: bool,
    listed: bool,
    /// It closed its connection, as a host does that shuts down.
    closed: bool,
    /// A fence order left for it rightly, and it was not heard since: that is carried on with, whatever falls silent later.
    rightly_fenced: bool,
}

#[derive(Clone, Debug, Default)]
struct GuestSigns {
    /// When it answered, wrote or sent last.
    last: Option<Time>,
    /// When it was heard last over the network.
    heard: Option<Time>,
    activity: Option<Activity>,
    states: BTreeMap<HostId, (DomainState, Time)>,
    reboots: u32,
}

impl Signs {
    pub fn command(&mut self, command: &Command, now: Time) {
        match command {
            Command::FenceHost { host } | Command::CycleHost { host, .. } => {
                self.to_fence.insert(host.clone(), ToFence { asked: now, off: None });
            }
            Command::StopWorkload { workload, how, within } if *how == StopHow::Force || within.is_some() => {
                self.to_stop.insert(workload.clone());
            }
            Command::RestartWorkload { workload, how: StopHow::Force } | Command::Revert { workload, .. } => {
                self.to_stop.insert(workload.clone());
            }
            _ => {}
        }
    }

    /// What is taken out of the configuration is not watched, until it lists anew (scenario 677).
    pub fn configured(&mut self, spec: &ClusterSpec) {
        let gone = self.hosts.iter_mut().filter(|(host, _)| !spec.hosts.contains_key(*host));
        gone.for_each(|(_, signs)| signs.known = false);
    }

    pub fn fact(&mut self, fact: &Fact, now: Time) {
        match fact {
            Fact::HostHeard { host, channel } => {
                let signs = self.host(host);
                signs.heard.insert(*channel, now);
                signs.rightly_fenced = false;
                if *channel == HostChannel::Hypervisor {
                    (signs.silent, signs.closed) = (false, false);
                }
            }
            Fact::HostBooted { host, at } => {
                // Its boot has to be of after the request beyond doubt.
                let off_by = BOOT_TIME_OFF_BY + Span(now.since(*at).0 / 20);
                let to_fence = self.to_fence.get(host);
                if to_fence.is_some_and(|it| it.off.is_some_and(|off| off <= *at) && *at > it.asked + off_by) {
                    self.to_fence.remove(host);
                }
            }
            Fact::HostSilent { host, channel: HostChannel::Hypervisor, closed, .. } => {
                let signs = self.host(host);
                (signs.silent, signs.listed) = (true, false);
                signs.closed |= closed;
            }
            Fact::Inventory { host, asked_at, domains, .. } => {
                let signs = self.host(host);
                (signs.known, signs.listed) = (true, true);
                for (workload, seen) in &**domains {
                    self.state(host, workload, seen.state, *asked_at);
                }
            }
            Fact::Domain { host, workload, change: DomainChange::State(state) } => {
                self.host(host).silent = false; // its connection carries events, also before the next question is answered
                self.state(host, workload, *state, now)
            }
            Fact::Domain { workload, change: DomainChange::Rebooted, .. } => self.guest(workload).reboots += 1,
            Fact::Activity { host, activities } => {
                for (workload, activity) in activities {
                    let signs = self.guest(workload);
                    // Late counters of the host that it left say nothing of it (scenario 980).
                    if signs.states.get(host).is_some_and(|(state, _)| !state.is_live()) {
                        continue;
                    }
                    let moves = |last: Activity| {
                        let (last, new) = ([last.disk_read, last.disk_written, last.net_sent], activity);
                        last != [new.disk_read, new.disk_written, new.net_sent]
                    };
                    if signs.activity.replace(*activity).is_some_and(moves) {
                        signs.last = Some(now);
                    }
                }
            }
            Fact::GuestHeard { workload, channel } => {
                let signs = self.guest(workload);
                (signs.last, signs.reboots) = (Some(now), 0);
                if *channel != GuestChannel::Agent {
                    signs.heard = Some(now);
                }
            }
            _ => {}
        }
    }

    fn host(&mut self, host: &HostId) -> &mut HostSigns {
        self.hosts.entry(host.clone()).or_default()
    }

    fn guest(&mut self, workload: &WorkloadId) -> &mut GuestSigns {
        self.guests.entry(workload.clone()).or_default()
    }

    /// As of that time; what is older than the last that was heard says nothing.
    fn state(&mut self, host: &HostId, workload: &WorkloadId, state: DomainState, at: Time) {
        let signs = self.guest(workload);
        let before = match signs.states.get_mut(host) {
            Some((_, then)) if *then > at => return,
            Some(word) => Some(std::mem::replace(word, (state, at))),
            None => signs.states.insert(host.clone(), (state, at)),
        };
        if before.is_some_and(|(before, _)| !before.is_live()) && state.is_live() {
            (signs.last, signs.reboots, signs.activity) = (Some(at), 0, None);
        }
    }

    /// An order that was sent then brought it up there: that it runs is no news any more (scenario 545).
    pub fn came_up(&mut self, host: &HostId, workload: &WorkloadId, sent: Time, now: Time) {
        let before = self.guests.get(workload).and_then(|signs| signs.states.get(host));
        if before.is_none_or(|(state, at)| state.is_live() || *at <= sent) {
            self.state(host, workload, DomainState::Running, now);
        }
    }

    /// A host lost its power, so an operator's wish is fulfilled as soon as the controller knows.
    pub fn power_lost(&mut self, host: &HostId, now: Time) {
        if let Some(to_fence) = self.to_fence.get_mut(host) {
            to_fence.off.get_or_insert(now);
        }
    }

    /// The controller was told that the host is off.
    pub fn told_off(&mut self, host: &HostId) {
        self.to_fence.remove(host);
    }

    /// True if the hypervisor of the host was not heard since that time.
    pub fn unheard_since(&self, host: &HostId, at: Time) -> bool {
        let signs = self.hosts.get(host);
        signs.is_some_and(|signs| signs.heard.get(&HostChannel::Hypervisor).is_none_or(|heard| *heard < at))
    }

    /// A guest is started, so an operator's wish to stop it is over; but not if a start of the controller's own there was never answered,
    /// which it can't tell from this one (scenarios 553 and 902).
    pub fn started(&mut self, workload: &WorkloadId, may_be_late: bool) {
        if !may_be_late {
            self.to_stop.remove(workload);
        }
    }
}

impl Checker {
    /// A fence order leaves.
    pub(super) fn fences(&mut self, world: &World, order: &Order, host: &HostId) {
        self.stake(Rule::WellLeftAlone);
        if self.signs.to_fence.contains_key(host) {
            return;
        }
        let begun = self.signs.hosts.get(host).is_some_and(|signs| signs.rightly_fenced);
        let cut_off = || if begun { None } else { self.cut_off(world, host) };
        match self.reported_health(world, host).or_else(cut_off) {
            Some(why) => self.violate(world, Rule::WellLeftAlone, format!("{} although {why}", order.action)),
            None => self.signs.host(host).rightly_fenced = true,
        }
    }

    /// A fence is on record. If it was right then, it is carried on with, also if the controller dies before it leaves (scenario 821).
    pub(super) fn fence_decided(&mut self, world: &World, host: &HostId) {
        if self.reported_health(world, host).is_none() && self.cut_off(world, host).is_none() {
            self.signs.host(host).rightly_fenced = true;
        }
    }

    /// Why the host counts as healthy by what was heard of it, if it does.
    fn reported_health(&self, world: &World, host: &HostId) -> Option<String> {
        let (now, detection) = (world.now, world.spec.detection);
        let signs = self.signs.hosts.get(host)?;
        let silence = |channel| signs.heard.get(&channel).map(|heard| now.since(*heard));
        let hypervisor = silence(HostChannel::Hypervisor)?;
        if hypervisor < detection.host_lost_floor {
            return Some(format!("its hypervisor answered {hypervisor} ago"));
        }
        // Its address answers and its hypervisor does not: it hangs, if that lasts for long and its guests are silent as long.
        let ping = silence(HostChannel::Ping).filter(|ping| *ping < detection.host_lost_floor);
        if let Some(ping) = ping.filter(|_| hypervisor < detection.host_hung_after) {
            return Some(format!("its address answered {ping} ago"));
        }
        let within = if ping.is_some() { detection.host_hung_after } else { detection.host_lost_floor };
        // By the controller's own record: of what may run elsewhere an answer says nothing of this host.
        let only_there = |workload: &&WorkloadId| {
            self.on_record.get(*workload).is_some_and(|hosts| hosts.len() == 1 && hosts.contains(host))
        };
        let there = self.evidence.on(host);
        there.iter().filter(only_there).find_map(|workload| {
            let heard = now.since(self.signs.guests.get(workload)?.heard?);
            (heard < within).then(|| format!("{workload} on it answered {heard} ago"))
        })
    }

    /// Why it is the controller that is cut off: all that it watches fell silent together.
    fn cut_off(&self, world: &World, host: &HostId) -> Option<String> {
        let last = |name: &HostId, signs: &HostSigns| {
            let guests = self.on_record.iter().filter(|(_, hosts)| hosts.len() == 1 && hosts.contains(name));
            let heard = guests.filter_map(|(workload, _)| self.signs.guests.get(workload)?.heard);
            signs.heard.values().copied().chain(heard).max()
        };
        let fell = last(host, self.signs.hosts.get(host)?)?;
        let watched: Vec<_> = self
            .signs
            .hosts
            .iter()
            .filter(|(name, signs)| {
                signs.known && !signs.closed && world.spec.hosts.contains_key(*name) && !self.evidence.is_off(name)
            })
            .collect();
        // Its last question on any channel was in vain: one whose address answers is in sight.
        let bound = world.spec.detection.heartbeat_every.times(2);
        let together = |name: &HostId, signs: &HostSigns| {
            signs.silent
                && last(name, signs)
                    .is_some_and(|at| at.max(fell).since(at.min(fell)) < TOGETHER && world.now.since(at) >= bound)
        };
        // Not if another host, which counts no more by now, was heard for long after these fell silent, or is heard now though its
        // hypervisor hung up: then the controller was not cut off.
        let speaks = |(name, signs): (&HostId, &HostSigns)| {
            let watched = world.spec.hosts.contains_key(name); // or it left the configuration since (scenario 979)
            let counts_no_more = signs.closed || self.evidence.is_off(name) || !watched;
            let heard = last(name, signs).filter(|_| counts_no_more);
            heard.is_some_and(|at| at > fell + TOGETHER || (signs.closed && world.now.since(at) < bound))
        };
        let in_sight = self.signs.hosts.iter().any(speaks);
        (watched.len() > 1 && !in_sight && watched.iter().all(|(name, signs)| together(name, signs)))
            .then(|| format!("all {} hosts fell silent with it: the controller is cut off", watched.len()))
    }

    /// An order leaves that ends a guest by force.
    pub(super) fn kills(&mut self, world: &World, order: &Order, workload: &WorkloadId, host: &HostId) {
        let Some(signs) = self.signs.guests.get(workload) else { return };
        let runs = signs.states.get(host).is_some_and(|(state, _)| *state == DomainState::Running);
        if !runs || !self.evidence.was_seen(workload, host) {
            return;
        }
        let (last, reboots) = (signs.last, signs.reboots);
        self.stake(Rule::WellLeftAlone);
        let Some(guest) = world.guests.get(workload) else { return };
        let policy = world.spec.recovery_rule(workload, &guest.tags);
        let patience = policy.map_or_else(|| RecoveryPolicy::default().hung_after, |rule| rule.policy.hung_after);
        let silence = last.map(|last| world.now.since(last)).filter(|silence| *silence < patience);
        // It carries on with a revert that it was asked for until it knows that it was done.
        let reverts = matches!(order.action, Action::Revert { .. }) && self.reverts.is_asked(workload);
        let asked = reverts || self.signs.to_stop.contains(workload);
        if let Some(silence) = silence.filter(|_| !asked && reboots < REBOOTS) {
            let text = format!("{} although it gave a sign of life {silence} ago", order.action);
            self.violate(world, Rule::WellLeftAlone, text);
        }
    }
}
