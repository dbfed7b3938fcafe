//! `[alarms]`.

use crate::config::format::{ALARM, SPAN, SPAN_ABOVE_ZERO, TEXT};
use crate::config::key::{Kind::*, Section, key, section};

pub static ALARMS: Section = section(
    "[alarms]",
    "Which alarms are raised, how bad they are, and who is told. Their codes are listed in [operate.md](operate.md), and by \
     `mainstay alarm list` as they stand.",
    &[
        key("mute", List(&Text(&ALARM)), "Alarms that are never raised. What is done about their reasons does not change.").or("[]"),
        key("severity", Named(&ALARM, &Choice(&["green", "yellow", "red"])), "Another severity for an alarm: `red` calls for a person now, `yellow` for a look, `green` is for information.").or("{}"),
        key("notify", List(&Text(&TEXT)), "Program and arguments, run on the controller for each alarm that is raised or cleared: the alarm as JSON on its standard input, and `MAINSTAY_ALARM_CODE`, `_SUBJECT`, `_SEVERITY`, `_STATE` (`raised`, `cleared` or `reminder`) and `_TEXT` in its environment. One at a time. Without it, nobody is told.").or("[]"),
        key("notify_from", Choice(&["red", "yellow"]), "Alarms below this severity are not told.").or(r#""red""#),
        key("remind_every", Text(&SPAN), "A red alarm that nobody acknowledged is told again so often; \"0s\": never.").or(r#""1h""#),
        key("timeout", Text(&SPAN_ABOVE_ZERO), "The program is killed after this long.").or(r#""30s""#),
    ],
);
