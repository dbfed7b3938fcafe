//! Defining, starting, stopping and pausing.

use std::time::Duration;

use crate::{connection::Connection, error::Result, numbers::flags, procedures::Procedure, types::DomainRef};

flags! {
    /// How to define (`virDomainDefineFlags`).
    DefineFlags {
        /// Check the XML against libvirt's schema.
        VALIDATE = 0,
    }
}

flags! {
    /// What else to remove with a definition (`virDomainUndefineFlagsValues`).
    UndefineFlags {
        /// The saved state; without it undefining such a domain fails.
        MANAGED_SAVE = 0,
        /// libvirt's records of snapshots; without it undefining a domain with snapshots fails.
        SNAPSHOTS_METADATA = 1,
        /// The UEFI variables.
        NVRAM = 2,
        /// Keep the UEFI variables; without this or the one above undefining a UEFI domain fails.
        KEEP_NVRAM = 3,
        /// libvirt's records of checkpoints; without it undefining a domain with checkpoints fails.
        CHECKPOINTS_METADATA = 4,
        /// Keep the state of an emulated TPM; without this it is deleted. libvirt 8.9 and newer.
        KEEP_TPM = 6,
    }
}

impl UndefineFlags {
    /// Forgets the domain on this host and touches no data: images, UEFI variables and the TPM's state stay. A domain whose
    /// memory is saved here is refused by libvirt: that image may be the only copy.
    pub const LEAVE_DATA: Self = Self(Self::KEEP_TPM.0 | Self::LEAVE_DATA_WITHOUT_TPM.0);
    /// As above for a libvirt before 8.9, which does not know of the TPM's state: only for domains that have no TPM.
    pub const LEAVE_DATA_WITHOUT_TPM: Self =
        Self(Self::SNAPSHOTS_METADATA.0 | Self::KEEP_NVRAM.0 | Self::CHECKPOINTS_METADATA.0);
}

flags! {
    /// How to start (`virDomainCreateFlags`).
    StartFlags {
        /// Leave it paused.
        PAUSED = 0,
        /// Do not use the host's page cache for reading a saved state.
        BYPASS_CACHE = 2,
        /// Throw a saved state away and boot.
        FORCE_BOOT = 3,
    }
}

flags! {
    /// How to ask the guest to shut down (`virDomainShutdownFlagValues`); none leaves it to libvirt.
    ShutdownFlags {
        /// Press the power button.
        POWER_BUTTON = 0,
        /// Through the guest agent.
        GUEST_AGENT = 1,
    }
}

flags! {
    /// How to destroy (`virDomainDestroyFlagsValues`).
    DestroyFlags {
        /// Only SIGTERM: fails instead of killing a QEMU that is stuck in the kernel with data unwritten.
        GRACEFUL = 0,
    }
}

impl Connection {
    /// Defines a domain, or changes its definition if it has the same name and UUID.
    pub async fn define(&self, xml: &str, flags: DefineFlags, limit: Duration) -> Result<DomainRef> {
        let (domain,) = self.call(Procedure::DomainDefineXmlFlags, &(xml, flags), limit).await?;
        Ok(domain)
    }

    /// Removes its definition; a running one becomes transient.
    pub async fn undefine(&self, domain: &DomainRef, flags: UndefineFlags, limit: Duration) -> Result<()> {
        self.call(Procedure::DomainUndefineFlags, &(domain, flags), limit).await
    }

    /// Starts it; returns it with its new id. Fails with `OPERATION_INVALID` if it runs already.
    pub async fn start(&self, domain: &DomainRef, flags: StartFlags, limit: Duration) -> Result<DomainRef> {
        let (domain,) = self.call(Procedure::DomainCreateWithFlags, &(domain, flags), limit).await?;
        Ok(domain)
    }

    /// Asks the guest to shut down. Success means that it was asked: await `Stopped`.
    pub async fn shut_down(&self, domain: &DomainRef, flags: ShutdownFlags, limit: Duration) -> Result<()> {
        self.call(Procedure::DomainShutdownFlags, &(domain, flags), limit).await
    }

    /// Kills its QEMU. When this returns it is gone. Needs up to 15 s for a QEMU that does not react to SIGTERM.
    pub async fn destroy(&self, domain: &DomainRef, flags: DestroyFlags, limit: Duration) -> Result<()> {
        self.call(Procedure::DomainDestroyFlags, &(domain, flags), limit).await
    }

    /// Presses its reset button.
    pub async fn reset(&self, domain: &DomainRef, limit: Duration) -> Result<()> {
        self.call(Procedure::DomainReset, &(domain, 0_u32), limit).await
    }

    /// Pauses it.
    pub async fn suspend(&self, domain: &DomainRef, limit: Duration) -> Result<()> {
        self.call(Procedure::DomainSuspend, &(domain,), limit).await
    }

    /// Lets it go on.
    pub async fn resume(&self, domain: &DomainRef, limit: Duration) -> Result<()> {
        self.call(Procedure::DomainResume, &(domain,), limit).await
    }

    /// Whether libvirtd starts it with the host. Off for whatever Mainstay keeps: a returning host must not start it.
    pub async fn set_autostart(&self, domain: &DomainRef, autostart: bool, limit: Duration) -> Result<()> {
        self.call(Procedure::DomainSetAutostart, &(domain, autostart), limit).await
    }

    /// Wakes a domain that its guest put to sleep.
    pub async fn wake_up(&self, domain: &DomainRef, limit: Duration) -> Result<()> {
        self.call(Procedure::DomainPmWakeup, &(domain, 0_u32), limit).await
    }

    /// True if its memory was saved on this host (`virsh managedsave`): an ordinary start goes on from there.
    pub async fn has_managed_save(&self, domain: &DomainRef, limit: Duration) -> Result<bool> {
        let (saved,): (i32,) = self.call(Procedure::DomainHasManagedSaveImage, &(domain, 0_u32), limit).await?;
        Ok(saved != 0)
    }

    /// Throws its saved state away.
    pub async fn remove_managed_save(&self, domain: &DomainRef, limit: Duration) -> Result<()> {
        self.call(Procedure::DomainManagedSaveRemove, &(domain, 0_u32), limit).await
    }
}
