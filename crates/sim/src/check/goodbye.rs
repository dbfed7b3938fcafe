//! Hosts that were shut down in good order, as the controller was told of it: guests that ended in a row that leads up to
//! the end of their host's connection, or to its boot. A person's stop among them can't be told from the host's doing, so a
//! start of such a guest is not held against the controller (docs/concepts.md names this limit).

use mainstay_model::{DomainChange, DomainState, Fact, HostChannel, HostId, OffReason, Span, Time, WorkloadId};
use std::collections::{BTreeMap, BTreeSet};

/// No end in the row is further than this from the next: guests are shut down one after the other.
const IN_A_ROW: Span = Span::minutes(5);
/// Nor the last from the end of the connection.
const CLOSES_WITHIN: Span = Span::secs(30);
/// From the end of its management until a host that shuts down is silent altogether.
const FALLS_SILENT_WITHIN: Span = Span::minutes(2);
/// Nothing is heard of a host for this long before it counts as lost.
const SILENT_AFTER: Span = Span::secs(1);
/// Nor the last from the start of its host's kernel.
const BOOTS_WITHIN: Span = Span::minutes(10);

#[derive(Default)]
pub(super) struct Goodbyes {
    /// When guests were told to have ended by themselves, oldest first, by host.
    ended: BTreeMap<HostId, Vec<(Time, WorkloadId)>>,
    /// What was told to run on each host.
    live: BTreeMap<HostId, BTreeSet<WorkloadId>>,
    /// Of when each host's newest word on a guest is: a list that was asked for before, and arrives after it, is old.
    told_of: BTreeMap<HostId, BTreeMap<WorkloadId, Time>>,
    /// Of each guest the last such end.
    last: BTreeMap<WorkloadId, Time>,
    /// And the last one that was in a row, with its host, and the end of a connection or the boot that this led up to.
    went: BTreeMap<WorkloadId, (Time, HostId, Time)>,
    /// When each guest truly ended last. The controller may hear of it later: it slept (scenario 400), or its host lost its power
    /// at once (scenario 340).
    truly: BTreeMap<WorkloadId, Time>,
    /// When each host truly lost its power last.
    down: BTreeMap<HostId, Time>,
    /// When each host's management said last that it ends.
    closed: BTreeMap<HostId, Time>,
    /// When each host was heard last, on any channel.
    heard: BTreeMap<HostId, Time>,
    /// When it was heard last before it was silent on every channel, until its management answers: only that shows whether it booted.
    fell_silent: BTreeMap<HostId, Time>,
}

impl Goodbyes {
    /// The controller is told.
    pub fn told(&mut self, fact: &Fact, now: Time) {
        match fact {
            Fact::Domain { host, workload, change: DomainChange::State(state) } => {
                self.told_of.entry(host.clone()).or_default().insert(workload.clone(), now);
                self.state(host, workload, *state, now);
            }
            Fact::Inventory { host, asked_at, domains, .. } => {
                for (workload, seen) in &**domains {
                    let known = self.live.get(host).is_some_and(|live| live.contains(workload));
                    if known != seen.state.is_live() && !self.is_old(host, workload, *asked_at) {
                        self.state(host, workload, seen.state, now);
                    }
                }
            }
            Fact::HostSilent { host, closed: true, .. } => {
                self.closed.insert(host.clone(), now);
                self.row(host, now, CLOSES_WITHIN);
            }
            Fact::HostHeard { host, channel } => {
                let last = self.heard.insert(host.clone(), now);
                if *channel == HostChannel::Hypervisor {
                    self.fell_silent.remove(host);
                } else if let Some(last) = last.filter(|last| now.since(*last) >= SILENT_AFTER) {
                    self.fell_silent.entry(host.clone()).or_insert(last);
                }
            }
            Fact::HostBooted { host, at } => self.row(host, *at, BOOTS_WITHIN),
            _ => {}
        }
    }

    /// True if something newer was told of the guest than what that host lists.
    pub fn is_old(&self, host: &HostId, workload: &WorkloadId, asked_at: Time) -> bool {
        self.told_of.get(host).and_then(|told| told.get(workload)).is_some_and(|of| *of > asked_at)
    }

    /// A start there was told to be done: its event may be lost.
    pub fn came_up(&mut self, host: &HostId, workload: &WorkloadId, now: Time) {
        self.told_of.entry(host.clone()).or_default().insert(workload.clone(), now);
        self.live.entry(host.clone()).or_default().insert(workload.clone());
    }

    fn state(&mut self, host: &HostId, workload: &WorkloadId, state: DomainState, now: Time) {
        let live = self.live.entry(host.clone()).or_default();
        if state.is_live() {
            if !live.contains(workload) {
                live.insert(workload.clone());
            }
        } else if live.remove(workload) && matches!(state, DomainState::Off(OffReason::Shutdown | OffReason::Saved)) {
            self.ended.entry(host.clone()).or_default().push((now, workload.clone()));
            self.last.insert(workload.clone(), now);
        }
    }

    /// A row of ends that leads up to that moment.
    fn row(&mut self, host: &HostId, until: Time, gap: Span) {
        let (mut next, mut allowed) = (until, gap);
        let ended = self.ended.get(host).into_iter().flatten().rev();
        for (at, workload) in ended.filter(|(at, _)| *at <= until) {
            if next.since(*at) > allowed {
                break;
            }
            (next, allowed) = (*at, IN_A_ROW);
            let this = (*at, host.clone(), until);
            let went = self.went.entry(workload.clone()).or_insert_with(|| this.clone());
            *went = this.max(went.clone());
        }
    }

    /// A guest truly ended.
    pub fn ended(&mut self, workload: &WorkloadId, now: Time) {
        self.truly.insert(workload.clone(), now);
    }

    /// A host truly lost its power.
    pub fn power_lost(&mut self, host: &HostId, now: Time) {
        self.down.insert(host.clone(), now);
    }

    /// True if an end of the workload was in a row that led up to its host's end or boot.
    pub fn went(&self, workload: &WorkloadId) -> bool {
        self.went.contains_key(workload)
    }

    /// True if the workload's last end may have been its host's doing: the host did go down after it, or it looks so at this moment.
    pub fn took(&self, workload: &WorkloadId, now: Time) -> bool {
        self.went.get(workload).is_some_and(|(at, host, until)| {
            let ended = self.truly.get(workload).unwrap_or(at);
            let down = self.down.get(host).is_some_and(|down| down >= ended);
            self.last.get(workload) == Some(at) && (down || self.seems_down(host, *until, now))
        })
    }

    /// True while a host whose management ended right after that is silent on every channel: a network that fails just then looks
    /// like a shutdown in good order. When its management answers again, and it did not boot, the controller knows better (scenarios 407
    /// and 757). `until`: what the row of ends led up to.
    fn seems_down(&self, host: &HostId, until: Time, now: Time) -> bool {
        let silent = self.heard.get(host).filter(|heard| now.since(**heard) >= SILENT_AFTER);
        let Some(silent) = self.fell_silent.get(host).or(silent) else { return false };
        self.closed.get(host) == Some(&until) && *silent <= until + FALLS_SILENT_WITHIN
    }
}
