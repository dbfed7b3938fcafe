//! Rule 3: what a person stopped, and since when the controller can know it.
//!
//! A host's word `destroyed` or `shut down` looks the same whether a person did it or a stop of the controller's own before
//! a start whose outcome is in doubt. It counts as told if nothing was in doubt, or if the host said otherwise before.

use super::told::Boot;
use mainstay_model::{Action, DomainState, HostId, OffReason, Order, PauseReason, Span, StopHow, Time, WorkloadId};
use std::collections::{BTreeMap, BTreeSet};

/// A stop that hangs (on storage, in its host) may be carried out much later; the controller counts on it this long.
const LOOKS_LIKE_A_PERSONS_AFTER: Span = Span::secs(90);
/// A stop takes up to ten seconds, and its word may come five seconds after it is done.
const WORD_COMES_WITHIN: Span = Span::secs(15);

/// Stops by persons.
#[derive(Clone, Debug, Default)]
pub(super) struct Stops {
    /// That truly happened, and nobody started it since.
    true_since: BTreeMap<WorkloadId, Time>,
    /// That the controller knows of.
    told: BTreeMap<WorkloadId, Time>,
    /// By a command of the controller's own: no policy powers these on again.
    commanded: BTreeSet<WorkloadId>,
    /// By such a command, and no person has asked for a start since: also if its host started it alone meanwhile (libvirt-guests
    /// after a reboot), the operator is obeyed (scenario 354).
    commanded_last: BTreeSet<WorkloadId>,
    /// In question after the memory was put back, and an operator asked for a start: what was said of it before is no stop.
    may_start: BTreeSet<WorkloadId>,
    /// In doubt when the controller began, which does not remember what hosts said before: a person's stop after an order in
    /// doubt looks like one from before it, until it is seen to run.
    in_doubt_since_begin: BTreeSet<WorkloadId>,
    /// The last word of each host on each workload, and when it said so last.
    words: BTreeMap<WorkloadId, BTreeMap<HostId, (DomainState, Time)>>,
    /// The last stop of the controller's own since the workload was started last, and the word that it leaves.
    own: BTreeMap<WorkloadId, (Time, OffReason)>,
    /// The same, of the run before this one.
    own_before: BTreeMap<WorkloadId, (Time, OffReason)>,
    /// Asked by the controller to shut down since it was started last: by force leaves another word than its host's shutdown does.
    own_shutdown: BTreeSet<WorkloadId>,
    /// Stopped by a person when an operator asked for a revert, which starts it: if that is given up before it was started, it
    /// stays stopped as before.
    before_revert: BTreeMap<WorkloadId, BeforeRevert>,
    /// Workloads that an operator asked to revert, and that were not started since.
    revert_asked: BTreeSet<WorkloadId>,
    /// Likewise to restart.
    restart_asked: BTreeSet<WorkloadId>,
    /// Workloads that a stop of the controller's own ended long after it was ordered: by then it looks like a person's.
    ended_late: BTreeSet<WorkloadId>,
    /// Workloads that were destroyed while a stop of the controller's own was under way or just over, or shut down while it asked
    /// for that: a person who was faster leaves the same word (scenario 402). And those that shut down in the middle of a revert
    /// that an operator asked for: that one is carried on with, and starts them (scenario 403).
    ended_beside_own: BTreeSet<WorkloadId>,
    /// Stops of the controller's own that are on record as unknown, with the word that they leave: for a while each may still
    /// come, and looks like a person's.
    given_up: BTreeMap<(WorkloadId, OffReason), Time>,
    /// Shut down or saved since it was started last.
    ended_in_order: BTreeSet<WorkloadId>,
    /// Started by a person or by its host after a person's stop or its host's shutdown, and not by the controller since.
    started_by_others: BTreeSet<WorkloadId>,
    /// When others last started each on each host.
    began_by_others: BTreeMap<(WorkloadId, HostId), Time>,
    /// Where the last that was told is an end that others' run there may have come to at any time: the host had told nothing since that
    /// run began. Whether that was before the controller's own last start is not known (scenario 997).
    ended_some_time: BTreeSet<WorkloadId>,
    /// Of these, what an operator had stopped: that it crashed is no wish of anybody's, it may have crashed before the stop.
    after_command: BTreeSet<WorkloadId>,
    /// The last that the controller was told of it is such an end.
    told_ended: BTreeSet<WorkloadId>,
    /// Who told last of such an end, and when.
    ended_by: BTreeMap<WorkloadId, (HostId, Time)>,
    /// An operator asked to restart it when it had been shut down, and its host had not told of that: what comes first is not known.
    asked_unaware: BTreeSet<WorkloadId>,
    /// It was told of it as running, or as crashed, since others started it: be it a late report of before.
    told_ran: BTreeSet<WorkloadId>,
    /// Redefined by a person since it was started last, or since a person wanted it to run.
    redefined: BTreeMap<WorkloadId, Time>,
    /// A person stopped one of two there, and the other ran on, as far as the controller could know (scenario 947).
    one_of_two: BTreeSet<WorkloadId>,
    /// When the controller last fell asleep, and when it wakes up.
    slept: Option<(Time, Time)>,
}

/// A word of a host may come so long after a later one.
const MAY_BE_OVERTAKEN: Span = Span::secs(5);
/// What waited for a controller that slept reaches it within this.
const TOLD_ON_WAKING: Span = Span::secs(1);

/// A host's word on a workload.
#[derive(Clone, Copy)]
pub(super) struct Said<'a> {
    pub host: &'a HostId,
    pub state: DomainState,
    /// An order about it has no certain outcome.
    pub in_doubt: bool,
    /// The host was proved off, and has not listed its workloads since: it may be of before.
    pub of_before: bool,
    pub boot: Boot,
    /// Where the controller has it on record as running, maybe.
    pub on_record: Option<&'a BTreeSet<HostId>>,
}

/// What was known of a stop.
#[derive(Clone, Debug)]
struct BeforeRevert {
    true_since: Option<Time>,
    told: Option<Time>,
    commanded: bool,
    commanded_last: bool,
    /// Others had started it since, and the controller was not told.
    believed: bool,
}

impl Stops {
    /// A person truly stopped it.
    pub fn happened(&mut self, workload: &WorkloadId, now: Time) {
        self.true_since.insert(workload.clone(), now);
        self.may_start.remove(workload);
    }

    /// The controller sleeps.
    pub fn controller_sleeps(&mut self, now: Time, until: Time) {
        self.slept = Some((now, until));
    }

    /// The earliest time of which a word may be that the controller is told now: what waited while it slept may be of any time since it
    /// fell asleep.
    fn may_be_of(&self, now: Time) -> Time {
        match self.slept {
            Some((from, until)) if now >= until && now.since(until) <= TOLD_ON_WAKING => from,
            _ => now,
        }
    }

    /// A controller begins.
    pub fn controller_begins(&mut self, in_doubt: impl Fn(&WorkloadId) -> bool) {
        let untold = self.true_since.keys().filter(|workload| !self.told.contains_key(*workload));
        let in_doubt: Vec<_> = untold.filter(|workload| in_doubt(workload)).cloned().collect();
        self.in_doubt_since_begin.extend(in_doubt);
    }

    /// It runs again, or a person wants it to: what was not told by now is over.
    pub fn over(&mut self, workload: &WorkloadId) {
        self.true_since.remove(workload);
        self.told.remove(workload);
        self.commanded.remove(workload);
        self.may_start.remove(workload);
        self.in_doubt_since_begin.remove(workload);
        self.redefined.remove(workload);
    }

    /// An operator asked for a revert of it.
    pub fn reverting(&mut self, workload: &WorkloadId) {
        let before = BeforeRevert {
            true_since: self.true_since.get(workload).copied(),
            told: self.told.get(workload).copied(),
            commanded: self.commanded.contains(workload),
            commanded_last: self.commanded_last.contains(workload),
            believed: self.is_believed_stopped(workload),
        };
        if before.told.is_some() || before.believed {
            self.before_revert.insert(workload.clone(), before);
        }
    }

    /// What an operator asked for is carried out or given up: it excuses nothing from now on.
    pub fn asked_is_over(&mut self, workload: &WorkloadId) {
        self.revert_asked.remove(workload);
        self.restart_asked.remove(workload);
    }

    /// The controller gave up what an operator asked for. If that was a revert of what was stopped, and nothing started it
    /// meanwhile, it is stopped as before: no operator asked to start it as it is.
    pub fn given_up_asked(&mut self, workload: &WorkloadId) {
        let Some(before) = self.before_revert.remove(workload) else { return };
        let keys = || workload.clone();
        self.true_since.extend(before.true_since.map(|at| (keys(), at)));
        self.told.extend(before.told.map(|at| (keys(), at)));
        self.commanded.extend(before.commanded.then(keys));
        self.commanded_last.extend(before.commanded_last.then(keys));
        self.started_by_others.extend(before.believed.then(keys)); // (scenario 907)
    }

    /// The controller may start it, though it need not.
    pub fn may_start(&mut self, workload: &WorkloadId) {
        self.may_start.insert(workload.clone());
        self.told.remove(workload);
        self.commanded.remove(workload);
    }

    /// A person took its definition to another host while it was off.
    pub fn redefined(&mut self, workload: &WorkloadId, now: Time) {
        self.redefined.insert(workload.clone(), now);
    }

    /// When a person did so, if nothing was started since.
    pub fn redefined_at(&self, workload: &WorkloadId) -> Option<Time> {
        self.redefined.get(workload).copied()
    }

    /// It was started. If that was against a stop that the controller knew of, it was seen when the order left.
    pub fn started(&mut self, workload: &WorkloadId) {
        self.over(workload);
        match self.own.remove(workload) {
            Some(own) => _ = self.own_before.insert(workload.clone(), own),
            None => _ = self.own_before.remove(workload),
        }
        self.own_shutdown.remove(workload);
        self.before_revert.remove(workload);
        self.ended_late.remove(workload);
        self.ended_beside_own.remove(workload);
        self.one_of_two.remove(workload);
        self.ended_in_order.remove(workload);
        self.revert_asked.remove(workload);
        self.restart_asked.remove(workload);
        self.asked_unaware.remove(workload);
    }

    /// An operator asked to revert it.
    pub fn revert_asked(&mut self, workload: &WorkloadId) {
        self.revert_asked.insert(workload.clone());
    }

    /// The memory that knew of an operator's stop is gone, and the workload runs.
    pub fn forgotten(&mut self, workload: &WorkloadId) {
        if self.commanded.remove(workload) {
            self.told.remove(workload);
            self.commanded_last.remove(workload);
        }
    }

    /// It ended.
    pub fn ended(&mut self, workload: &WorkloadId, why: OffReason, now: Time) {
        let own = self.own.get(workload);
        if own.is_some_and(|(ordered, _)| now.since(*ordered) > LOOKS_LIKE_A_PERSONS_AFTER) {
            self.ended_late.insert(workload.clone());
        }
        let looks = |word: OffReason| why == word || why == OffReason::Destroyed;
        let same = own.is_some_and(|(at, word)| looks(*word) && now.since(*at) <= LOOKS_LIKE_A_PERSONS_AFTER);
        // Until the revert that an operator asked for is carried out, by this controller or the next (scenarios 403 and 805).
        let in_revert = why == OffReason::Shutdown && self.revert_asked.contains(workload);
        // Or the restart (scenario 808).
        let in_restart = why == OffReason::Shutdown && self.restart_asked.contains(workload);
        if same || in_revert || in_restart {
            self.ended_beside_own.insert(workload.clone());
        }
        if matches!(why, OffReason::Shutdown | OffReason::Saved) {
            self.ended_in_order.insert(workload.clone());
        }
    }

    /// A person starts it, or its host does by itself.
    pub fn started_by_others(&mut self, workload: &WorkloadId, host: &HostId, now: Time) {
        self.began_by_others.insert((workload.clone(), host.clone()), now);
        if self.wanted_off(workload) || self.went_with_its_host(workload) {
            self.started_by_others.insert(workload.clone());
            self.told_ran.remove(workload);
            if self.commanded.contains(workload) {
                self.after_command.insert(workload.clone());
            } else {
                self.after_command.remove(workload);
            }
        }
    }

    /// It went elsewhere: a shutdown that it was asked for on its host before is over (scenario 913).
    pub fn moved(&mut self, workload: &WorkloadId) {
        self.own_shutdown.remove(workload);
    }

    /// The controller starts it itself: what others did before is over.
    pub fn started_by_controller(&mut self, workload: &WorkloadId) {
        self.started_by_others.remove(workload);
        self.ended_some_time.remove(workload);
    }

    /// True if all that the controller was told is that a person stopped it, or what its host says of that when it shuts down.
    pub fn is_believed_stopped(&self, workload: &WorkloadId) -> bool {
        let told_no_more = self.told_ended.contains(workload) || !self.told_ran.contains(workload);
        self.started_by_others.contains(workload) && told_no_more || self.ended_some_time.contains(workload)
    }

    /// True if a stop of the controller's own came through when nobody could take it for that any more.
    pub fn ended_late(&self, workload: &WorkloadId) -> bool {
        self.ended_late.contains(workload)
    }

    /// True if it ended with its host's orderly shutdown, as far as anybody can tell: the host said of it what it says of a
    /// person's stop.
    pub fn went_with_its_host(&self, workload: &WorkloadId) -> bool {
        self.ended_in_order.contains(workload) && !self.own_shutdown.contains(workload)
    }

    /// An operator told the controller itself.
    pub fn commanded(&mut self, workload: &WorkloadId, now: Time) {
        self.told.insert(workload.clone(), now);
        self.commanded.insert(workload.clone());
        self.commanded_last.insert(workload.clone());
    }

    /// A person asked for a start, or made one.
    pub fn wanted(&mut self, workload: &WorkloadId) {
        self.commanded_last.remove(workload);
    }

    /// True if the last that a person asked for is that it stops.
    pub fn is_to_stay_off(&self, workload: &WorkloadId) -> bool {
        self.commanded_last.contains(workload)
    }

    /// When an operator asked to stop it, if that is the last that a person asked for.
    pub fn operators_word(&self, workload: &WorkloadId) -> Option<Time> {
        self.told.get(workload).copied().filter(|_| self.is_to_stay_off(workload))
    }

    /// True if an operator asked to stop it, and by all that the controller was told it still runs.
    pub fn is_being_stopped(&self, workload: &WorkloadId) -> bool {
        let runs = |words: &BTreeMap<HostId, (DomainState, Time)>| words.values().any(|(state, _)| state.is_live());
        self.commanded_last.contains(workload) && self.words.get(workload).is_some_and(runs)
    }

    /// True if an operator wants it off.
    pub fn commanded_off(&self, workload: &WorkloadId) -> bool {
        self.commanded.contains(workload)
    }

    /// The controller has it on record that it stops it, whether the order leaves or not (scenario 921). What was told in that very step may
    /// have come after that, for the controller (scenario 795).
    pub fn decided(&mut self, action: &Action, now: Time) {
        let Some((workload, word)) = word_of(action) else { return };
        let said = self.words.get(workload).and_then(|words| words.get(action.host())).copied();
        let at_once = said.is_some_and(|(state, at)| at == now && state == DomainState::Off(word));
        if at_once && self.told.get(workload) == Some(&now) {
            self.told.remove(workload);
            self.ended_beside_own.insert(workload.clone());
        }
    }

    /// The controller stops it itself: the host's next word is not a person's.
    pub fn ordered(&mut self, order: &Order, now: Time) {
        self.decided(&order.action, now);
        if let Some((workload, word)) = word_of(&order.action) {
            self.words.entry(workload.clone()).or_default().remove(order.action.host());
            self.own.insert(workload.clone(), (now, word));
            self.started_by_others.remove(workload);
        }
        if let Action::Stop { workload, how: StopHow::Graceful, .. } = &order.action {
            self.own_shutdown.insert(workload.clone());
        }
    }

    /// Its own stop never left, or failed: what ends with its host later is not its doing (scenarios 844 and 864).
    pub fn own_stop_failed(&mut self, workload: &WorkloadId) {
        self.own_shutdown.remove(workload);
    }

    /// An order is on record as unknown.
    pub fn given_up(&mut self, action: &Action, at: Time) {
        if let Some((workload, word)) = word_of(action) {
            self.given_up.insert((workload.clone(), word), at);
        }
    }

    /// An operator asks to restart it.
    pub fn restart_asked(&mut self, workload: &WorkloadId, now: Time) {
        self.restart_asked.insert(workload.clone());
        if self.true_since.contains_key(workload) && self.told.get(workload).is_none_or(|told| *told == now) {
            self.asked_unaware.insert(workload.clone());
        }
    }

    /// True if an operator asked to restart what had been shut down unseen, and it was not started since.
    pub fn asked_unaware(&self, workload: &WorkloadId) -> bool {
        self.asked_unaware.contains(workload)
    }

    /// A host where it ran before says how it ended there: news, if nothing was told of that when it was started by others.
    pub fn told_of_before(&mut self, workload: &WorkloadId, host: &HostId, state: DomainState, now: Time) {
        let in_order = matches!(state, DomainState::Off(OffReason::Shutdown | OffReason::Saved | OffReason::Destroyed));
        if in_order && self.started_by_others.contains(workload) && !self.ended_by.contains_key(workload) {
            self.ended_by.insert(workload.clone(), (host.clone(), now));
            self.told_ended.insert(workload.clone()); // the last report: which was first is not known
        }
        let word = self.words.get(workload).and_then(|words| words.get(host)).map(|(_, at)| *at);
        let began = self.began_by_others.get(&(workload.clone(), host.clone())).copied();
        if in_order && began.is_some_and(|began| word.is_none_or(|at| at < began)) {
            self.ended_some_time.insert(workload.clone());
        }
    }

    /// True if the host's word that it crashed shows that it ran since it was told to have ended in order: the same host told of that,
    /// or it booted after that, for certain.
    fn shows_that_it_ran(&self, workload: &WorkloadId, said: Said) -> bool {
        self.ended_by.get(workload).is_none_or(|(by, at)| by == said.host || said.boot.at > *at + said.boot.off_by)
    }

    /// A host's word on a workload. True if that is how the controller learns of a person's stop.
    pub fn told(&mut self, workload: &WorkloadId, said: Said, now: Time) -> bool {
        let Said { host, state, in_doubt, .. } = said;
        let of_person = |state| matches!(state, DomainState::Off(OffReason::Shutdown | OffReason::Destroyed));
        match state {
            _ if said.of_before => {}
            DomainState::Off(OffReason::Shutdown | OffReason::Saved | OffReason::Destroyed) => {
                self.told_ended.insert(workload.clone());
                self.ended_by.insert(workload.clone(), (host.clone(), now));
            }
            // What crashed had been running since; of any other end it is not known when it was.
            DomainState::Off(reason)
                if self.after_command.contains(workload)
                    || !matches!(reason, OffReason::Crashed | OffReason::Signalled | OffReason::Panicked)
                    || !self.shows_that_it_ran(workload, said) => {}
            // One word that it runs, and that soon after it ended, may be of before that: a list tells (scenarios 829 and 881).
            _ if self
                .ended_by
                .get(workload)
                .is_some_and(|(by, at)| by == host && now.since(*at) <= MAY_BE_OVERTAKEN) => {}
            _ => {
                self.told_ended.remove(workload);
                self.told_ran.insert(workload.clone());
            }
        }
        if state.is_live() {
            self.ended_some_time.remove(workload);
            self.in_doubt_since_begin.remove(workload);
        }
        let words = self.words.entry(workload.clone()).or_default();
        let runs_on = |(other, (state, _)): (&HostId, &(DomainState, Time))| {
            other != host && *state == DomainState::Running && said.on_record.is_some_and(|hosts| hosts.contains(other))
        };
        let runs_on = words.iter().any(runs_on);
        let (before, said_before) = match words.get_mut(host) {
            Some(word) => {
                let before = *word;
                *word = (state, now);
                (Some(before.0), before.1)
            }
            None => {
                words.insert(host.clone(), (state, now));
                (None, now)
            }
        };
        if of_person(state) && before != Some(state) {
            if runs_on {
                self.one_of_two.insert(workload.clone());
            } else {
                self.one_of_two.remove(workload); // the other one, too
            }
        }
        // It may have ended at any time since its host said otherwise.
        if let DomainState::Off(why) = state
            && before != Some(state)
            && let Some(at) = self.given_up.get(&(workload.clone(), why))
            && said_before.since(*at) <= LOOKS_LIKE_A_PERSONS_AFTER
        {
            self.ended_beside_own.insert(workload.clone());
        }
        // A person was faster than a stop of the controller's own with the same word, which was under way when this was told (scenario 799).
        let of_own_stop = |(at, word): &(Time, OffReason)| {
            state == DomainState::Off(*word) && now.since(*at) <= LOOKS_LIKE_A_PERSONS_AFTER
        };
        if before != Some(state) && self.own.get(workload).is_some_and(of_own_stop) {
            self.ended_beside_own.insert(workload.clone());
        }
        if before == Some(state) && state.is_live() {
            return false;
        }
        let changed = before.is_some_and(|before| !before.is_live() && !of_person(before));
        // So soon after a stop of the controller's own it may be the word of that, late or twice, until the host says so again; and if the
        // host goes before that, it is not known (scenarios 598 and 930).
        let may_be_of = self.may_be_of(now);
        let of_own = |(at, word): &(Time, OffReason)| {
            state == DomainState::Off(*word) && may_be_of.since(*at) <= WORD_COMES_WITHIN
        };
        let unclear = before != Some(state) && self.own_before.get(workload).is_some_and(of_own);
        // A target of a migration that is given up is destroyed (scenario 888).
        let given_up =
            before == Some(DomainState::Paused(PauseReason::Busy)) && state == DomainState::Off(OffReason::Destroyed);
        let learned = of_person(state)
            && !unclear
            && !given_up
            && !self.ended_beside_own.contains(workload)
            && !self.one_of_two.contains(workload)
            && !self.may_start.contains(workload)
            && !self.in_doubt_since_begin.contains(workload)
            && self.true_since.contains_key(workload)
            && (!in_doubt || changed)
            && !self.told.contains_key(workload);
        if learned {
            self.told.insert(workload.clone(), now);
        }
        learned
    }

    /// Since when the controller knows that it is to stay off.
    pub fn known_since(&self, workload: &WorkloadId) -> Option<Time> {
        self.told.get(workload).copied()
    }

    /// True if a person wants it off, whether the controller knows or not.
    pub fn wanted_off(&self, workload: &WorkloadId) -> bool {
        self.true_since.contains_key(workload) || self.told.contains_key(workload)
    }
}

/// The workload that the action stops, and the word that this leaves.
fn word_of(action: &Action) -> Option<(&WorkloadId, OffReason)> {
    match action {
        Action::Stop { workload, how: StopHow::Graceful, .. } => Some((workload, OffReason::Shutdown)),
        Action::Stop { workload, .. } | Action::Revert { workload, .. } => Some((workload, OffReason::Destroyed)),
        _ => None,
    }
}
