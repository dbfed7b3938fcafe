//! Dying at a chosen moment, as by SIGKILL, to rehearse what a crash between two steps of the journal leaves behind; or standing
//! still there, as by SIGSTOP, to rehearse what another controller finds that takes over. Only whoever starts a controller from
//! code can ask for it ([`Options::die_at`](crate::Options)): no configuration and no command line does.
//!
//! ```text
//!   decided ─ BeforePersist ─▶ on record ─ AfterPersist ─▶ leaves ─ AfterLeaving ─▶ done ─ BeforeOutcome ─▶ outcome on record
//! ```

use mainstay_model::{Action, Order};
use rustix::process::{Signal, getpid, kill_process};

/// Between which two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It was decided, and is not on record.
    BeforePersist,
    /// It is on record, and no order of its step has left.
    AfterPersist,
    /// It has left; those behind it in the same step have not.
    AfterLeaving,
    /// It came to its end, and that is not on record.
    BeforeOutcome,
}

/// When to die: at this moment of the first order whose text begins so (`fence h1`, `migrate`).
#[derive(Clone, Debug)]
pub struct DieAt {
    /// The moment.
    pub moment: Moment,
    /// How the order's action begins.
    pub action: String,
    /// It stands still instead, until it is woken by SIGCONT.
    pub only_stand_still: bool,
}

/// Dies if that is due.
pub(crate) fn maybe_die(die_at: Option<&DieAt>, moment: Moment, action: &Action) {
    let due = |at: &DieAt| at.moment == moment && action.to_string().starts_with(&at.action);
    if let Some(at) = die_at.filter(|at| due(at)) {
        let signal = if at.only_stand_still { Signal::STOP } else { Signal::KILL };
        tracing::error!(?moment, %action, ?signal, "ending, as was asked for");
        // It can't fail for the process itself, and nothing after it is reached until it is woken.
        let _ = kill_process(getpid(), signal);
    }
}

/// [`maybe_die`] for any order of a step.
pub(crate) fn maybe_die_of(die_at: Option<&DieAt>, moment: Moment, orders: &[Order]) {
    orders.iter().for_each(|order| maybe_die(die_at, moment, &order.action));
}
