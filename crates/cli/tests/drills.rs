//! A live drill that is ended early takes back what it broke; one that is killed is shown by the next look.

mod common;

use common::*;
use mainstay_daemon::Disaster;
use std::{
    process::{Child, Command as Process, Stdio},
    time::{Duration, Instant},
};

/// Far longer than a command takes, also on a loaded machine.
const WITHIN: Duration = Duration::from_secs(120);

fn cable(up: bool) -> Disaster {
    Disaster::Network { workload: "web-1".into(), up }
}

struct Drill {
    controller: Fixed,
    server: Server,
    process: Child,
}

impl Drill {
    /// A drill that has pulled the cable and watches.
    fn begun() -> Drill {
        let controller = Fixed::new(well());
        let server = Server::start(controller.clone());
        let mut process = Process::new(env!("CARGO_BIN_EXE_mainstay"));
        process.args(["drill", "--live", "cut-network", "web-1", "--yes", "--timeout", "1h"]);
        process.env("MAINSTAY_SOCKET", server.folder.path().join("api.sock")).env("HOME", server.folder.path());
        process.env_remove("XDG_STATE_HOME").stdout(Stdio::null()).stderr(Stdio::null());
        let drill = Drill { controller, process: process.spawn().expect("the binary is there"), server };
        let began = Instant::now();
        while drill.struck().is_empty() {
            assert!(began.elapsed() < WITHIN, "the cable is not pulled");
            std::thread::sleep(Duration::from_millis(20));
        }
        drill
    }

    fn struck(&self) -> Vec<Disaster> {
        self.controller.struck.lock().expect("no test panics with it").clone()
    }

    fn ends_by(&mut self, signal: &str) -> Option<i32> {
        let sent = Process::new("kill").args([signal, &self.process.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()));
        self.process.wait().expect("it is a child of this process").code()
    }

    fn run(&self, words: &[&str]) -> Ran {
        self.server.run_with(words, &[("HOME", &self.server.folder.path().display().to_string())])
    }
}

impl Drop for Drill {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_drill_that_is_ended_takes_its_disaster_back() {
    for signal in ["-INT", "-TERM", "-HUP"] {
        let mut drill = Drill::begun();
        assert_eq!(drill.ends_by(signal), Some(3), "{signal}");
        assert_eq!(drill.struck(), [cable(false), cable(true)], "{signal}");
        let status = drill.run(&["status"]);
        assert!(status.exit == 0 && status.stderr.is_empty(), "{status:?}");
    }
}

#[test]
fn a_drill_that_is_killed_is_said_until_it_is_taken_back() {
    let mut drill = Drill::begun();
    assert_eq!(drill.ends_by("-KILL"), None);
    assert_eq!(drill.struck(), [cable(false)]);
    let told = "A drill was killed, and the network cable of web-1 is pulled since. Next: mainstay drill --take-back\n";
    assert_eq!(drill.run(&["status"]).stderr, told);
    let another = drill.run(&["drill", "--live", "cut-network", "web-2", "--yes"]);
    assert!(another.exit == 3 && another.stderr.starts_with(told), "{another:?}");

    let taken_back = drill.run(&["drill", "--take-back"]);
    assert_eq!((taken_back.exit, taken_back.stderr.as_str()), (0, "plugged in\n"));
    assert_eq!(drill.struck(), [cable(false), cable(true)]);
    assert_eq!(drill.run(&["status"]).stderr, "");
}
