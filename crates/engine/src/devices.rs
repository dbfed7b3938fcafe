//! Fence devices before they are needed: whether each answers, and whether what it says can be true.
//!
//! A device that fails twice in a row can't be relied on. A device that says *off* of a host which then answers is asked about
//! something else (a wrong outlet, a misspelt plug): what it says of that host proves nothing.

use crate::{
    alarms::{Draft, draft},
    belief::{HostPhase, HostSenses},
    engine::Engine,
    view::FenceView,
};
use mainstay_model::{Code, DeviceId, HostChannel, HostId, PowerState, Severity, Span, Time};

/// One question may be lost; the next is asked a minute later.
const FAILURES: u32 = 2;
/// A host heard so long after its device said *off* was not off. An answer on its way comes sooner.
const CONTRADICTED_AFTER: Span = Span::secs(3);

impl Engine {
    /// A fence device was asked although nothing depends on it.
    pub(crate) fn fence_probed(&mut self, host: &HostId, device: DeviceId, state: Option<PowerState>, error: String) {
        let now = self.now;
        if !self.host_spec(host).is_some_and(|spec| spec.fence.iter().flatten().any(|one| *one == device)) {
            return;
        }
        // Only of a host that is in use it is news, if it can be true at all.
        let in_use = self.belief.hosts.get(host).is_some_and(|record| record.phase == HostPhase::Online);
        let Some(senses) = self.belief.host_senses.get_mut(host) else { return };
        let sense = senses.devices.entry(device).or_default();
        sense.asked = now;
        match state {
            Some(state) => {
                (sense.answered, sense.error, sense.failures) = (Some(now), None, 0);
                sense.off_at = match state {
                    PowerState::On => None,
                    PowerState::Off if in_use => sense.off_at.or(Some(now)),
                    // True at last, perhaps; what it said before is not made better by that.
                    PowerState::Off => sense.off_at,
                };
            }
            None => {
                sense.error = Some(error);
                sense.failures += 1;
            }
        }
        self.agenda.touch_host(host);
    }

    /// When it can be told whether what a device said of a host was true.
    pub(crate) fn devices_checked_at(&self, host: &HostId) -> Option<Time> {
        let senses = self.belief.host_senses.get(host)?;
        let said_off = senses.devices.values().filter_map(|device| device.off_at);
        said_off.map(|at| at + CONTRADICTED_AFTER + Span::secs(1)).filter(|at| *at > self.now).min()
    }

    /// True if a device of this level says *off* of the host while the host answers.
    pub(crate) fn is_contradicted(&self, host: &HostId, level: Option<usize>) -> bool {
        let (Some(spec), Some(senses)) = (self.host_spec(host), self.belief.host_senses.get(host)) else {
            return false;
        };
        let levels = spec.fence.iter().enumerate().filter(|(number, _)| level.is_none_or(|level| level == *number));
        levels.flat_map(|(_, devices)| devices).any(|device| contradicted(senses, device))
    }

    /// As people are shown them.
    pub(crate) fn device_views(&self, host: &HostId) -> Vec<FenceView> {
        let (Some(spec), Some(senses)) = (self.host_spec(host), self.belief.host_senses.get(host)) else {
            return vec![];
        };
        let levels = (1..).zip(&spec.fence);
        let devices = levels.flat_map(|(level, devices)| devices.iter().map(move |device| (level, device)));
        let view = |(level, device): (u32, &DeviceId)| {
            let sense = senses.devices.get(device);
            let lies = contradicted(senses, device).then(|| "it says off, and the host answers".to_owned());
            FenceView {
                device: device.clone(),
                level,
                asked: sense.map(|sense| sense.asked),
                answered: sense.and_then(|sense| sense.answered),
                error: sense.and_then(|sense| sense.error.clone()).or(lies),
            }
        };
        devices.map(view).collect()
    }

    /// Devices that could not fence the host now.
    pub(crate) fn device_alarms(&self, host: &HostId) -> Vec<Draft> {
        let (Some(spec), Some(senses)) = (self.host_spec(host), self.belief.host_senses.get(host)) else {
            return vec![];
        };
        let mut drafts = Vec::new();
        let dead = |device: &DeviceId| senses.devices.get(device).is_some_and(|sense| sense.failures >= FAILURES);
        let reasons: Vec<String> = all(&spec.fence)
            .into_iter()
            .filter(|device| dead(device))
            .map(|device| {
                let error = senses.devices.get(device).and_then(|sense| sense.error.as_deref());
                format!("{device}: {}", error.unwrap_or("no answer"))
            })
            .collect();
        if !reasons.is_empty() {
            let a_level_is_left = spec.fence.iter().any(|level| !level.iter().any(dead));
            let (severity, means) = match a_level_is_left {
                true => (Severity::Yellow, "it could be fenced by another level only"),
                false => (Severity::Red, "if it were lost now, it could not be fenced, and its workloads would wait"),
            };
            drafts.push(draft(
                Code::FENCE_UNREACHABLE,
                severity,
                format!("fence devices of {host} do not answer, so {means}: {}", reasons.join("; ")),
                format!("repair that, then: mainstay host fence-test {host}"),
            ));
        }
        let wrong: Vec<&str> =
            all(&spec.fence).into_iter().filter(|device| contradicted(senses, device)).map(DeviceId::as_str).collect();
        if !wrong.is_empty() {
            drafts.push(draft(
                Code::FENCE_CONTRADICTED,
                Severity::Red,
                format!(
                    "{} says that {host} is off, and {host} answers: it is asked about another machine or outlet, and could not \
                     prove that {host} is off",
                    wrong.join(" and ")
                ),
                format!("correct its `plug` or options in the configuration, then: mainstay host fence-test {host}"),
            ));
        }
        drafts
    }
}

/// The devices of all levels, each once.
fn all(levels: &[Vec<DeviceId>]) -> Vec<&DeviceId> {
    let mut devices: Vec<&DeviceId> = Vec::new();
    for device in levels.iter().flatten() {
        if !devices.contains(&device) {
            devices.push(device);
        }
    }
    devices
}

fn contradicted(senses: &HostSenses, device: &DeviceId) -> bool {
    let off_at = senses.devices.get(device).and_then(|sense| sense.off_at);
    let heard = senses.heard_on(HostChannel::Hypervisor);
    off_at.zip(heard).is_some_and(|(off_at, heard)| heard >= off_at + CONTRADICTED_AFTER)
}
