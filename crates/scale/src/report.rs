//! What was measured, beside what must be reached: as a table for people, as JSON for programs.

use crate::cluster::Size;
use serde_json::{Value, json};
use std::{fmt, time::Duration};

/// Of the JSON; grows with every breaking change.
const VERSION: u32 = 1;

/// How much of something.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub enum Amount {
    /// CPU time.
    Time(Duration),
    /// Of one core.
    Percent(f64),
    /// Memory.
    Bytes(u64),
    /// Of things.
    Count(u64),
}

/// One line: what was measured on a cluster of which size, and what it must not exceed.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    what: String,
    size: Size,
    samples: usize,
    best: Amount,
    median: Amount,
    at_most: Option<Amount>,
    met: bool,
    /// Its series in the plot of growth.
    series: Option<&'static str>,
}

impl Row {
    /// CPU times of the same work, at least one; the median counts.
    pub fn times(what: &str, size: Size, mut times: Vec<Duration>, at_most: Option<Duration>) -> Row {
        times.sort();
        let (best, median) = (times[0], times[times.len() / 2]);
        Row {
            what: what.to_owned(),
            size,
            samples: times.len(),
            best: Amount::Time(best),
            median: Amount::Time(median),
            at_most: at_most.map(Amount::Time),
            met: at_most.is_none_or(|most| median <= most),
            series: None,
        }
    }

    /// Something measured once.
    pub fn amount(what: &str, size: Size, amount: Amount, at_most: Amount) -> Row {
        let met = amount <= at_most;
        let (what, at_most) = (what.to_owned(), Some(at_most));
        Row { what, size, samples: 1, best: amount, median: amount, at_most, met, series: None }
    }

    /// Something measured once, without a target.
    pub fn shown(what: &str, size: Size, amount: Amount) -> Row {
        Row { at_most: None, ..Row::amount(what, size, amount, amount) }
    }

    /// Something that could not be measured.
    pub fn failed(what: &str, size: Size, error: &std::io::Error) -> Row {
        eprintln!("{what}: {error}");
        Row::shown(&format!("{what}: not measured"), size, Amount::Count(0)).met_if(false)
    }

    /// What was done must have been right, too.
    pub fn met_if(self, right: bool) -> Row {
        Row { met: self.met && right, ..self }
    }

    /// It belongs to the plot of growth, if `wanted`.
    pub fn plotted(self, series: &'static str, wanted: bool) -> Row {
        Row { series: wanted.then_some(series), ..self }
    }

    /// True if it reaches its target.
    pub fn met(&self) -> bool {
        self.met
    }

    fn cells(&self) -> [String; 7] {
        let (target, met) = match self.at_most {
            None if self.met => ("shown".to_owned(), ""),
            None => ("shown".to_owned(), "NO"),
            Some(most) => (format!("≤ {most}"), if self.met { "yes" } else { "NO" }),
        };
        [
            self.what.clone(),
            format!("{} / {}", self.size.hosts, self.size.workloads),
            self.best.to_string(),
            self.median.to_string(),
            self.samples.to_string(),
            target,
            met.to_owned(),
        ]
    }

    fn value(&self) -> Value {
        json!({
            "what": self.what,
            "hosts": self.size.hosts,
            "workloads": self.size.workloads,
            "unit": self.median.unit(),
            "best": self.best.number(),
            "median": self.median.number(),
            "samples": self.samples,
            "at_most": self.at_most.map(Amount::number),
            "met": self.met,
        })
    }
}

impl Amount {
    fn unit(self) -> &'static str {
        match self {
            Amount::Time(_) => "s",
            Amount::Percent(_) => "percent",
            Amount::Bytes(_) => "bytes",
            Amount::Count(_) => "count",
        }
    }

    fn number(self) -> f64 {
        match self {
            Amount::Time(time) => time.as_secs_f64(),
            Amount::Percent(percent) => percent,
            Amount::Bytes(number) | Amount::Count(number) => number as f64,
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Amount::Time(time) if time.as_micros() < 1_000 => write!(f, "{:.1} µs", time.as_secs_f64() * 1e6),
            Amount::Time(time) if time.as_secs() >= 10 => write!(f, "{:.1} s", time.as_secs_f64()),
            Amount::Time(time) => write!(f, "{:.1} ms", time.as_secs_f64() * 1e3),
            Amount::Percent(percent) => write!(f, "{percent:.1} %"),
            Amount::Bytes(bytes) => write!(f, "{:.0} MB", *bytes as f64 / 1e6),
            Amount::Count(count) => write!(f, "{count}"),
        }
    }
}

/// For people.
pub fn table(rows: &[Row]) -> String {
    let head = ["", "HOSTS / VMS", "BEST", "MEDIAN", "OF", "TARGET", "MET"].map(str::to_owned);
    let lines: Vec<[String; 7]> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..7).map(width).collect();
    let padded = |line: &[String; 7]| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    lines.iter().map(padded).collect()
}

/// How the planning after the loss of one host grows: a bar of five characters is ten times as long.
pub fn plot(rows: &[Row]) -> String {
    let bars = rows.iter().filter_map(|row| {
        let micros = row.median.number() * 1e6;
        let bar = "█".repeat((micros.max(1.0).log10() * 5.0).round() as usize);
        let size = format!("{} / {}", row.size.hosts, row.size.workloads);
        Some(format!("{:<10} {size:>13} {bar} {}\n", row.series?, row.median))
    });
    let bars: String = bars.collect();
    if bars.is_empty() {
        bars
    } else {
        format!("\nLoss of one host, by hosts / VMs (five blocks: ten times as long)\n{bars}")
    }
}

/// For programs: seconds, bytes, percent.
pub fn json(rows: &[Row]) -> String {
    let measurements: Vec<Value> = rows.iter().map(Row::value).collect();
    let document = json!({ "version": VERSION, "measurements": measurements, "all_met": rows.iter().all(Row::met) });
    format!("{document:#}\n")
}
