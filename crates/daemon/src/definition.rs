//! Reads from a domain's XML what the engine needs to know of it: size, tags, where its disks lie, whether it can move.

use mainstay_libvirt::{
    Error,
    definition::{Definition, Disk},
    ready::passed_through,
    xml::Element,
};
use mainstay_model::{HostState, Resources};
use std::{collections::BTreeSet, path::Path};

/// What a definition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Defined {
    /// Memory and virtual processors.
    pub needs: Resources,
    /// The `<tag>` elements in its `<metadata>`, of whatever namespace.
    pub tags: BTreeSet<String>,
    /// Directory, pool or server of each disk that is written to.
    pub datastores: BTreeSet<String>,
    /// False if a device of its host is passed through to it.
    pub movable: bool,
    /// Those devices, as people read them.
    pub passed_through: BTreeSet<String>,
    /// True if memory and disks fit into an internal snapshot: each disk that is written to is a qcow2 image and may be part
    /// of a point, and the firmware is not UEFI.
    pub internal_snapshots: bool,
    /// State that lies on its host only, whatever its disks lie on.
    pub only_here: BTreeSet<HostState>,
    /// Operating system by libosinfo's id, such as `http://debian.org/debian/12`.
    pub system: Option<String>,
    /// True if it has a channel for the guest agent.
    pub has_agent: bool,
}

impl Defined {
    /// Of a domain whose XML can't be read: it may be watched where it is, and not more.
    pub fn unreadable() -> Defined {
        Defined {
            needs: Resources::ZERO,
            tags: BTreeSet::new(),
            datastores: BTreeSet::new(),
            movable: false,
            passed_through: BTreeSet::new(),
            internal_snapshots: false,
            only_here: BTreeSet::new(),
            system: None,
            has_agent: false,
        }
    }

    /// Reads a domain's XML.
    pub fn read(xml: &str) -> Result<Defined, Error> {
        let root = Element::parse(xml, "a domain")?;
        let definition = Definition::of(&root, xml)?;
        let devices = |kind: &'static str| root.find(&["devices"]).into_iter().flat_map(move |all| all.all(kind));
        let disks: Vec<&Element> = devices("disk").filter(|disk| is_written(disk)).collect();
        let datastores: BTreeSet<String> = disks.iter().filter_map(|disk| datastore(disk)).collect();
        let metadata = || root.find(&["metadata"]).into_iter().flat_map(descendants);
        let system = metadata().find(|element| local(element) == "os").and_then(|os| os.attribute("id"));
        Ok(Defined {
            needs: Resources::of(definition.memory_kib.div_ceil(1024), u64::from(definition.vcpus)),
            tags: metadata().filter(|element| local(element) == "tag").map(|tag| tag.text.trim().to_owned()).collect(),
            only_here: only_here(&definition, &datastores),
            datastores,
            movable: devices("hostdev").next().is_none(),
            passed_through: passed_through(&root),
            internal_snapshots: fits_inside(&definition),
            system: system.map(str::to_owned),
            has_agent: definition.agent_channel,
        })
    }
}

fn fits_inside(definition: &Definition) -> bool {
    let mut written = definition.disks.iter().filter(|disk| disk.is_written()).peekable();
    let inside = |disk: &Disk| {
        let wanted = matches!(disk.snapshot.as_deref(), None | Some("internal"));
        wanted && disk.is_protected() && disk.format.as_deref() == Some("qcow2")
    };
    !definition.uefi && written.peek().is_some() && written.all(inside)
}

/// What libvirt keeps in folders of the host, unless it is told to keep it where the disks are.
fn only_here(definition: &Definition, datastores: &BTreeSet<String>) -> BTreeSet<HostState> {
    let with_the_disks = |path: &str| datastores.iter().any(|folder| Path::new(path).starts_with(folder));
    let mut states = BTreeSet::new();
    if definition.uefi && !definition.nvram.as_deref().is_some_and(with_the_disks) {
        states.insert(HostState::UefiVariables);
    }
    if let Some(tpm) = &definition.tpm
        && !tpm.source.as_deref().is_some_and(with_the_disks)
    {
        states.insert(HostState::Tpm);
    }
    states
}

fn is_written(disk: &Element) -> bool {
    disk.attribute("device").is_none_or(|device| device == "disk") && disk.find(&["readonly"]).is_none()
}

fn datastore(disk: &Element) -> Option<String> {
    let source = disk.find(&["source"])?;
    let attribute = |name| source.attribute(name);
    let path = attribute("file").or(attribute("dev")).and_then(|path| Path::new(path).parent());
    let server = || source.find(&["host"]).and_then(|host| host.attribute("name").or(host.attribute("socket")));
    path.map(|folder| folder.display().to_string())
        .or_else(|| attribute("pool").or(attribute("dir")).or_else(server).or(attribute("protocol")).map(str::to_owned))
}

fn descendants(element: &Element) -> Vec<&Element> {
    element.children.iter().flat_map(|child| std::iter::once(child).chain(descendants(child))).collect()
}

fn local(element: &Element) -> &str {
    element.name.rsplit(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str = "<domain type='kvm'><name>web-1</name><uuid>77000000-0000-4000-8000-000000000001</uuid><metadata>\
        <mainstay:vm xmlns:mainstay='urn:mainstay'><mainstay:tag>web</mainstay:tag><mainstay:tag>shop</mainstay:tag></mainstay:vm>\
        <l:libosinfo xmlns:l='http://libosinfo.org/xmlns/libvirt/domain/1.0'><l:os id='http://debian.org/debian/12'/></l:libosinfo>\
        </metadata><memory unit='KiB'>98304</memory><vcpu placement='static' current='1'>2</vcpu><devices>\
        <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/srv/vm/web-1.qcow2'/><target dev='vda'/></disk>\
        <disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='/iso/x.iso'/><target dev='sda'/><readonly/></disk>\
        <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel></devices></domain>";

    #[test]
    fn size_tags_and_disks_are_read() {
        let defined = Defined::read(WEB).unwrap();
        assert_eq!(defined.needs, Resources::of(96, 2));
        assert_eq!(defined.tags, ["shop", "web"].map(String::from).into());
        assert_eq!(defined.datastores, ["/srv/vm".to_owned()].into());
        assert!(defined.movable && defined.internal_snapshots && defined.has_agent);
        assert_eq!(defined.system.as_deref(), Some("http://debian.org/debian/12"));
    }

    #[test]
    fn what_binds_a_domain_to_its_host_is_seen() {
        let device = "<hostdev mode='subsystem' type='pci'><source><address domain='0' bus='0x3b' slot='0' function='1'/>\
                      </source></hostdev><channel";
        let bound = WEB.replace("<channel", device);
        let defined = Defined::read(&bound.replace("qcow2'/><source", "raw'/><source")).unwrap();
        assert!(!defined.movable && !defined.internal_snapshots);
        assert_eq!(defined.passed_through, ["0000:3b:00.1".to_owned()].into());
        assert!(Defined::read(WEB).unwrap().passed_through.is_empty());
    }

    #[test]
    fn uefi_no_points() {
        let os = |loader: &str| WEB.replace("<devices>", &format!("<os>{loader}</os><devices>"));
        let old =
            os("<loader readonly='yes' type='pflash'>/c.fd</loader><nvram template='/v.fd'>/var/lib/n.fd</nvram>");
        let shared = os("<loader type='pflash'>/c.fd</loader><nvram type='file'><source file='/srv/vm/n.fd'/></nvram>");
        for xml in [&old, &shared, &WEB.replace("<devices>", "<os firmware='efi'/><devices>")] {
            assert!(!Defined::read(xml).unwrap().internal_snapshots, "{xml}");
        }
        assert!(Defined::read(&os("<loader type='rom'>/bios.bin</loader>")).unwrap().internal_snapshots);
        assert_eq!(Defined::read(&old).unwrap().only_here, [HostState::UefiVariables].into());
        assert_eq!(Defined::read(&shared).unwrap().only_here, [].into(), "beside its disk");
        assert_eq!(Defined::read(WEB).unwrap().only_here, [].into());
        let tpm = "<tpm model='tpm-tis'><backend type='emulator' version='2.0'/></tpm><channel";
        let tpm = Defined::read(&WEB.replace("<channel", tpm)).unwrap();
        assert_eq!((tpm.only_here, tpm.internal_snapshots), ([HostState::Tpm].into(), true));
    }

    #[test]
    fn a_disk_that_is_not_to_be_in_a_point_leaves_the_others_to_overlays() {
        let with = |attributes: &str, more: &str| {
            let disk = format!(
                "<disk type='file' device='disk' {attributes}><driver type='qcow2'/><source file='/s/b'/><target dev='vdb'/>{more}</disk><channel"
            );
            Defined::read(&WEB.replace("<channel", &disk)).unwrap().internal_snapshots
        };
        assert!(with("", "") && with("snapshot='internal'", "") && with("", "<readonly/>"));
        assert!(!with("snapshot='no'", "") && !with("snapshot='external'", "") && !with("", "<shareable/>"));
        let diskless = WEB.replace("device='disk'", "device='cdrom'");
        assert!(!Defined::read(&diskless).unwrap().internal_snapshots);
    }

    #[test]
    fn network_disks_lie_at_their_server() {
        let network = "<source protocol='nbd'><host transport='unix' socket='/srv/web-1.nbd'/></source>";
        let xml = WEB.replace("<source file='/srv/vm/web-1.qcow2'/>", network);
        assert_eq!(Defined::read(&xml).unwrap().datastores, ["/srv/web-1.nbd".to_owned()].into());
    }
}
