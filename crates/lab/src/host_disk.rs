//! What is on a host's own disk: libvirt's settings, identity, name service. Written once, kept over power cuts.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::error::{AtPath, Result};
use crate::layout::{CONTROLLER, CONTROLLER_V6, Layout};
use crate::spec::LabSpec;

/// Folders of a host that are its own and not the machine's; `host/init.sh` binds each folder that carries the mark.
const OWN_FOLDERS: [&str; 4] = ["etc/libvirt", "var/lib/libvirt", "var/log/libvirt", "var/cache/libvirt"];
const OWN_FOLDER_MARK: &str = ".bind";

/// Probing QEMU's abilities costs a libvirtd seconds. The answer is the same on all hosts, and libvirt itself drops it
/// when QEMU or libvirt has changed, so it is kept for all labs of this machine.
pub(crate) fn capabilities_cache(cache: &Path) -> PathBuf {
    cache.join("capabilities")
}

/// Writes the disk of `host`.
pub(crate) fn write(layout: &Layout, spec: &LabSpec, host: &str, cache: &Path) -> Result<()> {
    let (number, address) = (spec.host_number(host)?, spec.host_address(host)?);
    let root = layout.host_dir(host).join("root");
    for folder in OWN_FOLDERS {
        own_folder(&root, folder)?;
    }
    // libvirt makes this one only when it starts virtlogd; QEMU itself writes the guests' consoles there.
    let consoles = root.join("var/log/libvirt/qemu");
    fs::create_dir_all(&consoles).at("creating", &consoles)?;
    let put = |path: &str, text: String| fs::write(root.join(path), text).at("writing", root.join(path));
    put("etc/machine-id", format!("ab0{number:029}\n"))?;
    put("etc/hostname", format!("{host}\n"))?;
    put("etc/hosts", name_service(spec))?;
    put("etc/libvirt/libvirtd.conf", libvirtd_settings(number, address))?;
    put("etc/libvirt/qemu.conf", qemu_settings(address))?;
    copy_tree(&capabilities_cache(cache), &root.join("var/cache/libvirt"))
}

/// Keeps what the host's libvirtd found out about QEMU, for all hosts started later.
pub(crate) fn keep_capabilities(layout: &Layout, host: &str, cache: &Path) -> Result<()> {
    let found = layout.host_dir(host).join("root/var/cache/libvirt/qemu");
    let kept = capabilities_cache(cache);
    // Built aside, then renamed: another lab may be copying it right now.
    let aside = cache.join(format!("capabilities.{}", layout.name));
    copy_tree(&found, &aside.join("qemu"))?;
    if fs::rename(&aside, &kept).is_err() {
        // Another lab was first; its copy is as good.
        fs::remove_dir_all(&aside).at("removing", &aside)?;
    }
    Ok(())
}

/// Makes a folder of the host its own.
pub(crate) fn own_folder(root: &Path, folder: &str) -> Result<()> {
    let path = root.join(folder);
    fs::create_dir_all(&path).at("creating", &path)?;
    fs::write(path.join(OWN_FOLDER_MARK), "").at("writing", path.join(OWN_FOLDER_MARK))
}

fn name_service(spec: &LabSpec) -> String {
    let mut text = format!("127.0.0.1 localhost\n{CONTROLLER} controller\n");
    if spec.ipv6 {
        text += &format!("::1 localhost\n{CONTROLLER_V6} controller\n");
    }
    for name in spec.host_names() {
        let Ok(address) = spec.host_address(&name) else { continue };
        text += &format!("{address} {name}\n");
    }
    text
}

fn libvirtd_settings(number: u8, address: IpAddr) -> String {
    format!(
        r#"listen_tls = 0
listen_tcp = 1
auth_tcp = "none"
tcp_port = "16509"
listen_addr = "{address}"
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_rw_perms = "0770"
host_uuid = "{number:08}-1ab0-4000-8000-{number:012}"
max_clients = 500
max_workers = 40
keepalive_interval = 2
keepalive_count = 3
log_level = 3
"#
    )
}

fn qemu_settings(address: IpAddr) -> String {
    format!(
        r#"user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
migration_address = "{address}"
migration_host = "{address}"
keepalive_interval = 2
keepalive_count = 3
"#
    )
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
    fs::create_dir_all(to).at("creating", to)?;
    for entry in entries.flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_tree(&source, &target)?;
        } else {
            fs::copy(&source, &target).at("copying", &source)?;
        }
    }
    Ok(())
}
