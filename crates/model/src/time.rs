//! Points in time and spans, in whole milliseconds. They arrive as values; nothing here reads a clock.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{
    fmt,
    ops::{Add, Sub},
    str::FromStr,
};

/// Milliseconds since the Unix epoch (in the simulator: since its start). Never goes back within one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Time(pub u64);

/// A length of time in milliseconds. Written `500ms`, `2s`, `10m`, `1h30m`, `7d` in configuration and in output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub u64);

impl Time {
    /// The span from `earlier` to here; zero if `earlier` is later (a clock that went back is not an age).
    pub fn since(self, earlier: Time) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);
    /// So many milliseconds.
    pub const fn millis(n: u64) -> Span {
        Span(n)
    }
    /// So many seconds.
    pub const fn secs(n: u64) -> Span {
        Span(n * 1_000)
    }
    /// So many minutes.
    pub const fn minutes(n: u64) -> Span {
        Span(n * 60_000)
    }
    /// So many hours.
    pub const fn hours(n: u64) -> Span {
        Span(n * 3_600_000)
    }
    /// As seconds, for display and statistics.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }
    /// As people say it in a sentence: `0.4s`, `4.5s`, `12s`, `1m30s`, `2h5m`; at most two units.
    pub fn roughly(self) -> String {
        match self.0 {
            0 => "0s".to_owned(),
            1..10_000 => format!("{:.1}s", self.as_secs_f64()),
            10_000..3_600_000 => Span(self.0 / 1_000 * 1_000).to_string(),
            3_600_000..86_400_000 => Span(self.0 / 60_000 * 60_000).to_string(),
            _ => Span(self.0 / 3_600_000 * 3_600_000).to_string(),
        }
    }
    /// As a standard duration.
    pub const fn as_duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
    /// This many times as long, never overflowing.
    pub fn times(self, factor: u64) -> Span {
        Span(self.0.saturating_mul(factor))
    }
}

impl Add<Span> for Time {
    type Output = Time;
    fn add(self, span: Span) -> Time {
        Time(self.0.saturating_add(span.0))
    }
}
impl Sub<Span> for Time {
    type Output = Time;
    fn sub(self, span: Span) -> Time {
        Time(self.0.saturating_sub(span.0))
    }
}
impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.pad("0s");
        }
        let mut text = String::new();
        let mut rest = self.0;
        for (unit, size) in UNITS {
            if rest >= size {
                text.push_str(&format!("{}{unit}", rest / size));
                rest %= size;
            }
        }
        f.pad(&text)
    }
}

/// Why a text is not a span.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a length of time; write for example `500ms`, `2s`, `10m`, `1h30m` or `7d`")]
pub struct NotASpan(pub String);

impl FromStr for Span {
    type Err = NotASpan;
    fn from_str(text: &str) -> Result<Span, NotASpan> {
        let wrong = || NotASpan(text.to_owned());
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(wrong());
        }
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = rest[digits..].trim_start();
            let letters = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
            let (_, size) = UNITS.iter().find(|(unit, _)| *unit == &rest[..letters]).ok_or_else(wrong)?;
            total = number.checked_mul(*size).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
            rest = rest[letters..].trim_start();
        }
        Ok(Span(total))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "A length of time, such as `500ms`, `2s`, `10m` or `1h30m`." })
    }
}
impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_and_print_the_same() {
        for text in ["500ms", "2s", "10m", "1h30m", "7d", "1d2h3m4s5ms", "0s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("90s".parse::<Span>().unwrap().to_string(), "1m30s");
    }

    #[test]
    fn sentences_have_spans_of_two_units_at_most() {
        let roughly = |text: &str| text.parse::<Span>().unwrap().roughly();
        assert_eq!(roughly("4501ms"), "4.5s");
        assert_eq!(roughly("12s345ms"), "12s");
        assert_eq!(roughly("1h2m3s"), "1h2m");
        assert_eq!(roughly("3d4h5m"), "3d4h");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "10", "m", "10 parsecs", "-1s", "99999999999999999d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
