//! What a definition asks of the host that starts it.

use std::collections::BTreeSet;

use super::{UsbNeed, passthrough::passed_through};
use crate::{definition::kib, error::Result, types::Uuid, xml::Element};

/// Page size that `<hugepages/>` without a size means on x86.
const DEFAULT_PAGE_KIB: u64 = 2048;

/// What a domain needs of any host that starts it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirements {
    /// Files by absolute path.
    pub files: Vec<NeededFile>,
    /// Storage pools by name.
    pub pools: Vec<String>,
    /// libvirt networks by name.
    pub networks: Vec<String>,
    /// Bridges and interfaces by name.
    pub interfaces: Vec<String>,
    /// Secrets.
    pub secrets: Vec<SecretNeed>,
    /// Devices by their name in libvirt's list of node devices.
    pub devices: Vec<String>,
    /// USB devices.
    pub usb: Vec<UsbNeed>,
    /// Mediated devices.
    pub mediated: Vec<Uuid>,
    /// Devices that are passed through to it, as people read them. Each binds it to its host.
    pub passed_through: BTreeSet<String>,
    /// Block devices by absolute path.
    pub block_devices: Vec<NeededDevice>,
    /// What it runs on.
    pub machine: Machine,
    /// Its `<cpu>` element, if libvirt compares it with the host's when the domain starts.
    pub cpu: Option<String>,
    /// Huge pages that back its memory.
    pub pages: Option<Pages>,
}

/// A file that must be there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NeededFile {
    /// Its absolute path.
    pub path: String,
    /// What for.
    pub used_as: FileUse,
}

/// A block device that must be there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NeededDevice {
    /// Its absolute path.
    pub path: String,
    /// It is a drive, and what is in it may be another medium on each host.
    pub drive: bool,
}

/// What a file is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileUse {
    /// A disk.
    Disk,
    /// The image in a CD or floppy drive.
    Media,
    /// Kernel, initrd, device tree or firmware.
    Boot,
    /// The firmware's variables.
    FirmwareState,
}

/// A secret, by one of the two ways in which a definition names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretNeed {
    /// By its UUID.
    Uuid(Uuid),
    /// By its usage name.
    Usage(String),
}

/// Emulator, architecture, machine type and virtualisation, as libvirt compares them with what a host has.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Machine {
    /// Path of the emulator; `None`: the host's default.
    pub emulator: Option<String>,
    /// Such as `x86_64`.
    pub arch: Option<String>,
    /// Such as `pc-q35-7.2`.
    pub machine: Option<String>,
    /// Such as `kvm` or `qemu`.
    pub virt_type: Option<String>,
}

/// Huge pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pages {
    /// Size of one.
    pub size_kib: u64,
    /// Memory to be backed by them.
    pub memory_kib: u64,
}

impl Requirements {
    /// Reads a `<domain>` document.
    ///
    /// # Errors
    /// If `xml` is no XML document.
    pub fn parse(xml: &str) -> Result<Self> {
        Ok(Self::of(&Element::parse(xml, "a domain")?, xml))
    }

    /// Without the firmware's variables, for who keeps account of them apart.
    pub fn without_firmware_state(mut self) -> Self {
        self.files.retain(|file| file.used_as != FileUse::FirmwareState);
        self
    }

    /// Reads a `<domain>` document that was parsed already.
    pub fn of(root: &Element, xml: &str) -> Self {
        let mut found = Self {
            machine: Machine::of(root),
            cpu: compared_cpu(root, xml),
            pages: Pages::of(root),
            passed_through: passed_through(root),
            ..Self::default()
        };
        found.boot(root);
        for device in root.find(&["devices"]).into_iter().flat_map(|devices| &devices.children) {
            match device.name.as_str() {
                "disk" => found.disk(device),
                "interface" => found.interface(device),
                "hostdev" => found.host_device(device),
                _ => {}
            }
        }
        found.tidied()
    }

    fn boot(&mut self, root: &Element) {
        for name in ["kernel", "initrd", "dtb", "loader"] {
            self.file(root.text_of(&["os", name]), FileUse::Boot);
        }
        let nvram = root.find(&["os", "nvram"]);
        let path = nvram.map(|nvram| nvram.text.trim()).filter(|path| !path.is_empty());
        let source = nvram.and_then(|nvram| nvram.find(&["source"])).and_then(|source| source.attribute("file"));
        self.file(path.or(source), FileUse::FirmwareState);
    }

    fn file(&mut self, path: Option<&str>, used_as: FileUse) {
        let path = path.filter(|path| path.starts_with('/'));
        self.files.extend(path.map(|path| NeededFile { path: path.to_owned(), used_as }));
    }

    fn disk(&mut self, disk: &Element) {
        let drive = matches!(disk.attribute("device"), Some("cdrom" | "floppy"));
        let Some(source) = disk.find(&["source"]) else { return };
        // A drive may be started empty if its image is gone, when its owner says so.
        let optional = source.attribute("startupPolicy") == Some("optional");
        // A device's path may stand where a file's does: libvirt starts such a domain as well.
        let file = source.attribute("file");
        let device = source.attribute("dev").or(file.filter(|path| path.starts_with("/dev/")));
        match device.filter(|path| path.starts_with('/')) {
            _ if optional => {}
            Some(path) => self.block_devices.push(NeededDevice { path: path.to_owned(), drive }),
            None => self.file(file, if drive { FileUse::Media } else { FileUse::Disk }),
        }
        self.pools.extend(source.attribute("pool").map(str::to_owned));
        let keys = [disk.find(&["auth", "secret"]), source.find(&["auth", "secret"])];
        let encryption = [disk.find(&["encryption", "secret"]), source.find(&["encryption", "secret"])];
        self.secrets.extend(keys.into_iter().chain(encryption).flatten().filter_map(SecretNeed::of));
    }

    fn interface(&mut self, interface: &Element) {
        let Some(source) = interface.find(&["source"]) else { return };
        let name = |attribute| source.attribute(attribute).map(str::to_owned);
        match interface.attribute("type") {
            Some("network") => self.networks.extend(name("network")),
            Some("bridge") => self.interfaces.extend(name("bridge")),
            Some("direct") => self.interfaces.extend(name("dev")),
            Some("hostdev") => self.devices.extend(source.find(&["address"]).and_then(pci_name)),
            _ => {}
        }
    }

    /// PCI, SCSI and mediated devices have a name that can be told from the definition.
    fn host_device(&mut self, device: &Element) {
        let Some(source) = device.find(&["source"]) else { return };
        match device.attribute("type") {
            Some("pci") => self.devices.extend(source.find(&["address"]).and_then(pci_name)),
            Some("scsi") => self.devices.extend(scsi_name(source)),
            Some("mdev") => {
                let uuid =
                    source.find(&["address"]).and_then(|address| address.attribute("uuid")?.parse::<Uuid>().ok());
                self.mediated.extend(uuid);
            }
            // A domain starts without it, if its owner says so.
            Some("usb") if source.attribute("startupPolicy") != Some("optional") => self.usb.push(UsbNeed::of(source)),
            _ => {}
        }
    }

    fn tidied(mut self) -> Self {
        fn tidy<T: Ord>(list: &mut Vec<T>) {
            list.sort();
            list.dedup();
        }
        tidy(&mut self.files);
        tidy(&mut self.secrets);
        tidy(&mut self.block_devices);
        [&mut self.pools, &mut self.networks, &mut self.interfaces, &mut self.devices].into_iter().for_each(tidy);
        self
    }
}

impl SecretNeed {
    fn of(secret: &Element) -> Option<Self> {
        let uuid = secret.attribute("uuid").and_then(|uuid| uuid.parse().ok()).map(Self::Uuid);
        uuid.or_else(|| secret.attribute("usage").map(|usage| Self::Usage(usage.to_owned())))
    }
}

impl std::fmt::Display for SecretNeed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uuid(uuid) => write!(formatter, "{uuid}"),
            Self::Usage(usage) => write!(formatter, "{usage}"),
        }
    }
}

impl Machine {
    fn of(root: &Element) -> Self {
        let kind = root.find(&["os", "type"]);
        let of_type = |name| kind.and_then(|kind| kind.attribute(name)).map(str::to_owned);
        Self {
            emulator: root.text_of(&["devices", "emulator"]).map(str::to_owned),
            arch: of_type("arch"),
            machine: of_type("machine"),
            virt_type: root.attribute("type").map(str::to_owned),
        }
    }
}

impl Pages {
    fn of(root: &Element) -> Option<Self> {
        let wanted = root.find(&["memoryBacking", "hugepages"])?;
        let memory_kib = root.find(&["memory"]).and_then(kib)?;
        let size_kib = wanted.find(&["page"]).map_or(Some(DEFAULT_PAGE_KIB), page_kib)?;
        Some(Self { size_kib, memory_kib })
    }
}

/// `<page size='1' unit='G'/>`; without a unit it is KiB.
fn page_kib(page: &Element) -> Option<u64> {
    let size: u64 = page.attribute("size")?.parse().ok()?;
    let factor = match page.attribute("unit").unwrap_or("KiB") {
        "KiB" | "K" | "k" => 1,
        "MiB" | "M" => 1024,
        "GiB" | "G" => 1024 * 1024,
        _ => return None,
    };
    size.checked_mul(factor).filter(|size| *size > 0)
}

/// libvirt compares a named model. What it takes from the host itself fits every host.
fn compared_cpu(root: &Element, xml: &str) -> Option<String> {
    let cpu = root.find(&["cpu"])?;
    let named = cpu.attribute("mode").is_none_or(|mode| mode == "custom") && cpu.find(&["model"]).is_some();
    let compared = cpu.attribute("check") != Some("none") && cpu.attribute("match") != Some("minimum");
    (named && compared).then(|| xml[cpu.span.clone()].to_owned())
}

/// `<address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>` as libvirt names the device.
pub(super) fn pci_name(address: &Element) -> Option<String> {
    let part = |name| {
        let text = address.attribute(name).unwrap_or("0");
        u32::from_str_radix(text.trim_start_matches("0x"), 16).ok()
    };
    Some(format!("pci_{:04x}_{:02x}_{:02x}_{:x}", part("domain")?, part("bus")?, part("slot")?, part("function")?))
}

/// `<adapter name='scsi_host0'/><address bus='0' target='0' unit='5'/>` as libvirt names the device.
pub(super) fn scsi_name(source: &Element) -> Option<String> {
    let host = source.find(&["adapter"])?.attribute("name")?.strip_prefix("scsi_host")?;
    let address = source.find(&["address"])?;
    let part = |name| address.attribute(name).unwrap_or("0").parse::<u64>().ok();
    Some(format!("scsi_{}_{}_{}_{}", host.parse::<u32>().ok()?, part("bus")?, part("target")?, part("unit")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAIN: &str = "<domain type='kvm'><name>db</name><memory unit='GiB'>4</memory>\
        <memoryBacking><hugepages><page size='1' unit='G'/></hugepages></memoryBacking>\
        <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><loader type='pflash'>/usr/share/OVMF/CODE.fd</loader>\
        <nvram template='/usr/share/OVMF/VARS.fd'>/var/lib/libvirt/qemu/nvram/db_VARS.fd</nvram></os>\
        <cpu mode='custom' match='exact' check='partial'><model fallback='forbid'>Skylake-Server</model></cpu>\
        <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>\
        <disk type='file' device='disk'><source file='/srv/db.qcow2'/><target dev='vda'/></disk>\
        <disk type='file' device='cdrom'><source file='/iso/x.iso'/><target dev='sda'/></disk>\
        <disk type='file' device='cdrom'><source file='/iso/y.iso' startupPolicy='optional'/><target dev='sdb'/></disk>\
        <disk type='network' device='disk'><auth username='u'><secret type='ceph' usage='ceph key'/></auth>\
        <source protocol='rbd' name='p/i'/><target dev='vdb'/></disk>\
        <disk type='volume' device='disk'><source pool='lvm' volume='data'/><target dev='vdc'/></disk>\
        <interface type='network'><source network='front'/></interface>\
        <interface type='bridge'><source bridge='br7'/></interface>\
        <hostdev mode='subsystem' type='pci'><source><address domain='0x0000' bus='0x3b' slot='0x00' function='0x1'/></source></hostdev>\
        <hostdev mode='subsystem' type='usb'><source><vendor id='0x1050'/><product id='0x0407'/></source></hostdev>\
        <hostdev mode='subsystem' type='usb'><source><address bus='1' device='4'/></source></hostdev>\
        <hostdev mode='subsystem' type='mdev' model='vfio-pci'>\
        <source><address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/></source></hostdev>\
        <hostdev mode='subsystem' type='usb'><source startupPolicy='optional'><vendor id='0x1'/><product id='0x2'/></source></hostdev>\
        <hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host2'/><address bus='0' target='1' unit='5'/></source></hostdev>\
        <disk type='block' device='disk'><source dev='/dev/disk/by-id/wwn-0x6001405a'/><target dev='vdd'/></disk>\
        <disk type='file' device='disk'><source file='/dev/vg/data'/><target dev='vde'/></disk>\
        <disk type='block' device='cdrom'><source dev='/dev/sr0'/><target dev='sdc'/></disk>\
        <tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm></devices></domain>";

    #[test]
    fn everything_that_a_host_must_have_is_read() {
        let needs = Requirements::parse(DOMAIN).unwrap();
        let files: Vec<(&str, FileUse)> = needs.files.iter().map(|file| (file.path.as_str(), file.used_as)).collect();
        assert_eq!(
            files,
            [
                ("/iso/x.iso", FileUse::Media),
                ("/srv/db.qcow2", FileUse::Disk),
                ("/usr/share/OVMF/CODE.fd", FileUse::Boot),
                ("/var/lib/libvirt/qemu/nvram/db_VARS.fd", FileUse::FirmwareState),
            ]
        );
        assert_eq!((needs.pools, needs.networks), (vec!["lvm".to_owned()], vec!["front".to_owned()]));
        assert_eq!(needs.interfaces, ["br7"]);
        assert_eq!(needs.devices, ["pci_0000_3b_00_1", "scsi_2_0_1_5"]);
        let usb = |model, place| UsbNeed { model, place, port: None };
        assert_eq!(needs.usb, [usb(Some((0x1050, 0x0407)), None), usb(None, Some((1, 4)))]);
        assert_eq!(needs.mediated, ["c2177883-f1bb-47f0-914d-32a22e3a8804".parse().unwrap()]);
        // One that it starts without binds it as well.
        let bound: Vec<&str> = needs.passed_through.iter().map(String::as_str).collect();
        let mdev = "mdev c2177883-f1bb-47f0-914d-32a22e3a8804";
        let all = ["0000:3b:00.1", "SCSI 2:0:1:5", "USB 0001:0002", "USB 1050:0407", "USB bus 1, device 4", mdev];
        assert_eq!(bound, all);
        let block: Vec<(&str, bool)> = needs.block_devices.iter().map(|it| (it.path.as_str(), it.drive)).collect();
        assert_eq!(block, [("/dev/disk/by-id/wwn-0x6001405a", false), ("/dev/sr0", true), ("/dev/vg/data", false)]);
        assert_eq!(needs.secrets, [SecretNeed::Usage("ceph key".to_owned())]);
        assert_eq!(needs.pages, Some(Pages { size_kib: 1024 * 1024, memory_kib: 4 * 1024 * 1024 }));
        assert_eq!(needs.machine.machine.as_deref(), Some("pc-q35-7.2"));
        assert!(needs.cpu.unwrap().contains("Skylake-Server"));
    }

    #[test]
    fn a_cpu_that_every_host_can_give_is_not_compared() {
        for cpu in [
            "<cpu mode='host-passthrough'/>",
            "<cpu mode='host-model'/>",
            "<cpu check='none'><model>qemu64</model></cpu>",
        ] {
            let xml = format!("<domain><memory>1</memory>{cpu}</domain>");
            assert_eq!(Requirements::parse(&xml).unwrap().cpu, None, "{cpu}");
        }
    }
}
