//! A guest as libvirt is told of it: its domain, its disk, and defining and starting it on a host.

use std::fs;
use std::path::PathBuf;

use crate::cgroup::Cgroups;
use crate::command::{finish, run, spawn_detached};
use crate::error::{AtPath, LabError, Result};
use crate::image::Image;
use crate::lab::Lab;
use crate::layout::{self, Layout};
use crate::spec::{DiskKind, GuestSpec, LabSpec};

/// Enough for kernel, busybox and agent; with 72 most guests do not come up.
const MEMORY_MIB: u32 = 96;
/// The file system for small disks: a guest's disk fits, with one or two recovery points.
const SMALL_FILESYSTEM_MIB: u64 = 256;
/// A faulty disk's device cannot grow, so it is made larger than its image can become.
const FAULTY_DEVICE_MIB: u64 = 512;

/// The domain's XML.
pub(crate) fn xml(layout: &Layout, image: &Image, guest: &GuestSpec, ipv6: bool) -> String {
    let GuestSpec { name, number, .. } = guest;
    let (kernel, initrd) = (image.kernel(), image.initial_filesystem(guest.agent));
    let (kernel, initrd) = (kernel.display(), initrd.display());
    let address = guest.address();
    let address_v6 = if ipv6 { format!(" labip6={}", layout::guest_address_v6(guest.number)) } else { String::new() };
    let disk = match guest.disk {
        DiskKind::Shared | DiskKind::Small => {
            let source = format!("<source file='{}'/>", disk_path(layout, guest).display());
            format!("<disk type='file' device='disk'>{}{source}<target dev='vda' bus='virtio'/></disk>", driver())
        }
        DiskKind::Faulty => {
            let socket = faulty_socket(layout, guest);
            let host = format!("<host transport='unix' socket='{}'/>", socket.display());
            let source = format!("<source protocol='nbd'>{host}</source>");
            format!("<disk type='network' device='disk'>{}{source}<target dev='vda' bus='virtio'/></disk>", driver())
        }
    };
    let agent = match guest.agent {
        true => "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>",
        false => "",
    };
    // Type qemu: emulation. Where /dev/kvm is there but broken, guests of type kvm hang.
    format!(
        r#"<domain type='qemu'>
  <name>{name}</name>
  <uuid>77000000-0000-4000-8000-{number:012}</uuid>
  <memory unit='MiB'>{MEMORY_MIB}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initrd}</initrd>
    <cmdline>console=ttyS0 quiet panic=0 tsc=reliable no_timer_check labname={name} labip={address}{address_v6}</cmdline>
  </os>
  <features><acpi/><tcg><tb-cache unit='MiB'>32</tb-cache></tcg></features>
  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    {disk}
    <controller type='usb' model='none'/>
    <interface type='bridge'>
      <source bridge='br0'/>
      <mac address='52:54:00:77:00:{number:02x}'/>
      <model type='virtio'/>
      <rom enabled='no'/>
    </interface>
    <serial type='file'><source path='/var/log/libvirt/qemu/{name}-console.log'/></serial>
    {agent}
    <panic model='isa'/>
    <memballoon model='none'/>
  </devices>
</domain>
"#
    )
}

/// Stops on any error: a guest whose disk fails is paused, with the reason, rather than left to corrupt itself.
fn driver() -> &'static str {
    "<driver name='qemu' type='qcow2' cache='none' discard='unmap' error_policy='stop' rerror_policy='stop'/>"
}

/// The file of a guest's disk.
pub(crate) fn disk_path(layout: &Layout, guest: &GuestSpec) -> PathBuf {
    match guest.disk {
        DiskKind::Shared | DiskKind::Faulty => layout.guest_disk(&guest.name),
        DiskKind::Small => small_filesystem(layout).join(format!("{}.qcow2", guest.name)),
    }
}

/// The mounted file system that small disks are on.
pub(crate) fn small_filesystem(layout: &Layout) -> PathBuf {
    layout.shared().join("small")
}

/// While this file is there, the guest's disk answers every request with EIO.
pub(crate) fn faulty_switch(layout: &Layout, guest: &GuestSpec) -> PathBuf {
    layout.shared().join(format!("{}.eio", guest.name))
}

fn faulty_socket(layout: &Layout, guest: &GuestSpec) -> PathBuf {
    layout.shared().join(format!("{}.nbd", guest.name))
}

/// Makes every guest's disk, with the servers and mounts behind it.
pub(crate) async fn make_disks(layout: &Layout, spec: &LabSpec, image: &Image) -> Result<()> {
    if spec.guests.iter().any(|guest| guest.disk == DiskKind::Small) {
        mount_small_filesystem(layout).await?;
    }
    for guest in &spec.guests {
        let disk = disk_path(layout, guest);
        fs::copy(image.template_disk(), &disk).at("writing", &disk)?;
        if guest.disk == DiskKind::Faulty {
            let file = fs::File::options().write(true).open(&disk).at("opening", &disk)?;
            file.set_len(FAULTY_DEVICE_MIB << 20).at("growing", &disk)?;
            serve_faulty_disk(layout, guest).await?;
        }
    }
    Ok(())
}

async fn mount_small_filesystem(layout: &Layout) -> Result<()> {
    let (image, mount) = (layout.dir.join("small.ext4"), small_filesystem(layout));
    fs::create_dir_all(&mount).at("creating", &mount)?;
    fs::File::create(&image).and_then(|file| file.set_len(SMALL_FILESYSTEM_MIB << 20)).at("creating", &image)?;
    let (image, mount) = (image.display().to_string(), mount.display().to_string());
    run(&["mkfs.ext4", "-q", "-F", "-O", "^has_journal", &image]).await?;
    run(&["mount", "-o", "loop", &image, &mount]).await.map(|_| ())
}

/// Starts the guest's disk server, which is ready when this returns. As a daemon: in the foreground, nbdkit gets a SIGTERM
/// when the process that started it ends, and answers EIO from then on.
async fn serve_faulty_disk(layout: &Layout, guest: &GuestSpec) -> Result<()> {
    let cgroup = Cgroups::of_lab(&layout.name)?.make("storage")?;
    let log = layout.dir.join("storage.log");
    let argv = [
        "nbdkit".to_owned(),
        format!("--unix={}", faulty_socket(layout, guest).display()),
        "--filter=error".to_owned(),
        "file".to_owned(),
        disk_path(layout, guest).display().to_string(),
        "error=EIO".to_owned(),
        "error-rate=100%".to_owned(),
        format!("error-file={}", faulty_switch(layout, guest).display()),
    ];
    let failed = |source| LabError::System { what: format!("serving the disk of {}", guest.name), source };
    let status = spawn_detached(&cgroup, &log, argv)?.wait().await.map_err(failed)?;
    match status.success() {
        true => Ok(()),
        false => Err(failed(std::io::Error::other(format!("nbdkit: {status}; see {}", log.display())))),
    }
}

impl Lab {
    /// The XML of a guest's domain.
    pub fn guest_xml(&self, guest: &str) -> Result<String> {
        Ok(xml(self.layout(), &Image::present()?, self.spec().guest(guest)?, self.spec().ipv6))
    }

    /// Defines a guest on a host and starts it there. For the first spread of guests; afterwards that is Mainstay's task.
    pub async fn define_and_start(&self, guest: &str, host: &str) -> Result<()> {
        let file = self.layout().dir.join(format!("{guest}.xml"));
        fs::write(&file, self.guest_xml(guest)?).at("writing", &file)?;
        self.virsh(host, &["define", &file.display().to_string()]).await?;
        self.virsh(host, &["start", guest]).await.map(|_| ())
    }

    /// Runs virsh against a host, from the controller, and returns what it printed.
    pub async fn virsh(&self, host: &str, words: &[&str]) -> Result<String> {
        let mut command = self.controller_command("virsh");
        command.args(["--quiet", "--connect", &self.libvirt_uri(host)?]).args(words);
        finish(command).await
    }
}
