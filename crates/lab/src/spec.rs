//! What a lab is to be: how many hosts, which guests on which disks. Values only.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{LabError, Result};
use crate::layout;

/// Bounded by the address plan (hosts from .11, guests from .101) and by what one machine can carry.
const MAX_HOSTS: u8 = 16;
const MAX_GUESTS: usize = 64;

/// How a lab is to be built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabSpec {
    /// Unique on the machine; letters, digits and dashes.
    pub name: String,
    /// Its folder; by default under `/var/lib/mainstay/lab`.
    pub dir: Option<PathBuf>,
    /// Hosts that guests are spread over at first.
    pub hosts: u8,
    /// Further hosts, powered on and empty.
    pub spares: u8,
    /// The guests.
    pub guests: Vec<GuestSpec>,
    /// Whether `up` defines and starts the guests, and waits until they answer.
    pub start_guests: bool,
    /// Whether hosts have addresses of IPv6 and no other, and guests have both.
    #[serde(default)]
    pub ipv6: bool,
}

/// One guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestSpec {
    /// Name of the domain.
    pub name: String,
    /// Counted from 1; gives address, MAC and UUID.
    pub number: u8,
    /// Whether it runs the QEMU guest agent.
    pub agent: bool,
    /// What its disk is.
    pub disk: DiskKind,
}

/// What a guest's disk is, which decides the faults it can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskKind {
    /// A qcow2 file on shared storage. QEMU's file lock keeps a second QEMU off it.
    Shared,
    /// Behind an NBD server that can be told to answer EIO. No lock: the same guest can be started twice, so this is
    /// also the disk for split-brain tests.
    Faulty,
    /// A qcow2 file on a shared file system of its own, small enough to be filled.
    Small,
}

impl LabSpec {
    /// A lab with `hosts` hosts and `guests` ordinary guests, named `web-1`, `db-1`, `web-2`, …
    pub fn new(name: &str, hosts: u8, guests: u8) -> Self {
        let guests = (1..=guests).map(GuestSpec::ordinary).collect();
        Self { name: name.to_owned(), dir: None, hosts, spares: 0, guests, start_guests: true, ipv6: false }
    }

    /// The same lab in a folder of the caller's choice.
    pub fn in_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Names of all hosts, spares last.
    pub fn host_names(&self) -> Vec<String> {
        (1..=self.hosts + self.spares).map(|number| format!("h{number}")).collect()
    }

    /// Number of a host.
    pub(crate) fn host_number(&self, host: &str) -> Result<u8> {
        let position = self.host_names().iter().position(|name| name == host);
        position
            .and_then(|index| u8::try_from(index + 1).ok())
            .ok_or_else(|| LabError::NoSuchHost { name: host.to_owned(), known: self.host_names().join(", ") })
    }

    /// Address of a host.
    pub(crate) fn host_address(&self, host: &str) -> Result<IpAddr> {
        let number = self.host_number(host)?;
        Ok(if self.ipv6 { layout::host_address_v6(number).into() } else { layout::host_address(number).into() })
    }

    /// Where a controller probes a guest.
    pub(crate) fn probe_address(&self, guest: &GuestSpec) -> IpAddr {
        if self.ipv6 { layout::guest_address_v6(guest.number).into() } else { guest.address().into() }
    }

    /// The guest of this name.
    pub fn guest(&self, guest: &str) -> Result<&GuestSpec> {
        self.guests.iter().find(|spec| spec.name == guest).ok_or_else(|| LabError::NoSuchGuest {
            name: guest.to_owned(),
            known: self.guests.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |problem: String| Err(LabError::Spec { name: self.name.clone(), problem });
        let plain = |text: &str| {
            !text.is_empty() && text.len() <= 32 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        };
        if !plain(&self.name) {
            return refuse("a name is 1 to 32 letters, digits and dashes".into());
        }
        if let Some(dir) = &self.dir {
            // It becomes part of socket paths (which Linux bounds at 107 bytes), XML and command lines.
            let usable =
                |text: &str| text.len() <= 60 && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            if !dir.is_absolute() || !dir.to_str().is_some_and(usable) {
                return refuse(format!(
                    "the folder {} must be an absolute path of at most 60 letters, digits and /._-",
                    dir.display()
                ));
            }
        }
        if self.hosts == 0 || self.hosts.saturating_add(self.spares) > MAX_HOSTS {
            return refuse(format!("a lab has 1 to {MAX_HOSTS} hosts, spares included"));
        }
        if self.guests.len() > MAX_GUESTS {
            return refuse(format!("a lab has at most {MAX_GUESTS} guests"));
        }
        for (index, guest) in self.guests.iter().enumerate() {
            if !plain(&guest.name) {
                return refuse(format!("guest {:?}: a name is 1 to 32 letters, digits and dashes", guest.name));
            }
            let earlier = &self.guests[..index];
            if earlier.iter().any(|other| other.name == guest.name || other.number == guest.number) {
                return refuse(format!("guest {} has the name or number of another", guest.name));
            }
        }
        Ok(())
    }
}

impl GuestSpec {
    /// The n-th ordinary guest: odd numbers are web servers, even ones databases.
    pub fn ordinary(number: u8) -> Self {
        let kind = if number % 2 == 1 { "web" } else { "db" };
        Self { name: format!("{kind}-{}", number.div_ceil(2)), number, agent: false, disk: DiskKind::Shared }
    }

    /// The guest's address on the lab's network.
    pub fn address(&self) -> Ipv4Addr {
        layout::guest_address(self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::LabSpec;

    #[test]
    fn what_cannot_be_built_is_refused_with_the_reason() {
        let refused = |spec: LabSpec| spec.check().map_err(|error| error.to_string()).expect_err("must be refused");
        assert!(LabSpec::new("fine", 3, 6).check().is_ok());
        assert!(refused(LabSpec::new("no/slash", 1, 1)).contains("letters, digits and dashes"));
        assert!(refused(LabSpec::new("empty", 0, 1)).contains("1 to 16 hosts"));
        assert!(refused(LabSpec::new("many", 1, 65)).contains("at most 64 guests"));
        assert!(refused(LabSpec::new("here", 1, 1).in_dir("relative")).contains("absolute"));
        let mut twins = LabSpec::new("twins", 1, 2);
        twins.guests[1].name = twins.guests[0].name.clone();
        assert!(refused(twins).contains("web-1"));
    }
}
