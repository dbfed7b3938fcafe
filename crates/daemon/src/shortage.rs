//! What this machine lacks: open files, memory, local ports. It is our trouble, with an alarm of its own (MS1007), and tells
//! nothing of the host, guest or device that was to be asked.
//!
//! ```text
//!   an error at a sensor or executor ──▶ noted ──▶ alarm ──▶ none noted for a while, and a file can be opened ──▶ cleared
//! ```
//! The limits are the process's, and so is this: not a part of any sensor.

use crate::{pump::with_causes, supervise::Supervisor};
use mainstay_model::{Alarm, Code, Severity, Subject};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    error::Error,
    fs::File,
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// It is looked for so often, whether or not something met it.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The alarm stands so long after the last time.
const REMEMBERED: Duration = Duration::from_secs(30);
/// A program that could not be started is tried again after this.
const START_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// What a host takes: three connections of its sensors and some that wait for orders. With ssh, three pipes each.
const FILES_PER_HOST: u64 = 12;
/// What the API, the store, agents and hooks take.
const FILES_BESIDES: u64 = 512;

/// When it was met last, and the words.
static LAST: Mutex<Option<(Instant, String)>> = Mutex::new(None);

/// True if this machine lacked something for what was tried. It is noted then.
pub(crate) fn is_ours(error: &(dyn Error + 'static)) -> bool {
    let is_ours = mainstay_libvirt::is_shortage(error);
    if is_ours {
        note(with_causes(error));
    }
    is_ours
}

/// This machine lacked something for what was tried.
pub(crate) fn note(why: String) {
    *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), why));
}

/// After a program could not be started: waits a moment and says true, if that was for want of something here and there is time
/// for another try. `fork` says EAGAIN where there are no processes left.
pub(crate) async fn may_pass(error: &io::Error, until: Instant) -> bool {
    if error.kind() == io::ErrorKind::WouldBlock {
        note(error.to_string());
    } else if !is_ours(error) {
        return false;
    }
    let again = Instant::now() + START_AGAIN_AFTER;
    if again < until {
        sleep_until(again).await;
    }
    again < until
}

/// Raises the limit of open files as far as it goes, and says if that is too little for so many hosts.
pub(crate) fn raise_file_limit(hosts: usize) -> Option<String> {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, files = limit.current, "the limit of open files stays as it is");
    }
    let needed = FILES_PER_HOST * hosts as u64 + FILES_BESIDES;
    let may = getrlimit(Resource::Nofile).current?;
    (may < needed).then(|| {
        format!(
            "the controller may open {may} files; {hosts} hosts can take {needed}: raise the limit (LimitNOFILE= of the \
             systemd unit, `ulimit -n`)"
        )
    })
}

/// Raises and clears the alarm, for ever.
pub(crate) async fn watch(supervisor: Supervisor) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = File::open("/dev/null") {
            is_ours(&error);
        }
        let met = LAST.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let now = supervisor.clock.now();
        let event = match met.filter(|(at, _)| at.elapsed() < REMEMBERED) {
            Some((_, why)) => supervisor.troubles.raise(Alarm {
                code: Code::OUT_OF_FILES,
                subject: Subject::Cluster,
                severity: Severity::Red,
                text: format!("the controller's machine lacks files, memory or ports: {why}"),
                advice: "nothing is taken for dead because of it; make room: mainstay explain MS1007".to_owned(),
                raised_at: now,
                acknowledged: None,
            }),
            None => supervisor.troubles.clear(&Subject::Cluster, Code::OUT_OF_FILES, now),
        };
        supervisor.tell(event).await;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::process::Command;

    /// Set in the process that has no files.
    const STARVED: &str = "MAINSTAY_TEST_STARVED";

    /// What comes of the work in a process that has no file left until the work has met that. The limit is the whole process's, so the
    /// test of this name runs itself again, alone; `None` outside.
    pub(crate) async fn starved<T>(test: &str, work: impl Future<Output = T>) -> Option<T> {
        if std::env::var_os(STARVED).is_none() {
            let mut alone = Command::new(std::env::current_exe().expect("this test binary"));
            let ended = alone.args(["--exact", test, "--nocapture"]).env(STARVED, "1").output().expect("it runs");
            let said = String::from_utf8_lossy(&ended.stdout);
            assert!(
                ended.status.success() && said.contains("1 passed"),
                "{said}{}",
                String::from_utf8_lossy(&ended.stderr)
            );
            return None;
        }
        setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..getrlimit(Resource::Nofile) })
            .expect("a lower limit");
        let mut taken = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            taken.push(file);
        }
        let met = async {
            while LAST.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
                tokio::task::yield_now().await;
            }
            drop(taken);
        };
        let mut work = std::pin::pin!(work);
        tokio::select! {
            biased;
            _ = &mut work => panic!("it ended before there were files again"),
            () = met => {}
        }
        Some(work.await)
    }
}
