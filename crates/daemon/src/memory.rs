//! Between the engine's nouns and the store's rows: nothing but translation, and a cache of the workloads' definitions.

use crate::{clock::ClockMark, handle::EventQuery};
use mainstay_engine::{Change, Row, Step, Table};
use mainstay_libvirt::{
    Uuid,
    domain::{checkpoint::CheckpointRecord, migration::Records, snapshot::SnapshotRecord},
};
use mainstay_model::{Actor, Event, EventKind, HostId, IncidentId, Severity, Span, Subject, Time, WorkloadId};
use mainstay_store::{Batch, Kind, Store, StoredEvent};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
};

/// A step back of the wall clock up to this is bridged over; a larger one means that the clock was wrong before.
const BRIDGED: Span = Span::hours(1);

/// The key of the clock's mark.
const CLOCK: &str = "clock";

/// Definitions read at once, at the start.
const PAGE: u32 = 100;

/// How a workload is defined, kept so that it can be defined elsewhere when its host is dead. The XML holds the passwords of
/// consoles and disks.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Definition {
    /// Its persistent XML, secrets included.
    pub xml: String,
    /// libvirt's records of its snapshots, parents first.
    pub snapshots: Vec<KeptSnapshot>,
    /// libvirt's records of its checkpoints, parents first: names and records.
    #[serde(default)]
    pub checkpoints: Vec<(String, String)>,
    /// Where it was seen so last.
    pub host: HostId,
    /// When.
    pub seen_at: Time,
    /// Why it may not be true: its disks were being switched to other images when it was last heard of.
    pub doubt: Option<String>,
    /// Its records may be missing where it is now: they were removed for a migration, or not yet written on the host it
    /// starts on. Nothing is learned about them from any host before they are written there again.
    #[serde(default)]
    pub owed: bool,
    /// Hosts that hold saved memory of it which is older than its disks: it must never be woken from that.
    #[serde(default)]
    pub stale_saves: BTreeSet<HostId>,
}

impl std::fmt::Debug for Definition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Definition { xml: _, snapshots, checkpoints, host, seen_at, doubt, owed, stale_saves } = self;
        let names: Vec<&str> = snapshots.iter().map(|kept| kept.name.as_str()).collect();
        let checkpoints: Vec<&str> = checkpoints.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Definition")
            .field("host", host)
            .field("seen_at", seen_at)
            .field("snapshots", &names)
            .field("checkpoints", &checkpoints)
            .field("doubt", doubt)
            .field("owed", owed)
            .field("stale_saves", stale_saves)
            .finish_non_exhaustive()
    }
}

impl Definition {
    /// Of all by which two definitions differ.
    pub fn digest(&self) -> u64 {
        let Definition { xml, snapshots, checkpoints, host, doubt, owed, stale_saves: _, seen_at: _ } = self;
        let mut hasher = DefaultHasher::new();
        (xml, snapshots, checkpoints, host, doubt, owed).hash(&mut hasher);
        hasher.finish()
    }

    /// What libvirt has to have on record where the workload is.
    pub fn records(&self) -> Records {
        let snapshot = |kept: &KeptSnapshot| SnapshotRecord {
            name: kept.name.clone(),
            xml: kept.xml.clone(),
            current: kept.current,
        };
        let checkpoint = |(name, xml): &(String, String)| CheckpointRecord { name: name.clone(), xml: xml.clone() };
        Records {
            snapshots: self.snapshots.iter().map(snapshot).collect(),
            checkpoints: self.checkpoints.iter().map(checkpoint).collect(),
        }
    }
}

/// libvirt's record of a snapshot.
#[derive(Clone, Hash, PartialEq, Eq, Serialize, Deserialize)]
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
    /// To be kept with the next step.
    clock: Arc<Mutex<Option<ClockMark>>>,
}

#[derive(Debug, Default)]
struct Definitions {
    kept: BTreeMap<WorkloadId, Kept>,
    /// Of which workloads a host's definition is the one that is kept.
    of_host: BTreeMap<HostId, BTreeSet<WorkloadId>>,
    /// Workloads whose disks are being switched to other images right now.
    changing: BTreeSet<WorkloadId>,
    /// Workloads that the host of the kept definition no longer lists: another host's definition may count now.
    orphaned: BTreeSet<WorkloadId>,
}

/// What is asked of a kept definition at every look. With its snapshots' records it may be as long as a book: it stays in
/// the store.
#[derive(Debug)]
struct Kept {
    host: HostId,
    /// `None`: the definition can't be read.
    uuid: Option<Uuid>,
    /// Of all by which two definitions differ.
    digest: u64,
    owed: bool,
    stale_saves: BTreeSet<HostId>,
}

impl Kept {
    fn of(definition: &Definition) -> Kept {
        let uuid = mainstay_libvirt::definition::Definition::uuid_in(&definition.xml).ok();
        let stale_saves = definition.stale_saves.clone();
        Kept { host: definition.host.clone(), uuid, digest: definition.digest(), owed: definition.owed, stale_saves }
    }

    /// True if a domain of this uuid is another VM, though it may have the same name.
    fn is_of_another(&self, uuid: Uuid) -> bool {
        self.uuid.is_some_and(|own| own != uuid)
    }
}

impl Definitions {
    fn keeps(&self, workload: &WorkloadId, digest: u64) -> bool {
        self.kept.get(workload).is_some_and(|kept| kept.digest == digest)
    }

    fn keep(&mut self, workload: &WorkloadId, kept: Kept) {
        self.of_host.entry(kept.host.clone()).or_default().insert(workload.clone());
        let host = kept.host.clone();
        if let Some(before) = self.kept.insert(workload.clone(), kept).filter(|before| before.host != host)
            && let Some(there) = self.of_host.get_mut(&before.host)
        {
            there.remove(workload);
        }
    }
}

/// While this lives, sensors do not overwrite a workload's definition: they might read it a moment before it changes.
#[derive(Debug)]
pub(crate) struct Changing {
    memory: Memory,
    workload: WorkloadId,
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
    /// How the clock stood by which the rows are told.
    pub clock: Option<ClockMark>,
    /// Why the rows are known to be older than the world.
    pub put_back: Option<String>,
}

impl Memory {
    /// Reads what there is.
    pub async fn open(store: Store, wall: Time) -> Result<(Memory, Found), mainstay_store::Error> {
        Memory::open_at(store, wall, None).await
    }

    /// The same for a new term. `mark`: how the wall clock stands to the machine's time since its boot.
    pub async fn open_at(
        store: Store,
        wall: Time,
        mark: Option<&ClockMark>,
    ) -> Result<(Memory, Found), mainstay_store::Error> {
        let kinds: Vec<Kind> = Kind::ALL.iter().copied().filter(|kind| table(*kind).is_some()).collect();
        let loaded = store.load(&kinds).await?;
        let row = |row: mainstay_store::Row| Some(Row { table: table(row.kind)?, key: row.key, body: row.body });
        let rows = loaded.into_iter().filter_map(row).collect();
        let definitions = read_definitions(&store).await?;
        let newest = store.events(&mainstay_store::EventQuery { limit: 1, ..Default::default() }).await?;
        let last = newest.first().map_or(Time(0), |event| Time(event.event.at_ms));
        let memory =
            Memory { store: Arc::new(store), definitions: Arc::new(Mutex::new(definitions)), clock: Arc::default() };
        let clock: Option<ClockMark> =
            memory.store.body(Kind::Process, CLOCK).await?.and_then(|body| serde_json::from_str(&body).ok());
        // What passed while no controller was there counts too: an old stop would look newer than it is (scenario 419).
        let counted = clock.as_ref().zip(mark).and_then(|(then, now)| then.would_show(now));
        let last = counted.map_or(last, |counted| last.max(counted));
        let not_before = if last.since(wall) > BRIDGED { Time(0) } else { last };
        let put_back = memory.store.put_back().map(str::to_owned);
        Ok((memory, Found { rows, not_before, clock, put_back }))
    }

    /// The same memory, which keeps with the first step from here how the clock stands: from then on its times are told by that.
    pub fn with_clock(&self, mark: Option<ClockMark>) -> Memory {
        Memory { clock: Arc::new(Mutex::new(mark)), ..self.clone() }
    }

    /// Events that match, oldest first.
    pub async fn events(&self, query: &EventQuery) -> Result<Vec<Event>, mainstay_store::Error> {
        let asked = mainstay_store::EventQuery {
            since_ms: query.since.map_or(0, |time| time.0),
            subject: query.subject.as_ref().map(subject),
            severity: query.severity.map_or(0, level),
            incident: query.incident.map(|incident| incident.0),
            limit: query.limit,
            ..Default::default()
        };
        let found = self.store.events(&asked).await?;
        Ok(found.into_iter().rev().filter_map(read_event).collect())
    }

    /// Workloads whose definitions are kept.
    pub fn defined(&self) -> Vec<WorkloadId> {
        self.lock().kept.keys().cloned().collect()
    }

    /// The definition last seen of a workload; `None` if it was never seen, or can't be read any more.
    pub async fn definition(&self, workload: &WorkloadId) -> Result<Option<Definition>, mainstay_store::Error> {
        let body = self.store.body(Kind::Definition, workload.as_str()).await?;
        Ok(body.and_then(|body| readable(&format!("definition of {workload}"), &body)))
    }

    /// A host lists these workloads, and no others.
    pub fn listed(&self, host: &HostId, workloads: &BTreeSet<WorkloadId>) {
        let mut definitions = self.lock();
        let Definitions { of_host, orphaned, .. } = &mut *definitions;
        for workload in of_host.get(host).into_iter().flatten() {
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
        self.lock().kept.get(workload).is_some_and(|kept| kept.is_of_another(uuid))
    }

    /// True while a workload's disks are being switched to other images by this process.
    pub fn is_changing(&self, workload: &WorkloadId) -> bool {
        self.lock().changing.contains(workload)
    }

    /// True if what is kept of a workload has this digest.
    pub fn keeps(&self, workload: &WorkloadId, digest: u64) -> bool {
        self.lock().keeps(workload, digest)
    }

    /// True while a workload's records may be missing where it is: see [`Definition::owed`].
    pub fn owes(&self, workload: &WorkloadId) -> bool {
        self.lock().kept.get(workload).is_some_and(|kept| kept.owed)
    }

    /// From here on, also after a crash of the controller, the workload's records are owed to the host where it is.
    pub async fn owe(&self, workload: &WorkloadId) -> Result<(), mainstay_store::Error> {
        match self.definition(workload).await? {
            Some(kept) if !kept.owed && !kept.records().is_empty() => {
                self.keep_definition(workload, Definition { owed: true, ..kept }).await
            }
            _ => Ok(()),
        }
    }

    /// The workload's records are where it is.
    pub async fn settle(&self, workload: &WorkloadId) -> Result<(), mainstay_store::Error> {
        match self.definition(workload).await? {
            Some(kept) if kept.owed => self.keep_definition(workload, Definition { owed: false, ..kept }).await,
            _ => Ok(()),
        }
    }

    /// Hosts whose saved memory of a workload is stale.
    pub fn stale_saves(&self, workload: &WorkloadId) -> BTreeSet<HostId> {
        self.lock().kept.get(workload).map(|kept| kept.stale_saves.clone()).unwrap_or_default()
    }

    /// Notes whether a host holds saved memory that is older than the workload's disks.
    pub async fn note_save(
        &self,
        workload: &WorkloadId,
        host: &HostId,
        stale: bool,
    ) -> Result<(), mainstay_store::Error> {
        if self.stale_saves(workload).contains(host) == stale {
            return Ok(());
        }
        let Some(mut kept) = self.definition(workload).await? else { return Ok(()) };
        if stale {
            kept.stale_saves.insert(host.clone())
        } else {
            kept.stale_saves.remove(host)
        };
        self.put_definition(workload, kept).await
    }

    /// Keeps a workload's definition as a sensor saw it, if it differs from the one kept.
    pub async fn see_definition(&self, workload: &WorkloadId, new: Definition) -> Result<(), mainstay_store::Error> {
        let known = {
            let definitions = self.lock();
            let owed = definitions.kept.get(workload).is_some_and(|kept| kept.owed);
            owed || definitions.changing.contains(workload) || definitions.keeps(workload, new.digest())
        };
        if known { Ok(()) } else { self.keep_definition(workload, new).await }
    }

    /// Keeps a workload's definition. What was known of saved memory stays known.
    pub async fn keep_definition(
        &self,
        workload: &WorkloadId,
        mut new: Definition,
    ) -> Result<(), mainstay_store::Error> {
        new.stale_saves = self.stale_saves(workload);
        self.put_definition(workload, new).await
    }

    async fn put_definition(&self, workload: &WorkloadId, new: Definition) -> Result<(), mainstay_store::Error> {
        let body = json(&new);
        let change = mainstay_store::Change { kind: Kind::Definition, key: workload.to_string(), body: Some(body) };
        self.store.commit(&Batch { at_ms: new.seen_at.0, changes: vec![change], events: Vec::new() }).await?;
        self.lock().keep(workload, Kept::of(&new));
        Ok(())
    }

    /// Before a workload's disks are switched to other images: from here until a definition is kept anew, the one on
    /// record is in doubt, also after a crash of the controller.
    pub async fn begin_change(&self, workload: &WorkloadId, doing: &str) -> Result<Changing, mainstay_store::Error> {
        let changing = self.change(workload);
        if let Some(kept) = self.definition(workload).await? {
            self.keep_definition(workload, Definition { doubt: Some(doing.to_owned()), ..kept }).await?;
        }
        Ok(changing)
    }

    /// From here on, while the result lives, sensors leave the workload's definition alone.
    pub fn change(&self, workload: &WorkloadId) -> Changing {
        self.lock().changing.insert(workload.clone());
        Changing { memory: self.clone(), workload: workload.clone() }
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
        let clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let changes = step.changes.iter().map(change).chain(clock.as_ref().map(clock_change)).collect();
        let events = step.events.iter().map(event).collect();
        self.store.commit(&Batch { at_ms: at.0, changes, events }).await?;
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}

fn clock_change(mark: &ClockMark) -> mainstay_store::Change {
    mainstay_store::Change { kind: Kind::Process, key: CLOCK.to_owned(), body: Some(json(mark)) }
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
        Kind::Definition | Kind::Process => None,
    }
}

/// What must be known of each definition, read a few at a time.
async fn read_definitions(store: &Store) -> Result<Definitions, mainstay_store::Error> {
    let mut definitions = Definitions::default();
    let mut last = String::new();
    loop {
        let page = store.page(Kind::Definition, &last, PAGE).await?;
        let Some(end) = page.last() else { return Ok(definitions) };
        last.clone_from(&end.key);
        for row in &page {
            if let Some(definition) = readable::<Definition>(&format!("definition of {}", row.key), &row.body) {
                definitions.keep(&WorkloadId::new(&row.key), Kept::of(&definition));
            }
        }
    }
}

fn readable<T: DeserializeOwned>(what: &str, body: &str) -> Option<T> {
    let read = serde_json::from_str(body);
    read.inspect_err(|error| tracing::error!(what, %error, "what was kept can't be read, and is left out")).ok()
}

fn event(event: &Event) -> mainstay_store::Event {
    mainstay_store::Event {
        at_ms: event.at.0,
        subject: subject(&event.subject),
        severity: level(event.severity),
        code: code(event),
        text: event.text.clone(),
        incident: event.incident.map(|incident| incident.0),
    }
}

/// Between the kind of an event and the name of who asked for it, in one column: few events have such a name.
const BY: char = '/';

fn code(event: &Event) -> String {
    let kind = json(&event.kind);
    let kind = kind.trim_matches('"');
    event.by.as_ref().map_or(kind.to_owned(), |by| format!("{kind}{BY}{by}"))
}

/// The event as it was; `None`: another version wrote what this one does not know.
fn read_event(StoredEvent { seq, event }: StoredEvent) -> Option<Event> {
    let (kind, by) = event.code.split_once(BY).map_or((&*event.code, None), |(kind, by)| (kind, Some(Actor::new(by))));
    let kind = readable::<EventKind>(&format!("event {seq}"), &format!("\"{kind}\""))?;
    let subject = match event.subject.kind.as_str() {
        "host" => Subject::Host(HostId::new(&event.subject.id)),
        "workload" => Subject::Workload(WorkloadId::new(&event.subject.id)),
        _ => Subject::Cluster,
    };
    let severity = match event.severity {
        0 => Severity::Green,
        1 => Severity::Yellow,
        _ => Severity::Red,
    };
    let (at, incident) = (Time(event.at_ms), event.incident.map(IncidentId));
    Some(Event { at, subject, severity, kind, text: event.text, incident, by })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asked_is_kept_with_the_event() {
        for by in [None, Some(Actor::new("ada")), Some(Actor::new("user 1000"))] {
            let asked = Event {
                at: Time(7),
                subject: Subject::Host("h1".into()),
                severity: Severity::Green,
                kind: EventKind::Command,
                text: "a person confirmed that it is off".to_owned(),
                incident: None,
                by,
            };
            assert_eq!(read_event(StoredEvent { seq: 1, event: event(&asked) }), Some(asked));
        }
    }
}
