//! Which domains there are, and what of each is known without asking its QEMU: never blocks on a stuck guest.

use std::{collections::BTreeSet, time::Duration};

use super::{
    state::DomainState,
    statistics::{DomainStats, StatsGroups},
};
use crate::{
    connection::Connection,
    error::{Error, ErrorCode, Result, XdrError},
    numbers::{flags, wire_enum},
    procedures::Procedure,
    types::{DomainRef, Uuid},
    xdr::AtMost,
};

flags! {
    /// Which domains to list; flags of one line's kind widen, of different kinds narrow (`virConnectListAllDomainsFlags`).
    ListFlags {
        /// Running or paused.
        ACTIVE = 0,
        /// Off.
        INACTIVE = 1,
        /// With a definition.
        PERSISTENT = 2,
        /// Gone when switched off.
        TRANSIENT = 3,
        /// With a saved state that the next start continues from.
        MANAGED_SAVE = 8,
        /// Started with the host.
        AUTOSTART = 10,
        /// With snapshots.
        HAS_SNAPSHOT = 12,
    }
}

flags! {
    /// Which description to get (`virDomainXMLFlags`).
    XmlFlags {
        /// With passwords.
        SECURE = 0,
        /// What the next start will use, not what runs now.
        INACTIVE = 1,
        /// Fit to be defined on another host.
        MIGRATABLE = 3,
    }
}

wire_enum! {
    /// How a disk failed (`virDomainDiskErrorCode`).
    DiskError {
        /// It did not.
        None = 0,
        /// In a way that is not told.
        Unspecified = 1,
        /// No space was left for what was to be written.
        NoSpace = 2,
    }
}

/// `REMOTE_DOMAIN_DISK_ERRORS_MAX`.
const DISK_ERRORS_MAX: i32 = 256;

/// Most domains on one host: ten times what is usual on the largest. The protocol allows a quarter of a million, and each costs
/// this process memory for as long as it is listed.
pub const DOMAINS_MAX: usize = 10_000;

/// What is known of a domain from libvirt alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventoried {
    /// Its identity.
    pub domain: DomainRef,
    /// What it does and why; `None` if libvirt did not tell.
    pub state: Option<DomainState>,
    /// False: its definition is gone when it stops.
    pub persistent: bool,
    /// Started with the host.
    pub autostart: bool,
    /// Its memory is saved on this host; an ordinary start goes on from there. While it runs, that image is stale.
    pub managed_save: bool,
}

impl Connection {
    /// The domains that `flags` select; all of them with none.
    pub async fn list_domains(&self, flags: ListFlags, limit: Duration) -> Result<Vec<DomainRef>> {
        let listed = self.call(Procedure::ConnectListAllDomains, &(1_i32, flags), limit).await;
        let (domains, _count): (AtMost<DomainRef, DOMAINS_MAX>, u32) = listed.map_err(too_many)?;
        Ok(domains.0)
    }

    /// All domains with what libvirt knows of them, in four calls however many they are. `limit` holds for each.
    pub async fn inventory(&self, limit: Duration) -> Result<Vec<Inventoried>> {
        // Their states, in one answer that lists every domain. One after the other: a libvirtd that hangs shall hold only one
        // of the few places for calls.
        let states = self.statistics(StatsGroups::STATE, limit).await?;
        let persistent = self.uuids(ListFlags::PERSISTENT, limit).await?;
        let autostart = self.uuids(ListFlags::AUTOSTART, limit).await?;
        let saved = self.uuids(ListFlags::MANAGED_SAVE, limit).await?;
        let inventoried = states.into_iter().map(|DomainStats { domain, state, .. }| Inventoried {
            state,
            persistent: persistent.contains(&domain.uuid),
            autostart: autostart.contains(&domain.uuid),
            managed_save: saved.contains(&domain.uuid),
            domain,
        });
        Ok(inventoried.collect())
    }

    async fn uuids(&self, flags: ListFlags, limit: Duration) -> Result<BTreeSet<Uuid>> {
        Ok(self.list_domains(flags, limit).await?.into_iter().map(|domain| domain.uuid).collect())
    }

    /// The domain called `name`; `None` if there is none.
    pub async fn find_domain(&self, name: &str, limit: Duration) -> Result<Option<DomainRef>> {
        none_if_missing(self.call(Procedure::DomainLookupByName, &(name,), limit).await)
    }

    /// The domain with `uuid`; `None` if there is none.
    pub async fn find_domain_by_uuid(&self, uuid: Uuid, limit: Duration) -> Result<Option<DomainRef>> {
        none_if_missing(self.call(Procedure::DomainLookupByUuid, &(uuid,), limit).await)
    }

    /// What it does and why. Does not ask its QEMU: a stuck one is still said to be running.
    pub async fn domain_state(&self, domain: &DomainRef, limit: Duration) -> Result<DomainState> {
        let (state, reason) = self.call(Procedure::DomainGetState, &(domain, 0_u32), limit).await?;
        Ok(DomainState::new(state, reason))
    }

    /// Its disks that have failed, as its QEMU knows. For a pause whose reason libvirt was not told: QEMU 10
    /// tells of at most one I/O error a second.
    pub async fn disk_errors(&self, domain: &DomainRef, limit: Duration) -> Result<Vec<(String, DiskError)>> {
        let arguments = (domain, DISK_ERRORS_MAX, 0_u32);
        let (errors, _count): (Vec<(String, i32)>, i32) =
            self.call(Procedure::DomainGetDiskErrors, &arguments, limit).await?;
        Ok(errors.into_iter().map(|(target, kind)| (target, kind.into())).collect())
    }

    /// Its description as XML.
    pub async fn domain_xml(&self, domain: &DomainRef, flags: XmlFlags, limit: Duration) -> Result<String> {
        let (xml,) = self.call(Procedure::DomainGetXmlDesc, &(domain, flags), limit).await?;
        Ok(xml)
    }
}

/// A list that is too long, in words for people.
pub(super) fn too_many(error: Error) -> Error {
    match error {
        Error::Malformed { source: XdrError::TooLong { length, limit: DOMAINS_MAX }, .. } => Error::unfit(format!(
            "it lists {length} domains; of more than {DOMAINS_MAX} on one host none is taken in: is this the right server?"
        )),
        other => other,
    }
}

fn none_if_missing(found: Result<(DomainRef,)>) -> Result<Option<DomainRef>> {
    match found {
        Ok((domain,)) => Ok(Some(domain)),
        Err(error) if error.is(ErrorCode::NO_DOMAIN) => Ok(None),
        Err(error) => Err(error),
    }
}
