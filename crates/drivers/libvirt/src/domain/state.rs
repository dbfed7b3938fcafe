//! A domain's state and the reason for it (`virDomainState` and its reason enums).

use crate::numbers::{detailed_enum, wire_enum};

detailed_enum! {
    /// What a domain does, and why.
    DomainState {
        /// Not known.
        NoState(NoReason) = 0,
        /// Runs.
        Running(Running) = 1,
        /// Blocked on a resource (Xen).
        Blocked(NoReason) = 2,
        /// Paused.
        Paused(Paused) = 3,
        /// Shutting down.
        ShuttingDown(NoReason) = 4,
        /// Off.
        Off(Off) = 5,
        /// Crashed, its memory kept for inspection (`<on_crash>preserve</on_crash>`).
        Crashed(CrashReason) = 6,
        /// Asleep by its own power management.
        PmSuspended(NoReason) = 7,
    }
}

impl DomainState {
    /// True if a QEMU process holds its disks: it runs, is paused, or lies crashed in memory.
    pub fn is_active(self) -> bool {
        !matches!(self, Self::Off(_) | Self::NoState(_))
    }
}

wire_enum! {
    /// A reason that says nothing.
    NoReason {
        /// Nothing.
        None = 0,
    }
}

wire_enum! {
    /// Why it runs.
    Running {
        /// Not told.
        Unspecified = 0,
        /// Booted.
        Booted = 1,
        /// Came from another host.
        Migrated = 2,
        /// From a saved state.
        Restored = 3,
        /// From a snapshot.
        FromSnapshot = 4,
        /// Resumed.
        Unpaused = 5,
        /// A migration away was given up.
        MigrationCanceled = 6,
        /// A save was given up.
        SaveCanceled = 7,
        /// Woke up.
        Wakeup = 8,
        /// Goes on after a crash.
        Crashed = 9,
        /// In post-copy migration.
        Postcopy = 10,
        /// In post-copy migration that failed.
        PostcopyFailed = 11,
    }
}

wire_enum! {
    /// Why it is paused.
    Paused {
        /// Not told.
        Unspecified = 0,
        /// Someone asked for it.
        User = 1,
        /// Being migrated.
        Migration = 2,
        /// Being saved.
        Save = 3,
        /// Being dumped.
        Dump = 4,
        /// A disk failed.
        IoError = 5,
        /// Its watchdog fired.
        Watchdog = 6,
        /// From a snapshot of a paused domain.
        FromSnapshot = 7,
        /// Being shut down.
        ShuttingDown = 8,
        /// A snapshot is being taken.
        Snapshot = 9,
        /// The guest panicked.
        Crashed = 10,
        /// Being started.
        StartingUp = 11,
        /// In post-copy migration.
        Postcopy = 12,
        /// In post-copy migration that failed.
        PostcopyFailed = 13,
    }
}

wire_enum! {
    /// Why it is off.
    Off {
        /// Not told: never ran since libvirtd started.
        Unspecified = 0,
        /// The guest shut down in order.
        Shutdown = 1,
        /// Destroyed through libvirt.
        Destroyed = 2,
        /// Crashed.
        Crashed = 3,
        /// Runs on another host.
        Migrated = 4,
        /// Saved to a file.
        Saved = 5,
        /// Failed to start.
        Failed = 6,
        /// A snapshot of a domain that was off was reverted to.
        FromSnapshot = 7,
        /// QEMU was found gone when libvirtd started.
        Daemon = 8,
    }
}

wire_enum! {
    /// How it crashed.
    CrashReason {
        /// Not told.
        Unspecified = 0,
        /// The guest's kernel panicked.
        Panicked = 1,
    }
}
