//! Between the engine's nouns and the store's rows: nothing but translation, and a cache of the workloads' definitions.

use crate::handle::EventQuery;
use mainstay_engine::{Change, Row, Step, Table};
use mainstay_libvirt::Uuid;
use mainstay_model::{Event, HostId, Severity, Span, Subject, Time, WorkloadId};
use mainstay_store::{Batch, Kind, Store};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

/// A step back of the wall clock up to this is bridged over; a larger one means that the clock was wrong before.
const BRIDGED: Span = Span::hours(1);

/// How a workload is defined, kept so that it can be defined elsewhere when its host is dead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Definition {
    /// Its persistent XML, secrets included.
    pub xml: String,
    /// libvirt's records of its snapshots, parents first.
    pub snapshots: Vec<KeptSnapshot>,
    /// Where it was seen so last.
    pub host: HostId,
    /// When.
    pub seen_at: Time,
    /// Why it may not be true: its disks were being switched to other images when it was last heard of.
    pub doubt: Option<String>,
}

impl Definition {
    /// True if a domain of this uuid is another VM, though it may have the same name.
    pub fn is_of_another(&self, uuid: Uuid) -> bool {
        self.uuid().is_some_and(|own| own != uuid)
    }

    fn uuid(&self) -> Option<Uuid> {
        mainstay_libvirt::definition::Definition::parse(&self.xml).ok().map(|own| own.uuid)
    }
}

/// libvirt's record of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptSnapshot {
    /// Its name.
    pub name: String,
    /// The record.
    pub xml: String,
    /// The workload stands on it.
    pub current: bool,
}

/// What the controller remembers. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    store: Arc<Store>,
    definitions: Arc<Mutex<Definitions>>,
}

#[derive(Debug, Default)]
struct Definitions {
    kept: BTreeMap<WorkloadId, Definition>,
    /// Of the kept ones, so that nobody parses XML at each look.
    uuids: BTreeMap<WorkloadId, Uuid>,
    /// Workloads whose disks are being switched to other images right now.
    changing: BTreeSet<WorkloadId>,
    /// Workloads that the host of the kept definition no longer lists: another host's definition may count now.
    orphaned: BTreeSet<WorkloadId>,
}

/// While this lives, sensors do not overwrite a workload's definition: they might read it a moment before it changes.
#[derive(Debug)]
pub(crate) struct Changing {
    memory: Memory,
    workload: WorkloadId,
}

impl Definitions {
    fn keep(&mut self, workload: WorkloadId, definition: Definition) {
        match definition.uuid() {
            Some(uuid) => drop(self.uuids.insert(workload.clone(), uuid)),
            None => drop(self.uuids.remove(&workload)),
        }
        self.kept.insert(workload, definition);
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.memory.lock().changing.remove(&self.workload);
    }
}

/// What was found at the start.
pub(crate) struct Found {
    /// The engine's rows.
    pub rows: Vec<Row>,
    /// The last moment on record that a new clock must not fall behind.
    pub not_before: Time,
}

impl Memory {
    /// Reads what there is.
    pub async fn open(store: Store, wall: Time) -> Result<(Memory, Found), mainstay_store::Error> {
        let (mut rows, mut definitions) = (Vec::new(), Definitions::default());
        for row in store.load().await? {
            match (table(row.kind), row.kind) {
                (Some(table), _) => rows.push(Row { table, key: row.key, body: row.body }),
                (None, Kind::Definition) => match serde_json::from_str(&row.body) {
                    Ok(definition) => definitions.keep(WorkloadId::from(row.key), definition),
                    Err(error) => tracing::error!(workload = row.key, %error, "its kept definition can't be read"),
                },
                (None, _) => {}
            }
        }
        let newest = store.events(&mainstay_store::EventQuery { limit: 1, ..Default::default() }).await?;
        let last = newest.first().map_or(Time(0), |event| Time(event.event.at_ms));
        let not_before = if last.since(wall) > BRIDGED { Time(0) } else { last };
        let memory = Memory { store: Arc::new(store), definitions: Arc::new(Mutex::new(definitions)) };
        Ok((memory, Found { rows, not_before }))
    }

    /// Events that match, oldest first.
    pub async fn events(&self, query: &EventQuery) -> Result<Vec<Event>, mainstay_store::Error> {
        let asked = mainstay_store::EventQuery {
            since_ms: query.since.map_or(0, |time| time.0),
            subject: query.subject.as_ref().map(subject),
            severity: query.severity.map_or(0, level),
            // The store does not know incidents: read more and choose here.
            limit: if query.incident.is_some() { u32::MAX } else { query.limit },
            ..Default::default()
        };
        let found = self.store.events(&asked).await?;
        let wanted = |event: &Event| query.incident.is_none() || event.incident == query.incident;
        let events = found.iter().filter_map(|stored| serde_json::from_str(&stored.event.body).ok()).filter(wanted);
        let mut events: Vec<Event> = events.take(query.limit as usize).collect();
        events.reverse();
        Ok(events)
    }

    /// The definition last seen of a workload.
    pub fn definition(&self, workload: &WorkloadId) -> Option<Definition> {
        self.lock().kept.get(workload).cloned()
    }

    /// A host lists these workloads, and no others.
    pub fn listed(&self, host: &HostId, workloads: &BTreeSet<WorkloadId>) {
        let mut definitions = self.lock();
        let Definitions { kept, orphaned, .. } = &mut *definitions;
        for workload in kept.iter().filter(|(_, kept)| kept.host == *host).map(|(workload, _)| workload) {
            if workloads.contains(workload) {
                orphaned.remove(workload);
            } else {
                orphaned.insert(workload.clone());
            }
        }
    }

    /// True if a definition seen on a host counts: the workload runs there, or ran there last, or is nowhere else. One
    /// that is left over on a host that the workload has left says nothing, nor does another VM of the same name.
    pub fn counts(&self, workload: &WorkloadId, host: &HostId, uuid: Uuid, active: bool) -> bool {
        let definitions = self.lock();
        let Some(elsewhere) = definitions.kept.get(workload).filter(|kept| kept.host != *host) else { return true };
        (active && !elsewhere.is_of_another(uuid)) || definitions.orphaned.contains(workload)
    }

    /// True if a domain of this uuid is not the workload that is known by its name, but a namesake: nothing that is seen of
    /// it may be told of the workload, but by an inventory, which tells the two apart.
    pub fn is_namesake(&self, workload: &WorkloadId, uuid: Uuid) -> bool {
        self.lock().uuids.get(workload).is_some_and(|own| *own != uuid)
    }

    /// True while a workload's disks are being switched to other images by this process.
    pub fn is_changing(&self, workload: &WorkloadId) -> bool {
        self.lock().changing.contains(workload)
    }

    /// Keeps a workload's definition as a sensor saw it, if it differs from the one kept.
    pub async fn see_definition(&self, workload: &WorkloadId, new: Definition) -> Result<(), mainstay_store::Error> {
        let known = {
            let definitions = self.lock();
            let same = |kept: &Definition| {
                kept.xml == new.xml
                    && kept.snapshots == new.snapshots
                    && kept.host == new.host
                    && kept.doubt == new.doubt
            };
            definitions.changing.contains(workload) || definitions.kept.get(workload).is_some_and(same)
        };
        if known { Ok(()) } else { self.keep_definition(workload, new).await }
    }

    /// Keeps a workload's definition.
    pub async fn keep_definition(&self, workload: &WorkloadId, new: Definition) -> Result<(), mainstay_store::Error> {
        let body = json(&new);
        let change = mainstay_store::Change { kind: Kind::Definition, key: workload.to_string(), body: Some(body) };
        self.store.commit(&Batch { at_ms: new.seen_at.0, changes: vec![change], events: Vec::new() }).await?;
        self.lock().keep(workload.clone(), new);
        Ok(())
    }

    /// Before a workload's disks are switched to other images: from here until a definition is kept anew, the one on
    /// record is in doubt, also after a crash of the controller.
    pub async fn begin_change(&self, workload: &WorkloadId, doing: &str) -> Result<Changing, mainstay_store::Error> {
        self.lock().changing.insert(workload.clone());
        let changing = Changing { memory: self.clone(), workload: workload.clone() };
        if let Some(kept) = self.definition(workload) {
            self.keep_definition(workload, Definition { doubt: Some(doing.to_owned()), ..kept }).await?;
        }
        Ok(changing)
    }

    /// The store itself, for what needs no translation.
    pub fn store(&self) -> &Store {
        &self.store
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Definitions> {
        self.definitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a step durable. The one outside effect on which all others wait, so that tests can make it fail.
pub(crate) trait Journal {
    /// All of the step's changes and events, or nothing.
    fn persist(&self, at: Time, step: &Step) -> impl Future<Output = Result<(), mainstay_store::Error>> + Send;
}

impl Journal for Memory {
    async fn persist(&self, at: Time, step: &Step) -> Result<(), mainstay_store::Error> {
        let changes = step.changes.iter().map(change).collect();
        let events = step.events.iter().map(event).collect();
        self.store.commit(&Batch { at_ms: at.0, changes, events }).await
    }
}

fn change(change: &Change) -> mainstay_store::Change {
    let kind = match change.table {
        Table::Meta => Kind::Meta,
        Table::Host => Kind::Host,
        Table::Workload => Kind::Workload,
        Table::Point => Kind::Point,
        Table::Order => Kind::Order,
        Table::Alarm => Kind::Alarm,
        Table::Incident => Kind::Incident,
    };
    mainstay_store::Change { kind, key: change.key.clone(), body: change.body.clone() }
}

/// The engine's table of a row; `None`: the row is not the engine's.
fn table(kind: Kind) -> Option<Table> {
    match kind {
        Kind::Meta => Some(Table::Meta),
        Kind::Host => Some(Table::Host),
        Kind::Workload => Some(Table::Workload),
        Kind::Point => Some(Table::Point),
        Kind::Order => Some(Table::Order),
        Kind::Alarm => Some(Table::Alarm),
        Kind::Incident => Some(Table::Incident),
        Kind::Definition | Kind::Config => None,
    }
}

fn event(event: &Event) -> mainstay_store::Event {
    mainstay_store::Event {
        at_ms: event.at.0,
        subject: subject(&event.subject),
        severity: level(event.severity),
        code: json(&event.kind).trim_matches('"').to_owned(),
        text: event.text.clone(),
        body: json(event),
    }
}

fn subject(subject: &Subject) -> mainstay_store::Subject {
    let (kind, id) = match subject {
        Subject::Cluster => ("cluster", ""),
        Subject::Host(host) => ("host", host.as_str()),
        Subject::Workload(workload) => ("workload", workload.as_str()),
    };
    mainstay_store::Subject { kind: kind.to_owned(), id: id.to_owned() }
}

fn level(severity: Severity) -> u8 {
    match severity {
        Severity::Green => 0,
        Severity::Yellow => 1,
        Severity::Red => 2,
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain values with text keys are always JSON")
}
