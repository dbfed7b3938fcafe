//! What an operator is told, and what counts as fenced, with agents that behave and misbehave as real ones do.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mainstay_fence::{
    Agent, Device, DeviceResult, Done, Error, Level, LevelReport, NotDone, Options, PowerState, Problem, Target,
    fence_level,
};
use tempfile::TempDir;

fn agent(name: &str) -> Agent {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agents").join(name);
    Agent::find(&path.to_string_lossy()).expect("a fake agent of this folder")
}

struct Bench {
    dir: TempDir,
    device: Device,
}

/// A device with one fake agent, serving host `h1` as plug `p1`.
fn bench(name: &str) -> Bench {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = Options::default().with("dir", dir.path().to_string_lossy());
    let device = Device {
        name: format!("{name}-device"),
        agent: agent(name),
        options,
        plugs: [("h1".to_owned(), "p1".to_owned())].into(),
        timeout: Duration::from_secs(60),
        verify_within: Duration::from_secs(5),
        retries: 0,
        settle: Duration::ZERO,
        delay: Duration::ZERO,
    };
    Bench { dir, device }
}

impl Bench {
    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.file("calls")).unwrap_or_default().replace('\n', " ")
    }

    async fn fence(self) -> (LevelReport, TempDir) {
        // In a task of its own, as the controller does it.
        let task = tokio::spawn(async { fence_level(&Level(vec![self.device]), "h1").await });
        (task.await.expect("fencing does not panic"), self.dir)
    }
}

#[tokio::test]
async fn a_good_device_fences_and_proves_it() {
    let bench = bench("good");
    assert!(matches!(bench.device.off("h1").await.unwrap(), Done::Switched { despite: None }));
    assert_eq!(bench.device.status("h1").await.unwrap(), PowerState::Off);
    assert_eq!(bench.calls(), "status off status status ");
    assert!(matches!(bench.device.on("h1").await.unwrap(), Done::Switched { .. }));
    assert_eq!(bench.device.status("h1").await.unwrap(), PowerState::On);
}

#[tokio::test]
async fn a_host_without_a_plug_is_called_by_its_name() {
    let mut bench = bench("good");
    bench.device.off("h2").await.unwrap();
    assert!(bench.file("h2").exists());
    bench.device.options.set("plug", "fixed");
    bench.device.off("h3").await.unwrap();
    assert!(bench.file("fixed").exists() && !bench.file("h3").exists());
}

#[tokio::test]
async fn a_host_already_off_is_fenced_without_an_order() {
    let bench = bench("good");
    fs::write(bench.file("p1"), "off").unwrap();
    assert!(matches!(bench.device.off("h1").await.unwrap(), Done::Already));
    assert_eq!(bench.calls(), "status ");
}

#[tokio::test]
async fn power_that_follows_late_is_waited_for() {
    let (report, _dir) = bench("slow").fence().await;
    assert!(report.is_fenced(), "{report:?}");
    assert!(report.devices[0].took_ms >= 500);
}

#[tokio::test]
async fn a_device_with_a_time_to_settle_is_asked_twice() {
    let mut bench = bench("good");
    bench.device.settle = Duration::from_millis(10);
    assert!(matches!(bench.device.off("h1").await.unwrap(), Done::Switched { despite: None }));
    assert_eq!(bench.calls(), "status off status status ");
    assert!(matches!(bench.device.off("h1").await.unwrap(), Done::Already));
    assert_eq!(bench.calls(), "status off status status status status ");
}

#[tokio::test]
async fn off_that_is_not_said_a_second_time_is_not_off() {
    let hasty = bench("bouncing");
    assert!(matches!(hasty.device.off("h1").await.unwrap(), Done::Switched { despite: None }));
    let mut bench = bench("bouncing");
    bench.device.settle = Duration::from_millis(10);
    let not_done = bench.device.off("h1").await.unwrap_err();
    assert!(matches!(not_done, NotDone::Stayed { order_failed: None, .. }), "{not_done}");
    fs::write(bench.file("p1"), "off").unwrap();
    assert_eq!(bench.device.status("h1").await.unwrap(), PowerState::On, "the second answer counts");
}

#[tokio::test]
async fn a_device_that_lies_has_fenced_nothing() {
    let (report, _dir) = bench("lying").fence().await;
    assert!(!report.is_fenced());
    assert_eq!(report.devices[0].result, DeviceResult::StillOn);
    let trouble = report.devices[0].trouble.as_deref().unwrap();
    assert_eq!(trouble, "`off` was acknowledged, but `status` still says on");
}

#[tokio::test]
async fn a_device_that_cannot_tell_has_fenced_nothing() {
    let (report, dir) = bench("blind").fence().await;
    assert!(!report.is_fenced());
    assert_eq!(report.devices[0].result, DeviceResult::Unverified);
    assert_eq!(fs::read_to_string(dir.path().join("p1")).unwrap(), "off\n", "it did switch, which nobody can know");
}

#[tokio::test]
async fn the_exit_code_of_off_for_another_reason_proves_nothing() {
    for (name, reason) in [
        ("misused", "did not print `Status: OFF`: misused: error: unrecognized arguments: plug"),
        ("misspelt", "did not print `Status: OFF`: sh: 1: Syntax error"),
        ("mute", "did not print `Status: OFF`"),
        ("confused", "ended with exit code 2, and what it printed contradicts that: Status: ON"),
    ] {
        let (report, _dir) = bench(name).fence().await;
        assert!(!report.is_fenced(), "{report}");
        assert_eq!(report.devices[0].result, DeviceResult::Unverified, "{name}");
        let trouble = report.devices[0].trouble.as_deref().unwrap();
        assert!(trouble.contains(reason), "{name}: {trouble}");
    }
}

#[tokio::test]
async fn a_probe_finds_an_agent_that_could_never_prove_that_a_host_is_off() {
    let answer = bench("good").device.probe("h1").await.unwrap();
    assert!(answer.state == PowerState::On && answer.in_words);
    let answer = bench("mute").device.probe("h1").await.unwrap();
    assert!(answer.state == PowerState::On && !answer.in_words, "while the host runs, the exit code is believed");
    assert!(bench("misused").device.probe("h1").await.is_err());
}

#[tokio::test]
async fn the_fact_counts_not_the_exit_code() {
    let (report, _dir) = bench("clumsy").fence().await;
    assert!(report.is_fenced());
    assert_eq!(
        report.devices[0].trouble.as_deref(),
        Some("clumsy off: failed with exit code 1: Lost connection after logout")
    );
}

#[tokio::test]
async fn a_refused_order_is_given_again_within_bounds() {
    let mut patient = bench("flaky");
    patient.device.retries = 1;
    assert!(patient.fence().await.0.is_fenced());
    assert!(!bench("flaky").fence().await.0.is_fenced());
}

#[tokio::test]
async fn a_dead_device_is_reported_with_its_reason() {
    let (report, _dir) = bench("dead").fence().await;
    assert_eq!(report.devices[0].result, DeviceResult::Unverified);
    let trouble = report.devices[0].trouble.as_deref().unwrap();
    assert!(
        trouble.starts_with("unverified: `off` failed (dead off: failed with exit code 1: Connection timed out)"),
        "{trouble}"
    );
    assert!(bench("dead").device.monitor().await.is_err());
    assert!(bench("good").device.monitor().await.is_ok());
}

#[tokio::test]
async fn a_hanging_agent_is_killed_with_all_it_started() {
    let mut bench = bench("stubborn");
    bench.device.timeout = Duration::from_secs(3);
    let NotDone::Stayed { order_failed: Some(Error::Deadline { .. }), .. } = bench.device.off("h1").await.unwrap_err()
    else {
        panic!("the order did not run into its deadline, or the host is not on");
    };
    assert_gone(&bench.file("child"));
}

#[tokio::test]
async fn an_abandoned_call_leaves_nothing_running() {
    let bench = bench("stubborn");
    let child = bench.file("child");
    let abandoned = async {
        while fs::read_to_string(&child).unwrap_or_default().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        _ = bench.device.off("h1") => panic!("it ended by itself"),
        () = abandoned => {}
    }
    assert_gone(&child);
}

/// Waits until the process whose number stands in `file` is gone (or a zombie that init has not reaped).
fn assert_gone(file: &Path) {
    let number = fs::read_to_string(file).expect("the agent started a child");
    let stat = format!("/proc/{}/stat", number.trim());
    let until = Instant::now() + Duration::from_secs(120);
    while fs::read_to_string(&stat).is_ok_and(|text| !text.contains(") Z")) {
        assert!(Instant::now() < until, "process {number} is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn secrets_are_in_no_report_and_no_debug_output() {
    for password in ["hunter2-secret", r#"it's "quoted" \ & odd"#] {
        let mut plain = bench("leaky");
        plain.device.options.set("password", password);
        let mut from_file = bench("leaky");
        let path = from_file.file("password");
        fs::write(&path, format!("{password}\n")).unwrap();
        from_file.device.options.set("password_file", path.to_string_lossy());
        for bench in [plain, from_file] {
            let debug = format!("{:?}", bench.device);
            assert!(!debug.contains("hunter2") && !debug.contains("odd"), "{debug}");
            let (report, _dir) = bench.fence().await;
            let trouble = report.devices[0].trouble.as_deref().unwrap();
            assert!(trouble.contains("sh -c ipmitool -P *** power off: refused"), "{trouble}");
        }
    }
}

#[tokio::test]
async fn a_long_story_is_cut_to_its_end() {
    let bench = bench("chatty");
    let output = bench.device.agent.run("off", &bench.device.options, bench.device.timeout).await.unwrap();
    assert!(output.stderr.len() <= 16 * 1024);
    assert!(output.stderr.ends_with("the reason\n"));
}

#[tokio::test]
async fn an_option_cannot_smuggle_in_another() {
    let mut bench = bench("good");
    bench.device.plugs.insert("h1".to_owned(), "p1\naction=on".to_owned());
    assert!(matches!(bench.device.status("h1").await, Err(Error::Unspeakable { name }) if name == "plug"));
    assert_eq!(bench.calls(), "");
}

#[tokio::test]
async fn a_level_needs_all_of_its_devices() {
    let (first, second, third) = (bench("good"), bench("good"), bench("lying"));
    let both = fence_level(&Level(vec![first.device.clone(), second.device.clone()]), "h1").await;
    assert!(both.is_fenced());
    let mixed = fence_level(&Level(vec![first.device, third.device]), "h1").await;
    assert!(!mixed.is_fenced());
    let results: Vec<_> = mixed.devices.iter().map(|device| device.result).collect();
    assert_eq!(results, [DeviceResult::AlreadyOff, DeviceResult::StillOn]);
    let told = mixed.to_string();
    assert!(told.starts_with("good-device: already off (") && told.contains("; lying-device: still on ("), "{told}");
    assert!(!fence_level(&Level(Vec::new()), "h1").await.is_fenced(), "nothing done is nothing proved");
}

#[tokio::test]
async fn fencing_ends_within_what_it_announces() {
    let mut bench = bench("dead");
    bench.device.retries = 1;
    bench.device.delay = Duration::from_millis(200);
    let (longest, started) = (bench.device.longest(), Instant::now());
    let (report, _dir) = bench.fence().await;
    assert!(report.devices[0].took_ms >= 200);
    assert!(started.elapsed() < longest);
}

#[tokio::test]
async fn targets_are_listed() {
    let target = |plug: &str, alias: &str| Target { plug: plug.to_owned(), alias: alias.to_owned() };
    assert_eq!(bench("good").device.list().await.unwrap(), [target("1", "web"), target("2", "db, second")]);
}

#[tokio::test]
async fn options_are_checked_against_what_the_agent_says() {
    let mut bench = bench("good");
    bench.device.timeout = Duration::from_secs(20);
    assert_eq!(bench.device.check().await.unwrap(), []);
    bench.device.plugs.clear();
    bench.device.options = [
        ("action", "off"),
        ("lanplus", "perhaps"),
        ("method", "onof"),
        ("pasword", "x"),
        ("password_file", "/etc/mainstay/bmc"),
        ("port", "1"),
        ("power_wait", "5s"),
        ("qqq", "x"),
    ]
    .into_iter()
    .collect();
    let problems = bench.device.check().await.unwrap();
    let said: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "option `action` is set by Mainstay at each call: remove it",
            "option `lanplus` must be yes or no, not `perhaps`",
            "option `method` must be one of onoff, cycle, not `onof`",
            "unknown option `pasword`: did you mean `password`?",
            "option `port` is deprecated: use `plug`",
            "option `power_wait` must be a number of seconds, not `5s`",
            "unknown option `qqq`",
            "option `dir` is required",
        ]
    );
    let warnings: Vec<_> = problems.iter().filter(|problem| problem.is_warning()).map(Problem::option).collect();
    assert_eq!(warnings, [Some("port")]);
}

#[tokio::test]
async fn waits_beyond_the_bound_of_a_call_are_refused() {
    let said = async |timeout_s: u64, options: &[(&str, &str)]| {
        let mut bench = bench("good");
        bench.device.timeout = Duration::from_secs(timeout_s);
        options.iter().for_each(|(name, value)| bench.device.options.set(*name, *value));
        let problems = bench.device.check().await.unwrap();
        let said = |problem: &Problem| format!("{}{problem}", if problem.is_warning() { "warning: " } else { "" });
        problems.iter().map(said).collect::<Vec<_>>()
    };
    assert_eq!(said(20, &[]).await, Vec::<String>::new());
    assert_eq!(said(20, &[("delay", "10"), ("power_wait", "5"), ("power_timeout", "20")]).await, Vec::<String>::new());
    assert_eq!(
        said(20, &[("delay", "30")]).await,
        [
            "the agent waits 31 s by itself (delay 30 s), but each of its calls is killed after `timeout`, 20 s: it could never \
          switch a host off; set `timeout` to 38s or more, or let it wait less (Mainstay has a `delay` of its own)"
        ]
    );
    assert_eq!(
        said(20, &[("plug", "1,2,3"), ("delay", "1"), ("power_wait", "6")]).await,
        [
            "the agent waits 20 s by itself (delay 1 s, power_wait 18 s), but each of its calls is killed after `timeout`, 20 s: \
          it could never switch a host off; set `timeout` to 27s or more, or let it wait less (Mainstay has a `delay` of its \
          own)"
        ]
    );
    assert_eq!(
        said(20, &[("login_timeout", "60"), ("power_wait", "6"), ("retry_on", "3")]).await,
        [
            "warning: option `login_timeout` lets the agent wait up to 60 s, but each of its calls is killed after \
             `timeout`, 20 s: a slow device would seem dead",
            "warning: option `power_timeout` lets the agent wait up to 80 s, but each of its calls is killed after \
             `timeout`, 20 s: a slow device would seem dead",
            "warning: option `power_wait` lets the agent wait up to 24 s, but each of its calls is killed after `timeout`, \
             20 s: a slow device would seem dead",
        ]
    );
    assert_eq!(said(5, &[("delay", &u64::MAX.to_string())]).await.len(), 3, "no overflow");
    assert_eq!(
        said(20, &[("missing_as_off", "1")]).await,
        ["option `missing_as_off` makes a misspelt plug count as off, which is no proof: remove it"]
    );
    assert_eq!(said(20, &[("missing_as_off", "0")]).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_no_agent_is_told_apart() {
    assert!(matches!(Agent::find("fence_nowhere"), Err(Error::NotFound { .. })));
    assert!(matches!(agent("garbage").metadata().await, Err(Error::Metadata { .. })));
    let no_password = Options::default().with("password_file", "/nowhere/password");
    let error = agent("good").run("status", &no_password, Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot read the password from `/nowhere/password` (option `password_file`)");
}

#[tokio::test]
async fn a_password_is_never_cut_off() {
    let bench = bench("good");
    let path = bench.file("password");
    fs::write(&path, "x".repeat(5_000)).unwrap();
    let too_long = Options::default().with("password_file", path.to_string_lossy());
    let error = agent("good").run("status", &too_long, Duration::from_secs(1)).await.unwrap_err();
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(why, "it is longer than 4096 bytes: no password");
}
