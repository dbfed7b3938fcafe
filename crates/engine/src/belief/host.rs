//! What is believed of a host: the durable record, and the senses of this term.
//!
//! ```text
//!            silent on every channel                 proved off
//!   Online ───────────────────────────▶ Lost ───────────────────────▶ Off
//!     ▲  ▲                               │ heard again                 │ heard again
//!     │  └──────── stable ───────── Returning ◀────────────────────────┘
//!     └ (suspect, unmanaged: seen from the senses, nothing durable)
//! ```

use super::silence::Beat;
use crate::{Table, few::Few, ledger::Record};
use mainstay_model::{DeviceId, DomainSeen, HostChannel, HostId, IncidentId, PowerState, Resources, Time, WorkloadId};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// What is remembered of a host over restarts of the controller.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HostRecord {
    pub host: HostId,
    pub phase: HostPhase,
    /// When the phase began.
    pub since: Time,
    /// In maintenance, or on the way there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
    /// What the hypervisor said it has.
    pub capacity: Resources,
    /// A spare that was brought in.
    pub called_in: bool,
    /// When Mainstay powered it on, for the flapping guard.
    pub power_ons: Vec<Time>,
    /// The incident in which it is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
    /// When its management closed the connection with nothing left running, as a host does that is shut down; until it
    /// answers again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Time>,
    /// When its kernel began to run, as it told last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub booted_at: Option<Time>,
    /// When it was last taken for off. If it has not booted since, that was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called_off_at: Option<Time>,
    /// An operator asked to fence it, and it is not off yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fence_asked: bool,
    /// Its fencing was begun. It is carried on with until the host is heard, whatever falls silent since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fence_begun: bool,
    /// It is off for a test of its fence devices: it is powered on whatever the policy is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cycle: bool,
    /// Why each fence level failed when it was last tried.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fence_failures: BTreeMap<usize, String>,
    /// When its fence devices could not be asked last because the controller's machine lacked something for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starved_at: Option<Time>,
    /// When its hypervisor was heard last before it fell silent, or the controller fell asleep; until it is heard again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unheard_since: Option<Time>,
}

/// Where a host stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HostPhase {
    /// In service; the senses may have doubts.
    Online,
    /// Silent beyond doubt. Its workloads may still run until it is proved off.
    Lost {
        /// Fence level to try next.
        level: usize,
        /// No attempt before this.
        try_at: Time,
        /// Every level failed at least once.
        exhausted: bool,
        /// What the fence devices said of its power since it was lost.
        power: Option<PowerState>,
    },
    /// Proved off at `since`.
    Off {
        proof: OffProof,
        /// When it was powered on again, if it was.
        powered_on: Option<Time>,
    },
    /// Heard again; it must stay well for a while before it gets work.
    Returning,
}

/// Why a host is certainly off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OffProof {
    /// A fence device switched it off and verified it.
    Fenced,
    /// A fence device found it without power.
    FoundOff,
    /// A person said so.
    Person,
}

/// Kept free of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Maintenance {
    pub since: Time,
    /// True if a maintenance window asked for it, and will end it.
    pub by_window: bool,
}

impl HostRecord {
    pub(crate) fn new(host: HostId, now: Time) -> HostRecord {
        HostRecord {
            host,
            phase: HostPhase::Online,
            since: now,
            maintenance: None,
            capacity: Resources::ZERO,
            called_in: false,
            power_ons: Vec::new(),
            incident: None,
            closed_at: None,
            booted_at: None,
            called_off_at: None,
            fence_asked: false,
            fence_begun: false,
            cycle: false,
            fence_failures: BTreeMap::new(),
            starved_at: None,
            unheard_since: None,
        }
    }
}

impl Record for HostRecord {
    type Key = HostId;
    const TABLE: Table = Table::Host;
    fn key(&self) -> HostId {
        self.host.clone()
    }
}

/// What was seen of a host in this term.
#[derive(Clone, Debug)]
pub(crate) struct HostSenses {
    /// When watching began: silence is never longer than this.
    pub watched_since: Time,
    pub channels: Few<HostChannel, ChannelSense>,
    /// When any guest believed to run here was last heard.
    pub guest_heard: Option<Time>,
    /// The same with those heard at addresses that they gave themselves, where another machine may answer for them.
    pub guest_told: Option<Time>,
    /// `asked_at` of the newest inventory.
    pub inventory: Option<Time>,
    /// When the one before was asked for, or the host was last in sight before the newest.
    pub listed_before: Option<Time>,
    /// The newest inventory, to notice what is new or missing in the next.
    pub listed: Arc<BTreeMap<WorkloadId, DomainSeen>>,
    /// When it was first heard by its hypervisor after having been silent or off; for the stability check.
    pub well_since: Option<Time>,
    /// When its hypervisor was heard last before its last silence; none: not in this term.
    pub heard_before: Option<Time>,
    /// When an earlier term had it in sight last; none: in no other.
    pub known_before: Option<Time>,
    /// When its management closed the connection with nothing left running, before it spoke again.
    pub closed_before: Option<Time>,
    /// When its power was last asked about while the controller was cut off.
    pub power_asked: Option<Time>,
    /// What its fence devices answered when nothing depended on it.
    pub devices: BTreeMap<DeviceId, DeviceSense>,
    /// The last sight, to tell changes.
    pub sight: Sight,
}

/// What is known of a fence device, for one host.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeviceSense {
    /// When it last answered.
    pub answered: Option<Time>,
    /// When its last answer came, or the last question went unanswered.
    pub asked: Time,
    /// Why there was no answer last time.
    pub error: Option<String>,
    /// Questions in a row without an answer.
    pub failures: u32,
    /// When it said that the host is off; until it says otherwise.
    pub off_at: Option<Time>,
}

/// One channel of one host.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChannelSense {
    pub heard: Option<Time>,
    /// The first unanswered question since it was last heard.
    pub silent_since: Option<Time>,
    /// The last question did not reach it: this silence says nothing about the host.
    pub unasked: bool,
    pub error: Option<String>,
    pub beat: Beat,
}

/// How a host looks right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Nothing heard yet in this term, and not long enough to judge.
    Unknown,
    /// Its hypervisor answers.
    Heard,
    /// Silent, but not yet for long enough.
    Suspect,
    /// Its hypervisor is silent, but the host or its guests answer.
    Unmanaged,
    /// Silent on every channel for long enough: lost.
    Silent,
    /// Its address answers, but hypervisor and all guests are silent for long: hung.
    Hung,
}

impl HostSenses {
    pub(crate) fn new(now: Time) -> HostSenses {
        HostSenses {
            watched_since: now,
            channels: Few::default(),
            guest_heard: None,
            guest_told: None,
            inventory: None,
            listed_before: None,
            listed: Arc::default(),
            well_since: None,
            heard_before: None,
            known_before: None,
            closed_before: None,
            power_asked: None,
            devices: BTreeMap::new(),
            sight: Sight::Unknown,
        }
    }
    pub(crate) fn heard_on(&self, channel: HostChannel) -> Option<Time> {
        self.channels.get(&channel).and_then(|sense| sense.heard)
    }
    /// When it was last heard on any channel, guests included.
    pub(crate) fn heard(&self) -> Option<Time> {
        // Of a host that is not pinged, nothing else could tell that only its management is down.
        let told = self.guest_told.filter(|_| self.channels.get(&HostChannel::Ping).is_none());
        self.channels.values().filter_map(|sense| sense.heard).chain(self.guest_heard).chain(told).max()
    }
    /// True if the hypervisor's last answer is newer than its last silence.
    pub(crate) fn hypervisor_answers(&self) -> bool {
        self.channels
            .get(&HostChannel::Hypervisor)
            .is_some_and(|sense| sense.heard.is_some() && sense.silent_since.is_none())
    }
}

impl HostSenses {
    /// The controller did not look for a while: count silence from now.
    pub(crate) fn watch_anew(&mut self, now: Time) {
        self.watched_since = now;
        for sense in self.channels.values_mut() {
            sense.silent_since = sense.silent_since.map(|_| now);
        }
    }
    /// How long nothing was heard on any channel, as far as anybody listened.
    pub(crate) fn silence(&self, now: Time) -> mainstay_model::Span {
        now.since(self.heard().map_or(self.watched_since, |heard| heard.max(self.watched_since)))
    }
    /// How long one channel was not heard.
    pub(crate) fn silence_on(&self, channel: HostChannel, now: Time) -> mainstay_model::Span {
        now.since(self.heard_on(channel).map_or(self.watched_since, |heard| heard.max(self.watched_since)))
    }
}
