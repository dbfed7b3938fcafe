//! Recovery points: when the next is due, what is kept, what goes. Never of a workload that is not well, never the last
//! good one away.

use crate::{
    belief::{OrderRecord, PointKey, Purpose, Want},
    engine::Engine,
};
use mainstay_model::{
    Action, HostId, PointBy, PointId, PointState, RecoveryPoint, Span, Subject, Time, WorkloadId,
    spec::{Keep, ProtectionPolicy},
};
use std::collections::BTreeSet;

/// A workload must have been well for this long, or a point of it might hold a sickness that shows only now.
const WELL_FOR: Span = Span::secs(3);
/// Bound for deleting a point.
const DELETE_TIMEOUT: Span = Span::minutes(5);
/// The first point is spread over at most this, so that all hosts are not hit at once.
const SPREAD_LIMIT: Span = Span::secs(30);
/// When limits are reached, it is looked again after this.
const LIMIT_PAUSE: Span = Span::secs(2);

impl Engine {
    /// Takes or deletes a recovery point if it is time; returns when to look again.
    pub(super) fn protect(&mut self, workload: &WorkloadId) -> Option<Time> {
        if self.memory_in_doubt() {
            return None; // every workload is looked at again when that ends
        }
        let policy = self.protection(workload)?.policy.clone();
        let host = self.runs_on(workload).cloned()?;
        let record = self.belief.workloads.get(workload)?;
        let busy = record.moving.is_some() || self.life_order(workload).is_some() || self.point_order(workload);
        if busy || record.trouble.is_some() || self.belief.cut_off || !self.manages(workload) || !self.is_well(workload)
        {
            return None; // looked at again when that changes
        }
        let senses = self.belief.workload_senses.get(workload)?;
        let up_since = senses.up_since?;
        let unheard = self.is_unheard(workload);
        self.retain(workload, &host, &policy);
        let due = self.point_due(workload, &policy)?.max(up_since + WELL_FOR);
        if due > self.now {
            return Some(due);
        }
        if unheard || self.points_limited(workload, &host) {
            return Some(self.now + LIMIT_PAUSE);
        }
        self.take_point(workload, &host, self.point_name(workload), PointBy::Schedule);
        None
    }

    /// It has answered before, and not since the controller slept, its host was out of sight or its probes began anew: it may hang
    /// since long.
    pub(crate) fn is_unheard(&self, workload: &WorkloadId) -> bool {
        let answers = self.belief.workloads.get(workload).is_some_and(|record| record.answers);
        let senses = self.belief.workload_senses.get(workload);
        answers && senses.is_none_or(|senses| senses.heard() < senses.watched_since)
    }

    /// A recovery point of this workload is being taken or deleted.
    pub(crate) fn point_order(&self, workload: &WorkloadId) -> bool {
        self.point_order_of(workload).is_some()
    }

    /// That order.
    pub(crate) fn point_order_of(&self, workload: &WorkloadId) -> Option<&OrderRecord> {
        let mut orders = self.belief.in_flight(&Subject::Workload(workload.clone()));
        orders.find(|record| matches!(record.order.action, Action::TakePoint { .. } | Action::DeletePoint { .. }))
    }

    pub(crate) fn take_point(&mut self, workload: &WorkloadId, host: &HostId, name: PointId, by: PointBy) {
        let policy = self.protection(workload).map(|rule| rule.policy.clone()).unwrap_or_default();
        self.belief.points.put(RecoveryPoint {
            id: name.clone(),
            workload: workload.clone(),
            taken_at: self.now,
            host: host.clone(),
            kind: policy.kind,
            by,
            state: PointState::Taking,
            frozen: false,
            proved_at: None,
            handle: String::new(),
            bytes: None,
        });
        let now = self.now;
        if let Some(record) = self.belief.workloads.get_mut(workload) {
            record.point_tried = Some(now);
        }
        let action = Action::TakePoint {
            workload: workload.clone(),
            host: host.clone(),
            point: name,
            kind: policy.kind,
            freeze: policy.freeze,
        };
        self.order(action, policy.timeout, Purpose::Side);
    }

    /// When the next point is due. After a failure sooner than the interval, but not at once.
    fn point_due(&self, workload: &WorkloadId, policy: &ProtectionPolicy) -> Option<Time> {
        let record = self.belief.workloads.get(workload)?;
        let jitter = |limit: Span| Span(spread(workload) % limit.0.max(1));
        let Some(tried) = record.point_tried else {
            return Some(record.known_since + jitter(Span(policy.every.0 / 20).min(SPREAD_LIMIT)));
        };
        if record.point_refused.is_some() {
            return Some(tried + policy.every); // it would be refused again
        }
        if record.point_failures > 0 {
            let wait = Span::secs(10).times(1 << record.point_failures.min(6));
            return Some(tried + wait.min(policy.every));
        }
        Some(tried + policy.every)
    }

    /// When the newest good point will be too old, if it should be renewed at all.
    pub(crate) fn point_overdue_at(&self, workload: &WorkloadId) -> Option<Time> {
        let record = self.belief.workloads.get(workload).filter(|record| record.want == Want::Running)?;
        let every = self.protection(workload)?.policy.every;
        let newest = self.last_good_point(workload).map_or(record.known_since, |point| point.taken_at);
        Some(newest + every.times(2) + Span(1))
    }

    /// True if as many points as allowed are being taken on the host or on one of the workload's datastores.
    fn points_limited(&self, workload: &WorkloadId, host: &HostId) -> bool {
        let limits = self.spec.limits;
        let Some(record) = self.belief.workloads.get(workload) else { return false };
        let (mut on_host, mut on_store) = (0, 0);
        for order in self.belief.all_in_flight() {
            let Action::TakePoint { workload: other, host: at, .. } = &order.order.action else { continue };
            on_host += u32::from(at == host);
            let other = self.belief.workloads.get(other);
            on_store += u32::from(other.is_some_and(|other| !other.datastores.is_disjoint(&record.datastores)));
        }
        on_host >= limits.points_per_host || on_store >= limits.points_per_datastore
    }

    /// Deletes what retention no longer keeps, one at a time. What is kept must have been listed since its workload came up: a storage
    /// that went down with it may have lost what it had said was written, and the older point is the only one then (scenario 826).
    fn retain(&mut self, workload: &WorkloadId, host: &HostId, policy: &ProtectionPolicy) {
        let Some(senses) = self.belief.workload_senses.get(workload) else { return };
        if self.point_order(workload) || senses.points_listed < senses.up_since {
            return; // such a list touches it
        }
        let rests = |point: &PointId| {
            let stuck = senses.stuck_points.get(point);
            stuck.is_some_and(|(again_at, _)| *again_at > self.now)
        };
        let is_there = |point: &&RecoveryPoint| !senses.missing_points.contains_key(&point.id);
        let points: Vec<&RecoveryPoint> = self.belief.points_of(workload).filter(is_there).collect();
        let any_good = points.iter().any(|point| point.state == PointState::Good);
        let unfinished =
            points.iter().find(|point| any_good && point.state == PointState::Deleting && !rests(&point.id));
        let surplus = unfinished.map(|point| point.id.clone()).or_else(|| surplus(&points, policy.keep, self.now));
        if let Some(point) = surplus {
            self.delete_point(workload, host, point);
        }
    }

    pub(crate) fn delete_point(&mut self, workload: &WorkloadId, host: &HostId, point: PointId) {
        let key = PointKey(workload.clone(), point.clone());
        if self.belief.points.get(&key).is_some_and(|record| record.state != PointState::Deleting)
            && let Some(record) = self.belief.points.get_mut(&key)
        {
            record.state = PointState::Deleting;
        }
        self.order(
            Action::DeletePoint { workload: workload.clone(), host: host.clone(), point },
            DELETE_TIMEOUT,
            Purpose::Side,
        );
    }

    /// A name that tells when: `ms-20261120-061500`.
    pub(crate) fn point_name(&self, workload: &WorkloadId) -> PointId {
        let stamp = stamp(self.now);
        let taken = |name: &PointId| self.belief.points.contains(&PointKey(workload.clone(), name.clone()));
        let plain = PointId::new(format!("ms-{stamp}"));
        if !taken(&plain) {
            return plain;
        }
        let numbered = (2..).map(|n| PointId::new(format!("ms-{stamp}-{n}")));
        numbered.into_iter().find(|name| !taken(name)).expect("there are more numbers than points")
    }
}

/// The oldest point that neither count nor age ladder keeps. The last good one, points of persons, and what is being taken
/// are never surplus.
fn surplus(points: &[&RecoveryPoint], keep: Keep, now: Time) -> Option<PointId> {
    let mut good: Vec<&&RecoveryPoint> = points.iter().filter(|point| point.state == PointState::Good).collect();
    if good.is_empty() {
        return None; // a bad point is better than none
    }
    good.sort_by_key(|point| std::cmp::Reverse(point.taken_at));
    let last_good = good.first().map(|point| &point.id);
    // A bad one takes no good one's place. It stays for as long as it would if it were good: the doubt may be wrong.
    let mut any: Vec<&&RecoveryPoint> =
        points.iter().filter(|point| matches!(point.state, PointState::Good | PointState::Bad)).collect();
    any.sort_by_key(|point| std::cmp::Reverse(point.taken_at));
    let kept: BTreeSet<&PointId> =
        kept_of(&good, keep, now).into_iter().chain(kept_of(&any, keep, now)).chain(last_good).collect();
    let mut scheduled: Vec<&&RecoveryPoint> = points
        .iter()
        .filter(|point| point.by == PointBy::Schedule && matches!(point.state, PointState::Good | PointState::Bad))
        .filter(|point| !kept.contains(&point.id))
        .collect();
    scheduled.sort_by_key(|point| point.taken_at);
    scheduled.first().map(|point| point.id.clone())
}

/// What count and age ladder keep of these, newest first.
fn kept_of<'a>(points: &[&&'a RecoveryPoint], keep: Keep, now: Time) -> BTreeSet<&'a PointId> {
    let mut kept: BTreeSet<&PointId> = points.iter().take(keep.last as usize).map(|point| &point.id).collect();
    for (every, count) in
        [(Span::hours(1), keep.hourly), (Span::hours(24), keep.daily), (Span::hours(168), keep.weekly)]
    {
        let mut slots = BTreeSet::new();
        for point in points {
            let age = now.since(point.taken_at).0 / every.0;
            if age < u64::from(count) && slots.insert(point.taken_at.0 / every.0) {
                kept.insert(&point.id);
            }
        }
    }
    kept
}

/// A number that differs between workloads and never changes (FNV-1a).
fn spread(workload: &WorkloadId) -> u64 {
    workload
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// `20261120-061500`, UTC (civil from days: Howard Hinnant's algorithm).
fn stamp(now: Time) -> String {
    let (days, seconds) = ((now.0 / 86_400_000) as i64, now.0 / 1_000 % 86_400);
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}-{:02}{:02}{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_model::PointKind;

    fn point(minute: u64, state: PointState) -> RecoveryPoint {
        RecoveryPoint {
            id: PointId::new(format!("p{minute}")),
            workload: WorkloadId::from("web-1"),
            taken_at: Time(minute * 60_000),
            host: HostId::from("h1"),
            kind: PointKind::Memory,
            by: PointBy::Schedule,
            state,
            frozen: false,
            proved_at: None,
            handle: String::new(),
            bytes: None,
        }
    }

    fn all_surplus(mut points: Vec<RecoveryPoint>, keep: Keep, now: Time) -> Vec<String> {
        let mut gone = Vec::new();
        loop {
            let Some(id) = surplus(&points.iter().collect::<Vec<_>>(), keep, now) else { return gone };
            gone.push(id.to_string());
            points.retain(|point| point.id != id);
        }
    }

    #[test]
    fn count_and_hours_are_kept_and_the_rest_goes_oldest_first() {
        let points: Vec<_> =
            [0, 10, 20, 60, 70, 120, 130, 140].iter().map(|minute| point(*minute, PointState::Good)).collect();
        let keep = Keep { last: 2, hourly: 3, daily: 0, weekly: 0 };
        let gone = all_surplus(points, keep, Time(150 * 60_000));
        assert_eq!(gone, ["p0", "p10", "p60", "p120"]);
    }

    #[test]
    fn the_last_good_point_stays_even_if_nothing_is_to_be_kept_and_bad_ones_are_newer() {
        let points = vec![point(0, PointState::Good), point(10, PointState::Bad), point(20, PointState::Taking)];
        let gone = all_surplus(points, Keep { last: 0, hourly: 0, daily: 0, weekly: 0 }, Time(999 * 60_000));
        assert_eq!(gone, ["p10"]);
    }

    #[test]
    fn a_point_in_doubt_is_kept_as_long_as_a_good_one_and_takes_no_good_ones_place() {
        let points = vec![
            point(0, PointState::Good),
            point(10, PointState::Good),
            point(20, PointState::Good),
            point(30, PointState::Bad),
        ];
        let keep = Keep { last: 2, hourly: 0, daily: 0, weekly: 0 };
        assert_eq!(all_surplus(points, keep, Time(40 * 60_000)), ["p0"]);
        let late = vec![point(0, PointState::Bad), point(10, PointState::Good), point(20, PointState::Good)];
        assert_eq!(all_surplus(late, keep, Time(40 * 60_000)), ["p0"]);
    }

    #[test]
    fn stamps_are_calendar_dates() {
        assert_eq!(stamp(Time(0)), "19700101-000000");
        assert_eq!(stamp(Time(1_795_158_900_000)), "20261120-071500");
        assert_eq!(stamp(Time(1_795_219_199_999)), "20261120-235959");
        assert_eq!(stamp(Time(951_782_400_000)), "20000229-000000");
    }
}
