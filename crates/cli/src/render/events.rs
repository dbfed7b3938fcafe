//! Events, a line each.

use super::{Look, Tone};
use mainstay_model::{Event, EventKind, Severity};

/// Names are rarely longer; a stream of single events cannot know the longest.
const SUBJECT: usize = 10;

/// Events in their order.
pub fn events(events: &[Event], look: &Look) -> String {
    let longest = events.iter().map(|event| event.subject.to_string().chars().count()).max().unwrap_or(0);
    events.iter().map(|event| line(event, longest, look)).collect()
}

/// One event as a line.
pub fn event(event: &Event, look: &Look) -> String {
    line(event, SUBJECT, look)
}

fn line(event: &Event, subjects: usize, look: &Look) -> String {
    let start = look.date(event.at);
    let (kind, subject) = (kind(event.kind), event.subject.to_string());
    let tone = if event.severity == Severity::Green { Tone::Plain } else { event.severity.into() };
    let indent = start.len() + 2 + 10 + subjects + 2;
    let by = event.by.as_ref().map(|by| format!(" ({by})"));
    let text = format!("{}{}", words(event.kind, &event.text), by.unwrap_or_default());
    let words = look.paint(tone, &look.wrap(&text, indent));
    format!("{}  {kind:<10}{subject:<subjects$}  {words}\n", look.paint(Tone::Dim, &start))
}

/// The sentence; what the column before it says already is left out.
pub(super) fn words(kind: EventKind, text: &str) -> &str {
    if kind == EventKind::Alarm { text.strip_prefix("alarm ").unwrap_or(text) } else { text }
}

/// The step of the loop, as a verb in the past.
pub(super) fn kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Seen => "seen",
        EventKind::Believed => "believed",
        EventKind::Decided => "decided",
        EventKind::Ordered => "ordered",
        EventKind::Outcome => "result",
        EventKind::Command => "asked",
        EventKind::Alarm => "alarm",
        EventKind::Controller => "controller",
    }
}
