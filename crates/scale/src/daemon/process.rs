//! The controller as a process: started, watched from outside, asked as its users ask it, stopped.

use super::{
    api::{self, Status},
    stage::Stage,
};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Ticks a second in `/proc/PID/stat`; Linux has no other.
const TICKS: u64 = 100;
/// The status is asked for so often, as somebody who keeps it on a screen does.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// A running controller; killed when dropped.
pub struct Controller {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

/// What it has used so far.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// CPU time outside of the kernel.
    pub user: Duration,
    /// CPU time within.
    pub system: Duration,
    /// Bytes in RAM.
    pub resident: u64,
    /// Open files, sockets included.
    pub files: u64,
}

/// A step of the engine that ordered something, as the controller's log has it.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// How many orders.
    pub orders: usize,
    /// How long it took, in CPU time.
    pub took: Duration,
}

impl Usage {
    /// CPU time in all.
    pub fn cpu(&self) -> Duration {
        self.user + self.system
    }
}

impl Controller {
    /// Starts it with a configuration.
    pub fn start(mainstay: &Path, stage: &Stage) -> io::Result<Controller> {
        let log = stage.log();
        let child = Command::new(mainstay)
            .args(["up", "--config"])
            .arg(stage.config())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()?;
        Ok(Controller { child, socket: stage.socket(), log })
    }

    /// Asks for its status until it is as wanted.
    pub fn wait_for(&mut self, limit: Duration, wanted: impl Fn(&Status) -> bool) -> io::Result<()> {
        let until = Instant::now() + limit;
        let mut last = String::new();
        while Instant::now() < until {
            self.lives()?;
            match api::status(&self.socket) {
                Ok(status) if wanted(&status) => return Ok(()),
                Ok(status) => last = format!("{status:?}"),
                Err(error) => last = error.to_string(),
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let end: Vec<&str> = log.lines().rev().take(20).collect();
        Err(io::Error::other(format!("not after {limit:?}; at last {last}; its log ends:\n{}", end.join("\n"))))
    }

    /// Asks for its status; how long the answer takes.
    pub fn ask(&mut self) -> io::Result<Duration> {
        self.lives()?;
        let began = Instant::now();
        api::status(&self.socket).map(|_| began.elapsed())
    }

    /// Lets time pass, asking for its status now and then.
    pub fn watch(&mut self, time: Duration) -> io::Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            let next = Instant::now() + ASK_EVERY;
            self.ask()?;
            std::thread::sleep(next.min(until).saturating_duration_since(Instant::now()));
        }
        Ok(())
    }

    fn lives(&mut self) -> io::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                Err(io::Error::other(format!("the controller ended with {status}:\n{log}")))
            }
        }
    }

    /// What it has used so far.
    pub fn usage(&self) -> io::Result<Usage> {
        let proc = PathBuf::from(format!("/proc/{}", self.child.id()));
        let stat = fs::read_to_string(proc.join("stat"))?;
        // After the name, which may hold anything: state is the first field, utime and stime the 12th and 13th.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |field: usize| fields.get(field).and_then(|ticks| ticks.parse::<u64>().ok()).unwrap_or_default();
        let time = |field| Duration::from_millis(ticks(field) * 1_000 / TICKS);
        let status = fs::read_to_string(proc.join("status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        let kib: u64 = resident.trim().trim_end_matches(" kB").parse().map_err(io::Error::other)?;
        let files = fs::read_dir(proc.join("fd"))?.count() as u64;
        Ok(Usage { user: time(11), system: time(12), resident: kib * 1_024, files })
    }

    /// How long its log is now.
    pub fn log_length(&self) -> io::Result<usize> {
        fs::read(&self.log).map(|log| log.len())
    }

    /// Steps that ordered something, logged after the log was so long.
    pub fn steps_since(&self, length: usize) -> io::Result<Vec<Step>> {
        let log = fs::read_to_string(&self.log)?;
        Ok(log.get(length..).unwrap_or_default().lines().filter_map(step).collect())
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(mut self) -> io::Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.child.wait().map(drop)
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `… DEBUG step inputs=1 orders=100 events=3 cpu_us=1234`
fn step(line: &str) -> Option<Step> {
    let value = |name: &str| line.split_once(name)?.1.split_whitespace().next()?.parse::<u64>().ok();
    Some(Step { orders: value(" orders=")? as usize, took: Duration::from_micros(value(" cpu_us=")?) })
}
