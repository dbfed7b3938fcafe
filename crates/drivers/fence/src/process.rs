//! One child process with input, a deadline and bounded output. It leads its own process group, so that whatever it starts
//! (ssh, ipmitool, telnet) goes with it. The controller runs its operator's programs in the same way.
//!
//! Past the deadline the group gets SIGTERM (an agent may log out of its BMC, whose sessions are few), shortly after that
//! SIGKILL. A dropped future kills the group at once.

use std::collections::VecDeque;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use mainstay_model::{
    Secret,
    spec::fencing::{KILL_GRACE, TERM_GRACE},
};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

/// What is kept of stdout, where metadata (up to 20 KiB) and lists of targets stand.
const STDOUT_BYTES: usize = 256 * 1024;
/// What is kept of stderr: the end, where the reason stands.
const STDERR_BYTES: usize = 16 * 1024;
/// For the pipes to drain after the agent has ended; a daemon it left behind may hold them open for ever.
const PIPE_GRACE: Duration = Duration::from_millis(200);

/// How the process ended, and the end of what it said.
#[derive(Debug)]
pub struct Ended {
    /// None if it had to be killed at the deadline.
    pub status: Option<ExitStatus>,
    /// The end of its standard output.
    pub stdout: String,
    /// The end of its standard error.
    pub stderr: String,
}

/// Runs a program with `input` on stdin.
///
/// # Errors
/// If it could not be started, or the system does not say how it ended.
pub async fn run(mut command: Command, input: Secret, deadline: Duration) -> io::Result<Ended> {
    let mut child =
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
    let (mut stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (Tail::of(STDOUT_BYTES), Tail::of(STDERR_BYTES));

    let exited = timeout(deadline, async {
        let talk = async {
            let feed = async {
                if let Some(mut pipe) = stdin.take() {
                    // An agent that ends without reading its input closes the pipe: its exit code tells the story.
                    let _ = pipe.write_all(input.expose().as_bytes()).await;
                }
            };
            tokio::join!(feed, out.fill(stdout), err.fill(stderr));
        };
        tokio::pin!(talk);
        tokio::select! {
            status = child.wait() => {
                let _ = timeout(PIPE_GRACE, &mut talk).await;
                status
            }
            () = &mut talk => child.wait().await,
        }
    })
    .await;

    let status = match exited {
        Ok(status) => Some(status?),
        Err(_) => {
            group.signal(Signal::TERM);
            let _ = timeout(TERM_GRACE.as_duration(), child.wait()).await;
            group.signal(Signal::KILL);
            // A process stuck in the kernel is left behind rather than waited for.
            let _ = timeout(KILL_GRACE.as_duration(), child.wait()).await;
            None
        }
    };
    group.0 = None;
    Ok(Ended { status, stdout: out.into_text(), stderr: err.into_text() })
}

/// A process group that is killed when forgotten.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.0 {
            // Fails only if none of the group is left.
            let _ = kill_process_group(leader, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// The last bytes of a stream.
struct Tail {
    room: usize,
    kept: VecDeque<u8>,
    cut: bool,
}

impl Tail {
    fn of(room: usize) -> Self {
        Self { room, kept: VecDeque::new(), cut: false }
    }

    async fn fill(&mut self, pipe: Option<impl AsyncRead + Unpin>) {
        let Some(mut pipe) = pipe else { return };
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
            self.kept.extend(&chunk[..count]);
            let excess = self.kept.len().saturating_sub(self.room);
            self.cut |= excess > 0;
            self.kept.drain(..excess);
        }
    }

    /// Whole lines only: the rest of a cut line could be the rest of a password, which redaction would not know again.
    fn into_text(self) -> String {
        let text = String::from_utf8_lossy(&Vec::from(self.kept)).into_owned();
        if !self.cut {
            return text;
        }
        text.split_once('\n').map(|(_, whole)| whole.to_owned()).unwrap_or_default()
    }
}
