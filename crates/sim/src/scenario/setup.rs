//! The world's half of `setup.toml`: which hosts and guests there truly are. The other half is a `mainstay.toml`.

use crate::{random::Stream, world::Guest};
use mainstay_model::{DeviceId, HostId, Resources, Span, WorkloadId};
use serde::{Deserialize, Deserializer, de};
use std::collections::{BTreeMap, BTreeSet};

/// Table `[world]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorldSetup {
    /// Chooses delays within their ranges.
    #[serde(default)]
    pub seed: u64,
    /// How long the scenario lasts.
    #[serde(default = "five_minutes")]
    pub lasts: Span,
    /// From then on every managed workload has to run and answer, unless an alarm rightly asks for a person, and nothing is
    /// moved or started any more.
    pub all_well_by: Option<Span>,
    /// Any host has room for all: that no host fits is no excuse then.
    #[serde(default)]
    pub roomy: bool,
    /// Whether the disk's lock refuses a second process.
    #[serde(default = "yes")]
    pub locks: bool,
    /// Hosts as they truly are.
    pub host: BTreeMap<HostId, HostSetup>,
    /// Guests as they truly are.
    #[serde(default)]
    pub vm: BTreeMap<WorkloadId, VmSetup>,
    /// Fence devices that are not ordinary.
    #[serde(default)]
    pub fence_device: BTreeMap<DeviceId, DeviceSetup>,
}

/// Table `[world.host.NAME]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostSetup {
    /// Memory for guests in MiB.
    #[serde(deserialize_with = "memory")]
    pub memory: u64,
    #[serde(default = "eight")]
    pub cpus: u64,
    /// From power to a running libvirtd.
    #[serde(default = "twenty_seconds")]
    pub boot_time: Span,
    /// Whether it has power at the beginning.
    #[serde(default = "yes")]
    pub on: bool,
    /// What it lacks of the things that guests need.
    #[serde(default)]
    pub lacks: BTreeSet<String>,
    /// What becomes of its guests when its owner shuts it down.
    #[serde(default)]
    pub guests_on_shutdown: GuestsOnShutdown,
    /// What libvirt-guests does when the host boots.
    #[serde(default)]
    pub guests_on_boot: GuestsOnBoot,
}

/// What becomes of a host's guests when its owner shuts it down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum GuestsOnShutdown {
    /// libvirt-guests asks them to shut down, and waits for them for a while.
    #[default]
    Shutdown,
    /// libvirt-guests saves them to disk.
    Save,
    /// Nobody looks after them: systemd ends their processes by a signal.
    Signal,
}

/// What libvirt-guests does with the guests that ran when it shut the host down, when the host boots (`ON_BOOT`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum GuestsOnBoot {
    /// Nothing.
    #[default]
    Ignore,
    /// It starts them, wherever they may run by now.
    Start,
}

/// Table `[world.vm.NAME]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VmSetup {
    /// Where it is defined.
    pub on: HostId,
    /// Memory in MiB.
    #[serde(deserialize_with = "memory", default = "half_a_gib")]
    pub memory: u64,
    #[serde(default = "one")]
    pub cpus: u64,
    #[serde(default = "shared")]
    pub datastore: String,
    /// From the start of its process until it answers.
    #[serde(default = "two_seconds")]
    pub boot_time: Span,
    #[serde(default)]
    pub autostart: bool,
    /// Whether it runs at the beginning.
    #[serde(default = "yes")]
    pub running: bool,
    #[serde(default)]
    pub tags: BTreeSet<String>,
    /// False: its disk lies on its host.
    #[serde(default = "yes")]
    pub movable: bool,
    /// Bridges that it needs: every host has them, unless its own table says that it lacks them.
    #[serde(default)]
    pub needs: BTreeSet<String>,
}

/// Table `[world.fence-device.NAME]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceSetup {
    /// How long one switching takes.
    #[serde(default = "one_second")]
    pub takes: Span,
    /// The host whose mains feed it.
    pub dies_with: Option<HostId>,
}

impl HostSetup {
    pub fn capacity(&self) -> Resources {
        Resources::of(self.memory, self.cpus)
    }
}

impl VmSetup {
    /// The guest as it begins, off.
    pub fn guest(&self, name: &WorkloadId, seed: u64) -> Guest {
        let mut random = Stream::new(seed, &format!("guest/{name}"));
        Guest {
            name: name.clone(),
            uuid: format!(
                "{:08x}-{:04x}-4000-8000-{:012x}",
                random.next() as u32,
                random.next() as u16,
                random.next() >> 16
            ),
            needs: Resources::of(self.memory, self.cpus),
            bridges: self.needs.clone(),
            tags: self.tags.clone(),
            datastore: self.datastore.clone(),
            movable: self.movable,
            boot_time: self.boot_time,
            slowness: 1,
            disk: crate::world::Disk::default(),
            points: BTreeMap::new(),
            processes: BTreeMap::new(),
            stopped_by_person: None,
            twin: None,
            undefined_by_person: false,
            failing_starts: Vec::new(),
            failing_migrations: 0,
            locked: false,
            unlocked_at: mainstay_model::Time(0),
            saved_on: BTreeMap::new(),
            asleep: BTreeMap::new(),
            asked_on: None,
            random,
        }
    }
}

fn memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    let number = |unit: &str| text.strip_suffix(unit).and_then(|number| number.trim().parse::<u64>().ok());
    number("MiB")
        .or_else(|| number("GiB").and_then(|gib| gib.checked_mul(1024)))
        .ok_or_else(|| de::Error::custom(format!("`{text}` is not an amount of memory; write for example \"512MiB\"")))
}

fn yes() -> bool {
    true
}
fn one() -> u64 {
    1
}
fn eight() -> u64 {
    8
}
fn half_a_gib() -> u64 {
    512
}
fn shared() -> String {
    "shared".to_owned()
}
fn one_second() -> Span {
    Span::secs(1)
}
fn two_seconds() -> Span {
    Span::secs(2)
}
fn twenty_seconds() -> Span {
    Span::secs(20)
}
fn five_minutes() -> Span {
    Span::minutes(5)
}
