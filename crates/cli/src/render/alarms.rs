//! Alarms: what is wrong, and under each what to do.

use super::{Look, Tone, ago};
use mainstay_model::Alarm;

/// The alarms in their order; acknowledged ones are quiet. Empty text if there are none.
pub fn alarms(alarms: &[Alarm], look: &Look) -> String {
    let width = |text: fn(&Alarm) -> String| alarms.iter().map(|alarm| text(alarm).chars().count()).max().unwrap_or(0);
    let subjects = width(|alarm| alarm.subject.to_string());
    let mut text = String::new();
    for alarm in alarms {
        let indent = 2 + 8 + 8 + subjects + 2;
        let tone = if alarm.acknowledged.is_some() { Tone::Dim } else { alarm.severity.into() };
        let severity = look.paint(tone, &format!("{:<8}", alarm.severity));
        let (code, subject) = (alarm.code.to_string(), &alarm.subject);
        let age = ago(look.now.since(alarm.raised_at));
        let what = look.wrap(&format!("{} ({age})", alarm.text), indent);
        text.push_str(&format!("  {severity}{code:<8}{subject:<subjects$}  {what}\n"));
        let pad = " ".repeat(indent);
        match &alarm.acknowledged {
            Some(by) => {
                let when = ago(look.now.since(by.at));
                text.push_str(&look.paint(Tone::Dim, &format!("{pad}acknowledged by {} ({when})\n", by.by)));
            }
            None if !alarm.advice.is_empty() => {
                text.push_str(&format!("{pad}→ {}\n", look.wrap(&alarm.advice, indent + 2)));
            }
            None => {}
        }
    }
    text
}
