//! Where guests could start, on real libvirtd: what is there, what is missing, and what can't be told.

use crate::{
    idle::{BIOS, IDLE, define, domain, make_image},
    support::{SOON, TestLab, until},
};
use mainstay_engine::view::HostReady;

const KEY: &str = "<controller type='usb' model='qemu-xhci'/><hostdev mode='subsystem' type='usb'><source>\
                   <vendor id='0x1050'/><product id='0x0407'/></source></hostdev>";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_is_ready_where_all_its_devices_are_and_nowhere_by_guess() {
    let lab = TestLab::up("ready", |_| (), 2, 1).await;
    let block = |path: &str| {
        format!("<disk type='block' device='disk'><source dev='{path}'/><target dev='vdb' bus='virtio'/></disk>")
    };
    let idle = |name: &str, devices: &str| {
        let xml = domain(&lab, name, BIOS, devices);
        // This place in the document has a controller of its own, which excludes every other one.
        if devices.contains("usb") { xml.replace("<controller type='usb' model='none'/>", "") } else { xml }
    };
    for (name, devices) in [
        ("keyed", KEY.to_owned()),
        ("on-device", block("/dev/vdzz")),
        ("on-lvm", block("/dev/vg0/data")),
        ("both", block("/dev/vg0/data") + "<interface type='network'><source network='front'/></interface>"),
    ] {
        make_image(&lab, name, "qcow2", IDLE).await;
        define(&lab, "h1", name, &idle(name, &devices)).await;
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
        for (name, ready, why) in expected {
            let view = controller.handle().ready(Some(name)).await.unwrap();
            let hosts = view.into_iter().flatten().flat_map(|view| view.hosts);
            let on_h2 = hosts.into_iter().find(|host| host.host.as_str() == "h2");
            let lacks =
                |host: &HostReady| host.obstacles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let looked_at = on_h2.as_ref().is_some_and(|host| host.ready == ready && lacks(host) == why);
            if !looked_at {
                return Err(format!("{name}: {on_h2:?}"));
            }
        }
        Ok(())
    };
    until(controller.handle(), SOON, "h2 says what it lacks", look).await;
    // It stays so: what can't be told becomes no readiness by being asked again.
    controller.settled().await;
    controller.settled().await;
    look().await.unwrap();
    // A device that is passed through binds a guest to its host, whatever others have.
    let keyed = controller.handle().ready(Some("keyed")).await.unwrap().unwrap().remove(0);
    assert!(keyed.hosts.iter().all(|host| host.host.as_str() == "h1"), "{keyed:?}");
    controller.stop().await;
}
