//! What is to be known of the host: name, versions, memory, processors.

use std::time::Duration;

use crate::{connection::Connection, error::Result, procedures::Procedure, xdr::FixedChars};

/// A version as libvirt counts: 9000000 is 9.0.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u64);

impl std::fmt::Display for Version {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}.{}", self.0 / 1_000_000, self.0 / 1000 % 1000, self.0 % 1000)
    }
}

/// A host's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Processor model, such as `x86_64`.
    pub model: String,
    /// All memory.
    pub memory_kib: u64,
    /// Processors, hyperthreads counted.
    pub cpus: u32,
}

impl Connection {
    /// The host's name as it calls itself.
    pub async fn hostname(&self, limit: Duration) -> Result<String> {
        let (hostname,) = self.call(Procedure::ConnectGetHostname, &(), limit).await?;
        Ok(hostname)
    }

    /// libvirt's version.
    pub async fn libvirt_version(&self, limit: Duration) -> Result<Version> {
        let (version,) = self.call(Procedure::ConnectGetLibVersion, &(), limit).await?;
        Ok(Version(version))
    }

    /// QEMU's version.
    pub async fn hypervisor_version(&self, limit: Duration) -> Result<Version> {
        let (version,) = self.call(Procedure::ConnectGetVersion, &(), limit).await?;
        Ok(Version(version))
    }

    /// The host's memory and processors.
    pub async fn node_info(&self, limit: Duration) -> Result<NodeInfo> {
        type Reply = (FixedChars<32>, u64, i32);
        let (FixedChars(model), memory_kib, cpus): Reply = self.call(Procedure::NodeGetInfo, &(), limit).await?;
        Ok(NodeInfo { model, memory_kib, cpus: u32::try_from(cpus).unwrap_or(0) })
    }

    /// For how long the host's kernel has been running, by the processor time that it counts, idle time included. It may be
    /// some seconds off. `None`: this hypervisor does not tell.
    pub async fn uptime(&self, cpus: u32, limit: Duration) -> Result<Option<Duration>> {
        const ALL_CPUS: i32 = -1;
        const COUNTERS: i32 = 4; // Linux: kernel, user, idle, iowait
        type Reply = (Vec<(String, u64)>, i32);
        let arguments = (ALL_CPUS, COUNTERS, 0_u32);
        let (counters, _): Reply = self.call(Procedure::NodeGetCpuStats, &arguments, limit).await?;
        let nanoseconds = counters.iter().fold(0_u64, |sum, (_, counter)| sum.saturating_add(*counter));
        Ok((nanoseconds > 0 && cpus > 0).then(|| Duration::from_nanos(nanoseconds / u64::from(cpus))))
    }

    /// Memory that nobody uses, page cache not counted.
    pub async fn free_memory_bytes(&self, limit: Duration) -> Result<u64> {
        let (free,) = self.call(Procedure::NodeGetFreeMemory, &(), limit).await?;
        Ok(free)
    }

    /// What the host and its hypervisor can, as XML.
    pub async fn capabilities(&self, limit: Duration) -> Result<String> {
        let (xml,) = self.call(Procedure::ConnectGetCapabilities, &(), limit).await?;
        Ok(xml)
    }
}
