//! Ask a host's fence devices whether it has power, and give it power.

use super::{Tools, fence::devices, task::Act};
use crate::{pump::with_causes, shortage};
use mainstay_fence::{Device, PowerState as Power};
use mainstay_model::{Detail, FailureKind, HostId, Outcome, PowerState};

/// Off if all devices of one level say so; on if any device says so.
pub(super) async fn check(tools: &Tools, host: &HostId) -> Act {
    let mut troubles = Vec::new();
    for level in levels(tools, host)? {
        let mut all_off = !level.is_empty();
        for device in level {
            match device.status(host.as_str()).await {
                Ok(Power::On) => return Ok(Detail::Power(PowerState::On)),
                Ok(Power::Off) => {}
                Err(error) => {
                    is_starved(&error, error.is_shortage());
                    all_off = false;
                    troubles.push(format!("{}: {}", device.name, with_causes(&error)));
                }
            }
        }
        if all_off {
            return Ok(Detail::Power(PowerState::Off));
        }
    }
    Err(Outcome::failed(FailureKind::Other, format!("no fence device tells: {}", troubles.join("; "))))
}

/// By all devices of the first level that can.
pub(super) async fn on(tools: &Tools, host: &HostId) -> Act {
    let (mut troubles, mut starved) = (Vec::new(), false);
    'levels: for level in levels(tools, host)? {
        for device in &level {
            if let Err(error) = device.on(host.as_str()).await {
                starved |= is_starved(&error, error.is_shortage());
                troubles.push(format!("{}: {}", device.name, with_causes(&error)));
                continue 'levels;
            }
        }
        return Ok(Detail::Power(PowerState::On));
    }
    // A level that could not be tried may be the one that works.
    let kind = if starved { FailureKind::Starved } else { FailureKind::Other };
    Err(Outcome::failed(kind, troubles.join("; ")))
}

/// Notes it if this machine lacked something for the call.
fn is_starved(error: &(dyn std::error::Error + 'static), is_shortage: bool) -> bool {
    if is_shortage {
        shortage::note(with_causes(error));
    }
    is_shortage
}

fn levels(tools: &Tools, host: &HostId) -> Result<Vec<Vec<Device>>, Outcome> {
    let spec = tools.spec.borrow();
    let levels = spec.hosts.get(host).map(|host| host.fence.as_slice()).unwrap_or_default();
    if levels.is_empty() {
        return Err(Outcome::failed(FailureKind::Refused, format!("{host} has no fence device")));
    }
    levels.iter().map(|level| devices(&spec, level)).collect()
}
