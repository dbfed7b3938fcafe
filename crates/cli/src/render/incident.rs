//! Incidents: the list, and one told as a story with times counted from the last moment at which all was well.

use super::{Cell, Look, Table, Tone, count, events, span};
use mainstay_model::{Event, Incident, IncidentCause, Severity, Span, Time};

/// The list, newest last.
pub fn incidents(incidents: &[Incident], look: &Look) -> String {
    let mut table = Table::new(["INCIDENT", "BEGAN", "ABOUT", "WHAT", "VMS", "DOWN FOR", "LOST AT MOST", "STATE"]);
    for incident in incidents {
        table.row([
            Cell::from(incident.id.to_string()),
            look.date(incident.opened_at).into(),
            incident.subject.to_string().into(),
            cause(incident).into(),
            incident.workloads.len().to_string().into(),
            span(longest(incident, look.now)).into(),
            worst_loss(incident).map_or(String::new(), loss).into(),
            match incident.closed_at {
                Some(_) => Cell::toned(Tone::Good, "over"),
                None => Cell::toned(Tone::Bad, "under way"),
            },
        ]);
    }
    table.render(look)
}

/// One incident as a story.
pub fn incident(incident: &Incident, look: &Look) -> String {
    let title = format!("Incident {}: {} {}", incident.id, incident.subject, cause(incident));
    let all_back = incident.workloads.iter().all(|vm| vm.back_at().is_some());
    let end = match incident.closed_at {
        Some(closed) => format!("over after {}", span(closed.since(incident.well_until))),
        None if all_back => "brought back, watched until it is stable".to_owned(),
        None => format!("under way for {}", span(look.now.since(incident.well_until))),
    };
    let mut text = format!("{}, {end}\n\n", look.paint(Tone::Strong, &title));
    text.push_str(&format!("   +0.000s  {:<10}last known well, {}\n", "", look.date(incident.well_until)));
    // Who is meant is only said where it could be several.
    let several = incident.timeline.iter().any(|event| event.subject != incident.subject);
    let width = |event: &Event| if several { event.subject.to_string().chars().count() + 2 } else { 0 };
    let subjects = incident.timeline.iter().map(width).max().unwrap_or(0);
    for event in &incident.timeline {
        let at = format!("+{:.3}s", event.at.since(incident.well_until).as_secs_f64());
        let tone = if event.severity == Severity::Green { Tone::Plain } else { event.severity.into() };
        let words = look.paint(tone, &look.wrap(events::words(event.kind, &event.text), 22 + subjects));
        let kind = look.paint(Tone::Dim, &format!("{:<10}", events::kind(event.kind)));
        let subject = if several { event.subject.to_string() } else { String::new() };
        text.push_str(&format!("{at:>10}  {kind}{subject:<subjects$}{words}\n"));
    }
    text.push_str(&format!("\n{}", workloads(incident, look)));
    let total: u64 = incident.workloads.iter().map(|vm| vm.downtime(look.now).0).sum();
    let total = format!("\nDown in all: {}, {}", span(Span(total)), count(incident.workloads.len(), "VM"));
    text.push_str(&format!("{total}; the longest {}.", span(longest(incident, look.now))));
    text.push_str(&match worst_loss(incident) {
        Some(most) if most == Span::ZERO => " No data written to disk was lost.\n".to_owned(),
        Some(most) => format!(" Data written in up to {} before may be lost.\n", span(most)),
        None => " What was lost is not known yet.\n".to_owned(),
    });
    text
}

fn workloads(incident: &Incident, look: &Look) -> String {
    let mut table = Table::new(["VM", "FROM", "TO", "RUNNING", "ANSWERING", "DOWN FOR", "LOST AT MOST"]);
    for vm in &incident.workloads {
        let after =
            |at: Option<Time>| at.map_or(String::new(), |at| format!("+{}", span(at.since(incident.well_until))));
        let down = span(vm.downtime(look.now));
        table.row([
            Cell::from(vm.workload.as_str()),
            vm.from.as_ref().map_or("", |host| host.as_str()).into(),
            vm.to.as_ref().map_or("", |host| host.as_str()).into(),
            after(vm.running_at).into(),
            after(vm.answering_at).into(),
            match (vm.back_at(), vm.left_at) {
                (Some(_), _) => down.into(),
                (None, Some(_)) => format!("{down}, then a person took over").into(),
                (None, None) => Cell::toned(Tone::Bad, format!("{down} so far")),
            },
            vm.data_loss.map_or(String::new(), loss).into(),
        ]);
    }
    table.render(look)
}

/// What happened, to be read after the subject.
pub(super) fn cause(incident: &Incident) -> String {
    match incident.cause {
        IncidentCause::HostLost => "was lost".to_owned(),
        IncidentCause::Reverted => "reverted by a person".to_owned(),
        IncidentCause::Workload(cause) => cause.to_string(),
    }
}

fn longest(incident: &Incident, now: Time) -> Span {
    incident.workloads.iter().map(|vm| vm.downtime(now)).max().unwrap_or(Span::ZERO)
}

fn worst_loss(incident: &Incident) -> Option<Span> {
    incident.workloads.iter().filter_map(|vm| vm.data_loss).max()
}

fn loss(most: Span) -> String {
    if most == Span::ZERO { "nothing on disk".to_owned() } else { span(most) }
}
