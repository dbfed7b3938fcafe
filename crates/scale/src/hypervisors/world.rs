//! What runs where on the simulated hypervisors, and what a controller must never do there.

use super::definition;
use crate::cluster::{Size, host_name, workload_name};
use mainstay_libvirt::{
    DomainRef, Uuid,
    frame::{Header, kind},
    procedures::Procedure,
    xdr::Encode,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI32, AtomicUsize, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::broadcast;

/// Events that wait for a connection.
const EVENTS: usize = 1 << 14;
/// `VIR_DOMAIN_RUNNING`, booted.
pub const RUNNING: (i32, i32) = (1, 1);
/// `VIR_DOMAIN_SHUTOFF`, destroyed.
pub const DESTROYED: (i32, i32) = (5, 2);

/// All hosts.
pub struct World {
    /// How many there are, and how many guests.
    pub size: Size,
    /// The hosts, by number.
    pub hosts: Vec<Host>,
    /// Counters of guests grow from here.
    pub began: Instant,
    /// Starts of guests so far.
    pub starts: AtomicUsize,
    /// Recovery points taken so far.
    pub points: AtomicUsize,
    /// Starts of guests that ran elsewhere on a host with power.
    pub doubled: AtomicUsize,
    /// Calls answered so far.
    pub calls: AtomicUsize,
    /// Calls that are refused because no simulated host knows them, and how often.
    unknown: Mutex<BTreeMap<&'static str, usize>>,
    /// Of all calls, those that ask whether a host could start a guest.
    pub readiness: AtomicUsize,
    /// A file `host-….off` in here: the fence device has switched that host off.
    power: PathBuf,
    last_id: AtomicI32,
}

/// A host.
pub struct Host {
    domains: Mutex<BTreeMap<Uuid, Domain>>,
    /// Frames for all who subscribed.
    pub events: broadcast::Sender<Arc<[u8]>>,
}

/// A domain that is defined on a host.
#[derive(Clone, Debug)]
pub struct Domain {
    /// How calls refer to it.
    pub reference: DomainRef,
    /// libvirt's two numbers.
    pub state: (i32, i32),
    /// Its definition.
    pub xml: Arc<str>,
    /// Its snapshots by name, parents first.
    pub snapshots: Vec<(String, Arc<str>)>,
    /// The snapshot that it stands on.
    pub current: Option<String>,
}

impl Host {
    /// Its domains.
    pub fn domains(&self) -> MutexGuard<'_, BTreeMap<Uuid, Domain>> {
        self.domains.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells a turn in a domain's life (`virDomainEventType` and its detail).
    pub fn tell(&self, domain: &DomainRef, event: i32, detail: i32) {
        self.push(Procedure::DomainEventCallbackLifecycle, &(1_i32, domain, event, detail));
    }

    /// Tells an event; nobody listening is no error.
    pub fn push(&self, event: Procedure, payload: &impl Encode) {
        let header = Header::new(event.program(), event.number(), kind::MESSAGE, 0);
        let frame = header.frame(payload).expect("events are far below libvirt's limit");
        let _ = self.events.send(frame.into());
    }
}

impl World {
    /// A call is refused because no simulated host knows it.
    pub fn is_unknown(&self, call: &'static str) {
        *self.unknown.lock().unwrap_or_else(PoisonError::into_inner).entry(call).or_default() += 1;
    }

    /// Calls that were refused so: a controller that makes them is not measured at its work.
    pub fn unknown(&self) -> BTreeMap<&'static str, usize> {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A world in which every guest runs at home.
    pub fn new(size: Size, power: PathBuf) -> World {
        let hosts = (0..size.hosts).map(|host| {
            let guests = (host..size.workloads).step_by(size.hosts);
            let domains = guests.map(|guest| {
                let reference =
                    DomainRef { name: workload_name(guest).to_string(), uuid: uuid(guest), id: guest as i32 + 1 };
                let xml = definition::domain(size, guest).into();
                (reference.uuid, Domain { reference, state: RUNNING, xml, snapshots: Vec::new(), current: None })
            });
            Host { domains: Mutex::new(domains.collect()), events: broadcast::channel(EVENTS).0 }
        });
        World {
            size,
            hosts: hosts.collect(),
            began: Instant::now(),
            starts: AtomicUsize::new(0),
            points: AtomicUsize::new(0),
            doubled: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            readiness: AtomicUsize::new(0),
            unknown: Mutex::default(),
            power,
            last_id: AtomicI32::new(size.workloads as i32 + 1),
        }
    }

    /// A domain begins to run.
    pub fn start(&self, host: usize, domain: &mut Domain) {
        domain.reference.id = self.last_id.fetch_add(1, Ordering::Relaxed);
        domain.state = RUNNING;
        self.starts.fetch_add(1, Ordering::Relaxed);
        self.hosts[host].tell(&domain.reference, 2, 0);
        self.hosts[host].tell(&domain.reference, 4, 0);
    }

    /// To be called before a start, without holding any host's domains: counts it if the guest runs elsewhere.
    pub fn look_out(&self, host: usize, domain: Uuid) {
        let mut elsewhere = (0..self.size.hosts).filter(|other| *other != host);
        if elsewhere.any(|other| self.runs_on(other, domain) && self.has_power(other)) {
            self.doubled.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Guests that run on no host with power.
    pub fn down(&self) -> Vec<String> {
        self.running_in(|places| places == 0)
    }

    /// Guests that run in several places at once.
    pub fn twice(&self) -> Vec<String> {
        self.running_in(|places| places > 1)
    }

    /// Hosts that the fence device has switched off.
    pub fn off(&self) -> BTreeSet<usize> {
        (0..self.size.hosts).filter(|host| !self.has_power(*host)).collect()
    }

    /// False once the fence device has switched a host off: nothing runs there, and it says nothing any more.
    pub fn has_power(&self, host: usize) -> bool {
        !self.power.join(format!("{}.off", host_name(host))).exists()
    }

    /// Each guest tells that it rebooted, all at once.
    pub fn all_reboot(&self) {
        for host in &self.hosts {
            for domain in host.domains().values() {
                host.push(Procedure::DomainEventCallbackReboot, &(1_i32, &domain.reference));
            }
        }
    }

    fn running_in(&self, wanted: impl Fn(usize) -> bool) -> Vec<String> {
        let mut places = vec![0; self.size.workloads];
        for host in (0..self.size.hosts).filter(|host| self.has_power(*host)) {
            let domains = self.hosts[host].domains();
            let running = domains.values().filter(|domain| domain.state == RUNNING);
            running.for_each(|domain| places[guest(domain.reference.uuid)] += 1);
        }
        let guests = (0..places.len()).filter(|guest| wanted(places[*guest]));
        guests.map(|guest| workload_name(guest).to_string()).collect()
    }

    fn runs_on(&self, host: usize, domain: Uuid) -> bool {
        self.hosts[host].domains().get(&domain).is_some_and(|domain| domain.state == RUNNING)
    }
}

/// A guest's identity.
pub fn uuid(guest: usize) -> Uuid {
    let mut bytes = [0; 16];
    bytes[12..].copy_from_slice(&(guest as u32).to_be_bytes());
    (bytes[6], bytes[8]) = (0x40, 0x80);
    Uuid(bytes)
}

fn guest(uuid: Uuid) -> usize {
    let Uuid([.., a, b, c, d]) = uuid;
    u32::from_be_bytes([a, b, c, d]) as usize
}

/// Seconds since 1970, as snapshots record them.
pub fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
