//! The latest statistics of each workload, as sensors pin them up. What the engine decides by goes through facts; this
//! board is for people only.

use mainstay_model::{Activity, DomainState, HostId, Span, Time, WorkloadId};
use mainstay_store::Sample;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// A workload not seen for this long is no longer listed.
const FORGOTTEN_AFTER: Span = Span::hours(1);

/// What people look for in a workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkloadStats {
    /// Its name.
    pub workload: WorkloadId,
    /// Where it was seen last.
    pub host: HostId,
    /// When it was seen last.
    pub seen_at: Time,
    /// How long ago that was.
    pub age: Span,
    /// Power state in words, such as `running` or `paused on an I/O error`.
    pub state: String,
    /// In this state since; for a domain found running, when it was first seen so.
    pub since: Time,
    /// Guest's operating system, as its agent or its definition says.
    pub guest_system: Option<String>,
    /// True if the guest agent answers, `None` if there is none.
    pub agent: Option<bool>,
    /// Addresses of the guest.
    pub addresses: Vec<String>,
    /// Memory given to it in MiB.
    pub memory_mib: u64,
    /// Memory its process takes on the host, in MiB.
    pub memory_used_mib: Option<u64>,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// CPU use in percent of one CPU.
    pub cpu_percent: Option<f64>,
    /// Rates, in bytes a second.
    pub rates: Option<Rates>,
    /// Snapshots the hypervisor holds of it.
    pub snapshots: Vec<String>,
}

/// Rates in bytes a second over the last interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rates {
    /// Read from disks.
    pub disk_read: f64,
    /// Written to disks.
    pub disk_written: f64,
    /// Received.
    pub net_received: f64,
    /// Sent.
    pub net_sent: f64,
}

/// The board. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct StatsBoard(Arc<Mutex<BTreeMap<WorkloadId, Entry>>>);

#[derive(Clone, Debug)]
struct Entry {
    stats: WorkloadStats,
    /// As `stats` has it in words.
    state: Option<DomainState>,
    last: Option<(Time, Activity)>,
}

impl StatsBoard {
    /// The latest of one workload.
    pub fn of(&self, workload: &WorkloadId, now: Time) -> Option<WorkloadStats> {
        self.lock().get(workload).map(|entry| aged(entry, now))
    }

    /// The latest of all, by name.
    pub fn all(&self, now: Time) -> Vec<WorkloadStats> {
        self.lock().values().map(|entry| aged(entry, now)).collect()
    }

    /// The rates of all that run, for the small history of `stats`.
    pub(crate) fn samples(&self, now: Time) -> Vec<Sample> {
        let sample = |entry: &Entry| {
            let (stats, rates) = (&entry.stats, entry.stats.rates?);
            Some(Sample {
                workload: stats.workload.to_string(),
                at_ms: now.0,
                cpu_percent: stats.cpu_percent.unwrap_or(0.0),
                read_bps: rates.disk_read,
                write_bps: rates.disk_written,
                receive_bps: rates.net_received,
                send_bps: rates.net_sent,
            })
        };
        self.lock().values().filter_map(sample).collect()
    }

    /// Takes off the board who was not seen for long.
    pub(crate) fn forget(&self, now: Time) {
        self.lock().retain(|_, entry| now.since(entry.stats.seen_at) < FORGOTTEN_AFTER);
    }

    /// A workload was seen on a host in a state. One that is off does not hide one that runs elsewhere.
    pub(crate) fn seen(&self, workload: &WorkloadId, host: &HostId, state: DomainState, now: Time) {
        let mut board = self.lock();
        let entry = board.entry(workload.clone()).or_insert_with(|| Entry {
            stats: blank(workload, host, now),
            state: None,
            last: None,
        });
        let stats = &mut entry.stats;
        if stats.host != *host && !state.is_live() {
            return;
        }
        if stats.host != *host || entry.state != Some(state) {
            (stats.since, stats.state, entry.state) = (now, state.to_string(), Some(state));
            if !state.is_live() || stats.host != *host {
                entry.last = None;
                (stats.cpu_percent, stats.rates, stats.agent) = (None, None, None);
            }
        }
        (stats.host, stats.seen_at) = (host.clone(), now);
    }

    /// Counters of a running workload: rates are made from two of them.
    pub(crate) fn counted(&self, workload: &WorkloadId, activity: Activity, now: Time) {
        self.edit(workload, |entry| {
            if let Some((then, before)) = entry.last {
                let seconds = now.since(then).as_secs_f64().max(0.001);
                let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
                entry.stats.cpu_percent = Some(rate(activity.cpu_ms, before.cpu_ms) / 10.0);
                entry.stats.rates = Some(Rates {
                    disk_read: rate(activity.disk_read, before.disk_read),
                    disk_written: rate(activity.disk_written, before.disk_written),
                    net_received: rate(activity.net_received, before.net_received),
                    net_sent: rate(activity.net_sent, before.net_sent),
                });
            }
            entry.last = Some((now, activity));
        });
    }

    /// Anything else that was learned of a workload already on the board.
    pub(crate) fn learn(&self, workload: &WorkloadId, change: impl FnOnce(&mut WorkloadStats)) {
        self.edit(workload, |entry| change(&mut entry.stats));
    }

    fn edit(&self, workload: &WorkloadId, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.lock().get_mut(workload) {
            change(entry);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<WorkloadId, Entry>> {
        // Entries are plain values: one left half written by a panic is still a value.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn aged(entry: &Entry, now: Time) -> WorkloadStats {
    WorkloadStats { age: now.since(entry.stats.seen_at), ..entry.stats.clone() }
}

fn blank(workload: &WorkloadId, host: &HostId, now: Time) -> WorkloadStats {
    WorkloadStats {
        workload: workload.clone(),
        host: host.clone(),
        seen_at: now,
        age: Span::ZERO,
        state: String::new(),
        since: now,
        guest_system: None,
        agent: None,
        addresses: Vec::new(),
        memory_mib: 0,
        memory_used_mib: None,
        vcpus: 0,
        cpu_percent: None,
        rates: None,
        snapshots: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_model::OffReason;

    #[test]
    fn rates_are_per_second_and_vanish_when_it_stops() {
        let board = StatsBoard::default();
        let (web, h1) = (WorkloadId::from("web-1"), HostId::from("h1"));
        board.seen(&web, &h1, DomainState::Running, Time(1_000));
        board.counted(&web, Activity { cpu_ms: 0, disk_written: 0, ..Activity::default() }, Time(1_000));
        board.counted(&web, Activity { cpu_ms: 1_000, disk_written: 4_096, ..Activity::default() }, Time(3_000));
        let stats = board.of(&web, Time(3_500)).unwrap();
        assert_eq!((stats.cpu_percent, stats.rates.unwrap().disk_written), (Some(50.0), 2_048.0));
        assert_eq!((stats.since, stats.age), (Time(1_000), Span(2_500)));

        board.seen(&web, &h1, DomainState::Off(OffReason::Crashed), Time(4_000));
        assert_eq!(board.of(&web, Time(4_000)).unwrap().cpu_percent, None);
    }

    #[test]
    fn a_leftover_definition_does_not_hide_where_it_runs() {
        let board = StatsBoard::default();
        let web = WorkloadId::from("web-1");
        board.seen(&web, &"h2".into(), DomainState::Running, Time(1));
        board.seen(&web, &"h1".into(), DomainState::Off(OffReason::Unknown), Time(2));
        assert_eq!(board.of(&web, Time(2)).unwrap().host, HostId::from("h2"));
    }
}
