//! What is really going on in a lab, from the machine's own process table: who runs where, and since when.
//!
//! This is the referee: it asks neither libvirt nor Mainstay.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::command::poll_until;
use crate::error::{LabError, Result};
use crate::host;
use crate::lab::Lab;

/// Linux counts process start times in hundredths of a second, whatever the kernel's own tick is.
const TICK: Duration = Duration::from_millis(10);

/// QEMU's process number as its host counts.
pub(crate) fn qemu_pid_file(guest: &str) -> String {
    format!("/run/libvirt/qemu/{guest}.pid")
}

impl Lab {
    /// Whether the host's power is on.
    pub fn is_on(&self, host: &str) -> Result<bool> {
        self.spec().host_number(host)?;
        Ok(host::init_process(self.layout(), host).is_some())
    }

    /// The hosts on which a QEMU process of this guest lives. More than one, and it is not a migration: split brain.
    pub fn where_runs(&self, guest: &str) -> Result<Vec<String>> {
        self.spec().guest(guest)?;
        Ok(self.host_names().into_iter().filter(|host| self.qemu_start_ticks(guest, host).is_some()).collect())
    }

    /// The one host on which the guest runs.
    pub(crate) fn host_of(&self, guest: &str) -> Result<String> {
        self.where_runs(guest)?.pop().ok_or_else(|| LabError::GuestOff { guest: guest.to_owned() })
    }

    /// When the QEMU process of this guest was started, to a hundredth of a second. `None`: it runs nowhere.
    pub fn qemu_started_at(&self, guest: &str) -> Result<Option<SystemTime>> {
        self.spec().guest(guest)?;
        let ticks = self.host_names().iter().filter_map(|host| self.qemu_start_ticks(guest, host)).max();
        Ok(ticks.and_then(|ticks| {
            let uptime = fs::read_to_string("/proc/uptime").ok()?;
            let up = Duration::from_secs_f64(uptime.split(' ').next()?.parse().ok()?);
            Some(SystemTime::now() - up.saturating_sub(TICK * ticks))
        }))
    }

    /// Waits until exactly these hosts run the guest; none for "nowhere".
    pub async fn wait_runs_on(&self, guest: &str, hosts: &[&str], limit: Duration) -> Result<()> {
        self.spec().guest(guest)?;
        poll_until(format!("guest {guest} on {hosts:?}"), "", limit, || async {
            self.where_runs(guest).ok().filter(|now| now == hosts).map(|_| ())
        })
        .await
    }

    /// The process's start, if it lives: the file alone proves nothing, since it outlives a killed QEMU.
    fn qemu_start_ticks(&self, guest: &str, host: &str) -> Option<u32> {
        let init = host::init_process(self.layout(), host)?;
        let number = fs::read_to_string(host::path_inside(init, &qemu_pid_file(guest))).ok()?;
        let stat = fs::read_to_string(host::path_inside(init, &format!("/proc/{}/stat", number.trim()))).ok()?;
        start_ticks_of_living_qemu(&stat)
    }

    /// A file of the host's own disk, for reading logs.
    pub fn host_file(&self, host: &str, path: impl AsRef<Path>) -> std::path::PathBuf {
        self.layout().host_dir(host).join("root").join(path)
    }
}

/// Field 22 of `/proc/PID/stat`, if that process is a QEMU and no zombie.
fn start_ticks_of_living_qemu(stat: &str) -> Option<u32> {
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let living = name.starts_with("qemu-system") && !matches!(fields.next()?, "Z" | "X");
    // The state is field 3, so 18 more lie before field 22.
    living.then(|| fields.nth(18)?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::start_ticks_of_living_qemu;

    #[test]
    fn a_zombie_or_another_program_is_no_running_guest() {
        let stat =
            |name: &str, state: &str| format!("7 ({name}) {state} 1 7 7 0 -1 0 1 0 0 0 9 9 0 0 20 0 4 0 4711 1 1");
        assert_eq!(start_ticks_of_living_qemu(&stat("qemu-system-x86", "S")), Some(4711));
        assert_eq!(start_ticks_of_living_qemu(&stat("qemu-system-x86", "Z")), None);
        assert_eq!(start_ticks_of_living_qemu(&stat("sleep (x)", "S")), None);
    }
}
