//! Asks the fence devices of a host for its power although nothing depends on it. Never two at once on one board: management
//! controllers have few sessions.

use super::{Tools, fence::devices};
use crate::{pump::with_causes, shortage};
use mainstay_fence::{Device, PowerState as Power};
use mainstay_model::{DeviceId, Fact, HostId, PowerState, spec::ClusterSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

/// Boards that are being asked. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Boards(Arc<Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>>);

impl Boards {
    fn of(&self, device: &Device) -> Arc<tokio::sync::Mutex<()>> {
        let option = |names: [&str; 2]| names.into_iter().find_map(|name| device.options.get(name));
        let board = match option(["ip", "ipaddr"]) {
            Some(address) => format!("{address}:{}", device.options.get("ipport").unwrap_or_default()),
            None => device.name.clone(),
        };
        let mut boards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(boards.entry(board).or_default())
    }
}

/// What a fence device answered when it was asked for a host's power.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceAnswer {
    /// The device.
    pub device: DeviceId,
    /// The level of the host it belongs to, from 1.
    pub level: u32,
    /// Its agent.
    pub agent: String,
    /// `on` or `off`; none if it gave no answer that could prove anything.
    pub state: Option<String>,
    /// Why it gave none.
    pub error: Option<String>,
    /// How long the answer took, in milliseconds.
    pub took_ms: u64,
    /// It was not asked: this machine had no file or memory left for its agent. That tells nothing of the device.
    #[serde(skip)]
    pub unasked: bool,
}

impl DeviceAnswer {
    /// As the engine hears it.
    pub(crate) fn fact(&self, host: &HostId) -> Fact {
        let state = self.state.as_deref().map(|state| if state == "off" { PowerState::Off } else { PowerState::On });
        let error = self.error.clone().unwrap_or_default();
        Fact::FenceProbe { host: host.clone(), device: self.device.clone(), state, error }
    }
}

/// Asks one device of a host.
pub(crate) async fn probe(tools: &Tools, host: &HostId, id: &DeviceId, level: u32) -> DeviceAnswer {
    let spec = Arc::clone(&tools.spec.borrow());
    let agent = spec.fence_devices.get(id).map(|device| device.agent.clone()).unwrap_or_default();
    let (answer, took_ms) = match devices(&spec, std::slice::from_ref(id)) {
        Err(outcome) => (Err((outcome.to_string(), false)), 0),
        Ok(devices) => {
            let device = &devices[0];
            let board = tools.boards.of(device);
            let _alone = board.lock().await;
            let began = Instant::now();
            let answer = ask(device, host).await;
            (answer, u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX))
        }
    };
    let (state, error, unasked) = match answer {
        Ok(state) => (Some(state.to_string()), None, false),
        Err((error, unasked)) => (None, Some(error), unasked),
    };
    DeviceAnswer { device: id.clone(), level, agent, state, error, took_ms, unasked }
}

/// Its answer, or why there is none, and whether that is this machine's fault.
async fn ask(device: &Device, host: &HostId) -> Result<Power, (String, bool)> {
    let answer = device.probe(host.as_str()).await;
    let answer = answer.map_err(|error| {
        let (why, unasked) = (with_causes(&error), error.is_shortage());
        if unasked {
            shortage::note(why.clone());
        }
        (why, unasked)
    })?;
    match answer.in_words {
        true => Ok(answer.state),
        false => {
            let why = "it answers `status` by an exit code alone, without the line `Status: ON`: it could never prove that \
                       a host is off";
            Err((why.to_owned(), false))
        }
    }
}

/// Asks every device of a host, all boards at the same time.
pub(crate) async fn probe_all(tools: &Tools, host: &HostId) -> Vec<DeviceAnswer> {
    let spec = Arc::clone(&tools.spec.borrow());
    let mut asked = tokio::task::JoinSet::new();
    for (position, (level, id)) in of_host(&spec, host).into_iter().enumerate() {
        let (tools, host) = (tools.clone(), host.clone());
        asked.spawn(async move { (position, probe(&tools, &host, &id, level).await) });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by_key(|(position, _)| *position);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// The devices of a host, each with its level from 1.
pub(crate) fn of_host(spec: &ClusterSpec, host: &HostId) -> Vec<(u32, DeviceId)> {
    let levels = spec.hosts.get(host).map(|host| host.fence.as_slice()).unwrap_or_default();
    let mut found: Vec<(u32, DeviceId)> = Vec::new();
    for (level, device) in (1..).zip(levels).flat_map(|(level, devices)| devices.iter().map(move |one| (level, one))) {
        if !found.iter().any(|(_, other)| other == device) {
            found.push((level, device.clone()));
        }
    }
    found
}
