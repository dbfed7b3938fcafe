//! Control groups of a lab: one for each host (to freeze it at once) and one for each helper that runs beside them.
//! They also are the register of the lab's processes: whatever became of its creator, all of it is found here.
//!
//! Works with the version 1 freezer and with version 2, whichever the machine has. No limits are set.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::command::poll_until;
use crate::error::{AtPath, LabError, Result};

/// The groups of one lab.
#[derive(Debug, Clone)]
pub(crate) struct Cgroups {
    root: PathBuf,
    version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Cgroups {
    /// Finds the machine's hierarchy.
    pub(crate) fn of_lab(name: &str) -> Result<Self> {
        let base = Path::new("/sys/fs/cgroup");
        let (hierarchy, version) = if base.join("cgroup.controllers").exists() {
            (base.to_path_buf(), Version::Two)
        } else if base.join("freezer").exists() {
            (base.join("freezer"), Version::One)
        } else {
            return Err(LabError::Missing { what: "a mounted cgroup hierarchy (version 2, or 1 with freezer)".into() });
        };
        Ok(Self { root: hierarchy.join("mainstay-lab").join(name), version })
    }

    /// The group of one member, made if need be.
    pub(crate) fn make(&self, member: &str) -> Result<PathBuf> {
        let path = self.root.join(member);
        std::fs::create_dir_all(&path).at("creating the control group", &path)?;
        Ok(path)
    }

    /// Stops or continues every process of a member at once. The kernel's half (ping, ARP, TCP acknowledgements) goes on.
    pub(crate) async fn freeze(&self, member: &str, frozen: bool) -> Result<()> {
        let (file, value, shown) = match (self.version, frozen) {
            (Version::One, true) => ("freezer.state", "FROZEN", ("freezer.state", "FROZEN")),
            (Version::One, false) => ("freezer.state", "THAWED", ("freezer.state", "THAWED")),
            (Version::Two, true) => ("cgroup.freeze", "1", ("cgroup.events", "frozen 1")),
            (Version::Two, false) => ("cgroup.freeze", "0", ("cgroup.events", "frozen 0")),
        };
        let path = self.root.join(member);
        let what = format!("freezing or thawing {}", path.display());
        std::fs::write(path.join(file), value).at("writing", path.join(file))?;
        poll_until(what, "", Duration::from_secs(120), || async {
            std::fs::read_to_string(path.join(shown.0)).ok().filter(|text| text.contains(shown.1))
        })
        .await
        .map(|_| ())
    }

    /// Ends every process of a member. When this returns none of them runs, and their files and locks are released.
    pub(crate) async fn end(&self, member: &str) -> Result<()> {
        if !self.root.join(member).exists() {
            return Ok(());
        }
        let hint = format!("; look at the processes in {}", self.root.join(member).display());
        poll_until(format!("the end of {member}"), hint, Duration::from_secs(120), || async {
            let living = self.processes(member);
            for pid in &living {
                // A process that ended in between needs no signal; what was forked meanwhile is met in the next round.
                let _ = kill_process(*pid, Signal::KILL);
            }
            // In version 1 a frozen process dies only once it is thawed; with the signal waiting, it does so before it
            // runs another instruction of its own.
            self.freeze(member, false).await.ok()?;
            living.is_empty().then_some(())
        })
        .await
    }

    /// Ends every process of the lab and removes its groups.
    pub(crate) async fn destroy(&self) -> Result<()> {
        for member in self.members() {
            self.end(&member).await?;
            let path = self.root.join(member);
            std::fs::remove_dir(&path).at("removing", path)?;
        }
        match std::fs::remove_dir(&self.root) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at("removing", &self.root),
            _ => Ok(()),
        }
    }

    fn members(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.root) else { return Vec::new() };
        let directories = entries.flatten().filter(|entry| entry.path().is_dir());
        directories.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    fn processes(&self, member: &str) -> Vec<Pid> {
        let listed = std::fs::read_to_string(self.root.join(member).join("cgroup.procs")).unwrap_or_default();
        listed.lines().filter_map(|line| line.parse().ok().and_then(Pid::from_raw)).collect()
    }
}
