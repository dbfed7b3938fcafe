//! What is said on the terminal: lines with the time since the beginning.

use std::{
    io::Write,
    time::{Duration, Instant},
};

/// Says things, and when.
#[derive(Debug, Clone, Copy)]
pub struct Talk {
    began: Instant,
    aside: bool,
}

impl Talk {
    /// To standard output.
    pub fn aloud() -> Talk {
        Talk { began: Instant::now(), aside: false }
    }

    /// To standard error, for programs whose output is data.
    pub fn aside() -> Talk {
        Talk { began: Instant::now(), aside: true }
    }

    /// A line with the time.
    pub fn say(&self, text: &str) {
        let passed = self.began.elapsed().as_secs();
        self.raw(&format!("{:>2}:{:02}  {text}\n", passed / 60, passed % 60));
    }

    /// A line below the last one.
    pub fn more(&self, text: &str) {
        self.raw(&format!("       {text}\n"));
    }

    /// Text as it is.
    pub fn raw(&self, text: &str) {
        // A reader that went away is no reason to leave a lab standing.
        let _ = match self.aside {
            true => std::io::stderr().lock().write_all(text.as_bytes()),
            false => std::io::stdout().lock().write_all(text.as_bytes()),
        };
    }

    /// How long it has gone on.
    pub fn passed(&self) -> Duration {
        self.began.elapsed()
    }
}

/// A length of time as people read it here: `0.31 s`, `15.2 s`.
pub fn seconds(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    if seconds < 10.0 { format!("{seconds:.2} s") } else { format!("{seconds:.1} s") }
}
