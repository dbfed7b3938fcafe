//! A fencing level: devices that must all succeed, such as the two outlets of a host with two power supplies. They work at the
//! same time.

use std::fmt;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde::Serialize;
use tracing::{error, info};

use crate::{Device, Done, NotDone};

/// Devices that together fence a host.
#[derive(Debug, Clone)]
pub struct Level(pub Vec<Device>);

/// What a level did to a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LevelReport {
    /// The host.
    pub host: String,
    /// What each device did, in the level's order.
    pub devices: Vec<DeviceReport>,
}

/// What one device did to a host. Holds no secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceReport {
    /// The device.
    pub device: String,
    /// Its agent.
    pub agent: String,
    /// What came of it.
    pub result: DeviceResult,
    /// Time from the first call to the last, the device's delay included.
    pub took_ms: u64,
    /// What went wrong on the way, also when the result is good.
    pub trouble: Option<String>,
}

/// What came of fencing by one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceResult {
    /// Its `status` said off before any order.
    AlreadyOff,
    /// Its `status` says off after the order.
    TurnedOff,
    /// Its `status` says on.
    StillOn,
    /// Its `status` says nothing.
    Unverified,
    /// This machine lacked a file, memory or a process for its agent. It says nothing of the device.
    Unasked,
}

impl DeviceResult {
    /// Whether the device said that the host is off.
    pub fn is_off(self) -> bool {
        matches!(self, Self::AlreadyOff | Self::TurnedOff)
    }
}

impl LevelReport {
    /// Whether the host is proved off. A level without devices proves nothing.
    pub fn is_fenced(&self) -> bool {
        !self.devices.is_empty() && self.devices.iter().all(|device| device.result.is_off())
    }

    /// Whether nothing but what this machine lacks kept the level from fencing the host.
    pub fn is_starved(&self) -> bool {
        let mut left = self.devices.iter().filter(|device| !device.result.is_off()).peekable();
        left.peek().is_some() && left.all(|device| device.result == DeviceResult::Unasked)
    }
}

/// Fences `host` by all devices of `level`. Ends within the [`Device::longest`] of its slowest device.
pub async fn fence_level(level: &Level, host: &str) -> LevelReport {
    let devices = join_all(level.0.iter().map(|device| fence_device(device, host))).await;
    LevelReport { host: host.to_owned(), devices }
}

async fn fence_device(device: &Device, host: &str) -> DeviceReport {
    let started = Instant::now();
    let outcome = device.off(host).await;
    let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (result, trouble) = match outcome {
        Ok(Done::Already) => (DeviceResult::AlreadyOff, None),
        Ok(Done::Switched { despite }) => (DeviceResult::TurnedOff, despite.map(|reason| with_causes(&reason))),
        Err(reason) if reason.is_shortage() => (DeviceResult::Unasked, Some(with_causes(&reason))),
        Err(reason @ NotDone::Stayed { .. }) => (DeviceResult::StillOn, Some(with_causes(&reason))),
        Err(reason) => (DeviceResult::Unverified, Some(with_causes(&reason))),
    };
    if result.is_off() {
        info!(device = device.name, host, took_ms, ?result, trouble, "fenced");
    } else {
        error!(device = device.name, host, took_ms, ?result, trouble, "not fenced");
    }
    DeviceReport { device: device.name.clone(), agent: device.agent.name().to_owned(), result, took_ms, trouble }
}

/// The reason and what is behind it, in one line.
fn with_causes(reason: &dyn std::error::Error) -> String {
    std::iter::successors(Some(reason), |reason| reason.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// One line for people: `apc-1: turned off (1.2 s); bmc-1: still on (20.1 s): …`.
impl fmt::Display for LevelReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, report) in self.devices.iter().enumerate() {
            let result = match report.result {
                DeviceResult::AlreadyOff => "already off",
                DeviceResult::TurnedOff => "turned off",
                DeviceResult::StillOn => "still on",
                DeviceResult::Unverified => "not known to be off",
                DeviceResult::Unasked => "not asked, for want of files, memory or processes here",
            };
            let seconds = Duration::from_millis(report.took_ms).as_secs_f32();
            write!(formatter, "{}{}: {result} ({seconds:.1} s)", if index > 0 { "; " } else { "" }, report.device)?;
            if let Some(trouble) = &report.trouble {
                write!(formatter, ": {trouble}")?;
            }
        }
        Ok(())
    }
}
