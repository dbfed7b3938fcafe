//! From libvirt's errors to outcomes: what was surely not done, and what can't be known.

use crate::pump::with_causes;
use mainstay_libvirt::{Error, ErrorCode};
use mainstay_model::{FailureKind, Outcome};

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
}
