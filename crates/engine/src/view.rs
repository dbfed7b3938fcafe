//! What people and programs are shown: a picture of the engine's belief, made on demand. Serialised as it stands by the
//! HTTP API and by `--json`, so its field names are a public contract (`version` grows with every breaking change).

use mainstay_model::{
    ActionId, Alarm, DeviceId, HostId, Incident, IncidentId, Obstacle, PointId, RecoveryPoint, Resources, Severity,
    SiteId, Span, Subject, Time, WorkloadId,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The whole cluster at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterView {
    /// Of this contract.
    pub version: u32,
    /// When the picture was made.
    pub at: Time,
    /// Cluster's name.
    pub name: String,
    /// The verdict first.
    pub verdict: Verdict,
    /// True while the controller believes itself cut off and acts on nothing.
    pub cut_off: bool,
    /// Hosts by name.
    pub hosts: Vec<HostView>,
    /// Workloads by name.
    pub workloads: Vec<WorkloadView>,
    /// Alarms, worst first.
    pub alarms: Vec<Alarm>,
    /// Open incidents.
    pub incidents: Vec<Incident>,
}

/// One sentence on how things are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// How bad.
    pub severity: Severity,
    /// The sentence.
    pub text: String,
    /// The command to type next, if one helps.
    pub next: Option<String>,
}

/// A host as believed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostView {
    /// Its name.
    pub host: HostId,
    /// Its site.
    pub site: SiteId,
    /// Its health in one word: `online`, `suspect`, `lost`, `fencing`, `fenced`, `returning`, `draining`, `maintenance`,
    /// `shut-down` (in good order, by its owner), `unmanaged` (its management does not answer), `unknown`.
    pub health: String,
    /// Since when.
    pub since: Time,
    /// The evidence, one sentence a channel.
    pub evidence: Vec<String>,
    /// What is being done or waited for.
    pub doing: Option<String>,
    /// True if it may get work now.
    pub in_service: bool,
    /// True if it is a spare.
    pub spare: bool,
    /// What it has for workloads.
    pub capacity: Resources,
    /// What is taken.
    pub used: Resources,
    /// Workloads that run there or may.
    pub workloads: BTreeSet<WorkloadId>,
    /// When it was last heard on any channel.
    pub heard: Option<Time>,
    /// True if it has a fence device.
    pub fenceable: bool,
    /// Its fence devices in the order of its levels, and what they said when nothing depended on it.
    #[serde(default)]
    pub fence: Vec<FenceView>,
}

/// A fence device of a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FenceView {
    /// The device.
    pub device: DeviceId,
    /// The level it belongs to, from 1.
    pub level: u32,
    /// When it was last asked in this term of the controller.
    pub asked: Option<Time>,
    /// When it last answered.
    pub answered: Option<Time>,
    /// Why it did not answer last time, or why its answer can't be true.
    pub error: Option<String>,
}

/// A workload as believed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkloadView {
    /// Its name.
    pub workload: WorkloadId,
    /// Its health in one word: `running`, `starting`, `unresponsive`, `crashed`, `stopped` (by a person), `paused`,
    /// `migrating`, `down`, `unknown`.
    pub health: String,
    /// Since when.
    pub since: Time,
    /// The evidence.
    pub evidence: Vec<String>,
    /// Where it runs.
    pub host: Option<HostId>,
    /// Where it may run, until proved otherwise.
    pub may_run_on: BTreeSet<HostId>,
    /// Hosts that lack what it needs to start, and what; a host that is not in it has everything or was not looked at.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lacks_on: BTreeMap<HostId, Vec<Obstacle>>,
    /// What binds it to its host, in words, if a device of that host is passed through to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<String>,
    /// What is being done or waited for, and why.
    pub doing: Option<String>,
    /// True if Mainstay acts for it.
    pub managed: bool,
    /// True if it should run; false if a person stopped it, or it was off when it was first seen.
    #[serde(default = "yes")]
    pub wanted: bool,
    /// Its priority.
    pub priority: i32,
    /// What it needs.
    pub needs: Resources,
    /// Whether it answers its probes; `None`: not probed.
    pub answers: Option<bool>,
    /// The newest good recovery point.
    pub last_point: Option<PointSummary>,
    /// Recovery points on record.
    pub points: u32,
    /// The interval in which they should be taken, if protected.
    pub protected_every: Option<Span>,
    /// The incident it is part of.
    pub incident: Option<IncidentId>,
    /// CPU use in percent of one CPU over the last interval.
    pub cpu_percent: Option<f64>,
    /// Rates in bytes a second: disk read, disk written, net received, net sent.
    pub rates: Option<[f64; 4]>,
}

/// Where one workload could start now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReadyView {
    /// Its name.
    pub workload: WorkloadId,
    /// Where it runs; that host is not among `hosts`.
    pub runs_on: Option<HostId>,
    /// The hosts from which its disks can be used, by name; all others of its site if a device binds it to its host.
    pub hosts: Vec<HostReady>,
}

/// Whether one host could start one workload now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostReady {
    /// The host.
    pub host: HostId,
    /// Whether the host may get work at all now.
    pub in_service: bool,
    /// Whether all that the workload needs is there; `None`: not known yet.
    pub ready: Option<bool>,
    /// When that was looked at.
    pub looked_at: Option<Time>,
    /// What is missing there.
    pub obstacles: Vec<Obstacle>,
}

/// A recovery point in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PointSummary {
    /// Its name.
    pub id: PointId,
    /// When it was taken.
    pub taken_at: Time,
}

/// An order on record: something that the controller told a host or device to do, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderView {
    /// Its number.
    pub id: ActionId,
    /// About what.
    pub subject: Subject,
    /// What is to be done.
    pub kind: OrderKind,
    /// The same in words.
    pub text: String,
    /// The recovery point it is about, if it is about one.
    pub point: Option<PointId>,
    /// When it left.
    pub ordered_at: Time,
    /// When it ended.
    pub ended_at: Option<Time>,
    /// How it ended.
    pub result: OrderResult,
    /// Why it failed, or why its outcome is unknown.
    pub reason: Option<String>,
}

/// What is to be done by an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each is the action of its name")]
pub enum OrderKind {
    CheckPower,
    Fence,
    PowerOn,
    Start,
    Stop,
    Resume,
    Migrate,
    TakePoint,
    DeletePoint,
    Revert,
    /// Leftovers removed, autostart switched off, a picture taken.
    Housekeeping,
}

/// How an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderResult {
    /// Nothing has come of it yet.
    UnderWay,
    /// It is so now.
    Done,
    /// It is certain that it was not done.
    Failed,
    /// It may have been done or not: the controller finds out.
    Unknown,
}

/// The recovery points of one workload.
pub type Points = Vec<RecoveryPoint>;

/// A view of an older controller does not say.
fn yes() -> bool {
    true
}
