//! The checker's own small belief: where a workload may run by all that was told to the controller. It is kept apart
//! from the engine's on purpose; a start elsewhere while it holds a host is a start without proof.

use super::told::BOOT_TIME_OFF_BY;
use mainstay_model::{
    Action, ActionId, Command, Detail, DomainChange, Fact, HostChannel, HostId, Order, Outcome, PowerState, Proof,
    Span, Time, WorkloadId,
};
use std::collections::{BTreeMap, BTreeSet};

/// A request in the socket of a host that hung is taken within this after its outcome became unknown, or never.
const MAY_STILL_HAPPEN: Span = Span::secs(90);

/// A request reaches a host that answers within this.
const REQUEST_ARRIVES: Span = Span::secs(10);

/// Where workloads may run, as far as was told.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    /// What was seen executing on each host, and not proved off since.
    live: BTreeMap<HostId, BTreeSet<WorkloadId>>,
    /// Orders that may bring a workload to a host, until they are answered or proved ineffective.
    open: BTreeMap<ActionId, Open>,
    /// When it was last proved not to run there: lists that were asked for before say nothing.
    proved: BTreeMap<WorkloadId, BTreeMap<HostId, Time>>,
    /// When a host was last proved off: likewise.
    off: BTreeMap<HostId, Time>,
    /// Of these that was said by an order of before the controller slept: it is asked again.
    off_before_sleep: BTreeSet<HostId>,
    /// Or by a device that was asked for the state of its power while it had been heard a moment before.
    off_and_heard_lately: BTreeSet<HostId>,
    /// Or its power was found on since: it may come up.
    on_again: BTreeSet<HostId>,
    /// Starts of unknown outcome that a list settled: none is believed to come any more, and what starts there may yet be one of them.
    hung: BTreeSet<(WorkloadId, HostId)>,
    /// Orders that ended with such a word. If their host answers them while it is in sight, that was a lie (scenario 760).
    ended_by_a_doubtful_word: BTreeMap<ActionId, Open>,
    /// When the controller wakes up, or woke up last.
    awake_at: Time,
    /// When the newest list of a host was asked for.
    listed: BTreeMap<HostId, Time>,
    /// When it was last seen executing there: a list that was asked for before does not say that it is gone.
    seen_at: BTreeMap<HostId, BTreeMap<WorkloadId, Time>>,
    /// Where each was told to run, the newest last.
    ran_on: BTreeMap<WorkloadId, Vec<HostId>>,
    /// Where a workload was told to run twice at once: each of these was its place, until it is started elsewhere.
    ran_twice: BTreeMap<WorkloadId, BTreeSet<HostId>>,
    /// When its hypervisor was last heard.
    heard: BTreeMap<HostId, Time>,
    /// When the kernel of each host began to run, as it told last.
    booted: BTreeMap<HostId, Time>,
}

#[derive(Clone, Debug)]
struct Open {
    order: Order,
    left_at: Time,
    /// What it was to start was seen executing since.
    happened: bool,
    /// Set when its outcome is unknown: from then on only a list that was asked for later, or a fence, clears it.
    unknown_since: Option<Time>,
}

impl Evidence {
    /// Hosts on which the workload may run, and why.
    pub fn may_run(&self, workload: &WorkloadId) -> BTreeMap<HostId, String> {
        let mut hosts: BTreeMap<HostId, String> = BTreeMap::new();
        let about = |open: &&Open| open.order.action.workload() == Some(workload) && !open.happened;
        for open in self.open.values().filter(about) {
            if let Some(host) = open.order.action.may_run_on() {
                hosts.insert(host.clone(), format!("order {} ({}) may still happen", open.order.id, open.order.action));
            }
        }
        for (host, _) in self.live.iter().filter(|(_, there)| there.contains(workload)) {
            hosts.insert(host.clone(), "it was seen there and not proved off".to_owned());
        }
        hosts
    }

    /// Workloads that may run on a host. What an order was to bring there and was seen there counts as long as it runs there.
    pub fn on(&self, host: &HostId) -> BTreeSet<WorkloadId> {
        let live = self.live.get(host).into_iter().flatten();
        let to_come = self.open.values().filter(|open| !open.happened).map(|open| &open.order.action);
        let open = to_come.filter(|action| action.may_run_on() == Some(host));
        live.chain(open.filter_map(Action::workload)).cloned().collect()
    }

    /// True if the host is proved off, and was neither heard nor listed since.
    pub fn is_off(&self, host: &HostId) -> bool {
        let silent_since =
            |off: &Time| [&self.listed, &self.heard].iter().all(|at| at.get(host).is_none_or(|at| at <= off));
        self.off.get(host).is_some_and(silent_since)
    }

    /// True if it is proved off, and that was not said before the controller slept.
    pub fn is_off_now(&self, host: &HostId) -> bool {
        self.off.contains_key(host) && !self.off_before_sleep.contains(host)
    }

    /// True if it was proved off, and has listed nothing since: what it says may be of before.
    pub fn last_words(&self, host: &HostId) -> bool {
        self.off.get(host).is_some_and(|off| self.listed.get(host).is_none_or(|at| at <= off))
    }

    /// True if it is proved off, and no order since brings the workload there.
    pub fn is_off_for(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let sent = |open: &Open| {
            open.order.action.workload() == Some(workload) && open.order.action.may_run_on() == Some(host)
        };
        let doubts = [&self.off_before_sleep, &self.off_and_heard_lately, &self.on_again];
        let doubted = doubts.iter().any(|hosts| hosts.contains(host));
        self.is_off(host) && !doubted && !self.open.values().any(sent)
    }

    /// True if it was seen there and not proved off since.
    pub fn was_seen(&self, workload: &WorkloadId, host: &HostId) -> bool {
        self.live.get(host).is_some_and(|there| there.contains(workload))
    }

    /// True if a start of unknown outcome may still be what starts the workload there: no later one was done, and the host was not off.
    pub fn may_come(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let open = self.open.values().any(|open| {
            let action = &open.order.action;
            let there = action.workload() == Some(workload) && action.may_run_on() == Some(host);
            there && !open.happened && open.unknown_since.is_some()
        });
        open || self.hung.contains(&(workload.clone(), host.clone()))
    }

    /// True if an order about the workload is under way or unknown.
    pub fn has_open(&self, workload: &WorkloadId) -> bool {
        self.open.values().any(|open| open.order.action.workload() == Some(workload))
    }

    /// True if a migration of it was never answered, and its deadline has not passed: until then it is not known to have failed.
    pub fn has_open_move(&self, workload: &WorkloadId, now: Time) -> bool {
        self.open.values().any(|open| {
            let unanswered = open.unknown_since.is_none() && open.order.deadline > now;
            unanswered && matches!(&open.order.action, Action::Migrate { workload: of, .. } if of == workload)
        })
    }

    /// Number of orders without a certain outcome.
    pub fn open_orders(&self) -> usize {
        self.open.len()
    }

    pub fn left(&mut self, order: &Order, now: Time) {
        self.open.insert(order.id, Open { order: order.clone(), left_at: now, happened: false, unknown_since: None });
    }

    /// A migration that was not answered moves nothing any more once both hosts have listed, long after it left, that it does not
    /// run there: what its source no longer executes has nothing to send. Its outcome is unknown from then on.
    fn nothing_left_to_move(&mut self, now: Time) {
        let (live, listed) = (&self.live, &self.listed);
        for open in self.open.values_mut().filter(|open| open.unknown_since.is_none()) {
            let Action::Migrate { workload, from, to } = &open.order.action else { continue };
            let runs_not = |host: &HostId| {
                let there = live.get(host).is_some_and(|there| there.contains(workload));
                !there && listed.get(host).is_some_and(|asked_at| *asked_at > open.left_at + REQUEST_ARRIVES)
            };
            if [from, to].into_iter().all(runs_not) {
                open.unknown_since = Some(now);
            }
        }
    }

    fn live_on(&mut self, host: &HostId) -> &mut BTreeSet<WorkloadId> {
        self.live.entry(host.clone()).or_default()
    }

    /// It was seen executing there, as of that time: a start of unknown outcome that left before has happened, and does
    /// not happen again.
    fn seen_live(&mut self, workload: &WorkloadId, host: &HostId, at: Time) {
        if !self.live.get(host).is_some_and(|there| there.contains(workload)) {
            self.live_on(host).insert(workload.clone());
            self.told_on(workload, host);
            let there = self.live.iter().filter(|(_, there)| there.contains(workload)).map(|(host, _)| host.clone());
            let there: Vec<HostId> = there.collect();
            if there.len() > 1 {
                self.ran_twice.entry(workload.clone()).or_default().extend(there);
            }
        }
        let seen_at = self.seen_at.entry(host.clone()).or_default().entry(workload.clone()).or_insert(at);
        *seen_at = at.max(*seen_at);
        self.open.retain(|_, open| {
            let action = &open.order.action;
            let about = action.workload() == Some(workload) && action.may_run_on() == Some(host);
            open.happened |= about && open.left_at < at;
            !(open.happened && open.unknown_since.is_some())
        });
    }

    /// A host runs another kernel than before: what the one before had not carried out, and whose answer did not come, is over
    /// with that (scenarios 547 and 741). An order that left for the new kernel is answered, or unknown later than this.
    fn booted(&mut self, host: &HostId, at: Time, now: Time) {
        let off_by = BOOT_TIME_OFF_BY + Span(now.since(at).0 / 20);
        let Some(before) = self.booted.insert(host.clone(), at) else { return };
        if at <= before + off_by {
            self.booted.insert(host.clone(), before);
            return;
        }
        self.hung.retain(|(_, there)| there != host);
        self.open.retain(|_, open| {
            let sent_there = open.order.action.may_run_on() == Some(host);
            !(sent_there && open.unknown_since.is_some() && open.left_at < at)
        });
    }

    fn told_on(&mut self, workload: &WorkloadId, host: &HostId) {
        let ran_on = self.ran_on.entry(workload.clone()).or_default();
        ran_on.retain(|other| other != host);
        ran_on.push(host.clone());
    }

    /// It was seen there, and is not any more: true if so. Where it runs meanwhile, by a person's doing, it ran last (scenario 546).
    fn ended_on(&mut self, workload: &WorkloadId, host: &HostId) -> bool {
        let was_there = self.live.get_mut(host).is_some_and(|there| there.remove(workload));
        // A resume starts nothing: it is over with what it was sent for (scenario 978).
        let resumes = |action: &Action| matches!(action, Action::Resume { workload: held, host: there } if held == workload && there == host);
        self.open.retain(|_, open| !resumes(&open.order.action));
        let elsewhere = self.live.iter().find(|(_, there)| was_there && there.contains(workload));
        if let Some(other) = elsewhere.map(|(other, _)| other.clone()) {
            self.told_on(workload, &other);
        }
        was_there
    }

    /// True if the controller has it that the workload ran there last. A memory that is old may have any place of before.
    pub fn ran_last_on(&self, workload: &WorkloadId, host: &HostId, memory_is_old: bool) -> bool {
        let Some(ran_on) = self.ran_on.get(workload) else { return false };
        if self.ran_twice.get(workload).is_some_and(|hosts| hosts.contains(host)) {
            return true;
        }
        if memory_is_old { ran_on.contains(host) } else { ran_on.last() == Some(host) }
    }

    /// The controller died: it will never hear what came of its orders.
    pub fn controller_died(&mut self, now: Time) {
        self.open.values_mut().for_each(|open| {
            open.unknown_since.get_or_insert(now);
        });
        self.open.retain(|_, open| !open.happened);
    }

    /// The controller stands still until then.
    pub fn controller_sleeps(&mut self, until: Time) {
        self.awake_at = until;
    }

    pub fn command(&mut self, command: &Command, now: Time) {
        if let Command::ConfirmOff { host } = command {
            self.proved_off(host, now);
        }
    }

    pub fn fact(&mut self, fact: &Fact, now: Time) {
        match fact {
            // A newer one came before it: the controller leaves it out (scenario 730).
            Fact::Inventory { host, asked_at, .. } if self.listed.get(host).is_some_and(|newest| newest > asked_at) => {
            }
            Fact::Inventory { host, asked_at, domains, .. } => {
                let cleared = |open: &Open| {
                    let late = open.unknown_since.map_or(open.order.deadline, |since| since + MAY_STILL_HAPPEN);
                    *asked_at > late.min(open.order.deadline) && open.order.action.may_run_on() == Some(host)
                };
                let gone = self.open.values().filter(|open| cleared(open) && open.unknown_since.is_some());
                self.hung.extend(gone.filter_map(|open| Some((open.order.action.workload()?.clone(), host.clone()))));
                self.open.retain(|_, open| !cleared(open));
                let listed = self.listed.entry(host.clone()).or_insert(*asked_at);
                *listed = (*listed).max(*asked_at);
                let there = self.live.get(host).into_iter().flatten();
                let seen_there = self.seen_at.get(host);
                let ended = there.filter(|workload| {
                    let seen_at = || seen_there.and_then(|seen| seen.get(*workload));
                    let newer = || seen_at().is_some_and(|seen_at| seen_at > asked_at);
                    !domains.get(*workload).is_some_and(|seen| seen.state.is_live()) && !newer()
                });
                for workload in ended.cloned().collect::<Vec<_>>() {
                    self.ended_on(&workload, host);
                }
                let off = self.off.get(host).copied();
                for (workload, _) in domains.iter().filter(|(_, seen)| seen.state.is_live()) {
                    let proved = self.proved.get(workload).and_then(|hosts| hosts.get(host)).copied().max(off);
                    if proved.is_none_or(|proved| proved < *asked_at) {
                        self.seen_live(workload, host, *asked_at);
                    }
                }
                self.nothing_left_to_move(now);
            }
            Fact::Domain { host, workload, change: DomainChange::State(state) } => {
                // Its last words can arrive when it was proved off already; what it says anew begins with a list.
                let last_words = self.last_words(host);
                if state.is_live() {
                    if !last_words {
                        self.seen_live(workload, host, now);
                    }
                } else if self.ended_on(workload, host) || self.speaks_since_its_end(host) {
                    self.proved_not_there(workload, host, now); // newer than a list on its way (scenario 540)
                }
            }
            Fact::Power { host, state: PowerState::Off, .. } => self.proved_off(host, now),
            Fact::HostHeard { host, channel: HostChannel::Hypervisor } => _ = self.heard.insert(host.clone(), now),
            Fact::HostBooted { host, at } => self.booted(host, *at, now),
            _ => {}
        }
    }

    /// The controller gave up waiting for the answer to a migration. Both hosts were asked since it left and told: what was sent reached
    /// them, and is taken soon or never (scenario 434).
    pub fn given_up(&mut self, id: ActionId, now: Time) {
        let Some(open) = self.open.get_mut(&id) else { return };
        let Action::Migrate { from, to, .. } = &open.order.action else { return };
        if [from, to].into_iter().all(|host| self.listed.get(host).is_some_and(|asked_at| *asked_at > open.left_at)) {
            open.unknown_since.get_or_insert(now);
        }
    }

    /// The order's outcome was told; gives back the order.
    ///
    /// `lost_after`: what a device says of a host's power proves nothing while the host was heard so lately: it may speak of
    /// before.
    pub fn outcome(&mut self, id: ActionId, outcome: &Outcome, now: Time, lost_after: Span) -> Option<Order> {
        if let Some(open) = self.ended_by_a_doubtful_word.remove(&id)
            && !matches!(outcome, Outcome::Unknown { .. })
            && open.order.action.may_run_on().is_some_and(|host| self.heard_lately(host, now, lost_after))
        {
            self.open.insert(id, open);
        }
        let open = self.open.get_mut(&id)?;
        if let Outcome::Unknown { .. } = outcome {
            open.unknown_since.get_or_insert(now);
            let order = open.order.clone();
            self.open.retain(|_, open| !(open.happened && open.unknown_since.is_some()));
            if let Action::Start { workload, host } | Action::Revert { workload, host, .. } = &order.action {
                self.told_on(workload, host); // as far as it knows it ran there
            }
            return Some(order);
        }
        let Open { order, left_at, .. } = self.open.remove(&id)?;
        let Outcome::Done { detail } = outcome else {
            // It says nothing of earlier orders; but its host was asked after it, and says whether the workload is there.
            let proves = match outcome {
                Outcome::Failed { error } => error.proves,
                _ => Proof::Nothing,
            };
            if let Some((workload, host)) = order.action.workload().zip(order.action.may_run_on()) {
                match proves {
                    Proof::There => {
                        self.live_on(host).insert(workload.clone());
                        self.seen_at.entry(host.clone()).or_default().insert(workload.clone(), now);
                    }
                    // A revert whose start fails has ended what ran there (scenario 541).
                    Proof::Off if matches!(order.action, Action::Revert { .. }) => {
                        self.proved_not_there(workload, host, now);
                        self.live_on(host).remove(workload);
                    }
                    Proof::Off | Proof::Nothing => {}
                }
            }
            return Some(order);
        };
        if let Some((workload, host)) = order.action.workload().zip(order.action.may_run_on()) {
            self.hung.remove(&(workload.clone(), host.clone()));
        }
        match (&order.action, detail) {
            (Action::Fence { host, .. }, _) | (Action::CheckPower { host }, Detail::Power(PowerState::Off)) => {
                let asked = matches!(order.action, Action::CheckPower { .. });
                let doubtful = asked && self.heard_lately(host, now, lost_after);
                let there = self.open.iter().filter(|(_, open)| open.order.action.may_run_on() == Some(host));
                let there: Vec<_> = there.filter(|_| doubtful).map(|(id, open)| (*id, open.clone())).collect();
                self.ended_by_a_doubtful_word.extend(there);
                self.proved_off(host, now);
                if left_at < self.awake_at {
                    self.off_before_sleep.insert(host.clone());
                }
                if doubtful {
                    self.off_and_heard_lately.insert(host.clone());
                }
            }
            (Action::CheckPower { host }, Detail::Power(PowerState::On)) => _ = self.on_again.insert(host.clone()),
            (Action::Stop { workload, host, .. }, _) => {
                self.proved_not_there(workload, host, now);
                self.ended_on(workload, host);
            }
            (Action::Migrate { workload, from, to }, _) => {
                // A list of the source that was asked for before this says nothing.
                self.proved_not_there(workload, from, now);
                self.live_on(from).remove(workload);
                self.live_on(to).insert(workload.clone());
                self.told_on(workload, to);
            }
            (Action::Undefine { workload, host }, _) => self.shut_out(workload, host),
            (action, _) => {
                if let Some((workload, host)) = action.workload().zip(action.may_run_on()) {
                    if self.ran_twice.get(workload).is_some_and(|hosts| !hosts.contains(host)) {
                        self.ran_twice.remove(workload);
                    }
                    self.seen_live(workload, host, now);
                }
            }
        }
        Some(order)
    }

    /// Its hypervisor was heard within that time.
    fn heard_lately(&self, host: &HostId, now: Time, within: Span) -> bool {
        self.heard.get(host).is_some_and(|heard| now.since(*heard) < within)
    }

    /// Its definition is gone from that host. The removal waited for a start of it that hung there, and leaves nothing to be
    /// started. No other answer to a later order says what came of an earlier one.
    fn shut_out(&mut self, workload: &WorkloadId, host: &HostId) {
        self.open.retain(|_, open| {
            let same = open.order.action.workload() == Some(workload) && open.order.action.may_run_on() == Some(host);
            !(same && open.unknown_since.is_some())
        });
    }

    /// True unless it is proved off, and its hypervisor was not heard since.
    fn speaks_since_its_end(&self, host: &HostId) -> bool {
        self.off.get(host).is_none_or(|off| self.heard.get(host).is_some_and(|heard| heard > off))
    }

    fn proved_not_there(&mut self, workload: &WorkloadId, host: &HostId, now: Time) {
        self.proved.entry(workload.clone()).or_default().insert(host.clone(), now);
    }

    fn proved_off(&mut self, host: &HostId, now: Time) {
        self.off.insert(host.clone(), now);
        self.off_before_sleep.remove(host);
        self.off_and_heard_lately.remove(host);
        self.on_again.remove(host);
        self.live.remove(host);
        self.open.retain(|_, open| open.order.action.may_run_on() != Some(host));
        self.hung.retain(|(_, there)| there != host);
        // A migration ends with its source: what the target lists from now on tells what came of it.
        let sent_from = |open: &&mut Open| open.order.action.host() == host;
        for open in self.open.values_mut().filter(sent_from) {
            open.order.deadline = open.order.deadline.min(now);
        }
    }
}
