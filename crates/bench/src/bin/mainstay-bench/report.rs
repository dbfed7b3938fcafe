//! What was measured, beside what must be reached: as a table for people, as JSON for programs.

use mainstay_bench::seconds;
use serde::Serialize;
use serde_json::json;
use std::{collections::BTreeMap, fmt, time::Duration};

/// Of the JSON; grows with every breaking change.
const VERSION: u32 = 1;

/// What is measured, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Row {
    /// QEMU killed.
    Kill,
    /// A host's power cut.
    Host,
    /// QEMU stopped by SIGSTOP.
    Stopped,
    /// Guest paused on an I/O error.
    IoError,
    /// Guest hung.
    Hung,
    /// Guest panicked.
    Panicked,
    /// libvirtd frozen.
    Management,
}

/// What came of a fault.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Seen {
    /// Put right, with the time of each run.
    Recovered(Vec<Duration>),
    /// An alarm, and hands off.
    AlarmAfter(Duration),
    /// The host was switched off, with its healthy guests.
    FencedAfter(Duration),
    /// Not noticed.
    NothingWithin(Duration),
}

/// All results.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    mainstay: BTreeMap<Row, Seen>,
    peer: BTreeMap<Row, Seen>,
}

impl Row {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Row::Kill => "QEMU killed → started again",
            Row::Host => "host's power cut → guests started elsewhere",
            Row::Stopped => "QEMU stopped (SIGSTOP) → answering",
            Row::IoError => "paused on I/O error → writing, after repair",
            Row::Hung => "guest hung → answering",
            Row::Panicked => "guest panicked → answering",
            Row::Management => "libvirtd frozen, guests well",
        }
    }

    /// The median must not be above this.
    fn at_most(self) -> Option<Duration> {
        match self {
            Row::Kill => Some(Duration::from_millis(700)),
            Row::Host => Some(Duration::from_millis(4500)),
            _ => None,
        }
    }

    /// The peer's median must be at least so many times ours.
    fn times_faster(self) -> Option<f64> {
        (self == Row::Host).then_some(2.0)
    }

    fn target(self) -> String {
        let most = self.at_most().map(|most| format!("≤ {}", seconds(most)));
        let faster = self.times_faster().map(|times| format!("≥ {times:.0}x faster"));
        let rest = match self {
            Row::Management => "alarm, no fence",
            _ => "seen, recovered",
        };
        let words: Vec<String> = most.into_iter().chain(faster).collect();
        if words.is_empty() { rest.to_owned() } else { words.join(", ") }
    }
}

impl Seen {
    /// The median of the runs.
    fn median(&self) -> Option<Duration> {
        let Seen::Recovered(times) = self else { return None };
        let mut times = times.clone();
        times.sort();
        let upper = times.get(times.len() / 2).copied()?;
        let lower = times[(times.len() - 1) / 2];
        Some((upper + lower) / 2)
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seen::Recovered(times) => {
                let median = self.median().unwrap_or_default();
                match times.len() {
                    1 => f.write_str(&seconds(median)),
                    runs => write!(f, "{} (median of {runs})", seconds(median)),
                }
            }
            Seen::AlarmAfter(span) => write!(f, "alarm after {}, no fence", seconds(*span)),
            Seen::FencedAfter(span) => write!(f, "host fenced after {}", seconds(*span)),
            Seen::NothingWithin(span) => write!(f, "nothing within {}", seconds(*span)),
        }
    }
}

impl Report {
    /// Adds runs of ours.
    pub(crate) fn mainstay(&mut self, row: Row, times: Vec<Duration>) {
        add(&mut self.mainstay, row, times);
    }

    /// Notes what came of a fault with us.
    pub(crate) fn mainstay_seen(&mut self, row: Row, seen: Seen) {
        self.mainstay.insert(row, seen);
    }

    /// Adds runs of the peer's.
    pub(crate) fn peer(&mut self, row: Row, times: Vec<Duration>) {
        add(&mut self.peer, row, times);
    }

    /// Notes what came of a fault with the peer.
    pub(crate) fn peer_seen(&mut self, row: Row, seen: Seen) {
        self.peer.insert(row, seen);
    }

    /// How many times faster we are.
    fn ratio(&self, row: Row) -> Option<f64> {
        let (ours, theirs) = (self.mainstay.get(&row)?.median()?, self.peer.get(&row)?.median()?);
        Some(theirs.as_secs_f64() / ours.as_secs_f64())
    }

    fn met(&self, row: Row) -> bool {
        let Some(ours) = self.mainstay.get(&row) else { return false };
        let fast = row.at_most().is_none_or(|most| ours.median().is_some_and(|median| median <= most));
        let faster = row.times_faster().zip(self.ratio(row)).is_none_or(|(wanted, ratio)| ratio >= wanted);
        let seen = match row {
            Row::Management => matches!(ours, Seen::AlarmAfter(_)),
            _ => matches!(ours, Seen::Recovered(_)),
        };
        fast && faster && seen
    }

    /// True if everything measured reaches its target.
    pub(crate) fn all_met(&self) -> bool {
        self.mainstay.keys().all(|row| self.met(*row))
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut lines = vec![["", "MAINSTAY", "PACEMAKER", "RATIO", "TARGET", "MET"].map(str::to_owned)];
        for (row, ours) in &self.mainstay {
            let theirs = self.peer.get(row).map_or("not measured".to_owned(), Seen::to_string);
            let ratio = self.ratio(*row).map_or(String::new(), |ratio| format!("{ratio:.1}x"));
            let met = if self.met(*row) { "yes" } else { "NO" };
            lines.push([row.title().to_owned(), ours.to_string(), theirs, ratio, row.target(), met.to_owned()]);
        }
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..6).map(width).collect();
        let cells = |line: &[String; 6]| {
            let padded = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        lines.iter().map(|line| cells(line) + "\n").collect()
    }

    /// For programs: seconds, every run.
    pub(crate) fn json(&self) -> String {
        let side = |seen: Option<&Seen>| match seen {
            None => json!(null),
            Some(seen @ Seen::Recovered(times)) => {
                let runs: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
                json!({ "outcome": "recovered", "median_s": seen.median().map(|median| median.as_secs_f64()), "runs_s": runs })
            }
            Some(Seen::AlarmAfter(span)) => json!({ "outcome": "alarm", "after_s": span.as_secs_f64() }),
            Some(Seen::FencedAfter(span)) => json!({ "outcome": "fenced", "after_s": span.as_secs_f64() }),
            Some(Seen::NothingWithin(span)) => json!({ "outcome": "nothing", "within_s": span.as_secs_f64() }),
        };
        let rows = self.mainstay.iter().map(|(row, ours)| {
            json!({
                "id": row,
                "what": row.title(),
                "mainstay": side(Some(ours)),
                "pacemaker": side(self.peer.get(row)),
                "ratio": self.ratio(*row),
                "target": { "at_most_s": row.at_most().map(|most| most.as_secs_f64()), "times_faster": row.times_faster() },
                "met": self.met(*row),
            })
        });
        let document =
            json!({ "version": VERSION, "measurements": rows.collect::<Vec<_>>(), "all_met": self.all_met() });
        format!("{document:#}\n")
    }
}

fn add(to: &mut BTreeMap<Row, Seen>, row: Row, mut times: Vec<Duration>) {
    match to.entry(row).or_insert(Seen::Recovered(Vec::new())) {
        Seen::Recovered(known) => known.append(&mut times),
        other => *other = Seen::Recovered(times),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(times: &[u64]) -> Vec<Duration> {
        times.iter().map(|time| Duration::from_millis(*time)).collect()
    }

    #[test]
    fn a_target_is_met_by_the_median_and_by_the_ratio() {
        let mut report = Report::default();
        report.mainstay(Row::Host, millis(&[3000, 9000, 3200]));
        assert!(report.met(Row::Host), "one slow run of three does not move the median");
        report.peer(Row::Host, millis(&[5000]));
        assert!(!report.met(Row::Host), "1.6 times as fast is not twice");
        report.peer(Row::Host, millis(&[9000, 9400]));
        assert!(report.met(Row::Host) && report.all_met());
    }

    #[test]
    fn the_table_tells_what_the_peer_did_not_see() {
        let mut report = Report::default();
        report.mainstay(Row::Hung, millis(&[17_250]));
        report.peer_seen(Row::Hung, Seen::NothingWithin(Duration::from_secs(30)));
        let table = report.table();
        assert!(table.contains("guest hung → answering  17.2 s    nothing within 30.0 s"), "{table}");
    }
}
