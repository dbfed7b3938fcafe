//! A lab as a whole: making it, finding one that is there, what it consists of.
//!
//! Faults are in [`crate::faults`], what is really going on in [`crate::truth`], removal in [`crate::removal`].

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::error::{AtPath, LabError, Result};
use crate::image::{self, Image};
use crate::layout::{self, Layout};
use crate::network::CONTROLLER_NODE;
use crate::power::{self, PowerRunner};
use crate::spec::LabSpec;
use crate::{guest, host, host_disk, network, removal};

/// A dozen emulated guests booting at once on two slow cores stay well below it, also if others want these cores.
const BOOT_LIMIT: Duration = Duration::from_secs(400);

/// A lab that is there.
#[derive(Debug)]
pub struct Lab {
    layout: Layout,
    spec: LabSpec,
    // Held so that the power controller lives as long as the lab's handle, where it runs in this process.
    _power: Option<power::Running>,
}

/// How far [`Lab::up`] has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Guest image is built (once per machine) or found.
    Image,
    /// Namespaces and cables are there.
    Network,
    /// The power controller answers.
    Power,
    /// Host runs libvirtd.
    Host(String),
    /// Guest was started on a host.
    Guest {
        /// The guest.
        guest: String,
        /// Where it was started.
        host: String,
    },
    /// All guests answer.
    Answering,
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image => write!(out, "guest image is ready"),
            Self::Network => write!(out, "network is built"),
            Self::Power => write!(out, "power controller answers"),
            Self::Host(host) => write!(out, "host {host} is on"),
            Self::Guest { guest, host } => write!(out, "guest {guest} started on {host}"),
            Self::Answering => write!(out, "all guests answer"),
        }
    }
}

impl Lab {
    /// Builds a lab. Leftovers of an earlier one of the same name are removed first. If it fails halfway, what was
    /// built stays for a look; [`Lab::down`] or the next `up` removes it.
    pub async fn up(spec: LabSpec, power: PowerRunner, progress: impl Fn(Step)) -> Result<Self> {
        spec.check()?;
        if !rustix::process::geteuid().is_root() {
            return Err(LabError::NotRoot);
        }
        for program in ["libvirtd", "virsh", "qemu-system-x86_64", "nbdkit", "ip", "nsenter", "unshare", "setsid"] {
            require(program)?;
        }
        if spec.ipv6 && !kernel_has_ipv6() {
            return Err(LabError::Missing { what: "IPv6 in this machine's kernel".to_owned() });
        }
        let layout = Layout::new(&spec.name, spec.dir.clone());
        removal::remove(&spec.name, Some(&layout)).await?;
        register(&layout, &spec)?;

        let image = Image::ready().await?;
        progress(Step::Image);
        network::build(&layout, &spec).await?;
        guest::make_disks(&layout, &spec, &image).await?;
        progress(Step::Network);
        let running = power::start(&layout, power).await?;
        progress(Step::Power);

        let lab = Self { layout, spec, _power: running };
        lab.start_hosts(&progress).await?;
        if lab.spec.start_guests {
            lab.start_guests(&progress).await?;
        }
        Ok(lab)
    }

    /// The lab of this name that is there already.
    pub fn attach(name: &str) -> Result<Self> {
        let missing = || LabError::NoSuchLab { name: name.to_owned() };
        let dir = fs::read_link(Path::new(layout::REGISTRY).join(name)).map_err(|_| missing())?;
        let layout = Layout::new(name, Some(dir));
        let text = fs::read(layout.spec_file()).map_err(|_| missing())?;
        let spec = serde_json::from_slice(&text).map_err(std::io::Error::from).at("reading", layout.spec_file())?;
        Ok(Self { layout, spec, _power: None })
    }

    /// Names of the labs that are there, also half made or half removed ones.
    pub fn list() -> Vec<String> {
        let Ok(entries) = fs::read_dir(layout::REGISTRY) else { return Vec::new() };
        let mut names: Vec<_> = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Removes the lab: processes, mounts, namespaces, control groups and its folder.
    pub async fn down(self) -> Result<()> {
        removal::remove(&self.layout.name, Some(&self.layout)).await
    }

    /// Removes the lab of this name, whatever is left of it, also after its creator crashed. Nothing left is no error.
    pub async fn remove(name: &str) -> Result<()> {
        removal::remove(name, None).await
    }

    /// Where the lab's parts are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What it was built as.
    pub fn spec(&self) -> &LabSpec {
        &self.spec
    }

    /// Names of its hosts, spares last.
    pub fn host_names(&self) -> Vec<String> {
        self.spec.host_names()
    }

    /// Address of a host.
    pub fn host_address(&self, host: &str) -> Result<IpAddr> {
        self.spec.host_address(host)
    }

    /// libvirt's address of a host, to be used from the controller's network namespace.
    pub fn libvirt_uri(&self, host: &str) -> Result<String> {
        Ok(match self.host_address(host)? {
            IpAddr::V4(address) => format!("qemu+tcp://{address}/system"),
            IpAddr::V6(address) => format!("qemu+tcp://[{address}]/system"),
        })
    }

    /// libvirt's UNIX socket of a host that is on; can be connected to from anywhere on this machine.
    pub fn libvirt_socket(&self, host: &str) -> Result<PathBuf> {
        self.spec.host_number(host)?;
        let init = host::init_process_or_off(&self.layout, host)?;
        Ok(host::path_inside(init, "/run/libvirt/libvirt-sock"))
    }

    /// Names of its guests.
    pub fn guest_names(&self) -> Vec<String> {
        self.spec.guests.iter().map(|guest| guest.name.clone()).collect()
    }

    /// Address of a guest.
    pub fn guest_address(&self, guest: &str) -> Result<Ipv4Addr> {
        Ok(self.spec.guest(guest)?.address())
    }

    /// A command that will run in the controller's network namespace: `mainstay up`, for one.
    pub fn controller_command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.controller_namespace().display())).arg("--").arg(program);
        command
    }

    /// The controller's network namespace.
    pub fn controller_namespace(&self) -> PathBuf {
        self.layout.namespace_path(CONTROLLER_NODE)
    }

    /// Runs a command inside a host and returns what it printed.
    pub async fn run_in_host(&self, host: &str, argv: &[&str]) -> Result<String> {
        host::run_inside(&self.layout, host, argv).await
    }

    async fn start_hosts(&self, progress: &impl Fn(Step)) -> Result<()> {
        let cache = image::cache_dir();
        let hosts = self.host_names();
        for host in &hosts {
            host_disk::write(&self.layout, &self.spec, host, &cache)?;
            host::power_on(&self.layout, host).await?;
        }
        for host in hosts {
            host::wait_for_libvirt(&self.layout, &host).await?;
            progress(Step::Host(host));
        }
        Ok(())
    }

    /// Which guest starts on which host at first: in turn over the hosts that are no spares.
    pub fn first_spread(&self) -> Vec<(String, String)> {
        let hosts = self.host_names().into_iter().take(self.spec.hosts.into()).collect::<Vec<_>>();
        self.guest_names().into_iter().zip(hosts.into_iter().cycle()).collect()
    }

    pub(crate) async fn start_guests(&self, progress: &impl Fn(Step)) -> Result<()> {
        for (guest, host) in self.first_spread() {
            self.define_and_start(&guest, &host).await?;
            progress(Step::Guest { guest, host });
        }
        for guest in self.guest_names() {
            self.wait_guest_answers(&guest, BOOT_LIMIT).await?;
        }
        let cache = image::cache_dir();
        if !host_disk::capabilities_cache(&cache).exists() {
            host_disk::keep_capabilities(&self.layout, "h1", &cache)?;
        }
        progress(Step::Answering);
        Ok(())
    }

    /// Brings every guest back to where it was at first: stopped wherever it runs, forgotten wherever it is defined,
    /// started anew from its disk as that is now. All hosts must be on. For measurements that begin from one state.
    pub async fn restart_guests(&self) -> Result<()> {
        self.clear_guests().await?;
        self.start_guests(&|_| ()).await
    }

    /// Stops and undefines every guest on every host.
    pub(crate) async fn clear_guests(&self) -> Result<()> {
        for host in self.host_names() {
            for guest in self.virsh(&host, &["list", "--name"]).await?.split_whitespace() {
                self.virsh(&host, &["destroy", guest]).await?;
            }
            for guest in self.virsh(&host, &["list", "--all", "--name"]).await?.split_whitespace() {
                let metadata = ["--snapshots-metadata", "--checkpoints-metadata", "--managed-save"];
                self.virsh(&host, &[&["undefine", guest], &metadata[..]].concat()).await?;
            }
        }
        Ok(())
    }
}

/// Whether a lab can have IPv6 here. A machine on which it is only switched off can have it in the lab's namespaces.
pub fn kernel_has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists() || Path::new("/proc/net/if_inet6").exists()
}

/// Fails if a program is not installed.
pub(crate) fn require(program: &str) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).exists());
    found.then_some(()).ok_or_else(|| LabError::Missing { what: format!("the program {program}") })
}

/// Makes the lab's folder and its entry in the register, so that it is found however far it comes.
fn register(layout: &Layout, spec: &LabSpec) -> Result<()> {
    for folder in [layout.shared(), layout.dir.join("hosts"), layout.dir.join("power-fault"), layout::REGISTRY.into()] {
        fs::create_dir_all(&folder).at("creating", &folder)?;
    }
    for host in spec.host_names() {
        fs::create_dir_all(layout.host_dir(&host)).at("creating", layout.host_dir(&host))?;
    }
    let text = serde_json::to_vec_pretty(spec).map_err(std::io::Error::from).at("writing", layout.spec_file())?;
    fs::write(layout.spec_file(), text).at("writing", layout.spec_file())?;
    std::os::unix::fs::symlink(&layout.dir, layout.registration()).at("creating", layout.registration())
}
