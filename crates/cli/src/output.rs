//! The only place that prints: data to stdout, talk to stderr, colours where they are wanted and can be seen.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is this module's task")]

use crate::{
    failure::{Exit, Failure},
    render::{Look, Tone},
};
use jiff::tz::TimeZone;
use mainstay_model::Time;
use serde::Serialize;
use std::{
    borrow::Cow,
    error::Error as _,
    io::{IsTerminal, Write, stderr, stdin, stdout},
};

/// Where a command's words go.
#[derive(Clone, Debug)]
pub struct Output {
    /// Print JSON rather than text.
    pub json: bool,
}

impl Output {
    /// For one run of the binary.
    pub fn new(json: bool) -> Output {
        Output { json }
    }

    /// How text for stdout should look at a time, by the controller's clock.
    pub fn look(&self, now: Time) -> Look {
        let terminal = stdout().is_terminal();
        Look { color: terminal && wants_color(), width: terminal.then(width).flatten(), now, zone: TimeZone::system() }
    }

    /// True if stdout is a terminal, so that it may be redrawn.
    pub fn is_terminal(&self) -> bool {
        stdout().is_terminal()
    }

    /// Data as text.
    pub fn data(&self, text: &str) {
        let mut out = stdout().lock();
        // Whoever closed the pipe has read enough.
        if out.write_all(visible(text).as_bytes()).and_then(|()| out.flush()).is_err() {
            std::process::exit(Exit::Done as i32);
        }
    }

    /// Data as JSON, as one document.
    pub fn document(&self, value: &impl Serialize) {
        let text =
            serde_json::to_string_pretty(value).expect("answers have text keys only, so they can be written as JSON");
        self.data(&format!("{text}\n"));
    }

    /// Data as JSON, a line each, for streams.
    pub fn document_line(&self, value: &impl Serialize) {
        let text = serde_json::to_string(value).expect("answers have text keys only, so they can be written as JSON");
        self.data(&format!("{text}\n"));
    }

    /// True if talk may be coloured.
    pub fn talks_in_color(&self) -> bool {
        stderr().is_terminal() && wants_color()
    }

    /// Replaces what the terminal shows.
    pub fn redraw(&self, text: &str) {
        self.data(&format!("\x1b[H\x1b[2J\x1b[3J{text}"));
    }

    /// Talk: progress, remarks.
    pub fn talk(&self, text: &str) {
        // Nobody to talk to is no reason to fail.
        let _ = writeln!(stderr().lock(), "{}", visible(text));
    }

    /// Says what went wrong, with every cause and what to do next.
    pub fn failure(&self, failure: &Failure) -> Exit {
        let look = Look { color: self.talks_in_color(), ..self.look(now()) };
        let mut text = format!("{} {failure}", look.paint(Tone::Bad, "error:"));
        let mut cause = failure.source();
        while let Some(error) = cause {
            text.push_str(&format!("\n  because: {error}"));
            cause = error.source();
        }
        if let Failure::Problem(problem) = failure {
            text.push_str(&format!("\n  help: {}\n  more: mainstay explain {}", problem.help, problem.code));
        }
        self.talk(&text);
        failure.exit()
    }

    /// Asks a person; without a terminal nobody can answer.
    ///
    /// # Errors
    /// If nobody can be asked, or the answer is no.
    pub fn confirm(&self, question: &str) -> Result<(), Failure> {
        if !stdin().is_terminal() {
            return Err(Failure::Usage(format!("{question} Nobody is there to answer: say it with --yes")));
        }
        eprint!("{} [y/N] ", visible(question));
        let mut line = String::new();
        let read = stdin().read_line(&mut line);
        match read.map(|_| line.trim()) {
            Ok("y" | "Y" | "yes") => Ok(()),
            _ => Err(Failure::Blocked("nothing was done".to_owned())),
        }
    }
}

/// Text with what can't be seen made visible, as JSON would write it: names come from elsewhere, and one with a mark that
/// turns the writing direction around, or takes no room, would show as another name.
fn visible(text: &str) -> Cow<'_, str> {
    let hides = |c: char| {
        matches!(c, '\u{0}'..='\u{8}' | '\u{b}'..='\u{1a}' | '\u{1c}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    if !text.contains(hides) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| if hides(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Cow::Owned(text.chars().map(shown).collect())
}

/// NO_COLOR and dumb terminals are respected.
pub fn wants_color() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var("TERM").is_ok_and(|term| term != "dumb")
}

fn width() -> Option<usize> {
    terminal_size::terminal_size().map(|(width, _)| usize::from(width.0))
}

/// This machine's wall clock. Ages are counted by the controller's instead.
pub fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_turns_the_writing_around_is_seen_through() {
        assert_eq!(visible("web\u{202e}1-bd\u{200b}"), "web\\u202e1-bd\\u200b");
        assert_eq!(visible("\x1b[1mübung 東京\x1b[0m\t\n"), "\x1b[1mübung 東京\x1b[0m\t\n");
        let name: String = serde_json::from_str(&visible("\"web\u{202e}1\u{9b}\"")).unwrap();
        assert_eq!(name, "web\u{202e}1\u{9b}", "in JSON it is the same name");
    }
}
