//! What a host has: read at connecting, every few seconds, and whenever something happened there. Keeps each domain's
//! definition up to date on the way, so that it can be defined elsewhere when the host is dead.

use super::{Context, STUCK, domain::explained, ready::requirements};
use crate::{
    definition::Defined,
    executors::is_set_aside,
    link::{Changed, Link},
    memory::{Definition, KeptSnapshot},
    pump::with_causes,
    supervise::{Part, Pulse},
};
use mainstay_libvirt::{
    Connection, DomainRef, Error, ErrorCode, Uuid,
    domain::{
        inventory::{Inventoried, XmlFlags},
        snapshot::{SnapshotNames, SnapshotRecord},
        state::DomainState as Native,
    },
};
use mainstay_model::{DomainSeen, DomainState, Fact, HostId, HostState, PointId, Resources, Span, Time, WorkloadId};
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep_until, timeout_at};

/// Between two inventories when nothing happens: what events missed is seen within this.
const EVERY: Duration = Duration::from_secs(3);
/// Several events come together (a start is two): one look serves them all.
const GATHER: Duration = Duration::from_millis(30);
/// Definitions and the names of snapshots are read anew after this even if no event told of a change.
const TRUSTED: Duration = Duration::from_secs(60);
/// The records of snapshots whose names are as they were are read anew after this: they are long, and change without a
/// change of names (a parent that is deleted is one) only if somebody writes one again under the name that it has.
const RECORDS_TRUSTED: Duration = Duration::from_secs(600);

/// A guest that is seen running for this long although its memory is saved was not woken from that.
const SAVED_FOR_LONG: Duration = Duration::from_secs(2);

/// So many inventories may fail one after the other before the connection is given up.
const MISSED: u32 = 2;

/// What is known of a host from one look to the next.
#[derive(Default)]
struct Picture {
    capacity: Option<Resources>,
    known: BTreeMap<Uuid, Known>,
    /// Domains that run although memory of theirs is saved here, and since when they are seen so.
    run_saved: BTreeMap<Uuid, Instant>,
    /// As it was told last: a list that is the same again is told without making it anew.
    told: Arc<BTreeMap<WorkloadId, DomainSeen>>,
}

/// What is known of a domain beyond what the bulk calls tell.
struct Known {
    defined: Defined,
    read_at: Instant,
    persistent: bool,
    /// What it was when it was read whole; `None`: it could not be.
    whole: Option<Whole>,
}

/// A definition and its snapshots' records, as far as is needed to see that they have not changed.
struct Whole {
    xml: u64,
    names: SnapshotNames,
    /// Of all that is kept of it.
    digest: u64,
    read_at: Instant,
}

impl Known {
    fn unreadable(one: &Inventoried) -> Known {
        let (defined, read_at, persistent) = (Defined::unreadable(), Instant::now(), one.persistent);
        Known { defined, read_at, persistent, whole: None }
    }
}

/// Reads inventories for ever; returns why it could not.
pub(super) async fn watch(link: &Link, context: &Context, pulse: &Pulse, connection: &Connection) -> String {
    let mut picture = Picture::default();
    let mut changed = Changed::Anything;
    let mut missed = 0;
    // A domain takes up to four calls.
    let part = pulse.part("inventory", STUCK + 4 * link.limit());
    loop {
        part.beat();
        match look(link, context, &part, connection, &mut picture, &changed).await {
            Ok(()) => missed = 0,
            // A stuck domain holds calls up: libvirt takes 10 s to destroy a QEMU that does not react.
            Err(error @ (Error::Deadline { .. } | Error::Busy { .. })) if missed < MISSED => {
                missed += 1;
                link.look.at_all();
                tracing::warn!(host = %link.host, error = with_causes(&error), "no inventory this time");
            }
            Err(error) => return with_causes(&error),
        }
        let next = Instant::now() + EVERY;
        if timeout_at(next, link.look.rung()).await.is_ok() {
            sleep_until(Instant::now() + GATHER).await;
        }
        changed = link.look.take();
    }
}

/// Tells once a connection when the host's kernel began to run. A hypervisor that does not know it is no trouble.
async fn boot_time(link: &Link, context: &Context, connection: &Connection, cpus: u32) -> Result<(), Error> {
    match connection.uptime(cpus, link.limit()).await {
        Ok(Some(uptime)) => {
            let uptime = Span::millis(u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX));
            let at = context.clock.now() - uptime;
            context.report(Fact::HostBooted { host: link.host.clone(), at }).await;
            Ok(())
        }
        Ok(None) => Ok(()),
        Err(error @ Error::Libvirt { .. }) => {
            tracing::debug!(host = %link.host, error = with_causes(&error), "its boot time can't be read");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// One inventory. Definitions of those who may have `changed` are read anew.
async fn look(
    link: &Link,
    context: &Context,
    part: &Part,
    connection: &Connection,
    Picture { capacity, known, run_saved, told }: &mut Picture,
    changed: &Changed,
) -> Result<(), Error> {
    let limit = link.limit();
    let asked_at = context.clock.now();
    let capacity = match *capacity {
        Some(capacity) => capacity,
        None => {
            let node = connection.node_info(limit).await?;
            boot_time(link, context, connection, node.cpus).await?;
            *capacity.insert(Resources::of(node.memory_kib / 1024, u64::from(node.cpus)))
        }
    };
    let found = connection.inventory(limit).await?;
    let uuids: BTreeSet<Uuid> = found.iter().map(|one| one.domain.uuid).collect();
    known.retain(|uuid, _| uuids.contains(uuid));
    link.keep_reasons(&uuids);
    context.memory.listed(&link.host, &found.iter().map(|one| WorkloadId::new(&one.domain.name)).collect());
    let mut domains = BTreeMap::new();
    let mut fresh = Vec::new();
    for one in &found {
        let workload = WorkloadId::new(&one.domain.name);
        let stale = known.get(&one.domain.uuid).is_none_or(|known| {
            let outdated = known.persistent != one.persistent
                || known.read_at.elapsed() > TRUSTED
                || (context.memory.owes(&workload) && is_running(one));
            // While a snapshot is taken libvirt 9 fails to list them; the order's end brings the next look.
            (outdated || changed.holds(&workload)) && !context.memory.is_changing(&workload)
        });
        if stale {
            part.beat();
            match read_definition(link, context, connection, one, known.get(&one.domain.uuid), asked_at).await {
                Ok(read) => {
                    match (read, known.get_mut(&one.domain.uuid)) {
                        (Some(new), _) => drop(known.insert(one.domain.uuid, new)),
                        (None, same) => same.into_iter().for_each(|same| same.read_at = Instant::now()),
                    }
                    fresh.push(one);
                }
                Err(error) if error.is(ErrorCode::NO_DOMAIN) => drop(known.remove(&one.domain.uuid)),
                // An inventory without it would say that it is not there.
                Err(error @ (Error::Libvirt { .. } | Error::Xml { .. })) => {
                    let error = with_causes(&error);
                    tracing::warn!(host = %link.host, domain = %one.domain, error, "its definition can't be read now");
                    known.entry(one.domain.uuid).or_insert_with(|| Known::unreadable(one));
                }
                Err(error) => return Err(error),
            }
        }
        if let (Some(Known { defined, .. }), Some(native)) = (known.get(&one.domain.uuid), one.state) {
            let state = explained(connection, &one.domain, native, limit).await;
            let state = link.with_reason(one.domain.uuid, state);
            domains.insert(workload, seen(one, state, defined));
        }
    }
    run_saved.retain(|uuid, _| uuids.contains(uuid));
    for one in &found {
        note_saved_memory(link, context, one, run_saved).await;
    }
    let own = |one: &&Inventoried| !context.memory.is_namesake(&WorkloadId::new(&one.domain.name), one.domain.uuid);
    for one in found.iter().filter(own) {
        let workload = WorkloadId::new(&one.domain.name);
        if let Some(seen) = domains.get(&workload) {
            context.roster.seen(&workload, one.domain.uuid, &link.host, seen.state, asked_at);
            context.stats.seen(&workload, &link.host, seen.state, asked_at);
        }
    }
    tracing::trace!(host = %link.host, domains = domains.len(), ?changed, took = %context.clock.now().since(asked_at), "inventory");
    if **told != domains {
        *told = Arc::new(domains);
    }
    context.report(Fact::Inventory { host: link.host.clone(), asked_at, capacity, domains: Arc::clone(told) }).await;
    for one in fresh.into_iter().filter(own) {
        let Some(known) = known.get(&one.domain.uuid) else { continue };
        let workload = WorkloadId::new(&one.domain.name);
        pin_up(context, &workload, known);
        // Of a domain that is off, another host may hold the snapshots; of one that was moved, no host may have them yet.
        let told = is_active(one) && !context.memory.owes(&workload);
        if let (true, Some(whole)) = (told, &known.whole) {
            let points: BTreeSet<PointId> = whole.names.all.iter().map(PointId::new).collect();
            let set_aside = points.iter().filter(|name| is_set_aside(name.as_str())).cloned().collect();
            context.report(Fact::PointsSeen { workload, asked_at, points, set_aside }).await;
        }
    }
    Ok(())
}

fn is_running(one: &Inventoried) -> bool {
    matches!(one.state, Some(Native::Running(_)))
}

fn is_active(one: &Inventoried) -> bool {
    one.state.is_some_and(|state| state.is_active())
}

fn seen(one: &Inventoried, state: DomainState, defined: &Defined) -> DomainSeen {
    DomainSeen {
        uuid: one.domain.uuid.to_string(),
        state,
        needs: defined.needs,
        autostart: one.autostart,
        tags: defined.tags.clone(),
        datastores: defined.datastores.clone(),
        movable: defined.movable,
        passed_through: defined.passed_through.clone(),
        only_here: defined
            .only_here
            .iter()
            .copied()
            .chain((one.managed_save && !is_active(one)).then_some(HostState::SavedMemory))
            .collect(),
    }
}

/// Reads a domain's definition and keeps it, if this host is where it counts. `None`: all is as it was.
async fn read_definition(
    link: &Link,
    context: &Context,
    connection: &Connection,
    one: &Inventoried,
    before: Option<&Known>,
    at: Time,
) -> Result<Option<Known>, Error> {
    let workload = WorkloadId::new(&one.domain.name);
    let limit = link.limit();
    let own = !context.memory.is_namesake(&workload, one.domain.uuid);
    if own && is_running(one) && context.memory.owes(&workload) && !context.memory.is_changing(&workload) {
        write_records(context, connection, &one.domain, &workload, limit).await;
    }
    let outline = Outline::read(connection, &one.domain, limit).await?;
    let xml = outline.xml_digest();
    let counts = context.memory.counts(&workload, &link.host, one.domain.uuid, is_active(one));
    let as_before = |whole: &Whole| {
        (whole.xml, &whole.names) == (xml, &outline.names)
            && whole.read_at.elapsed() < RECORDS_TRUSTED
            && (!counts || context.memory.keeps(&workload, whole.digest))
    };
    let same = before.filter(|known| known.persistent == one.persistent).and_then(|known| known.whole.as_ref());
    if same.is_some_and(as_before) {
        return Ok(None);
    }
    let names = outline.names.clone();
    let definition = outline.with_records(connection, &one.domain, &link.host, at, limit).await?;
    let defined = Defined::read(&definition.xml)?;
    if counts {
        let needs = requirements(&definition.xml, &defined.only_here)?;
        context.needs.learn(&workload, &link.config.site, &link.host, needs);
    }
    let digest = definition.digest();
    if counts && let Err(error) = context.memory.see_definition(&workload, definition).await {
        let error = with_causes(&error);
        tracing::error!(%workload, error, "its definition can't be kept: it could not be defined elsewhere");
    }
    let read_at = Instant::now();
    let whole = Some(Whole { xml, names, digest, read_at });
    Ok(Some(Known { defined, read_at, persistent: one.persistent, whole }))
}

/// Saved memory of a guest that runs is older than its disks, and stays so. Its states are asked for by other calls than what is
/// saved: one that is being saved, or woken from it, may be seen once as running with its memory saved.
async fn note_saved_memory(link: &Link, context: &Context, one: &Inventoried, run_saved: &mut BTreeMap<Uuid, Instant>) {
    let workload = WorkloadId::new(&one.domain.name);
    if !(one.managed_save && is_running(one)) {
        run_saved.remove(&one.domain.uuid);
    }
    if (one.managed_save && !is_running(one)) || context.memory.is_namesake(&workload, one.domain.uuid) {
        return;
    }
    if one.managed_save && run_saved.entry(one.domain.uuid).or_insert_with(Instant::now).elapsed() < SAVED_FOR_LONG {
        return;
    }
    if let Err(error) = context.memory.note_save(&workload, &link.host, one.managed_save).await {
        tracing::error!(%workload, error = with_causes(&error), "that its saved memory is stale can't be kept");
    }
}

/// The records that were on their way with a workload when the controller ended are written where it is now. What fails is
/// tried again at the next look; until then what is on record counts.
async fn write_records(
    context: &Context,
    connection: &Connection,
    domain: &DomainRef,
    workload: &WorkloadId,
    limit: Duration,
) {
    let kept = match context.memory.definition(workload).await {
        Ok(Some(kept)) => kept,
        Ok(None) => return,
        Err(error) => return tracing::error!(%workload, error = with_causes(&error), "its records can't be read"),
    };
    if let Err(error) = connection.restore(domain, &kept.records(), limit).await {
        tracing::warn!(%workload, error = with_causes(&error), "its records can't be written where it runs now");
    } else if let Err(error) = context.memory.settle(workload).await {
        tracing::error!(%workload, error = with_causes(&error), "that its records were written can't be kept");
    } else {
        tracing::info!(%workload, "its snapshots' and checkpoints' records were written where it runs now");
    }
}

/// A domain's definition and the names of its snapshots: enough to see whether anything changed.
struct Outline {
    xml: String,
    names: SnapshotNames,
    checkpoints: Vec<String>,
}

impl Outline {
    async fn read(connection: &Connection, domain: &DomainRef, limit: Duration) -> Result<Outline, Error> {
        let flags = XmlFlags::SECURE | XmlFlags::INACTIVE | XmlFlags::MIGRATABLE;
        let (xml, names, checkpoints) = tokio::try_join!(
            connection.domain_xml(domain, flags, limit),
            connection.snapshot_names(domain, limit),
            connection.checkpoint_names(domain, limit)
        )?;
        Ok(Outline { xml, names, checkpoints })
    }

    fn xml_digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.xml, &self.checkpoints).hash(&mut hasher);
        hasher.finish()
    }

    async fn with_records(
        self,
        connection: &Connection,
        domain: &DomainRef,
        host: &HostId,
        seen_at: Time,
        limit: Duration,
    ) -> Result<Definition, Error> {
        let records = connection.snapshot_records(domain, &self.names, limit).await?;
        let kept =
            |record: SnapshotRecord| KeptSnapshot { name: record.name, xml: record.xml, current: record.current };
        let snapshots = records.into_iter().map(kept).collect();
        let checkpoints = connection.checkpoint_records(domain, &self.checkpoints, limit).await?;
        let checkpoints = checkpoints.into_iter().map(|record| (record.name, record.xml)).collect();
        Ok(Definition {
            xml: self.xml,
            snapshots,
            checkpoints,
            host: host.clone(),
            seen_at,
            doubt: None,
            owed: false,
            stale_saves: BTreeSet::new(),
        })
    }
}

/// Reads all that is needed to define a domain elsewhere.
pub(crate) async fn capture(
    connection: &Connection,
    domain: &DomainRef,
    host: &HostId,
    seen_at: Time,
    limit: Duration,
) -> Result<Definition, Error> {
    let outline = Outline::read(connection, domain, limit).await?;
    outline.with_records(connection, domain, host, seen_at, limit).await
}

/// For people, and for those who probe.
fn pin_up(context: &Context, workload: &WorkloadId, known: &Known) {
    context.roster.learn(workload, |present| {
        present.tags.clone_from(&known.defined.tags);
        present.has_agent = known.defined.has_agent;
    });
    context.stats.learn(workload, |stats| {
        stats.memory_mib = known.defined.needs.memory_mib;
        stats.vcpus = u32::try_from(known.defined.needs.cpu_centi / 100).unwrap_or(u32::MAX);
        stats.snapshots = known.whole.as_ref().map(|whole| whole.names.all.clone()).unwrap_or_default();
        if stats.guest_system.is_none() {
            stats.guest_system.clone_from(&known.defined.system);
        }
    });
}
