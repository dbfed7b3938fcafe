//! What is remembered, by a clock that was set ahead between two terms. Recorded times are told anew in the new clock, so that
//! windows, waits and ages count the time that passed, and not the jump. History (events) keeps its times. The journal does not:
//! what ended a workload is read from the times of its orders and of its trouble, and both count by one clock (scenario 431).

use super::{Belief, HostPhase, HostRecord, OrderRecord, Trouble, Want, WorkloadRecord};
use mainstay_model::{Alarm, Incident, IncidentWorkload, RecoveryPoint, Span, Time};

impl Belief {
    /// All times that something is decided or told by are later by this.
    pub fn shift(&mut self, by: Span) {
        if by == Span::ZERO {
            return;
        }
        let later = |time: &mut Time| *time = *time + by;
        self.meta.times().for_each(later);
        self.hosts.change_all(|record| host_times(record).for_each(later));
        self.workloads.change_all(|record| workload_times(record).for_each(later));
        self.orders.change_all(|OrderRecord { order, ordered_at, ended, .. }| {
            let ended = ended.as_mut().map(|(at, _)| at);
            [&mut order.deadline, ordered_at].into_iter().chain(ended).for_each(later);
        });
        self.points.change_all(|RecoveryPoint { taken_at, proved_at, .. }| {
            std::iter::once(taken_at).chain(proved_at).for_each(later);
        });
        self.alarms.change_all(|Alarm { raised_at, .. }| later(raised_at));
        self.incidents.change_all(|incident| incident_times(incident).for_each(later));
    }
}

fn host_times(record: &mut HostRecord) -> impl Iterator<Item = &mut Time> {
    let HostRecord {
        since,
        phase,
        maintenance,
        power_ons,
        closed_at,
        booted_at,
        called_off_at,
        starved_at,
        unheard_since,
        ..
    } = record;
    let of_phase = match phase {
        HostPhase::Lost { try_at, .. } => Some(try_at),
        HostPhase::Off { powered_on, .. } => powered_on.as_mut(),
        HostPhase::Online | HostPhase::Returning => None,
    };
    let maintained = maintenance.as_mut().map(|maintenance| &mut maintenance.since);
    [since]
        .into_iter()
        .chain(of_phase)
        .chain(maintained)
        .chain(power_ons)
        .chain(closed_at)
        .chain(booted_at)
        .chain(called_off_at)
        .chain(starved_at)
        .chain(unheard_since)
}

/// Without what is unsettled, which counts with all of its time anew in any case.
fn workload_times(record: &mut WorkloadRecord) -> impl Iterator<Item = &mut Time> {
    let WorkloadRecord { known_since, want, trouble, attempts, point_tried, force_stop_at, asked, runs_since, .. } =
        record;
    let stopped = match want {
        Want::Stopped { at, .. } => Some(at),
        Want::Running => None,
    };
    let of_trouble = trouble
        .iter_mut()
        .flat_map(|Trouble { since, well_until, started_at, .. }| [since, well_until].into_iter().chain(started_at));
    let tried = attempts.iter_mut().map(|attempt| &mut attempt.at);
    let asked = asked.iter_mut().map(|asked| &mut asked.at);
    [known_since]
        .into_iter()
        .chain(stopped)
        .chain(of_trouble)
        .chain(tried)
        .chain(point_tried)
        .chain(force_stop_at)
        .chain(runs_since)
        .chain(asked)
}

fn incident_times(incident: &mut Incident) -> impl Iterator<Item = &mut Time> {
    let Incident { well_until, opened_at, closed_at, workloads, .. } = incident;
    let of_workloads = workloads.iter_mut().flat_map(|hit| {
        let IncidentWorkload { well_until, running_at, answering_at, down_since, wrote_until, left_at, .. } = hit;
        [well_until]
            .into_iter()
            .chain(running_at)
            .chain(answering_at)
            .chain(down_since)
            .chain(wrote_until)
            .chain(left_at)
    });
    [well_until, opened_at].into_iter().chain(closed_at).chain(of_workloads)
}

#[cfg(test)]
mod tests {
    /// What is written down.
    const KEPT: [&str; 4] = [
        include_str!("host.rs"),
        include_str!("workload.rs"),
        include_str!("order.rs"),
        include_str!("../restored.rs"),
    ];
    /// Told anew when a term begins.
    const TOLD_ANEW: [&str; 3] = ["late_on", "may_happen_until", "Unsettled.since"];

    /// The structs and enums that are written down, each with its name and the lines of its fields.
    fn kept(text: &str) -> impl Iterator<Item = (&str, Vec<&str>)> {
        text.split("\n}\n").filter_map(|block| {
            let (_, kept) = block.rsplit_once("Serialize, Deserialize)]")?;
            let (head, fields) = kept.split_once("{\n")?;
            Some((head.split_whitespace().last()?, fields.lines().collect()))
        })
    }

    /// A time that is not shifted counts by the old clock (scenario 884).
    #[test]
    fn every_time_that_is_kept_is_shifted() {
        let shift = include_str!("shift.rs").split("#[cfg(test)]").next().unwrap_or_default();
        let times = include_str!("order.rs").split("fn times").nth(1).and_then(|rest| rest.split("fn ").next());
        let shifted = format!("{shift}{}", times.unwrap_or_default());
        let shifted: Vec<&str> = shifted.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let (mut found, mut forgotten) = (0, Vec::new());
        for (name, fields) in KEPT.into_iter().flat_map(kept) {
            let is_time = |line: &str| [": Time", "<Time>", ", Time>"].iter().any(|word| line.contains(word));
            let of_time = fields.windows(2).filter(|pair| is_time(pair[1]) && !pair[0].contains("serde(skip)"));
            for field in of_time.filter_map(|pair| pair[1].split(": ").next()?.split_whitespace().last()) {
                found += 1;
                let known = [name, &name.to_lowercase(), "meta"].iter().any(|name| shifted.contains(name));
                let full = format!("{name}.{field}");
                let anew = TOLD_ANEW.contains(&field) || TOLD_ANEW.contains(&full.as_str());
                if !(anew || known && shifted.contains(&field)) {
                    forgotten.push(full);
                }
            }
        }
        assert!(found > 20, "only {found} times are found");
        assert_eq!(forgotten, Vec::<String>::new());
    }
}
