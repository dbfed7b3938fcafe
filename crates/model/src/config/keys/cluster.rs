//! `[cluster]`, `[detection]`, `[limits]`, `[controller]`.

use crate::config::format::{LISTEN, NAME, NETWORK, SOME, SPAN_ABOVE_ZERO};
use crate::config::key::{Kind::*, Section, key, section};

pub static CLUSTER: Section = section(
    "[cluster]",
    "The cluster itself.",
    &[
        key("name", Text(&SOME), "Name shown to people.").or(r#""mainstay""#),
        key("guest_networks", List(&Text(&NETWORK)), "Where a guest is probed at an address that it gives itself (by its agent, a DHCP lease, ARP). Addresses of a rule's `probe` are always probed. Loopback, link-local, group and metadata addresses never are.").or(r#"["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]"#),
    ],
);

pub static DETECTION: Section = section(
    "[detection]",
    "When silence becomes loss. The engine learns how regularly each host answers (phi accrual) and judges silence by that, \
     between a floor and a bound.",
    &[
        key("heartbeat_every", Text(&SPAN_ABOVE_ZERO), "How often a host's hypervisor and address are asked for a sign of life.").or(r#""500ms""#),
        key("host_lost_after", Text(&SPAN_ABOVE_ZERO), "A host silent on all channels for this long is lost, however irregular its answers were (hard bound).").or(r#""3s""#),
        key("host_lost_floor", Text(&SPAN_ABOVE_ZERO), "Silence shorter than this is never loss.").or(r#""2s""#),
        key("phi", Number(1.0, 100.0), "Suspicion at which silence between floor and bound counts as loss: 8.0 means one false suspicion in 10^8 heartbeats.").or("8.0"),
        key("host_hung_after", Text(&SPAN_ABOVE_ZERO), "The hypervisor is unreachable and all guests that used to answer are silent, though the host's address answers ping: after this long the host counts as hung.").or(r#""30s""#),
        key("management_fault_after", Text(&SPAN_ABOVE_ZERO), "The hypervisor is unreachable although the host or its guests answer: alarm after this long; nothing is fenced.").or(r#""10s""#),
        key("cut_off_percent", Whole(1, 100), "If more than this share of the hosts falls silent together, the controller takes itself for cut off and acts on nothing.").or("50"),
        key("host_stable_for", Text(&SPAN_ABOVE_ZERO), "A host that came back must be well for this long before it gets work again.").or(r#""5s""#),
    ],
);

pub static LIMITS: Section = section(
    "[limits]",
    "How much may be under way at once, so that recovery does not become the next disaster.",
    &[
        key("starts_per_host", Whole(1, 1000), "Starts under way per host.").or("4"),
        key("migrations_per_host", Whole(1, 1000), "Live migrations under way per host, as source or target.").or("2"),
        key("points_per_host", Whole(1, 1000), "Recovery points being taken per host.").or("1"),
        key("points_per_datastore", Whole(1, 1000), "Recovery points being taken per datastore.").or("2"),
        key("fencings", Whole(1, 1000), "Fencings under way in the cluster.").or("4"),
    ],
);

pub static TOKEN: Section = section(
    "[controller.token.NAME]",
    "A token for clients over TCP.",
    &[
        key("file", Text(&SOME), "File with the token, at least 16 characters.").required(),
        key("role", Choice(&["read", "operate", "administer"]), "What its holder may do. `read`: see everything. `operate`: also start, stop, move, protect and revert VMs, maintenance, acknowledge alarms. `administer`: also fence, confirm that a host is off, reload, drills.").or(r#""read""#),
    ],
);

pub static CONTROLLER: Section = section(
    "[controller]",
    "The controller process. A change here takes effect at its next start.",
    &[
        key("state_directory", Text(&SOME), "Where it keeps what it remembers (an SQLite database).").or(r#""/var/lib/mainstay""#),
        key("witness_file", Text(&SOME), "File on another machine's storage (NFS, a shared file system), one for each controller, in which it notes every few seconds how far its memory has come. By it a controller whose whole machine was reverted to an older snapshot finds out, and asks before it starts anything (MS1005). While the file can't be reached, no controller starts. The first time, make it: `touch FILE`."),
        key("api_socket", Text(&SOME), "UNIX socket of the API, which the command line uses.").or(r#""/run/mainstay/api.sock""#),
        key("api_listen", Text(&LISTEN), "Address and port on which the API is also served over TCP, such as \"127.0.0.1:7710\"; needs a token; beyond this machine it needs a certificate too. Without it, the socket only."),
        key("api_token_file", Text(&SOME), "File with a token that clients over TCP may send, with the role `administer`. More tokens: `[controller.token.NAME]`."),
        key("api_certificate_file", Text(&SOME), "File with the certificate (PEM, with those that sign it) for TLS over TCP. Needed to listen beyond this machine, with `api_key_file`."),
        key("api_key_file", Text(&SOME), "File with the private key (PEM) of `api_certificate_file`."),
        key("token", Named(&NAME, &Table(&TOKEN)), "Tokens of clients over TCP, each with a name, under which its commands are on record.").or("{}"),
        key("log", Text(&SOME), "What is logged: `error`, `warn`, `info`, `debug` or `trace`, also per part, such as \"info,mainstay_libvirt=debug\".").or(r#""info""#),
        key("keep_history", Text(&SPAN_ABOVE_ZERO), "How long events are kept, and pictures of consoles. The newest 1,000 incidents are kept whatever their age.").or(r#""90d""#),
    ],
);
