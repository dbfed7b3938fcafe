//! Maintenance: a host is drained of all that can leave, kept empty, and taken back. Windows do the same by the clock.

use super::waiting;
use crate::{
    belief::{Maintenance, WorkloadRecord},
    engine::Engine,
    explain::{Blocked, Doing, WaitingOn, Why},
};
use mainstay_model::{EventKind, HostId, Severity, Span, Subject, Time, WorkloadId, spec::MaintenanceWindow};

const DAY_MS: u64 = 86_400_000;
const MINUTE: Span = Span::minutes(1);

impl Engine {
    /// The host is in maintenance; its workloads leave by their own decisions. How far is it?
    pub(super) fn draining(&self, host: &HostId) -> Doing {
        let staying: Vec<_> = self.belief.on_host(host).filter(|workload| self.manages(workload)).collect();
        for workload in &staying {
            if let Some(Doing::Blocked { by: Blocked::NoHost { why } }) =
                self.doing.get(&Subject::Workload((*workload).clone()))
            {
                return Doing::Blocked { by: Blocked::Drain { workload: (*workload).clone(), why: why.to_string() } };
            }
        }
        let stuck_here = |workload: &&WorkloadId| {
            let stuck = self.belief.workloads.get(*workload).and_then(|record| record.stuck.as_ref());
            stuck.filter(|stuck| stuck.host == *host)
        };
        if let Some((workload, stuck)) = staying.iter().find_map(|workload| Some((workload, stuck_here(workload)?))) {
            let why = format!("{}; it stays, and is only migrated again in a while", stuck.why);
            return Doing::Blocked { by: Blocked::Drain { workload: (*workload).clone(), why } };
        }
        if let Some(stuck) = staying.iter().find(|workload| self.stays(workload)) {
            let why = "it could neither be migrated nor shut down; that is tried again in a while".to_owned();
            return Doing::Blocked { by: Blocked::Drain { workload: (*stuck).clone(), why } };
        }
        match staying.len() {
            0 => Doing::Nothing { why: Why::InMaintenance },
            left => waiting(WaitingOn::Drain { left }),
        }
    }

    pub(crate) fn set_maintenance(&mut self, host: &HostId, maintenance: Option<Maintenance>) {
        let text = match &maintenance {
            Some(Maintenance { by_window: true, .. }) => "maintenance window begins: it is drained",
            Some(_) => "maintenance begins: it is drained",
            None => "maintenance ends",
        };
        let Some(record) = self.belief.hosts.get_mut(host) else { return };
        record.maintenance = maintenance;
        self.note(EventKind::Decided, Severity::Green, Subject::Host(host.clone()), text);
        self.agenda.touch_host(host);
        let workloads: Vec<_> = self.belief.on_host(host).cloned().collect();
        for workload in &workloads {
            // What kept it here before is asked about anew.
            self.belief.workload_senses.entry(workload.clone()).or_default().stays_until = None;
            self.agenda.touch(workload);
        }
        // What could not leave before may leave now.
        let here = |record: &&WorkloadRecord| record.stuck.as_ref().is_some_and(|stuck| stuck.host == *host);
        let stuck: Vec<WorkloadId> =
            self.belief.workloads.values().filter(here).map(|record| record.workload.clone()).collect();
        for workload in stuck {
            if let Some(record) = self.belief.workloads.get_mut(&workload) {
                record.stuck = None;
            }
        }
        let back: Vec<_> = self
            .belief
            .workloads
            .values()
            .filter(|record| record.came_from.as_ref() == Some(host))
            .map(|record| record.workload.clone())
            .collect();
        back.iter().for_each(|workload| self.agenda.touch(workload));
        self.agenda.stir();
    }

    /// Begins and ends maintenance by the configured windows.
    pub(super) fn keep_window(&mut self, host: &HostId) {
        let spec = self.spec.clone();
        let mut windows = spec.maintenance_windows.iter().filter(|window| window.hosts.contains(host)).peekable();
        let by_window =
            self.belief.hosts.get(host).and_then(|record| record.maintenance.as_ref()).map(|now| now.by_window);
        if windows.peek().is_none() && by_window != Some(true) {
            return;
        }
        let open = windows.any(|window| is_open(window, self.now));
        match (open, by_window) {
            (true, None) => self.set_maintenance(host, Some(Maintenance { since: self.now, by_window: true })),
            (false, Some(true)) => self.set_maintenance(host, None),
            _ => {}
        }
        self.wake_host_at(host, Time((self.now.0 / MINUTE.0 + 1) * MINUTE.0)); // windows begin and end with a minute
    }
}

/// True while the window is open: it began today or, lasting over midnight, on an earlier day.
fn is_open(window: &MaintenanceWindow, now: Time) -> bool {
    let (today, minute_ms) = (now.0 / DAY_MS, u64::from(window.from_minute) * 60_000);
    let earlier_days = window.lasts.0 / DAY_MS + 1;
    (0..=earlier_days).any(|back| {
        let Some(day) = today.checked_sub(back) else { return false };
        let weekday = ((day + 3) % 7) as u8; // 1970-01-01 was a Thursday
        let begins = day * DAY_MS + minute_ms;
        (window.days.is_empty() || window.days.contains(&weekday)) && begins <= now.0 && now.0 < begins + window.lasts.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_model::spec::Origin;

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let window = MaintenanceWindow {
            hosts: vec![],
            days: [6].into(),
            from_minute: 23 * 60,
            lasts: Span::hours(2),
            origin: Origin::default(),
        };
        let sunday = 3 * DAY_MS; // 1970-01-04
        let at = |hours: u64| Time(sunday + hours * 3_600_000);
        assert!(!is_open(&window, at(22)));
        assert!(is_open(&window, at(23)));
        assert!(is_open(&window, at(24)));
        assert!(!is_open(&window, at(25)));
        assert!(!is_open(&window, at(23 + 24)));
    }
}
