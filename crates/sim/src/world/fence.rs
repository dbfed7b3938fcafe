//! Fence devices at work: they are asked over their own network, whatever becomes of the host's.

use super::{DeviceState, News, Planned, Power, World, call::Effect};
use mainstay_model::{Action, Detail, DeviceId, Fact, FailureKind, HostId, Outcome, PowerState, Span};

/// The driver asks for the state of the power for so long after it switched.
const VERIFY_WITHIN: Span = Span::secs(5);
/// An early device says off for so long before it is.
const EARLY_BY: Span = Span::secs(5);

/// Whose turn it is is looked up at least this often: a device may be new.
const LOOK_WITHIN: Span = Span::minutes(1);

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
            DeviceState::Ok | DeviceState::Lies | DeviceState::DoesNothing | DeviceState::Early => takes.0,
            DeviceState::Slow => takes.0 * 8,
            DeviceState::Starved => 0,
            DeviceState::Fails | DeviceState::Confused | DeviceState::Dead | DeviceState::Hangs => takes.0 * 3,
        });
        Span(takes.sum::<u64>().max(5) * jitter / 100)
    }

    /// How long the driver waits before it looks a second time whether a level's devices still say off.
    fn time_to_settle(&self, host: &HostId, level: usize) -> Span {
        let devices = self.spec.hosts.get(host).and_then(|spec| spec.fence.get(level)).into_iter().flatten();
        let settle = devices.filter_map(|device| self.spec.fence_devices.get(device)).map(|device| device.settle);
        settle.max().unwrap_or(Span::ZERO)
    }

    /// `settled`: the devices were seen to say off before, and this is the second look.
    pub(super) fn fence(&mut self, host: &HostId, level: usize, settled: bool) -> Effect {
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
        if does(DeviceState::Early) && !does(DeviceState::Lies) {
            self.switches_off_later(host);
        } else if !does(DeviceState::Lies) {
            self.power_off(host);
        }
        let settle = self.time_to_settle(host, level);
        if settle > Span::ZERO && !settled {
            return Effect::Wait(settle);
        }
        let by = format!("level {}", level + 1);
        Effect::Answer(Outcome::Done { detail: Detail::Fenced { already_off: already_off && !settled, by } })
    }

    /// Fence devices of a host whose turn it is are asked for its power although nothing depends on it: each every `probe_every`. Says
    /// when to look again whose turn it is.
    pub(super) fn ask_devices(&mut self, host: &HostId) -> Span {
        let (spec, now) = (self.spec.clone(), self.now);
        let levels = spec.hosts.get(host).map(|spec| spec.fence.clone()).unwrap_or_default();
        let on = self.hosts.get(host).is_some_and(|host| host.power != Power::Off);
        let known = |name: &DeviceId| spec.fence_devices.get(name).filter(|device| device.probe_every > Span::ZERO);
        let mut due = self.hosts.get_mut(host).map(|host| std::mem::take(&mut host.devices_due)).unwrap_or_default();
        due.retain(|name, _| levels.iter().flatten().any(|other| other == name) && known(name).is_some());
        for (level, names) in levels.iter().enumerate() {
            for (name, (state, takes)) in names.iter().zip(self.level(host, level)) {
                let Some(device) = known(name).filter(|_| due.get(name).is_none_or(|at| now >= *at)) else { continue };
                if state == DeviceState::Starved {
                    due.insert(name.clone(), now + device.asked_soon());
                    continue; // it is not asked, and nothing is said of it
                }
                let answer = match state {
                    DeviceState::Ok | DeviceState::Slow | DeviceState::DoesNothing => Ok(on),
                    DeviceState::Lies => Ok(false),
                    DeviceState::Early => Ok(on),
                    DeviceState::Confused => Err("the fence agent ended as if for `off`, and did not say it"),
                    DeviceState::Fails | DeviceState::Starved => Err("the fence agent failed"),
                    DeviceState::Dead | DeviceState::Hangs => Err("the fence device does not answer"),
                };
                due.insert(name.clone(), now + device.asked_again_in(answer == Ok(true)));
                let state = answer.ok().map(|on| if on { PowerState::On } else { PowerState::Off });
                let error = answer.err().unwrap_or_default().to_owned();
                let fact = Fact::FenceProbe { host: host.clone(), device: name.clone(), state, error };
                self.hear(takes, News::Fact(fact));
            }
        }
        let next = due.values().min().map_or(LOOK_WITHIN, |at| at.since(now)).min(LOOK_WITHIN);
        if let Some(host) = self.hosts.get_mut(host) {
            host.devices_due = due;
        }
        next.max(Span::secs(1))
    }

    fn switches_off_later(&mut self, host: &HostId) {
        let on = self.hosts.get_mut(host).filter(|host| host.power != Power::Off && !host.power_goes);
        let Some(on) = on else { return };
        on.power_goes = true;
        let boots = on.boots;
        self.plan(EARLY_BY, Planned::PowerGoes(host.clone(), boots));
    }

    pub(super) fn power_goes(&mut self, host: &HostId, boots: u64) {
        if self.hosts.get(host).is_some_and(|host| host.boots == boots) {
            self.power_off(host);
        }
    }

    /// `settled`: as of [`World::fence`].
    pub(super) fn check_power(&mut self, host: &HostId, settled: bool) -> Effect {
        let levels = self.spec.hosts.get(host).map_or(0, |spec| spec.fence.len());
        let able = (0..levels).find(|level| unusable(&self.level(host, *level)).is_none());
        let Some(level) = able else {
            return unusable(&self.level(host, 0)).unwrap_or(Effect::Never);
        };
        let on = self.hosts.get(host).is_some_and(|host| host.power != Power::Off && !host.power_goes);
        let lies = self.level(host, level).iter().any(|(state, _)| *state == DeviceState::Lies);
        let said = if on && !lies { PowerState::On } else { PowerState::Off };
        let settle = self.time_to_settle(host, level);
        if said == PowerState::Off && settle > Span::ZERO && !settled {
            return Effect::Wait(settle);
        }
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
    } else if any(DeviceState::Starved) {
        failed(FailureKind::Starved, "too many open files: the fence agent was not started")
    } else if any(DeviceState::Hangs) {
        Some(Effect::Never)
    } else if any(DeviceState::Dead) {
        failed(FailureKind::Unreachable, "the fence device does not answer")
    } else if any(DeviceState::Confused) {
        failed(FailureKind::Other, "the fence agent ended with the code of off and did not say that it is off")
    } else if any(DeviceState::Fails) {
        failed(FailureKind::Other, "the fence agent failed")
    } else {
        None
    }
}
