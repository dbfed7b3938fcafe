//! `script.txt`: what happens when. One line each: `at 10s power-cut h1`; `#` begins a comment.

use super::ScenarioError;
use crate::deed::Deed;
use mainstay_model::{Span, Time};

/// Reads a script.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<(Time, Deed)>, ScenarioError> {
    let mut deeds = Vec::new();
    for (number, line) in lines(text) {
        let wrong = |what: String| ScenarioError::line(file, number, what);
        let rest = line
            .strip_prefix("at ")
            .ok_or_else(|| wrong("expected `at TIME DEED`, such as `at 10s power-cut h1`".into()))?;
        let (at, deed) =
            rest.trim_start().split_once(' ').ok_or_else(|| wrong("expected a deed after the time".into()))?;
        let at: Span = at.parse().map_err(|error: mainstay_model::NotASpan| wrong(error.to_string()))?;
        deeds.push((Time(at.0), Deed::parse(deed.trim()).map_err(wrong)?));
    }
    Ok(deeds)
}

/// Lines that say something, with their numbers.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let stripped = text.lines().map(|line| line.split('#').next().unwrap_or("").trim());
    stripped.enumerate().map(|(index, line)| (index + 1, line)).filter(|(_, line)| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deed::HostDeed;

    #[test]
    fn a_script_is_a_list_of_deeds_with_times() {
        let script = parse("script.txt", "# the cut\nat 10s power-cut h1\n\nat 1m5s power-on h1 # back\n").unwrap();
        assert_eq!(script[0], (Time(10_000), Deed::Host(HostDeed::PowerCut, "h1".into())));
        assert_eq!(script[1], (Time(65_000), Deed::Host(HostDeed::PowerOn, "h1".into())));
    }

    #[test]
    fn mistakes_are_told_with_file_and_line() {
        for (text, told) in [
            ("power-cut h1", "script.txt:1: expected `at TIME DEED`"),
            ("\nat soon power-cut h1", "script.txt:2: `soon` is not a length of time"),
            ("at 1s fly h1", "script.txt:1: `fly h1` is not a deed"),
        ] {
            let error = parse("script.txt", text).unwrap_err().to_string();
            assert!(error.starts_with(told), "{error}");
        }
    }
}
