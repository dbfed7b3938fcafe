//! What the tests share: a lab, and a controller in this process that lives in the lab's network.

use mainstay_daemon::{Handle, Options, Running, start};
use mainstay_engine::view::ClusterView;
use mainstay_lab::{Lab, LabSpec, ScratchLab};
use std::{
    fs::File,
    ops::Deref,
    os::fd::AsFd,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::runtime::{Builder, Runtime};

/// Far above what anything here takes on a loaded machine with two cores.
pub const SOON: Duration = Duration::from_secs(60);

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

    /// A runtime whose threads are in the controller's network.
    pub fn runtime(&self) -> Runtime {
        let namespace = self.controller_namespace();
        let enter = move || {
            let file = File::open(&namespace).unwrap();
            let network = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(file.as_fd(), network).unwrap();
        };
        Builder::new_multi_thread().worker_threads(2).enable_all().on_thread_start(enter).build().unwrap()
    }

    /// A controller in this process.
    pub async fn controller(&self, config: PathBuf) -> Controller {
        let runtime = self.runtime();
        let options = Options { config, state_dir: None };
        let running = runtime.spawn(start(options)).await.unwrap().unwrap_or_else(|error| panic!("{error}"));
        Controller { runtime: Some(runtime), running: Some(running) }
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
        let until = Instant::now() + SOON;
        loop {
            let view = self.handle().view().await.unwrap();
            if wanted(&view) {
                return view;
            }
            assert!(Instant::now() < until, "{what}: still {}", serde_json::to_string_pretty(&*view).unwrap());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
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

    /// Waits until every guest is seen running.
    pub async fn wait_all_but_answers(&self) -> Arc<ClusterView> {
        self.wait("all run", |view| view.workloads.iter().all(|workload| workload.health == "running")).await
    }

    /// Stops it cleanly.
    pub async fn stop(mut self) {
        self.handle().shutdown().await;
        let running = self.running.take().unwrap();
        tokio::time::timeout(SOON, running.stopped()).await.expect("it stops in time");
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
