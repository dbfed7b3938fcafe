//! The guest agent: is it there, freeze and thaw, what system runs inside, which addresses it has.
//!
//! Every call here waits for the guest. A guest that hangs holds up other agent calls to the same domain, and no more.

use std::time::Duration;

use crate::{
    connection::Connection,
    error::Result,
    numbers::{flags, wire_enum},
    procedures::Procedure,
    typed_params::Params,
    types::DomainRef,
};

flags! {
    /// What to ask the agent about (`virDomainGuestInfoTypes`).
    GuestInfoGroups {
        /// The operating system.
        SYSTEM = 1,
        /// The host name.
        HOSTNAME = 3,
    }
}

/// What the guest says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GuestInfo {
    /// Such as `Debian GNU/Linux 12 (bookworm)`.
    pub system: Option<String>,
    /// Such as `6.1.0-18-amd64`.
    pub kernel: Option<String>,
    /// Its host name.
    pub hostname: Option<String>,
}

wire_enum! {
    /// Where addresses are looked up (`virDomainInterfaceAddressesSource`).
    AddressSource {
        /// libvirt's own DHCP server.
        Lease = 0,
        /// The guest agent.
        Agent = 1,
        /// The host's neighbour table.
        Neighbours = 2,
    }
}

/// A guest's network card and its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Name in the guest (agent) or on the host (others).
    pub name: String,
    /// MAC address.
    pub mac: Option<String>,
    /// Addresses with prefix length.
    pub addresses: Vec<(String, u32)>,
}

impl Connection {
    /// Sends the agent a command as JSON and returns its answer. libvirt itself waits a second less than `limit` (yet a
    /// whole one), so that a silent agent shows as `AGENT_UNRESPONSIVE` and keeps no call's place.
    pub async fn agent_command(&self, domain: &DomainRef, command: &str, limit: Duration) -> Result<String> {
        let seconds = i32::try_from(limit.as_secs().saturating_sub(1)).unwrap_or(i32::MAX).max(1);
        let (answer,): (Option<String>,) =
            self.call(Procedure::QemuDomainAgentCommand, &(domain, command, seconds, 0_u32), limit).await?;
        Ok(answer.unwrap_or_default())
    }

    /// Succeeds if the agent answers: the guest's user space is alive.
    pub async fn agent_ping(&self, domain: &DomainRef, limit: Duration) -> Result<()> {
        self.agent_command(domain, r#"{"execute":"guest-ping"}"#, limit).await.map(drop)
    }

    /// Freezes all file systems; returns how many. **Thaw them whatever happens next**, else the guest stands still.
    pub async fn freeze(&self, domain: &DomainRef, limit: Duration) -> Result<i32> {
        let all: Vec<String> = Vec::new();
        let (frozen,) = self.call(Procedure::DomainFsfreeze, &(domain, all, 0_u32), limit).await?;
        Ok(frozen)
    }

    /// Thaws all file systems; returns how many. Harmless if none is frozen.
    pub async fn thaw(&self, domain: &DomainRef, limit: Duration) -> Result<i32> {
        let all: Vec<String> = Vec::new();
        let (thawed,) = self.call(Procedure::DomainFsthaw, &(domain, all, 0_u32), limit).await?;
        Ok(thawed)
    }

    /// What system runs inside. An agent that can't tell part of it leaves that part out.
    pub async fn guest_info(&self, domain: &DomainRef, limit: Duration) -> Result<GuestInfo> {
        // Asked for explicitly, one unsupported group would fail the call; with 0 libvirt tells what it can get.
        let (params,): (Params,) =
            self.call(Procedure::DomainGetGuestInfo, &(domain, GuestInfoGroups::NONE, 0_u32), limit).await?;
        let text = |name| params.text(name).map(str::to_owned);
        Ok(GuestInfo {
            system: text("os.pretty-name").or_else(|| text("os.name")),
            kernel: text("os.kernel-release"),
            hostname: text("hostname"),
        })
    }

    /// Its network cards with addresses, as `source` knows them.
    pub async fn addresses(
        &self,
        domain: &DomainRef,
        source: AddressSource,
        limit: Duration,
    ) -> Result<Vec<Interface>> {
        type Card = (String, Option<String>, Vec<(i32, String, u32)>);
        let (cards,): (Vec<Card>,) =
            self.call(Procedure::DomainInterfaceAddresses, &(domain, source.number(), 0_u32), limit).await?;
        let interface = |(name, mac, addresses): Card| Interface {
            name,
            mac,
            addresses: addresses.into_iter().map(|(_kind, address, prefix)| (address, prefix)).collect(),
        };
        Ok(cards.into_iter().map(interface).collect())
    }
}
