//! From libvirt's errors to outcomes: what was surely not done, what can't be known, and what a failure proves.

use super::task::Task;
use crate::pump::with_causes;
use mainstay_libvirt::{DomainRef, Error, ErrorCode};
use mainstay_model::{DomainState, Failure, FailureKind, Outcome, Proof};

/// Of a call that only asks: whatever went wrong, nothing was done.
pub(super) fn before(error: Error) -> Outcome {
    match kind(&error) {
        None => Outcome::failed(FailureKind::Unreachable, with_causes(&error)),
        Some(kind) => Outcome::failed(kind, with_causes(&error)),
    }
}

/// Of a call that does something: without an answer it may have been done.
pub(super) fn during(error: Error) -> Outcome {
    match kind(&error) {
        None => Outcome::unknown(with_causes(&error)),
        Some(kind) => Outcome::failed(kind, with_causes(&error)),
    }
}

/// Of a call that was to start the domain: as [`during`], and if libvirt refused it, with what the domain does now. libvirt works
/// on one job of a domain at a time; a call that waited in vain for another one's lock proves nothing.
pub(super) async fn of_start(task: &Task<'_>, domain: &DomainRef, error: Error) -> Outcome {
    let waited = waited_for_lock(&error);
    match during(error) {
        Outcome::Failed { error } if !waited => {
            let proves = proof(task.state(domain).await.ok());
            Outcome::Failed { error: Failure { proves, ..error } }
        }
        outcome => outcome,
    }
}

/// What a failed start proves, by what the domain does after it; `None`: that is not known.
pub(super) fn proof(state: Option<DomainState>) -> Proof {
    match state {
        None => Proof::Nothing,
        Some(state) if state.is_live() => Proof::There,
        Some(_) => Proof::Off,
    }
}

/// True if another job held the domain for all the time that libvirt waits for it (30 s), or holds it and libvirt does not
/// wait: "cannot acquire state change lock".
fn waited_for_lock(error: &Error) -> bool {
    matches!(error, Error::Libvirt { code, .. } if is_of_lock(*code))
}

fn is_of_lock(code: ErrorCode) -> bool {
    code == ErrorCode::OPERATION_TIMEOUT || code == ErrorCode::RESOURCE_BUSY
}

/// `None`: no answer came.
fn kind(error: &Error) -> Option<FailureKind> {
    if error.outcome_unknown() {
        return None;
    }
    Some(match error {
        Error::Uri { .. } | Error::Unasked { .. } | Error::Connect { .. } | Error::Auth { .. } | Error::Busy { .. } => {
            FailureKind::Unreachable
        }
        Error::Libvirt { code, message, .. } => told(*code, message),
        Error::Xml { .. } | Error::Unfit { .. } => FailureKind::Refused,
        _ => FailureKind::Other,
    })
}

/// What libvirt told. QEMU's own reasons reach us only as text.
fn told(code: ErrorCode, message: &str) -> FailureKind {
    let says = |phrase: &str| message.contains(phrase);
    // QEMU 10: `Failed to get "write" lock … Is another process using the image`.
    if says("Failed to get \"write\" lock")
        || says("Failed to get shared \"write\" lock")
        || says("another process using the image")
    {
        return FailureKind::DiskLocked;
    }
    if says("annot allocate memory") || says("cannot set up guest memory") || says("No space left") {
        return FailureKind::NoRoom;
    }
    match code {
        ErrorCode::NO_DOMAIN | ErrorCode::NO_DOMAIN_SNAPSHOT => FailureKind::NotThere,
        ErrorCode::NO_MEMORY => FailureKind::NoRoom,
        ErrorCode::NO_SUPPORT
        | ErrorCode::XML_ERROR
        | ErrorCode::XML_INVALID_SCHEMA
        | ErrorCode::CONFIG_UNSUPPORTED
        | ErrorCode::ARGUMENT_UNSUPPORTED
        | ErrorCode::OPERATION_UNSUPPORTED
        | ErrorCode::OPERATION_DENIED
        | ErrorCode::ACCESS_DENIED
        | ErrorCode::CPU_INCOMPATIBLE => FailureKind::Refused,
        _ => FailureKind::Other,
    }
}

/// True if libvirt says that the domain is not (or already) in the state asked for.
pub(super) fn is_state_conflict(error: &Error) -> bool {
    error.is(ErrorCode::OPERATION_INVALID)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_model::{OffReason, PauseReason};

    #[test]
    fn a_locked_disk_and_full_memory_are_told_from_other_failures() {
        let locked = "internal error: process exited while connecting to monitor: qemu-system-x86_64: -blockdev \
            {}: Failed to get \"write\" lock\nIs another process using the image [/srv/web-1.qcow2]?";
        assert_eq!(told(ErrorCode::INTERNAL_ERROR, locked), FailureKind::DiskLocked);
        let memory = "internal error: qemu unexpectedly closed the monitor: cannot set up guest memory 'pc.ram': Cannot allocate memory";
        assert_eq!(told(ErrorCode::INTERNAL_ERROR, memory), FailureKind::NoRoom);
        assert_eq!(told(ErrorCode::INTERNAL_ERROR, "kaputt"), FailureKind::Other);
        assert_eq!(told(ErrorCode::NO_DOMAIN, "Domain not found"), FailureKind::NotThere);
    }

    #[test]
    fn a_failed_start_proves_what_the_domain_does_after_it() {
        assert_eq!(proof(None), Proof::Nothing);
        assert_eq!(proof(Some(DomainState::Off(OffReason::Unknown))), Proof::Off);
        assert_eq!(proof(Some(DomainState::Paused(PauseReason::IoError))), Proof::There);
    }

    #[test]
    fn a_lock_of_another_job_is_told_from_a_refusal() {
        // libvirt 11: `Timed out during operation: cannot acquire state change lock (held by monitor=…)`.
        assert!(is_of_lock(ErrorCode::OPERATION_TIMEOUT));
        assert!(!is_of_lock(ErrorCode::OPERATION_INVALID) && !is_of_lock(ErrorCode::INTERNAL_ERROR));
    }
}
