//! What one host has for domains, in libvirt's own words.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use mainstay_model::{Obstacle, ObstacleKind};

use super::{
    DeviceAnswer, FileUse, Machine, NeededFile, Pages, Requirements, SecretNeed, UsbNeed,
    devices::{MediatedDevices, StorageDevices, UsbDevices},
    passthrough::shown,
};
use crate::{
    connection::Connection,
    error::{Error, ErrorCode, Result},
    procedures::Procedure,
    types::{PoolRef, Uuid},
    xdr::wire_struct,
};

/// `VIR_CONNECT_LIST_NETWORKS_ACTIVE` and its like for pools and interfaces.
const ACTIVE: u32 = 1 << 1;
/// A chain of overlays longer than this is a circle, or no chain that libvirt starts.
const CHAIN_MAX: usize = 64;
/// `VIR_CPU_COMPARE_INCOMPATIBLE`.
const INCOMPATIBLE: i32 = 0;

wire_struct! {
    /// An interface as libvirt lists it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct InterfaceRef {
        pub name: String,
        pub mac: String,
    }
}

wire_struct! {
    /// A node device as libvirt lists it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(super) struct NodeDeviceRef {
        pub name: String,
    }
}

wire_struct! {
    /// A secret as libvirt lists it: never its value.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct SecretRef {
        pub uuid: Uuid,
        pub usage_type: i32,
        pub usage: String,
    }
}

/// What a host has. `None`: libvirt can't tell on that host (a driver of it is not installed).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facilities {
    networks: Option<BTreeSet<String>>,
    pools: Option<BTreeSet<String>>,
    interfaces: Option<BTreeSet<String>>,
    devices: Option<BTreeSet<String>>,
    usb: Option<UsbDevices>,
    mediated: Option<MediatedDevices>,
    storage: Option<StorageDevices>,
    secrets: Option<Vec<(Uuid, String)>>,
    /// Free huge pages by their size in KiB.
    free_pages: BTreeMap<u64, u64>,
}

/// What a host says about one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileAnswer {
    /// It can be opened, and so can all images that it is an overlay of.
    There,
    /// This one, of the file and what it is an overlay of, can't be opened.
    Lacks(String),
    /// It is an overlay of a block device, which libvirt can't tell of there.
    Unknown,
}

/// Which host is asked for what a guest needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostIs {
    /// The one where its definition counts: a place named there is a device.
    Home,
    /// Another one: at the same place of it may be any device.
    Another,
}

/// What of a host is asked for: most of it costs calls, and is asked only where a guest needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Free huge pages of these sizes, in KiB.
    pub page_sizes: BTreeSet<u64>,
    /// USB devices, each described.
    pub usb: bool,
    /// Mediated devices.
    pub mediated: bool,
    /// Block devices, each described.
    pub block_devices: bool,
}

impl Wanted {
    /// What these guests need to be known.
    pub fn by<'a>(guests: impl IntoIterator<Item = &'a Requirements>) -> Self {
        let mut wanted = Self::default();
        for needs in guests {
            wanted.page_sizes.extend(needs.pages.map(|pages| pages.size_kib));
            wanted.usb |= !needs.usb.is_empty();
            wanted.mediated |= !needs.mediated.is_empty();
            wanted.block_devices |= !needs.block_devices.is_empty();
        }
        wanted
    }
}

impl Facilities {
    /// Asks a host for all it has, in a few calls, and one for each device that has to be described. `limit` holds for each.
    ///
    /// # Errors
    /// If the host can't be asked. That libvirt there lacks a driver is no error.
    pub async fn read(connection: &Connection, wanted: &Wanted, limit: Duration) -> Result<Self> {
        let names =
            |list: Option<(Vec<PoolRef>, u32)>| list.map(|(all, _)| all.into_iter().map(|one| one.name).collect());
        let networks = names(told(connection.call(Procedure::ConnectListAllNetworks, &(1_i32, ACTIVE), limit).await)?);
        let pools = names(told(connection.call(Procedure::ConnectListAllStoragePools, &(1_i32, ACTIVE), limit).await)?);
        let interfaces: Option<(Vec<InterfaceRef>, u32)> =
            told(connection.call(Procedure::ConnectListAllInterfaces, &(1_i32, ACTIVE), limit).await)?;
        let devices: Option<(Vec<NodeDeviceRef>, u32)> =
            told(connection.call(Procedure::ConnectListAllNodeDevices, &(1_i32, 0_u32), limit).await)?;
        let secrets: Option<(Vec<SecretRef>, u32)> =
            told(connection.call(Procedure::ConnectListAllSecrets, &(1_i32, 0_u32), limit).await)?;
        let mut free_pages = BTreeMap::new();
        for size in &wanted.page_sizes {
            let Ok(wire_size) = u32::try_from(*size) else { continue };
            let arguments = (vec![wire_size], 0_i32, 1_u32, 0_u32);
            let counts: Option<(Vec<u64>,)> =
                told(connection.call(Procedure::NodeGetFreePages, &arguments, limit).await)?;
            free_pages.insert(*size, counts.map_or(0, |(counts,)| counts.iter().sum()));
        }
        let devices: Option<BTreeSet<String>> = devices.map(|(all, _)| all.into_iter().map(|one| one.name).collect());
        let usb = if wanted.usb { UsbDevices::read(connection, limit).await? } else { None };
        let mediated = if wanted.mediated { MediatedDevices::read(connection, limit).await? } else { None };
        let storage = if wanted.block_devices { StorageDevices::read(connection, limit).await? } else { None };
        Ok(Self {
            networks,
            pools,
            // A list without any interface comes from a host on which libvirt sees none, not from one that has none.
            interfaces: interfaces
                .map(|(all, _)| all.into_iter().map(|one| one.name).collect::<BTreeSet<_>>())
                .filter(|all| !all.is_empty()),
            // Nor is there a host that can pass devices through without a PCI or channel device; a container sees none.
            mediated: mediated
                .filter(|_| devices.iter().flatten().any(|name| name.starts_with("pci_") || name.starts_with("css_"))),
            usb: usb
                .filter(|_| devices.iter().flatten().any(|name| name.starts_with("pci_") || name.starts_with("usb_"))),
            storage,
            devices: devices.filter(|all| all.iter().any(|name| name.starts_with("pci_"))),
            secrets: secrets.map(|(all, _)| all.into_iter().map(|one| (one.uuid, one.usage)).collect()),
            free_pages,
        })
    }

    /// Whether something of this can't be told on the host: then nothing says that the domain could start there.
    pub fn cannot_tell(&self, needs: &Requirements, host: HostIs) -> bool {
        !self.untold(needs, host).is_empty()
    }

    /// Devices that the host may have or not, as people read them: libvirt can't tell there.
    pub fn untold(&self, needs: &Requirements, host: HostIs) -> Vec<String> {
        let named = needs.devices.iter().filter(|_| self.devices.is_none()).map(|name| shown(name));
        let usb = needs.usb.iter().filter(|need| self.usb_device(need, host) == DeviceAnswer::Unknown);
        let usb = usb.map(|need| format!("USB {need}"));
        let mediated = needs.mediated.iter().filter(|_| self.mediated.is_none()).map(|uuid| format!("mdev {uuid}"));
        named.chain(usb).chain(mediated).collect()
    }

    fn usb_device(&self, need: &UsbNeed, host: HostIs) -> DeviceAnswer {
        if host == HostIs::Another && need.only_place() {
            return DeviceAnswer::Lacks(format!("{need} may be another device there"));
        }
        self.usb.as_ref().map_or(DeviceAnswer::Unknown, |usb| usb.find(need))
    }

    /// A block device, as the host's list of devices has it.
    pub fn block_device(&self, path: &str) -> DeviceAnswer {
        self.storage.as_ref().map_or(DeviceAnswer::Unknown, |storage| storage.find(path))
    }

    /// What the host lacks of what is listed in bulk: all but files, block devices, machine type and CPU.
    pub fn lacks(&self, needs: &Requirements, host: HostIs) -> Vec<Obstacle> {
        let mut missing = Vec::new();
        let mut names = |kind, needed: &[String], has: &Option<BTreeSet<String>>| {
            let gone = needed.iter().filter(|name| has.as_ref().is_some_and(|has| !has.contains(*name)));
            missing.extend(gone.map(|name| Obstacle::new(kind, name)));
        };
        names(ObstacleKind::Network, &needs.networks, &self.networks);
        names(ObstacleKind::StoragePool, &needs.pools, &self.pools);
        names(ObstacleKind::Bridge, &needs.interfaces, &self.interfaces);
        let has = |name: &String| self.devices.as_ref().is_none_or(|has| has.contains(name));
        missing.extend(
            needs.devices.iter().filter(|name| !has(name)).map(|name| Obstacle::new(ObstacleKind::Device, shown(name))),
        );
        let has = |uuid: &Uuid| self.mediated.as_ref().is_none_or(|has| has.has(*uuid));
        let gone = needs.mediated.iter().filter(|uuid| !has(uuid));
        missing.extend(gone.map(|uuid| Obstacle::new(ObstacleKind::Device, format!("mdev {uuid}"))));
        for need in &needs.usb {
            if let DeviceAnswer::Lacks(what) = self.usb_device(need, host) {
                missing.push(Obstacle::new(ObstacleKind::UsbDevice, what));
            }
        }
        if let Some(has) = &self.secrets {
            let gone = needs.secrets.iter().filter(|secret| !has.iter().any(|(uuid, usage)| secret.is(*uuid, usage)));
            missing.extend(gone.map(|secret| Obstacle::new(ObstacleKind::Secret, secret.to_string())));
        }
        if let Some(Pages { size_kib, memory_kib }) = needs.pages
            && let Some(free) = self.free_pages.get(&size_kib)
        {
            let needed = memory_kib.div_ceil(size_kib);
            if *free < needed {
                missing.push(Obstacle::new(
                    ObstacleKind::HugePages,
                    format!("{needed} of {size_kib} KiB needed, {free} free"),
                ));
            }
        }
        missing
    }
}

impl SecretNeed {
    fn is(&self, uuid: Uuid, usage: &str) -> bool {
        match self {
            Self::Uuid(needed) => *needed == uuid,
            Self::Usage(needed) => needed == usage,
        }
    }
}

impl NeededFile {
    /// What a host lacks that has no such file.
    pub fn missing(&self, path: &str) -> Obstacle {
        let kind = match self.used_as {
            FileUse::Disk => ObstacleKind::Image,
            FileUse::Media => ObstacleKind::Media,
            FileUse::Boot => ObstacleKind::BootFile,
            FileUse::FirmwareState => ObstacleKind::FirmwareState,
        };
        Obstacle::new(kind, path)
    }
}

impl Connection {
    /// Whether the file can be opened on the host, and every image that it is an overlay of. `limit` holds for each call.
    ///
    /// # Errors
    /// If the host can't be asked.
    pub async fn file_answer(&self, path: &str, limit: Duration) -> Result<FileAnswer> {
        let mut next = Some(path.to_owned());
        for _ in 0..CHAIN_MAX {
            let Some(path) = next.filter(|path| path.starts_with('/')) else { return Ok(FileAnswer::There) };
            if path.starts_with("/dev/") {
                let known = self.pool_device(&path, limit).await?;
                return Ok(known.map_or(FileAnswer::Unknown, |_| FileAnswer::There));
            }
            match self.image_at_once(&path, limit).await {
                Ok(volume) => next = volume.backing,
                Err(Error::Libvirt { .. }) => return Ok(FileAnswer::Lacks(path)),
                // Without a size it is a device or a folder: it is there.
                Err(Error::Xml { .. }) => return Ok(FileAnswer::There),
                Err(error) => return Err(error),
            }
        }
        Ok(FileAnswer::Lacks(path.to_owned()))
    }

    /// Why the host can't run this machine; `None`: it can.
    ///
    /// # Errors
    /// If the host can't be asked.
    pub async fn lacks_machine(&self, machine: &Machine, limit: Duration) -> Result<Option<Obstacle>> {
        let Machine { emulator, arch, machine, virt_type } = machine;
        let arguments = (emulator, arch, machine, virt_type, 0_u32);
        let answer: Result<(String,)> = self.call(Procedure::ConnectGetDomainCapabilities, &arguments, limit).await;
        refused(answer, ObstacleKind::Machine)
    }

    /// Why the host can't give this CPU; `None`: it can.
    ///
    /// # Errors
    /// If the host can't be asked.
    pub async fn lacks_cpu(&self, machine: &Machine, cpu: &str, limit: Duration) -> Result<Option<Obstacle>> {
        let Machine { emulator, arch, machine, virt_type } = machine;
        let arguments = (emulator, arch, machine, virt_type, cpu, 0_u32);
        let answer: Result<(i32,)> = self.call(Procedure::ConnectCompareHypervisorCpu, &arguments, limit).await;
        match answer {
            Ok((INCOMPATIBLE,)) => {
                Ok(Some(Obstacle::new(ObstacleKind::Cpu, "its model or a feature is not available")))
            }
            answer => refused(answer, ObstacleKind::Cpu),
        }
    }
}

/// What libvirt refuses is missing there; what it can't tell is not.
fn refused<T>(answer: Result<T>, kind: ObstacleKind) -> Result<Option<Obstacle>> {
    match answer {
        Ok(_) => Ok(None),
        Err(Error::Libvirt { code, .. }) if cannot_tell(code) => Ok(None),
        Err(Error::Libvirt { message, .. }) => Ok(Some(Obstacle::new(kind, message))),
        Err(error) => Err(error),
    }
}

pub(super) fn told<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Error::Libvirt { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn cannot_tell(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NO_SUPPORT | ErrorCode::NO_CONNECT | ErrorCode::RPC | ErrorCode::ACCESS_DENIED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_and_what_is_not_known_is_not() {
        let needs = Requirements {
            networks: vec!["front".to_owned(), "back".to_owned()],
            interfaces: vec!["br7".to_owned()],
            secrets: vec![SecretNeed::Usage("ceph key".to_owned())],
            pages: Some(Pages { size_kib: 2048, memory_kib: 4096 }),
            ..Requirements::default()
        };
        let host = Facilities {
            networks: Some(["front".to_owned()].into()),
            secrets: Some(vec![]),
            free_pages: [(2048, 1)].into(),
            ..Facilities::default()
        };
        let missing: Vec<String> = host.lacks(&needs, HostIs::Another).iter().map(ToString::to_string).collect();
        assert_eq!(
            missing,
            ["network back is missing", "secret ceph key is missing", "huge pages: 2 of 2048 KiB needed, 1 free"]
        );
        assert_eq!(Facilities::default().lacks(&needs, HostIs::Another), []);
    }

    #[test]
    fn a_device_that_a_host_cannot_tell_of_is_neither_missing_nor_there() {
        let usb = UsbNeed { model: Some((0x1050, 0x0407)), place: None, port: None };
        let needs = Requirements { usb: vec![usb], ..Requirements::default() };
        let bare = Facilities::default();
        assert_eq!((bare.lacks(&needs, HostIs::Another), bare.cannot_tell(&needs, HostIs::Another)), (vec![], true));
        let pci = Requirements { devices: vec!["pci_0000_3b_00_1".to_owned()], ..Requirements::default() };
        assert_eq!((bare.lacks(&pci, HostIs::Another), bare.cannot_tell(&pci, HostIs::Another)), (vec![], true));
        assert!(!bare.cannot_tell(&Requirements::default(), HostIs::Another));
        let none = Facilities { usb: Some(UsbDevices::default().whole()), ..Facilities::default() };
        let missing: Vec<String> = none.lacks(&needs, HostIs::Another).iter().map(ToString::to_string).collect();
        assert_eq!(
            (missing, none.cannot_tell(&needs, HostIs::Another)),
            (vec!["USB device: 1050:0407 is missing".to_owned()], false)
        );
    }

    #[test]
    fn a_place_is_a_device_on_its_own_host_only() {
        let needs = Requirements {
            usb: vec![UsbNeed { model: None, place: Some((1, 4)), port: None }],
            ..Requirements::default()
        };
        // Nothing has to be known of another host for that.
        for host in
            [Facilities::default(), Facilities { usb: Some(UsbDevices::default().whole()), ..Facilities::default() }]
        {
            let lacks: Vec<String> = host.lacks(&needs, HostIs::Another).iter().map(ToString::to_string).collect();
            assert_eq!(lacks, ["USB device: bus 1, device 4 may be another device there"]);
        }
        assert_eq!(Facilities::default().untold(&needs, HostIs::Home), ["USB bus 1, device 4"]);
        let none = Facilities { usb: Some(UsbDevices::default().whole()), ..Facilities::default() };
        let lacks: Vec<String> = none.lacks(&needs, HostIs::Home).iter().map(ToString::to_string).collect();
        assert_eq!(lacks, ["USB device: bus 1, device 4 is missing"]);
    }

    #[test]
    fn devices_are_named_as_other_programs_name_them() {
        let needs = Requirements {
            devices: vec!["pci_0000_3b_00_1".to_owned(), "scsi_2_0_1_5".to_owned()],
            mediated: vec!["c2177883-f1bb-47f0-914d-32a22e3a8804".parse().unwrap()],
            ..Requirements::default()
        };
        let names = ["0000:3b:00.1", "SCSI 2:0:1:5", "mdev c2177883-f1bb-47f0-914d-32a22e3a8804"];
        assert_eq!(Facilities::default().untold(&needs, HostIs::Another), names);
        let bare = Facilities {
            devices: Some(["pci_0000_00_00_0".to_owned()].into()),
            mediated: Some(MediatedDevices::default()),
            ..Facilities::default()
        };
        let lacks: Vec<String> = bare.lacks(&needs, HostIs::Another).iter().map(ToString::to_string).collect();
        assert_eq!(lacks, names.map(|name| format!("device {name} is missing")));
        assert!(!bare.cannot_tell(&needs, HostIs::Another));
        let made = "mdev_c2177883_f1bb_47f0_914d_32a22e3a8804_0000_3b_00_0".to_owned();
        let host = Facilities {
            devices: Some(needs.devices.iter().cloned().collect()),
            mediated: Some(MediatedDevices::named([made])),
            ..Facilities::default()
        };
        assert_eq!(host.lacks(&needs, HostIs::Another), []);
    }
}
