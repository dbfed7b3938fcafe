//! `[[together]]`, `[[apart]]`, `[[order]]`, `[[maintenance_window]]`, and what all rules have: whom they speak of.

use crate::config::format::{CLOCK, HOST_OR_TAG, SOME, SPAN_ABOVE_ZERO};
use crate::config::key::{Key, Kind, Kind::*, Section, key, section};

const ONE_OR_MANY: Kind = OneOf(&[Text(&SOME), List(&Text(&SOME))]);
const REQUIRED_OR_SCORE: Kind = OneOf(&[Choice(&["required", "preferred"]), Whole(1, 1_000_000)]);

pub const MATCH: Key = key(
    "match",
    ONE_OR_MANY,
    "VMs by name: a pattern with `*` and `?`, or a list of them. A rule needs `match` or `tags`; with both, either is enough.",
);
pub const TAGS: Key = key("tags", ONE_OR_MANY, "VMs by tag: one of these is enough.");

const STRENGTH: Key = key(
    "strength",
    REQUIRED_OR_SCORE,
    "\"required\": the VM rather waits than break it. \"preferred\", or a score (preferred is 100): weighed against other wishes.",
)
.or(r#""required""#);

pub static TOGETHER: Section = section("[[together]]", "VMs to keep on one host.", &[MATCH, TAGS, STRENGTH]);

pub static APART: Section = section("[[apart]]", "VMs to keep on different hosts.", &[MATCH, TAGS, STRENGTH]);

pub static ORDER: Section = section(
    "[[order]]",
    "VMs that start after others: when all of those run (and answer, if they are probed).",
    &[
        MATCH,
        TAGS,
        key("after", ONE_OR_MANY, "The VMs that must run before, by name pattern."),
        key("after_tags", ONE_OR_MANY, "The VMs that must run before, by tag."),
        key(
            "strength",
            REQUIRED_OR_SCORE,
            "\"required\": wait for ever. \"preferred\", or a score: wait only when both start at the same time.",
        )
        .or(r#""required""#),
    ],
);

pub static WINDOW: Section = section(
    "[[maintenance_window]]",
    "A time of the week in which hosts are in maintenance: drained before, given back after.",
    &[
        key("hosts", List(&Text(&HOST_OR_TAG)), "Which hosts.").required(),
        key("days", List(&Choice(DAYS)), "Days of the week on which it begins; without it, every day.").or("[]"),
        key("from", Text(&CLOCK), "When it begins, in UTC.").required(),
        key("lasts", Text(&SPAN_ABOVE_ZERO), "How long it lasts.").required(),
    ],
);

/// Days of the week as they are written; the index is the number.
pub const DAYS: &[&str] = &["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
