//! Fence devices at work: they are asked over their own network, whatever becomes of the host's.

use super::{DeviceState, News, Power, World, call::Effect};
use mainstay_model::{Action, Detail, Fact, FailureKind, HostId, Outcome, PowerState, Span};

/// The driver asks for the state of the power for so long after it switched.
const VERIFY_WITHIN: Span = Span::secs(5);

/// A device is asked so often, and one that did not say *on* so soon again.
const ASK_AGAIN: Span = Span::minutes(10);
const ASK_SOON: Span = Span::minutes(1);

impl World {
    fn level(&self, host: &HostId, level: usize) -> Vec<(DeviceState, Span)> {
        let names = self.spec.hosts.get(host).and_then(|spec| spec.fence.get(level)).cloned().unwrap_or_default();
        let state = |name| {
            let device = self.devices.get(name)?;
            let unfed = |host: &HostId| self.hosts.get(host).is_some_and(|host| !host.mains);
            let dead = device.dies_with.as_ref().is_some_and(unfed);
            Some((if dead { DeviceState::Dead } else { device.state }, device.takes))
        };
        names.iter().filter_map(state).collect()
    }

    pub(super) fn device_time(&mut self, action: &Action) -> Span {
        let level = if let Action::Fence { level, .. } = action { *level } else { 0 };
        let devices = self.level(action.host(), level);
        let jitter = self.call_random.between(80, 120);
        let on = self.hosts.get(action.host()).is_some_and(|host| host.power != Power::Off);
        let waits = matches!(action, Action::Fence { .. }) && on;
        let takes = devices.iter().map(|(state, takes)| match state {
            DeviceState::DoesNothing if waits => takes.0 + VERIFY_WITHIN.0,
            DeviceState::Ok | DeviceState::Lies | DeviceState::DoesNothing => takes.0,
            DeviceState::Slow => takes.0 * 8,
            DeviceState::Fails | DeviceState::Dead | DeviceState::Hangs => takes.0 * 3,
        });
        Span(takes.sum::<u64>().max(5) * jitter / 100)
    }

    pub(super) fn fence(&mut self, host: &HostId, level: usize) -> Effect {
        let devices = self.level(host, level);
        if let Some(effect) = unusable(&devices) {
            return effect;
        }
        let already_off = self.hosts.get(host).is_some_and(|host| host.power == Power::Off);
        let does = |wanted| devices.iter().any(|(state, _)| *state == wanted);
        if does(DeviceState::DoesNothing) && !already_off {
            return Effect::Answer(Outcome::failed(
                FailureKind::Other,
                "the device says done, and the host is still on",
            ));
        }
        // Each device of a level feeds one supply: where one was not cut, the host goes on.
        if !does(DeviceState::Lies) {
            self.power_off(host);
        }
        let by = format!("level {}", level + 1);
        Effect::Answer(Outcome::Done { detail: Detail::Fenced { already_off, by } })
    }

    /// Each fence device of a host is asked for its power although nothing depends on it. Says when to ask again.
    pub(super) fn ask_devices(&mut self, host: &HostId) -> Span {
        let levels = self.spec.hosts.get(host).map(|spec| spec.fence.clone()).unwrap_or_default();
        let on = self.hosts.get(host).is_some_and(|host| host.power != Power::Off);
        let mut again = ASK_AGAIN;
        for (level, names) in levels.iter().enumerate() {
            for (name, (state, takes)) in names.iter().zip(self.level(host, level)) {
                let answer = match state {
                    DeviceState::Ok | DeviceState::Slow | DeviceState::DoesNothing => Ok(on),
                    DeviceState::Lies => Ok(false),
                    DeviceState::Fails => Err("the fence agent failed"),
                    DeviceState::Dead | DeviceState::Hangs => Err("the fence device does not answer"),
                };
                if answer != Ok(true) {
                    again = ASK_SOON;
                }
                let state = answer.ok().map(|on| if on { PowerState::On } else { PowerState::Off });
                let error = answer.err().unwrap_or_default().to_owned();
                let fact = Fact::FenceProbe { host: host.clone(), device: name.clone(), state, error };
                self.hear(takes, News::Fact(fact));
            }
        }
        again
    }

    pub(super) fn check_power(&mut self, host: &HostId) -> Effect {
        let levels = self.spec.hosts.get(host).map_or(0, |spec| spec.fence.len());
        let able = (0..levels).map(|level| self.level(host, level)).find(|devices| unusable(devices).is_none());
        let Some(devices) = able else {
            return unusable(&self.level(host, 0)).unwrap_or(Effect::Never);
        };
        let on = self.hosts.get(host).is_some_and(|host| host.power != Power::Off);
        let lies = devices.iter().any(|(state, _)| *state == DeviceState::Lies);
        let said = if on && !lies { PowerState::On } else { PowerState::Off };
        Effect::Answer(Outcome::Done { detail: Detail::Power(said) })
    }

    pub(super) fn switch_on(&mut self, host: &HostId) -> Effect {
        if let Some(effect) = unusable(&self.level(host, 0)) {
            return effect;
        }
        if self.level(host, 0).iter().any(|(state, _)| *state == DeviceState::DoesNothing) {
            Effect::Answer(Outcome::failed(FailureKind::Other, "the device says done, and the host is still off"))
        } else if self.power_on(host) {
            Effect::Answer(Outcome::done())
        } else {
            Effect::Answer(Outcome::failed(FailureKind::Other, "the plug is on, the host has no power"))
        }
    }
}

/// What a level answers that can't do its work.
fn unusable(devices: &[(DeviceState, Span)]) -> Option<Effect> {
    let any = |wanted| devices.iter().any(|(state, _)| *state == wanted);
    let failed = |kind, message: &str| Some(Effect::Answer(Outcome::failed(kind, message)));
    if devices.is_empty() {
        failed(FailureKind::Refused, "no fence device")
    } else if any(DeviceState::Hangs) {
        Some(Effect::Never)
    } else if any(DeviceState::Dead) {
        failed(FailureKind::Unreachable, "the fence device does not answer")
    } else if any(DeviceState::Fails) {
        failed(FailureKind::Other, "the fence agent failed")
    } else {
        None
    }
}
