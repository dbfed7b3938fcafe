//! What is believed of recovery points: taken, deleted, seen, missed. A point is good only if its workload was well when it
//! was known to exist; what is lost is said until there is another good one.

use crate::{
    belief::{AskedFor, OrderRecord, PointKey, Reverted, Sight, Want},
    engine::Engine,
};
use mainstay_model::{
    Action, Detail, EventKind, FailureKind, HostId, HostState, Outcome, PointBy, PointId, PointKind, PointState,
    RecoveryPoint, Severity, Span, Subject, Time, WorkloadId, spec::Rung,
};
use std::collections::BTreeSet;

/// The deletion of a recovery point that failed is tried again after this long.
const DELETE_PAUSE: Span = Span::minutes(1);
/// A recovery point that is not listed any more is believed gone after this long.
const POINT_MISSED_FOR: Span = Span::secs(10);

impl Engine {
    pub(crate) fn point_in_flight(&self, workload: &WorkloadId, point: &PointId) -> bool {
        self.belief.in_flight(&Subject::Workload(workload.clone())).any(|record| match &record.order.action {
            Action::TakePoint { point: other, .. }
            | Action::DeletePoint { point: other, .. }
            | Action::Revert { point: other, .. } => other == point,
            _ => false,
        })
    }

    /// The host on which a workload that a person stopped is off for certain, with its disks at rest; else why a recovery point of it
    /// can't be taken.
    pub(crate) fn stopped_on(&self, workload: &WorkloadId) -> Result<HostId, String> {
        let not_certain = || format!("it is not certain where {workload} is");
        let record = self.belief.workloads.get(workload).ok_or_else(not_certain)?;
        if record.want == Want::Running {
            return Err(format!("{workload} does not run, and no person stopped it"));
        }
        let settled = record.may_run_on.is_empty() && record.unsettled.is_empty() && record.moving.is_none();
        let Some(host) = self.home(record).filter(|host| settled && self.sight(host) == Sight::Heard) else {
            return Err(not_certain());
        };
        let seen = self.belief.workload_senses.get(workload).and_then(|senses| senses.seen.get(&host));
        let off = seen.is_some_and(|seen| !seen.state.is_live());
        if record.only_here.contains(&HostState::SavedMemory) {
            return Err(format!(
                "the memory of {workload} is saved on {host}, and its disks alone are half of its state"
            ));
        }
        if off { Ok(host) } else { Err(not_certain()) }
    }

    pub(crate) fn point_taken(&mut self, workload: &WorkloadId, point: &PointId, outcome: Outcome) {
        let key = PointKey(workload.clone(), point.clone());
        match outcome {
            Outcome::Done { detail } => {
                let Some(record) = self.belief.points.get_mut(&key) else { return };
                if let Detail::Point { kind, frozen, handle, bytes } = detail {
                    (record.kind, record.frozen, record.handle, record.bytes) = (kind, frozen, handle, bytes);
                }
                self.point_exists(&key);
            }
            Outcome::Failed { error } => {
                self.belief.points.remove(&key);
                self.point_failed(workload);
                if let Some(record) = self.belief.workloads.get_mut(workload) {
                    record.point_refused = (error.kind == FailureKind::Refused).then_some(error.message);
                }
            }
            Outcome::Unknown { .. } => self.point_failed(workload), // a list of what is there tells
        }
    }

    /// It was taken, that is certain now. If its workload fell sick meanwhile it may hold the sickness. Silence alone tells
    /// nothing: taking the point holds the guest still for a moment, longer the more memory it has.
    fn point_exists(&mut self, key: &PointKey) {
        let sound = (self.runs_on(&key.0).is_some() || self.stopped_on(&key.0).is_ok())
            && self.belief.workloads.get(&key.0).is_some_and(|record| {
                record.trouble.as_ref().is_none_or(|trouble| trouble.started_at.is_some())
                    && record.unsettled.is_empty()
            });
        let Some(point) = self.belief.points.get_mut(key) else { return };
        point.state = if sound { PointState::Good } else { PointState::Bad };
        match self.belief.workloads.get_mut(&key.0) {
            Some(record) if sound => {
                (record.point_failures, record.point_lost, record.point_refused) = (0, None, None);
            }
            _ => self.point_failed(&key.0), // a bad one protects from nothing: the next is not far
        }
    }

    fn point_failed(&mut self, workload: &WorkloadId) {
        if let Some(record) = self.belief.workloads.get_mut(workload) {
            record.point_failures += 1;
        }
    }

    pub(crate) fn point_deleted(&mut self, workload: &WorkloadId, point: &PointId, outcome: &Outcome) {
        let gone = match outcome {
            Outcome::Done { .. } => true,
            Outcome::Failed { error } => error.kind == FailureKind::NotThere,
            Outcome::Unknown { .. } => false,
        };
        let now = self.now;
        let senses = self.belief.workload_senses.entry(workload.clone()).or_default();
        if gone {
            senses.point_deleted_at = Some(now);
            senses.stuck_points.remove(point);
            self.belief.points.remove(&PointKey(workload.clone(), point.clone()));
        } else {
            // The others do not wait for this one.
            senses.stuck_points.insert(point.clone(), (self.now + DELETE_PAUSE, outcome.to_string()));
        }
    }

    /// What a revert set aside goes on record. If a rung of the ladder asked for the revert, a person has to know of it.
    pub(crate) fn revert_ended(&mut self, workload: &WorkloadId, host: &HostId, point: &PointId, outcome: &Outcome) {
        let by_ladder = self.belief.workloads.get(workload).is_some_and(|record| record.trying.is_some());
        // Its disks may have been switched although it could not be started after that.
        let is_reverted = |did: &Detail| matches!(did, Detail::Reverted { .. });
        let (certain, did) = match outcome {
            Outcome::Done { detail } => (true, detail),
            Outcome::Unknown { did, .. } => (is_reverted(did), did),
            Outcome::Failed { error } if error.did == Detail::None => return,
            Outcome::Failed { error } => (is_reverted(&error.did), &error.did),
        };
        let kept = match did {
            Detail::Reverted { set_aside: Some(name), handle } | Detail::SetAside { name, handle } => {
                Some((name.clone(), handle.clone()))
            }
            _ => None,
        };
        let set_aside = kept.as_ref().map(|(name, _)| name.clone());
        if let Some((name, handle)) = kept {
            self.set_aside(workload, host, name, handle);
        }
        if certain {
            self.reverted(workload, point);
        }
        if let Some(record) = self.belief.workloads.get_mut(workload) {
            record.reverted = by_ladder.then(|| Reverted { to: point.clone(), set_aside, certain });
        }
    }

    /// A person knows of the revert. If nothing was set aside there is nothing left to answer.
    pub(crate) fn revert_acknowledged(&mut self, workload: &WorkloadId) {
        if let Some(record) = self.belief.workloads.get_mut(workload)
            && record.reverted.as_ref().is_some_and(|reverted| reverted.set_aside.is_none())
        {
            record.reverted = None;
        }
        self.agenda.touch(workload);
    }

    /// What a revert of unknown outcome set aside, or one whose controller ended, goes on record when it is seen.
    pub(crate) fn set_aside_seen(&mut self, workload: &WorkloadId, asked_at: Time, names: &BTreeSet<PointId>) {
        let host = self.belief.workloads.get(workload).and_then(|record| record.host.clone());
        let Some(host) = host.filter(|_| self.life_order(workload).is_none()) else { return };
        for name in names {
            let known = self.belief.points.contains(&PointKey(workload.clone(), name.clone()));
            // A list that was asked for before its deletion ended may come after that.
            let deleted = self.belief.workload_senses.get(workload).and_then(|senses| senses.point_deleted_at);
            if known || self.point_in_flight(workload, name) || deleted.is_some_and(|at| at >= asked_at) {
                continue;
            }
            self.set_aside(workload, &host, name.clone(), name.to_string());
            let text = format!("{name} is there, which a revert had set aside");
            self.note(EventKind::Seen, Severity::Yellow, Subject::Workload(workload.clone()), text);
            if let Some(record) = self.belief.workloads.get_mut(workload)
                && let Some(reverted) = record.reverted.as_mut().filter(|it| !it.certain && it.set_aside.is_none())
            {
                reverted.set_aside = Some(name.clone());
            }
            self.revert_left_its_mark(workload, &host);
            self.agenda.touch(workload);
        }
    }

    /// What a revert set aside is there, and its answer was lost: it was carried out. If an operator asked for it, it is not made again;
    /// whether it came up after that its host's next list tells (scenario 903).
    fn revert_left_its_mark(&mut self, workload: &WorkloadId, host: &HostId) {
        let in_doubt = |order: &OrderRecord| {
            let unknown = matches!(order.ended, Some((_, Outcome::Unknown { .. })));
            unknown && matches!(order.order.action, Action::Revert { .. })
        };
        // It may be of one before, if no list had come since, or that one may have come late.
        let newest: Vec<&OrderRecord> = self.orders_there(workload, host).take(2).collect();
        let last = match newest.as_slice() {
            [last, before] if in_doubt(last) && last.points_listed && !in_doubt(before) => last.order.id,
            [last] if in_doubt(last) && last.points_listed => last.order.id,
            _ => return,
        };
        if let Some(last) = self.belief.orders.get_mut(&last) {
            last.left_its_mark = true;
        }
        if !self.is_asked(workload, |asked| matches!(asked, AskedFor::Revert { .. })) {
            return;
        }
        self.asked_is_done(workload);
        let now = self.now;
        if let Some(open) = self.belief.workloads.get_mut(workload).and_then(|record| record.unsettled.get_mut(host)) {
            open.may_happen_until = open.may_happen_until.min(now);
        }
    }

    fn set_aside(&mut self, workload: &WorkloadId, host: &HostId, name: PointId, handle: String) {
        self.belief.points.put(RecoveryPoint {
            id: name,
            workload: workload.clone(),
            taken_at: self.now,
            host: host.clone(),
            kind: PointKind::Disk,
            by: PointBy::Revert,
            state: PointState::SetAside,
            frozen: false,
            proved_at: None,
            handle,
            bytes: None,
        });
    }

    /// The last revert by the ladder, while what it set aside is on record, or nothing was set aside.
    pub(crate) fn unanswered_revert(&self, workload: &WorkloadId) -> Option<&Reverted> {
        let reverted = self.belief.workloads.get(workload)?.reverted.as_ref()?;
        let kept = |name: &PointId| self.belief.points.contains(&PointKey(workload.clone(), name.clone()));
        reverted.set_aside.as_ref().is_none_or(kept).then_some(reverted)
    }

    fn reverted(&mut self, workload: &WorkloadId, point: &PointId) {
        let loss = self.belief.points.get(&PointKey(workload.clone(), point.clone())).map(|point| point.taken_at);
        if let Some(record) = self.belief.workloads.get_mut(workload) {
            record.reverted_to = Some(point.clone());
        }
        self.data_lost(workload, loss);
    }

    /// A revert to a point that is not there was no attempt: if there is another good one, that is next.
    pub(crate) fn point_not_there(&mut self, workload: &WorkloadId, point: &PointId) {
        let is_other = |other: &RecoveryPoint| other.state == PointState::Good && other.id != *point;
        if !self.belief.points_of(workload).any(is_other) {
            return;
        }
        if let Some(point) = self.belief.points.get_mut(&PointKey(workload.clone(), point.clone())) {
            point.state = PointState::Bad;
        }
        if let Some(record) = self.belief.workloads.get_mut(workload) {
            record.attempts.pop_if(|attempt| attempt.rung == Rung::Revert);
        }
    }

    /// The snapshots that are really there: what is on record and missing is lost; what was being taken when we lost sight
    /// of it is there, or is not.
    pub(crate) fn points_seen(&mut self, workload: &WorkloadId, asked_at: Time, names: &BTreeSet<PointId>) {
        if !self.belief.workloads.contains(workload) {
            return;
        }
        if self.life_order(workload).is_some() {
            // A migration takes the snapshots' records off their host for a while.
            self.belief.workload_senses.entry(workload.clone()).or_default().missing_points.clear();
            return;
        }
        let senses = self.belief.workload_senses.entry(workload.clone()).or_default();
        let mut news = senses.points_listed < senses.up_since; // retention waits for it
        senses.points_listed = senses.points_listed.max(Some(asked_at));
        for key in self.belief.point_keys(workload) {
            let Some(point) = self.belief.points.get(&key) else { continue };
            let (there, state) = (names.contains(&point.id), point.state);
            if point.taken_at >= asked_at || self.point_in_flight(workload, &key.1) {
                continue;
            }
            news |= !there || state == PointState::Taking;
            match (state, there) {
                (PointState::Taking, true) => self.point_exists(&key),
                (PointState::Taking | PointState::Deleting, false) => {
                    self.belief.points.remove(&key);
                    if let Some(senses) = self.belief.workload_senses.get_mut(workload) {
                        senses.stuck_points.remove(&key.1);
                    }
                }
                (PointState::Good | PointState::Bad, false) if self.missing_for_sure(&key, asked_at) => {
                    self.point_lost(&key);
                }
                (PointState::SetAside, false) if self.missing_for_sure(&key, asked_at) => {
                    self.belief.points.remove(&key);
                    let text = format!("{}, which a revert had set aside, is gone", key.1);
                    self.note(EventKind::Seen, Severity::Yellow, Subject::Workload(workload.clone()), text);
                }
                (PointState::Good | PointState::Bad | PointState::SetAside, false) => {}
                (_, true) => {
                    if let Some(senses) = self.belief.workload_senses.get_mut(workload) {
                        senses.missing_points.remove(&key.1);
                    }
                }
            }
        }
        if news {
            self.agenda.touch(workload);
        }
    }

    /// A recovery point leaves the record only if its host did not list it for a while: one list may be caught in the
    /// middle of something.
    fn missing_for_sure(&mut self, key: &PointKey, asked_at: Time) -> bool {
        let senses = self.belief.workload_senses.entry(key.0.clone()).or_default();
        let since = *senses.missing_points.entry(key.1.clone()).or_insert(asked_at);
        asked_at.since(since) >= POINT_MISSED_FOR
    }

    fn point_lost(&mut self, key: &PointKey) {
        self.belief.points.remove(key);
        let PointKey(workload, point) = key;
        if let Some(record) = self.belief.workloads.get_mut(workload) {
            record.point_lost = Some(point.clone());
        }
        let text = format!("recovery point {point} is gone: somebody else deleted it");
        self.note(EventKind::Seen, Severity::Yellow, Subject::Workload(workload.clone()), text);
    }
}
