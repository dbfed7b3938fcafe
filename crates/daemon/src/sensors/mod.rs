//! What is watched: one group of tasks per host, so that a hanging host delays nobody else, and one task that probes guests.
//! Sensors only report; they decide nothing and change nothing on a host.

mod domain;
mod fence;
mod guest;
mod host;
mod inventory;
mod ping;
mod ready;
mod statistics;

pub(crate) use domain::state;
pub(crate) use fence::watch_devices;
pub(crate) use guest::watch_guests;
pub(crate) use host::watch_host;
pub(crate) use inventory::capture;
pub(crate) use ping::Pings;
pub(crate) use ready::{Needs, recall};

use crate::{Clock, StatsBoard, memory::Memory};
use mainstay_engine::Input;
use mainstay_libvirt::Uuid;
use mainstay_model::{DomainState, Fact, HostId, Time, WorkloadId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::mpsc;

/// A part of a sensor that has not turned for so much longer than its calls may take hangs.
const STUCK: Duration = Duration::from_secs(30);

/// What sensors share: where facts go, the time, and what is remembered besides.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub facts: mpsc::Sender<Input>,
    pub clock: Clock,
    pub memory: Memory,
    pub stats: StatsBoard,
    pub roster: Roster,
    pub pings: Pings,
    pub needs: Needs,
}

impl Context {
    /// Hands a fact to the engine; waits while the engine is behind.
    pub async fn report(&self, fact: Fact) {
        // The pump has stopped: so will this sensor.
        let _ = self.facts.send(Input::Fact(fact)).await;
    }
}

/// Which guests run where, for those who probe them. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roster(Arc<Mutex<BTreeMap<WorkloadId, Present>>>);

/// A guest that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Present {
    pub host: HostId,
    pub uuid: Uuid,
    pub tags: BTreeSet<String>,
    pub has_agent: bool,
    pub since: Time,
    pub address: Option<String>,
}

impl Roster {
    /// A guest was seen on a host.
    pub fn seen(&self, workload: &WorkloadId, uuid: Uuid, host: &HostId, state: DomainState, at: Time) {
        let mut roster = self.lock();
        let here = roster.get(workload).is_some_and(|present| present.host == *host);
        if state != DomainState::Running {
            if here {
                roster.remove(workload);
            }
        } else if !here {
            let (host, tags) = (host.clone(), BTreeSet::new());
            let present = Present { host, uuid, tags, has_agent: false, since: at, address: None };
            roster.insert(workload.clone(), present);
        }
    }

    /// Something was learned of a guest that runs.
    pub fn learn(&self, workload: &WorkloadId, change: impl FnOnce(&mut Present)) {
        if let Some(present) = self.lock().get_mut(workload) {
            change(present);
        }
    }

    /// Looks at all guests that run.
    pub fn with<T>(&self, look: impl FnOnce(&BTreeMap<WorkloadId, Present>) -> T) -> T {
        look(&self.lock())
    }

    /// A host is no longer watched.
    pub fn forget(&self, host: &HostId) {
        self.lock().retain(|_, present| present.host != *host);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<WorkloadId, Present>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
