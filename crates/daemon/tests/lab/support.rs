//! What the tests share: a lab, and a controller in this process that lives in the lab's network.

use mainstay_daemon::{Disaster, Handle, Options, Running, start};
use mainstay_engine::view::ClusterView;
use mainstay_lab::{Lab, LabSpec, ScratchLab};
use mainstay_model::{Alarm, Code, Command, RecoveryPoint, Reply};
use rustix::{
    mount::{MountPropagationFlags, mount_bind, mount_change},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};
use std::{
    fs::File,
    ops::Deref,
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};

/// Far above what anything here takes on a loaded machine with two cores.
pub const SOON: Duration = Duration::from_secs(400);

/// A lab of this test, and a controller for it.
pub struct TestLab(ScratchLab);

impl Deref for TestLab {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.0
    }
}

impl TestLab {
    /// Builds a lab, or fails with what is missing on this machine.
    pub async fn up(purpose: &str, change: impl FnOnce(&mut LabSpec), hosts: u8, guests: u8) -> TestLab {
        let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let mut spec = ScratchLab::spec(purpose, hosts, guests);
        change(&mut spec);
        let built = ScratchLab::up(spec, |step| println!("{step}")).await;
        TestLab(built.unwrap_or_else(|error| panic!("{error}")))
    }

    /// Writes the controller's configuration: the lab's own, and more.
    pub fn configure(&self, more: &str) -> PathBuf {
        let path = self.layout().dir.join("mainstay.toml");
        std::fs::write(&path, format!("{}\n{more}", self.mainstay_toml())).unwrap();
        path
    }

    /// How often libvirt has started a guest's QEMU, on all hosts together, since the lab was built.
    pub fn starts(&self, guest: &str) -> usize {
        let log = format!("var/log/libvirt/qemu/{guest}.log");
        let logs = self.host_names().into_iter().map(|host| self.host_file(&host, &log));
        logs.map(|log| std::fs::read_to_string(log).unwrap_or_default().matches("starting up libvirt version").count())
            .sum()
    }

    pub fn all_starts(&self) -> Vec<(String, usize)> {
        self.guest_names().into_iter().map(|guest| (guest.clone(), self.starts(&guest))).collect()
    }

    /// How often each host's power was really cut through its device.
    pub fn fencings(&self) -> Vec<String> {
        let history = self.power_history().unwrap();
        history
            .into_iter()
            .filter(|record| record.action == "off" && record.code == 0)
            .map(|record| record.host)
            .collect()
    }

    /// A runtime whose threads are in the controller's network.
    pub fn runtime(&self) -> Runtime {
        self.runtime_with(&[])
    }

    /// A runtime whose threads are in the controller's network, and see these files at other places as well.
    fn runtime_with(&self, files: &[(&Path, &str)]) -> Runtime {
        let namespace = self.controller_namespace();
        let files: Vec<(PathBuf, String)> =
            files.iter().map(|(file, at)| (file.to_path_buf(), at.to_string())).collect();
        let enter = move || {
            let file = File::open(&namespace).unwrap();
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(file.as_fd(), network).unwrap();
            if files.is_empty() {
                return;
            }
            leave_file_systems();
            for (file, at) in &files {
                mount_bind(file, at).unwrap();
            }
        };
        Builder::new_multi_thread().worker_threads(2).enable_all().on_thread_start(enter).build().unwrap()
    }

    /// A controller in this process.
    pub async fn controller(&self, config: PathBuf) -> Controller {
        self.controller_with(config, &[]).await
    }

    /// A controller in this process that sees these files at other places as well.
    pub async fn controller_with(&self, config: PathBuf, files: &[(&Path, &str)]) -> Controller {
        let runtime = self.runtime_with(files);
        let options = Options { config, ..Options::default() };
        let running = runtime.spawn(start(options)).await.unwrap().unwrap_or_else(|error| panic!("{error}"));
        Controller { runtime: Some(runtime), running: Some(running) }
    }
}

/// What this thread mounts from here on, nobody else sees.
#[allow(unsafe_code, reason = "unsharing is unsafe for tables of open files only, which stay shared")]
fn leave_file_systems() {
    // SAFETY: file descriptors are not unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.unwrap();
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
}

/// The alarm of this code about a host or workload, if it stands.
pub fn alarm<'a>(view: &'a ClusterView, code: Code, about: &str) -> Option<&'a Alarm> {
    view.alarms.iter().find(|alarm| alarm.code == code && alarm.subject.to_string() == about)
}

/// Looks after each news of the controller until what is looked for is there; else fails with what was seen instead. What is
/// sensed but not remembered (that a guest answers) makes no news, so it is looked now and then as well.
pub async fn until<T>(handle: &Handle, within: Duration, what: &str, look: impl AsyncFn() -> Result<T, String>) -> T {
    let (mut news, deadline) = (handle.watch(), Instant::now() + within);
    loop {
        match look().await {
            Ok(found) => return found,
            Err(instead) => assert!(Instant::now() < deadline, "{what}: still {instead}"),
        }
        // Having missed some is as good as having heard them.
        let _ = timeout(Duration::from_millis(250), news.recv()).await;
    }
}

/// A controller that dies with its test.
pub struct Controller {
    runtime: Option<Runtime>,
    running: Option<Running>,
}

impl Drop for Controller {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Controller {
    pub fn handle(&self) -> &Handle {
        &self.running.as_ref().unwrap().handle
    }

    /// Waits until the picture is as wanted, and returns it.
    pub async fn wait(&self, what: &str, wanted: impl Fn(&ClusterView) -> bool) -> Arc<ClusterView> {
        let look = async || {
            let view = self.handle().view().await.unwrap();
            if wanted(&view) { Ok(view) } else { Err(serde_json::to_string_pretty(&*view).unwrap()) }
        };
        until(self.handle(), SOON, what, look).await
    }

    /// Waits until all hosts and guests are seen and well.
    pub async fn wait_all_well(&self) -> Arc<ClusterView> {
        self.wait("all is well", |view| {
            view.hosts.iter().all(|host| host.health == "online")
                && !view.workloads.is_empty()
                && view.workloads.iter().all(|workload| workload.health == "running" && workload.answers != Some(false))
        })
        .await
    }

    pub async fn wait_alarm(&self, code: Code, about: &str) -> Arc<ClusterView> {
        self.wait(&format!("{code} about {about}"), |view| alarm(view, code, about).is_some()).await
    }

    pub async fn wait_no_alarm(&self, code: Code, about: &str) -> Arc<ClusterView> {
        self.wait(&format!("no {code} about {about}"), |view| alarm(view, code, about).is_none()).await
    }

    /// Makes a disaster happen, from where the controller is.
    pub async fn strike(&self, disaster: Disaster) -> Result<String, String> {
        let (runtime, handle) = (self.runtime.as_ref().unwrap(), self.handle().clone());
        runtime.spawn(async move { handle.strike(&disaster).await.unwrap() }).await.unwrap()
    }

    /// Gives a command, again while it is refused: something of the schedule may be in its way for a moment.
    pub async fn accepted(&self, command: Command) {
        let give = async || match self.handle().command(command.clone()).await.unwrap() {
            Reply::Accepted { .. } => Ok(()),
            refused => Err(format!("{refused:?}")),
        };
        until(self.handle(), SOON, &format!("{command:?} is accepted"), give).await;
    }

    /// Waits until the history has an event with these words, as [`Controller::story`] shows it.
    pub async fn wait_event(&self, words: &str) {
        let look = async || {
            let story = self.story().await;
            if story.contains(words) { Ok(()) } else { Err(story) }
        };
        until(self.handle(), SOON, words, look).await;
    }

    pub async fn wait_points(&self, guest: &str, what: &str, wanted: impl Fn(&[RecoveryPoint]) -> bool) {
        let look = async || {
            let points = self.handle().points(&guest.into()).await.unwrap();
            if wanted(&points) { Ok(()) } else { Err(self.story().await) }
        };
        until(self.handle(), SOON, what, look).await;
    }

    /// Long enough that whatever would be done wrongly is done: each host was listed anew, and the engine woke again.
    pub async fn settled(&self) {
        tokio::time::sleep(Duration::from_millis(4_500)).await;
    }

    /// Waits until every guest is seen running.
    pub async fn wait_all_but_answers(&self) -> Arc<ClusterView> {
        self.wait("all run", |view| view.workloads.iter().all(|workload| workload.health == "running")).await
    }

    /// Stops it cleanly.
    pub async fn stop(mut self) {
        self.handle().shutdown().await;
        let running = self.running.take().unwrap();
        tokio::time::timeout(SOON, running.stopped()).await.expect("it stops in time").expect("it led till the end");
    }

    /// All events so far, one line each.
    pub async fn story(&self) -> String {
        let events =
            self.handle().events(mainstay_daemon::EventQuery { limit: 1000, ..Default::default() }).await.unwrap();
        events
            .iter()
            .map(|event| format!("{} {:?} {}: {}\n", event.at.0, event.kind, event.subject, event.text))
            .collect()
    }
}
