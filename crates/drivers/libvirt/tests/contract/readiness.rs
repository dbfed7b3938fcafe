//! What a real libvirtd says about whether its host could start a domain.

use std::process::Command;

use mainstay_libvirt::{
    domain::inventory::XmlFlags,
    ready::{DeviceAnswer, Facilities, FileAnswer, HostIs, Machine, Requirements, Wanted},
};

use mainstay_model::ObstacleKind;

use crate::fixture::{LIMIT, TestLab, domain};

#[tokio::test]
async fn a_host_says_what_it_lacks_for_a_domain() {
    let lab = TestLab::up(1, 1).await;
    let connection = lab.open("h1").await;
    let web = domain(&connection, "web-1").await;
    let xml = connection.domain_xml(&web, XmlFlags::INACTIVE | XmlFlags::SECURE, LIMIT).await.unwrap();
    let needs = Requirements::parse(&xml).unwrap();

    // It runs here, so nothing is missing.
    assert!(needs.files.len() >= 2, "disk and kernel: {needs:?}");
    for file in &needs.files {
        assert_eq!(connection.file_answer(&file.path, LIMIT).await.unwrap(), FileAnswer::There, "{file:?}");
    }
    assert_eq!(connection.lacks_machine(&needs.machine, LIMIT).await.unwrap(), None);
    let wanted = Wanted { page_sizes: [2048].into(), ..Wanted::default() };
    let facilities = Facilities::read(&connection, &wanted, LIMIT).await.unwrap();
    assert_eq!(facilities.lacks(&needs, HostIs::Another), []);

    // Each thing that is missing is named.
    let disk = needs.files.iter().find(|file| file.path.ends_with(".qcow2")).unwrap().path.clone();
    let folder = disk.rsplit_once('/').unwrap().0;
    let gone = format!("{folder}/gone.qcow2");
    assert_eq!(connection.file_answer(&gone, LIMIT).await.unwrap(), FileAnswer::Lacks(gone.clone()));
    let nowhere = "/nowhere/at/all.iso".to_owned();
    assert_eq!(connection.file_answer(&nowhere, LIMIT).await.unwrap(), FileAnswer::Lacks(nowhere));
    let overlay = format!("{folder}/overlay.qcow2");
    let mut make = Command::new("qemu-img");
    make.args(["create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b"]).arg(&gone).arg(&overlay).arg("1M");
    assert!(make.status().unwrap().success());
    assert_eq!(connection.file_answer(&overlay, LIMIT).await.unwrap(), FileAnswer::Lacks(gone));

    let machine = Machine { machine: Some("pc-q35-99.9".to_owned()), ..needs.machine.clone() };
    let missing = connection.lacks_machine(&machine, LIMIT).await.unwrap().unwrap();
    assert!(missing.kind == ObstacleKind::Machine && missing.what.contains("pc-q35-99.9"), "{missing:?}");
    let unknown = "<cpu mode='custom' match='exact'><model fallback='forbid'>Opteron_G9000</model></cpu>";
    let missing = connection.lacks_cpu(&needs.machine, unknown, LIMIT).await.unwrap().unwrap();
    assert_eq!(missing.kind, ObstacleKind::Cpu, "{missing:?}");
    let known = "<cpu mode='custom' match='exact'><model fallback='forbid'>qemu64</model></cpu>";
    assert_eq!(connection.lacks_cpu(&needs.machine, known, LIMIT).await.unwrap(), None);

    let elsewhere =
        xml.replace("</devices>", "<interface type='network'><source network='front'/></interface></devices>");
    let elsewhere =
        elsewhere.replace("<os>", "<memoryBacking><hugepages><page size='2048'/></hugepages></memoryBacking><os>");
    let lacks = facilities.lacks(&Requirements::parse(&elsewhere).unwrap(), HostIs::Another);
    let kinds: Vec<ObstacleKind> = lacks.iter().map(|missing| missing.kind).collect();
    assert!(kinds.contains(&ObstacleKind::Network) && kinds.contains(&ObstacleKind::HugePages), "{lacks:?}");
}

/// The scenario: guests with a USB key and with disks that are devices of the host. A lab's hosts see the machine's devices,
/// and no udev runs there.
#[tokio::test]
async fn a_host_says_which_devices_it_has() {
    let lab = TestLab::up(1, 1).await;
    let connection = lab.open("h1").await;
    let web = domain(&connection, "web-1").await;
    let xml = connection.domain_xml(&web, XmlFlags::INACTIVE | XmlFlags::SECURE, LIMIT).await.unwrap();
    let with = |device: &str| Requirements::parse(&xml.replace("</devices>", &format!("{device}</devices>"))).unwrap();
    let key = with(
        "<hostdev mode='subsystem' type='usb'><source><vendor id='0x1050'/><product id='0x0407'/></source></hostdev>",
    );
    let disk = with("<disk type='block' device='disk'><source dev='/dev/vda'/><target dev='vdz'/></disk>");
    let wanted = Wanted::by([&key, &disk]);
    assert!(wanted.usb && wanted.block_devices);
    let facilities = Facilities::read(&connection, &wanted, LIMIT).await.unwrap();

    // Where libvirt lists no devices of the kind, it can't tell; where it does, it has no such key.
    let listed = lab.virsh("h1", &["nodedev-list"]).await.unwrap();
    let tells = |kinds: &[&str]| listed.lines().any(|name| kinds.iter().any(|kind| name.trim().starts_with(kind)));
    let (lacks, cannot_tell) = (facilities.lacks(&key, HostIs::Another), facilities.cannot_tell(&key, HostIs::Another));
    if tells(&["pci_", "usb_"]) {
        assert!(lacks.len() == 1 && lacks[0].to_string() == "USB device: 1050:0407 is missing", "{lacks:?}");
        assert!(!cannot_tell);
    } else {
        assert!(lacks.is_empty() && cannot_tell, "{lacks:?}");
    }

    // A PCI device that the host has is found by its address, and one that it has not is named by it. No device is made here
    // for the others: a host that tells of its devices has none of them.
    let pci = |name: &str| {
        let parts: Vec<&str> = name.trim().trim_start_matches("pci_").split('_').collect();
        let [domain, bus, slot, function] = parts[..] else { panic!("{name} is no PCI device") };
        with(&format!(
            "<hostdev mode='subsystem' type='pci'><source><address domain='0x{domain}' bus='0x{bus}' slot='0x{slot}' \
             function='0x{function}'/></source></hostdev>"
        ))
    };
    for name in listed.lines().filter(|name| name.trim().starts_with("pci_")) {
        assert_eq!(facilities.lacks(&pci(name), HostIs::Another), [], "{name}");
    }
    let uuid = "c2177883-f1bb-47f0-914d-32a22e3a8804";
    let mediated =
        with(&format!("<hostdev mode='subsystem' type='mdev'><source><address uuid='{uuid}'/></source></hostdev>"));
    let scsi = with(
        "<hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host63'/><address bus='0' target='1' unit='5'/>\
         </source></hostdev>",
    );
    let devices = Facilities::read(&connection, &Wanted::by([&mediated]), LIMIT).await.unwrap();
    for (needs, name) in [
        (pci("pci_0000_fd_00_1"), "0000:fd:00.1".to_owned()),
        (scsi, "SCSI 63:0:1:5".to_owned()),
        (mediated, format!("mdev {uuid}")),
    ] {
        let lacks: Vec<String> = devices.lacks(&needs, HostIs::Another).iter().map(ToString::to_string).collect();
        let untold = devices.untold(&needs, HostIs::Another);
        let can_tell = tells(&["pci_"]);
        let expected =
            if can_tell { (vec![format!("device {name} is missing")], vec![]) } else { (vec![], vec![name]) };
        assert_eq!((lacks, untold), expected);
    }
    // What is at a place of another host may be any device, whatever the host tells.
    let place = with("<hostdev mode='subsystem' type='usb'><source><address bus='1' device='4'/></source></hostdev>");
    let lacks = facilities.lacks(&place, HostIs::Another);
    assert_eq!(
        lacks.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["USB device: bus 1, device 4 may be another device there"]
    );
    assert_eq!(facilities.cannot_tell(&place, HostIs::Home), !tells(&["pci_", "usb_"]));

    // Every disk that the host has is found by its path, with its size.
    let disks = lab.virsh("h1", &["nodedev-list", "--cap", "storage"]).await.unwrap();
    let disks: Vec<&str> = disks.split_whitespace().collect();
    for name in &disks {
        let described = lab.virsh("h1", &["nodedev-dumpxml", name]).await.unwrap();
        let path = described.split("<block>").nth(1).and_then(|rest| rest.split("</block>").next()).unwrap();
        let DeviceAnswer::There(identity) = facilities.block_device(path) else { panic!("{path}: {facilities:?}") };
        let size = format!("/sys/class/block/{}/size", path.trim_start_matches("/dev/"));
        let sectors: u64 = std::fs::read_to_string(size).unwrap().trim().parse().unwrap();
        assert_eq!(identity.size_bytes, Some(512 * sectors), "{path}");
    }
    let gone = facilities.block_device("/dev/vdzz");
    let missing = DeviceAnswer::Lacks("/dev/vdzz is missing".to_owned());
    assert_eq!(gone, if disks.is_empty() { DeviceAnswer::Unknown } else { missing });
    // Loop devices, LVM and multipath are in no such list. A pool that is there may have them; none is made to find out.
    assert_eq!(facilities.block_device("/dev/loop0"), DeviceAnswer::Unknown);
    let pools = lab.virsh("h1", &["pool-list", "--all", "--name"]).await.unwrap();
    assert_eq!(connection.pool_device("/dev/loop0", LIMIT).await.unwrap(), None);
    assert_eq!(connection.file_answer("/dev/vg/base", LIMIT).await.unwrap(), FileAnswer::Unknown);
    // A new pool opens all files of its folder: of /dev that would arm the host's watchdog.
    let refused = connection.image("/dev/loop0", LIMIT).await.unwrap_err().to_string();
    assert!(refused.contains("no storage pool is made for /dev/loop0"), "{refused}");
    assert_eq!(lab.virsh("h1", &["pool-list", "--all", "--name"]).await.unwrap(), pools);
}
