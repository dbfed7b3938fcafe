//! How long fencing may take: the driver waits by these numbers, and the engine's deadlines leave room for all of them. An order
//! whose deadline is shorter than the driver's own patience would end while its device still works, and prove nothing.

use super::FenceDevice;
use crate::Span;

/// Between two looks at the power state; BMCs answer slowly and dislike haste.
pub const POLL_PAUSE: Span = Span::millis(250);
/// Before an order is given again.
pub const RETRY_PAUSE: Span = Span::secs(1);
/// The look before the first order only spares that order: it gets this part of the time for a call, so that a device that
/// hangs does not hold up the order by much.
pub const FIRST_LOOK: u32 = 4;
/// For an agent to describe itself: that needs no device, only an interpreter's start on a busy machine.
pub const METADATA_WITHIN: Span = Span::secs(20);
/// Between SIGTERM and SIGKILL for an agent that did not end in time.
pub const TERM_GRACE: Span = Span::millis(500);
/// For the kernel to reap it after SIGKILL.
pub const KILL_GRACE: Span = Span::secs(1);

/// The waits of one fence device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FenceWaits {
    /// Bound for one call of the agent.
    pub timeout: Span,
    /// For the power state to follow an order.
    pub verify_within: Span,
    /// How often an order that had no effect is given again.
    pub retries: u32,
    /// Before a device that said off is asked again; zero: it is not.
    pub settle: Span,
    /// Before the first order of `off`.
    pub delay: Span,
}

impl FenceWaits {
    /// The longest that it takes to switch a host off, and to see that it is.
    pub fn off(&self) -> Span {
        let order = RETRY_PAUSE + call(self.timeout);
        let attempt = order + self.verify_within + POLL_PAUSE + call(self.timeout) + self.second_look();
        self.delay + call(METADATA_WITHIN) + self.first_look() + attempt.times(u64::from(self.retries) + 1)
    }

    fn first_look(&self) -> Span {
        call(Span(self.timeout.0 / u64::from(FIRST_LOOK))) + self.second_look()
    }

    /// After the settling time.
    fn second_look(&self) -> Span {
        if self.settle == Span::ZERO { Span::ZERO } else { self.settle + call(self.timeout) }
    }
}

impl FenceDevice {
    /// Its waits.
    pub fn waits(&self) -> FenceWaits {
        FenceWaits {
            timeout: self.timeout,
            verify_within: self.verify_within,
            retries: self.retries,
            settle: self.settle,
            delay: self.delay,
        }
    }
}

/// A call with this bound, until all that it started has ended.
fn call(bound: Span) -> Span {
    bound + TERM_GRACE + KILL_GRACE
}
