//! Where guests could start, on real libvirtd: what is there, what is missing, and what can't be told.

use crate::{
    idle::{BIOS, IDLE, define, domain, make_image},
    support::{Controller, SOON, TestLab, alarm, until},
};
use mainstay_engine::view::{HostReady, ReadyView};
use mainstay_model::Code;

const KEY: &str = "<controller type='usb' model='qemu-xhci'/><hostdev mode='subsystem' type='usb'><source>\
                   <vendor id='0x1050'/><product id='0x0407'/></source></hostdev>";

/// No machine has a bus of this number.
const CARD: &str = "<hostdev mode='subsystem' type='pci' managed='yes'><source>\
                    <address domain='0x0000' bus='0xfd' slot='0x00' function='0x1'/></source></hostdev>";
const PLACE: &str = "<controller type='usb' model='qemu-xhci'/><hostdev mode='subsystem' type='usb'><source>\
                     <address bus='1' device='4'/></source></hostdev>";
const GPU: &str = "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source>\
                   <address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/></source></hostdev>";

/// What is known of a guest, as `mainstay ready GUEST` shows it.
async fn ready(controller: &Controller, name: &str) -> Option<ReadyView> {
    let view = controller.handle().ready(Some(name)).await.unwrap();
    view.and_then(|mut all| all.pop())
}

/// The reasons for one host, as they stand behind its name.
fn because(view: &ReadyView, host: &str) -> Option<(Option<bool>, String)> {
    let words = |host: &HostReady| host.obstacles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    view.hosts.iter().find(|one| one.host.as_str() == host).map(|host| (host.ready, words(host)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_is_ready_where_all_its_devices_are_and_nowhere_by_guess() {
    let lab = TestLab::up("ready", |_| (), 2, 1).await;
    let block = |path: &str| {
        format!("<disk type='block' device='disk'><source dev='{path}'/><target dev='vdb' bus='virtio'/></disk>")
    };
    for (name, devices) in [
        ("on-device", block("/dev/vdzz")),
        ("on-lvm", block("/dev/vg0/data")),
        ("both", block("/dev/vg0/data") + "<interface type='network'><source network='front'/></interface>"),
    ] {
        make_image(&lab, name, "qcow2", IDLE).await;
        define(&lab, "h1", name, &domain(&lab, name, BIOS, &devices)).await;
    }
    let disks = lab.virsh("h1", &["nodedev-list", "--cap", "storage"]).await.unwrap();
    let config = lab.configure("[[vm]]\nmatch = \"*\"\n");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("[site.lab.libvirt]\n", "[site.lab.libvirt]\nready_every = \"5s\"\n"))
        .unwrap();
    let controller = lab.controller(config).await;

    // What libvirt can't tell of is not ready either.
    let expected = [
        ("web-1", Some(true), ""),
        (
            "on-device",
            (!disks.trim().is_empty()).then_some(false),
            if disks.trim().is_empty() { "" } else { "disk device: /dev/vdzz is missing" },
        ),
        ("on-lvm", None, ""),
        ("both", Some(false), "network front is missing"),
    ];
    let look = async || {
        for (name, ready_there, why) in expected {
            let view = ready(&controller, name).await;
            let on_h2 = view.as_ref().and_then(|view| because(view, "h2"));
            if on_h2 != Some((ready_there, why.to_owned())) {
                return Err(format!("{name}: {view:?}"));
            }
        }
        Ok(())
    };
    until(controller.handle(), SOON, "h2 says what it lacks", look).await;
    // It stays so: what can't be told becomes no readiness by being asked again.
    controller.settled().await;
    controller.settled().await;
    look().await.unwrap();
    controller.stop().await;
}

/// The scenario: guests with devices of their host. Each stays bound to it, and its user reads so before the host is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_with_a_passed_through_device_is_shown_as_bound_to_its_host() {
    let lab = TestLab::up("bound", |_| (), 2, 1).await;
    for (name, devices) in [("keyed", KEY), ("placed", PLACE), ("card", CARD), ("gpu", GPU)] {
        make_image(&lab, name, "qcow2", IDLE).await;
        let xml = domain(&lab, name, BIOS, devices);
        // This place in the document has a controller of its own, which excludes every other one.
        let usb = "<controller type='usb' model='none'/>";
        define(&lab, "h1", name, &if devices.contains("usb") { xml.replace(usb, "") } else { xml }).await;
    }
    // A lab's hosts see the machine's devices, and a machine need not have any.
    let listed = lab.virsh("h2", &["nodedev-list"]).await.unwrap();
    let has = |kinds: &[&str]| listed.lines().any(|name| kinds.iter().any(|kind| name.trim().starts_with(kind)));
    let told = |can_tell: bool, name: &str, missing: &str| match can_tell {
        true => missing.to_owned(),
        false => format!("not known whether it has {name}"),
    };
    let config = lab.configure("[[vm]]\nmatch = \"*\"\n");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("[site.lab.libvirt]\n", "[site.lab.libvirt]\nready_every = \"5s\"\n"))
        .unwrap();
    let controller = lab.controller(config).await;

    let (usb, pci) = (has(&["pci_", "usb_"]), has(&["pci_"]));
    let expected = [
        ("keyed", "USB 1050:0407", told(usb, "USB 1050:0407", "USB device: 1050:0407 is missing")),
        ("placed", "USB bus 1, device 4", "USB device: bus 1, device 4 may be another device there".to_owned()),
        ("card", "0000:fd:00.1", told(pci, "0000:fd:00.1", "device 0000:fd:00.1 is missing")),
        (
            "gpu",
            "mdev c2177883-f1bb-47f0-914d-32a22e3a8804",
            told(
                pci,
                "mdev c2177883-f1bb-47f0-914d-32a22e3a8804",
                "device mdev c2177883-f1bb-47f0-914d-32a22e3a8804 is missing",
            ),
        ),
    ];
    let look = async || {
        for (name, device, also) in &expected {
            let view = ready(&controller, name).await;
            let bound = format!("bound to h1 by its passthrough device {device}, {also}");
            if view.as_ref().and_then(|view| because(view, "h2")) != Some((Some(false), bound)) {
                return Err(format!("{name}: {view:?}"));
            }
        }
        let web = ready(&controller, "web-1").await;
        let on_h2 = web.as_ref().and_then(|view| because(view, "h2"));
        if on_h2 == Some((Some(true), String::new())) { Ok(()) } else { Err(format!("web-1: {web:?}")) }
    };
    until(controller.handle(), SOON, "h2 says what it knows of the devices", look).await;

    // One that runs gets a card from its next start on: from now on the loss of its host is its loss.
    let card = lab.layout().dir.join("card.device");
    std::fs::write(&card, CARD).unwrap();
    lab.virsh("h1", &["attach-device", "web-1", card.to_str().unwrap(), "--config"]).await.unwrap();
    let view = controller.wait_alarm(Code::READY_NOWHERE_ELSE, "web-1").await;
    let bound = "bound to h1 by its passthrough device 0000:fd:00.1";
    let text = &alarm(&view, Code::READY_NOWHERE_ELSE, "web-1").unwrap().text;
    assert_eq!(*text, format!("web-1 could start on no other host now: {bound}"));
    let explained = controller.handle().explain("web-1").await.unwrap().unwrap();
    assert!(explained.contains(&format!("h2: {bound}")), "{explained}");
    controller.stop().await;
}
