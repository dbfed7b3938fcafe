//! A plan that would run: what would happen step by step, and what would come of it.

use super::{Cell, Look, Table, Tone, count, events, span};
use mainstay_engine::whatif::Foreseen;
use mainstay_model::{Reply, Severity, Span, Subject};

/// The plan; `supposed` is said after "If".
pub fn foreseen(supposed: &str, plan: &Foreseen, look: &Look) -> String {
    let mut text = format!("{} (nothing is touched)\n", look.paint(Tone::Strong, &format!("If {supposed}")));
    for reply in &plan.replies {
        let (Reply::Accepted { text: words } | Reply::Nothing { text: words } | Reply::Refused { text: words }) = reply;
        let tone = if matches!(reply, Reply::Refused { .. }) { Tone::Bad } else { Tone::Plain };
        text.push_str(&format!("  {}\n", look.paint(tone, &look.wrap(words, 2))));
    }
    if !plan.steps.is_empty() {
        text.push('\n');
    }
    let subjects = plan.steps.iter().map(|step| step.subject.to_string().chars().count()).max().unwrap_or(0);
    for step in &plan.steps {
        let at = format!("+{:.1}s", Span(step.after_ms).as_secs_f64());
        let (kind, subject) = (look.paint(Tone::Dim, &format!("{:<10}", events::kind(step.kind))), &step.subject);
        let tone = if step.severity == Severity::Green { Tone::Plain } else { step.severity.into() };
        let words = look.paint(tone, &look.wrap(events::words(step.kind, &step.text), 23 + subjects));
        text.push_str(&format!("{at:>9}  {kind}{subject:<subjects$}  {words}\n"));
    }
    let mut table = Table::new(["VM", "FROM", "TO"]);
    for moved in &plan.moved {
        let from = moved.from.as_ref().map_or("", |host| host.as_str());
        table.row([Cell::from(moved.workload.as_str()), from.into(), moved.to.as_str().into()]);
    }
    for (workload, why) in &plan.down {
        table.row([Cell::from(workload.as_str()), "".into(), Cell::toned(Tone::Bad, format!("would not run: {why}"))]);
    }
    let table = table.render(look);
    let gap = if table.is_empty() { "" } else { "\n" };
    text.push_str(&format!("{gap}{table}\n{}\n", verdict(plan)));
    text
}

fn verdict(plan: &Foreseen) -> String {
    let last = plan.steps.iter().rfind(|step| matches!(step.subject, Subject::Workload(_)));
    let last = last.map_or(Span::ZERO, |step| Span(step.after_ms));
    match (plan.down.len(), plan.moved.len(), plan.at_rest) {
        (_, _, false) => "It would not come to rest within half an hour.".to_owned(),
        (0, 0, true) => "No VM would move, none would stay down.".to_owned(),
        (0, moved, true) => format!("{} would move; all would run after about {}.", count(moved, "VM"), span(last)),
        (down, _, true) => format!("{} would stay down.", count(down, "VM")),
    }
}
