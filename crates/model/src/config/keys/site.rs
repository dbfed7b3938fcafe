//! `[site.NAME]`, its drivers and hosts, `[fence.NAME]`.

use crate::config::format::{ADDRESS, MEMORY, NAME, SOME, SPAN, SPAN_ABOVE_ZERO, TEXT, URI};
use crate::config::key::{Kind, Kind::*, Section, key, section};

pub static SITE: Section = section(
    "[site.NAME]",
    "A set of hosts under one management. It has one table for its driver (today: `libvirt`) and one for each host.",
    &[
        key("shared_storage", Flag, "True if the site's hosts see the same storage at the same paths: then a VM can start on any of them from its disk.").or("false"),
        key("libvirt", Table(&LIBVIRT), "The site's hosts run libvirt.").required(),
        key("host", Named(&NAME, &Table(&HOST)), "Hosts by name; names are unique over all sites.").required(),
    ],
);

pub static LIBVIRT: Section = section(
    "[site.NAME.libvirt]",
    "How the libvirt daemons of the site's hosts are reached. The table may be empty.",
    &[
        key("uri", Text(&URI), "URI as virsh takes it; `{host}` and `{address}` stand for the host's. Transports: `tls`, `ssh`, `tcp`, `unix`.").or(r#""qemu+tls://{address}/system""#),
        key("username", Text(&SOME), "User for SASL, if libvirtd asks for one."),
        key("password_file", Text(&SOME), "File with the password of `username`."),
        key("connect_timeout", Text(&SPAN_ABOVE_ZERO), "Bound for connecting to a host.").or(r#""5s""#),
        key("call_timeout", Text(&SPAN_ABOVE_ZERO), "Bound for a call that answers at once; starts, migrations and recovery points have their own.").or(r#""10s""#),
        key("ready_every", Text(&SPAN), "How often each host is asked whether it could start the guests of the others (`mainstay ready`); `0s` for never. For images in folders that belong to no storage pool a transient pool is made on the host.").or(r#""5m""#),
        key("migrate_tls", Flag, "True: a guest's memory moves from host to host by TLS only. Both hosts need certificates for QEMU (`migrate_tls_x509_cert_dir` in qemu.conf); without them a live migration fails, and the guest stays where it is.").or("false"),
        key("keepalive_every", Text(&SPAN_ABOVE_ZERO), "How often an idle connection is asked whether it still lives.").or(r#""1s""#),
        key("keepalive_missed", Whole(1, 100), "So many unanswered in a row, and the connection is closed.").or("3"),
    ],
);

/// One device, one level of devices, or several levels.
const LEVELS: Kind = OneOf(&[Text(&NAME), List(&Text(&NAME)), List(&List(&Text(&NAME)))]);

pub static HOST: Section = section(
    "[site.NAME.host.NAME]",
    "A host. The table may be empty.",
    &[
        key("address", Text(&ADDRESS), "Address or name for ping and for `{address}` in URIs. Without it, the host's name; \"\" for no ping."),
        key("uri", Text(&URI), "This host's own URI instead of the driver's."),
        key("tags", List(&Text(&SOME)), "Tags for placement rules, which name them as \"tag:ssd\".").or("[]"),
        key("spare", Flag, "A spare gets work only when the others cannot take it.").or("false"),
        key("reserve", Table(&RESERVE), "Held back for the host itself.").or("{}"),
        key("capacity", Table(&CAPACITY), "Capacity in all, if it is not to be read from the hypervisor."),
        key("cpu_overcommit", Number(0.1, 100.0), "vCPUs per core.").or("4.0"),
        key("fence", LEVELS, "Fence devices in levels: `\"bmc\"` is one device; `[[\"bmc\"], [\"pdu-a\", \"pdu-b\"]]` tries the BMC first, then both PDUs, which must both succeed. Without it, a person has to confirm that a lost host is off.").or("[]"),
        key("revive", Table(&REVIVE), "What is tried to get a lost host back.").or("{}"),
    ],
);

pub static RESERVE: Section = section(
    "reserve = { … }",
    "Held back for the host itself.",
    &[
        key("memory", Text(&MEMORY), "Memory.").or(r#""0MiB""#),
        key("vcpus", Number(0.0, 1_000_000.0), "vCPUs.").or("0"),
    ],
);

pub static CAPACITY: Section = section(
    "capacity = { … }",
    "A host's capacity in all.",
    &[
        key("memory", Text(&MEMORY), "Memory.").required(),
        key("vcpus", Number(0.01, 1_000_000.0), "Cores, before overcommit.").required(),
    ],
);

pub static REVIVE: Section = section(
    "revive = { … }",
    "What is tried to get a lost host back.",
    &[
        key("within", Text(&SPAN), "A host found without power is switched on and waited for this long before its VMs start elsewhere. \"0s\": do not wait.").or(r#""0s""#),
        key("after_fence", Choice(&["power-on", "leave-off"]), "What becomes of a host after it was fenced: powered on once its VMs are safe elsewhere, or left off for a person to look at.").or(r#""power-on""#),
        key("power_ons_per_hour", Whole(0, 1000), "No more power-ons than this within an hour: a flapping host is left off.").or("3"),
    ],
);

pub static FENCE: Section = section(
    "[fence.NAME]",
    "A fence device: an agent of the ClusterLabs fence-agents family with its options.",
    &[
        key("agent", Text(&SOME), "The agent's name or path, such as \"fence_ipmilan\".").required(),
        key(
            "options",
            Named(&SOME, &OneOf(&[Text(&TEXT), Whole(i64::MIN, i64::MAX), Flag])),
            "Options as the agent's manual names them, passed on standard input. Put a password into a file and name it as `password_file`.",
        ),
        key(
            "plug",
            Named(&NAME, &Text(&SOME)),
            "What a host is called at this device (outlet, slot), if not by its own name.",
        ),
        key("timeout", Text(&SPAN_ABOVE_ZERO), "Bound for one call of the agent.").or(r#""20s""#),
        key("verify_within", Text(&SPAN_ABOVE_ZERO), "Bound for the device to say that the host is off.")
            .or(r#""20s""#),
        key("retries", Whole(0, 100), "Attempts beyond the first.").or("1"),
        key("settle", Text(&SPAN), "A device that says off is asked again after this time, and the second answer counts. For boards that say off before they are.")
            .or(r#""0s""#),
        key("delay", Text(&SPAN), "Wait before switching off, so that of two who would fence each other one wins.")
            .or(r#""0s""#),
        key("probe_every", Text(&SPAN), "How often the device is asked for the power of each of its hosts although nothing depends on it, so that a dead one is found before it is needed. \"0s\": never.").or(r#""10m""#),
    ],
);
