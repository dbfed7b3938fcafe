//! Switch a host off by all devices of one level, and believe only what the devices' status says afterwards.

use super::{Tools, task::Act};
use crate::{pump::with_causes, shortage};
use mainstay_fence::{Agent, Device, DeviceResult, Level, LevelReport, Options, fence_level};
use mainstay_model::{
    Detail, DeviceId, FailureKind, HostId, Outcome,
    config::{FENCE_OPTION, Loaded, Problem},
    plain,
    spec::{ClusterSpec, FenceDevice},
};

const AGENT_HELP: &str = "docs/fencing.md shows each kind of device";

pub(super) async fn fence(tools: &Tools, host: &HostId, level: usize) -> Act {
    let devices = {
        let spec = tools.spec.borrow();
        let levels = spec.hosts.get(host).map(|host| host.fence.as_slice()).unwrap_or_default();
        let level = levels.get(level).ok_or_else(|| refused(format!("{host} has no fence level {}", level + 1)))?;
        devices(&spec, level)?
    };
    let report = fence_level(&Level(devices), host.as_str()).await;
    if report.is_fenced() {
        let already_off = report.devices.iter().all(|device| device.result == DeviceResult::AlreadyOff);
        return Ok(Detail::Fenced { already_off, by: plain(&report.to_string()).into_owned() });
    }
    let told = plain(&report.to_string()).into_owned();
    if report.is_starved() {
        shortage::note(told.clone());
        return Err(Outcome::failed(FailureKind::Starved, told));
    }
    Err(if is_certain(&report) { Outcome::failed(FailureKind::Other, told) } else { Outcome::unknown(told) })
}

/// True if some device says that the host has power still.
fn is_certain(report: &LevelReport) -> bool {
    report.devices.iter().any(|device| device.result == DeviceResult::StillOn)
}

/// The devices of a level, ready for use.
pub(super) fn devices(spec: &ClusterSpec, level: &[DeviceId]) -> Result<Vec<Device>, Outcome> {
    let device = |id: &DeviceId| {
        let configured = spec.fence_devices.get(id).ok_or_else(|| refused(format!("there is no fence device {id}")))?;
        device(id, configured)
    };
    level.iter().map(device).collect()
}

fn device(id: &DeviceId, configured: &FenceDevice) -> Result<Device, Outcome> {
    let mut options = Options::default();
    for (name, value) in &configured.options {
        options.set(name, value.expose());
    }
    Ok(Device {
        name: id.to_string(),
        agent: Agent::find(&configured.agent).map_err(|error| refused(error.to_string()))?,
        options,
        plugs: configured.plug.iter().map(|(host, plug)| (host.to_string(), plug.clone())).collect(),
        timeout: configured.timeout.as_duration(),
        verify_within: configured.verify_within.as_duration(),
        retries: configured.retries,
        settle: configured.settle.as_duration(),
        delay: configured.delay.as_duration(),
    })
}

/// All that is wrong with the options of the fence devices, by what their agents say of themselves. Runs the agents, but
/// asks no device.
pub async fn check_devices(loaded: &Loaded) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (id, configured) in &loaded.spec.fence_devices {
        problems.extend(check_device(loaded, id, configured).await);
    }
    problems
}

async fn check_device(loaded: &Loaded, id: &DeviceId, configured: &FenceDevice) -> Vec<Problem> {
    let Some(place) = loaded.places.devices.get(id) else { return vec![] };
    let failed = |why: String| vec![place.error(FENCE_OPTION, format!("fence device `{id}`: {why}"), AGENT_HELP)];
    let device = match device(id, configured) {
        Ok(device) => device,
        Err(outcome) => return failed(outcome.to_string()),
    };
    let problem = |problem: &mainstay_fence::Problem| {
        let option = problem.option().and_then(|name| loaded.places.options.get(&(id.clone(), name.to_owned())));
        let (place, message) =
            (option.unwrap_or(place), plain(&format!("fence device `{id}`: {problem}")).into_owned());
        let help = format!("`{} -o metadata` lists what the agent takes", configured.agent);
        match problem.is_warning() {
            true => place.warning(FENCE_OPTION, message, help),
            false => place.error(FENCE_OPTION, message, help),
        }
    };
    match device.check().await {
        Ok(found) => found.iter().map(problem).collect(),
        Err(error) => failed(with_causes(&error)),
    }
}

fn refused(why: String) -> Outcome {
    Outcome::failed(FailureKind::Refused, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_model::Span;

    /// The engine's deadline is reckoned from the specification, the waiting is the driver's: case 25's kind.
    #[test]
    fn no_device_waits_longer_than_the_engine_reckons_with() {
        let waits = [0, 1, 750, 20_000, 3_600_000].map(Span::millis);
        let text = "[site.a]\nlibvirt = {}\nhost.h1 = {}\n[fence.bmc]\nagent = \"/bin/true\"";
        let spec = mainstay_model::config::load("mainstay.toml", text).unwrap().spec;
        let configured = &spec.fence_devices["bmc"];
        for retries in [0, 1, 7] {
            for (timeout, verify_within, settle, delay) in waits.iter().flat_map(|timeout| {
                waits.iter().flat_map(move |other| {
                    [(*timeout, *other, Span::ZERO, *other), (*timeout, *timeout, *other, Span::ZERO)]
                })
            }) {
                let one = FenceDevice { timeout, verify_within, settle, delay, retries, ..configured.clone() };
                let driver = device(&"bmc".into(), &one).unwrap();
                assert_eq!(driver.longest(), one.waits().off().as_duration(), "{one:?}");
                let calls = driver.timeout * 2 * (retries + 1) + driver.settle + driver.delay;
                assert!(driver.longest() > calls, "{one:?}");
            }
        }
    }
}
