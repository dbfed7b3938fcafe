//! Second step: what the facts amount to. Host first, then workload: no workload of a host that is not in sight is judged
//! on its own. Many hosts silent at once means that the controller is cut off, and then nothing is done at all.

use crate::{
    belief::{HostPhase, HostSenses, Sight, Trouble, Want, WorkloadSenses},
    engine::Engine,
    whose::{cause_of_end, pause_cause},
};
use mainstay_model::{
    Cause, DomainState, EventKind, GuestChannel, HostChannel, HostId, IncidentCause, Severity, Span, Subject, Time,
    WorkloadId,
    spec::{Detection, RecoveryPolicy},
};

/// A workload that left a host by a migration we did not order must appear elsewhere within this.
const MIGRATION_GRACE: Span = Span::secs(10);
/// A guest heard this shortly before its host's hypervisor fell silent was answering then: a few probes' time.
const GUEST_ANSWERED_WITHIN: Span = Span::secs(10);

/// So many reboots in a row without an answer are no update being installed.
const BOOT_LOOP: u32 = 5;

impl Engine {
    pub(crate) fn believe(&mut self) {
        let hosts = self.agenda.take_hosts();
        for host in &hosts {
            self.see_host(host);
        }
        self.judge_cut_off();
        for host in hosts {
            self.believe_host(&host);
            self.agenda.touch_host(&host);
        }
        let workloads = self.agenda.take_workloads();
        for workload in workloads {
            self.believe_workload(&workload);
            self.agenda.touch(&workload);
        }
    }

    // ---- hosts ----------------------------------------------------------------------------------------------------

    fn see_host(&mut self, host: &HostId) {
        let (now, detection) = (self.now, self.spec.detection);
        let guest_heard = self.guest_heard_beside_hypervisor(host);
        let Some(senses) = self.belief.host_senses.get_mut(host) else { return };
        if !senses.hypervisor_answers() {
            senses.guest_heard = guest_heard;
        }
        let before = senses.sight;
        senses.sight = sight(senses, &detection, now);
        let wake = senses.next_look(&detection, now);
        let after = senses.sight;
        self.agenda.wake(Subject::Host(host.clone()), wake);
        if before != after {
            match after {
                Sight::Silent => _ = self.belief.silent.insert(host.clone()),
                _ => _ = self.belief.silent.remove(host),
            }
            let workloads: Vec<WorkloadId> = self.belief.on_host(host).cloned().collect();
            for workload in workloads {
                if after == Sight::Heard {
                    // Whatever kept its host out of sight may have kept its answers away too.
                    self.belief.workload_senses.entry(workload.clone()).or_default().watched_since = Some(now);
                }
                self.agenda.touch(&workload);
            }
            self.agenda.stir();
        }
    }

    /// When any guest on a host with a silent hypervisor was last heard. Only those count that still answered when the
    /// hypervisor fell silent, and not through it: nothing follows from the silence of the others.
    fn guest_heard_beside_hypervisor(&self, host: &HostId) -> Option<Time> {
        let senses = self.belief.host_senses.get(host).filter(|senses| !senses.hypervisor_answers())?;
        let answering_since = senses.heard_on(HostChannel::Hypervisor)? - GUEST_ANSWERED_WITHIN;
        let only_here =
            |guest: &&WorkloadId| self.belief.workloads.get(*guest).is_some_and(|it| it.may_run_on.len() == 1);
        let guests = self.belief.on_host(host).filter(only_here);
        let guests = guests.filter_map(|guest| self.belief.workload_senses.get(guest));
        let channels = guests.flat_map(|guest| &guest.channels).filter(|(channel, _)| **channel != GuestChannel::Agent);
        channels.filter_map(|(_, sense)| sense.heard).filter(|heard| *heard >= answering_since).max()
    }

    /// Counts the hosts that fell silent together. A host whose power is known to be off is silent for a reason.
    fn judge_cut_off(&mut self) {
        if self.belief.silent.is_empty() && !self.belief.cut_off {
            return;
        }
        let detection = self.spec.detection;
        let falling_silent = detection.heartbeat_every.times(2).min(detection.host_lost_floor);
        let (mut watched, mut silent) = (0u64, 0u64);
        for record in self.belief.hosts.values() {
            let Some(senses) = self.belief.host_senses.get(&record.host) else { continue };
            let watched_at_all = self.host_spec(&record.host).is_some() && record.capacity != Default::default();
            if matches!(record.phase, HostPhase::Off { .. }) || !watched_at_all || record.closed_at.is_some() {
                continue; // known to be off, shut down, never reached, or taken out of the configuration
            }
            watched += 1;
            let fell_before = matches!(record.phase, HostPhase::Lost { .. });
            let falls_now = !senses.hypervisor_answers() && senses.silence(self.now) >= falling_silent;
            if !fell_before && falls_now {
                silent += 1;
            } else if fell_before {
                watched -= 1; // lost earlier, by itself: not part of this silence
            }
        }
        let cut_off = silent * 100 > watched * u64::from(detection.cut_off_percent);
        if cut_off == self.belief.cut_off {
            return;
        }
        self.belief.cut_off = cut_off;
        let (severity, text) = if cut_off {
            let text = format!(
                "{silent} of {watched} hosts fell silent together: the controller is cut off, and acts on nothing"
            );
            (Severity::Red, text)
        } else {
            for senses in self.belief.host_senses.values_mut() {
                senses.watch_anew(self.now);
            }
            (Severity::Green, "the hosts are in sight again; the controller acts".to_owned())
        };
        self.note(EventKind::Believed, severity, Subject::Cluster, text);
        self.agenda.touch_all_workloads(&self.belief);
        self.agenda.touch_all_hosts(&self.belief);
    }

    fn believe_host(&mut self, host: &HostId) {
        let Some(record) = self.belief.hosts.get(host) else { return };
        let Some(senses) = self.belief.host_senses.get(host) else { return };
        let (sight, since) = (senses.sight, record.since);
        let fresh_list = senses.inventory.is_some_and(|asked_at| asked_at > since);
        let stable = senses.well_since.is_some_and(|well| self.now.since(well) >= self.spec.detection.host_stable_for);
        let known = record.capacity != Default::default();
        let phase = match (&record.phase, sight) {
            (HostPhase::Online | HostPhase::Returning, Sight::Silent | Sight::Hung)
                if known && !self.belief.cut_off =>
            {
                return self.lose_host(host, sight);
            }
            (HostPhase::Lost { .. } | HostPhase::Off { .. }, Sight::Heard) if fresh_list => HostPhase::Returning,
            (HostPhase::Returning, Sight::Heard) if stable => HostPhase::Online,
            _ => return,
        };
        let text = match phase {
            HostPhase::Returning => "heard again; it gets work when it has been well for a while",
            _ => "back in service",
        };
        let record = self.belief.hosts.get_mut(host).expect("looked up above");
        record.phase = phase.clone();
        record.since = self.now;
        record.closed_at = None;
        self.note(EventKind::Believed, Severity::Green, Subject::Host(host.clone()), text);
        if phase == HostPhase::Online {
            self.leave_incident(host);
        }
        let workloads: Vec<WorkloadId> = self.belief.on_host(host).cloned().collect();
        for workload in workloads {
            self.agenda.touch(&workload);
        }
        for record in self.belief.workloads.values() {
            if record.came_from.as_ref() == Some(host) || record.left.contains(host) {
                self.agenda.touch(&record.workload);
            }
        }
        self.agenda.stir();
    }

    fn lose_host(&mut self, host: &HostId, sight: Sight) {
        let now = self.now;
        let senses = self.belief.host_senses.get_mut(host).expect("a lost host was watched");
        senses.inventory = None;
        senses.well_since = None;
        let well_until = senses.heard().unwrap_or(senses.watched_since);
        let silence = senses.silence(now);
        let record = self.belief.hosts.get_mut(host).expect("a lost host is on record");
        record.phase = HostPhase::Lost { level: 0, try_at: now, exhausted: false, power: None };
        record.since = now;
        self.open_incident(Subject::Host(host.clone()), IncidentCause::HostLost, well_until);
        let text = match sight {
            Sight::Hung => {
                let silence = self.spec.detection.host_hung_after;
                format!("lost: its address answers, but its hypervisor and all its guests are silent for {silence}")
            }
            _ => format!("lost: silent on every channel for {}", silence.roughly()),
        };
        self.note(EventKind::Believed, Severity::Red, Subject::Host(host.clone()), text);
        let workloads: Vec<WorkloadId> = self.belief.on_host(host).cloned().collect();
        for workload in workloads {
            self.join_incident(&workload, host, well_until);
            self.agenda.touch(&workload);
        }
        self.took_its_guests(host);
    }

    // ---- workloads ------------------------------------------------------------------------------------------------

    fn believe_workload(&mut self, workload: &WorkloadId) {
        let Some(record) = self.belief.workloads.get(workload) else { return };
        if record.want != Want::Running || self.belief.cut_off {
            return;
        }
        if record.trouble.as_ref().is_none_or(|trouble| trouble.started_at.is_some())
            && record.trying.is_none()
            && record.unsettled.is_empty()
            && self.life_order(workload).is_none()
            && let Some((cause, since)) = self.new_trouble(workload)
        {
            self.trouble_since(workload, cause, since);
        }
        self.note_recovery(workload);
    }

    /// What is wrong with a workload that should run, if its one possible host is in sight.
    fn new_trouble(&self, workload: &WorkloadId) -> Option<(Cause, Time)> {
        let record = self.belief.workloads.get(workload)?;
        let senses = self.belief.workload_senses.get(workload)?;
        let Some(host) = record.may_run_on.first() else {
            // Off everywhere, wanted, and nobody brings it up: it left by somebody else's migration and did not arrive, or
            // it went off while it was left alone.
            let gone_since = senses.seen.values().map(|seen| seen.since).max().unwrap_or(record.known_since);
            let idle = record.trouble.is_none() && record.moving.is_none();
            let last = record.host.as_ref().and_then(|host| senses.seen.get(host)).map(|seen| seen.state);
            let cause = if let Some(DomainState::Off(reason)) = last { cause_of_end(reason) } else { Cause::Vanished };
            return (idle && self.now.since(gone_since) >= MIGRATION_GRACE).then_some((cause, gone_since));
        };
        if record.may_run_on.len() > 1 || self.sight(host) != Sight::Heard {
            return None;
        }
        let seen = senses.seen.get(host)?;
        match seen.state {
            DomainState::Running => {
                let policy = self.recovery(workload);
                let last_sign = senses.last_sign()?;
                if let Some(since) = senses.reboots_since().filter(|since| *since + policy.answer_within <= self.now) {
                    return Some((Cause::Hung, since));
                }
                (senses.hung_at(record.answers, &policy)? <= self.now).then_some((Cause::Hung, last_sign))
            }
            DomainState::Paused(reason) => Some((pause_cause(reason)?, seen.at)),
            DomainState::Panicked => Some((Cause::Panicked, seen.at)),
            // Left alone for a while, with a start of ours that was never answered: it is missed again.
            DomainState::Off(_) if record.pending_on.contains(host) => Some((Cause::StartFailed, seen.since)),
            DomainState::Off(_) => None,
        }
    }

    /// How a host looks.
    pub(crate) fn sight(&self, host: &HostId) -> Sight {
        self.belief.host_senses.get(host).map_or(Sight::Unknown, |senses| senses.sight)
    }

    /// Trouble that began now.
    pub(crate) fn trouble(&mut self, workload: &WorkloadId, cause: Cause) {
        let well_until = self.last_well(workload).unwrap_or(self.now);
        self.trouble_since(workload, cause, well_until);
    }

    /// The last moment at which a workload is known to have been well: its last answer, or any sign of life if it is not
    /// asked.
    pub(crate) fn last_well(&self, workload: &WorkloadId) -> Option<Time> {
        let senses = self.belief.workload_senses.get(workload)?;
        senses.heard().or_else(|| senses.last_sign())
    }

    pub(crate) fn trouble_since(&mut self, workload: &WorkloadId, cause: Cause, well_until: Time) {
        let subject = Subject::Workload(workload.clone());
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let host = record.host.clone();
        let relapse = record.trouble.as_ref().is_some_and(|trouble| trouble.started_at.is_some());
        let first_well_until = record.trouble.as_ref().map_or(well_until, |trouble| trouble.well_until);
        let managed = self.manages(workload);
        if managed && record.incident.is_none() {
            self.open_incident(subject.clone(), IncidentCause::Workload(cause), well_until);
        }
        let place = host.map(|host| format!(" on {host}")).unwrap_or_default();
        let again = if relapse { " again" } else { "" };
        let severity = if managed { Severity::Red } else { Severity::Yellow };
        self.note(EventKind::Believed, severity, subject, format!("{cause}{place}{again}"));
        if relapse {
            self.blame_point(workload);
        }
        if cause == Cause::Hung {
            self.blame_points_since(workload, well_until);
        }
        let now = self.now;
        let record = self.belief.workloads.get_mut(workload).expect("looked up above");
        record.trouble =
            Some(Trouble { cause, since: now, well_until: first_well_until, started_at: None, pictured: false });
        record.trying = None;
        record.moving = None;
        self.agenda.touch(workload);
    }

    /// A workload that was in trouble and runs: for the incident's story, and when it has been well long enough the
    /// trouble is over.
    fn note_recovery(&mut self, workload: &WorkloadId) {
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let Some(host) = self.runs_on(workload).cloned() else { return };
        if self.sight(&host) != Sight::Heard || self.doubtful(&host) {
            return;
        }
        let Some(trouble) = &record.trouble else {
            if record.incident.is_some() && self.is_well(workload) {
                self.was_spared(workload, &host);
            }
            return;
        };
        let senses = self.belief.workload_senses.get(workload);
        let started_at = match trouble.started_at {
            Some(started_at) => started_at,
            None if self.runs_again(workload) => self.now,
            None => return,
        };
        let well_until = trouble.well_until;
        let answered = senses.and_then(|senses| senses.answered_since);
        // A hang that ended by itself ended now; what it answered before says nothing.
        let answering = answered.map(|at| if at < well_until { started_at } else { at });
        let settled = !record.answers || answering.is_some();
        let stable_for = self.recovery(workload).stable_after;
        if trouble.started_at.is_none() {
            self.belief
                .workloads
                .get_mut(workload)
                .expect("looked up above")
                .trouble
                .as_mut()
                .expect("looked up above")
                .started_at = Some(started_at);
        }
        self.tell_running(workload, &host, started_at, answering);
        if settled && self.now.since(started_at) >= stable_for {
            let record = self.belief.workloads.get_mut(workload).expect("looked up above");
            record.trouble = None;
            record.reverted_to = None;
            self.note(
                EventKind::Believed,
                Severity::Green,
                Subject::Workload(workload.clone()),
                format!("well again on {host}"),
            );
            self.leave_incident_of(workload);
        }
    }

    /// True if it executes again although nobody told that a start was done: the start's outcome was lost or overtaken, or
    /// a person was faster. Only a hang does not end by being seen running; it takes an answer or another start.
    fn runs_again(&self, workload: &WorkloadId) -> bool {
        let record = self.belief.workloads.get(workload);
        let Some(trouble) = record.filter(|record| record.trying.is_none()).and_then(|record| record.trouble.as_ref())
        else {
            return false;
        };
        if self.life_order(workload).is_some() {
            return false; // its outcome tells, and it may be stopped first
        }
        let Some(senses) = self.belief.workload_senses.get(workload) else { return false };
        let answers = senses.heard() > Some(trouble.since) && senses.silent().is_none();
        trouble.cause != Cause::Hung || answers || senses.up_since > Some(trouble.since)
    }

    /// True while a host counts as lost or off: what was seen there before says nothing.
    fn doubtful(&self, host: &HostId) -> bool {
        self.belief
            .hosts
            .get(host)
            .is_none_or(|record| !matches!(record.phase, HostPhase::Online | HostPhase::Returning))
    }

    /// Where it is seen running, if it is certain that it runs nowhere else.
    pub(crate) fn runs_on(&self, workload: &WorkloadId) -> Option<&HostId> {
        let record = self.belief.workloads.get(workload)?;
        let host = record.may_run_on.first().filter(|_| record.may_run_on.len() == 1)?;
        let seen = self.belief.workload_senses.get(workload)?.seen.get(host)?;
        (seen.state == DomainState::Running).then_some(host)
    }

    /// Running in sight, not in trouble, not silent.
    pub(crate) fn is_well(&self, workload: &WorkloadId) -> bool {
        let Some(record) = self.belief.workloads.get(workload) else { return false };
        let Some(host) = self.runs_on(workload) else { return false };
        let in_trouble = record.trouble.as_ref().is_some_and(|trouble| trouble.started_at.is_none());
        let senses = self.belief.workload_senses.get(workload);
        let silent =
            record.answers && senses.is_some_and(|senses| senses.answered_since.is_none() || senses.silent().is_some());
        self.sight(host) == Sight::Heard && !in_trouble && !silent && record.unsettled.is_empty()
    }

    /// True if Mainstay acts for it.
    pub(crate) fn manages(&self, workload: &WorkloadId) -> bool {
        let told_not_to = self.belief.workloads.get(workload).is_none_or(|record| record.unprotected);
        !told_not_to
            && self.rule(workload).is_some_and(|rule| rule.policy.managed == mainstay_model::spec::Managed::Yes)
    }
}

/// How a host looks, by its channels.
fn sight(senses: &HostSenses, detection: &Detection, now: Time) -> Sight {
    let Some(hypervisor) = senses.channels.get(&HostChannel::Hypervisor) else { return Sight::Unknown };
    if hypervisor.heard.is_some() && hypervisor.silent_since.is_none() {
        return Sight::Heard;
    }
    if hypervisor.silent_since.is_none() {
        return Sight::Unknown;
    }
    let lost_after = hypervisor.beat.lost_after(detection);
    let asked_everywhere = senses.channels.values().all(|sense| sense.silent_since.is_some() && !sense.unasked);
    if asked_everywhere && senses.silence(now) >= lost_after {
        return Sight::Silent;
    }
    let hypervisor_silence = senses.silence_on(HostChannel::Hypervisor, now);
    if hypervisor_silence < lost_after {
        return Sight::Suspect;
    }
    let guests_silent =
        !hypervisor.unasked && senses.guest_heard.is_some_and(|heard| now.since(heard) >= detection.host_hung_after);
    if guests_silent && hypervisor_silence >= detection.host_hung_after {
        return Sight::Hung;
    }
    Sight::Unmanaged
}

impl HostSenses {
    /// When it could look different although nothing new is heard.
    fn next_look(&self, detection: &Detection, now: Time) -> Option<Time> {
        let lost_after = self
            .channels
            .get(&HostChannel::Hypervisor)
            .map_or(detection.host_lost_after, |sense| sense.beat.lost_after(detection));
        let heard = self.heard().map_or(self.watched_since, |heard| heard.max(self.watched_since));
        let hypervisor =
            self.heard_on(HostChannel::Hypervisor).map_or(self.watched_since, |heard| heard.max(self.watched_since));
        let stable = self.well_since.map(|well| well + detection.host_stable_for);
        let looks = [
            Some(heard + lost_after),
            Some(hypervisor + lost_after),
            Some(hypervisor + detection.management_fault_after),
            Some(hypervisor + detection.host_hung_after),
            self.guest_heard.map(|heard| heard + detection.host_hung_after),
            stable,
        ];
        looks.into_iter().flatten().filter(|at| *at > now).min()
    }
}

impl WorkloadSenses {
    /// When it last gave any sign of life: an answer, a write, a packet sent, or its start.
    pub(crate) fn last_sign(&self) -> Option<Time> {
        let moved = self.activity.map(|activity| activity.moved_at);
        self.heard().into_iter().chain(moved).chain(self.up_since).max()
    }

    /// Since when it boots and boots and never answers, if it does; however busy it looks.
    fn reboots_since(&self) -> Option<Time> {
        self.silent()?;
        self.heard().max(self.up_since).filter(|_| self.reboots >= BOOT_LOOP)
    }

    /// When it will count as hung if nothing is heard until then. `None`: it can't be judged, since it never answered, or
    /// nobody asked in vain. A guest that still writes or sends is not hung, only unresponsive.
    pub(crate) fn hung_at(&self, ever_answered: bool, policy: &RecoveryPolicy) -> Option<Time> {
        let silent = self.silent().is_some();
        if !ever_answered || !silent {
            return None;
        }
        let last_sign = self.last_sign().max(self.watched_since)?;
        let patience = if self.answered_since.is_some() { policy.hung_after } else { policy.answer_within };
        Some(last_sign + patience)
    }
}
