//! A host that its owner shuts down in good order, with its guests: it ends them (libvirt-guests asks each to shut down, or
//! saves it), closes its connections, and falls silent. To the hypervisor's events each of these guests was stopped by a
//! person; but nobody wanted them off.
//!
//! ```text
//!   guests end by themselves ──▶ connection closed, most or all are off ──▶ silent on every channel: they went with it
//!          ≤ GOES_WITH apart                    ≤ FALLS_SILENT_WITHIN
//! ```
//!
//! A host may also be seen to boot anew, soon after its guests had ended in a row: then it was shut down too, though the
//! controller was away when that happened, or did not hear of it. Without either, each stop counts as a person's: better an
//! alarm too many than a guest started that a person wanted off.
//!
//! libvirt-guests shuts guests down one after the other if it is not told otherwise, and waits for each for minutes. So the
//! ends may lie minutes apart, if at last nothing is left running. One thing can't be told apart: a person's own stop shortly
//! before the same host is shut down. To be sure, use `mainstay vm stop`, or destroy it; those never count as the host's
//! doing.

use crate::{
    belief::{HostPhase, OffProof, OrderRecord, StoppedHow, Want},
    engine::Engine,
    explain::{Doing, WaitingOn},
    whose::{Whose, persons_stop},
};
use mainstay_model::{
    Action, Cause, DomainState, EventKind, HostChannel, HostId, IncidentCause, OffReason, Outcome, Severity, Span,
    Subject, Time, WorkloadId,
    spec::{HostShutdown, PersonStop},
};

/// Longest gap between two guests' ends that shut down at the same time, and between the last one and the closing of the
/// connection.
const GOES_WITH: Span = Span::secs(30);
/// Longest gap between two ends if guests are shut down one after the other: libvirt-guests gives each so long
/// (`SHUTDOWN_TIMEOUT`, as distributions set it).
const ONE_BY_ONE: Span = Span::minutes(5);
/// No row of ends is longer.
const ROW_LASTS: Span = Span::minutes(30);
/// A host's boot time is counted from its processors' time, which is off by this and by a twentieth of its age.
const BOOT_TIME_OFF_BY: Span = Span::secs(10);
/// If the controller was away: from the last end to the start of the host's kernel, firmware included.
const BOOTS_WITHIN: Span = Span::minutes(10);
/// If the controller ended, and another began: from the last end to half a minute after that. It is on record every ten seconds
/// that the controller is at work.
const AWAY_SINCE_WITHIN: Span = Span::secs(70);
/// What waited for a controller that slept reaches it within this.
pub(crate) const TOLD_ON_WAKING: Span = Span::secs(1);
/// From the end of its management until a host that shuts down is silent altogether.
const FALLS_SILENT_WITHIN: Span = Span::minutes(2);

impl Engine {
    /// The host's management closed the connection itself.
    pub(crate) fn host_closed(&mut self, host: &HostId) {
        // A guest that hangs does not shut down, and is killed in the end; the others went in good order all the same.
        let in_order = self.in_good_order(host, &self.went_with(host, self.now, GOES_WITH));
        let Some(record) = self.belief.hosts.get(host) else { return };
        let in_use = matches!(record.phase, HostPhase::Online | HostPhase::Returning);
        if in_order
            && in_use
            && record.closed_at.is_none()
            && let Some(record) = self.belief.hosts.get_mut(host)
        {
            record.closed_at = Some(self.now);
        }
    }

    /// Its management answers although the host was not lost: it was only restarted.
    pub(crate) fn host_speaks(&mut self, host: &HostId) {
        let Some(record) = self.belief.hosts.get(host) else { return };
        let in_use = matches!(record.phase, HostPhase::Online | HostPhase::Returning);
        if in_use
            && record.closed_at.is_some()
            && let Some(record) = self.belief.hosts.get_mut(host)
        {
            let closed_at = record.closed_at.take();
            if let Some(senses) = self.belief.host_senses.get_mut(host) {
                senses.closed_before = closed_at;
            }
        }
    }

    /// The host was shut down in good order, and nothing runs there any more.
    pub(crate) fn said_goodbye(&self, host: &HostId) -> bool {
        self.belief.hosts.get(host).is_some_and(|record| record.closed_at.is_some())
            && self.belief.on_host(host).next().is_none()
    }

    /// The host is lost: if it was shut down in good order, its guests went with it.
    pub(crate) fn took_its_guests(&mut self, host: &HostId) {
        let Some(closed_at) = self.belief.hosts.get(host).and_then(|record| record.closed_at) else { return };
        let heard = self.belief.host_senses.get(host).and_then(|senses| senses.heard()).unwrap_or(closed_at);
        if heard.since(closed_at) > FALLS_SILENT_WITHIN {
            if let Some(record) = self.belief.hosts.get_mut(host) {
                record.closed_at = None; // it lived on without its management: no shutdown
            }
            return;
        }
        if let Some(record) = self.belief.hosts.get_mut(host) {
            record.called_off_at = Some(closed_at);
        }
        self.kept_ends_were_its_doing(host, closed_at);
        let went = self.went_with(host, closed_at, GOES_WITH);
        self.went_with_their_host(host, "it was shut down in good order", false, went);
    }

    pub(crate) fn boot_time_off_by(&self, at: Time) -> Span {
        BOOT_TIME_OFF_BY + Span(self.now.since(at).0 / 20)
    }

    /// An operator asked to fence it, and its kernel began to run after that: it was off, though no device answered so. It is
    /// not fenced once more (scenario 300).
    fn booted_since_fence_was_asked(&mut self, host: &HostId, at: Time) {
        let Some(record) = self.belief.hosts.get(host).filter(|record| record.fence_asked) else { return };
        if at <= record.since + self.boot_time_off_by(at) {
            return;
        }
        if let Some(record) = self.belief.hosts.get_mut(host) {
            record.fence_asked = false;
        }
        let text = "it booted since an operator asked to fence it: it was off, and is not fenced again";
        self.note(EventKind::Believed, Severity::Green, Subject::Host(host.clone()), text);
        self.agenda.touch_host(host);
    }

    /// The host's hypervisor is heard anew, and tells when its kernel began to run. If its guests had ended in a row before
    /// that, they went with it.
    pub(crate) fn host_booted(&mut self, host: &HostId, at: Time) {
        self.booted_since_fence_was_asked(host, at);
        let Some(record) = self.belief.hosts.get(host) else { return };
        let (known, ours) = (record.booted_at, matches!(record.phase, HostPhase::Off { proof: OffProof::Fenced, .. }));
        let off_by = self.boot_time_off_by(at);
        let same = |known: Time| at <= known + off_by;
        let Some(senses) = self.belief.host_senses.get(host) else { return };
        // This may overtake the sign of life that ends the silence (scenario 404).
        let (heard_before, closed_before) = match senses.hypervisor_answers() {
            true => (senses.heard_before, senses.closed_before),
            false => (senses.heard_on(HostChannel::Hypervisor), record.closed_at),
        };
        self.was_never_shut_down(host, at);
        if known.is_some_and(same) {
            return;
        }
        let closed = heard_before.is_some() && closed_before >= heard_before;
        if let Some(record) = self.belief.hosts.get_mut(host) {
            record.booted_at = Some(at);
        }
        if known.is_some() {
            self.forgets_ends(host, at);
            self.hung_until_boot(host, at);
        }
        if known.is_none() || ours {
            return; // it may have been running for long, or it was fenced and switched on again
        }
        // It was watched, and nothing said that it went in good order: one guest's end may be a person's stop just before a power cut.
        let certain = |went: Vec<(WorkloadId, Time)>| match closed || (went.len() > 1 && self.left_running(host) == 0) {
            true => went,
            false => Vec::new(),
        };
        let went = match heard_before {
            // It was heard after that: its hypervisor was restarted, not the host.
            Some(last) if last >= at => return,
            // The controller slept, and what it was told on waking up may be of any time in between: it was away as well
            // (scenario 352).
            Some(last) if last <= self.awake_since + TOLD_ON_WAKING => {
                let mut went = self.went_with(host, at, BOOTS_WITHIN);
                // It was heard until then: what had ended long before that did not go with it (scenario 794).
                let (mut next, mut allowed) = (self.asleep_at, AWAY_SINCE_WITHIN);
                let row = went.iter().take_while(|(_, at)| {
                    let near = next.since(*at) <= allowed;
                    (next, allowed) = (*at, ONE_BY_ONE);
                    near
                });
                went.truncate(row.count());
                let was_well =
                    |workload: &WorkloadId, at: Time| self.last_well(workload).map_or(at, |well| well.min(at));
                went.into_iter().map(|(workload, at)| (workload.clone(), was_well(&workload, at))).collect()
            }
            Some(last) => certain(self.went_with(host, at.min(last + GOES_WITH), GOES_WITH.times(2))),
            // While the last term lasted it was not shut down: what had ended long before that did not go with it (scenario 406).
            None => match self.watched_until(host) {
                Some(last) => self.went_with(host, at.min(last + GOES_WITH), AWAY_SINCE_WITHIN),
                // It was out of service by then: what had ended long before that did not go with it either (scenario 659).
                None => match self.out_since(host) {
                    Some(since) => certain(self.went_with(host, at.min(since), GOES_WITH.times(2))), // (scenario 863)
                    None => self.went_with(host, at, BOOTS_WITHIN),
                },
            },
        };
        // What was left running was judged when it closed.
        if !went.is_empty() && (closed || self.in_good_order(host, &went)) {
            self.went_with_their_host(host, "it was shut down in good order, and booted again", true, went);
        }
    }

    /// A start that hung on the host when it booted comes no more: what its next list tells is all there is (scenario 890).
    fn hung_until_boot(&mut self, host: &HostId, booted_at: Time) {
        let off_by = self.boot_time_off_by(booted_at);
        let before = |order: &OrderRecord| order.ended.is_some() && order.ordered_at + off_by < booted_at;
        let hung = self.belief.workloads.values().filter(|record| {
            let workload = &record.workload;
            let open = record.unsettled.get(host).filter(|open| open.told_to_start);
            let mut told =
                self.orders_there(workload, host).filter(|it| it.order.action.may_run_on().is_some()).peekable();
            // What is open may be a resume, which the journal does not keep.
            let is_open = |last: &&OrderRecord| {
                matches!(last.ended, Some((_, Outcome::Unknown { .. }))) && !self.came_through(last)
            };
            let known = match open {
                Some(open) => open.since + off_by < booted_at || told.peek().is_some_and(is_open),
                None => told.peek().is_some(),
            };
            let waits = open.is_some() || record.pending_on.contains(host);
            waits
                && known
                && told.all(before)
                && !self.seen_live(workload, host)
                && !self.resuming_there(workload, host)
        });
        let hung: Vec<WorkloadId> = hung.map(|record| record.workload.clone()).collect();
        for workload in hung {
            let Some(record) = self.belief.workloads.get_mut(&workload) else { continue };
            record.pending_on.remove(host);
            record.late_on.remove(host);
            record.unsettled.remove(host);
            self.unsettle(&workload, host, self.now);
        }
    }

    /// For how long the term before this one is known to have had the host in sight after that time, by its own clock alone; since its
    /// controller woke up, if it slept (scenario 989).
    pub(crate) fn in_sight_before_since(&self, host: &HostId, at: Time) -> Span {
        let known = self.belief.host_senses.get(host).and_then(|senses| senses.known_before);
        let seen = self.belief.meta.awake_before_since().zip(known);
        seen.map_or(Span::ZERO, |(awake_since, known)| known.since(awake_since.max(at)))
    }

    /// Since when it is lost or off, if it is.
    fn out_since(&self, host: &HostId) -> Option<Time> {
        let record = self.belief.hosts.get(host)?;
        matches!(record.phase, HostPhase::Lost { .. } | HostPhase::Off { .. }).then_some(record.since)
    }

    /// When the last term ended, if the host was in sight then. It was, if it was not lost or off by that time.
    fn watched_until(&self, host: &HostId) -> Option<Time> {
        let (record, alive) = (self.belief.hosts.get(host)?, self.belief.meta.alive_before?);
        let in_use = matches!(record.phase, HostPhase::Online | HostPhase::Returning) || record.since > alive;
        let lost = record.incident.and_then(|id| self.belief.incidents.get(&id)).map(|incident| incident.opened_at);
        // Its incident goes on until it is back in service, but it is heard again before that (scenario 971).
        let heard_again = record.phase == HostPhase::Returning && record.since <= alive;
        (in_use && (heard_again || lost.is_none_or(|lost| lost > alive))).then_some(alive)
    }

    /// It is heard again, and its kernel has run since before its guests ended: it was not shut down, only its management and its
    /// network failed. What ended there was stopped by persons after all (scenario 407), also if that happened in another term
    /// (scenario 424), or if the host was taken from the configuration meanwhile (scenario 425).
    fn was_never_shut_down(&mut self, host: &HostId, booted_at: Time) {
        let ran_since = booted_at + self.boot_time_off_by(booted_at);
        let went = self.belief.workloads.values().filter(|record| {
            let trouble = record.trouble.as_ref().filter(|trouble| trouble.cause == Cause::HostShutdown);
            let waits = trouble.is_some_and(|it| it.started_at.is_none() && it.since.min(it.well_until) > ran_since);
            // It went with this one, and not with that before its last start (scenario 823).
            // It may be started elsewhere yet: by a call that hangs (scenario 908), or by one under way (scenario 928).
            let starting = |on: &HostId| on != host && self.starting_there(&record.workload, on);
            let hangs =
                |on: &HostId| record.pending_on.contains(on) || record.unsettled.contains_key(on) || starting(on);
            // What was started here again, as far as is known, is asked about first (scenario 987).
            let off = !record.unsettled.contains_key(host) && record.may_run_on.iter().all(hangs);
            let here = record.host.as_ref() == Some(host) && record.left.contains(host) && off;
            let idle = match self.life_order(&record.workload).map(|it| &it.order.action) {
                None => true,
                Some(Action::Start { host: there, .. }) => there != host && record.asked.is_none(),
                Some(_) => false,
            };
            waits && here && record.want == Want::Running && idle
        });
        let went: Vec<WorkloadId> = went.map(|record| record.workload.clone()).collect();
        for workload in went {
            let seen = self.belief.workload_senses.get(&workload).and_then(|senses| senses.seen.get(host));
            // Of what had ended in another way it was not believed that it went with its host.
            let how = match seen.map(|seen| seen.state) {
                // Nor of what our own stop had ended before (scenario 811).
                None if self.whose(&workload, host, OffReason::Shutdown) == Whose::Ours => continue,
                None => StoppedHow::Shutdown,
                Some(DomainState::Off(reason)) => {
                    let since = seen.map_or(self.now, |seen| seen.since);
                    match persons_stop(reason) {
                        // A stop of ours that was told as failed may have ended it (scenario 629).
                        Some(how) if self.whose_as_of(&workload, host, reason, since) != Whose::Ours => how,
                        _ => continue,
                    }
                }
                Some(_) => continue,
            };
            if self.life_order(&workload).is_some()
                && let Some(record) = self.belief.workloads.get_mut(&workload)
            {
                record.stopped_on = Some((host.clone(), how)); // if that start fails, it is off as a person wants it
                continue;
            }
            self.stopped_by_person(host, &workload, how);
            if let Some(record) = self.belief.workloads.get_mut(&workload) {
                record.trying = None;
            }
        }
    }

    /// True if nothing was left running there, or most had ended: a guest that hangs does not shut down, and is killed. If
    /// one was saved, that is libvirt-guests at work: persons save a guest seldom, and not just before its host closes.
    fn in_good_order(&self, host: &HostId, went: &[(WorkloadId, Time)]) -> bool {
        let running = self.left_running(host);
        let saved = |workload: &WorkloadId| {
            let record = self.belief.workloads.get(workload);
            record.is_some_and(|record| matches!(record.want, Want::Stopped { how: StoppedHow::Saved, .. }))
        };
        running == 0 || went.len() > running || went.iter().any(|(workload, _)| saved(workload))
    }

    /// Workloads that may still run there, but for those of which the host said itself that they shut down: what else is in
    /// doubt there, as the migration that it was shut down in, ends with the host.
    fn left_running(&self, host: &HostId) -> usize {
        let ended =
            |workload: &WorkloadId| self.shut_down_there(workload, host) || self.powered_on_there(workload, host);
        self.belief.on_host(host).filter(|workload| !ended(workload)).count()
    }

    /// It ended a moment ago like the others, and its policy powered it on again (scenario 351).
    fn powered_on_there(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let powers_on = self.rule(workload).is_some_and(|rule| rule.policy.on_person_stop == PersonStop::PowerOn);
        let started = |order: &OrderRecord| {
            matches!(order.order.action, Action::Start { .. }) && self.now.since(order.ordered_at) <= GOES_WITH.times(2)
        };
        powers_on && self.orders_there(workload, host).any(started)
    }

    fn shut_down_there(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let in_order = self.belief.workloads.get(workload).is_some_and(|record| {
            // And a person did not start it again a moment ago (scenario 849).
            matches!(record.want, Want::Stopped { how: StoppedHow::Shutdown | StoppedHow::Saved, .. })
                && record.coming_up.as_ref() != Some(host)
        });
        let seen = self.belief.workload_senses.get(workload).and_then(|senses| senses.seen.get(host));
        in_order && seen.is_some_and(|seen| matches!(seen.state, DomainState::Off(_)))
    }

    /// An order of ours whose outcome is unknown may still start it there.
    fn may_start_there(&self, workload: &WorkloadId, host: &HostId) -> bool {
        self.belief.workloads.get(workload).is_some_and(|record| {
            let open = record.unsettled.get(host);
            let to_come = open.is_some_and(|open| open.told_to_start || open.may_happen_until > self.now);
            to_come || record.pending_on.contains(host)
        })
    }

    /// `booted`: it runs again, and nothing that was under way there before comes any more.
    fn went_with_their_host(&mut self, host: &HostId, what: &str, booted: bool, went: Vec<(WorkloadId, Time)>) {
        let subject = Subject::Host(host.clone());
        let text = match went.len() {
            0 => what.to_owned(),
            1 => format!("{what}, and one workload with it"),
            count => format!("{what}, and {count} workloads with it"),
        };
        self.note(EventKind::Believed, Severity::Yellow, subject.clone(), text);
        // The host may have been lost for so long that its incident is over: what is learned now does not change that one.
        let over = self
            .incident_of(&subject)
            .and_then(|id| self.belief.incidents.get(&id))
            .is_some_and(|incident| incident.closed_at.is_some());
        if let Some(first) = went.iter().map(|(_, at)| *at).min().filter(|_| over) {
            self.open_incident(subject, IncidentCause::HostLost, first);
        }
        for (workload, at) in went {
            let home_counts = self.home_counts(&workload);
            // A host that said that it goes may be alive all the same. What may start there yet is over with its boot, or with the
            // proof that it is off (scenario 547).
            let may_start = self.may_start_there(&workload, host) && !booted;
            if !may_start {
                self.belief.runs_not(&workload, host);
            }
            let Some(record) = self.belief.workloads.get_mut(&workload) else { continue };
            if !may_start {
                record.unsettled.remove(host);
                record.pending_on.remove(host);
            }
            record.want = Want::Running;
            record.left.insert(host.clone());
            if home_counts {
                record.came_from.get_or_insert_with(|| host.clone());
            }
            self.join_incident(&workload, host, at); // first, or its trouble opens an incident of its own
            let well_until = self.last_well(&workload).map_or(at, |last| last.min(at)); // it may have been down before
            self.trouble_since(&workload, Cause::HostShutdown, well_until);
        }
    }

    /// What ended there just before, while a start or a stop of ours was under way, went with the host as well: that is no person's stop
    /// (scenario 761).
    fn kept_ends_were_its_doing(&mut self, host: &HostId, closed_at: Time) {
        let kept = self.belief.workloads.values().filter(|record| {
            let seen = self.belief.workload_senses.get(&record.workload).and_then(|senses| senses.seen.get(host));
            let in_order =
                matches!(&record.stopped_on, Some((on, StoppedHow::Shutdown | StoppedHow::Saved)) if on == host);
            in_order && seen.is_some_and(|seen| closed_at.since(seen.since) <= GOES_WITH)
        });
        for workload in kept.map(|record| record.workload.clone()).collect::<Vec<_>>() {
            if let Some(record) = self.belief.workloads.get_mut(&workload) {
                record.stopped_on = None;
            }
        }
    }

    /// Workloads that ended by themselves in a row that leads up to `until`, the last no earlier than `gap` before it. What ended
    /// in a run that was not seen is in no row: when that was is not known (scenario 592). What no
    /// rule manages goes with its host like any other: a rule may be written for it later.
    fn went_with(&self, host: &HostId, until: Time, gap: Span) -> Vec<(WorkloadId, Time)> {
        let stopped = self.belief.workloads.values().filter(|record| record.host.as_ref() == Some(host));
        let mut ended: Vec<(Time, &WorkloadId)> = stopped
            .filter(|record| !record.ended_unseen)
            .filter(|record| !record.may_run_on.contains(host) || self.shut_down_there(&record.workload, host))
            .filter_map(|record| match record.want {
                Want::Stopped { at, how: StoppedHow::Shutdown | StoppedHow::Saved } => Some((at, &record.workload)),
                _ => None,
            })
            .filter(|(at, _)| *at <= until && until.since(*at) <= ROW_LASTS)
            .collect();
        ended.sort();
        let between = if self.left_running(host) == 0 { ONE_BY_ONE } else { GOES_WITH };
        let (mut next, mut allowed) = (until, gap);
        let in_a_row = ended.into_iter().rev().take_while(|(at, _)| {
            let near = next.since(*at) <= allowed;
            (next, allowed) = (*at, between);
            near
        });
        // What ended long before the first that is known to have gone with it is no part of that row (scenario 426).
        let first_gone = self.gone_with(host).min();
        let in_its_row = |at: Time| first_gone.is_none_or(|first| first.since(at) <= ONE_BY_ONE);
        in_a_row.filter(|(at, _)| in_its_row(*at)).map(|(at, workload)| (workload.clone(), at)).collect()
    }

    /// Since when those are off that went with the host's shutdown, and were not started since.
    fn gone_with(&self, host: &HostId) -> impl Iterator<Item = Time> {
        self.belief.workloads.values().filter(move |record| record.host.as_ref() == Some(host)).filter_map(|record| {
            let trouble = record.trouble.as_ref()?;
            let waits = trouble.cause == Cause::HostShutdown && trouble.started_at.is_none();
            waits.then_some(trouble.well_until)
        })
    }

    /// What a workload that was shut down with its host waits for, if its policy says so.
    pub(crate) fn waits_for_its_host(&self, workload: &WorkloadId) -> Option<Doing> {
        let record = self.belief.workloads.get(workload)?;
        let (host, trouble) = (record.host.as_ref()?, record.trouble.as_ref()?);
        let policy = &self.rule(workload)?.policy;
        if trouble.cause != Cause::HostShutdown || self.in_service(host) || self.host_spec(host).is_none() {
            return None;
        }
        let until = match policy.on_host_shutdown {
            HostShutdown::RestartElsewhere => return None,
            HostShutdown::Wait => None,
            HostShutdown::Conditional => Some(trouble.since + policy.host_back_within),
        };
        let waits = until.is_none_or(|until| until > self.now);
        waits.then(|| Doing::Waiting { on: WaitingOn::HostBack { host: host.clone() }, until })
    }
}
