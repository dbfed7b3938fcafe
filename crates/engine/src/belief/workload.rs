//! What is believed of a workload: the durable record, and the senses of this term.
//!
//! The heart of safety rule 1 is [`WorkloadRecord::may_run_on`]: every host on which the workload may be executing, as far
//! as anybody can know. A host enters it when the workload is seen live there, or when an order that may start it there
//! leaves. It goes only by proof: a newer answer of that host that says so, or the host proved off. A workload is started
//! on a host only if it may run nowhere else.

use crate::{Table, few::Few, ledger::Record};
use mainstay_model::{
    Activity, Cause, DomainState, GuestChannel, HostId, HostState, IncidentId, PointId, Resources, StopHow, Time,
    WorkloadId, spec::Rung,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// What is remembered of a workload over restarts of the controller.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WorkloadRecord {
    pub workload: WorkloadId,
    pub uuid: String,
    pub needs: Resources,
    pub tags: BTreeSet<String>,
    pub datastores: BTreeSet<String>,
    pub movable: bool,
    /// Devices of its host that are passed through to it, as people read them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub passed_through: BTreeSet<String>,
    /// State of it that lies only on the host where it runs, or ran last.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub only_here: BTreeSet<HostState>,
    /// A person said that it may start on another host without that state.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leave_state: bool,
    /// First seen.
    pub known_since: Time,
    /// What should be.
    pub want: Want,
    /// Told by an operator to leave it alone.
    pub unprotected: bool,
    /// Where it runs, or ran last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostId>,
    /// See the module's doc.
    pub may_run_on: BTreeSet<HostId>,
    /// Hosts that must list their domains anew before anything is decided: an order's outcome is unknown there.
    pub unsettled: BTreeMap<HostId, Unsettled>,
    /// Hosts that do not run it, as they say, but were told to start it and never answered: a call that hangs there may
    /// still be carried out, however late. They stay in `may_run_on`. Another start there, the removal of its definition
    /// (both wait for the first), or the host proved off ends it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub pending_on: BTreeSet<HostId>,
    /// Hosts where another start was done while one hung there, and until when that one may come over a connection that was given up.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub late_on: BTreeMap<HostId, Time>,
    /// Hosts it was taken from while they could not be asked: their definition of it is a leftover.
    pub left: BTreeSet<HostId>,
    /// What is wrong, while something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
    /// The rung being tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trying: Option<Trying>,
    /// Recent tries of the ladder, oldest first.
    pub attempts: Vec<Attempt>,
    /// A planned move under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<Moving>,
    /// It can't leave this host: it is not shut down for a drain again until the host's maintenance is set anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck: Option<Stuck>,
    /// Where it was before it had to leave, for fail-back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came_from: Option<HostId>,
    /// A person put it on this host: no wish of the configuration moves it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_on: Option<HostId>,
    /// True if it ever answered a probe: then silence means something.
    pub answers: bool,
    /// The incident it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
    /// When the last recovery point was tried, and how often in a row that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point_tried: Option<Time>,
    pub point_failures: u32,
    /// Why no recovery point of it can be taken, if the system refuses and would again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point_refused: Option<String>,
    /// The last recovery point that somebody else deleted, until there is another good one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point_lost: Option<PointId>,
    /// The point of the last revert, to blame it if that did not help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverted_to: Option<PointId>,
    /// The last revert by its ladder, until a person has answered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverted: Option<Reverted>,
    /// An operator said to stop it by force if it has not shut down by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_stop_at: Option<Time>,
    /// So many tries in a row to stop it, as an operator asked, failed.
    #[serde(default)]
    pub stop_failures: u32,
    /// What an operator asked for and was promised, and is not done yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// The memory was put back: whether it should run is not known until it is seen running or an operator says so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_question: bool,
    /// A person stopped it on this host while it might run on another that did not tell: if it does not run there, it is to
    /// stay off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_on: Option<(HostId, StoppedHow)>,
    /// Where a person is starting it, seen paused so far: the next term of the controller must not take it for one that never
    /// stopped (scenario 432).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coming_up: Option<HostId>,
    /// When the last run that is known of began, at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs_since: Option<Time>,
    /// Where that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_on: Option<HostId>,
    /// It was stopped in a run that was not seen: when that was is not known.
    #[serde(default)]
    pub ended_unseen: bool,
    /// Hosts that had it defined when they were listed last; none: not known.
    #[serde(default)]
    pub listed_on: BTreeSet<HostId>,
}

/// What an operator asked for: see `asked.rs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub what: AskedFor,
    pub at: Time,
    /// So many tries failed.
    pub tries: u32,
    /// Whether it was done is not known.
    pub in_doubt: bool,
    /// How it was stopped, if it was not wanted to run before that.
    #[serde(default)]
    pub was_stopped: Option<StoppedHow>,
}

/// What takes more than one order at times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AskedFor {
    /// Back to this recovery point.
    Revert { point: PointId, keep_broken: bool },
    /// Stopped and started where it is.
    Restart { how: StopHow },
}

impl fmt::Display for AskedFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskedFor::Revert { point, .. } => write!(f, "revert to {point}"),
            AskedFor::Restart { .. } => f.write_str("restart"),
        }
    }
}

/// An order whose outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unsettled {
    /// Since when it is unknown: older answers of the host say nothing.
    pub since: Time,
    /// If it was to start something: until then it may still do so, though the host says that nothing runs. A libvirtd that
    /// hung takes requests from its socket when it goes on, also of a connection that is long closed.
    pub may_happen_until: Time,
    /// The host was given the order once more, to tell; that once is enough.
    #[serde(default)]
    pub asked_again: bool,
    /// It was to start the workload here by itself, not by moving it.
    #[serde(default)]
    pub told_to_start: bool,
}

/// What should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Want {
    /// It should run.
    Running,
    /// A person stopped it: through the hypervisor, inside the guest, or with `mainstay vm stop`.
    Stopped { at: Time, how: StoppedHow },
}

/// How a person stopped a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StoppedHow {
    /// It was off when Mainstay first saw it.
    FoundOff,
    /// The guest shut down: its owner inside, or a graceful request from outside.
    Shutdown,
    /// Destroyed through the hypervisor.
    Destroyed,
    /// Saved to disk.
    Saved,
    /// With `mainstay vm stop`.
    Operator,
}

/// What is wrong with a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trouble {
    pub cause: Cause,
    pub since: Time,
    /// The last moment it was known to be well.
    pub well_until: Time,
    /// Put right by a start of which nothing was heard yet.
    pub started_at: Option<Time>,
    /// A picture of its console was asked for.
    #[serde(default)]
    pub pictured: bool,
    /// Every rung of its ladder was tried, and a person is called. Tries may go on.
    #[serde(default)]
    pub exhausted: bool,
    /// It is off for a revert that an operator asked for, and no person stopped it (scenarios 746 and 747).
    #[serde(default)]
    pub by_revert: bool,
}

/// The rung being tried: stop first if it may still run, then start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trying {
    pub rung: Rung,
    pub point: Option<PointId>,
}

/// One try of the ladder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    pub rung: Rung,
    pub at: Time,
    /// Where it was started, once known; a host where it failed is avoided when relocating.
    pub host: Option<HostId>,
    /// It did not even start there.
    #[serde(default)]
    pub failed: bool,
    /// Another process held its disk: it ran somewhere at that time.
    #[serde(default)]
    pub locked: bool,
    /// It was to be stopped for this, and was not started yet.
    #[serde(default)]
    pub only_stopped: bool,
    /// The guest came up. If it is in trouble again, it ran and fell over.
    #[serde(default)]
    pub ran: bool,
}

/// A revert by the ladder: the workload goes on with older data than it had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reverted {
    /// To which point.
    pub to: PointId,
    /// The recovery point under which the newer data lies, if it was kept.
    pub set_aside: Option<PointId>,
    /// False: the revert's outcome is unknown.
    pub certain: bool,
}

/// A planned move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moving {
    /// Where to; none: the best host at the time.
    pub to: Option<HostId>,
    pub why: MoveWhy,
    /// Live migrations that failed; after two it is moved cold if that is allowed.
    pub failures: u32,
    /// It was stopped for a cold move and is to be started.
    pub cold: bool,
    /// Where it ran when the move was asked for; none: it was off, and is only to be started.
    #[serde(default)]
    pub from: Option<HostId>,
    /// Hosts that it could not be migrated to.
    #[serde(default)]
    pub not_live_to: BTreeSet<HostId>,
    /// Hosts on which it could not be started after it was stopped for the move.
    #[serde(default)]
    pub not_cold_to: BTreeSet<HostId>,
    /// Why the last of these failed.
    #[serde(default)]
    pub cold_error: Option<String>,
}

impl Moving {
    /// A live move away from a host.
    pub(crate) fn live(from: &HostId, to: Option<HostId>, why: MoveWhy) -> Moving {
        Moving {
            to,
            why,
            failures: 0,
            cold: false,
            from: Some(from.clone()),
            not_live_to: BTreeSet::new(),
            not_cold_to: BTreeSet::new(),
            cold_error: None,
        }
    }
    /// Stopped on a host, to be started on another, as an operator asked.
    pub(crate) fn cold(from: &HostId, to: HostId) -> Moving {
        Moving { cold: true, ..Moving::live(from, Some(to), MoveWhy::Operator) }
    }
    /// Off, and to be started, as an operator asked.
    pub(crate) fn start(on: Option<HostId>) -> Moving {
        Moving {
            to: on,
            why: MoveWhy::Operator,
            failures: 0,
            cold: true,
            from: None,
            not_live_to: BTreeSet::new(),
            not_cold_to: BTreeSet::new(),
            cold_error: None,
        }
    }
}

/// A workload that could not leave its host, neither live nor by being shut down and started elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stuck {
    pub host: HostId,
    /// What was tried and why it failed, for people.
    pub why: String,
}

/// Why a workload is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MoveWhy {
    /// An operator asked.
    Operator,
    /// Its host goes into maintenance.
    Maintenance,
    /// Its home is back.
    FailBack,
    /// It breaks a required constraint where it is.
    Constraint,
    /// An operator asked to even out load.
    Balance,
}

impl WorkloadRecord {
    pub(crate) fn new(workload: WorkloadId, uuid: String, now: Time) -> WorkloadRecord {
        WorkloadRecord {
            workload,
            uuid,
            needs: Resources::ZERO,
            tags: BTreeSet::new(),
            datastores: BTreeSet::new(),
            movable: true,
            passed_through: BTreeSet::new(),
            only_here: BTreeSet::new(),
            leave_state: false,
            known_since: now,
            want: Want::Stopped { at: now, how: StoppedHow::FoundOff },
            unprotected: false,
            host: None,
            may_run_on: BTreeSet::new(),
            unsettled: BTreeMap::new(),
            pending_on: BTreeSet::new(),
            late_on: BTreeMap::new(),
            left: BTreeSet::new(),
            trouble: None,
            trying: None,
            attempts: Vec::new(),
            moving: None,
            stuck: None,
            came_from: None,
            kept_on: None,
            answers: false,
            incident: None,
            point_tried: None,
            point_failures: 0,
            point_refused: None,
            point_lost: None,
            reverted_to: None,
            reverted: None,
            force_stop_at: None,
            stop_failures: 0,
            asked: None,
            in_question: false,
            stopped_on: None,
            coming_up: None,
            runs_since: None,
            began_on: None,
            ended_unseen: false,
            listed_on: BTreeSet::new(),
        }
    }
}

impl WorkloadRecord {
    /// It was started, or seen to run, on the host.
    pub(crate) fn came_up(&mut self, host: &HostId) {
        let last = self.attempts.last_mut();
        if let Some(attempt) = last.filter(|attempt| attempt.host.as_ref().is_none_or(|at| at == host)) {
            attempt.ran = true;
        }
    }

    /// What was ordered to have it run on the host has worked: nothing is left to try for that.
    pub(crate) fn order_worked(&mut self, host: &HostId) {
        self.host = Some(host.clone());
        self.left.remove(host);
        (self.trying, self.moving) = (None, None);
        self.leave_state = false;
        self.came_up(host);
        self.asked.take_if(|asked| matches!(asked.what, AskedFor::Restart { .. }));
    }
}

impl Record for WorkloadRecord {
    type Key = WorkloadId;
    const TABLE: Table = Table::Workload;
    fn key(&self) -> WorkloadId {
        self.workload.clone()
    }
}

/// What was seen of a workload in this term.
#[derive(Clone, Debug, Default)]
pub(crate) struct WorkloadSenses {
    /// State per host that has it, with the time of the sighting.
    pub seen: BTreeMap<HostId, Seen>,
    /// When each host that has it no more told so last: older words of that host say nothing.
    pub gone: BTreeMap<HostId, Time>,
    /// When its definition was last told to be gone from a host, and not by our doing.
    pub gone_at: Option<Time>,
    /// Its definition was removed while it ran, and there was none since.
    pub undefined_live: bool,
    /// Until when it ran at least, by the word of a host or of a start that was done.
    pub ran_until: Option<Time>,
    /// Until when it answered at least.
    pub answered_until: Option<Time>,
    pub channels: Few<GuestChannel, GuestSense>,
    pub activity: Option<ActivitySense>,
    /// Where these counters are of: those of another process say nothing about them.
    pub active_on: Option<HostId>,
    /// When it was last seen to start (or this term began).
    pub up_since: Option<Time>,
    /// When it was first heard after `up_since`.
    pub answered_since: Option<Time>,
    /// When it last answered while it ran on two hosts: which of the two did is not known.
    pub one_of_two_answered: Option<Time>,
    /// How often it rebooted by itself since it came up or was last heard.
    pub reboots: u32,
    /// When it did so first.
    pub rebooted_at: Option<Time>,
    /// When its host came into sight: silence before that says nothing of the guest.
    pub watched_since: Option<Time>,
    /// When an operator wanted it to run that had been off as wanted: that it was off before is no downtime.
    pub wanted_since: Option<Time>,
    /// When an operator asked for a start of it while it was down.
    pub asked_to_start: Option<Time>,
    /// Hosts that have another VM of this name.
    pub namesakes: BTreeSet<HostId>,
    /// Housekeeping failed: no more before this.
    pub tidy_after: Option<Time>,
    /// Hosts that refused to remove what is left of it there, and until when they are not asked again.
    pub stays_defined: BTreeMap<HostId, Time>,
    /// A move of our own accord failed: no other before this.
    pub stays_until: Option<Time>,
    /// When it was last resumed to see whether there is room again for its disk, and how often in a row before that.
    pub resumed: Option<(Time, u32)>,
    /// It did not stop when asked: it is asked again then.
    pub stop_again_at: Option<Time>,
    /// What an operator asked for failed: it is tried again then.
    pub asked_again_at: Option<Time>,
    /// Recovery points whose deletion failed: when it is tried again, and why it failed.
    pub stuck_points: BTreeMap<PointId, (Time, String)>,
    /// Recovery points on record that its host does not list, since when.
    pub missing_points: BTreeMap<PointId, Time>,
    /// When its host was asked for the newest list of its recovery points.
    pub points_listed: Option<Time>,
    /// When the deletion of one ended last: a list asked for before that may still have it.
    pub point_deleted_at: Option<Time>,
}

/// A workload on one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub state: DomainState,
    pub at: Time,
    /// When it was first seen in this state.
    pub since: Time,
    /// When it was last seen in another state there, if it was: it changed no earlier.
    pub not_before: Time,
    /// If an event told of it: it came to be so after that, for certain.
    pub after: Option<Time>,
    /// It was seen live there before that: it ended in sight.
    pub ended: bool,
    pub autostart: bool,
}

/// One channel of one guest.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GuestSense {
    pub heard: Option<Time>,
    pub silent: Option<Time>,
    /// False if it was heard at an address that it gave itself.
    pub vouches: bool,
}

/// Counters and when they last moved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ActivitySense {
    pub last: Activity,
    pub at: Time,
    /// When disk counters or sent bytes last grew. Received bytes do not count: others send them.
    pub moved_at: Time,
    /// When they had not grown yet by what was counted before: over a gap in sight, they may have grown at any time since then.
    pub moved_from: Option<Time>,
    /// Rates over the last interval, for people: CPU percent; disk read, written, net received, sent in bytes a second.
    pub cpu_percent: f64,
    pub rates: [f64; 4],
}

impl WorkloadSenses {
    /// When it was last heard on any channel.
    pub(crate) fn heard(&self) -> Option<Time> {
        self.channels.values().filter_map(|sense| sense.heard).max()
    }

    /// When it was last asked in vain.
    pub(crate) fn asked_in_vain(&self) -> Option<Time> {
        self.channels.values().filter_map(|sense| sense.silent).max()
    }

    /// The same, if no channel was heard after that.
    pub(crate) fn silent(&self) -> Option<Time> {
        let silent = self.asked_in_vain()?;
        self.heard().is_none_or(|heard| heard < silent).then_some(silent)
    }
}
