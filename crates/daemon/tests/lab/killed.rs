//! The controller itself is killed, at bad moments. What it had begun is brought to its end once, and nothing else happens.

use crate::support::{SOON, TestLab};
use mainstay_daemon::{Options, start};
use std::{process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr},
    time::timeout,
};

/// Tells a child of this test that it is the controller, with which configuration.
const CONTROLLER: &str = "MAINSTAY_TEST_CONTROLLER";

/// No test: the controller's process, when this file's tests start themselves again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controller_process() {
    let Some(config) = std::env::var_os(CONTROLLER) else { return };
    let filter = "info,mainstay_daemon=debug";
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
    let options = Options { config: config.into(), state_dir: None };
    start(options).await.unwrap().stopped().await;
}

struct Process {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    seen: Vec<String>,
}

impl Process {
    fn start(lab: &TestLab, config: &str) -> Process {
        let mut command = lab.controller_command(std::env::current_exe().unwrap());
        command.args(["--exact", "killed::controller_process", "--nocapture"]).env(CONTROLLER, config);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Process { child, log, seen: Vec::new() }
    }

    /// Reads the log until a line holds all these words.
    async fn wait(&mut self, words: &[&str]) {
        let found = async {
            while let Some(line) = self.log.next_line().await.unwrap() {
                let fits = words.iter().all(|word| line.contains(word));
                self.seen.push(line);
                if fits {
                    return;
                }
            }
            panic!("the controller ended; its log:\n{}", self.seen.join("\n"));
        };
        if timeout(SOON, found).await.is_err() {
            panic!("{words:?} not in the log:\n{}", self.seen.join("\n"));
        }
    }

    /// Kills it without a warning.
    async fn kill(mut self) -> Vec<String> {
        self.child.kill().await.unwrap();
        self.seen
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_survives_the_controllers_death() {
    let lab = TestLab::up("sigkill", |_| (), 3, 3).await;
    let config = lab.configure("").display().to_string();
    let mut home = "h1".to_owned();
    // Killed with the fence on its way, and with the start on its way.
    for fatal in [&["order leaves", "fence"][..], &["order leaves", "start web-1"]] {
        let mut first = Process::start(&lab, &config);
        first.wait(&["the controller is ready"]).await;
        // Several heartbeats and inventories: it knows its world.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let before = lab.wait_guest_answers("web-1", SOON).await.unwrap();
        let mut bystanders = lab.guest_names();
        bystanders.retain(|guest| lab.where_runs(guest).unwrap() != [home.clone()]);
        lab.power_cut(&home).await.unwrap();
        first.wait(fatal).await;
        first.kill().await;

        let mut second = Process::start(&lab, &config);
        let again = lab.wait_guest_rebooted("web-1", &before.boot_id, SOON).await.unwrap();
        assert_ne!(again.boot_id, before.boot_id);
        second.wait(&["back in service", &home]).await;
        let runs = lab.where_runs("web-1").unwrap();
        assert!(runs.len() == 1 && runs[0] != home, "{runs:?}");
        let log = second.kill().await;
        let wrong = |line: &&String| {
            let order = line.contains("order leaves") && !line.contains("recovery point");
            order
                && (bystanders.iter().any(|guest| line.contains(guest))
                    || line.contains("fence") && !line.contains(&home))
                || line.contains("lost: silent") && !line.contains(&format!("subject={home}"))
        };
        assert_eq!(log.iter().find(wrong), None, "{}", log.join("\n"));
        println!("{}", log.join("\n"));
        home.clone_from(&runs[0]);
    }
}
