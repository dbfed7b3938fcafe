//! What happened in a domain's life, and how a stop came about: by a person, by the guest, or by a fault.

use crate::numbers::{detailed_enum, wire_enum};

detailed_enum! {
    /// A turn in a domain's life (`virDomainEventType`) with its detail.
    Lifecycle {
        /// Its definition was made or changed.
        Defined(Defined) = 0,
        /// Its definition is gone.
        Undefined(Undefined) = 1,
        /// It runs.
        Started(Started) = 2,
        /// It is paused.
        Suspended(Suspended) = 3,
        /// It goes on.
        Resumed(Resumed) = 4,
        /// It is off.
        Stopped(Stopped) = 5,
        /// The guest has finished shutting down; `Stopped` follows.
        Shutdown(Shutdown) = 6,
        /// The guest put itself to sleep.
        PmSuspended(PmSuspended) = 7,
        /// The guest's kernel panicked.
        Crashed(Crashed) = 8,
    }
}

wire_enum! {
    /// Why a definition came or changed.
    Defined {
        /// New.
        Added = 0,
        /// Changed.
        Updated = 1,
        /// Under a new name.
        Renamed = 2,
        /// Brought back by a snapshot.
        FromSnapshot = 3,
    }
}

wire_enum! {
    /// Why a definition went.
    Undefined {
        /// Removed.
        Removed = 0,
        /// Lives on under a new name.
        Renamed = 1,
    }
}

wire_enum! {
    /// How it came to run.
    Started {
        /// From its disk.
        Booted = 0,
        /// Came from another host.
        Migrated = 1,
        /// From a saved state.
        Restored = 2,
        /// From a snapshot.
        FromSnapshot = 3,
        /// Woke up.
        Wakeup = 4,
    }
}

wire_enum! {
    /// Why it was paused.
    Suspended {
        /// Someone asked for it.
        Paused = 0,
        /// A migration is under way.
        Migrated = 1,
        /// A disk failed.
        IoError = 2,
        /// Its watchdog fired.
        Watchdog = 3,
        /// Restored in paused state.
        Restored = 4,
        /// A snapshot of a paused domain was reverted to.
        FromSnapshot = 5,
        /// A libvirt call failed half-way.
        ApiError = 6,
        /// Post-copy migration goes on elsewhere.
        Postcopy = 7,
        /// Post-copy migration failed.
        PostcopyFailed = 8,
    }
}

wire_enum! {
    /// Why it goes on.
    Resumed {
        /// Someone asked for it.
        Unpaused = 0,
        /// A migration ended.
        Migrated = 1,
        /// A snapshot was reverted to.
        FromSnapshot = 2,
        /// Runs in post-copy.
        Postcopy = 3,
        /// Post-copy failed.
        PostcopyFailed = 4,
    }
}

wire_enum! {
    /// How it came to be off.
    Stopped {
        /// The guest shut down in order.
        Shutdown = 0,
        /// Destroyed through libvirt.
        Destroyed = 1,
        /// The guest crashed and its policy is to stop then.
        Crashed = 2,
        /// Runs on another host now.
        Migrated = 3,
        /// Saved to a file.
        Saved = 4,
        /// QEMU went away or failed to start.
        Failed = 5,
        /// A snapshot of a domain that was off was reverted to.
        FromSnapshot = 6,
    }
}

wire_enum! {
    /// Who finished the guest's shutdown.
    Shutdown {
        /// Not told (an old QEMU).
        Finished = 0,
        /// Begun inside the guest, or by its reaction to the power button.
        Guest = 1,
        /// By a signal to QEMU on the host.
        Host = 2,
    }
}

wire_enum! {
    /// How the guest sleeps.
    PmSuspended {
        /// To memory.
        Memory = 0,
        /// To disk.
        Disk = 1,
    }
}

wire_enum! {
    /// How the guest crashed.
    Crashed {
        /// Its kernel panicked.
        Panicked = 0,
        /// Its kernel panicked and loaded a crash kernel.
        CrashLoaded = 1,
    }
}

/// How a stop came about, as far as the event alone tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopCause {
    /// The guest shut itself down, or someone asked it to, in order. Not a fault.
    ShutDown,
    /// Someone destroyed it through libvirt: a person, or ourselves.
    Destroyed,
    /// A fault: panic, or QEMU gone.
    Fault,
    /// It is not gone: it runs elsewhere, is saved, or a snapshot was reverted to.
    Elsewhere,
}

impl Stopped {
    /// How the stop came about. Before a stop by a signal to QEMU (`Destroyed`, or SIGTERM from outside libvirt, which
    /// looks like `Shutdown` here) comes a [`Lifecycle::Shutdown`] with the detail `Host`; before one that began in the
    /// guest, with the detail `Guest`.
    pub fn cause(self) -> StopCause {
        match self {
            Self::Shutdown => StopCause::ShutDown,
            Self::Destroyed => StopCause::Destroyed,
            Self::Crashed | Self::Failed | Self::Unknown(_) => StopCause::Fault,
            Self::Migrated | Self::Saved | Self::FromSnapshot => StopCause::Elsewhere,
        }
    }
}
