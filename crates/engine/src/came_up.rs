//! A host reports that a workload runs: a start of ours that came through, its host's or a person's doing, or still the run of before?
//! What follows when it is off is in `ends`.

use crate::{
    belief::{AskedFor, HostSenses, OrderRecord, Seen, StoppedHow, Want},
    engine::Engine,
    whose::pause_cause,
};
use mainstay_model::{
    Action, DomainState, EventKind, HostId, OffReason, Outcome, PauseReason, Severity, Subject, Time, WorkloadId,
};
use std::collections::BTreeMap;

/// What was known of a workload on a host before it was seen live there.
pub(crate) struct Before {
    /// It was not seen there before.
    pub first: bool,
    /// The same guest was live there.
    pub was_live: bool,
    /// By what was known it still ran there.
    pub still: bool,
    /// Since when its host had said that it is off there.
    pub ended_at: Option<Time>,
    /// Our last stop there had its effect, whatever the answer is.
    pub through: bool,
    /// It was incoming, or only began to start there.
    pub busy: bool,
}

impl Engine {
    pub(crate) fn went_live(&mut self, host: &HostId, workload: &WorkloadId, state: DomainState, before: Before) {
        let subject = Subject::Workload(workload.clone());
        let Before { first, was_live, still, ended_at, through, busy } = before;
        self.belief.may_run(workload, host);
        if state == DomainState::Running
            && let Some(record) = self.belief.workloads.get_mut(workload)
        {
            record.came_up(host);
            record.stopped_on = None;
        }
        if !was_live {
            let senses = self.belief.workload_senses.entry(workload.clone()).or_default();
            senses.up_since = Some(self.now);
            senses.answered_since = None;
            senses.activity = None;
            senses.reboots = 0;
        }
        if was_live && state == DomainState::Running {
            // It was paused: that it was silent until now says nothing of the guest.
            self.belief.workload_senses.entry(workload.clone()).or_default().watched_since = Some(self.now);
        }
        let was_in_question = self.answered_by_running(workload);
        let Some(record) = self.belief.workloads.get(workload) else { return };
        // A start that hung there when another was done can come as well (scenario 663). After a person's stop it is
        // as likely that person's start, which must not be undone.
        let hung = record.late_on.get(host).is_some_and(|until| *until > self.now);
        let operator = matches!(record.want, Want::Stopped { how: StoppedHow::Operator, .. });
        let late = record.pending_on.contains(host) || hung && operator;
        // A stop of ours on another host brings nothing up here (scenario 635).
        let stops_elsewhere =
            |order: &OrderRecord| matches!(&order.order.action, Action::Stop { host: there, .. } if there != host);
        let ours = self.life_order(workload).is_some_and(|order| !stops_elsewhere(order) && !through) || late;
        if late && let Some(record) = self.belief.workloads.get_mut(workload) {
            record.pending_on.remove(host);
            record.late_on.remove(host);
        }
        // Its host said that the stop for that restart is through, whatever becomes of the answer (scenario 800).
        let stopped = |order: &OrderRecord| {
            matches!(&order.order.action, Action::Stop { host: there, .. } if there == host)
                && ended_at > Some(order.ordered_at)
        };
        let anew = !ours || !late && self.life_order(workload).is_some_and(stopped);
        if !still && anew && self.is_asked(workload, |asked| matches!(asked, AskedFor::Restart { .. })) {
            self.asked_is_given_up(workload, "a person started it since"); // it runs anew, as was asked for (scenario 733)
        }
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let starts_here = self.life_order(workload).is_some_and(|order| order.order.action.may_run_on() == Some(host));
        if state == DomainState::Running
            && (late || !starts_here && !still)
            && record.trying.is_some()
            && let Some(record) = self.belief.workloads.get_mut(workload)
        {
            // Its host, a person or a late start was faster: there is nothing left to try (scenarios 475, 521 and 522).
            record.trying = None;
        }
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let wanted_stopped = matches!(record.want, Want::Stopped { .. });
        let elsewhere = record.host.as_ref() != Some(host);
        let known_off = !first || record.host.is_some();
        // A start may be seen halfway: libvirt holds it for a moment, or a person lets it begin paused.
        // A person's move that arrives after an operator said stop starts nothing (scenarios 678 and 812).
        let arrived = busy && operator && self.left_another_host(workload, host);
        let by_person = wanted_stopped && !ours && !arrived && (!still || record.coming_up.as_ref() == Some(host));
        // What panicked had been running, and what its disk failed under too (scenario 345). What a person holds was started (scenario 969).
        let ran = match state {
            DomainState::Paused(reason) => reason == PauseReason::Person || pause_cause(reason).is_some(),
            _ => matches!(state, DomainState::Running | DomainState::Panicked),
        };
        let coming_up = (by_person && !ran).then(|| host.clone());
        if record.coming_up != coming_up
            && let Some(record) = self.belief.workloads.get_mut(workload)
        {
            record.coming_up = coming_up;
        }
        if by_person && ran {
            let record = self.belief.workloads.get_mut(workload).expect("looked up above");
            record.want = Want::Running;
            record.trouble = None;
            record.trying = None;
            if known_off {
                self.note(EventKind::Seen, Severity::Green, subject.clone(), format!("started by a person on {host}"));
            }
        }
        // A panic and a failed disk tell that it ran there, too (scenario 665).
        if ran && elsewhere && !self.moving_away_from(workload, host) {
            let record = self.belief.workloads.get_mut(workload).expect("looked up above");
            let before = record.host.replace(host.clone());
            record.left.remove(host);
            if !ours && !was_in_question && before.is_some() {
                record.kept_on = Some(host.clone()); // somebody moved it or started it there
            }
        }
        self.agenda.stir();
    }

    /// It was seen live on another host, or a stop of ours is under way there, and that host does not say that it ended: it left.
    fn left_another_host(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let seen = self.belief.workload_senses.get(workload).map(|senses| &senses.seen);
        let order = self.life_order(workload).map(|order| &order.order.action);
        let Some(Action::Stop { host: source, .. }) = order else {
            let live = |seen: &BTreeMap<HostId, Seen>| seen.iter().any(|(on, seen)| on != host && seen.state.is_live());
            // Or it may run on one that has told nothing of it in this term (scenario 862).
            let untold = |on: &HostId| on != host && seen.is_none_or(|seen| !seen.contains_key(on));
            return seen.is_some_and(live) || self.belief.may_run_on(workload).iter().any(untold);
        };
        let seen = seen.and_then(|seen| seen.get(source));
        let ended =
            seen.is_some_and(|seen| !seen.state.is_live() && seen.state != DomainState::Off(OffReason::Migrated));
        source != host && !ended
    }

    /// It came up there, and ran at `at`: what a list tells is of when it was asked for (scenario 959). `as_before`: it is first seen in
    /// this term, and ran there in the one before.
    pub(crate) fn run_begins(&mut self, workload: &WorkloadId, host: &HostId, at: Time, as_before: bool) {
        let starting = self.starting_there(workload, host);
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let doubtful = record.unsettled.contains_key(host) || record.pending_on.contains(host) || starting;
        let goes_on = as_before && !doubtful && record.runs_since.is_some() && record.host.as_ref() == Some(host);
        if !goes_on && let Some(record) = self.belief.workloads.get_mut(workload) {
            record.runs_since = Some(at);
            record.began_on = Some(host.clone());
            record.ended_unseen = false;
        }
    }

    /// It may run there by what is on record. What was seen to stop before, and is in doubt there only as the source of a
    /// migration, is not still running when it comes up: it was started (scenario 447).
    pub(crate) fn not_seen_to_stop(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let Some(record) = self.belief.workloads.get(workload) else { return false };
        let seen_to_stop = matches!(record.want, Want::Stopped { how, .. } if how != StoppedHow::Operator);
        let moved_from = record.unsettled.get(host).is_some_and(|open| !open.told_to_start);
        record.may_run_on.contains(host) && !(seen_to_stop && moved_from)
    }

    /// The last that we did to it there is a stop that is done: what runs there was started since.
    pub(crate) fn stopped_for_certain(&self, workload: &WorkloadId, host: &HostId) -> bool {
        self.orders_there(workload, host).next().is_some_and(|last| {
            matches!((&last.order.action, &last.ended), (Action::Stop { .. }, Some((_, Outcome::Done { .. }))))
        })
    }

    /// The last that we did to it there is a stop, under way or of unknown outcome. Its host told since that was ordered that the workload is
    /// off, and once more in a list that was asked for after that: what runs there now was started since (scenarios 968 and 974).
    pub(crate) fn our_stop_is_through(
        &self,
        workload: &WorkloadId,
        host: &HostId,
        ended_at: Option<Time>,
        listed: Option<Time>,
    ) -> bool {
        let stops = |order: &OrderRecord| {
            let here = matches!(&order.order.action, Action::Stop { host: there, .. } if there == host);
            here && ended_at > Some(order.ordered_at) && listed > ended_at
        };
        self.orders_there(workload, host).next().is_some_and(stops)
    }

    /// An operator wanted the workload stopped, and a host that was called off has it running without having booted since: it was
    /// never off, and no person started it there (scenario 311). If it booted, a person did (scenario 528); but not if it was out
    /// of sight all the time since the operator's word: that word is the last that is known (scenario 591).
    pub(crate) fn outlived_a_proof(&self, workload: &WorkloadId, host: &HostId, seen_at: Time) -> bool {
        let Some(record) = self.belief.workloads.get(workload) else { return false };
        let Want::Stopped { at, how: StoppedHow::Operator } = record.want else { return false };
        let Some(on) = self.belief.hosts.get(host) else { return false };
        let never_off = on.booted_at <= on.called_off_at;
        let senses = self.belief.host_senses.get(host);
        // An event speaks of now; a list, of all the time since the one before.
        let unseen = |senses: &HostSenses| {
            let by_list = senses.inventory == Some(seen_at) && senses.well_since > Some(at);
            by_list && senses.listed_before.is_some_and(|last| last < at)
        };
        // It ended elsewhere since that word, in sight: so it was started here later (scenario 842).
        let seen = self.belief.workload_senses.get(workload).map(|senses| &senses.seen);
        let ended_since =
            |(other, seen): (&HostId, &Seen)| other != host && !seen.state.is_live() && seen.ended && seen.since > at;
        let ran_elsewhere = seen.is_some_and(|seen| seen.iter().any(ended_since));
        // Or our own stop ended it elsewhere, in this term or the one before (scenario 945).
        let stopped = |order: &OrderRecord| {
            let done = matches!(order.ended, Some((_, Outcome::Done { .. })));
            matches!(&order.order.action, Action::Stop { host: there, .. } if there != host)
                && done
                && order.ordered_at >= at
        };
        let ran_elsewhere = ran_elsewhere || self.belief.acts_on(workload).any(stopped);
        let might_run_then = !ran_elsewhere && on.booted_at <= Some(at) && senses.is_some_and(unseen);
        record.left.contains(host) && never_off || might_run_then
    }

    /// An operator wants it stopped, and its host's word that it runs waited for a controller that slept: it is of before that (scenario
    /// 830).
    pub(crate) fn ran_before_an_operators_stop(&self, workload: &WorkloadId, said_since: Time) -> bool {
        let want = self.belief.workloads.get(workload).map(|record| &record.want);
        matches!(want, Some(Want::Stopped { at, how: StoppedHow::Operator }) if said_since < *at)
    }

    /// True while a migration takes the workload away from this host: its running there is no news.
    fn moving_away_from(&self, workload: &WorkloadId, host: &HostId) -> bool {
        self.life_order(workload)
            .is_some_and(|record| matches!(&record.order.action, Action::Migrate { from, .. } if from == host))
    }
}
