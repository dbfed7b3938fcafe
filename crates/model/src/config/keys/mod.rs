//! Every key of `mainstay.toml`, described once.

mod alarm;
mod cluster;
mod policy;
mod rule;
mod site;

pub use rule::DAYS;

use super::format::NAME;
use super::key::{Kind, Section, key, section};

/// The whole file.
pub static FILE: Section = section(
    "",
    "The configuration of a cluster: one TOML file. Lengths of time are texts such as \"500ms\", \"2s\", \"10m\", \
     \"1h30m\" or \"7d\". Rules (`[[vm]]` and the other tables in double brackets) are read from top to bottom; where one \
     rule per VM is wanted, the first that matches counts.",
    &[
        key("cluster", Kind::Table(&cluster::CLUSTER), "The cluster itself.").or("{}"),
        key("site", Kind::Named(&NAME, &Kind::Table(&site::SITE)), "Sites by name.").required(),
        key("fence", Kind::Named(&NAME, &Kind::Table(&site::FENCE)), "Fence devices by name; hosts refer to them."),
        key(
            "vm",
            Kind::List(&Kind::Table(&policy::VM)),
            "Which VMs are managed, and how. The first match counts; a VM that no rule matches is shown, not managed.",
        ),
        key(
            "recovery",
            Kind::List(&Kind::Table(&policy::RECOVERY)),
            "How VMs are brought back. The first match counts; without a match, the defaults.",
        ),
        key(
            "protection",
            Kind::List(&Kind::Table(&policy::PROTECTION)),
            "Recovery points. The first match counts; a VM that no rule matches has none.",
        ),
        key("together", Kind::List(&Kind::Table(&rule::TOGETHER)), "VMs to keep on one host. All rules count."),
        key("apart", Kind::List(&Kind::Table(&rule::APART)), "VMs to keep on different hosts. All rules count."),
        key("order", Kind::List(&Kind::Table(&rule::ORDER)), "VMs that start after others. All rules count."),
        key("maintenance_window", Kind::List(&Kind::Table(&rule::WINDOW)), "Times in which hosts are in maintenance."),
        key("alarms", Kind::Table(&alarm::ALARMS), "Which alarms are raised, how bad they are, and who is told.")
            .or("{}"),
        key("detection", Kind::Table(&cluster::DETECTION), "When silence becomes loss.").or("{}"),
        key("limits", Kind::Table(&cluster::LIMITS), "How much may be under way at once.").or("{}"),
        key(
            "controller",
            Kind::Table(&cluster::CONTROLLER),
            "The controller process: where it keeps its state and where it listens.",
        )
        .or("{}"),
    ],
);
