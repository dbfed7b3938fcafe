//! A domain's definition: what Mainstay reads from it, and the one edit it makes, switching a disk to another image.

use crate::{
    error::{Error, Result},
    types::Uuid,
    xml::{Element, escaped, spliced},
};

/// What Mainstay reads from a domain's XML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uuid: Uuid,
    /// Most memory it may have.
    pub memory_kib: u64,
    /// Virtual processors.
    pub vcpus: u32,
    /// Its disks, CD drives included.
    pub disks: Vec<Disk>,
    /// Its network cards.
    pub nics: Vec<Nic>,
    /// It has a channel for the guest agent (whether one answers is another matter).
    pub agent_channel: bool,
    /// What its watchdog does, if it has one.
    pub watchdog: Option<String>,
    /// A panic of its kernel reaches libvirt.
    pub panic_device: bool,
    /// It has a screen to take pictures of.
    pub video: bool,
    /// Kernel and initrd it boots directly from; the host must have them.
    pub boot_files: Vec<String>,
    /// Its firmware is UEFI: libvirt before 10.9 takes no internal snapshot of it.
    pub uefi: bool,
    /// Where its UEFI variables lie; `None`: nowhere, or in a file that libvirt names at the first start.
    pub nvram: Option<String>,
    /// It has an emulated TPM, whose state libvirt keeps on the host, or where it is told to.
    pub tpm: Option<EmulatedTpm>,
    /// The `<metadata>` element as XML.
    pub metadata: Option<String>,
}

/// An emulated TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmulatedTpm {
    /// Where its state lies, if the definition says so (libvirt 10.10 and newer); else in a folder of the host.
    pub source: Option<String>,
}

/// A disk or drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Such as `vda`.
    pub target: String,
    /// `disk`, `cdrom`, `floppy`, `lun`.
    pub device: String,
    /// `file`, `block`, `network`, `volume` and others.
    pub kind: String,
    /// Path of file or block device; `None` for an empty drive and for network disks.
    pub source: Option<String>,
    /// `qcow2`, `raw` and others.
    pub format: Option<String>,
    /// The guest can't write to it.
    pub read_only: bool,
    /// Several guests may have it at once.
    pub shareable: bool,
    /// What the guest writes is thrown away when it stops.
    pub transient: bool,
    /// What its owner wants of snapshots: `no`, `internal`, `external`, `manual`.
    pub snapshot: Option<String>,
}

impl Disk {
    /// True if the guest writes to it, and its owner has nothing against its being part of a recovery point: it is not
    /// shared with other guests, and not excluded by `snapshot='no'`.
    pub fn is_protected(&self) -> bool {
        self.is_written() && !self.shareable && !matches!(self.snapshot.as_deref(), Some("no" | "manual"))
    }

    /// True if the guest writes to it.
    pub fn is_written(&self) -> bool {
        matches!(self.device.as_str(), "disk" | "lun") && !self.read_only && !self.transient
    }
}

/// A network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// Its MAC address.
    pub mac: Option<String>,
    /// Bridge or libvirt network it is plugged into.
    pub plugged_into: Option<String>,
}

impl Definition {
    /// Reads a `<domain>` document.
    pub fn parse(xml: &str) -> Result<Self> {
        Self::of(&Element::parse(xml, "a domain")?, xml)
    }

    /// The identity in a `<domain>` document, without reading its devices.
    pub fn uuid_in(xml: &str) -> Result<Uuid> {
        uuid(&Element::parse_without(xml, "a domain", &["devices"])?)
    }

    /// Reads a `<domain>` document that was parsed already.
    pub fn of(root: &Element, xml: &str) -> Result<Self> {
        let name = root.text_of(&["name"]).unwrap_or_default().to_owned();
        let missing = |what: &str| missing(root, what);
        let uuid = uuid(root)?;
        let memory = root.find(&["memory"]).ok_or_else(|| missing("<memory>"))?;
        let devices = |kind| root.find(&["devices"]).into_iter().flat_map(move |devices| devices.all(kind));
        let has = |kind| devices(kind).next().is_some();
        let boot_file = |kind| root.text_of(&["os", kind]).map(str::to_owned);
        Ok(Self {
            uuid,
            memory_kib: kib(memory).ok_or_else(|| missing("a size in <memory>"))?,
            vcpus: root.text_of(&["vcpu"]).map_or(Ok(1), str::parse).map_err(|_| missing("a number in <vcpu>"))?,
            disks: devices("disk").filter_map(Disk::new).collect(),
            nics: devices("interface").map(Nic::new).collect(),
            agent_channel: devices("channel").any(|channel| {
                channel.find(&["target"]).and_then(|target| target.attribute("name")) == Some("org.qemu.guest_agent.0")
            }),
            watchdog: devices("watchdog").next().map(|dog| dog.attribute("action").unwrap_or("reset").to_owned()),
            panic_device: has("panic"),
            video: has("video"),
            uefi: root.find(&["os"]).is_some_and(|os| {
                let pflash = os.find(&["loader"]).and_then(|loader| loader.attribute("type")) == Some("pflash");
                pflash || os.attribute("firmware") == Some("efi")
            }),
            nvram: root.find(&["os", "nvram"]).and_then(|nvram| {
                let source = nvram.find(&["source"]).and_then(|source| source.attribute("file"));
                source.or(Some(nvram.text.trim())).filter(|path| !path.is_empty()).map(str::to_owned)
            }),
            tpm: devices("tpm").find_map(|tpm| {
                let backend = tpm.find(&["backend"]).filter(|it| it.attribute("type") == Some("emulator"))?;
                let source = backend.find(&["source"]).and_then(|source| source.attribute("path"));
                Some(EmulatedTpm { source: source.map(str::to_owned) })
            }),
            boot_files: ["kernel", "initrd"].into_iter().filter_map(boot_file).collect(),
            metadata: root.find(&["metadata"]).map(|metadata| xml[metadata.span.clone()].to_owned()),
            name,
        })
    }

    /// The disk at `target`.
    pub fn disk(&self, target: &str) -> Option<&Disk> {
        self.disks.iter().find(|disk| disk.target == target)
    }
}

fn uuid(root: &Element) -> Result<Uuid> {
    root.text_of(&["uuid"]).and_then(|uuid| uuid.parse().ok()).ok_or_else(|| missing(root, "<uuid>"))
}

fn missing(root: &Element, what: &str) -> Error {
    let name = root.text_of(&["name"]).unwrap_or_default();
    Error::Xml { subject: format!("domain {name:?}"), why: format!("{what} is missing") }
}

impl Disk {
    fn new(element: &Element) -> Option<Self> {
        let attribute = |child, name| element.find(&[child]).and_then(|child| child.attribute(name)).map(str::to_owned);
        Some(Self {
            target: attribute("target", "dev")?,
            device: element.attribute("device").unwrap_or("disk").to_owned(),
            kind: element.attribute("type").unwrap_or("file").to_owned(),
            source: attribute("source", "file").or_else(|| attribute("source", "dev")),
            format: attribute("driver", "type"),
            read_only: element.find(&["readonly"]).is_some(),
            shareable: element.find(&["shareable"]).is_some(),
            transient: element.find(&["transient"]).is_some(),
            snapshot: element.attribute("snapshot").map(str::to_owned),
        })
    }
}

impl Nic {
    fn new(element: &Element) -> Self {
        let attribute = |child, name| element.find(&[child]).and_then(|child| child.attribute(name)).map(str::to_owned);
        Self {
            mac: attribute("mac", "address"),
            plugged_into: attribute("source", "bridge").or_else(|| attribute("source", "network")),
        }
    }
}

/// A size with libvirt's units, rounded up to KiB.
pub(crate) fn kib(element: &Element) -> Option<u64> {
    let bytes: u64 = match element.attribute("unit").unwrap_or("KiB") {
        "b" | "bytes" => 1,
        "KB" => 1000,
        "k" | "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "M" | "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "G" | "GiB" => 1 << 30,
        "TB" => 1_000_000_000_000,
        "T" | "TiB" => 1 << 40,
        _ => return None,
    };
    Some(element.text.trim().parse::<u64>().ok()?.checked_mul(bytes)?.div_ceil(1024))
}

/// An image a disk can be switched to.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    /// Its path.
    pub file: &'a str,
    /// `qcow2`, `raw` and others.
    pub format: &'a str,
}

/// The document with the disk at `target` switched to `image`. `path` leads from the root to the domain (nowhere in a
/// `<domain>`, to `domain` in a `<domainsnapshot>`). Any `<backingStore>` of the disk goes: it described the old image,
/// and libvirt reads the new one's from the image itself. Every other byte stays. Fails if the disk is no file.
pub fn with_disk_image(xml: &str, path: &[&str], target: &str, image: Image<'_>) -> Result<String> {
    let root = Element::parse(xml, "a domain")?;
    let disks = root.find(path).and_then(|domain| domain.find(&["devices"]));
    let disk = disks
        .into_iter()
        .flat_map(|devices| devices.all("disk"))
        .find(|disk| disk.find(&["target"]).and_then(|target| target.attribute("dev")) == Some(target));
    let disk = disk.ok_or_else(|| Error::unfit(format!("the definition has no disk {target}")))?;
    let source = disk.find(&["source"]).filter(|source| source.attribute("file").is_some());
    let source =
        source.ok_or_else(|| Error::unfit(format!("disk {target} is no file: its image can't be switched")))?;
    let mut pieces = vec![(source.opening.clone(), source.opening_with("file", image.file))];
    match disk.find(&["driver"]) {
        Some(driver) if driver.attribute("type") == Some(image.format) => {}
        Some(driver) => pieces.push((driver.opening.clone(), driver.opening_with("type", image.format))),
        // Without one, libvirt takes any image for a raw one.
        None => pieces[0].1.insert_str(0, &format!("<driver name='qemu' type='{}'/>", escaped(image.format))),
    }
    pieces.extend(disk.all("backingStore").map(|backing| (backing.span.clone(), String::new())));
    Ok(spliced(xml, pieces))
}

/// The images of the disk at `target` in a running domain's XML: the one written to first, then what it lies on.
pub fn image_chain(xml: &str, target: &str) -> Result<Vec<String>> {
    let root = Element::parse(xml, "a domain")?;
    let disks = root.find(&["devices"]).into_iter().flat_map(|devices| devices.all("disk"));
    let mut layer =
        disks.into_iter().find(|disk| disk.find(&["target"]).and_then(|found| found.attribute("dev")) == Some(target));
    let mut chain = Vec::new();
    while let Some(element) = layer {
        chain.extend(element.find(&["source"]).and_then(|source| source.attribute("file")).map(str::to_owned));
        layer = element.find(&["backingStore"]);
    }
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const XML: &str = "<domain type='kvm'>
  <name>a&amp;b &apos;\u{202e}x</name><uuid>77000000-0000-4000-8000-000000000001</uuid>
  <metadata><m:x xmlns:m='urn:m'>k&lt;</m:x></metadata>
  <memory unit='MiB'>96</memory><vcpu placement='static'>2</vcpu>
  <os><type>hvm</type><kernel>/boot/vmlinux</kernel></os>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/><source file='/s/a.raw' index='1'><seclabel relabel='no'/></source>
      <backingStore type='file'><format type='qcow2'/><source file='/s/base'/></backingStore><target dev='vda' bus='virtio'/></disk>
    <disk type='file' device='cdrom'><target dev='sda'/><readonly/></disk>
    <disk type='block' device='disk'><source dev='/dev/vg/x'/><target dev='vdb'/><shareable/></disk>
    <interface type='bridge'><mac address='52:54:00:77:00:01'/><source bridge='br0'/></interface>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <watchdog model='i6300esb' action='pause'/><panic model='isa'/>
  </devices></domain>";

    #[test]
    fn reads_what_is_there() {
        let definition = Definition::parse(XML).unwrap();
        assert_eq!(definition.name, "a&b '\u{202e}x");
        assert_eq!((definition.memory_kib, definition.vcpus), (96 * 1024, 2));
        assert_eq!(definition.boot_files, ["/boot/vmlinux"]);
        assert!(definition.agent_channel && definition.panic_device && !definition.video);
        assert_eq!(definition.watchdog.as_deref(), Some("pause"));
        assert_eq!(definition.metadata.as_deref(), Some("<metadata><m:x xmlns:m='urn:m'>k&lt;</m:x></metadata>"));
        assert_eq!(definition.nics[0].plugged_into.as_deref(), Some("br0"));
        let disks: Vec<_> =
            definition.disks.iter().map(|disk| (disk.target.as_str(), disk.source.as_deref())).collect();
        assert_eq!(disks, [("vda", Some("/s/a.raw")), ("sda", None), ("vdb", Some("/dev/vg/x"))]);
        assert!(definition.disks[1].read_only && definition.disks[2].shareable);
    }

    #[test]
    fn switching_an_image_leaves_the_rest_alone() {
        let edited = with_disk_image(XML, &[], "vda", Image { file: "/s/o'v.qcow2", format: "qcow2" }).unwrap();
        let disk = Definition::parse(&edited).unwrap().disk("vda").cloned().unwrap();
        assert_eq!((disk.source.as_deref(), disk.format.as_deref()), (Some("/s/o'v.qcow2"), Some("qcow2")));
        assert!(!edited.contains("backingStore") && edited.contains("<seclabel relabel='no'/></source>"), "{edited}");
        assert!(edited.contains("cache='none'"), "{edited}");
        let anywhere = Image { file: "/x", format: "qcow2" };
        assert!(with_disk_image(XML, &[], "vdb", anywhere).is_err(), "a block device is no file");
        assert!(with_disk_image(XML, &[], "vdz", anywhere).is_err());
        assert_eq!(image_chain(XML, "vda").unwrap(), ["/s/a.raw", "/s/base"]);
    }

    #[test]
    fn a_disk_without_a_format_is_given_one() {
        let bare = XML.replace("<driver name='qemu' type='raw' cache='none'/>", "");
        let edited = with_disk_image(&bare, &[], "vda", Image { file: "/s/v.qcow2", format: "qcow2" }).unwrap();
        let disk = Definition::parse(&edited).unwrap().disk("vda").cloned().unwrap();
        assert_eq!((disk.source.as_deref(), disk.format.as_deref()), (Some("/s/v.qcow2"), Some("qcow2")));
    }

    #[test]
    fn what_is_no_number_is_told_and_not_guessed() {
        let error = Definition::parse(&XML.replace(">2</vcpu>", ">two</vcpu>")).unwrap_err().to_string();
        assert_eq!(error, "XML of domain \"a&b '\\u{202e}x\" can't be read: a number in <vcpu> is missing");
        let without = XML.replace("<vcpu placement='static'>2</vcpu>", "");
        assert_eq!(Definition::parse(&without).unwrap().vcpus, 1, "as libvirt has it");
    }

    #[test]
    fn units_are_libvirts() {
        let of = |text: &str| kib(&Element::parse(text, "test").unwrap());
        assert_eq!(of("<memory>5</memory>"), Some(5));
        assert_eq!(of("<memory unit='GiB'>2</memory>"), Some(2 << 20));
        assert_eq!(of("<memory unit='KB'>1</memory>"), Some(1));
        assert_eq!(of("<memory unit='parsec'>1</memory>"), None);
    }
}
