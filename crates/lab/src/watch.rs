//! A watcher of heartbeats: what the guests themselves went through, whatever libvirt or Mainstay say.
//!
//! A thread of its own asks every guest each 10 ms and keeps gaps, restarts and lost writes. It is the instrument that
//! the demo and the benchmarks read; its resolution is that of the asking.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::probe::{Heartbeat, heartbeat_address, udp_socket};

const INTERVAL: Duration = Duration::from_millis(10);
/// A lab that runs for days must not fill memory with its history.
const MAX_GAPS: usize = 1000;

/// A time during which a guest did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The last answer before it.
    pub since: SystemTime,
    /// Until the first answer after it.
    pub length: Duration,
    /// Whether the guest was another boot afterwards.
    pub restarted: bool,
    /// How many counter steps that had been seen on disk were gone afterwards: what was lost to a revert.
    pub lost_writes: u64,
}

/// What a watcher saw of one guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuestReport {
    /// Answers received.
    pub answers: u64,
    /// Silences longer than the watcher's threshold, oldest first, at most the first 1000.
    pub gaps: Vec<Gap>,
    /// How often the guest was seen to have been restarted.
    pub restarts: u64,
    /// Counter steps lost in all (see [`Gap::lost_writes`]).
    pub lost_writes: u64,
    /// The last answer.
    pub last: Option<Heartbeat>,
    /// When it came.
    pub last_at: Option<SystemTime>,
}

impl GuestReport {
    /// All silences together.
    pub fn downtime(&self) -> Duration {
        self.gaps.iter().map(|gap| gap.length).sum()
    }
}

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    reports: Arc<Mutex<BTreeMap<String, GuestReport>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Begins to watch all guests of a lab. Silences up to `threshold` are not worth a mention: an emulated guest on a
    /// busy machine now and then takes 100 ms or more.
    pub fn start(lab: &Lab, threshold: Duration) -> Result<Self> {
        let mut guests = BTreeMap::new();
        for guest in lab.guest_names() {
            guests.insert(heartbeat_address(lab, &guest)?, guest);
        }
        let socket = udp_socket(lab.controller_namespace())?;
        let reports = guests.values().map(|guest| (guest.clone(), GuestReport::default())).collect();
        let (reports, stop) = (Arc::new(Mutex::new(reports)), Arc::new(AtomicBool::new(false)));
        let watch = Watch { socket, guests, threshold, reports: reports.clone(), stop: stop.clone() };
        let thread = std::thread::Builder::new().name("lab-watcher".into()).spawn(move || watch.run());
        let thread = thread.map_err(|source| LabError::System { what: "starting the watcher".into(), source })?;
        Ok(Self { reports, stop, thread: Some(thread) })
    }

    /// What was seen so far, by guest.
    pub fn reports(&self) -> BTreeMap<String, GuestReport> {
        locked(&self.reports).clone()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A watcher that panicked has nothing more to tell.
            let _ = thread.join();
        }
    }
}

struct Watch {
    socket: UdpSocket,
    guests: BTreeMap<SocketAddr, String>,
    threshold: Duration,
    reports: Arc<Mutex<BTreeMap<String, GuestReport>>>,
    stop: Arc<AtomicBool>,
}

impl Watch {
    fn run(self) {
        let mut seen: BTreeMap<SocketAddr, Instant> = BTreeMap::new();
        while !self.stop.load(Ordering::Relaxed) {
            let round_ends = Instant::now() + INTERVAL;
            for address in self.guests.keys() {
                // Unreachable is what a guest on a dead host is.
                let _ = self.socket.send_to(b"?", address);
            }
            while let Some(left) = round_ends.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                if self.socket.set_read_timeout(Some(left)).is_err() {
                    return;
                }
                let mut datagram = [0; 256];
                let Ok((length, from)) = self.socket.recv_from(&mut datagram) else { continue };
                let known = self.guests.get(&from).zip(Heartbeat::parse(&datagram[..length]));
                if let Some((guest, heartbeat)) = known {
                    let now = Instant::now();
                    let silence = seen.insert(from, now).map(|before| now - before);
                    let mut reports = locked(&self.reports);
                    let report = reports.entry(guest.clone()).or_default();
                    report.take(heartbeat, silence.unwrap_or_default(), self.threshold);
                }
            }
        }
    }
}

impl GuestReport {
    /// Adds an answer that came after `silence`.
    fn take(&mut self, heartbeat: Heartbeat, silence: Duration, threshold: Duration) {
        let now = SystemTime::now();
        self.answers += 1;
        if let Some(last) = &self.last {
            let restarted = last.boot_id != heartbeat.boot_id;
            let lost_writes = last.disk_counter.saturating_sub(heartbeat.disk_counter);
            self.restarts += u64::from(restarted);
            self.lost_writes += lost_writes;
            if (silence > threshold || restarted || lost_writes > 0) && self.gaps.len() < MAX_GAPS {
                self.gaps.push(Gap { since: now - silence, length: silence, restarted, lost_writes });
            }
        }
        self.last = Some(heartbeat);
        self.last_at = Some(now);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each answer is taken in whole, so what a panicking thread left is still true.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::GuestReport;
    use crate::probe::Heartbeat;

    fn answer(boot: &str, disk_counter: u64) -> Heartbeat {
        let boot_id = boot.to_owned();
        Heartbeat { boot_id, memory_counter: 1, disk_counter, last_errno: 0, slowest_write_ms: 1 }
    }

    #[test]
    fn a_revert_shows_as_a_restart_with_lost_writes() {
        let (mut report, threshold) = (GuestReport::default(), Duration::from_millis(300));
        report.take(answer("a", 100), Duration::ZERO, threshold);
        report.take(answer("a", 101), Duration::from_millis(200), threshold);
        assert_eq!(report.downtime(), Duration::ZERO, "200 ms is within the threshold");
        report.take(answer("b", 61), Duration::from_secs(3), threshold);
        assert_eq!((report.restarts, report.lost_writes), (1, 40));
        assert_eq!(report.downtime(), Duration::from_secs(3));
    }
}
