//! The controller itself is killed, between any two steps of its journal. What it had begun is brought to its end once, and
//! nothing else happens.

use crate::support::{Controller, SOON, TestLab, alarm, until};
use mainstay_daemon::{DieAt, Moment, Options, start};
use mainstay_model::{Code, Command, PointState, Severity};
use rustix::mount::{MountFlags, mount};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Child,
    sync::watch,
    time::timeout,
};

/// Tell a child of this test that it is the controller: with which configuration, and when to die.
const CONTROLLER: &str = "MAINSTAY_TEST_CONTROLLER";
const DIE_AT: &str = "MAINSTAY_TEST_DIE_AT";
/// And that it only stands still then.
const STAND_STILL: &str = "MAINSTAY_TEST_STAND_STILL";
/// All moments for all orders, instead of each once: some three minutes.
const ALL: &str = "MAINSTAY_TEST_ALL";

const MOMENTS: [Moment; 4] = [Moment::BeforePersist, Moment::AfterPersist, Moment::AfterLeaving, Moment::BeforeOutcome];

/// No test: the controller's process, when this file's tests start themselves again. Does what it reads, a command a line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controller_process() {
    let Some(config) = std::env::var_os(CONTROLLER) else { return };
    let filter = "info,mainstay_daemon=debug";
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
    let die_at = std::env::var(DIE_AT).unwrap();
    let (moment, action) = die_at.split_once(' ').unwrap();
    let moment = MOMENTS.into_iter().find(|one| format!("{one:?}") == moment).unwrap();
    let only_stand_still = std::env::var_os(STAND_STILL).is_some();
    let die_at = Some(DieAt { moment, action: action.to_owned(), only_stand_still });
    let running = start(Options { config: config.into(), state_dir: None, die_at }).await.unwrap();
    let handle = running.handle.clone();
    let obeyed = async {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        let look = async || {
            let view = handle.view().await.unwrap();
            let seen = !view.workloads.is_empty()
                && view.workloads.iter().all(|one| one.health == "running")
                && view.hosts.iter().all(|host| host.health == "online");
            if seen { Ok(()) } else { Err(format!("{view:?}")) }
        };
        until(&handle, SOON, "all is seen", look).await;
        eprintln!("all is seen");
        while let Some(line) = lines.next_line().await.unwrap() {
            eprintln!("{line}: {:?}", handle.command(serde_json::from_str(&line).unwrap()).await);
        }
    };
    let ended = async { eprintln!("ended: {:?}", running.stopped().await) };
    tokio::join!(obeyed, ended);
}

/// A controller that will die.
pub struct Doomed {
    pub child: Child,
    /// Its log so far.
    pub log: watch::Receiver<String>,
}

impl Doomed {
    /// Starts it, and waits until it sees all.
    pub async fn start(lab: &TestLab, die_at: &DieAt) -> Doomed {
        let DieAt { moment, action, only_stand_still } = die_at;
        let mut command = lab.controller_command(std::env::current_exe().unwrap());
        command.args(["--exact", "killed::controller_process", "--nocapture"]);
        command.env(CONTROLLER, configuration(lab)).env(DIE_AT, format!("{moment:?} {action}"));
        if *only_stand_still {
            command.env(STAND_STILL, "1");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (written, mut log) = watch::channel(String::new());
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                written.send_modify(|log| *log += &(line + "\n"));
            }
        });
        let ready = timeout(SOON, log.wait_for(|log| log.contains("all is seen"))).await.is_ok_and(|seen| seen.is_ok());
        assert!(ready, "it does not see all:\n{}", *log.borrow());
        Doomed { child, log }
    }

    pub async fn obey(&mut self, command: &Command) {
        let line = serde_json::to_string(command).unwrap() + "\n";
        self.child.stdin.as_mut().unwrap().write_all(line.as_bytes()).await.unwrap();
    }

    async fn dies(mut self, what: &str) {
        let status = timeout(SOON, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("{what}: it does not die:\n{}", *self.log.borrow())).unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal, Some(9), "{what}:\n{}", *self.log.borrow());
    }
}

/// The moments to try: all of them, or this one.
fn moments(usual: &[Moment]) -> Vec<Moment> {
    if std::env::var_os(ALL).is_some() { MOMENTS.to_vec() } else { usual.to_vec() }
}

async fn begin(lab: &TestLab, moment: Moment, action: &str) -> Doomed {
    println!("killed: {moment:?} {action}");
    Doomed::start(lab, &DieAt { moment, action: action.to_owned(), only_stand_still: false }).await
}

fn configuration(lab: &TestLab) -> PathBuf {
    lab.layout().dir.join("mainstay.toml")
}

/// The controller that takes over.
pub async fn succeed(lab: &TestLab) -> Controller {
    lab.controller(configuration(lab)).await
}

/// Where the guest runs: on one host, whatever happened.
fn home(lab: &TestLab, guest: &str) -> String {
    let hosts = lab.where_runs(guest).unwrap();
    assert_eq!(hosts.len(), 1, "{guest}: {hosts:?}");
    hosts[0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_killed_at_any_step_does_nothing_twice_and_loses_nothing() {
    let lab = TestLab::up("journal", |_| (), 2, 2).await;
    let state = lab.layout().dir.join("controller");
    std::fs::create_dir_all(&state).unwrap();
    mount("controller", &state, "tmpfs", MountFlags::empty(), Some(c"size=16m")).unwrap();
    let told = lab.layout().dir.join("told");
    let note = format!("echo \"$MAINSTAY_ALARM_STATE $MAINSTAY_ALARM_CODE\" >>{}", told.display());
    // A guest that is killed so often would be reverted soon, and then left to a person.
    let patience = "[[recovery]]\nmatch = \"*\"\nladder = [\"restart x100\"]\nbackoff_limit = \"1s\"\n";
    lab.configure(&format!("{patience}[alarms]\nnotify = [\"/bin/sh\", \"-c\", '{note}']\n"));
    let bystander = lab.starts("db-1");
    a_full_disk_lets_nothing_leave(&lab, &state).await;
    let told = std::fs::read_to_string(told).unwrap();
    assert!(told.contains("raised MS1002") && told.contains("cleared MS1002"), "people were told: {told}");
    for moment in moments(&[Moment::BeforePersist, Moment::AfterLeaving]) {
        start_is_cut_short(&lab, moment).await;
    }
    for moment in moments(&[Moment::BeforeOutcome]) {
        point_is_cut_short(&lab, moment).await;
    }
    for moment in moments(&[Moment::AfterLeaving]) {
        revert_is_cut_short(&lab, moment).await;
    }
    for moment in moments(&[Moment::AfterPersist]) {
        migration_is_cut_short(&lab, moment).await;
    }
    assert_eq!(lab.starts("db-1"), bystander, "nobody else was touched");
    assert_eq!(lab.fencings(), Vec::<String>::new());
}

/// The disk with the memory is full when a guest dies: it is started when there is room again, and once.
async fn a_full_disk_lets_nothing_leave(lab: &TestLab, state: &Path) {
    let controller = succeed(lab).await;
    controller.wait_all_well().await;
    let before = lab.wait_guest_answers("web-1", SOON).await.unwrap();
    let starts = lab.starts("web-1");
    let ballast = state.join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    lab.guest_kill("web-1").await.unwrap();
    let view = controller.wait_alarm(Code::NOTHING_REMEMBERED, "cluster").await;
    let told = alarm(&view, Code::NOTHING_REMEMBERED, "cluster").unwrap();
    assert!(told.text.contains("no space left for") && told.text.contains("mainstay.db"), "{told:?}");
    assert!(view.verdict.severity == Severity::Red && !controller.handle().is_healthy());
    controller.settled().await;
    assert_eq!((lab.starts("web-1"), lab.where_runs("web-1").unwrap()), (starts, vec![]), "nothing left");
    drop(file);
    std::fs::remove_file(ballast).unwrap();
    lab.wait_guest_rebooted("web-1", &before.boot_id, SOON).await.unwrap();
    controller.wait_no_alarm(Code::NOTHING_REMEMBERED, "cluster").await;
    controller.wait_all_well().await;
    assert_eq!(lab.starts("web-1"), starts + 1, "{}", controller.story().await);
    controller.stop().await;
}

async fn start_is_cut_short(lab: &TestLab, moment: Moment) {
    let before = lab.wait_guest_answers("web-1", SOON).await.unwrap();
    let (starts, doomed) = (lab.starts("web-1"), begin(lab, moment, "start web-1").await);
    lab.guest_kill("web-1").await.unwrap();
    doomed.dies("start").await;
    let controller = succeed(lab).await;
    let after = lab.wait_guest_rebooted("web-1", &before.boot_id, SOON).await.unwrap();
    assert!(after.disk_counter >= before.disk_counter);
    controller.wait_all_well().await;
    home(lab, "web-1");
    assert_eq!(lab.starts("web-1"), starts + 1, "{moment:?}: {}", controller.story().await);
    controller.stop().await;
}

async fn point_is_cut_short(lab: &TestLab, moment: Moment) {
    let name = format!("point-{moment:?}").to_lowercase();
    let (starts, mut doomed) = (lab.starts("web-1"), begin(lab, moment, "take recovery point point").await);
    doomed.obey(&Command::TakePoint { workload: "web-1".into(), name: Some(name.as_str().into()) }).await;
    doomed.dies("point").await;
    let controller = succeed(lab).await;
    controller.wait_all_well().await;
    controller.settled().await;
    // On record as good if the host has it, and not at all if it has not.
    let host = home(lab, "web-1");
    let there = lab.virsh(&host, &["snapshot-list", "--name", "web-1"]).await.unwrap().contains(&name);
    let points = controller.handle().points(&"web-1".into()).await.unwrap();
    let state = points.iter().find(|point| point.id.as_str() == name).map(|point| point.state);
    assert_eq!(state, there.then_some(PointState::Good), "{moment:?}: {}", controller.story().await);
    assert_eq!(lab.starts("web-1"), starts, "the guest ran on");
    controller.stop().await;
}

async fn revert_is_cut_short(lab: &TestLab, moment: Moment) {
    let name = format!("back-{moment:?}").to_lowercase();
    let controller = succeed(lab).await;
    controller.wait_all_well().await;
    let take = Command::TakePoint { workload: "web-1".into(), name: Some(name.as_str().into()) };
    controller.accepted(take).await;
    let good = |points: &[mainstay_model::RecoveryPoint]| {
        points.iter().any(|point| point.id.as_str() == name && point.state == PointState::Good)
    };
    controller.wait_points("web-1", "there is a point", good).await;
    controller.stop().await;
    let (starts, mut doomed) = (lab.starts("web-1"), begin(lab, moment, "revert web-1").await);
    doomed.obey(&Command::Revert { workload: "web-1".into(), point: Some(name.as_str().into()) }).await;
    doomed.dies("revert").await;
    let controller = succeed(lab).await;
    controller.wait_all_well().await;
    controller.settled().await;
    home(lab, "web-1");
    lab.wait_guest_answers("web-1", SOON).await.unwrap();
    // Stopped for it and not started yet, it is started; that is not the revert done twice.
    assert!(lab.starts("web-1") <= starts + 1, "{moment:?}: {}", controller.story().await);
    assert!(good(&controller.handle().points(&"web-1".into()).await.unwrap()), "the point is still there");
    controller.stop().await;
}

async fn migration_is_cut_short(lab: &TestLab, moment: Moment) {
    let before = lab.wait_guest_answers("web-1", SOON).await.unwrap();
    let (starts, from) = (lab.starts("web-1"), home(lab, "web-1"));
    let to = if from == "h1" { "h2" } else { "h1" };
    let mut doomed = begin(lab, moment, "migrate web-1").await;
    doomed.obey(&Command::MoveWorkload { workload: "web-1".into(), to: Some(to.into()), cold: false }).await;
    doomed.dies("migration").await;
    let controller = succeed(lab).await;
    // It may arrive yet, so that for a minute and a half nothing is decided about the guest; it goes on meanwhile.
    controller.settled().await;
    home(lab, "web-1");
    let after = lab.wait_guest_answers("web-1", SOON).await.unwrap();
    assert_eq!(after.boot_id, before.boot_id, "it never stopped: {}", controller.story().await);
    assert!(lab.starts("web-1") <= starts + 1, "at most the QEMU that received it");
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fencing_survives_the_controllers_death() {
    let lab = TestLab::up("sigkill", |_| (), 3, 3).await;
    lab.configure("");
    for moment in moments(&[Moment::AfterPersist, Moment::BeforeOutcome]) {
        let (before, lost) = (lab.wait_guest_answers("web-1", SOON).await.unwrap(), home(&lab, "web-1"));
        let guests = lab.guest_names();
        let (hit, spared): (Vec<String>, Vec<String>) = guests.into_iter().partition(|guest| home(&lab, guest) == lost);
        let (starts, fencings) = (lab.all_starts(), lab.fencings().len());
        let doomed = begin(&lab, moment, &format!("fence {lost}")).await;
        lab.power_cut(&lost).await.unwrap();
        doomed.dies("fence").await;
        let controller = succeed(&lab).await;
        lab.wait_guest_rebooted("web-1", &before.boot_id, SOON).await.unwrap();
        controller.wait_event(&format!("{lost}: back in service")).await;
        controller.wait_all_well().await;
        let story = controller.story().await;
        for (guest, before) in starts {
            let expected = before + usize::from(hit.contains(&guest));
            assert_eq!(lab.starts(&guest), expected, "{moment:?}: {guest}, spared {spared:?}: {story}");
            assert!(hit.contains(&guest) == (home(&lab, &guest) != lost) || spared.contains(&guest), "{story}");
        }
        let new: Vec<String> = lab.fencings().split_off(fencings);
        assert!(new.iter().all(|host| *host == lost), "{moment:?}: only the lost one: {new:?}\n{story}");
        controller.stop().await;
    }
}
