//! Sabotage: the controller that ships, with one of its duties taken from it, to show that the checker bites. Nothing in the
//! engine is changed: its inputs or its outputs are falsified, or what should refuse its output takes it. The checker sees the
//! true ones.

mod leader;
mod lies;

pub(crate) use leader::Sabotaged;

use crate::{check::Rule, fuzz::Profile};
use serde::{Serialize, Serializer};
use std::fmt;

/// Declares every sabotage: its name, and the rule by which it has to be found.
macro_rules! sabotages {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $rule:ident;)+) => {
        /// A way of being wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Sabotage { $($(#[$doc])* $variant),+ }

        impl Sabotage {
            /// Every one.
            pub const ALL: &[Sabotage] = &[$(Sabotage::$variant),+];

            /// The rule that it breaks, and by which it has to be found.
            pub fn breaks(self) -> Rule {
                match self { $(Sabotage::$variant => Rule::$rule),+ }
            }

            fn name(self) -> &'static str {
                match self { $(Sabotage::$variant => $name),+ }
            }
        }
    };
}

sabotages! {
    /// No fence order leaves; the engine hears that each was done.
    FencingSkipped = "fencing-skipped", ProofBeforeStart;
    /// What a controller had decided leaves and is carried out, though its term is over.
    StaleEpoch = "stale-epoch", OneEpoch;
    /// The memory takes what a controller writes whose term is over.
    StaleJournal = "stale-journal", OneEpoch;
    /// A new term goes on under the number of the one before.
    ReusedEpoch = "reused-epoch", OneEpoch;
    /// An unknown outcome counts as done.
    UnknownIsDone = "unknown-is-done", ProofBeforeStart;
    /// The engine does not hear that a VM panicked, is paused or silent, and goes on taking recovery points of it.
    SickPoint = "sick-point", LastGoodPoint;
    /// When one good recovery point is left, that is the one which is deleted.
    LastPointDeleted = "last-point-deleted", LastGoodPoint;
    /// Every host seems to have room for everything.
    CapacityIgnored = "capacity-ignored", Room;
    /// Orders reach the journal after they left.
    JournalAfter = "journal-after", DurableIntent;
    /// A person's stop counts as a crash.
    StopForgotten = "stop-forgotten", PersonsStop;
    /// A memory that was put back counts as the newest.
    PutBackUnnoticed = "put-back-unnoticed", ProofBeforeStart;

    /// A start without an answer counts as failed at its deadline, if its host lists nothing that runs.
    HangingStartForgotten = "hanging-start-forgotten", ProofBeforeStart;
    /// An event that says off counts as a list that says so.
    EventIsEnough = "event-is-enough", ProofBeforeStart;
    /// A host's last list from before it was proved off counts as one from after.
    LateListCounts = "late-list-counts", Liveness;
    /// An unknown outcome is read from the list that the host gave before.
    StaleListSettles = "stale-list-settles", ProofBeforeStart;
    /// A start of unknown outcome counts as failed with the next list that lacks it, however long it may still happen.
    EarlyListSettles = "early-list-settles", ProofBeforeStart;
    /// A migration of unknown outcome counts as one that was never sent.
    LostTargetForgotten = "lost-target-forgotten", ProofBeforeStart;
    /// A call that did not reach its host, or a start that lost its connection, counts as one that the host answered with a failure.
    UnreachableSettles = "unreachable-settles", ProofBeforeStart;
    /// A recovery point that failed, or whose outcome is unknown, counts as taken.
    FailedPointIsGood = "failed-point-is-good", LastGoodPoint;
    /// Every recovery point on record seems to be there.
    PointNeverMissed = "point-never-missed", LastGoodPoint;
    /// No order to switch autostart off leaves; the engine hears that each was done.
    AutostartLeftOn = "autostart-left-on", NeverTwice;
    /// However many hosts fall silent at once, the controller does not count as cut off.
    CutOffNeverJudged = "cut-off-never-judged", WellLeftAlone;
    /// A host whose hypervisor does not answer seems to answer nothing, and its guests too.
    LibvirtdIsTheHost = "libvirtd-is-the-host", WellLeftAlone;
    /// Guests seem to write and send nothing.
    WritersAreKilled = "writers-are-killed", WellLeftAlone;
    /// Every start goes back to the last good recovery point, if there is one.
    EveryRecoveryReverts = "every-recovery-reverts", WorkKept;

    /// A fence device that can't tell seems to say off.
    UnknownPowerIsOff = "unknown-power-is-off", ProofBeforeStart;
    /// A stop that failed counts as done.
    FailedStopIsOff = "failed-stop-is-off", ProofBeforeStart;
    /// A VM that is held seems to be off.
    HeldIsOff = "held-is-off", ProofBeforeStart;
    /// A new term does not remember what was under way.
    OrdersForgotten = "orders-forgotten", ProofBeforeStart;
    /// A new term does not remember that a person stopped a VM.
    StopLostWithTheTerm = "stop-lost-with-the-term", PersonsStop;
    /// An operator's word to leave a VM alone is accepted and not kept.
    UnprotectIgnored = "unprotect-ignored", PersonsStop;
    /// A person's recovery point goes when retention deletes one.
    PersonsPointDeleted = "persons-point-deleted", LastGoodPoint;
    /// The engine does not hear one host any more.
    DeafToOneHost = "deaf-to-one-host", WellLeftAlone;
    /// Every stop is by force.
    StopsByForce = "stops-by-force", WellLeftAlone;
    /// A revert goes to the oldest good recovery point.
    OldestPointReverted = "oldest-point-reverted", WorkKept;
    /// What a revert set aside is neither heard with its outcome nor seen in a list.
    SetAsideForgotten = "set-aside-forgotten", WorkKept;
    /// When the ladder is used up it begins anew, without a person.
    LadderNeverEnds = "ladder-never-ends", Bounded;
    /// Every minute a VM that runs well is moved.
    Restless = "restless", Bounded;
    /// Once, VMs that run well are moved, and nothing asked for that.
    MovedUnasked = "moved-unasked", Bounded;
    /// No attempt to bring a VM back is remembered.
    AttemptsNeverCounted = "attempts-never-counted", Bounded;
    /// An incident's downtime begins when the trouble was found out.
    DowntimeFromDetection = "downtime-from-detection", Figures;
    /// A host that fell silent once is never heard again.
    HostNeverTakenBack = "host-never-taken-back", Liveness;
}

impl Sabotage {
    /// The profile whose seeds find it: some need answers that are lost while much goes wrong.
    pub fn profile(self) -> &'static Profile {
        let name = match self {
            Sabotage::HangingStartForgotten
            | Sabotage::EarlyListSettles
            | Sabotage::LostTargetForgotten
            | Sabotage::UnreachableSettles
            | Sabotage::OrdersForgotten
            | Sabotage::StopLostWithTheTerm => "storm",
            Sabotage::PersonsPointDeleted => "people",
            Sabotage::LadderNeverEnds => "storage",
            _ => return Default::default(),
        };
        Profile::named(name).unwrap_or_default()
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Sabotage> {
        Sabotage::ALL.iter().copied().find(|sabotage| sabotage.name() == name)
    }
}

impl Serialize for Sabotage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl fmt::Display for Sabotage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
