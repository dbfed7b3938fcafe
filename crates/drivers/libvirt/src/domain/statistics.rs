//! Bulk statistics: one call for all domains of a host, which does not wait for a stuck QEMU (`NOWAIT`).

use std::time::Duration;

use super::state::DomainState;
use crate::{
    connection::Connection, error::Result, numbers::flags, procedures::Procedure, typed_params::Params,
    types::DomainRef,
};

/// Do not wait for a domain whose job lock is held or whose QEMU hangs: leave out what only QEMU knows.
const NOWAIT: u32 = 1 << 29;
/// Disks and network cards read per domain; libvirt's own limits are far lower.
const DEVICES_MAX: u64 = 4096;

flags! {
    /// Groups of statistics (`virDomainStatsTypes`).
    StatsGroups {
        /// State and reason.
        STATE = 0,
        /// Processor time.
        CPU = 1,
        /// Memory by the balloon.
        BALLOON = 2,
        /// Virtual processors.
        VCPU = 3,
        /// Network cards.
        INTERFACE = 4,
        /// Disks.
        BLOCK = 5,
    }
}

impl StatsGroups {
    /// Every group that [`DomainStats`] shows.
    pub const ALL: Self = Self(0b11_1111);
}

/// What libvirt measured of a domain. Whatever it did not tell is `None` or missing, never 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainStats {
    /// Whose.
    pub domain: DomainRef,
    /// What it does and why.
    pub state: Option<DomainState>,
    /// Processor time used since start, all virtual processors.
    pub cpu_time_ns: Option<u64>,
    /// Memory the guest has now.
    pub balloon_current_kib: Option<u64>,
    /// Most memory it may have.
    pub balloon_maximum_kib: Option<u64>,
    /// Memory of the QEMU process on the host.
    pub resident_kib: Option<u64>,
    /// Virtual processors now.
    pub vcpus: Option<u64>,
    /// Its disks.
    pub disks: Vec<DiskStats>,
    /// Its network cards.
    pub nics: Vec<NicStats>,
}

/// What went through a disk since start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DiskStats {
    /// Target, such as `vda`.
    pub target: String,
    /// Image path, if it has one.
    pub path: Option<String>,
    /// Requests read.
    pub read_requests: Option<u64>,
    /// Bytes read.
    pub read_bytes: Option<u64>,
    /// Requests written.
    pub write_requests: Option<u64>,
    /// Bytes written.
    pub write_bytes: Option<u64>,
    /// Flushes.
    pub flush_requests: Option<u64>,
    /// Bytes the image takes on its storage.
    pub allocation_bytes: Option<u64>,
    /// Size the guest sees.
    pub capacity_bytes: Option<u64>,
}

/// What went through a network card since start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NicStats {
    /// The device on the host.
    pub name: String,
    /// Bytes the guest received.
    pub received_bytes: Option<u64>,
    /// Bytes the guest sent.
    pub sent_bytes: Option<u64>,
}

impl DomainStats {
    /// Reads what libvirt told of a domain.
    pub fn new(domain: DomainRef, params: &Params) -> Self {
        let state = params.number("state.state").zip(params.number("state.reason"));
        Self {
            domain,
            state: state.map(|(state, reason)| DomainState::new(state as i32, reason as i32)),
            cpu_time_ns: params.number("cpu.time"),
            balloon_current_kib: params.number("balloon.current"),
            balloon_maximum_kib: params.number("balloon.maximum"),
            resident_kib: params.number("balloon.rss"),
            vcpus: params.number("vcpu.current"),
            disks: devices(params, "block").map(|prefix| DiskStats::new(&prefix, params)).collect(),
            nics: devices(params, "net").map(|prefix| NicStats::new(&prefix, params)).collect(),
        }
    }
}

/// The prefixes `kind.0`, `kind.1` … of the devices that were told with a name.
fn devices(params: &Params, kind: &str) -> impl Iterator<Item = String> {
    let count = params.number(&format!("{kind}.count")).unwrap_or(0).min(DEVICES_MAX);
    (0..count)
        .map(move |index| format!("{kind}.{index}"))
        .filter(|prefix| params.text(&format!("{prefix}.name")).is_some())
}

impl DiskStats {
    fn new(prefix: &str, params: &Params) -> Self {
        let number = |name| params.number(&format!("{prefix}.{name}"));
        let text = |name| params.text(&format!("{prefix}.{name}")).map(str::to_owned);
        Self {
            target: text("name").unwrap_or_default(),
            path: text("path"),
            read_requests: number("rd.reqs"),
            read_bytes: number("rd.bytes"),
            write_requests: number("wr.reqs"),
            write_bytes: number("wr.bytes"),
            flush_requests: number("fl.reqs"),
            allocation_bytes: number("allocation"),
            capacity_bytes: number("capacity"),
        }
    }
}

impl NicStats {
    fn new(prefix: &str, params: &Params) -> Self {
        let number = |name| params.number(&format!("{prefix}.{name}"));
        Self {
            name: params.text(&format!("{prefix}.name")).unwrap_or_default().to_owned(),
            received_bytes: number("rx.bytes"),
            sent_bytes: number("tx.bytes"),
        }
    }
}

impl Connection {
    /// Statistics of all domains, running or not, without waiting for any QEMU.
    pub async fn statistics(&self, groups: StatsGroups, limit: Duration) -> Result<Vec<DomainStats>> {
        let all: Vec<DomainRef> = Vec::new();
        let (records,): (Vec<(DomainRef, Params)>,) =
            self.call(Procedure::ConnectGetAllDomainStats, &(all, groups, NOWAIT), limit).await?;
        Ok(records.into_iter().map(|(domain, params)| DomainStats::new(domain, &params)).collect())
    }
}
