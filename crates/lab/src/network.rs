//! The lab's network: a switch, the controller and the hosts, each a network namespace of its own.
//!
//! ```text
//!   controller 10.77.0.1 ──┐
//!   h1 [br0 10.77.0.11] ───┤ bridge in the switch's namespace
//!   h2 [br0 10.77.0.12] ───┘   guests hang on their host's br0
//! ```
//! In a lab with IPv6 the hosts have fd00:77::11, fd00:77::12 and so on instead, and the controller has fd00:77::1 as well.
//!
//! Pulling a host's plug is setting its port of the switch down: nothing inside the host notices who did it.

use std::net::Ipv6Addr;

use crate::command::run;
use crate::error::Result;
use crate::layout::{CONTROLLER, CONTROLLER_V6, Layout, host_address, host_address_v6};
use crate::spec::LabSpec;

pub(crate) const SWITCH: &str = "switch";
pub(crate) const CONTROLLER_NODE: &str = "controller";

/// Makes all namespaces and cables of the lab.
pub(crate) async fn build(layout: &Layout, spec: &LabSpec) -> Result<()> {
    let switch = layout.namespace(SWITCH);
    add_namespace(&switch).await?;
    ip_in(&switch, "link add br0 type bridge forward_delay 0 stp_state 0").await?;
    ip_in(&switch, "link set br0 up").await?;

    let controller = layout.namespace(CONTROLLER_NODE);
    add_namespace(&controller).await?;
    plug_in(&switch, CONTROLLER_NODE, &controller).await?;
    ip_in(&controller, &format!("addr add {CONTROLLER}/24 dev eth0")).await?;
    if spec.ipv6 {
        permit_ipv6(&controller).await?;
        add_ipv6(&controller, CONTROLLER_V6, "eth0").await?;
    }
    ip_in(&controller, "link set eth0 up").await?;

    for host in spec.host_names() {
        let number = spec.host_number(&host)?;
        let namespace = layout.namespace(&host);
        add_namespace(&namespace).await?;
        plug_in(&switch, &host, &namespace).await?;
        // The guests' bridge; the host's own address sits on it.
        ip_in(&namespace, "link add br0 type bridge forward_delay 0 stp_state 0").await?;
        ip_in(&namespace, &format!("link set br0 address 52:54:00:77:01:{number:02x}")).await?;
        ip_in(&namespace, "link set eth0 master br0 up").await?;
        if spec.ipv6 {
            permit_ipv6(&namespace).await?;
            add_ipv6(&namespace, host_address_v6(number), "br0").await?;
        } else {
            ip_in(&namespace, &format!("addr add {}/24 dev br0", host_address(number))).await?;
        }
        ip_in(&namespace, "link set br0 up").await?;
    }
    Ok(())
}

/// On many machines IPv6 is switched off for every new namespace.
async fn permit_ipv6(namespace: &str) -> Result<()> {
    let permit = "for at in all default eth0 br0; do file=/proc/sys/net/ipv6/conf/$at/disable_ipv6; \
                  [ ! -e $file ] || [ \"$(cat $file)\" = 0 ] || echo 0 >$file || exit; done";
    run(&["ip", "netns", "exec", namespace, "sh", "-c", permit]).await.map(|_| ())
}

/// Usable at once: nothing else in a lab has this address, so it is not looked for.
async fn add_ipv6(namespace: &str, address: Ipv6Addr, device: &str) -> Result<()> {
    ip_in(namespace, &format!("addr add {address}/64 dev {device} nodad")).await
}

/// Plugs a host's network cable in or pulls it.
pub(crate) async fn set_cable(layout: &Layout, host: &str, plugged: bool) -> Result<()> {
    let state = if plugged { "up" } else { "down" };
    ip_in(&layout.namespace(SWITCH), &format!("link set {} {state}", port(host))).await
}

/// Removes every namespace of the lab, also those that a crashed creator left half made.
pub(crate) async fn remove(layout: &Layout) -> Result<()> {
    let prefix = layout.namespace_prefix();
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&prefix) {
            run(&["ip", "netns", "del", &name]).await?;
        }
    }
    Ok(())
}

async fn add_namespace(namespace: &str) -> Result<()> {
    run(&["ip", "netns", "add", namespace]).await?;
    ip_in(namespace, "link set lo up").await
}

/// Connects `node` to the switch by a cable whose end is the node's `eth0`.
async fn plug_in(switch: &str, node: &str, namespace: &str) -> Result<()> {
    let port = port(node);
    ip_in(switch, &format!("link add {port} type veth peer name eth0 netns {namespace}")).await?;
    ip_in(switch, &format!("link set {port} master br0 up")).await
}

fn port(node: &str) -> String {
    format!("p-{node}")
}

async fn ip_in(namespace: &str, words: &str) -> Result<()> {
    let argv: Vec<&str> = ["ip", "-n", namespace].into_iter().chain(words.split_whitespace()).collect();
    run(&argv).await.map(|_| ())
}
