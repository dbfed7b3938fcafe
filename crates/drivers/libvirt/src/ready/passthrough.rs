//! Devices of a host that are passed through to a guest, in the words of people. Each binds the guest to its host.

use std::collections::BTreeSet;

use super::{
    UsbNeed,
    requirements::{pci_name, scsi_name},
};
use crate::xml::Element;

/// The `<hostdev>` devices of a domain, such as `0000:3b:00.1` or `USB 1050:0407`: one name at least if it has one.
pub fn passed_through(domain: &Element) -> BTreeSet<String> {
    let devices = domain.find(&["devices"]).into_iter().flat_map(|devices| devices.all("hostdev"));
    devices.map(|device| named(device).unwrap_or_else(|| other(device))).collect()
}

fn named(device: &Element) -> Option<String> {
    let source = device.find(&["source"])?;
    let uuid = || source.find(&["address"])?.attribute("uuid");
    match device.attribute("type")? {
        "pci" => Some(shown(&pci_name(source.find(&["address"])?)?)),
        "usb" => Some(UsbNeed::of(source)).filter(UsbNeed::is_named).map(|need| format!("USB {need}")),
        "scsi" => {
            scsi_name(source).map(|name| shown(&name)).or_else(|| Some(format!("SCSI {}", source.attribute("name")?)))
        }
        "scsi_host" => Some(format!("SCSI {}", source.attribute("wwpn")?)),
        "mdev" => Some(format!("mdev {}", uuid()?)),
        // Of a container.
        "storage" | "misc" | "net" => {
            let kinds = ["block", "char", "interface"];
            kinds.iter().find_map(|kind| source.text_of(&[kind])).map(str::to_owned)
        }
        _ => None,
    }
}

fn other(device: &Element) -> String {
    format!("of type {}", device.attribute("type").unwrap_or("unknown"))
}

/// A device by its name in libvirt's list of node devices, as other programs of the host name it.
pub(super) fn shown(node_device: &str) -> String {
    let parts: Vec<&str> = node_device.split('_').collect();
    match parts[..] {
        ["pci", domain, bus, slot, function] => format!("{domain}:{bus}:{slot}.{function}"),
        ["scsi", host, bus, target, unit] => format!("SCSI {host}:{bus}:{target}:{unit}"),
        _ => node_device.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_that_binds_a_domain_has_a_name() {
        let pci = "<source><address domain='0x0000' bus='0x3b' slot='0x00' function='0x1'/></source>";
        let scsi = "<source><adapter name='scsi_host2'/><address bus='0' target='1' unit='5'/></source>";
        let iscsi = "<source protocol='iscsi' name='iqn.2014-08.com.example:target/1'><host name='san'/></source>";
        let mdev = "<source><address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/></source>";
        for (attributes, source, name) in [
            ("mode='subsystem' type='pci'", pci, "0000:3b:00.1"),
            ("type='usb'", "<source><vendor id='0x1050'/><product id='0x0407'/></source>", "USB 1050:0407"),
            ("type='usb'", "<source><address bus='1' device='4'/></source>", "USB bus 1, device 4"),
            ("type='usb'", "<source><address bus='1' port='1.2'/></source>", "USB bus 1, port 1.2"),
            ("type='usb'", "<source><what/></source>", "of type usb"),
            ("type='scsi'", scsi, "SCSI 2:0:1:5"),
            ("type='scsi'", iscsi, "SCSI iqn.2014-08.com.example:target/1"),
            ("type='scsi_host'", "<source protocol='vhost' wwpn='naa.5001405376e34193'/>", "SCSI naa.5001405376e34193"),
            ("type='mdev' model='vfio-pci'", mdev, "mdev c2177883-f1bb-47f0-914d-32a22e3a8804"),
            ("mode='capabilities' type='misc'", "<source><char>/dev/input/event3</char></source>", "/dev/input/event3"),
            ("type='pci'", "", "of type pci"),
            ("", "", "of type unknown"),
        ] {
            let xml = format!("<domain><devices><hostdev {attributes}>{source}</hostdev></devices></domain>");
            let names: Vec<String> = passed_through(&Element::parse(&xml, "a domain").unwrap()).into_iter().collect();
            assert_eq!(names, [name], "{xml}");
        }
        let none = "<domain><devices><disk/></devices></domain>";
        assert!(passed_through(&Element::parse(none, "a domain").unwrap()).is_empty());
    }
}
