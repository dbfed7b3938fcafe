//! XML as libvirt writes it, about as long as that of a usual VM: what a controller keeps and reads over and over.

use super::world::{Domain, unix_s, uuid};
use crate::cluster::{Size, bound, needs, set, workload_name};
use std::fmt::Write;

/// A guest's definition: one disk, one network card, a guest agent, and the controllers that libvirt adds.
pub fn domain(size: Size, guest: usize) -> String {
    let name = workload_name(guest);
    let resources = needs(size, guest);
    let mut tags = String::new();
    let set = set(size, guest).map(|set| format!("set-{set}"));
    for tag in bound(size, guest).then(|| "bound".to_owned()).into_iter().chain(set) {
        write!(tags, "<mainstay:tag>{tag}</mainstay:tag>").expect("a string takes all");
    }
    let ports: String = (1..=14).map(port).collect();
    format!(
        "<domain type='kvm'>\n  <name>{name}</name>\n  <uuid>{}</uuid>\n  <metadata>\n    <mainstay:vm \
         xmlns:mainstay='urn:mainstay'>{tags}</mainstay:vm>\n    <libosinfo:libosinfo \
         xmlns:libosinfo='http://libosinfo.org/xmlns/libvirt/domain/1.0'>\n      <libosinfo:os \
         id='http://debian.org/debian/12'/>\n    </libosinfo:libosinfo>\n  </metadata>\n  <memory unit='KiB'>{memory}</memory>\n  \
         <currentMemory unit='KiB'>{memory}</currentMemory>\n  <vcpu placement='static'>{vcpus}</vcpu>\n{MACHINE}    <disk \
         type='file' device='disk'>\n      <driver name='qemu' type='qcow2' cache='none' io='native' discard='unmap'/>\n      \
         <source file='/srv/store-{store}/{name}.qcow2'/>\n      <target dev='vda' bus='virtio'/>\n      <address type='pci' \
         domain='0x0000' bus='0x04' slot='0x00' function='0x0'/>\n    </disk>\n{ports}    <interface type='bridge'>\n      <mac \
         address='52:54:00:{:02x}:{:02x}:{:02x}'/>\n      <source bridge='br0'/>\n      <model type='virtio'/>\n      <address \
         type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>\n    </interface>\n{DEVICES}  </devices>\n</domain>\n",
        uuid(guest),
        guest >> 16,
        guest >> 8 & 255,
        guest & 255,
        memory = resources.memory_mib * 1024,
        vcpus = resources.cpu_centi / 100,
        store = guest % 20,
    )
}

fn port(number: usize) -> String {
    format!(
        "    <controller type='pci' index='{number}' model='pcie-root-port'>\n      <model name='pcie-root-port'/>\n      <target \
         chassis='{number}' port='0x{:x}'/>\n      <address type='pci' domain='0x0000' bus='0x00' slot='0x02' \
         function='0x{:x}'/>\n    </controller>\n",
        number + 15,
        number % 8
    )
}

const MACHINE: &str = "  <os>
    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
    <boot dev='hd'/>
  </os>
  <features>
    <acpi/>
    <apic/>
  </features>
  <cpu mode='host-passthrough' check='none' migratable='on'/>
  <clock offset='utc'>
    <timer name='rtc' tickpolicy='catchup'/>
    <timer name='pit' tickpolicy='delay'/>
    <timer name='hpet' present='no'/>
  </clock>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
";

const DEVICES: &str = "    <serial type='pty'>
      <target type='isa-serial' port='0'>
        <model name='isa-serial'/>
      </target>
    </serial>
    <console type='pty'>
      <target type='serial' port='0'/>
    </console>
    <channel type='unix'>
      <target type='virtio' name='org.qemu.guest_agent.0'/>
      <address type='virtio-serial' controller='0' bus='0' port='1'/>
    </channel>
    <input type='tablet' bus='usb'>
      <address type='usb' bus='0' port='1'/>
    </input>
    <graphics type='vnc' port='-1' autoport='yes'>
      <listen type='address'/>
    </graphics>
    <video>
      <model type='virtio' heads='1' primary='yes'/>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x01' function='0x0'/>
    </video>
    <watchdog model='itco' action='reset'/>
    <memballoon model='virtio'>
      <address type='pci' domain='0x0000' bus='0x05' slot='0x00' function='0x0'/>
    </memballoon>
    <rng model='virtio'>
      <backend model='random'>/dev/urandom</backend>
      <address type='pci' domain='0x0000' bus='0x06' slot='0x00' function='0x0'/>
    </rng>
";

/// The record of a new snapshot with memory: libvirt keeps the definition in it twice.
pub fn snapshot(of: &Domain, name: &str, description: &str) -> String {
    let parent = of.current.as_ref().map(|parent| format!("  <parent>\n    <name>{parent}</name>\n  </parent>\n"));
    let xml = of.xml.trim_end();
    let inactive = xml.replacen("<domain ", "<inactiveDomain ", 1).replace("</domain>", "</inactiveDomain>");
    format!(
        "<domainsnapshot>\n  <name>{name}</name>\n  <description>{description}</description>\n  <state>running</state>\n{}  \
         <creationTime>{}</creationTime>\n  <memory snapshot='internal'/>\n  <disks>\n    <disk name='vda' \
         snapshot='internal'/>\n  </disks>\n{xml}\n{inactive}\n</domainsnapshot>\n",
        parent.unwrap_or_default(),
        unix_s()
    )
}
