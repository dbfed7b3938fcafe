//! Bulk statistics: one call for all domains of a host, which does not wait for a stuck QEMU (`NOWAIT`).

use std::{collections::BTreeMap, time::Duration};

use super::{
    inventory::{DOMAINS_MAX, too_many},
    state::DomainState,
};
use crate::{
    connection::Connection,
    error::Result,
    numbers::flags,
    procedures::Procedure,
    typed_params::Value,
    types::DomainRef,
    xdr::{AtMost, Decode, Decoder, XdrError},
};

/// Do not wait for a domain whose job lock is held or whose QEMU hangs: leave out what only QEMU knows.
const NOWAIT: u32 = 1 << 29;

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

/// Read in place, since they come by the thousand: libvirt sends some fifty named values for each domain.
impl Decode for DomainStats {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, XdrError> {
        let mut stats = Self::blank(DomainRef::decode(input)?);
        let (mut state, mut reason) = (None, None);
        let (mut disks, mut nics) = (BTreeMap::<u32, DiskStats>::new(), BTreeMap::<u32, NicStats>::new());
        for _ in 0..input.count()? {
            let (name, value) = (input.text()?, Value::decode(input)?);
            match &*name {
                "state.state" => state = value.number(),
                "state.reason" => reason = value.number(),
                "cpu.time" => stats.cpu_time_ns = value.number(),
                "balloon.current" => stats.balloon_current_kib = value.number(),
                "balloon.maximum" => stats.balloon_maximum_kib = value.number(),
                "balloon.rss" => stats.resident_kib = value.number(),
                "vcpu.current" => stats.vcpus = value.number(),
                name => match device(name) {
                    Some(("block", index, field)) => disks.entry(index).or_default().take(field, value),
                    Some(("net", index, field)) => nics.entry(index).or_default().take(field, value),
                    _ => {}
                },
            }
        }
        let number = |value: Option<u64>| value.and_then(|value| i32::try_from(value).ok());
        stats.state = number(state).zip(number(reason)).map(|(state, reason)| DomainState::new(state, reason));
        stats.disks = disks.into_values().filter(|disk| !disk.target.is_empty()).collect();
        stats.nics = nics.into_values().filter(|nic| !nic.name.is_empty()).collect();
        Ok(stats)
    }
}

/// Kind, number and field of `block.0.rd.bytes`.
fn device(name: &str) -> Option<(&str, u32, &str)> {
    let (kind, rest) = name.split_once('.')?;
    let (index, field) = rest.split_once('.')?;
    Some((kind, index.parse().ok()?, field))
}

impl DomainStats {
    fn blank(domain: DomainRef) -> Self {
        Self {
            domain,
            state: None,
            cpu_time_ns: None,
            balloon_current_kib: None,
            balloon_maximum_kib: None,
            resident_kib: None,
            vcpus: None,
            disks: Vec::new(),
            nics: Vec::new(),
        }
    }
}

impl DiskStats {
    fn take(&mut self, field: &str, value: Value) {
        match (field, value) {
            ("name", Value::Text(target)) => self.target = target,
            ("path", Value::Text(path)) => self.path = Some(path),
            ("rd.reqs", value) => self.read_requests = value.number(),
            ("rd.bytes", value) => self.read_bytes = value.number(),
            ("wr.reqs", value) => self.write_requests = value.number(),
            ("wr.bytes", value) => self.write_bytes = value.number(),
            ("fl.reqs", value) => self.flush_requests = value.number(),
            ("allocation", value) => self.allocation_bytes = value.number(),
            ("capacity", value) => self.capacity_bytes = value.number(),
            _ => {}
        }
    }
}

impl NicStats {
    fn take(&mut self, field: &str, value: Value) {
        match (field, value) {
            ("name", Value::Text(name)) => self.name = name,
            ("rx.bytes", value) => self.received_bytes = value.number(),
            ("tx.bytes", value) => self.sent_bytes = value.number(),
            _ => {}
        }
    }
}

impl Connection {
    /// Statistics of all domains, running or not, without waiting for any QEMU.
    pub async fn statistics(&self, groups: StatsGroups, limit: Duration) -> Result<Vec<DomainStats>> {
        let all: Vec<DomainRef> = Vec::new();
        let told = self.call(Procedure::ConnectGetAllDomainStats, &(all, groups, NOWAIT), limit).await;
        let (records,): (AtMost<DomainStats, DOMAINS_MAX>,) = told.map_err(too_many)?;
        Ok(records.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{types::Uuid, xdr::Encode};

    #[test]
    fn what_is_told_is_read_and_what_is_not_is_missing() {
        let domain = DomainRef { name: "web-1".to_owned(), uuid: Uuid([7; 16]), id: 3 };
        let text = |text: &str| Value::Text(text.to_owned());
        let params = [
            ("state.state", Value::Int(1)),
            ("state.reason", Value::Int(1)),
            ("cpu.time", Value::Ulong(5)),
            ("block.count", Value::Uint(3)),
            ("block.1.name", text("vdb")),
            ("block.0.wr.bytes", Value::Ulong(4096)),
            ("block.0.name", text("vda")),
            ("block.2.wr.bytes", Value::Ulong(1)),
            ("net.count", Value::Uint(1)),
            ("net.0.name", text("vnet0")),
            ("net.0.rx.bytes", Value::Ulong(9)),
            ("balloon.rss", Value::Long(-1)),
        ];
        let mut bytes = Vec::new();
        (&domain, params.to_vec()).encode(&mut bytes).unwrap();
        let stats = DomainStats::decode(&mut Decoder::new(&bytes)).unwrap();
        assert!(stats.state.is_some_and(DomainState::is_active));
        assert_eq!((stats.cpu_time_ns, stats.resident_kib), (Some(5), None));
        let disks: Vec<_> = stats.disks.iter().map(|disk| (disk.target.as_str(), disk.write_bytes)).collect();
        assert_eq!(disks, [("vda", Some(4096)), ("vdb", None)], "one without a name is none");
        assert_eq!((stats.nics[0].received_bytes, stats.nics[0].sent_bytes), (Some(9), None));
        assert!(DomainStats::decode(&mut Decoder::new(&bytes[..bytes.len() - 4])).is_err());
    }

    #[test]
    fn a_state_beyond_all_numbers_is_no_state() {
        let domain = DomainRef { name: "web-1".to_owned(), uuid: Uuid([7; 16]), id: 3 };
        let running_by_its_low_half = Value::Ulong((1 << 32) + 1);
        let params = [("state.state", running_by_its_low_half), ("state.reason", Value::Int(1))];
        let mut bytes = Vec::new();
        (&domain, params.to_vec()).encode(&mut bytes).unwrap();
        assert_eq!(DomainStats::decode(&mut Decoder::new(&bytes)).unwrap().state, None);
    }
}
