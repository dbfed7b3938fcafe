//! The way to one host's libvirtd: a few idle connections for orders and guest probes, so that each works on its own and
//! a stuck call harms nobody else. The sensors' own connection is not among them.

use crate::config::read_text;
use mainstay_libvirt::{Connection, Credentials, Keepalive, Options, Uri, Uuid};
use mainstay_model::{
    DomainState, HostId, OffReason, Secret, SiteId, WorkloadId,
    config::{DriverConfig, LibvirtConfig},
    spec::ClusterSpec,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// Idle connections kept; opening one more costs milliseconds (over ssh some tenths of a second).
const IDLE: usize = 2;

/// How a host is reached. Two that are equal need no new connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkConfig {
    /// Its site.
    pub site: SiteId,
    /// libvirt's address.
    pub uri: String,
    /// For ping; empty: not pinged.
    pub address: String,
    /// Bounds and credentials.
    pub driver: LibvirtConfig,
}

/// The way to one host.
#[derive(Debug)]
pub(crate) struct Link {
    /// The host.
    pub host: HostId,
    /// How it is reached.
    pub config: LinkConfig,
    /// Rung when the inventory should be read at once.
    pub look: Look,
    /// Rung when the host answers ping again: an attempt to connect that began while it was dead is not worth waiting for.
    pub heard_again: Notify,
    off: Mutex<BTreeMap<Uuid, OffReason>>,
    uri: Uri,
    idle: Mutex<Vec<Connection>>,
}

/// A bell, and what may have changed when it rings.
#[derive(Debug, Default)]
pub(crate) struct Look {
    bell: Notify,
    changed: Mutex<Changed>,
}

/// Whose definitions must be read anew.
#[derive(Debug, Default)]
pub(crate) enum Changed {
    /// Nobody's.
    #[default]
    Nothing,
    /// Those of these.
    These(BTreeSet<WorkloadId>),
    /// Events may be missing: everybody's.
    Anything,
}

impl Look {
    /// Something happened to a workload.
    pub fn at(&self, workload: &WorkloadId) {
        match &mut *self.lock() {
            Changed::These(all) => drop(all.insert(workload.clone())),
            Changed::Anything => {}
            nothing => *nothing = Changed::These(BTreeSet::from([workload.clone()])),
        }
        self.bell.notify_one();
    }

    /// Anything may have happened.
    pub fn at_all(&self) {
        *self.lock() = Changed::Anything;
        self.bell.notify_one();
    }

    /// Waits until it rings.
    pub async fn rung(&self) {
        self.bell.notified().await;
    }

    /// What changed since this was asked last.
    pub fn take(&self) -> Changed {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Changed> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Changed {
    /// True if the definition of this one must be read anew.
    pub fn holds(&self, workload: &WorkloadId) -> bool {
        match self {
            Changed::Nothing => false,
            Changed::These(all) => all.contains(workload),
            Changed::Anything => true,
        }
    }
}

/// All hosts' links, as the configuration in force has them. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links(Arc<Mutex<BTreeMap<HostId, Arc<Link>>>>);

impl LinkConfig {
    /// Of every host in a configuration.
    pub fn all(spec: &ClusterSpec, drivers: &BTreeMap<SiteId, DriverConfig>) -> BTreeMap<HostId, LinkConfig> {
        let hosts = spec.hosts.iter().filter_map(|(host, spec)| {
            let DriverConfig::Libvirt(driver) = drivers.get(&spec.site)?.clone();
            Some((
                host.clone(),
                LinkConfig { site: spec.site.clone(), uri: spec.uri.clone(), address: spec.address.clone(), driver },
            ))
        });
        hosts.collect()
    }
}

impl Link {
    /// A link; nothing is opened yet.
    pub fn new(host: HostId, config: LinkConfig) -> Result<Link, mainstay_libvirt::Error> {
        let uri = config.uri.parse()?;
        Ok(Link {
            host,
            config,
            look: Look::default(),
            heard_again: Notify::new(),
            off: Mutex::default(),
            uri,
            idle: Mutex::default(),
        })
    }

    /// A domain's state as an event told it: why it is off is remembered, since events tell more than an inventory.
    pub fn told(&self, domain: Uuid, state: DomainState) {
        let mut off = self.off.lock().unwrap_or_else(PoisonError::into_inner);
        match state {
            DomainState::Off(reason) => drop(off.insert(domain, reason)),
            _ => drop(off.remove(&domain)),
        }
    }

    /// A domain's state as an inventory tells it, with the reason that an event told.
    pub fn with_reason(&self, domain: Uuid, state: DomainState) -> DomainState {
        let mut off = self.off.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_live() {
            // Its start may have been missed; whatever stops it next has a reason of its own.
            off.remove(&domain);
            return state;
        }
        off.get(&domain).map_or(state, |reason| DomainState::Off(*reason))
    }

    /// Forgets the reasons of domains that are gone.
    pub fn keep_reasons(&self, of: &BTreeSet<Uuid>) {
        self.off.lock().unwrap_or_else(PoisonError::into_inner).retain(|domain, _| of.contains(domain));
    }

    /// Bound for a call that answers at once.
    pub fn limit(&self) -> Duration {
        self.config.driver.call_timeout.as_duration()
    }

    /// A fresh connection.
    pub async fn open(&self, limit: Duration) -> Result<Connection, mainstay_libvirt::Error> {
        let driver = &self.config.driver;
        // One that stands ready is not worth asking about every second: the sensors' own tell when the host falls silent.
        let (interval, count) = (driver.keepalive_every.as_duration(), driver.keepalive_missed);
        let keepalive = Keepalive { interval, count, at_rest: false };
        let options = Options { limit, keepalive, credentials: self.credentials().await?, ..Options::default() };
        Connection::open(&self.uri, &options).await
    }

    /// A connection on which nothing is under way. Give it back with [`Link::give_back`], if all went well.
    pub async fn take(&self) -> Result<Connection, mainstay_libvirt::Error> {
        while let Some(connection) = self.idle().pop() {
            if is_fresh(&connection) {
                return Ok(connection);
            }
        }
        self.open(self.config.driver.connect_timeout.as_duration()).await
    }

    /// Keeps a connection for the next who needs one.
    pub fn give_back(&self, connection: Connection) {
        let mut idle = self.idle();
        if is_fresh(&connection) && idle.len() < IDLE {
            idle.push(connection);
        }
    }

    /// Forgets idle connections: the host was found silent, so they may be dead without knowing it.
    pub fn forget_idle(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Read at each connecting, so that a changed password needs no restart.
    async fn credentials(&self) -> Result<Option<Credentials>, mainstay_libvirt::Error> {
        let (Some(user), Some(file)) = (&self.config.driver.username, &self.config.driver.password_file) else {
            return Ok(None);
        };
        let password = read_text(Path::new(file)).await.map_err(|source| mainstay_libvirt::Error::Unasked {
            target: self.config.uri.clone(),
            why: format!("the password file {file} can't be read"),
            source: Some(source),
        })?;
        let password: Secret = Secret::new(password);
        Ok(Some(Credentials { user: user.clone(), password: Secret::new(password.expose().trim_end()) }))
    }
}

impl Links {
    /// The link to a host; `None`: the configuration has no such host.
    pub fn get(&self, host: &HostId) -> Option<Arc<Link>> {
        self.lock().get(host).cloned()
    }

    /// Puts a host's link in place.
    pub fn insert(&self, link: Arc<Link>) {
        self.lock().insert(link.host.clone(), link);
    }

    /// Takes a host out.
    pub fn remove(&self, host: &HostId) {
        self.lock().remove(host);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<HostId, Arc<Link>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_fresh(connection: &Connection) -> bool {
    connection.close_reason().is_none() && connection.unanswered() == 0
}
