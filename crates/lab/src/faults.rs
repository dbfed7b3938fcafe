//! Everything that can be broken in a lab, each with its way back. All of it is done from outside and unannounced, as
//! real faults are: no daemon is asked first.

use std::fs;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};

use crate::cgroup::Cgroups;
use crate::command::poll_until;
use crate::error::{AtPath, LabError, Result};
use crate::guest::{disk_path, faulty_switch, small_filesystem};
use crate::lab::Lab;
use crate::power::{self, PowerFault};
use crate::probe::{Heartbeat, heartbeat_address};
use crate::spec::{DiskKind, GuestSpec};
use crate::truth::qemu_pid_file;
use crate::{host, network};

const LIBVIRTD_PID_FILE: &str = "/run/libvirtd.pid";
/// More new data than is left on a full small disk.
const DIRTY_KIB_WHEN_FULL: u32 = 4096;

/// Faults of hosts.
impl Lab {
    /// Cuts the power: every process of the host ends at once, without a word to anyone.
    pub async fn power_cut(&self, host: &str) -> Result<()> {
        self.spec().host_number(host)?;
        host::power_off(self.layout(), host).await
    }

    /// Restores the power, plugs the cable in, and waits until libvirtd answers.
    pub async fn power_on(&self, host: &str) -> Result<()> {
        self.spec().host_number(host)?;
        host::power_on(self.layout(), host).await?;
        host::wait_for_libvirt(self.layout(), host).await
    }

    /// Makes the host's power device fail, or with `None` work again.
    pub fn power_fault(&self, host: &str, fault: Option<PowerFault>) -> Result<()> {
        self.spec().host_number(host)?;
        power::set_fault(self.layout(), host, fault)
    }

    /// Pulls the network cable: the host and its guests live on, unseen.
    pub async fn partition(&self, host: &str) -> Result<()> {
        self.spec().host_number(host)?;
        network::set_cable(self.layout(), host, false).await
    }

    /// Plugs the network cable in again.
    pub async fn heal(&self, host: &str) -> Result<()> {
        self.spec().host_number(host)?;
        network::set_cable(self.layout(), host, true).await
    }

    /// Stops every process of the host, guests included, while its kernel still answers pings.
    pub async fn freeze(&self, host: &str) -> Result<()> {
        self.spec().host_number(host)?;
        Cgroups::of_lab(&self.layout().name)?.freeze(host, true).await
    }

    /// Lets a frozen host go on, as if nothing had been.
    pub async fn thaw(&self, host: &str) -> Result<()> {
        self.spec().host_number(host)?;
        Cgroups::of_lab(&self.layout().name)?.freeze(host, false).await
    }

    /// Kills the host's libvirtd, and waits until its process has ended (its lock on the file of its number goes
    /// with it: a start before that is refused); guests run on.
    pub async fn libvirtd_kill(&self, host: &str) -> Result<()> {
        self.signal_libvirtd(host, "-KILL").await?;
        // Its first thread can be a zombie while others still hold its files.
        let ended = r#"p=/proc/$(cat "$0")
            while grep -qs '^State:.[^Z]' "$p/status" || [ "$(ls "$p/task" 2>/dev/null | wc -l)" -gt 1 ]; do
                sleep 0.02
            done"#;
        host::run_inside(self.layout(), host, &["sh", "-c", ended, LIBVIRTD_PID_FILE]).await.map(|_| ())
    }

    /// Stops the host's libvirtd (SIGSTOP): it takes connections and says nothing.
    pub async fn libvirtd_stop(&self, host: &str) -> Result<()> {
        self.signal_libvirtd(host, "-STOP").await
    }

    /// Lets a stopped libvirtd go on.
    pub async fn libvirtd_cont(&self, host: &str) -> Result<()> {
        self.signal_libvirtd(host, "-CONT").await
    }

    /// Starts libvirtd on a host where it was killed, and waits until it answers.
    pub async fn libvirtd_start(&self, host: &str) -> Result<()> {
        host::run_inside(self.layout(), host, &["libvirtd", "--daemon", "--listen"]).await?;
        host::wait_for_libvirt(self.layout(), host).await
    }

    async fn signal_libvirtd(&self, host: &str, signal: &str) -> Result<()> {
        self.spec().host_number(host)?;
        host::signal_inside(self.layout(), host, signal, LIBVIRTD_PID_FILE).await
    }
}

/// Faults of guests.
impl Lab {
    /// Kills the guest's QEMU (SIGKILL). Returns the host on which it ran.
    pub async fn guest_kill(&self, guest: &str) -> Result<String> {
        self.signal_qemu(guest, "-KILL").await
    }

    /// Stops the guest's QEMU (SIGSTOP): libvirt goes on saying that it runs. Returns the host on which it runs.
    pub async fn guest_stop(&self, guest: &str) -> Result<String> {
        self.signal_qemu(guest, "-STOP").await
    }

    /// Lets a stopped QEMU go on. Returns the host on which it runs.
    pub async fn guest_cont(&self, guest: &str) -> Result<String> {
        self.signal_qemu(guest, "-CONT").await
    }

    /// The guest's kernel dies without a word: no ping, no disk activity, no panic event; QEMU runs on.
    pub async fn guest_hang(&self, guest: &str) -> Result<()> {
        self.tell_guest(guest, "hang").await.map(|_| ())
    }

    /// The guest's counter on disk goes on from `number`, so that states before and after can be told apart. Returns when
    /// that is written.
    pub async fn guest_count_from(&self, guest: &str, number: u64, limit: Duration) -> Result<Heartbeat> {
        self.tell_guest(guest, &format!("count {number}")).await?;
        let address = heartbeat_address(self, guest)?;
        poll_until(format!("guest {guest} counting from {number}"), "", limit, || async {
            // The write under way when it was told may still have counted on from the old number.
            match self.ask(address, "?").await.ok().flatten() {
                // The first count may be that write's too, with the old number on disk; the second one is not.
                Some(heartbeat) if heartbeat.disk_counter > number + 1 => Some(heartbeat),
                Some(heartbeat) if heartbeat.disk_counter > number => None,
                Some(_) => {
                    let _ = self.tell_guest(guest, &format!("count {number}")).await;
                    None
                }
                None => None,
            }
        })
        .await
    }

    /// The guest's kernel panics, and the panic device tells QEMU.
    pub async fn guest_panic(&self, guest: &str) -> Result<()> {
        self.tell_guest(guest, "panic").await.map(|_| ())
    }

    /// The guest's owner shuts it down from inside.
    pub async fn guest_poweroff(&self, guest: &str) -> Result<()> {
        self.tell_guest(guest, "poweroff").await.map(|_| ())
    }

    /// The guest writes this much new data to its disk.
    pub async fn guest_dirty(&self, guest: &str, kib: u32) -> Result<()> {
        self.tell_guest(guest, &format!("dirty {kib}")).await.map(|_| ())
    }

    /// The guest's disk answers every request with an I/O error; QEMU pauses the guest. Needs [`DiskKind::Faulty`].
    pub async fn guest_io_error(&self, guest: &str) -> Result<()> {
        let spec = self.guest_with(guest, DiskKind::Faulty, "give I/O errors")?;
        let switch = faulty_switch(self.layout(), spec);
        fs::write(&switch, "").at("writing", switch)
    }

    /// The guest's disk works again. The guest stays paused until someone resumes or restarts it.
    pub async fn guest_io_heal(&self, guest: &str) -> Result<()> {
        let spec = self.guest_with(guest, DiskKind::Faulty, "give I/O errors")?;
        let switch = faulty_switch(self.layout(), spec);
        fs::remove_file(&switch).at("removing", switch)
    }

    /// Fills the file system that the guest's disk is on, and lets the guest write: QEMU pauses it for lack of space.
    /// Needs [`DiskKind::Small`].
    pub async fn disk_full(&self, guest: &str) -> Result<()> {
        self.guest_with(guest, DiskKind::Small, "be filled")?;
        let path = self.filler();
        let file = fs::File::create(&path).at("creating", &path)?;
        // Piece by piece: the last bit of space is not to be had in one.
        let mut offset = 0;
        for piece in [1 << 20, 4 << 10] {
            while fallocate(&file, FallocateFlags::empty(), offset, piece).is_ok() {
                offset += piece;
            }
        }
        self.guest_dirty(guest, DIRTY_KIB_WHEN_FULL).await
    }

    /// Makes room again. The guest stays paused until someone resumes or restarts it.
    pub async fn disk_free(&self, guest: &str) -> Result<()> {
        self.guest_with(guest, DiskKind::Small, "be filled")?;
        fs::remove_file(self.filler()).at("removing", self.filler())
    }

    fn filler(&self) -> std::path::PathBuf {
        small_filesystem(self.layout()).join("filler")
    }

    fn guest_with(&self, guest: &str, kind: DiskKind, fault: &'static str) -> Result<&GuestSpec> {
        let spec = self.spec().guest(guest)?;
        match spec.disk == kind {
            true => Ok(spec),
            false => Err(LabError::WrongDisk { guest: guest.to_owned(), fault }),
        }
    }

    /// The file that a guest's disk was first put into.
    pub fn guest_disk(&self, guest: &str) -> Result<std::path::PathBuf> {
        Ok(disk_path(self.layout(), self.spec().guest(guest)?))
    }

    async fn signal_qemu(&self, guest: &str, signal: &str) -> Result<String> {
        let host = self.host_of(guest)?;
        host::signal_inside(self.layout(), &host, signal, &qemu_pid_file(guest)).await?;
        Ok(host)
    }

    /// Waits until the guest's QEMU process is gone from every host.
    pub async fn wait_guest_gone(&self, guest: &str, limit: Duration) -> Result<()> {
        self.wait_runs_on(guest, &[], limit).await
    }
}
