//! Where everything of a lab is: its folder, its names in the kernel, its addresses.
//!
//! ```text
//! DIR/lab.json            the specification (attach reads it)
//! DIR/hosts/h1/           a host's own disk: etc, var, logs, the process id of its PID 1
//! DIR/shared/             shared storage, at the same path in every host
//! DIR/power.sock          the power controller; DIR/power-fault/h1 makes its device for h1 fail
//! /run/netns/mainstay-lab.NAME.{switch,controller,h1,…}
//! /run/mainstay-lab/NAME  → DIR, so that a lab is found by its name
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Labs are found by name here.
pub(crate) const REGISTRY: &str = "/run/mainstay-lab";
/// Where a lab lives unless its maker says otherwise.
const DEFAULT_PARENT: &str = "/var/lib/mainstay/lab";

/// Paths and names of one lab. Computes, does nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Name of the lab, unique on the machine.
    pub name: String,
    /// Its folder.
    pub dir: PathBuf,
}

impl Layout {
    /// The layout of the lab `name` in `dir`, or in its default folder.
    pub fn new(name: &str, dir: Option<PathBuf>) -> Self {
        let dir = dir.unwrap_or_else(|| Path::new(DEFAULT_PARENT).join(name));
        Self { name: name.to_owned(), dir }
    }

    /// The link under which the lab is found by its name.
    pub fn registration(&self) -> PathBuf {
        Path::new(REGISTRY).join(&self.name)
    }

    /// The stored specification.
    pub fn spec_file(&self) -> PathBuf {
        self.dir.join("lab.json")
    }

    /// A host's own disk.
    pub fn host_dir(&self, host: &str) -> PathBuf {
        self.dir.join("hosts").join(host)
    }

    /// Holds the process id of the host's PID 1, as this machine numbers processes.
    pub fn host_pid_file(&self, host: &str) -> PathBuf {
        self.host_dir(host).join("init.pid")
    }

    /// Storage that every host sees at this same path.
    pub fn shared(&self) -> PathBuf {
        self.dir.join("shared")
    }

    /// A guest's disk.
    pub fn guest_disk(&self, guest: &str) -> PathBuf {
        self.shared().join(format!("{guest}.qcow2"))
    }

    /// The power controller listens here.
    pub fn power_socket(&self) -> PathBuf {
        self.dir.join("power.sock")
    }

    /// What the power controller did, a line each with time.
    pub fn power_log(&self) -> PathBuf {
        self.dir.join("power.log")
    }

    /// The fence agent of this lab, ready to be named in a configuration.
    pub fn fence_agent(&self) -> PathBuf {
        self.dir.join("fence_mainstay_lab")
    }

    /// If this file is there, the host's power device misbehaves as it says (see [`crate::power::PowerFault`]).
    pub fn power_fault(&self, host: &str) -> PathBuf {
        self.dir.join("power-fault").join(host)
    }

    /// Name of the network namespace of `node`: `switch`, `controller` or a host.
    pub fn namespace(&self, node: &str) -> String {
        format!("{}{node}", self.namespace_prefix())
    }

    /// What the names of all its network namespaces begin with.
    pub(crate) fn namespace_prefix(&self) -> String {
        format!("mainstay-lab.{}.", self.name)
    }

    /// Path of the network namespace of `node`, for `nsenter --net=`.
    pub fn namespace_path(&self, node: &str) -> PathBuf {
        Path::new("/run/netns").join(self.namespace(node))
    }
}

/// Address of the controller in every lab.
pub const CONTROLLER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// Address of the n-th host, counted from 1.
pub fn host_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 10 + number)
}

/// Address of the controller in a lab with IPv6.
pub const CONTROLLER_V6: Ipv6Addr = address_v6(1);

/// Address of the n-th host, counted from 1, in a lab with IPv6.
pub fn host_address_v6(number: u8) -> Ipv6Addr {
    address_v6(0x10 + number as u16)
}

/// Address of the n-th guest, counted from 1, in a lab with IPv6.
pub fn guest_address_v6(number: u8) -> Ipv6Addr {
    address_v6(0x100 + number as u16)
}

const fn address_v6(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, last)
}

/// Address of the n-th guest, counted from 1.
pub fn guest_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 100 + number)
}
