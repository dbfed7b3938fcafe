//! From libvirt's states and events to the model's: the place where a crash is told from a person's stop.

use mainstay_libvirt::{
    Connection, DomainEvent, DomainRef, Lifecycle, Uuid,
    domain::inventory::DiskError,
    domain::state::{DomainState as Native, Off, Paused},
    lifecycle::{Shutdown, Stopped, Suspended},
};
use mainstay_model::{DomainChange, DomainState, OffReason, PauseReason};
use std::{collections::BTreeMap, time::Duration};

/// The model's state of libvirt's.
pub(crate) fn state(native: Native) -> DomainState {
    match native {
        Native::Running(_) | Native::Blocked(_) | Native::ShuttingDown(_) => DomainState::Running,
        Native::Paused(reason) => DomainState::Paused(match reason {
            Paused::User => PauseReason::Person,
            Paused::IoError => PauseReason::IoError,
            Paused::Watchdog => PauseReason::Watchdog,
            Paused::Crashed => return DomainState::Panicked,
            Paused::Migration
            | Paused::Save
            | Paused::Dump
            | Paused::Snapshot
            | Paused::StartingUp
            | Paused::ShuttingDown
            | Paused::Postcopy => PauseReason::Busy,
            Paused::Unspecified | Paused::FromSnapshot | Paused::PostcopyFailed | Paused::Unknown(_) => {
                PauseReason::Other
            }
        }),
        Native::PmSuspended(_) => DomainState::Paused(PauseReason::Asleep),
        Native::Crashed(_) => DomainState::Panicked,
        Native::Off(reason) => DomainState::Off(match reason {
            Off::Shutdown => OffReason::Shutdown,
            Off::Destroyed => OffReason::Destroyed,
            Off::Migrated => OffReason::Migrated,
            Off::Saved => OffReason::Saved,
            // QEMU died (or its guest panicked: only the event tells), did not come up, or was found gone when libvirtd came back.
            Off::Crashed | Off::Failed | Off::Daemon => OffReason::Crashed,
            Off::Unspecified | Off::FromSnapshot | Off::Unknown(_) => OffReason::Unknown,
        }),
        // What libvirt can't tell may run.
        Native::NoState(_) | Native::Unknown(..) => DomainState::Paused(PauseReason::Other),
    }
}

/// The state of a domain, with one more question where a disk may be the reason of a pause: which error it was. libvirt does
/// not always know that a disk is the reason: QEMU 10 reports at most one I/O error a second, so a disk that fails again right
/// after a resume leaves a pause without a reason.
pub(crate) async fn explained(
    connection: &Connection,
    domain: &DomainRef,
    native: Native,
    limit: Duration,
) -> DomainState {
    if matches!(native, Native::Paused(Paused::Unspecified | Paused::IoError)) {
        match connection.disk_errors(domain, limit).await {
            // A disk that fails in another way would pause it again, whatever room there is.
            Ok(disks) if !disks.is_empty() && disks.iter().all(|(_, error)| *error == DiskError::NoSpace) => {
                return DomainState::Paused(PauseReason::NoSpace);
            }
            Ok(disks) if !disks.is_empty() => return DomainState::Paused(PauseReason::IoError),
            Ok(_) => {}
            Err(error) => tracing::debug!(%domain, %error, "its disks could not be asked for errors"),
        }
    }
    state(native)
}

/// What an event means, or what must be asked to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// This.
    Change(DomainChange),
    /// Its state must be asked: libvirt calls a pause for a snapshot and a pause by a person the same.
    Ask,
    /// Nothing for the engine.
    Nothing,
}

/// Remembers what single events do not tell: who began a shutdown, and whether the guest panicked before it stopped.
#[derive(Debug, Default)]
pub(crate) struct Interpreter {
    last: BTreeMap<Uuid, Before>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    EndedBySignal,
    Panicked,
}

impl Interpreter {
    /// What an event of a domain means.
    pub fn meaning(&mut self, uuid: Uuid, event: &DomainEvent) -> Meaning {
        let lifecycle = match event {
            DomainEvent::Lifecycle(lifecycle) => *lifecycle,
            DomainEvent::Reboot => return Meaning::Change(DomainChange::Rebooted),
            DomainEvent::Watchdog(_) => return Meaning::Change(DomainChange::Watchdog),
            _ => return Meaning::Nothing,
        };
        let before = self.last.remove(&uuid);
        let state = match lifecycle {
            Lifecycle::Defined(_) => return Meaning::Change(DomainChange::Defined),
            Lifecycle::Undefined(_) => return Meaning::Change(DomainChange::Undefined),
            Lifecycle::Shutdown(Shutdown::Host) => {
                self.last.insert(uuid, Before::EndedBySignal);
                return Meaning::Nothing;
            }
            Lifecycle::Shutdown(_) => return Meaning::Nothing,
            Lifecycle::Crashed(_) => {
                self.last.insert(uuid, Before::Panicked);
                DomainState::Panicked
            }
            Lifecycle::Started(_) | Lifecycle::Resumed(_) => DomainState::Running,
            Lifecycle::Suspended(reason) => match reason {
                // The disk is asked which error it was: a full one is not brought back by a restart.
                Suspended::IoError => return Meaning::Ask,
                Suspended::Watchdog => DomainState::Paused(PauseReason::Watchdog),
                Suspended::Migrated | Suspended::Postcopy => DomainState::Paused(PauseReason::Busy),
                _ => return Meaning::Ask,
            },
            Lifecycle::PmSuspended(_) => DomainState::Paused(PauseReason::Asleep),
            Lifecycle::Stopped(reason) => DomainState::Off(match (reason, before) {
                (Stopped::Crashed, _) | (_, Some(Before::Panicked)) => OffReason::Panicked,
                (Stopped::Shutdown, Some(Before::EndedBySignal)) => OffReason::Signalled,
                (Stopped::Shutdown, None) => OffReason::Shutdown,
                (Stopped::Destroyed, _) => OffReason::Destroyed,
                (Stopped::Failed, _) => OffReason::Crashed,
                (Stopped::Migrated, _) => OffReason::Migrated,
                (Stopped::Saved, _) => OffReason::Saved,
                (Stopped::FromSnapshot | Stopped::Unknown(_), _) => OffReason::Unknown,
            }),
            Lifecycle::Unknown(..) => return Meaning::Ask,
        };
        Meaning::Change(DomainChange::State(state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(events: &[Lifecycle]) -> Meaning {
        let mut interpreter = Interpreter::default();
        let meanings = events.iter().map(|event| interpreter.meaning(Uuid([1; 16]), &DomainEvent::Lifecycle(*event)));
        meanings.last().unwrap()
    }

    fn off(reason: OffReason) -> Meaning {
        Meaning::Change(DomainChange::State(DomainState::Off(reason)))
    }

    #[test]
    fn each_way_to_stop_is_told_apart() {
        use Lifecycle as L;
        assert_eq!(after(&[L::new(5, 5)]), off(OffReason::Crashed), "qemu killed");
        assert_eq!(after(&[L::new(6, 2), L::new(5, 0)]), off(OffReason::Signalled), "qemu got a SIGTERM");
        assert_eq!(after(&[L::new(6, 1), L::new(5, 0)]), off(OffReason::Shutdown), "shut down inside");
        assert_eq!(after(&[L::new(5, 1)]), off(OffReason::Destroyed), "virsh destroy");
        assert_eq!(after(&[L::new(8, 0), L::new(5, 2)]), off(OffReason::Panicked), "guest panicked");
        assert_eq!(after(&[L::new(8, 0), L::new(5, 1)]), off(OffReason::Panicked), "panicked, libvirt destroyed it");
        assert_eq!(after(&[L::new(5, 3)]), off(OffReason::Migrated), "live migration");
    }

    #[test]
    fn a_signal_long_ago_does_not_explain_a_later_stop() {
        use Lifecycle as L;
        let story = [L::new(6, 2), L::new(5, 0), L::new(2, 0), L::new(6, 1), L::new(5, 0)];
        assert_eq!(after(&story), off(OffReason::Shutdown));
    }

    #[test]
    fn a_plain_pause_is_asked_about() {
        assert_eq!(after(&[Lifecycle::new(3, 0)]), Meaning::Ask);
        assert_eq!(after(&[Lifecycle::new(3, 2)]), Meaning::Ask, "which I/O error it was");
        let asleep = Meaning::Change(DomainChange::State(DomainState::Paused(PauseReason::Asleep)));
        assert_eq!(after(&[Lifecycle::new(7, 0)]), asleep);
    }
}
