//! A lab with a controller in it, and the waits that measurements are made of.

use crate::{
    controller::Controller,
    error::{Error, Result},
    talk::{Talk, seconds},
};
use mainstay_lab::{Heartbeat, Lab, LabSpec, PowerRunner};
use mainstay_model::Span;
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};
use tokio::time::sleep;

/// Between two looks at the process table: finer than the hundredth of a second in which it counts.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A dozen heartbeats: enough to know the rhythm of a host.
const RHYTHM: Span = Span::secs(6);
const LEARNED_WITHIN: Duration = Duration::from_secs(60);
/// The first points are spread over half a minute.
const PROTECTED_WITHIN: Duration = Duration::from_secs(120);

/// A lab and the program that runs in it.
#[derive(Debug)]
pub struct Stage {
    /// The lab.
    pub lab: Lab,
    /// The product's binary.
    pub mainstay: PathBuf,
}

/// A guest that was started again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restarted {
    /// On which host.
    pub host: String,
    /// From the fault until the new QEMU process began.
    pub started: Duration,
    /// From the fault until the guest answered.
    pub answered: Duration,
    /// Counter steps known to be on disk before, and gone afterwards.
    pub lost_writes: u64,
}

impl Stage {
    /// Builds the lab. Its power controller lives as long as the stage.
    ///
    /// # Errors
    /// Those of the lab, and a missing `mainstay` binary.
    pub async fn build(mainstay: &Path, spec: LabSpec, talk: Talk) -> Result<Stage> {
        if !mainstay.exists() {
            let text = format!("{} is not there; build it: cargo build -p mainstay-cli", mainstay.display());
            return Err(Error::Wrong(text));
        }
        let began = Instant::now();
        let (hosts, guests) = (spec.hosts, spec.guests.len());
        talk.say(&format!("building a cluster of {hosts} hosts and {guests} guests on this machine …"));
        let lab = Lab::up(spec, PowerRunner::Task, |_| ()).await?;
        talk.more(&format!("its hosts run libvirtd, its guests count on their disks; {}", seconds(began.elapsed())));
        Ok(Stage { lab, mainstay: mainstay.to_owned() })
    }

    /// Starts a controller with the lab's own configuration, and waits until it hears every host and guest and has learned
    /// how regularly the hosts answer.
    ///
    /// # Errors
    /// If the controller does not come up, or does not hear all of them.
    pub async fn watched(&self) -> Result<Controller> {
        let mut controller = Controller::up(&self.mainstay, &self.lab, &self.lab.mainstay_toml()).await?;
        controller
            .wait("hearing every host and guest", LEARNED_WITHIN, |view| {
                let hosts =
                    view.hosts.iter().all(|host| host.health == "online" && view.at.since(host.since) >= RHYTHM);
                let heard = view.workloads.iter().filter(|vm| vm.health == "running" && vm.answers == Some(true));
                (hosts && heard.count() == self.lab.guest_names().len()).then_some(())
            })
            .await?;
        Ok(controller)
    }

    /// As [`Stage::watched`], and waits until a recovery point of each guest was taken.
    ///
    /// # Errors
    /// If not every guest is protected within two minutes.
    pub async fn protected(&self) -> Result<Controller> {
        let mut controller = self.watched().await?;
        controller
            .wait("a recovery point of every guest", PROTECTED_WITHIN, |view| {
                view.workloads.iter().all(|vm| vm.last_point.is_some()).then_some(())
            })
            .await?;
        Ok(controller)
    }

    /// Does harm to a guest and waits until it runs and answers again as another boot.
    ///
    /// # Errors
    /// If it does not within `limit`.
    pub async fn restarted_after<F>(&self, guest: &str, limit: Duration, harm: impl FnOnce() -> F) -> Result<Restarted>
    where
        F: Future<Output = Result<()>>,
    {
        let before = self.lab.wait_guest_answers(guest, limit).await?;
        let at = SystemTime::now();
        harm().await?;
        self.back_since(guest, &before, at, limit).await
    }

    /// Waits until a guest runs as a process that began after `at`, and answers.
    ///
    /// # Errors
    /// If it does not within `limit`.
    pub async fn back_since(
        &self,
        guest: &str,
        before: &Heartbeat,
        at: SystemTime,
        limit: Duration,
    ) -> Result<Restarted> {
        let started = self.process_since(guest, at, limit).await?;
        let after = self.lab.wait_guest_rebooted(guest, &before.boot_id, limit).await?;
        let answered = at.elapsed().unwrap_or_default();
        let host = self.lab.where_runs(guest)?.join(" and ");
        Ok(Restarted { host, started, answered, lost_writes: before.disk_counter.saturating_sub(after.disk_counter) })
    }

    /// Waits until a guest runs as a process that began after `at`; tells how long after.
    ///
    /// # Errors
    /// If it does not within `limit`.
    pub async fn process_since(&self, guest: &str, at: SystemTime, limit: Duration) -> Result<Duration> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            let started = self.lab.qemu_started_at(guest)?.and_then(|started| started.duration_since(at).ok());
            if let Some(started) = started {
                return Ok(started);
            }
            sleep(LOOK_EVERY).await;
        }
        Err(Error::Wrong(format!("{guest} was not started again within {}", seconds(limit))))
    }

    /// The guests that run on a host now.
    ///
    /// # Errors
    /// Those of the lab.
    pub fn guests_on(&self, host: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for guest in self.lab.guest_names() {
            if self.lab.where_runs(&guest)?.iter().any(|runs| runs == host) {
                found.push(guest);
            }
        }
        Ok(found)
    }

    /// When, after `at`, the power controller first said that a host is off: because it was just switched off, or was off.
    ///
    /// # Errors
    /// Those of the lab.
    pub fn proved_off_since(&self, host: &str, at: SystemTime) -> Result<Option<Duration>> {
        let history = self.lab.power_history()?;
        let proofs = history.iter().filter(|done| done.host == host && is_proof(&done.action, done.code));
        Ok(proofs.filter_map(|done| done.at.duration_since(at).ok()).min())
    }

    /// True if a host's power was switched off after `at`.
    ///
    /// # Errors
    /// Those of the lab.
    pub fn switched_off_since(&self, host: &str, at: SystemTime) -> Result<bool> {
        let history = self.lab.power_history()?;
        Ok(history.iter().any(|done| done.host == host && matches!(&*done.action, "off" | "reboot") && done.at > at))
    }
}

/// A fence agent's exit code is 0 for done, and 2 for `status` of a host that is off.
fn is_proof(action: &str, code: u8) -> bool {
    matches!((action, code), ("off", 0) | ("status", 2))
}
