//! `[[vm]]`, `[[recovery]]`, `[[protection]]`: one rule per VM, the first match counts.

use super::rule::{MATCH, TAGS};
use crate::config::format::{ATTEMPTS_MOST, HOST_OR_TAG, MEMORY, RUNGS, SOME, SPAN_ABOVE_ZERO, STEP, TEXT, URL};
use crate::config::key::{Key, Kind, Kind::*, Section, key, section};

/// A score has the bounds that Pacemaker's have.
pub const SCORE: Kind = Whole(-1_000_000, 1_000_000);

/// Hosts as a list, all with score 100, or a table with their scores.
const SCORED: Kind = OneOf(&[List(&Text(&HOST_OR_TAG)), Named(&HOST_OR_TAG, &Whole(1, 1_000_000))]);

pub static VM: Section = section(
    "[[vm]]",
    "Which VMs are managed, and how. The first rule that matches counts; a VM that none matches is shown, not managed.",
    &[
        MATCH,
        TAGS,
        key(
            "manage",
            Choice(&["yes", "watch-only"]),
            "`yes`: watched and recovered. `watch-only`: watched, alarms only.",
        )
        .or(r#""yes""#),
        key("priority", SCORE, "Higher is started first.").or("0"),
        key("set_tags", List(&Text(&SOME)), "Tags these VMs get, besides their own, for other rules.").or("[]"),
        key("memory", Text(&MEMORY), "Memory to count for placement, if not what the VM's definition says."),
        key("hosts", Table(&HOSTS), "Where they may or should run."),
        key(
            "leave_behind",
            List(&Choice(HOST_STATES)),
            "State that lies on one host only, and without which one may start on another: `tpm` (what its emulated TPM keeps), `uefi-variables`, `saved-memory` (`virsh managedsave`). A VM with other such state starts only where that is; live it moves anywhere, with its state. Nothing that is left behind is deleted. Name here what lies on shared storage without libvirt's knowing.",
        )
        .or(r#"["uefi-variables"]"#),
        key(
            "on_person_stop",
            Choice(&["alarm", "power-on"]),
            "What to do if a person stopped one: leave it off and raise an alarm, or power it on again.",
        )
        .or(r#""alarm""#),
        key(
            "on_host_shutdown",
            Choice(&["restart-elsewhere", "wait", "conditional"]),
            "What to do if its host was shut down in good order, and it with that (by libvirt-guests): start it elsewhere at once, wait until its host is back and start it there, or wait for `host_back_within` and then start it elsewhere.",
        )
        .or(r#""restart-elsewhere""#),
        key("host_back_within", Text(&SPAN_ABOVE_ZERO), "How long `on_host_shutdown = \"conditional\"` waits for the host: as long as a reboot takes.")
            .or(r#""5m""#),
        key(
            "fail_back",
            Choice(&["stay", "return", "preferred"]),
            "Whether one goes back, live, when a host that its rule prefers more (or the one it left for maintenance) is well again. `return`: unless a person put it where it is, and also to the host that it was lost with; `preferred`: where its rule prefers it, whoever put it elsewhere, and back from maintenance, but never just because it was there before.",
        )
        .or(r#""stay""#),
        key(
            "probe",
            Table(&PROBE),
            "How they are asked for signs of life. Any answer counts; without probes the hypervisor alone is believed.",
        )
        .or("{}"),
    ],
);

/// State that one host alone may have, as it is written.
pub const HOST_STATES: &[&str] = &["tpm", "uefi-variables", "saved-memory"];

pub static HOSTS: Section = section(
    "hosts = { … }",
    "Where VMs may or should run. Hosts are named by name, or by tag as \"tag:ssd\".",
    &[
        key("require", List(&Text(&HOST_OR_TAG)), "Only on these hosts; rather nowhere than elsewhere."),
        key("prefer", SCORED, "Better on these: a list (score 100 each) or scores, as { h2 = 100, \"tag:ssd\" = 50 }."),
        key("avoid", SCORED, "Better not on these, written as for `prefer`."),
    ],
);

pub static PROBE: Section = section(
    "probe = { … }",
    "How VMs are asked for signs of life.",
    &[
        key("address", Text(&SOME), "Its address, if it cannot be found through guest agent, lease or ARP."),
        key("ping", Flag, "ICMP echo.").or("false"),
        key("agent", Flag, "The guest agent.").or("false"),
        key("tcp", List(&Whole(1, 65535)), "TCP ports that accept a connection.").or("[]"),
        key(
            "http",
            List(&Text(&URL)),
            "URLs that answer with a status below 400; `{address}` stands for the VM's address.",
        )
        .or("[]"),
    ],
);

const LADDER: Kind = List(&OneOf(&[Text(&STEP), Table(&RUNG)]));

pub static RUNG: Section = section(
    "{ rung = …, attempts = … }",
    "A rung of a ladder; \"restart x3\" says the same as { rung = \"restart\", attempts = 3 }.",
    &[
        key("rung", Choice(RUNGS), "The way: `resume` a VM paused on an I/O error, `restart` on the same host, `revert` to its last good recovery point, `relocate` to another host, or `alarm`: leave it and call a person.").required(),
        key("attempts", Whole(1, ATTEMPTS_MOST as i64), "Attempts before the next rung.").or("1"),
    ],
);

pub static RECOVERY: Section = section(
    "[[recovery]]",
    "How VMs are brought back. The first rule that matches counts; without a match, the defaults.",
    &[
        MATCH,
        TAGS,
        key("ladder", LADDER, "Rungs in order, each with its attempts; after the last one a person is called. For causes without a ladder of their own: `io-error`, `host-lost`, `host-shutdown` and `vanished` have one, which is changed in `on`.")
            .or(r#"["restart x3", "revert", "relocate x2", "alarm"]"#),
        key("on", Table(&ON), "Ladders of single causes, which count instead of `ladder`.").or("{}"),
        key("window", Text(&SPAN_ABOVE_ZERO), "Attempts older than this no longer count.").or(r#""10m""#),
        key(
            "backoff",
            Text(&SPAN_ABOVE_ZERO),
            "Wait before the second attempt; doubled with each further one. The first is made at once.",
        )
        .or(r#""1s""#),
        key("backoff_limit", Text(&SPAN_ABOVE_ZERO), "No wait is longer than this.").or(r#""1m""#),
        key(
            "hung_after",
            Text(&SPAN_ABOVE_ZERO),
            "No sign of life and no disk or network activity for this long: the guest hangs.",
        )
        .or(r#""15s""#),
        key(
            "answer_within",
            Text(&SPAN_ABOVE_ZERO),
            "After a start, the VM must be seen running (and answer, if it ever did) within this.",
        )
        .or(r#""2m""#),
        key("stable_after", Text(&SPAN_ABOVE_ZERO), "Running well for this long closes the incident.").or(r#""1m""#),
        key("start_timeout", Text(&SPAN_ABOVE_ZERO), "Bound for a start.").or(r#""90s""#),
        key("stop_timeout", Text(&SPAN_ABOVE_ZERO), "Bound for a graceful stop before force is used.").or(r#""1m""#),
    ],
);

/// A cause with a ladder of its own.
const fn cause(name: &'static str, doc: &'static str) -> Key {
    key(name, LADDER, doc)
}

pub static ON: Section = section(
    "on = { … }",
    "Ladders of single causes.",
    &[
        cause("crashed", "The hypervisor process died: killed, out of memory, aborted."),
        cause("panicked", "The guest's kernel panicked."),
        cause("hung", "No sign of life and no activity, though the VM counts as running."),
        cause("signalled", "The hypervisor process was asked to end by a signal from the host."),
        cause("io-error", "Paused by the hypervisor because its disk failed.")
            .or(r#"["resume x5", "restart x2", "relocate x2", "alarm"]"#),
        cause("start-failed", "It did not start."),
        cause("host-lost", "Its host is lost and proved off.").or(r#"["relocate x5", "alarm"]"#),
        cause("host-shutdown", "It was shut down with its host, in good order.")
            .or(r#"["restart x3", "relocate x5", "alarm"]"#),
        cause("host-restarted", "Its host restarted under it."),
        cause("vanished", "Its definition is gone from its host, and no person was seen stopping it.")
            .or(r#"["alarm"]"#),
        cause("person-stop", "A person stopped it, and its rule says on_person_stop = \"power-on\"."),
    ],
);

pub static PROTECTION: Section = section(
    "[[protection]]",
    "Recovery points. The first rule that matches counts; a VM that none matches has no recovery points.",
    &[
        MATCH,
        TAGS,
        key("every", Text(&SPAN_ABOVE_ZERO), "Interval between recovery points: at most this much is lost.").or(r#""10m""#),
        key("keep", Table(&KEEP), "How many are kept. The last good one always is.").or("{}"),
        key("kind", Choice(&["auto", "memory", "disk"]), "`memory`: memory and disk, the guest goes on where it was (qcow2 only). `disk`: disk only, the guest boots from it. `auto`: memory where the disk allows it.").or(r#""auto""#),
        key("freeze", Flag, "Freeze the guest's filesystems through its agent, if it has one, for disk-only points.").or("true"),
        key("timeout", Text(&SPAN_ABOVE_ZERO), "Bound for taking one.").or(r#""5m""#),
        key("hooks", Table(&HOOKS), "Programs run around it, on the controller, with the VM's name in `MAINSTAY_VM`.").or("{}"),
        key("keep_broken", Flag, "Before a revert, keep the broken state aside if there is space.").or("true"),
    ],
);

pub static KEEP: Section = section(
    "keep = { … }",
    "How many recovery points are kept: the newest, and the newest of each hour, day and week.",
    &[
        key("last", Whole(1, 10_000), "The newest so many.").or("3"),
        key("hourly", Whole(0, 10_000), "One per hour for so many hours.").or("0"),
        key("daily", Whole(0, 10_000), "One per day for so many days.").or("0"),
        key("weekly", Whole(0, 10_000), "One per week for so many weeks.").or("0"),
    ],
);

pub static HOOKS: Section = section(
    "hooks = { … }",
    "Programs run around a recovery point, each as a list of program and arguments.",
    &[
        key("before", List(&Text(&TEXT)), "Before it; if it fails, no point is taken.").or("[]"),
        key("after", List(&Text(&TEXT)), "After it, whatever came of it.").or("[]"),
    ],
);
