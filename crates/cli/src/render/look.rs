//! How text looks: colours or none, the width of the terminal, and what time it is.

use jiff::{Timestamp, tz::TimeZone};
use mainstay_model::{Severity, Time};

/// The surroundings a text is made for.
#[derive(Clone, Debug)]
pub struct Look {
    /// Whether colours are shown.
    pub color: bool,
    /// Columns of the terminal; `None`: no terminal, lines may have any length.
    pub width: Option<usize>,
    /// The time now, from which ages are counted.
    pub now: Time,
    /// In which clock times are shown.
    pub zone: TimeZone,
}

/// What a piece of text wants to say beyond its words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Not as it should be.
    Warn,
    /// Down or unprotected.
    Bad,
    /// Less important than the rest.
    Dim,
    /// More important than the rest.
    Strong,
}

impl From<Severity> for Tone {
    fn from(severity: Severity) -> Tone {
        match severity {
            Severity::Green => Tone::Good,
            Severity::Yellow => Tone::Warn,
            Severity::Red => Tone::Bad,
        }
    }
}

impl Look {
    /// The text in its tone.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31;1",
            Tone::Dim => "2",
            Tone::Strong => "1",
            Tone::Plain => return text.to_owned(),
        };
        if self.color && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Day and time of day to the second.
    pub fn date(&self, time: Time) -> String {
        let milliseconds = i64::try_from(time.0).unwrap_or(i64::MAX);
        let stamp = Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX);
        stamp.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// Words broken into lines of the terminal's width, each after the first indented.
    pub fn wrap(&self, text: &str, indent: usize) -> String {
        let width = self.width.map_or(usize::MAX, |width| width.max(indent + 20));
        let mut lines = String::new();
        let mut column = indent;
        for (index, word) in text.split(' ').enumerate() {
            let length = word.chars().count();
            if index > 0 && column + 1 + length > width {
                lines.push('\n');
                lines.push_str(&" ".repeat(indent));
                column = indent;
            } else if index > 0 {
                lines.push(' ');
                column += 1;
            }
            lines.push_str(word);
            column += length;
        }
        lines
    }
}
