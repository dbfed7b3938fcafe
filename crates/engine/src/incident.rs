//! Incidents: the story of a trouble, from the last moment of health until all is well or a person took over. A lost host
//! and all its workloads are one incident.

use crate::{
    belief::{PointKey, WorkloadRecord},
    engine::Engine,
};
use mainstay_model::{
    Event, HostId, Incident, IncidentCause, IncidentWorkload, PointState, RecoveryPoint, Span, Subject, Time,
    WorkloadId,
};

/// Events kept per incident; the middle is dropped first, since beginning and end tell the most.
const TIMELINE_LIMIT: usize = 400;
/// Incidents kept; the oldest closed ones go first.
const INCIDENTS_KEPT: usize = 1_000;

impl Engine {
    /// Opens an incident, unless the subject is in one that is not over: a host lost again before it was back in service.
    pub(crate) fn open_incident(&mut self, subject: Subject, cause: IncidentCause, well_until: Time) {
        let known = self.incident_of(&subject).and_then(|id| self.belief.incidents.get(&id));
        if known.is_some_and(|incident| incident.closed_at.is_none()) {
            return;
        }
        let id = self.belief.meta.new_incident();
        let mut incident = Incident {
            id,
            subject: subject.clone(),
            cause,
            well_until,
            opened_at: self.now,
            closed_at: None,
            workloads: Vec::new(),
            timeline: Vec::new(),
        };
        match &subject {
            Subject::Host(host) => {
                if let Some(record) = self.belief.hosts.get_mut(host) {
                    record.incident = Some(id);
                }
            }
            Subject::Workload(workload) => {
                if let Some(record) = self.belief.workloads.get_mut(workload) {
                    record.incident = Some(id);
                    incident.workloads.push(hit(record, well_until, self.now));
                }
            }
            Subject::Cluster => {}
        }
        self.belief.incidents.put(incident);
        let surplus = self.belief.incidents.len().saturating_sub(INCIDENTS_KEPT);
        let old: Vec<_> = self
            .belief
            .incidents
            .values()
            .filter(|incident| incident.closed_at.is_some())
            .map(|incident| incident.id)
            .take(surplus)
            .collect();
        for id in old {
            self.belief.incidents.remove(&id);
        }
    }

    /// A workload is hit by the loss of its host.
    pub(crate) fn join_incident(&mut self, workload: &WorkloadId, host: &HostId, host_heard: Time) {
        let mut well_until = self.last_well(workload).unwrap_or(host_heard);
        let Some(id) = self.belief.hosts.get(host).and_then(|record| record.incident) else { return };
        if !self.manages(workload) {
            return;
        }
        if self.incident_of(&Subject::Workload(workload.clone())).is_some_and(|own| own != id) {
            // The greater trouble takes over, and tells of what the other has not told.
            let told_until = self.part_in_incident(workload).and_then(|hit| hit.back_at());
            well_until = told_until.map_or(well_until, |told| told.max(well_until));
            self.leave_incident_of(workload);
        }
        let Some(record) = self.belief.workloads.get_mut(workload) else { return };
        record.incident = Some(id);
        let new = hit(record, well_until, self.now);
        let Some(incident) = self.belief.incidents.get_mut(&id) else { return };
        if incident.workloads.iter().any(|hit| hit.workload == *workload) {
            self.down_again(workload, well_until);
        } else {
            incident.workloads.push(new);
        }
    }

    /// A workload that is in an incident fell, or fell again: what it was down before counts, what it ran between does not.
    pub(crate) fn down_again(&mut self, workload: &WorkloadId, well_until: Time) {
        let now = self.now;
        let Some(hit) = self.part_in_incident(workload) else { return };
        hit.wrote_until = Some(now);
        // Nothing shows that it was well after that: it left as it seemed by a person's wish, and that was none (scenario 470), or its
        // start was told to a controller that woke up, and it was down again by then (scenario 620).
        let was_back = |back: &Time| well_until > *back;
        if let Some(back) = hit.back_at().or(hit.left_at).filter(was_back) {
            hit.down_before = hit.downtime(back);
            hit.down_since = Some(well_until);
        }
        (hit.running_at, hit.answering_at, hit.left_at) = (None, None, None);
    }

    /// It is known that it wrote nothing since then.
    pub(crate) fn wrote_until(&mut self, workload: &WorkloadId, until: Option<Time>) {
        if let (Some(until), Some(hit)) = (until, self.part_in_incident(workload)) {
            hit.wrote_until = Some(hit.wrote_until.map_or(until, |at| at.min(until)));
        }
    }

    /// When it was down again in the incident it is in, if it was up meanwhile.
    pub(crate) fn fell_at(&self, workload: &WorkloadId) -> Option<Time> {
        let incident = self.belief.incidents.get(&self.belief.workloads.get(workload)?.incident?)?;
        incident.workloads.iter().find(|hit| hit.workload == *workload)?.down_since
    }

    /// What is on record of a workload in the incident it is in.
    fn part_in_incident(&mut self, workload: &WorkloadId) -> Option<&mut IncidentWorkload> {
        let id = self.belief.workloads.get(workload)?.incident?;
        let incident = self.belief.incidents.get_mut(&id)?;
        incident.workloads.iter_mut().find(|hit| hit.workload == *workload)
    }

    /// Adds an event to the incident it belongs to.
    pub(crate) fn tell(&mut self, event: &Event) {
        let Some(incident) = event.incident.and_then(|id| self.belief.incidents.get_mut(&id)) else { return };
        if incident.timeline.len() >= TIMELINE_LIMIT {
            incident.timeline.remove(TIMELINE_LIMIT / 2);
        }
        incident.timeline.push(event.clone());
    }

    /// A workload of an incident runs (and answers).
    pub(crate) fn tell_running(
        &mut self,
        workload: &WorkloadId,
        host: &HostId,
        running_at: Time,
        answering_at: Option<Time>,
    ) {
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let (Some(id), probed) = (record.incident, record.answers) else { return };
        let Some(incident) = self.belief.incidents.get(&id) else { return };
        let Some(known) = incident.workloads.iter().find(|hit| hit.workload == *workload) else { return };
        // When it was first back is what counts: a move, or a new term that sees it for the first time, changes nothing.
        let running_at = known.running_at.unwrap_or(running_at);
        let (was_answering, answering_at) = (known.answering_at, known.answering_at.or(answering_at));
        let is_known = known.running_at.is_some() && was_answering == answering_at && known.probed == probed;
        if is_known && known.to.as_ref() == Some(host) {
            return;
        }
        let Some(hit) = self.part_in_incident(workload) else { return };
        hit.to = Some(host.clone());
        hit.running_at = Some(running_at);
        hit.answering_at = answering_at;
        hit.probed = probed;
        hit.data_loss.get_or_insert_default();
        if let Some(answering_at) = answering_at.filter(|_| was_answering.is_none()) {
            let subject = Subject::Workload(workload.clone());
            let down = answering_at.since(hit.down_since.unwrap_or(hit.well_until));
            self.note(
                mainstay_model::EventKind::Seen,
                mainstay_model::Severity::Green,
                subject,
                format!("answers again on {host}, {} after it was last well", down.roughly()),
            );
        }
    }

    /// A workload of an incident was brought back to a recovery point: what came after that is lost.
    pub(crate) fn data_lost(&mut self, workload: &WorkloadId, point_taken_at: Option<Time>) {
        let Some(hit) = self.part_in_incident(workload) else { return };
        let wrote_until = hit.wrote_until.unwrap_or(hit.well_until);
        let before = hit.data_loss.unwrap_or(Span::ZERO);
        hit.data_loss = point_taken_at.map(|taken_at| wrote_until.since(taken_at).max(before));
    }

    /// The workload's part in its incident is over.
    pub(crate) fn leave_incident_of(&mut self, workload: &WorkloadId) {
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let Some(id) = record.incident else { return };
        let now = self.now;
        if let Some(hit) = self.part_in_incident(workload)
            && hit.back_at().is_none()
        {
            hit.left_at = Some(now);
        }
        self.belief.workloads.get_mut(workload).expect("looked up above").incident = None;
        let others = |incident: &Incident| {
            incident
                .workloads
                .iter()
                .any(|hit| self.belief.workloads.get(&hit.workload).is_some_and(|record| record.incident == Some(id)))
        };
        let Some(incident) = self.belief.incidents.get(&id) else { return };
        if !others(incident) {
            let end = incident.workloads.iter().filter_map(|hit| hit.back_at().or(hit.left_at)).max();
            let end = end.unwrap_or(self.now);
            let incident = self.belief.incidents.get_mut(&id).expect("looked up above");
            incident.closed_at = Some(end);
        }
    }

    /// Its host was silent, but it ran on all the while.
    pub(crate) fn was_spared(&mut self, workload: &WorkloadId, host: &HostId) {
        let senses = self.belief.workload_senses.get(workload);
        let came_up = senses.and_then(|senses| {
            let up = senses.up_since.filter(|up| senses.asked_to_start.is_some_and(|asked| *up > asked))?;
            Some((up, senses.answered_since.unwrap_or(up)))
        });
        let booted_at = self.belief.hosts.get(host).and_then(|record| record.booted_at);
        let booted = booted_at.map(|at| (at, self.boot_time_off_by(at)));
        let now = self.now;
        let Some(record) = self.belief.workloads.get(workload) else { return };
        if let Some(incident) = record.incident.and_then(|id| self.belief.incidents.get_mut(&id))
            && let Some(hit) = incident.workloads.iter_mut().find(|hit| hit.workload == *workload)
        {
            hit.to = Some(host.clone());
            let from = hit.down_since.unwrap_or(hit.well_until);
            hit.probed = record.answers;
            // Its host booted since and started it by itself: it was down, and is known to be back as of now (scenario 641). Or an
            // operator had it started: it was down until then (scenario 485).
            let anew = booted.filter(|(at, off_by)| *at > from + *off_by).map(|_| (now, now));
            let (up, answered) = came_up.or(anew).unwrap_or((from, from));
            hit.running_at = Some(up);
            hit.answering_at = record.answers.then_some(answered);
            hit.data_loss.get_or_insert_default();
        }
        self.leave_incident_of(workload);
    }

    /// A person took over.
    pub(crate) fn give_up_incident(&mut self, workload: &WorkloadId) {
        self.leave_incident_of(workload);
    }

    /// The host is back. Those of its workloads that were not harmed leave with it; of those in trouble the last one closes
    /// the incident.
    pub(crate) fn leave_incident(&mut self, host: &HostId) {
        let Some(id) = self.belief.hosts.get_mut(host).and_then(|record| record.incident.take()) else { return };
        let unharmed = self.belief.workloads.values().filter(|it| it.incident == Some(id) && it.trouble.is_none());
        let unharmed: Vec<WorkloadId> = unharmed.map(|record| record.workload.clone()).collect();
        unharmed.iter().for_each(|workload| self.leave_incident_of(workload));
        let open = self.belief.workloads.values().any(|record| record.incident == Some(id));
        if !open
            && let Some(incident) = self.belief.incidents.get_mut(&id)
            && incident.closed_at.is_none()
        {
            incident.closed_at = Some(self.now);
        }
    }

    /// Trouble again soon after a revert: that recovery point does not help.
    pub(crate) fn blame_point(&mut self, workload: &WorkloadId) {
        if let Some(point) = self.belief.workloads.get_mut(workload).and_then(|record| record.reverted_to.take()) {
            self.doubt_points(workload, |good| good.id == point);
        }
    }

    /// A workload that hung had hung since its last sign of life: a point taken after that holds the hang, and would bring
    /// it back.
    pub(crate) fn blame_points_since(&mut self, workload: &WorkloadId, last_sign: Time) {
        self.doubt_points(workload, |good| good.taken_at > last_sign);
    }

    /// Calls good points doubtful, but never the last good one: it is all there is.
    fn doubt_points(&mut self, workload: &WorkloadId, doubtful: impl Fn(&RecoveryPoint) -> bool) {
        let good = || self.belief.points_of(workload).filter(|point| point.state == PointState::Good);
        if good().all(&doubtful) {
            return;
        }
        let keys: Vec<PointKey> =
            good().filter(|point| doubtful(point)).map(|point| PointKey(workload.clone(), point.id.clone())).collect();
        for key in keys {
            self.belief.points.get_mut(&key).expect("listed above").state = PointState::Bad;
        }
    }
}

fn hit(record: &WorkloadRecord, well_until: Time, now: Time) -> IncidentWorkload {
    IncidentWorkload {
        workload: record.workload.clone(),
        from: record.host.clone(),
        to: None,
        well_until,
        running_at: None,
        answering_at: None,
        data_loss: None,
        probed: record.answers,
        down_since: None,
        down_before: Span::ZERO,
        wrote_until: Some(now),
        left_at: None,
    }
}
