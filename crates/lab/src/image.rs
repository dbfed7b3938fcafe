//! The guests' image: kernel, initial file system and template disk, built once per machine into a cache.
//!
//! The kernel is the one that `script/bootstrap` unpacked, as a bare vmlinux (PVH boot saves a fifth of the boot's work
//! under emulation). The initial file system is busybox, a few modules and `guest/labguest.c`. The folder's name carries
//! a hash of all that went in, so a changed guest is a new folder, and several labs may build at the same time.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use crate::command::run;
use crate::error::{AtPath, LabError, Result};

const PROGRAM: &str = include_str!("../guest/labguest.c");
const INIT: &str = include_str!("../guest/init");
const BUSYBOX: &str = "/bin/busybox";
const AGENT: &str = "/usr/sbin/qemu-ga";

/// In the order in which the guest loads them. A module that this kernel has built in is left out.
const MODULES: [&str; 15] = [
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci",
    "drivers/block/virtio_blk",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
    "drivers/char/virtio_console",
    "drivers/misc/pvpanic/pvpanic",
    "drivers/misc/pvpanic/pvpanic-mmio",
    "drivers/misc/pvpanic/pvpanic-pci",
    "drivers/input/evdev",
    "drivers/acpi/button",
];

/// Where this machine keeps what labs can share.
pub(crate) fn cache_dir() -> PathBuf {
    std::env::var_os("MAINSTAY_LAB_CACHE").map_or_else(|| "/var/cache/mainstay-lab".into(), PathBuf::from)
}

/// A built image.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    folder: PathBuf,
}

impl Image {
    pub(crate) fn kernel(&self) -> PathBuf {
        self.folder.join("vmlinux")
    }

    pub(crate) fn initial_filesystem(&self, with_agent: bool) -> PathBuf {
        self.folder.join(if with_agent { "initrd-agent" } else { "initrd" })
    }

    /// A small ext4 file system as qcow2.
    pub(crate) fn template_disk(&self) -> PathBuf {
        self.folder.join("template.qcow2")
    }

    /// The image that is in the cache already, for a lab that was built from it.
    pub(crate) fn present() -> Result<Self> {
        let cache = cache_dir();
        Ok(Self { folder: cache.join(format!("guest-{:016x}", ingredients(&kernel_folder(&cache)?)?)) })
    }

    /// The image, built first if this machine has none yet.
    pub(crate) async fn ready() -> Result<Self> {
        let image = Self::present()?;
        if image.folder.exists() {
            return Ok(image);
        }
        let _lock = build_lock().await?;
        if !image.folder.exists() {
            image.build().await?;
        }
        Ok(image)
    }

    async fn build(&self) -> Result<()> {
        let kernel = kernel_folder(&cache_dir())?;
        let aside = self.folder.with_extension("new");
        if aside.exists() {
            fs::remove_dir_all(&aside).at("removing", &aside)?;
        }
        fs::create_dir_all(&aside).at("creating", &aside)?;
        unpack_kernel(&kernel, &aside).await?;
        let source = aside.join("labguest.c");
        fs::write(&source, PROGRAM).at("writing", &source)?;
        let program = aside.join("labguest");
        let (source, program) = (source.display().to_string(), program.display().to_string());
        run(&["gcc", "-O2", "-static", "-pthread", "-s", "-o", &program, &source]).await?;
        for with_agent in [false, true] {
            make_initial_filesystem(&kernel, &aside, with_agent).await?;
        }
        make_template_disk(&aside).await?;
        fs::rename(&aside, &self.folder).at("renaming", &aside)
    }
}

/// Everything that decides what the image will be.
fn ingredients(kernel: &Path) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    (PROGRAM, INIT, MODULES, kernel).hash(&mut hasher);
    for file in [BUSYBOX, AGENT] {
        let stat = fs::metadata(file).map_err(|_| LabError::Missing { what: file.to_owned() })?;
        (file, stat.len(), stat.modified().ok()).hash(&mut hasher);
    }
    Ok(hasher.finish())
}

/// The folder that `script/bootstrap` unpacked a kernel into: `boot/vmlinuz-VERSION`, `lib/modules/VERSION`.
fn kernel_folder(cache: &Path) -> Result<PathBuf> {
    let folder = cache.join("kernel");
    let complete = folder.join("complete");
    match complete.exists() {
        true => Ok(folder),
        false => Err(LabError::Missing { what: format!("the guests' kernel ({})", complete.display()) }),
    }
}

async fn build_lock() -> Result<fs::File> {
    let path = cache_dir().join("guest.lock");
    let file = fs::File::create(&path).at("creating", &path)?;
    let locked = tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await;
    locked.map_err(std::io::Error::other).and_then(|result| result).at("locking", path)
}

fn kernel_version(kernel: &Path) -> Result<String> {
    let file = kernel.join("complete");
    Ok(fs::read_to_string(&file).at("reading", file)?.trim().to_owned())
}

/// Takes the bare kernel out of the self-extracting one (header: Documentation/x86/boot.rst, protocol 2.08 and later).
async fn unpack_kernel(kernel: &Path, to: &Path) -> Result<()> {
    let packed_path = kernel.join(format!("boot/vmlinuz-{}", kernel_version(kernel)?));
    let packed = fs::read(&packed_path).at("reading", &packed_path)?;
    let damaged = || LabError::Missing { what: format!("an LZ4 kernel in {}", packed_path.display()) };
    let number = |offset: usize| {
        let bytes = packed.get(offset..offset + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_le_bytes).and_then(|value| usize::try_from(value).ok()).ok_or_else(damaged)
    };
    let setup_sectors = usize::from(*packed.get(0x1f1).ok_or_else(damaged)?);
    let begin = (setup_sectors + 1) * 512 + number(0x248)?;
    let payload = packed.get(begin..begin + number(0x24c)?).ok_or_else(damaged)?;
    let (lz4, bare) = (to.join("payload"), to.join("vmlinux"));
    fs::write(&lz4, payload).at("writing", &lz4)?;
    // lz4 complains of the four bytes after the stream (the unpacked size); what it wrote is whole, which strip checks.
    let _ = run(&["lz4", "-d", "-f", "-q", &lz4.display().to_string(), &bare.display().to_string()]).await;
    fs::remove_file(&lz4).at("removing", &lz4)?;
    run(&["strip", &bare.display().to_string()]).await.map(|_| ())
}

async fn make_initial_filesystem(kernel: &Path, to: &Path, with_agent: bool) -> Result<()> {
    let root = to.join("root");
    for folder in ["bin", "sbin", "mod", "proc", "sys", "dev", "data", "tmp", "run", "var/run", "usr/sbin"] {
        fs::create_dir_all(root.join(folder)).at("creating", root.join(folder))?;
    }
    let copy = |from: &Path, name: &str| fs::copy(from, root.join(name)).at("copying", from).map(|_| ());
    copy(Path::new(BUSYBOX), "bin/busybox")?;
    copy(&to.join("labguest"), "labguest")?;
    put_executable(&root.join("init"), INIT)?;
    // What acpid does at the power button.
    put_executable(&root.join("etc/acpi/PWRF/00000080"), "#!/bin/sh\numount /data\npoweroff -f\n")?;

    let modules = kernel.join("lib/modules").join(kernel_version(kernel)?).join("kernel");
    let mut loaded = String::new();
    for module in MODULES {
        let (file, name) = (modules.join(format!("{module}.ko")), module.rsplit('/').next().unwrap_or(module));
        if file.exists() {
            copy(&file, &format!("mod/{name}.ko"))?;
            run(&["strip", "--strip-debug", &root.join(format!("mod/{name}.ko")).display().to_string()]).await?;
            loaded += &format!("{name}.ko\n");
        }
    }
    fs::write(root.join("modules.list"), loaded).at("writing", root.join("modules.list"))?;

    if with_agent {
        copy(Path::new(AGENT), "usr/sbin/qemu-ga")?;
        for library in run(&["ldd", AGENT]).await?.split_whitespace().filter(|word| word.starts_with('/')) {
            let inside = library.trim_start_matches('/');
            let folder = root.join(inside);
            let folder = folder.parent().unwrap_or(&root);
            fs::create_dir_all(folder).at("creating", folder)?;
            copy(Path::new(library), inside)?;
        }
    }
    let archive = to.join(if with_agent { "initrd-agent" } else { "initrd" });
    let pack = r#"cd "$0" && find . | cpio --quiet -o -H newc >"$1""#;
    run(&["sh", "-c", pack, &root.display().to_string(), &archive.display().to_string()]).await?;
    fs::remove_dir_all(&root).at("removing", &root)
}

fn put_executable(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).at("creating", folder)?;
    fs::write(path, text).at("writing", path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).at("making executable", path)
}

async fn make_template_disk(to: &Path) -> Result<()> {
    let (raw, disk) = (to.join("template.raw"), to.join("template.qcow2"));
    fs::File::create(&raw).and_then(|file| file.set_len(256 << 20)).at("creating", &raw)?;
    let (raw_text, disk_text) = (raw.display().to_string(), disk.display().to_string());
    run(&["mkfs.ext4", "-q", "-F", "-J", "size=4", &raw_text]).await?;
    run(&["qemu-img", "convert", "-O", "qcow2", "-o", "cluster_size=64k", &raw_text, &disk_text]).await?;
    fs::remove_file(&raw).at("removing", &raw)
}
