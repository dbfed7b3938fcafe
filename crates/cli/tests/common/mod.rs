//! A small controller with a fixed picture behind the real API on a real socket, and the real binary against it.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses its own part; a helper that fails ends the test"
)]

use mainstay_daemon::{
    ByHand, Console, DeviceAnswer, Disaster, EventQuery, Health, News, NoAnswer, Rates, ReloadRefused, ReloadReport,
    WorkloadStats,
};
use mainstay_engine::{view::*, whatif::*};
use mainstay_model::*;
use mainstay_web::{Controller, Listeners, Tls, Token, router};
use std::{
    process::{Command as Process, Output},
    sync::{Arc, Mutex},
};
use tempfile::TempDir;
use tokio::sync::{broadcast, oneshot};

/// When the picture was made: 2026-11-20 06:00:00 UTC.
pub const AT: Time = Time(1_795_154_400_000);

/// The configuration in force.
pub const RUNNING: &str = r#"
[site.lab]
shared_storage = true
[site.lab.libvirt]
[site.lab.host.h1]
fence = "power"
[fence.power]
agent = "fence_sim"
options = { password = "hunter2" }
[[vm]]
match = "*"
"#;

/// Before that, in seconds.
pub fn ago(seconds: u64) -> Time {
    AT - Span::secs(seconds)
}

/// A controller that always answers the same.
#[derive(Clone)]
pub struct Fixed {
    pub view: Arc<ClusterView>,
    pub last_step: Time,
    pub trouble: Option<String>,
    pub given: Arc<Mutex<Vec<Command>>>,
    pub by: Arc<Mutex<Vec<Actor>>>,
    pub news: broadcast::Sender<News>,
    /// Disasters that were made to happen.
    pub struck: Arc<Mutex<Vec<Disaster>>>,
    /// What came of what was asked for.
    pub orders: Arc<Mutex<Vec<OrderView>>>,
}

impl Fixed {
    pub fn new(view: ClusterView) -> Fixed {
        Fixed {
            view: Arc::new(view),
            last_step: AT,
            trouble: None,
            given: Arc::default(),
            news: broadcast::channel(16).0,
            orders: Arc::default(),
            struck: Arc::default(),
            by: Arc::default(),
        }
    }
}

impl Controller for Fixed {
    fn now(&self) -> Time {
        AT
    }
    fn health(&self) -> Health {
        Health { ready: true, storage_trouble: self.trouble.clone(), last_step: self.last_step }
    }
    async fn view(&self) -> Result<Arc<ClusterView>, NoAnswer> {
        Ok(self.view.clone())
    }
    fn watch(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }
    async fn command(&self, command: Command, by: Option<Actor>) -> Result<Reply, NoAnswer> {
        self.by.lock().unwrap().extend(by);
        let reply = match &command {
            Command::StartWorkload { workload, .. } if workload.as_str() == "web-1" => {
                Reply::Nothing { text: "web-1 runs already, on h1".to_owned() }
            }
            Command::FenceHost { .. } => Reply::Refused { text: "h1 has no fence device".to_owned() },
            _ => Reply::Accepted { text: "it will be done".to_owned() },
        };
        self.given.lock().unwrap().push(command);
        let _ = self.news.send(News::Changed);
        Ok(reply)
    }
    async fn explain(&self, subject: &str) -> Result<Option<String>, NoAnswer> {
        Ok((subject == "web-1").then(|| "web-1 runs on h1, since h1 says so.".to_owned()))
    }
    async fn what_if(&self, hypotheses: Vec<Hypothesis>) -> Result<Foreseen, NoAnswer> {
        let (h2, web) = (Subject::Host("h2".into()), Subject::Workload("web-2".into()));
        let step = |after_ms, subject: &Subject, kind, severity, text: &str| ForeseenStep {
            after_ms,
            subject: subject.clone(),
            kind,
            severity,
            text: text.to_owned(),
        };
        let lost = matches!(hypotheses[..], [Hypothesis::HostLost { .. }]);
        Ok(Foreseen {
            steps: vec![
                step(2_500, &h2, EventKind::Believed, Severity::Red, "lost: silent on every channel for 2.5s"),
                step(2_500, &h2, EventKind::Ordered, Severity::Green, "fence h2 (level 1)"),
                step(2_500, &h2, EventKind::Alarm, Severity::Red, "alarm MS1101: h2 is lost: no channel hears it"),
                step(3_500, &web, EventKind::Ordered, Severity::Green, "start web-2 on h1"),
                step(8_500, &h2, EventKind::Ordered, Severity::Green, "power on h2"),
            ],
            moved: vec![ForeseenMove { workload: "web-2".into(), from: Some("h2".into()), to: "h1".into() }],
            down: lost
                .then(|| ("db-1".into(), "no host fits: h1: memory 768 MiB needed, 512 free".to_owned()))
                .into_iter()
                .collect(),
            at_rest: true,
            ..Foreseen::default()
        })
    }
    async fn ask_fence(&self, _: &HostId) -> Vec<DeviceAnswer> {
        let answer = |device: &str, state: Option<&str>, error: Option<&str>| DeviceAnswer {
            device: device.into(),
            level: if device == "pdu" { 2 } else { 1 },
            agent: "fence_dummy".to_owned(),
            state: state.map(str::to_owned),
            error: error.map(str::to_owned),
            took_ms: 240,
            unasked: false,
        };
        vec![answer("bmc", Some("on"), None), answer("pdu", None, Some("Connection timed out"))]
    }
    async fn strike(&self, disaster: &Disaster) -> Result<Result<String, String>, NoAnswer> {
        self.struck.lock().unwrap().push(disaster.clone());
        Ok(match disaster {
            Disaster::Network { up, .. } => Ok(if *up { "plugged in" } else { "pulled" }.to_owned()),
            disaster => Err(format!("{disaster:?} is not for tests")),
        })
    }
    async fn by_hand(&self, what: &ByHand) -> Result<Result<String, String>, NoAnswer> {
        Ok(Ok(format!("{what:?}")))
    }
    async fn console(&self, workload: &WorkloadId) -> Result<Result<Console, String>, NoAnswer> {
        let (workload, uri) = (workload.clone(), "qemu+tcp://10.0.0.1/system".to_owned());
        let command =
            vec!["virsh".to_owned(), "--connect".to_owned(), uri.clone(), "console".to_owned(), "a b".to_owned()];
        Ok(Ok(Console { workload, uri, command }))
    }
    fn spec(&self) -> Arc<mainstay_model::spec::ClusterSpec> {
        Arc::new(mainstay_model::config::load("running.toml", RUNNING).unwrap().spec)
    }
    async fn points(&self, _: &WorkloadId) -> Result<Points, NoAnswer> {
        Ok(vec![point("ms-0540", 1_200, PointBy::Schedule), point("before-upgrade", 240, PointBy::Person)])
    }
    async fn ready(&self, subject: Option<&str>) -> Result<Option<Vec<ReadyView>>, NoAnswer> {
        let looked_at = Some(AT - Span::secs(90));
        let bridge = Obstacle { kind: ObstacleKind::Bridge, what: "br7".to_owned() };
        let device = "bound to h1 by its passthrough device 0000:3b:00.1".to_owned();
        let bound = Obstacle { kind: ObstacleKind::Passthrough, what: device };
        let missing = Obstacle { kind: ObstacleKind::Device, what: "0000:3b:00.1".to_owned() };
        let host = |name: &str, ready, obstacles| HostReady {
            host: name.into(),
            in_service: true,
            ready,
            looked_at,
            obstacles,
        };
        let all = vec![
            ReadyView {
                workload: "db-1".into(),
                runs_on: Some("h2".into()),
                hosts: vec![host("h1", Some(false), vec![bridge.clone()]), host("h3", Some(false), vec![bridge])],
            },
            ReadyView {
                workload: "gpu-1".into(),
                runs_on: Some("h1".into()),
                hosts: vec![
                    host("h2", Some(false), vec![bound.clone(), missing]),
                    HostReady { looked_at: None, ..host("h3", Some(false), vec![bound]) },
                ],
            },
            ReadyView {
                workload: "web-1".into(),
                runs_on: Some("h1".into()),
                hosts: vec![host("h2", Some(true), vec![]), host("h3", Some(true), vec![])],
            },
        ];
        Ok((subject != Some("nobody")).then_some(all))
    }

    async fn orders(&self, _: Option<Subject>, _: Time) -> Result<Vec<OrderView>, NoAnswer> {
        Ok(self.orders.lock().unwrap().clone())
    }
    async fn incidents(&self) -> Result<Vec<Incident>, NoAnswer> {
        Ok(vec![incident()])
    }
    async fn events(&self, query: EventQuery) -> Result<Vec<Event>, NoAnswer> {
        let fits = |event: &Event| query.subject.as_ref().is_none_or(|subject| *subject == event.subject);
        Ok(incident().timeline.into_iter().filter(fits).collect())
    }
    fn all_stats(&self) -> Vec<WorkloadStats> {
        vec![stats()]
    }
    async fn reload(&self) -> Result<Result<ReloadReport, ReloadRefused>, NoAnswer> {
        Ok(Err(ReloadRefused { problems: vec!["mainstay.toml:3:1: unknown key `hots`".to_owned()] }))
    }
}

/// The API served from a thread of its own until dropped.
pub struct Server {
    pub folder: TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub fn start(controller: Fixed) -> Server {
        Server::start_with(controller, vec![], None)
    }

    /// Also over TCP, for whoever has the token; the address is in a file beside the socket.
    pub fn start_with(controller: Fixed, tokens: Vec<Token>, tls: Option<Tls>) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("api.sock");
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut listeners = Listeners::unix(&socket).unwrap();
                if !tokens.is_empty() {
                    listeners = listeners.and_tcp("127.0.0.1:0".parse().unwrap(), tokens, tls).await.unwrap();
                    let address = listeners.tcp_address().unwrap().to_string();
                    std::fs::write(socket.with_file_name("address"), address).unwrap();
                }
                ready.send(()).unwrap();
                let stop = async { drop(stopped.await) };
                listeners.serve(router(controller, "lab"), stop).await;
            });
        });
        is_ready.recv().unwrap();
        Server { folder, stop: Some(stop), thread: Some(thread) }
    }

    pub fn run(&self, words: &[&str]) -> Ran {
        mainstay(words, &[("MAINSTAY_SOCKET", self.folder.path().join("api.sock").to_str().unwrap())])
    }

    pub fn run_with(&self, words: &[&str], environment: &[(&str, &str)]) -> Ran {
        let socket = self.folder.path().join("api.sock");
        mainstay(words, &[environment, &[("MAINSTAY_SOCKET", socket.to_str().unwrap())]].concat())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

/// What a run of the binary came to.
#[derive(Debug)]
pub struct Ran {
    pub exit: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs the binary with a clean environment.
pub fn mainstay(words: &[&str], environment: &[(&str, &str)]) -> Ran {
    let mut process = Process::new(env!("CARGO_BIN_EXE_mainstay"));
    process.args(words).env_clear().env("TZ", "UTC").env("PATH", std::env::var("PATH").unwrap());
    let Output { status, stdout, stderr } = process.envs(environment.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { exit: status.code().unwrap(), stdout: text(stdout), stderr: text(stderr) }
}

/// Everything runs.
pub fn well() -> ClusterView {
    ClusterView {
        version: 1,
        at: AT,
        name: "lab".to_owned(),
        verdict: Verdict {
            severity: Severity::Green,
            text: "All 3 VMs run, on 2 hosts; each has a fresh recovery point.".to_owned(),
            next: None,
        },
        cut_off: false,
        hosts: vec![host("h1", "online"), host("h2", "online")],
        workloads: vec![
            vm("db-1", "running", Some("h2")),
            vm("web-1", "running", Some("h1")),
            vm("web-2", "running", Some("h1")),
        ],
        alarms: vec![],
        incidents: vec![],
    }
}

/// A host is lost, has no fence device, and a person is needed.
pub fn trouble() -> ClusterView {
    let mut view = well();
    view.verdict = Verdict {
        severity: Severity::Red,
        text: "1 of 3 VMs is down: h2 was lost 12 s ago and nobody can fence it.".to_owned(),
        next: Some("mainstay host confirm-off h2".to_owned()),
    };
    let h2 = &mut view.hosts[1];
    (h2.health, h2.since, h2.in_service, h2.fenceable) = ("lost".to_owned(), ago(12), false, false);
    h2.doing = Some("waiting for a person to confirm that it is off".to_owned());
    h2.evidence = vec!["hypervisor: silent for 14.2s".to_owned(), "ping: silent for 14.5s".to_owned()];
    let db = &mut view.workloads[0];
    (db.health, db.host, db.since, db.answers) = ("unknown".to_owned(), None, ago(12), Some(false));
    db.may_run_on = [HostId::from("h2")].into();
    db.doing = Some("waiting for h2 to be proved off".to_owned());
    db.incident = Some(IncidentId(7));
    view.workloads.push(WorkloadView {
        managed: false,
        wanted: true,
        protected_every: None,
        last_point: None,
        ..vm("old", "stopped", Some("h1"))
    });
    let alarm = |code, subject, severity, text: &str, advice: &str, at| Alarm {
        code,
        subject,
        severity,
        text: text.to_owned(),
        advice: advice.to_owned(),
        raised_at: at,
        acknowledged: None,
    };
    view.alarms = vec![
        alarm(
            Code::CONFIRM_OFF,
            Subject::Host("h2".into()),
            Severity::Red,
            "h2 is lost and has no fence device; 1 VM waits until somebody confirms that it is off.",
            "Make sure that h2 is off, then: mainstay host confirm-off h2",
            ago(12),
        ),
        Alarm {
            acknowledged: Some(Acknowledged { at: ago(3_600), by: "ada".to_owned() }),
            ..alarm(
                Code::STOPPED_BY_PERSON,
                Subject::Workload("old".into()),
                Severity::Yellow,
                "old was shut down from inside.",
                "Start it with: mainstay vm start old",
                ago(90_000),
            )
        },
    ];
    view.incidents = vec![Incident { closed_at: None, ..incident() }];
    view
}

fn host(name: &str, health: &str) -> HostView {
    HostView {
        host: name.into(),
        site: "lab".into(),
        health: health.to_owned(),
        since: ago(7_200),
        evidence: vec!["hypervisor: answered 200ms ago".to_owned()],
        doing: None,
        in_service: true,
        spare: false,
        capacity: Resources::of(4_096, 4),
        used: Resources::of(1_536, 2),
        workloads: ["web-1".into(), "web-2".into()].into(),
        heard: Some(AT),
        fenceable: true,
        fence: vec![],
    }
}

fn vm(name: &str, health: &str, host: Option<&str>) -> WorkloadView {
    WorkloadView {
        workload: name.into(),
        health: health.to_owned(),
        since: ago(200_000),
        evidence: vec!["its host says: running".to_owned()],
        host: host.map(HostId::from),
        may_run_on: host.map(HostId::from).into_iter().collect(),
        bound: None,
        lacks_on: if name == "db-1" {
            [("h3".into(), vec![Obstacle { kind: ObstacleKind::Bridge, what: "br7".to_owned() }])].into()
        } else {
            Default::default()
        },
        doing: None,
        managed: true,
        wanted: true,
        priority: 10,
        needs: Resources::of(768, 1),
        answers: Some(true),
        last_point: Some(PointSummary { id: "ms-0556".into(), taken_at: ago(240) }),
        points: 3,
        protected_every: Some(Span::minutes(10)),
        incident: None,
        cpu_percent: Some(3.0),
        rates: None,
    }
}

fn point(name: &str, seconds: u64, by: PointBy) -> RecoveryPoint {
    RecoveryPoint {
        id: name.into(),
        workload: "web-1".into(),
        taken_at: ago(seconds),
        host: "h1".into(),
        kind: PointKind::Memory,
        by,
        state: PointState::Good,
        frozen: false,
        proved_at: None,
        handle: String::new(),
        bytes: Some(25_165_824),
    }
}

fn stats() -> WorkloadStats {
    WorkloadStats {
        workload: "web-1".into(),
        host: "h1".into(),
        seen_at: AT,
        age: Span::millis(300),
        state: "running".to_owned(),
        since: ago(200_000),
        guest_system: Some("Debian GNU/Linux 12".to_owned()),
        agent: Some(true),
        addresses: vec!["10.77.0.101".to_owned()],
        memory_mib: 768,
        memory_used_mib: Some(310),
        vcpus: 1,
        cpu_percent: Some(3.2),
        rates: Some(Rates { disk_read: 0.0, disk_written: 20_480.0, net_received: 1_200.0, net_sent: 900.0 }),
        snapshots: vec!["ms-0540".to_owned(), "before-upgrade".to_owned()],
    }
}

/// A host's loss as a story.
pub fn incident() -> Incident {
    let begin = ago(600);
    let event = |milliseconds, kind, subject: Subject, severity, text: &str| Event {
        at: begin + Span(milliseconds),
        subject,
        severity,
        kind,
        text: text.to_owned(),
        incident: Some(IncidentId(7)),
        by: None,
    };
    let (h2, web) = (Subject::Host("h2".into()), Subject::Workload("web-2".into()));
    let (green, red) = (Severity::Green, Severity::Red);
    Incident {
        id: IncidentId(7),
        subject: h2.clone(),
        cause: IncidentCause::HostLost,
        well_until: begin,
        opened_at: begin + Span(2_500),
        closed_at: Some(begin + Span(5_800)),
        workloads: vec![IncidentWorkload {
            workload: "web-2".into(),
            from: Some("h2".into()),
            to: Some("h1".into()),
            well_until: begin,
            running_at: Some(begin + Span(3_750)),
            answering_at: Some(begin + Span(5_610)),
            data_loss: Some(Span::ZERO),
            probed: true,
            down_since: None,
            down_before: Span::ZERO,
            wrote_until: Some(begin + Span(2_500)),
            left_at: None,
        }],
        timeline: vec![
            event(540, EventKind::Seen, h2.clone(), Severity::Yellow, "h2 is silent on hypervisor and ping"),
            event(2_500, EventKind::Believed, h2.clone(), red, "h2 is lost: silent on every channel for 2.5s"),
            event(2_501, EventKind::Decided, h2.clone(), green, "fence h2 (level 1), then start web-2 on h1"),
            event(3_310, EventKind::Outcome, h2.clone(), green, "h2 is off (power-a, 0.8s)"),
            event(3_311, EventKind::Ordered, web.clone(), green, "start web-2 on h1"),
            event(3_750, EventKind::Outcome, web.clone(), green, "web-2 runs on h1"),
            event(5_610, EventKind::Seen, web, green, "web-2 answers"),
        ],
    }
}
