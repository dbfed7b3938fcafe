//! Live migration, peer to peer: the source's libvirtd talks to the target's, we start it, watch it and may abort it.

use std::time::Duration;

use super::{checkpoint::CheckpointRecord, snapshot::SnapshotRecord};
use crate::{
    connection::Connection,
    error::{Error, Result},
    numbers::{flags, wire_enum},
    procedures::Procedure,
    typed_params::{Params, Value},
    types::DomainRef,
    xdr::Opaque,
};

flags! {
    /// How to migrate (`virDomainMigrateFlags`).
    MigrateFlags {
        /// While the guest runs.
        LIVE = 0,
        /// The two libvirtds talk to each other.
        PEER_TO_PEER = 1,
        /// Through libvirtd's own connection, not a separate one.
        TUNNELLED = 2,
        /// Define it on the target.
        PERSIST_DESTINATION = 3,
        /// Undefine it on the source.
        UNDEFINE_SOURCE = 4,
        /// Although libvirt can't tell that the disks' caches are safe: for shared storage it does not know as such.
        UNSAFE = 9,
        /// Give up when a disk fails meanwhile.
        ABORT_ON_ERROR = 12,
        /// Slow the guest down if it dirties memory faster than it can be sent.
        AUTO_CONVERGE = 13,
        /// Encrypt what is sent; without certificates on both hosts the migration fails.
        TLS = 16,
    }
}

impl MigrateFlags {
    /// The usual: live, peer to peer, and the definition moves along.
    pub const MOVE: Self =
        Self(Self::LIVE.0 | Self::PEER_TO_PEER.0 | Self::PERSIST_DESTINATION.0 | Self::UNDEFINE_SOURCE.0);
}

/// Where to and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// URI of the target's libvirtd, **as the source host reaches it**.
    pub destination: String,
    /// How.
    pub flags: MigrateFlags,
    /// Where QEMU's data goes, such as `tcp://10.0.0.2`; the target's own choice if not given.
    pub data_uri: Option<String>,
    /// Bound on the data rate, MiB/s.
    pub bandwidth_mib_s: Option<u64>,
}

/// What libvirt has on record of a domain on one host, and what does not move along by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    /// Of its snapshots, parents first.
    pub snapshots: Vec<SnapshotRecord>,
    /// Of its checkpoints, parents first.
    pub checkpoints: Vec<CheckpointRecord>,
}

impl Records {
    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.snapshots.is_empty() && self.checkpoints.is_empty()
    }
}

wire_enum! {
    /// What becomes of a job (`virDomainJobType`).
    JobKind {
        /// No job.
        None = 0,
        /// Under way, with an end in sight.
        Bounded = 1,
        /// Under way, without one.
        Unbounded = 2,
        /// Done.
        Completed = 3,
        /// Failed.
        Failed = 4,
        /// Aborted.
        Cancelled = 5,
    }
}

/// How far a domain's job (migration, save, dump) is. What libvirt did not tell is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobStats {
    /// What became of it.
    pub kind: JobKind,
    /// Time so far.
    pub elapsed_ms: Option<u64>,
    /// How long the guest stood still, or is expected to.
    pub downtime_ms: Option<u64>,
    /// Bytes in all.
    pub data_total: Option<u64>,
    /// Bytes sent.
    pub data_processed: Option<u64>,
    /// Bytes left, growing while the guest dirties memory.
    pub data_remaining: Option<u64>,
}

impl Connection {
    /// Moves a running domain to another host; call it on the source. Returns when the guest runs there. A domain with
    /// snapshots or checkpoints is refused by libvirt: see [`Connection::migrate_with_records`]. After an error with
    /// [`Error::outcome_unknown`] look at both hosts before doing anything.
    pub async fn migrate(&self, domain: &DomainRef, migration: &Migration, limit: Duration) -> Result<()> {
        let mut params: Vec<(&str, Value)> = Vec::new();
        if let Some(uri) = &migration.data_uri {
            params.push(("migrate_uri", Value::Text(uri.clone())));
        }
        if let Some(bandwidth) = migration.bandwidth_mib_s {
            params.push(("bandwidth", Value::Ulong(bandwidth)));
        }
        let arguments = (domain, Some(&migration.destination), params, Opaque::default(), migration.flags);
        let (_cookie,): (Opaque,) = self.call(Procedure::DomainMigratePerform3Params, &arguments, limit).await?;
        Ok(())
    }

    /// How far its job is.
    pub async fn job_stats(&self, domain: &DomainRef, limit: Duration) -> Result<JobStats> {
        let (kind, params): (i32, Params) = self.call(Procedure::DomainGetJobStats, &(domain, 0_u32), limit).await?;
        Ok(JobStats {
            kind: kind.into(),
            elapsed_ms: params.number("time_elapsed"),
            downtime_ms: params.number("downtime"),
            data_total: params.number("data_total"),
            data_processed: params.number("data_processed"),
            data_remaining: params.number("data_remaining"),
        })
    }

    /// Aborts its job: a migration then fails and the guest goes on where it is.
    pub async fn abort_job(&self, domain: &DomainRef, limit: Duration) -> Result<()> {
        self.call(Procedure::DomainAbortJob, &(domain,), limit).await
    }

    /// Moves a domain that has snapshots, which libvirt refuses, or checkpoints, which libvirt forgets: removes the
    /// snapshots' records on this host (keep them safe before), migrates, and writes all records on `target`.
    /// If the migration fails they are written back here, whether or not its outcome is known: wherever the domain is
    /// found running gets them. `limit` holds for the migration, `call_limit` for each other call.
    pub async fn migrate_with_records(
        &self,
        target: &Connection,
        domain: &DomainRef,
        records: &Records,
        migration: &Migration,
        limit: Duration,
        call_limit: Duration,
    ) -> Result<()> {
        self.forget_snapshots(domain, call_limit).await?;
        let migrated = self.migrate(domain, migration, limit).await;
        if let Err(error) = &migrated
            && self.runs_here(domain, call_limit).await?
        {
            tracing::info!(%domain, %error, "migration failed, its snapshots' records are written back");
            self.restore(domain, records, call_limit).await?;
            return migrated;
        }
        let moved = target.find_domain_by_uuid(domain.uuid, call_limit).await?;
        let moved = moved.ok_or_else(|| {
            Error::unfit(format!("{domain} is neither here nor at {}: its records are unwritten", target.target()))
        })?;
        target.restore(&moved, records, call_limit).await?;
        migrated
    }

    /// Writes records again where the domain is. Those that are there already are left alone.
    pub async fn restore(&self, domain: &DomainRef, records: &Records, limit: Duration) -> Result<()> {
        self.restore_snapshots(domain, &records.snapshots, limit).await?;
        self.restore_checkpoints(domain, &records.checkpoints, limit).await
    }

    async fn runs_here(&self, domain: &DomainRef, limit: Duration) -> Result<bool> {
        match self.find_domain_by_uuid(domain.uuid, limit).await? {
            Some(found) => Ok(self.domain_state(&found, limit).await?.is_active()),
            None => Ok(false),
        }
    }
}
