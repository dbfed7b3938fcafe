//! Making trouble on purpose, for live drills: a crash, an unplugged cable.

use std::time::Duration;

use crate::{
    connection::Connection, domain::inventory::XmlFlags, error::Result, procedures::Procedure, types::DomainRef,
};

/// `VIR_DUMP_CRASH | VIR_DUMP_MEMORY_ONLY`: its memory is written without asking a device, then it is ended as crashed.
const CRASH_MEMORY_ONLY: u32 = 1 | 1 << 4;
/// `VIR_DOMAIN_AFFECT_LIVE`: what runs now; the definition stays as it is.
const AFFECT_LIVE: u32 = 1;

impl Connection {
    /// Ends it so that libvirt itself reports a crash. Its memory goes to /dev/null first, which takes a while for much.
    pub async fn crash(&self, domain: &DomainRef, limit: Duration) -> Result<()> {
        self.call(Procedure::DomainCoreDump, &(domain, "/dev/null", CRASH_MEMORY_ONLY), limit).await
    }

    /// Pulls or plugs in every network cable of a running domain; says how many there are. A new start has them plugged.
    pub async fn set_links(&self, domain: &DomainRef, up: bool, limit: Duration) -> Result<usize> {
        let xml = self.domain_xml(domain, XmlFlags::NONE, limit).await?;
        let interfaces = interfaces(&xml, up);
        for interface in &interfaces {
            self.call::<()>(Procedure::DomainUpdateDeviceFlags, &(domain, interface.as_str(), AFFECT_LIVE), limit)
                .await?;
        }
        Ok(interfaces.len())
    }
}

/// The interfaces of a domain as they are, but for the state of their link.
fn interfaces(xml: &str, up: bool) -> Vec<String> {
    let state = if up { "up" } else { "down" };
    let blocks = xml.split("<interface ").skip(1).filter_map(|rest| rest.split_once("</interface>"));
    blocks
        .map(|(inside, _)| {
            let others = inside.lines().filter(|line| !line.trim_start().starts_with("<link "));
            let others = others.collect::<Vec<_>>().join("\n");
            format!("<interface {others}<link state='{state}'/></interface>")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::interfaces;

    #[test]
    fn only_the_link_of_an_interface_changes() {
        let xml =
            "<devices>\n<interface type='bridge'>\n<mac address='a'/>\n<link state='up'/>\n</interface>\n</devices>";
        let down = "<interface type='bridge'>\n<mac address='a'/><link state='down'/></interface>";
        assert_eq!(interfaces(xml, false), [down]);
    }
}
