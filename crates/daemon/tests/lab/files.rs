//! The controller's own process has no files left. That is its trouble, with an alarm of its own: no host and no guest that it
//! cannot ask for this counts as silent.

use crate::support::{SOON, TestLab, alarm, until};
use mainstay_daemon::{EventQuery, Options, start};
use mainstay_model::{Code, Command, Reply, Subject};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::{
    fs::File,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
    time::timeout,
};

/// Tells a child of this test that it is the controller, and with which configuration.
const CONTROLLER: &str = "MAINSTAY_TEST_FILES_CONTROLLER";
/// Enough for two hosts, and soon used up.
const FILES: u64 = 256;

/// No test: the controller's process, when the test below starts this program again. Answers each line it reads by one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controller_process() {
    let Some(config) = std::env::var_os(CONTROLLER) else { return };
    setrlimit(Resource::Nofile, Rlimit { current: Some(FILES), maximum: Some(FILES) }).unwrap();
    let running = start(Options { config: config.into(), ..Options::default() }).await.unwrap();
    assert!(running.warnings.iter().any(|warning| warning.contains("may open 256 files")), "{:?}", running.warnings);
    let handle = running.handle.clone();
    let view = async || handle.view().await.unwrap();
    let well = async || {
        let view = view().await;
        let hosts = view.hosts.iter().all(|host| host.health == "online");
        let guests = !view.workloads.is_empty() && view.workloads.iter().all(|one| one.health == "running");
        let short = view.alarms.iter().any(|alarm| alarm.code == Code::OUT_OF_FILES);
        if hosts && guests && !short { Ok(()) } else { Err(format!("{view:?}")) }
    };
    let taking = Arc::new(AtomicBool::new(false));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        match line.as_str() {
            "well?" => until(&handle, SOON, "all is well", well).await,
            "take all files" => {
                taking.store(true, Ordering::SeqCst);
                let taking = Arc::clone(&taking);
                // Whatever others give back is taken too.
                std::thread::spawn(move || {
                    let mut taken = Vec::new();
                    while taking.load(Ordering::SeqCst) {
                        match File::open("/dev/null") {
                            Ok(file) => taken.push(file),
                            Err(_) => std::thread::sleep(Duration::from_millis(1)),
                        }
                    }
                });
                let raised = async || {
                    let view = view().await;
                    let told = view.alarms.iter().any(|alarm| alarm.code == Code::OUT_OF_FILES);
                    if told { Ok(()) } else { Err(format!("{:?}", view.alarms)) }
                };
                until(&handle, SOON, "the alarm is raised", raised).await;
            }
            "h1 not asked?" => {
                let unasked = async || {
                    let view = view().await;
                    let told = alarm(&view, Code::MANAGEMENT_FAULT, "h1");
                    if told.is_some_and(|alarm| alarm.text.contains("Too many open files")) {
                        Ok(())
                    } else {
                        Err(format!("{:?} {:?}", view.hosts, view.alarms))
                    }
                };
                until(&handle, SOON, "h1 cannot be asked", unasked).await;
            }
            "fence h2" => {
                let fence = Command::FenceHost { host: "h2".into() };
                let reply = handle.command(fence).await.unwrap();
                assert!(matches!(reply, Reply::Accepted { .. }), "{reply:?}");
                // More than its level could fail in.
                let orders = async || {
                    let query =
                        EventQuery { subject: Some(Subject::Host("h2".into())), limit: 1000, ..Default::default() };
                    let events = handle.events(query).await.unwrap();
                    match events.iter().filter(|event| event.text.contains("Too many open files")).count() {
                        3.. => Ok(()),
                        _ => Err(format!("{events:?}")),
                    }
                };
                until(&handle, SOON, "h2 is tried to be fenced", orders).await;
                let view = view().await;
                assert!(alarm(&view, Code::FENCE_FAILED, "h2").is_none(), "{:?}", view.alarms);
            }
            "give them back" => taking.store(false, Ordering::SeqCst),
            "story?" => {
                let events = handle.events(EventQuery { limit: 1000, ..Default::default() }).await.unwrap();
                for event in events.iter().filter(|event| event.subject != Subject::Cluster) {
                    println!("  {}: {}", event.subject, event.text);
                }
            }
            other => panic!("{other}"),
        }
        println!("done");
    }
}

struct OtherProcess {
    _child: Child,
    ask: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl OtherProcess {
    fn start(lab: &TestLab, config: std::path::PathBuf) -> OtherProcess {
        let mut command = lab.controller_command(std::env::current_exe().unwrap());
        command.args(["--exact", "files::controller_process", "--nocapture"]).env(CONTROLLER, config);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let (ask, said) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        OtherProcess { _child: child, ask, said: BufReader::new(said).lines() }
    }

    /// Waits until it has done this, and returns what it said.
    async fn does(&mut self, what: &str) -> String {
        self.ask.write_all(format!("{what}\n").as_bytes()).await.unwrap();
        let mut said = String::new();
        let answered = async {
            while let Some(line) = self.said.next_line().await.unwrap() {
                if line == "done" {
                    return;
                }
                said += &(line + "\n");
            }
            panic!("{what}: it ended");
        };
        timeout(2 * SOON, answered).await.unwrap_or_else(|_| panic!("{what}: not in time"));
        said
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_without_files_takes_nothing_for_dead() {
    let lab = TestLab::up("files", |_| (), 2, 2).await;
    let config = lab.configure("[detection]\nmanagement_fault_after = \"2s\"\nhost_lost_after = \"2s\"\n");
    // Nothing but libvirt tells of hosts and guests: a ping needs no file of its own.
    let mut text = std::fs::read_to_string(&config).unwrap();
    for (host, address) in [("h1", "10.77.0.11"), ("h2", "10.77.0.12")] {
        let before = format!("[site.lab.host.{host}]\naddress = \"{address}\"");
        assert!(text.contains(&before), "{text}");
        let uri = format!("[site.lab.host.{host}]\naddress = \"\"\nuri = \"qemu+tcp://{address}/system\"");
        text = text.replace(&before, &uri);
    }
    let text: Vec<&str> = text.lines().filter(|line| !line.starts_with("probe = ")).collect();
    std::fs::write(&config, text.join("\n")).unwrap();

    let starts = lab.all_starts();
    let mut controller = OtherProcess::start(&lab, config);
    controller.does("well?").await;
    controller.does("take all files").await;
    // Its connections end, and no new one can be opened, although the host and its guests are well.
    lab.libvirtd_kill("h1").await.unwrap();
    lab.libvirtd_start("h1").await.unwrap();
    controller.does("h1 not asked?").await;
    controller.does("give them back").await;
    controller.does("well?").await;
    let story = controller.does("story?").await;
    assert!(!story.contains("is lost") && !story.contains("fence h"), "{story}");
    assert_eq!(lab.fencings(), Vec::<String>::new(), "{story}");
    assert_eq!(lab.all_starts(), starts, "{story}");
}

/// The kind: a fence level that failed for want of files would go on to the next, or call a person, with nothing wrong with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fencing_that_lacks_files_waits_for_them_and_no_device_has_failed() {
    let lab = TestLab::up("starved", |_| (), 2, 2).await;
    let config = lab.configure("");
    let mut controller = OtherProcess::start(&lab, config);
    controller.does("well?").await;
    controller.does("take all files").await;
    controller.does("fence h2").await;
    assert_eq!(lab.fencings(), Vec::<String>::new());
    controller.does("give them back").await;
    // Its guests run elsewhere, and it is switched on again: nothing is given up.
    controller.does("well?").await;
    let story = controller.does("story?").await;
    assert_eq!(lab.fencings(), ["h2"], "{story}");
    assert!(!story.contains("every fence level"), "{story}");
}
