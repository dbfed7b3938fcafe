//! Rule 1: at every start, by the controller or by a host alone, the workload truly executes nowhere else. Where the controller
//! could not know, it is excused, and only as long as it could not.

use super::{Checker, Rule};
use crate::world::{Guest, Power, Process, Starter, World};
use mainstay_model::{DomainChange, Fact, HostId, Span, Time, WorkloadId, spec::Managed};
use std::collections::BTreeMap;

/// Autostart that the controller heard of this long ago is switched off by now, if its host was in sight.
const AUTOSTART_IS_OFF_AFTER: Span = Span::minutes(3);

/// What runs on a host in reach is told of within this.
const TELLS_WITHIN: Span = Span::secs(10);

/// That a host is off, and it is not.
#[derive(Clone, Copy, Debug)]
struct Claim {
    since: Time,
    /// When the host listed since, so the controller knows better: orders that leave from then on are not excused.
    refuted: Option<Time>,
}

/// What excuses two at once.
#[derive(Clone, Debug, Default)]
pub(super) struct Alone {
    /// Hosts that a lying device or a mistaken person called off while they had power, and since when; until they are off.
    falsely_off: BTreeMap<HostId, Claim>,
    /// What each host would start by itself, since when the controller knows.
    autostart: BTreeMap<HostId, BTreeMap<WorkloadId, Time>>,
    /// When each host was asked for its newest list: only of one in sight can autostart be switched off.
    listed: BTreeMap<HostId, Time>,
    /// When each host hibernated last.
    hibernated: BTreeMap<HostId, Time>,
    /// What a host that hibernated went on with although it was proved off meanwhile, and when the host said so: nothing keeps it from
    /// that (scenario 701).
    resumed: BTreeMap<(WorkloadId, HostId), Option<Time>>,
    /// When an operator last had a workload looked after again.
    protected: BTreeMap<WorkloadId, Time>,
    /// When the controller began, or wakes up: what it does from then on, it does knowing that it had not looked.
    looks_since: Time,
}

/// When the controller had to know.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known {
    /// An order leaves now.
    Now,
    /// What was ordered some time ago happens now.
    WhenOrdered,
}

impl Alone {
    pub fn fact(&mut self, fact: &Fact, now: Time) {
        self.resumed.iter_mut().filter(|(_, told)| told.is_none()).for_each(|((workload, host), told)| {
            if says_live(fact, workload, host) {
                *told = Some(now);
            }
        });
        let Fact::Inventory { host, asked_at, domains, .. } = fact else { return };
        if let Some(claim) = self.falsely_off.get_mut(host).filter(|claim| claim.since < *asked_at) {
            claim.refuted.get_or_insert(now);
        }
        self.listed.insert(host.clone(), *asked_at);
        let marked = || domains.iter().filter(|(_, seen)| seen.autostart).map(|(workload, _)| workload);
        if marked().next().is_none() && !self.autostart.contains_key(host) {
            return; // as nearly always
        }
        let known = self.autostart.remove(host).unwrap_or_default();
        let still = marked().map(|workload| (workload.clone(), known.get(workload).copied().unwrap_or(now))).collect();
        self.autostart.insert(host.clone(), still);
    }

    /// The controller begins at that time, or wakes up.
    pub fn looks_since(&mut self, at: Time) {
        self.looks_since = at;
    }

    /// An operator has a workload looked after again.
    pub fn protected(&mut self, workload: &WorkloadId, now: Time) {
        self.protected.insert(workload.clone(), now);
    }

    /// A person says that a host is off.
    pub fn claimed_off(&mut self, world: &World, host: &HostId) {
        if world.hosts.get(host).is_some_and(|host| host.power == Power::On) {
            self.falsely_off.insert(host.clone(), Claim { since: world.now, refuted: None });
        }
    }

    pub fn power_lost(&mut self, host: &HostId) {
        self.falsely_off.remove(host);
        self.resumed.retain(|(_, on), _| on != host);
    }

    /// A host hibernates.
    pub fn hibernated(&mut self, host: &HostId, now: Time) {
        self.hibernated.insert(host.clone(), now);
    }

    /// True if a host that had hibernated went on with it, and it was not started there since.
    pub fn woke_up(&self, workload: &WorkloadId) -> bool {
        self.resumed.keys().any(|(of, _)| of == workload)
    }

    /// What was started there anew is that run no more.
    pub fn started(&mut self, workload: &WorkloadId, host: &HostId) {
        self.resumed.retain(|(of, on), _| of != workload || on != host);
    }

    /// While another tool's job holds the workload, its host refuses to change that; while an operator has it left alone, the
    /// controller does not; and what is out of sight it can't (scenario 552).
    fn knows_autostart(&self, world: &World, workload: &WorkloadId, host: &HostId) -> bool {
        let since = self.autostart.get(host).and_then(|marked| marked.get(workload));
        let (Some(since), Some(guest)) = (since, world.guests.get(workload)) else { return false };
        let protected = self.protected.get(workload).copied().unwrap_or_default();
        let able_since = guest.unlocked_at.max(*since).max(protected);
        let in_sight = self.listed.get(host).is_some_and(|listed| listed.since(able_since) > AUTOSTART_IS_OFF_AFTER);
        !guest.locked && in_sight
    }
}

impl Checker {
    /// A host that had hibernated goes on executing the workload.
    pub(super) fn resumed(&mut self, world: &World, workload: &WorkloadId, host: &HostId) {
        self.stake(Rule::NeverTwice);
        if !self.evidence.was_seen(workload, host) {
            self.alone.resumed.insert((workload.clone(), host.clone()), None);
        }
        if world.guests.get(workload).and_then(|guest| guest.host()).as_ref() == Some(host) {
            self.last_ran.insert(workload.clone(), host.clone());
        }
    }

    /// A process began to execute the workload.
    pub(super) fn runs_once(&mut self, world: &World, guest: &WorkloadId, host: &HostId, by: Starter) {
        let counts = match by {
            Starter::Controller => true,
            Starter::Autostart => self.alone.knows_autostart(world, guest, host) && self.is_managed(world, guest),
            Starter::Person | Starter::Storage => false,
        };
        let woke_up = by == Starter::Controller && self.woke_up_with_its_start(guest, host);
        if woke_up {
            self.alone.resumed.insert((guest.clone(), host.clone()), None); // as what ran there before (scenario 917)
        }
        let late = woke_up || by == Starter::Controller && self.was_called_off_with_its_start(guest, host);
        let counts = counts && !late;
        if let Some(other) = self.true_others(world, guest, host, Known::WhenOrdered).first().filter(|_| counts) {
            let text = format!("{guest} began to execute on {host} (by {by}) while it executes on {other}");
            self.violate(world, Rule::NeverTwice, text);
        }
    }

    /// The host hibernated with a start that it had taken, and goes on with it.
    fn woke_up_with_its_start(&self, guest: &WorkloadId, host: &HostId) -> bool {
        let sent = self.last_start_on.get(&(guest.clone(), host.clone()));
        sent.is_some_and(|sent| self.alone.hibernated.get(host).is_some_and(|hibernated| sent <= hibernated))
    }

    /// The host was called off and is not, a start that had left for it before that happens only now, and what runs elsewhere was
    /// ordered before the controller could know better (scenario 482). A start there that left after that is not excused.
    fn was_called_off_with_its_start(&self, guest: &WorkloadId, host: &HostId) -> bool {
        let Some(claim) = self.alone.falsely_off.get(host) else { return false };
        let sent = self.last_start_by_itself.get(&(guest.clone(), host.clone()));
        // A later move to this very host starts nothing elsewhere (scenario 748).
        let elsewhere = self.last_start_on.iter().filter(|((started, on), _)| started == guest && on != host);
        let elsewhere = elsewhere.map(|(_, left)| *left).max();
        sent.is_some_and(|sent| *sent <= claim.since)
            && elsewhere.is_some_and(|left| claim.refuted.is_none_or(|refuted| left < refuted))
    }

    /// In the end nothing that is managed would be started by its host alone.
    pub(super) fn nothing_starts_alone(&mut self, world: &World) {
        let would = self.alone.autostart.iter().flat_map(|(host, marked)| marked.keys().map(move |it| (host, it)));
        let would: Vec<(HostId, WorkloadId)> = would
            .filter(|(host, workload)| {
                let definition = world.hosts.get(*host).and_then(|host| host.domains.get(*workload));
                let listens = world.hosts.get(*host).is_some_and(|host| host.connection.open);
                let marked = definition.is_some_and(|definition| definition.autostart) && listens;
                let ours = self.is_managed(world, workload) && self.is_on_record(world, workload);
                marked && ours && self.alone.knows_autostart(world, workload, host)
            })
            .map(|(host, workload)| (host.clone(), workload.clone()))
            .collect();
        for (host, workload) in would {
            let text = format!("{workload} would be started by {host} alone, and the controller knew for long");
            self.violate(world, Rule::NeverTwice, text);
        }
    }

    /// False if a namesake took the place of this guest, whose hosts were out of sight or configured no more: then what is on record is
    /// another VM, and this one is left alone (scenario 836).
    pub(super) fn is_on_record(&self, world: &World, workload: &WorkloadId) -> bool {
        let guest = world.guests.get(workload);
        guest.is_none_or(|guest| self.uuids.get(workload).is_none_or(|uuid| guest.uuid == *uuid))
    }

    /// Its host would have told of the process: it is in reach for long enough; or it was when the controller began or woke up, which
    /// has to wait for its answer then (scenario 981).
    fn would_be_told(&self, world: &World, host: &HostId, process: &Process) -> bool {
        let asked = world.spec.hosts.contains_key(host);
        let Some(host) = world.hosts.get(host).filter(|host| asked && host.answers_management()) else { return false };
        let since = process.began.max(host.touched_at);
        since < self.alone.looks_since || world.now.since(since) > TELLS_WITHIN
    }

    fn is_managed(&self, world: &World, workload: &WorkloadId) -> bool {
        let rule = world.guests.get(workload).and_then(|guest| world.spec.workload_rule(workload, &guest.tags));
        rule.is_some_and(|rule| rule.policy.managed == Managed::Yes) && !self.unprotected.contains(workload)
    }

    /// Other hosts on which the workload truly executes, and of which the controller could know.
    pub(super) fn true_others(&self, world: &World, guest: &WorkloadId, host: &HostId, known: Known) -> Vec<HostId> {
        let Some(guest) = world.guests.get(guest) else { return Vec::new() };
        // Under its other name it would be the same disk, on the same host too.
        let twin = guest.twin.as_ref().and_then(|twin| world.guests.get(twin));
        // The order that is carried out now left before the controller could know better.
        let left = self.last_start.get(&guest.name).copied();
        let excused = |claim: &Claim| claim.refuted.is_none_or(|refuted| left.is_none_or(|left| left < refuted));
        let told = |name: &WorkloadId, on: &HostId, process: &Process| {
            let claim = self.alone.falsely_off.get(on);
            let resumed = self.alone.resumed.get(&(name.clone(), on.clone()));
            let announced = !process.unannounced
                && match (resumed, known) {
                    (Some(told), Known::WhenOrdered) => told.is_some_and(|told| left.is_none_or(|left| left >= told)),
                    (told, Known::Now) => told.is_none(),
                    (None, Known::WhenOrdered) => true,
                };
            match known {
                Known::Now => {
                    let asked = world.spec.hosts.contains_key(on);
                    let known = announced && asked
                        || self.evidence.was_seen(name, on)
                        || self.would_be_told(world, on, process);
                    known && claim.is_none_or(|claim| claim.refuted.is_some())
                }
                Known::WhenOrdered => announced && !claim.is_some_and(excused),
            }
        };
        let twins = twin.into_iter().flat_map(|twin| twin.processes.iter().map(move |(on, it)| (twin, on, it)));
        // A person starts it under a name that no list could tell yet, while it is brought back already: only its host's next list
        // tells which VM that is, and no try waits for what begins later than itself (scenario 731).
        let meanwhile = |twin: &Guest, process: &Process| {
            let lately = world.now.since(process.began) <= TELLS_WITHIN;
            !self.known.contains_key(&twin.name) && lately && Some(process.began) > left
        };
        let twins = twins.filter(|(twin, _, process)| !(left.is_some() && meanwhile(twin, process)));
        let twins = twins.filter(|(twin, on, process)| told(&twin.name, on, process));
        let known = |other: &&HostId| {
            let process = guest.processes.get(*other);
            *other != host && process.is_some_and(|process| told(&guest.name, other, process))
        };
        guest.runs_on().filter(known).chain(twins.map(|(_, on, _)| on)).cloned().collect()
    }
}

/// True if by that report the workload is live on the host.
fn says_live(fact: &Fact, workload: &WorkloadId, host: &HostId) -> bool {
    match fact {
        Fact::Inventory { host: by, domains, .. } => {
            by == host && domains.get(workload).is_some_and(|seen| seen.state.is_live())
        }
        Fact::Domain { host: by, workload: of, change: DomainChange::State(state) } => {
            by == host && of == workload && state.is_live()
        }
        _ => false,
    }
}
