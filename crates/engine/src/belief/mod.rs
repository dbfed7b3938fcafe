//! What the engine holds true: durable records in ledgers, the senses of this term, and the indexes that keep a step
//! independent of the cluster's size. The indexes follow the records through the few functions at the end of this file.

mod host;
mod journal;
mod order;
mod readiness;
mod shift;
mod silence;
mod workload;

pub(crate) use host::{HostPhase, HostRecord, HostSenses, Maintenance, OffProof, Sight};
pub(crate) use order::{Meta, OrderRecord, Purpose};
pub(crate) use readiness::{Readiness, Ready};
pub(crate) use workload::{
    ActivitySense, Asked, AskedFor, Attempt, MoveWhy, Moving, Reverted, Seen, StoppedHow, Stuck, Trouble, Trying,
    Unsettled, Want, WorkloadRecord, WorkloadSenses,
};

use crate::{
    Change, Row, Table,
    control::BadRow,
    ledger::{Ledger, Record},
};
use mainstay_model::{
    Action, ActionId, Alarm, Code, HostId, Incident, IncidentId, PointId, RecoveryPoint, Resources, Subject, Time,
    WorkloadId,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// All belief.
#[derive(Clone, Debug, Default)]
pub(crate) struct Belief {
    pub meta: Meta,
    pub hosts: Ledger<HostRecord>,
    pub workloads: Ledger<WorkloadRecord>,
    pub points: Ledger<RecoveryPoint>,
    pub orders: Ledger<OrderRecord>,
    pub alarms: Ledger<Alarm>,
    pub incidents: Ledger<Incident>,
    pub host_senses: BTreeMap<HostId, HostSenses>,
    pub workload_senses: BTreeMap<WorkloadId, WorkloadSenses>,
    /// Where workloads could start now, as hosts said in this term.
    pub readiness: Readiness,
    /// Hosts that are silent on every channel.
    pub silent: BTreeSet<HostId>,
    /// Hosts of which an event told of a running VM that no list has told of, until they list.
    pub unknown_runs: BTreeMap<HostId, Unlisted>,
    /// Workloads that persons removed, and when that was told: a list that was asked for before may have them yet.
    pub removed: BTreeMap<WorkloadId, Time>,
    /// True while too many hosts are silent at once: the controller is cut off.
    pub cut_off: bool,
    /// When that was judged last.
    pub cut_off_since: Time,
    on_host: BTreeMap<HostId, BTreeSet<WorkloadId>>,
    /// What is taken on a host, from when it was summed up until something changes there.
    pub taken: BTreeMap<HostId, Resources>,
    /// Workloads by the uuid that they have or had. What has one uuid is one VM, also under another name.
    named: BTreeMap<String, BTreeSet<WorkloadId>>,
    in_flight: BTreeMap<Subject, BTreeSet<ActionId>>,
    under_way: BTreeSet<ActionId>,
    /// Orders in the journal that started or stopped a workload.
    acts: BTreeMap<WorkloadId, BTreeSet<ActionId>>,
}

/// Key of a recovery point.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PointKey(pub WorkloadId, pub PointId);

impl fmt::Display for PointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0, self.1)
    }
}

impl Record for RecoveryPoint {
    type Key = PointKey;
    const TABLE: Table = Table::Point;
    fn key(&self) -> PointKey {
        PointKey(self.workload.clone(), self.id.clone())
    }
}

/// Key of an alarm: one per subject and code.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AlarmKey(pub Subject, pub Code);

impl fmt::Display for AlarmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0 {
            Subject::Cluster => "cluster",
            Subject::Host(_) => "host",
            Subject::Workload(_) => "vm",
        };
        write!(f, "{kind}/{}/{}", self.0, self.1)
    }
}

impl Record for Alarm {
    type Key = AlarmKey;
    const TABLE: Table = Table::Alarm;
    fn key(&self) -> AlarmKey {
        AlarmKey(self.subject.clone(), self.code)
    }
}

impl Record for Incident {
    type Key = IncidentId;
    const TABLE: Table = Table::Incident;
    fn key(&self) -> IncidentId {
        self.id
    }
}

/// VMs that a host is told to run and that no list has told of.
#[derive(Clone, Debug)]
pub(crate) struct Unlisted {
    /// Since when there is one.
    pub since: Time,
    /// Those that run, as far as events told.
    pub names: BTreeSet<WorkloadId>,
}

impl Belief {
    /// Reads memory back, and builds the indexes from it.
    pub(crate) fn restore(rows: &[Row]) -> Result<Belief, BadRow> {
        let mut belief = Belief::default();
        for row in rows {
            match row.table {
                Table::Meta => belief.meta.restore(row)?,
                Table::Host => belief.hosts.restore(row)?,
                Table::Workload => belief.workloads.restore(row)?,
                Table::Point => belief.points.restore(row)?,
                Table::Order => belief.orders.restore(row)?,
                Table::Alarm => belief.alarms.restore(row)?,
                Table::Incident => belief.incidents.restore(row)?,
            }
        }
        for record in belief.workloads.values() {
            belief.named.entry(record.uuid.clone()).or_default().insert(record.workload.clone());
            for host in &record.may_run_on {
                belief.on_host.entry(host.clone()).or_default().insert(record.workload.clone());
            }
        }
        for record in belief.orders.values().filter(|record| record.ended.is_none()) {
            belief.under_way.insert(record.order.id);
            for subject in record.subjects() {
                belief.in_flight.entry(subject).or_default().insert(record.order.id);
            }
        }
        for record in belief.orders.values().filter(|record| record.acts_at().is_some()) {
            if let Some(workload) = record.order.action.workload() {
                belief.acts.entry(workload.clone()).or_default().insert(record.order.id);
            }
        }
        Ok(belief)
    }

    /// What is to be made durable since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        self.meta.take_changes(&mut changes);
        self.hosts.take_changes(&mut changes);
        self.workloads.take_changes(&mut changes);
        self.points.take_changes(&mut changes);
        self.orders.take_changes(&mut changes);
        self.alarms.take_changes(&mut changes);
        self.incidents.take_changes(&mut changes);
        changes
    }

    /// A workload has this uuid from now on.
    pub(crate) fn has_uuid(&mut self, workload: &WorkloadId, uuid: &str) {
        self.named.entry(uuid.to_owned()).or_default().insert(workload.clone());
    }

    /// Records of the same VM under other names.
    pub(crate) fn other_names<'a>(&'a self, record: &'a WorkloadRecord) -> impl Iterator<Item = &'a WorkloadRecord> {
        let names = self.named.get(&record.uuid).filter(|names| names.len() > 1 && !record.uuid.is_empty());
        let records = names.into_iter().flatten().filter_map(|other| self.workloads.get(other));
        records.filter(|other| other.uuid == record.uuid && other.workload != record.workload)
    }

    /// From now on the workload may be executing there.
    pub(crate) fn may_run(&mut self, workload: &WorkloadId, host: &HostId) {
        let known = self.workloads.get(workload).is_some_and(|record| record.may_run_on.contains(host));
        if !known && let Some(record) = self.workloads.get_mut(workload) {
            record.may_run_on.insert(host.clone());
            self.taken.remove(host);
            self.on_host.entry(host.clone()).or_default().insert(workload.clone());
        }
    }

    /// It is proved that the workload does not execute there.
    pub(crate) fn runs_not(&mut self, workload: &WorkloadId, host: &HostId) {
        let known = self.workloads.get(workload).is_some_and(|record| record.may_run_on.contains(host));
        if known && let Some(record) = self.workloads.get_mut(workload) {
            record.may_run_on.remove(host);
            self.taken.remove(host);
            if let Some(set) = self.on_host.get_mut(host) {
                set.remove(workload);
            }
        }
    }

    /// Forgets a workload with all that belongs to it.
    pub(crate) fn forget(&mut self, workload: &WorkloadId) {
        if let Some(names) = self.workloads.get(workload).and_then(|record| self.named.get_mut(&record.uuid)) {
            names.remove(workload);
        }
        self.workloads.remove(workload);
        self.workload_senses.remove(workload);
        self.taken.clear();
        for set in self.on_host.values_mut() {
            set.remove(workload);
        }
        for key in self.point_keys(workload) {
            self.points.remove(&key);
        }
        for id in self.acts.remove(workload).unwrap_or_default() {
            if self.orders.get(&id).is_some_and(|record| record.ended.is_some()) {
                self.orders.remove(&id);
            }
        }
    }

    /// Forgets a host, and what it had of workloads that are elsewhere.
    pub(crate) fn forget_host(&mut self, host: &HostId) {
        self.hosts.remove(host);
        self.host_senses.remove(host);
        self.readiness.forget_host(host);
        self.unknown_runs.remove(host);
        for senses in self.workload_senses.values_mut() {
            senses.seen.remove(host);
            senses.namesakes.remove(host);
        }
        let left: Vec<WorkloadId> =
            self.workloads.values().filter(|it| it.left.contains(host)).map(|it| it.workload.clone()).collect();
        for workload in left {
            self.workloads.get_mut(&workload).expect("found above").left.remove(host);
        }
        let listed = self.workloads.values().filter(|it| it.listed_on.contains(host));
        for workload in listed.map(|it| it.workload.clone()).collect::<Vec<WorkloadId>>() {
            self.workloads.get_mut(&workload).expect("found above").listed_on.remove(host);
        }
    }

    /// The order that is about to switch a host off, if there is one.
    pub(crate) fn fence_under_way(&self, host: &HostId) -> Option<&OrderRecord> {
        let mut orders = self.in_flight(&Subject::Host(host.clone()));
        orders.find(|record| matches!(record.order.action, Action::Fence { .. }))
    }

    /// Every host on which a workload may execute.
    pub(crate) fn may_run_on(&self, workload: &WorkloadId) -> BTreeSet<HostId> {
        self.workloads.get(workload).map(|record| record.may_run_on.clone()).unwrap_or_default()
    }

    /// The workloads that may execute on a host.
    pub(crate) fn on_host(&self, host: &HostId) -> impl Iterator<Item = &WorkloadId> {
        self.on_host.get(host).into_iter().flatten()
    }

    /// Notes an order that left.
    pub(crate) fn order_left(&mut self, record: OrderRecord) {
        self.under_way.insert(record.order.id);
        for subject in record.subjects() {
            self.in_flight.entry(subject).or_default().insert(record.order.id);
        }
        if let Some(workload) = record.order.action.workload().filter(|_| record.acts_at().is_some()) {
            self.acts.entry(workload.clone()).or_default().insert(record.order.id);
        }
        self.orders.put(record);
    }

    /// Orders in the journal that started or stopped a workload, oldest first.
    pub(crate) fn acts_on(&self, workload: &WorkloadId) -> impl DoubleEndedIterator<Item = &OrderRecord> {
        self.acts.get(workload).into_iter().flatten().filter_map(|id| self.orders.get(id))
    }

    /// Writes into the journal how an order ended, and drops from it what no later question reads.
    pub(crate) fn order_closed(&mut self, record: OrderRecord) {
        let (id, workload) = (record.order.id, record.order.action.workload().cloned());
        self.orders.put(record);
        let acts = workload.filter(|workload| self.acts.get(workload).is_some_and(|ids| ids.contains(&id)));
        let surplus = match &acts {
            Some(workload) => journal::superseded(self.acts_on(workload).rev()),
            None => vec![id],
        };
        for id in surplus {
            self.orders.remove(&id);
            if let Some(ids) = acts.as_ref().and_then(|workload| self.acts.get_mut(workload)) {
                ids.remove(&id);
            }
        }
    }

    /// Drops what an older version kept in the journal.
    pub(crate) fn tidy_journal(&mut self) {
        let ended: Vec<OrderRecord> = self.orders.values().filter(|record| record.ended.is_some()).cloned().collect();
        let unread = ended.into_iter().filter(|record| record.acts_at().is_none());
        for record in unread {
            self.orders.remove(&record.order.id);
        }
    }

    /// Takes an order out of flight; `None` if it was not in flight (any more).
    pub(crate) fn order_ended(&mut self, id: ActionId) -> Option<OrderRecord> {
        let record = self.orders.get(&id).filter(|record| record.ended.is_none())?.clone();
        self.under_way.remove(&id);
        for subject in record.subjects() {
            if let Some(set) = self.in_flight.get_mut(&subject) {
                set.remove(&id);
            }
        }
        Some(record)
    }

    /// Orders under way about a host or workload.
    pub(crate) fn in_flight<'a>(&'a self, subject: &Subject) -> impl Iterator<Item = &'a OrderRecord> + use<'a> {
        self.in_flight.get(subject).into_iter().flatten().filter_map(|id| self.orders.get(id))
    }

    /// Every order under way.
    pub(crate) fn all_in_flight(&self) -> impl Iterator<Item = &OrderRecord> {
        self.under_way.iter().filter_map(|id| self.orders.get(id))
    }

    /// Keys of a workload's recovery points, by name.
    pub(crate) fn point_keys(&self, workload: &WorkloadId) -> Vec<PointKey> {
        self.points_of(workload).map(|point| point.key()).collect()
    }

    /// A workload's recovery points, by name.
    pub(crate) fn points_of(&self, workload: &WorkloadId) -> impl Iterator<Item = &RecoveryPoint> {
        let from = PointKey(workload.clone(), PointId::from(""));
        self.points.range(from..).map(|(_, point)| point).take_while(move |point| point.workload == *workload)
    }
}
