//! Addresses of IPv6: in brackets within a URI, without them everywhere else. Either way of writing them is understood.

use std::{borrow::Cow, net::Ipv6Addr};

/// An address as a URI takes it: one of IPv6 in brackets, since the colons in it would be taken for a port.
pub fn in_uri(address: &str) -> Cow<'_, str> {
    let bare = without_brackets(address);
    match bare.parse::<Ipv6Addr>() {
        Ok(_) => Cow::Owned(format!("[{bare}]")),
        Err(_) => Cow::Borrowed(address),
    }
}

/// A template with `{address}` filled in. A template that has brackets of its own around it is right as well.
pub fn filled(template: &str, address: &str) -> String {
    template.replace("[{address}]", "{address}").replace("{address}", &in_uri(address))
}

/// An address as sockets and name servers take it.
pub(super) fn without_brackets(address: &str) -> &str {
    let inside = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inside.filter(|inside| inside.parse::<Ipv6Addr>().is_ok()).unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    const CONFIG: &str = r#"
[site.paris]
shared_storage = true
[site.paris.libvirt]
uri = "qemu+tcp://{address}/system"
[site.paris.host.h1]
address = "fd00:77::11"
[site.paris.host.h2]
address = "[fd00:77::12]"
[site.paris.host.h3]
address = "10.77.0.13"
[[vm]]
match = "*"
probe = { ping = true, address = "[fd00:77::101]", http = ["http://{address}:8080/health"] }
"#;

    #[test]
    fn ipv6_address() {
        let spec = load("ipv6.toml", CONFIG).unwrap_or_else(|problems| panic!("{problems}")).spec;
        let hosts: Vec<(&str, &str)> =
            spec.hosts.values().map(|host| (host.address.as_str(), host.uri.as_str())).collect();
        assert_eq!(
            hosts,
            [
                ("fd00:77::11", "qemu+tcp://[fd00:77::11]/system"),
                ("fd00:77::12", "qemu+tcp://[fd00:77::12]/system"),
                ("10.77.0.13", "qemu+tcp://10.77.0.13/system"),
            ]
        );
        let probes = &spec.workloads[0].policy.probes;
        let address = probes.address.as_deref().unwrap_or_default();
        assert_eq!(address, "fd00:77::101", "as ping takes it");
        assert_eq!(filled(&probes.http[0], address), "http://[fd00:77::101]:8080/health");
        assert_eq!(filled("http://[{address}]/", address), "http://[fd00:77::101]/");
    }
}
