//! What a simulated hypervisor answers to each call.

use super::{
    definition, ready,
    world::{DESTROYED, Domain, RUNNING, World},
};
use crate::cluster::capacity;
use mainstay_libvirt::{
    DomainRef, ErrorCode, SnapshotRef, Uuid,
    definition::Definition,
    domain::{inventory::ListFlags, snapshot::CreateFlags},
    procedures::Procedure,
    typed_params::Value,
    xdr::{Decode, Decoder, Encode, XdrError},
    xml::Element,
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// The reply's payload, or libvirt's error.
pub type Answer = Result<Vec<u8>, (ErrorCode, String)>;

pub(super) fn done(payload: &impl Encode) -> Result<Answer, XdrError> {
    let mut bytes = Vec::new();
    payload.encode(&mut bytes)?;
    Ok(Ok(bytes))
}

pub(super) fn read<T: Decode>(payload: &[u8]) -> Result<T, XdrError> {
    T::decode(&mut Decoder::new(payload))
}

fn missing(what: &str) -> Result<Answer, XdrError> {
    Ok(Err((ErrorCode::NO_DOMAIN, format!("Domain not found: {what}"))))
}

/// Answers a call to a host. Fails only on arguments that are no XDR.
pub fn to(world: &World, host: usize, procedure: Option<Procedure>, payload: &[u8]) -> Result<Answer, XdrError> {
    world.calls.fetch_add(1, Ordering::Relaxed);
    let here = &world.hosts[host];
    let domain = || read::<DomainRef>(payload).map(|domain| here.domains().get(&domain.uuid).cloned());
    match procedure {
        Some(Procedure::AuthList) => done(&(vec![0_i32],)),
        Some(Procedure::ConnectSupportsFeature | Procedure::ConnectDomainEventCallbackRegisterAny) => done(&(1_i32,)),
        Some(Procedure::ConnectOpen | Procedure::ConnectRegisterCloseCallback) => done(&()),
        Some(Procedure::ConnectGetLibVersion) => done(&(9_000_000_u64,)),
        Some(Procedure::NodeGetInfo) => {
            let capacity = capacity(world.size);
            let cpus = capacity.cpu_centi as i32 / 100;
            let model = Chars32(b"x86_64");
            done(&(model, capacity.memory_mib * 1024, cpus, (2_400_i32, 1_i32, 1_i32, cpus, 1_i32)))
        }
        Some(Procedure::NodeGetCpuStats) => {
            // All processors together, since a day before the bench began.
            let up = Duration::from_secs(24 * 3_600) + world.began.elapsed();
            let cpus = capacity(world.size).cpu_centi / 100;
            let idle = u64::try_from(up.as_nanos()).unwrap_or(u64::MAX).saturating_mul(cpus);
            done(&(vec![("kernel", 0_u64), ("user", 0), ("idle", idle), ("iowait", 0)], 4_i32))
        }
        Some(Procedure::ConnectListAllDomains) => list(world, host, read(payload)?),
        Some(Procedure::ConnectGetAllDomainStats) => statistics(world, host, read(payload)?),
        Some(Procedure::DomainLookupByName) => {
            let (name,): (String,) = read(payload)?;
            let found = here.domains().values().find(|domain| domain.reference.name == name).cloned();
            found.map_or_else(|| missing(&name), |domain| done(&(domain.reference,)))
        }
        Some(Procedure::DomainLookupByUuid) => {
            let (uuid,): (Uuid,) = read(payload)?;
            let found = here.domains().get(&uuid).cloned();
            found.map_or_else(|| missing(&uuid.to_string()), |domain| done(&(domain.reference,)))
        }
        Some(Procedure::DomainGetState) => with(domain()?, |domain| done(&domain.state)),
        Some(Procedure::DomainGetXmlDesc) => with(domain()?, |domain| done(&(&*domain.xml,))),
        Some(Procedure::DomainListAllSnapshots) => with(domain()?, |domain| {
            let name = |(name, _): &(String, Arc<str>)| reference(&domain, name);
            let all: Vec<SnapshotRef> = domain.snapshots.iter().map(name).collect();
            done(&(&all, all.len() as i32))
        }),
        Some(Procedure::DomainListAllCheckpoints) => done(&(Vec::<SnapshotRef>::new(), 0_i32)),
        Some(Procedure::DomainSnapshotCurrent) => with(domain()?, |domain| match &domain.current {
            Some(name) => done(&(reference(&domain, name),)),
            None => Ok(Err((ErrorCode::NO_DOMAIN_SNAPSHOT, "the domain does not have a current snapshot".to_owned()))),
        }),
        Some(Procedure::DomainSnapshotGetXmlDesc) => {
            let (snapshot, _flags): (SnapshotRef, u32) = read(payload)?;
            let found = here.domains().get(&snapshot.domain.uuid).and_then(|domain| {
                domain.snapshots.iter().find(|(name, _)| *name == snapshot.name).map(|(_, xml)| Arc::clone(xml))
            });
            let missing = || Ok(Err((ErrorCode::NO_DOMAIN_SNAPSHOT, format!("no snapshot {}", snapshot.name))));
            found.map_or_else(missing, |xml| done(&(&*xml,)))
        }
        Some(Procedure::DomainInterfaceAddresses) => {
            let (domain, _source, _flags): (DomainRef, i32, u32) = read(payload)?;
            let place = domain.uuid.0;
            let address = format!("10.90.{}.{}", place[14], place[15]);
            done(&(vec![("eth0", None::<String>, vec![(0_i32, address, 16_u32)])],))
        }
        Some(Procedure::DomainGetGuestInfo) => {
            let os = |name, value: &str| (name, Value::Text(value.to_owned()));
            done(&(vec![os("os.pretty-name", "Debian GNU/Linux 12"), os("os.kernel-release", "6.1.0-18-amd64")],))
        }
        Some(Procedure::QemuDomainAgentCommand) => done(&(Some(r#"{"return":{}}"#),)),
        Some(Procedure::DomainSetAutostart) => done(&()),
        Some(
            order @ (Procedure::DomainDefineXmlFlags
            | Procedure::DomainCreateWithFlags
            | Procedure::DomainDestroyFlags
            | Procedure::DomainUndefineFlags
            | Procedure::DomainSnapshotCreateXml
            | Procedure::DomainSnapshotDelete),
        ) => obey(world, host, order, payload),
        other => {
            if let Some(answer) = other.and_then(|procedure| ready::to(procedure, payload)) {
                world.readiness.fetch_add(1, Ordering::Relaxed);
                return answer;
            }
            let what = other.map_or("an unknown procedure", Procedure::name);
            world.is_unknown(what);
            Ok(Err((ErrorCode::OPERATION_UNSUPPORTED, format!("simulated hosts do not know {what}"))))
        }
    }
}

fn with(domain: Option<Domain>, answer: impl FnOnce(Domain) -> Result<Answer, XdrError>) -> Result<Answer, XdrError> {
    domain.map_or_else(|| missing("it is gone"), answer)
}

fn reference(domain: &Domain, name: &str) -> SnapshotRef {
    SnapshotRef { name: name.to_owned(), domain: domain.reference.clone() }
}

/// Calls that change something.
fn obey(world: &World, host: usize, order: Procedure, payload: &[u8]) -> Result<Answer, XdrError> {
    let here = &world.hosts[host];
    if order == Procedure::DomainDefineXmlFlags {
        let (xml, _flags): (String, u32) = read(payload)?;
        let Ok(definition) = Definition::parse(&xml) else { return missing("its definition can't be read") };
        let reference = DomainRef { name: definition.name, uuid: definition.uuid, id: -1 };
        let fresh = Domain {
            reference: reference.clone(),
            state: DESTROYED,
            xml: xml.as_str().into(),
            snapshots: Vec::new(),
            current: None,
        };
        here.domains().entry(definition.uuid).or_insert(fresh).xml = xml.into();
        here.tell(&reference, 0, 0);
        return done(&(reference,));
    }
    if order == Procedure::DomainSnapshotDelete {
        let (snapshot, _flags): (SnapshotRef, u32) = read(payload)?;
        if let Some(domain) = here.domains().get_mut(&snapshot.domain.uuid) {
            domain.snapshots.retain(|(name, _)| *name != snapshot.name);
            if domain.current.as_ref() == Some(&snapshot.name) {
                domain.current = domain.snapshots.last().map(|(name, _)| name.clone());
            }
        }
        return done(&());
    }
    let uuid = read::<DomainRef>(payload)?.uuid;
    if order == Procedure::DomainCreateWithFlags {
        world.look_out(host, uuid);
    }
    let mut domains = here.domains();
    let Some(domain) = domains.get_mut(&uuid) else { return missing(&uuid.to_string()) };
    match order {
        Procedure::DomainCreateWithFlags if domain.state == RUNNING => {
            Ok(Err((ErrorCode::OPERATION_INVALID, "domain is already running".to_owned())))
        }
        Procedure::DomainCreateWithFlags => {
            world.start(host, domain);
            done(&(&domain.reference,))
        }
        Procedure::DomainDestroyFlags => {
            (domain.state, domain.reference.id) = (DESTROYED, -1);
            here.tell(&domain.reference, 5, 1);
            done(&())
        }
        Procedure::DomainUndefineFlags => {
            here.tell(&domain.reference, 1, 0);
            domains.remove(&uuid);
            done(&())
        }
        _ => {
            let (_domain, xml, flags): (DomainRef, String, u32) = read(payload)?;
            let Ok(wanted) = Element::parse(&xml, "a snapshot") else { return missing("the snapshot can't be read") };
            let name = wanted.text_of(&["name"]).unwrap_or_default().to_owned();
            let record = if flags & CreateFlags::REDEFINE.0 == 0 {
                domain.current = Some(name.clone());
                world.points.fetch_add(1, Ordering::Relaxed);
                definition::snapshot(domain, &name, wanted.text_of(&["description"]).unwrap_or_default())
            } else {
                if flags & CreateFlags::CURRENT.0 != 0 {
                    domain.current = Some(name.clone());
                }
                xml
            };
            domain.snapshots.push((name.clone(), record.into()));
            done(&(reference(domain, &name),))
        }
    }
}

fn list(world: &World, host: usize, (_results, flags): (i32, u32)) -> Result<Answer, XdrError> {
    let chosen = |domain: &&Domain| match ListFlags(flags) {
        ListFlags::AUTOSTART | ListFlags::MANAGED_SAVE | ListFlags::TRANSIENT => false,
        ListFlags::HAS_SNAPSHOT => !domain.snapshots.is_empty(),
        ListFlags::ACTIVE => domain.state == RUNNING,
        ListFlags::INACTIVE => domain.state != RUNNING,
        _ => true,
    };
    let domains = world.hosts[host].domains();
    let found: Vec<&DomainRef> = domains.values().filter(chosen).map(|domain| &domain.reference).collect();
    done(&(&found, found.len() as u32))
}

/// What libvirt tells of a domain with one disk and one network card. Counters grow as those of a busy guest do.
fn statistics(world: &World, host: usize, (_, groups, _): (Vec<DomainRef>, u32, u32)) -> Result<Answer, XdrError> {
    let wanted = |bit: u32| groups & (1 << bit) != 0;
    let ms = world.began.elapsed().as_millis() as u64;
    let number = |name, value| (name, Value::Ulong(value));
    let domains = world.hosts[host].domains();
    let record = |domain: &Domain| {
        let running = domain.state == RUNNING;
        let mut params =
            vec![("state.state", Value::Int(domain.state.0)), ("state.reason", Value::Int(domain.state.1))];
        if wanted(1) && running {
            let names = ["cpu.time", "cpu.user", "cpu.system"];
            params.extend(names.map(|name| number(name, ms * 200_000)));
            params.push(number("cpu.cache.monitor.count", 0));
        }
        if wanted(2) {
            params.extend(["balloon.current", "balloon.maximum"].map(|name| number(name, 1 << 20)));
        }
        if wanted(2) && running {
            params.extend(BALLOON.map(|name| number(name, 4_711)));
            params.push(number("balloon.rss", 1 << 19));
        }
        if wanted(4) {
            params.push(("net.count", Value::Uint(1)));
            params.push(("net.0.name", Value::Text("vnet0".to_owned())));
            params.extend(NET.map(|name| number(name, ms * 3)));
        }
        if wanted(5) {
            params.push(("block.count", Value::Uint(1)));
            params.push(("block.0.name", Value::Text("vda".to_owned())));
            params.push(("block.0.path", Value::Text(format!("/srv/store/{}.qcow2", domain.reference.name))));
            params.extend(BLOCK.map(|name| number(name, ms * 5)));
        }
        (domain.reference.clone(), params)
    };
    done(&(domains.values().map(record).collect::<Vec<_>>(),))
}

const BALLOON: [&str; 8] = [
    "balloon.swap_in",
    "balloon.swap_out",
    "balloon.major_fault",
    "balloon.minor_fault",
    "balloon.unused",
    "balloon.available",
    "balloon.usable",
    "balloon.last-update",
];
const NET: [&str; 8] = [
    "net.0.rx.bytes",
    "net.0.rx.pkts",
    "net.0.rx.errs",
    "net.0.rx.drop",
    "net.0.tx.bytes",
    "net.0.tx.pkts",
    "net.0.tx.errs",
    "net.0.tx.drop",
];
const BLOCK: [&str; 12] = [
    "block.0.rd.reqs",
    "block.0.rd.bytes",
    "block.0.rd.times",
    "block.0.wr.reqs",
    "block.0.wr.bytes",
    "block.0.wr.times",
    "block.0.fl.reqs",
    "block.0.fl.times",
    "block.0.allocation",
    "block.0.capacity",
    "block.0.physical",
    "block.0.threshold",
];

/// `char[32]` as libvirt writes it, a whole integer for each byte.
struct Chars32(&'static [u8]);

impl Encode for Chars32 {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), XdrError> {
        (0..32).try_for_each(|at| i32::from(self.0.get(at).copied().unwrap_or(0)).encode(out))
    }
}
