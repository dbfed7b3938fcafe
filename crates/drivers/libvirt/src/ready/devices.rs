//! Devices that a guest gets as they are: USB devices and block devices, as a definition names them and as a host has them.
//!
//! libvirt lists both among its node devices, by names that say nothing of what a definition asks for: each has to be
//! described, one call a device. That is done only for a host that is asked about a guest with such a device.

use std::{collections::BTreeSet, fmt, time::Duration};

use super::facilities::{NodeDeviceRef, told};
use crate::{
    connection::Connection,
    error::{Error, Result},
    procedures::Procedure,
    types::{Uuid, VolumeRef},
    xml::Element,
};

/// `VIR_CONNECT_LIST_NODE_DEVICES_CAP_USB_DEV`.
const USB: u32 = 1 << 2;
/// `VIR_CONNECT_LIST_NODE_DEVICES_CAP_STORAGE`.
const STORAGE: u32 = 1 << 8;
/// `VIR_CONNECT_LIST_NODE_DEVICES_CAP_MDEV`.
const MEDIATED: u32 = 1 << 14;
/// `VIR_CONNECT_LIST_NODE_DEVICES_ACTIVE`.
const ACTIVE: u32 = 1 << 31;
/// Each takes a call. What a host has beyond this is not known, and nothing that it might be counts as missing.
const DESCRIBED_MAX: usize = 256;

/// A USB device as a definition names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsbNeed {
    /// Vendor and product.
    pub model: Option<(u32, u32)>,
    /// Bus and device number: the device gets another number each time it is plugged in.
    pub place: Option<(u32, u32)>,
    /// Bus and the port that the device is plugged into.
    pub port: Option<(u32, String)>,
}

impl UsbNeed {
    pub(super) fn of(source: &Element) -> Self {
        let id = |name| source.find(&[name]).and_then(|element| number(element.attribute("id")?));
        let address = source.find(&["address"]);
        let part = |name| address.and_then(|address| number(address.attribute(name)?));
        let port = address.and_then(|address| address.attribute("port")).map(str::to_owned);
        Self {
            model: id("vendor").zip(id("product")),
            place: part("bus").zip(part("device")),
            port: part("bus").zip(port),
        }
    }

    /// Whether it is known which device is meant.
    pub(super) fn is_named(&self) -> bool {
        self.model.is_some() || self.place.is_some() || self.port.is_some()
    }

    /// Whether only a place of its host is named. What is at that place of another host may be any device.
    pub fn only_place(&self) -> bool {
        self.model.is_none() && self.is_named()
    }
}

impl fmt::Display for UsbNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place.map(|(bus, device)| format!("bus {bus}, device {device}"));
        let place = place.or_else(|| self.port.as_ref().map(|(bus, port)| format!("bus {bus}, port {port}")));
        match (self.model, place) {
            (Some((vendor, product)), None) => write!(f, "{vendor:04x}:{product:04x}"),
            (Some((vendor, product)), Some(place)) => write!(f, "{vendor:04x}:{product:04x} at {place}"),
            (None, Some(place)) => f.write_str(&place),
            (None, None) => f.write_str("a device that the definition names in another way"),
        }
    }
}

/// How libvirt reads numbers in definitions: hexadecimal, octal or decimal, by how they begin.
fn number(text: &str) -> Option<u32> {
    let text = text.trim();
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u32::from_str_radix(digits, 16).ok();
    }
    match text.strip_prefix('0') {
        Some(digits) if !digits.is_empty() => u32::from_str_radix(digits, 8).ok(),
        _ => text.parse().ok(),
    }
}

/// Whether a host has a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceAnswer {
    /// It has it.
    There(DiskIdentity),
    /// It does not, or has something else in its place.
    Lacks(String),
    /// libvirt can't tell there.
    Unknown,
}

/// What tells a disk device from another one. `None`: libvirt can't tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiskIdentity {
    /// Its size.
    pub size_bytes: Option<u64>,
    /// What the device says of itself, the same on every host that reaches it: the WWN of most SAN volumes.
    pub serial: Option<String>,
}

impl DiskIdentity {
    /// How it differs from what the guest's own host has at this path, in words.
    pub fn differs(&self, home: &Self) -> Option<String> {
        if let (Some(here), Some(there)) = (&self.serial, &home.serial)
            && here != there
        {
            return Some(format!("is another device (serial {here}, where it runs {there})"));
        }
        match (self.size_bytes, home.size_bytes) {
            (Some(here), Some(there)) if here != there => {
                Some(format!("has another size ({here} bytes, where it runs {there})"))
            }
            _ => None,
        }
    }

    /// Whether something is known of both by which they could differ.
    pub fn comparable(&self, home: &Self) -> bool {
        self.serial.is_some() && home.serial.is_some() || self.size_bytes.is_some() && home.size_bytes.is_some()
    }
}

/// Names that the kernel gives in the order in which it finds devices: the same name is another device elsewhere.
pub fn named_by_kernel(path: &str) -> bool {
    path.strip_prefix("/dev/").is_some_and(|name| {
        !name.contains('/')
            && ["sd", "vd", "xvd", "hd", "nvme", "dm-", "md", "loop", "nbd", "rbd"]
                .iter()
                .any(|kind| name.starts_with(kind))
    })
}

/// The USB devices of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct UsbDevices {
    all: Vec<UsbDevice>,
    complete: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct UsbDevice {
    model: (u32, u32),
    place: (u32, u32),
}

impl UsbDevices {
    /// All that the host has.
    #[cfg(test)]
    pub(super) fn whole(self) -> Self {
        Self { complete: true, ..self }
    }

    pub(super) async fn read(connection: &Connection, limit: Duration) -> Result<Option<Self>> {
        let Some(listed) = described(connection, USB, limit).await? else { return Ok(None) };
        let all = listed.documents.iter().filter_map(usb_device).collect();
        Ok(Some(Self { all, complete: listed.complete }))
    }

    /// The first rule of libvirt: a device is found by model, by place, or by both; of several that fit, none is taken.
    pub(super) fn find(&self, need: &UsbNeed) -> DeviceAnswer {
        // Descriptions of devices do not say which port they are plugged into.
        if need.port.is_some() || !need.is_named() {
            return DeviceAnswer::Unknown;
        }
        let fits = |device: &&UsbDevice| {
            need.model.is_none_or(|model| model == device.model) && need.place.is_none_or(|place| place == device.place)
        };
        match self.all.iter().filter(fits).count() {
            0 if self.complete => DeviceAnswer::Lacks(format!("{need} is missing")),
            0 => DeviceAnswer::Unknown,
            1 => DeviceAnswer::There(DiskIdentity::default()),
            several => DeviceAnswer::Lacks(format!("{several} are {need}, and the definition does not say which")),
        }
    }
}

fn usb_device(root: &Element) -> Option<UsbDevice> {
    let capability = root.all("capability").find(|it| it.attribute("type") == Some("usb_device"))?;
    let id = |name| capability.find(&[name]).and_then(|element| number(element.attribute("id")?));
    let place = |name| capability.text_of(&[name]).and_then(|text| text.parse().ok());
    Some(UsbDevice { model: (id("vendor")?, id("product")?), place: (place("bus")?, place("device")?) })
}

/// The mediated devices of a host that are started. Each has the same UUID wherever it is made, and a guest starts only
/// where it is made already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MediatedDevices(BTreeSet<String>);

impl MediatedDevices {
    pub(super) async fn read(connection: &Connection, limit: Duration) -> Result<Option<Self>> {
        // An older libvirt lists only those that are started, and refuses to be asked for them.
        for kind in [MEDIATED | ACTIVE, MEDIATED] {
            let listed: Option<(Vec<NodeDeviceRef>, u32)> =
                told(connection.call(Procedure::ConnectListAllNodeDevices, &(1_i32, kind), limit).await)?;
            if let Some((listed, _)) = listed {
                return Ok(Some(Self::named(listed.into_iter().map(|device| device.name))));
            }
        }
        Ok(None)
    }

    pub(super) fn named(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().collect())
    }

    /// Newer libvirt appends its parent's address to the name.
    pub(super) fn has(&self, uuid: Uuid) -> bool {
        let name = format!("mdev_{}", uuid.to_string().replace('-', "_"));
        let is_it =
            |listed: &String| listed.strip_prefix(&name).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
        self.0.iter().any(is_it)
    }
}

/// The disks of a host, as udev knows them there: whole disks, without what the kernel or LVM makes of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StorageDevices {
    all: Vec<StorageDevice>,
    complete: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct StorageDevice {
    paths: BTreeSet<String>,
    identity: DiskIdentity,
}

impl StorageDevices {
    pub(super) async fn read(connection: &Connection, limit: Duration) -> Result<Option<Self>> {
        let Some(listed) = described(connection, STORAGE, limit).await? else { return Ok(None) };
        let all = listed.documents.iter().map(storage_device).collect();
        Ok(Some(Self { all, complete: listed.complete }))
    }

    pub(super) fn find(&self, path: &str) -> DeviceAnswer {
        if let Some(found) = self.all.iter().find(|device| device.is(path)) {
            return DeviceAnswer::There(found.identity.clone());
        }
        if self.complete && self.lists(path) {
            return DeviceAnswer::Lacks(format!("{path} is missing"));
        }
        DeviceAnswer::Unknown
    }

    /// Whether the list would have this path, if the host had it. Partitions, LVM, multipath and network block devices are
    /// never in it; names by id or path only where udev runs.
    fn lists(&self, path: &str) -> bool {
        let Some(name) = path.strip_prefix("/dev/") else { return false };
        if self.all.is_empty() {
            return false;
        }
        let has_udev = self.all.iter().any(|device| device.paths.iter().any(|path| path.starts_with("/dev/disk/")));
        if let Some(name) = name.strip_prefix("disk/by-id/") {
            let of_disks = ["ata-", "nvme-", "scsi-", "usb-", "virtio-", "wwn-"];
            return has_udev && !name.contains("-part") && of_disks.iter().any(|kind| name.starts_with(kind));
        }
        if let Some(name) = name.strip_prefix("disk/by-path/") {
            return has_udev && !name.contains("-part");
        }
        let letters = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase());
        let nvme = |name: &str| {
            let (controller, namespace) = name.split_once('n').unwrap_or_default();
            [controller, namespace].iter().all(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit()))
        };
        name.strip_prefix("vd").is_some_and(letters)
            || name.strip_prefix("nvme").is_some_and(nvme)
            || has_udev && name.strip_prefix("sd").is_some_and(letters)
    }
}

impl StorageDevice {
    /// Where multipath runs, the links by id are the map's; the disk is known by its serial, from which they are made.
    fn is(&self, path: &str) -> bool {
        let by_serial = || {
            let (id, serial) = (path.strip_prefix("/dev/disk/by-id/")?, self.identity.serial.as_deref()?);
            let named = id.strip_prefix("scsi-").map(|id| id == serial);
            named.or_else(|| id.strip_prefix("wwn-0x").map(|id| serial.strip_prefix('3') == Some(id)))
        };
        self.paths.contains(path) || by_serial() == Some(true)
    }
}

fn storage_device(root: &Element) -> StorageDevice {
    let capability = root.all("capability").find(|it| it.attribute("type") == Some("storage"));
    let text = |name: &str| capability.and_then(|it| it.text_of(&[name])).filter(|text| !text.is_empty());
    let nodes = root.all("devnode").map(|node| node.text.trim().to_owned());
    // A drive's medium can be changed: its size is below a capability of its own, and is not looked at.
    let identity = DiskIdentity {
        size_bytes: text("size").and_then(|size| size.parse().ok()),
        serial: text("serial").map(str::to_owned),
    };
    StorageDevice { paths: nodes.chain(text("block").map(str::to_owned)).collect(), identity }
}

struct Described {
    documents: Vec<Element>,
    complete: bool,
}

/// The host's node devices of a kind. `None`: libvirt can't tell there.
async fn described(connection: &Connection, kind: u32, limit: Duration) -> Result<Option<Described>> {
    let listed: Option<(Vec<NodeDeviceRef>, u32)> =
        told(connection.call(Procedure::ConnectListAllNodeDevices, &(1_i32, kind), limit).await)?;
    let Some((listed, _)) = listed else { return Ok(None) };
    let mut complete = listed.len() <= DESCRIBED_MAX;
    let mut documents = Vec::new();
    for device in listed.into_iter().take(DESCRIBED_MAX) {
        let answer: Option<(String,)> =
            told(connection.call(Procedure::NodeDeviceGetXmlDesc, &(&device.name, 0_u32), limit).await)?;
        // It was unplugged meanwhile, or is none that can be read.
        match answer.map(|(xml,)| Element::parse(&xml, &device.name)) {
            Some(Ok(document)) => documents.push(document),
            _ => complete = false,
        }
    }
    Ok(Some(Described { documents, complete }))
}

impl Connection {
    /// The size of a block device that an active storage pool of the host has; `None`: none has it, which says nothing of
    /// the host. No pool is made for it: libvirt opens every file of a new pool's folder, and `/dev` has a watchdog.
    ///
    /// # Errors
    /// If the host can't be asked.
    pub async fn pool_device(&self, path: &str, limit: Duration) -> Result<Option<DiskIdentity>> {
        let found: Option<(VolumeRef,)> = told(self.call(Procedure::StorageVolLookupByPath, &(path,), limit).await)?;
        let Some((volume,)) = found else { return Ok(None) };
        let xml: Option<(String,)> = told(self.call(Procedure::StorageVolGetXmlDesc, &(&volume, 0_u32), limit).await)?;
        let size = |xml: &str| {
            let root = Element::parse(xml, path)?;
            let bytes = root.text_of(&["capacity"]).and_then(|bytes| bytes.parse().ok());
            Ok::<_, Error>(DiskIdentity { size_bytes: bytes, serial: None })
        };
        Ok(xml.and_then(|(xml,)| size(&xml).ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usb(devices: &[(u32, u32, u32, u32)]) -> UsbDevices {
        let xml = |(vendor, product, bus, device): &(u32, u32, u32, u32)| {
            let xml = format!(
                "<device><name>usb_1_5</name><capability type='usb_device'><bus>{bus}</bus><device>{device}</device>\
                 <product id='0x{product:04x}'>Key</product><vendor id='0x{vendor:04x}'>Yubico</vendor></capability></device>"
            );
            usb_device(&Element::parse(&xml, "a device").unwrap()).unwrap()
        };
        UsbDevices { all: devices.iter().map(xml).collect(), complete: true }
    }

    fn need(source: &str) -> UsbNeed {
        UsbNeed::of(&Element::parse(source, "a source").unwrap())
    }

    #[test]
    fn a_usb_device_is_found_by_model_by_place_or_by_both() {
        let host = usb(&[(0x1050, 0x0407, 1, 3), (0x0529, 0x0001, 2, 8), (0x0529, 0x0001, 2, 9)]);
        let key = "<vendor id='0x1050'/><product id='0x0407'/>";
        let dongle = "<vendor id='0x0529'/><product id='0x0001'/>";
        let here = DeviceAnswer::There(DiskIdentity::default());
        let lacks = |text: &str| DeviceAnswer::Lacks(text.to_owned());
        for (source, answer) in [
            (key.to_owned(), here.clone()),
            ("<address bus='2' device='010'/>".to_owned(), here.clone()),
            (format!("{dongle}<address bus='2' device='9'/>"), here),
            (dongle.to_owned(), lacks("2 are 0529:0001, and the definition does not say which")),
            (format!("{key}<address bus='2' device='8'/>"), lacks("1050:0407 at bus 2, device 8 is missing")),
            ("<address bus='7' device='1'/>".to_owned(), lacks("bus 7, device 1 is missing")),
            ("<address bus='2' port='1.2'/>".to_owned(), DeviceAnswer::Unknown),
            (format!("{key}<address bus='1' port='1.2'/>"), DeviceAnswer::Unknown),
        ] {
            assert_eq!(host.find(&need(&format!("<source>{source}</source>"))), answer, "{source}");
        }
        // What lies beyond the part of the list that was read may be the one.
        let partly = UsbDevices { complete: false, ..host };
        assert_eq!(partly.find(&need("<source><address bus='7' device='1'/></source>")), DeviceAnswer::Unknown);
    }

    #[test]
    fn a_device_that_is_named_by_its_place_alone_is_known_as_such() {
        let key = "<vendor id='0x1050'/><product id='0x0407'/>";
        for (source, only_place, words) in [
            (key.to_owned(), false, "1050:0407"),
            (format!("{key}<address bus='1' device='4'/>"), false, "1050:0407 at bus 1, device 4"),
            ("<address bus='1' device='4'/>".to_owned(), true, "bus 1, device 4"),
            ("<address bus='1' port='1.2'/>".to_owned(), true, "bus 1, port 1.2"),
            (String::new(), false, "a device that the definition names in another way"),
        ] {
            let need = need(&format!("<source>{source}</source>"));
            assert_eq!((need.only_place(), need.to_string().as_str()), (only_place, words));
        }
    }

    #[test]
    fn a_mediated_device_is_found_by_its_uuid_with_and_without_its_parent() {
        let uuid: Uuid = "c2177883-f1bb-47f0-914d-32a22e3a8804".parse().unwrap();
        let named = |name: &str| MediatedDevices::named([name.to_owned()]).has(uuid);
        assert!(named("mdev_c2177883_f1bb_47f0_914d_32a22e3a8804"));
        assert!(named("mdev_c2177883_f1bb_47f0_914d_32a22e3a8804_0000_06_00_0"));
        assert!(!named("mdev_c2177883_f1bb_47f0_914d_32a22e3a8805_0000_06_00_0"));
        assert!(!MediatedDevices::default().has(uuid));
    }

    fn disk(name: &str, more: &str, serial: &str) -> StorageDevice {
        let xml = format!(
            "<device><name>block_{name}</name><devnode type='dev'>/dev/{name}</devnode>{more}<capability type='storage'>\
             <block>/dev/{name}</block><drive_type>disk</drive_type>{serial}<size>4096</size></capability></device>"
        );
        storage_device(&Element::parse(&xml, "a device").unwrap())
    }

    #[test]
    fn a_disk_is_missing_only_where_the_list_would_have_it() {
        let link = "<devnode type='link'>/dev/disk/by-id/nvme-eui.01</devnode>";
        let all = vec![disk("nvme0n1", link, ""), disk("sdb", "", "<serial>36001405a</serial>")];
        let host = StorageDevices { all, complete: true };
        let answer = |path: &str| match host.find(path) {
            DeviceAnswer::There(_) => "there",
            DeviceAnswer::Lacks(_) => "missing",
            DeviceAnswer::Unknown => "unknown",
        };
        for (path, expected) in [
            ("/dev/disk/by-id/nvme-eui.01", "there"),
            ("/dev/sdb", "there"),
            ("/dev/disk/by-id/scsi-36001405a", "there"),
            ("/dev/disk/by-id/wwn-0x6001405a", "there"),
            ("/dev/disk/by-id/wwn-0x6001405b", "missing"),
            ("/dev/disk/by-path/pci-0000:00:1f.2-ata-1", "missing"),
            ("/dev/sdc", "missing"),
            ("/dev/nvme1n1", "missing"),
            ("/dev/sdb1", "unknown"),
            ("/dev/nvme0n1p2", "unknown"),
            ("/dev/disk/by-id/wwn-0x6001405b-part1", "unknown"),
            ("/dev/disk/by-id/dm-uuid-mpath-36001405a", "unknown"),
            ("/dev/mapper/mpatha", "unknown"),
            ("/dev/vg/data", "unknown"),
            ("/dev/loop0", "unknown"),
            ("/dev/xvdb", "unknown"),
        ] {
            assert_eq!(answer(path), expected, "{path}");
        }
        // Without udev (a container) libvirt lists virtio and NVMe disks only, and knows no links.
        let bare = StorageDevices { all: vec![disk("vda", "", "")], complete: true };
        for (path, unknown) in [("/dev/vdb", false), ("/dev/sdb", true), ("/dev/disk/by-id/wwn-0x6001405a", true)] {
            assert_eq!(bare.find(path) == DeviceAnswer::Unknown, unknown, "{path}");
        }
        assert_eq!(StorageDevices::default().find("/dev/vda"), DeviceAnswer::Unknown);
    }

    #[test]
    fn the_same_name_of_another_disk_is_another_disk() {
        let of = |size_bytes, serial: Option<&str>| DiskIdentity { size_bytes, serial: serial.map(str::to_owned) };
        let home = of(Some(4096), Some("a"));
        assert_eq!(of(Some(4096), Some("a")).differs(&home), None);
        assert_eq!(of(Some(4096), None).differs(&home), None);
        assert!(of(Some(4096), Some("b")).differs(&home).unwrap().contains("another device"));
        assert!(of(Some(8192), None).differs(&home).unwrap().contains("another size"));
        assert!(!of(None, Some("a")).comparable(&of(Some(4096), None)));
        assert!(named_by_kernel("/dev/sdb") && named_by_kernel("/dev/dm-3"));
        assert!(!named_by_kernel("/dev/disk/by-id/wwn-0x6001405a") && !named_by_kernel("/dev/vg/sdb"));
    }
}
