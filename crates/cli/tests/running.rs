//! The real controller, started by `mainstay up` against a host that nobody can reach, asked by the real command line.
#![allow(clippy::unwrap_used, reason = "a helper that fails ends the test")]

mod common;

use common::{Ran, mainstay};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Far longer than a start takes, also on a machine that is overloaded many times.
const STARTS_WITHIN: Duration = Duration::from_secs(300);

/// Nobody answers on the discard port of the machine itself.
const CONFIGURATION: &str = r#"
[cluster]
name = "test"

[site.here]
shared_storage = true

[site.here.libvirt]
uri = "qemu+tcp://127.0.0.1:9/system"

# The only host.
[site.here.host.far]
address = "127.0.0.1"

[[vm]]
match = "*"
"#;

/// Nor on that of another of its addresses.
const NEAR: &str = "qemu+tcp://127.0.0.2:9/system";

struct Up {
    folder: TempDir,
    process: Child,
}

impl Up {
    fn start() -> Up {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mainstay.toml"), CONFIGURATION).unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let words =
            ["up", "--config", &path("mainstay.toml"), "--state-dir", &path("state"), "--socket", &path("api.sock")];
        let mut process = Command::new(env!("CARGO_BIN_EXE_mainstay"));
        let process = process.args(words).stderr(Stdio::null()).spawn().unwrap();
        let up = Up { folder, process };
        let started = Instant::now();
        while up.run(&["status"]).exit == 4 {
            assert!(started.elapsed() < STARTS_WITHIN, "{:?}", up.run(&["status"]));
            std::thread::sleep(Duration::from_millis(50));
        }
        up
    }

    fn run(&self, words: &[&str]) -> Ran {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        mainstay(words, &[("MAINSTAY_SOCKET", &path("api.sock")), ("MAINSTAY_CONFIG", &path("mainstay.toml"))])
    }

    /// Runs until the outcome is as wanted.
    fn until(&self, words: &[&str], wanted: impl Fn(&Ran) -> bool) -> Ran {
        let started = Instant::now();
        loop {
            let ran = self.run(words);
            if wanted(&ran) {
                return ran;
            }
            assert!(started.elapsed() < STARTS_WITHIN, "{words:?}: {ran:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_controller_with_an_unreachable_host_says_so_and_answers_everything_else() {
    let up = Up::start();

    let status = up.until(&["status", "--json"], |ran| {
        ran.exit == 3 && ran.json()["data"]["alarms"][0]["subject"]["host"] == "far"
    });
    let status = status.json();
    assert_eq!(status["version"], 1);
    assert_eq!(status["data"]["name"], "test");
    assert!(status["age_ms"].as_u64().unwrap() < 15_000);

    let shown = up.run(&["host", "show", "far"]);
    assert!(shown.exit == 0 && shown.stdout.contains("refused"), "{shown:?}");
    let explained = up.run(&["explain", "far"]);
    assert!(explained.exit == 0 && explained.stdout.contains("mainstay.toml:12"), "{explained:?}");
    let foreseen = up.run(&["what-if", "host-loss", "far"]);
    assert!(foreseen.stdout.starts_with("If far lost power now (nothing is touched)\n"), "{foreseen:?}");
    let unknown = up.run(&["vm", "show", "web-1"]);
    assert!(unknown.exit == 1 && unknown.stderr.contains("there is no VM web-1"), "{unknown:?}");

    // A second controller is refused before it touches anything.
    let path = |name: &str| up.folder.path().join(name).display().to_string();
    let second = up.run(&["up", "--config", &path("mainstay.toml"), "--state-dir", &path("other")]);
    assert!(second.exit == 1 && second.stderr.contains("another controller answers"), "{second:?}");
    assert!(!up.folder.path().join("other").exists());
}

/// The scenario: the controller's machine is suspended, its lock gets lost, another takes over, and the first one wakes up.
#[test]
fn a_controller_that_is_deposed_ends_with_an_exit_code_of_its_own() {
    let mut first = Up::start();
    let signal = |process: &Child, name: &str| {
        let sent = Command::new("kill").args([name, &process.id().to_string()]).status().unwrap();
        assert!(sent.success());
    };
    let path = |name: &str| first.folder.path().join(name).display().to_string();
    let (config, state, socket) = (path("mainstay.toml"), path("state"), path("second.sock"));
    let words = ["up", "--config", &config, "--state-dir", &state, "--socket", &socket];
    let spawn = || Command::new(env!("CARGO_BIN_EXE_mainstay")).args(words).stderr(Stdio::null()).spawn().unwrap();
    let stop_first = || {
        signal(&first.process, "-STOP");
        let _ = fs::remove_file(first.folder.path().join("state/mainstay.db.lock"));
    };
    stop_first();
    let mut second = Ended(spawn());
    let started = Instant::now();
    while mainstay(&["status"], &[("MAINSTAY_SOCKET", &socket)]).exit == 4 {
        assert!(started.elapsed() < 4 * STARTS_WITHIN, "the second one does not start");
        std::thread::sleep(Duration::from_millis(50));
        if second.0.try_wait().unwrap().is_some() {
            // The first one was stopped in the middle of a write, which keeps the database locked.
            signal(&first.process, "-CONT");
            std::thread::sleep(Duration::from_millis(100));
            stop_first();
            second = Ended(spawn());
        }
    }
    signal(&first.process, "-CONT");
    let status = first.process.wait().unwrap();
    assert_eq!(status.code(), Some(5), "{status}");
    assert_eq!(second.0.try_wait().unwrap(), None, "the second one goes on");
}

/// A process that is ended with its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn hosts_come_and_go_in_the_users_file_and_in_the_running_controller() {
    let up = Up::start();
    let file = up.folder.path().join("mainstay.toml");

    let plan = up.run(&["host", "add", "near", "--site", "here", "--uri", NEAR, "--dry-run"]);
    assert_eq!(plan.stdout, format!("+ [site.here.host.near]\n+ uri = \"{NEAR}\"\n+ \n"), "{plan:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), CONFIGURATION);

    let added = up.run(&["host", "add", "near", "--site", "here", "--uri", NEAR]);
    assert!(added.exit == 0 && added.stderr.contains("the controller has read it"), "{added:?}");
    up.until(&["host", "list", "--json"], |ran| ran.json()["data"].as_array().unwrap().len() == 2);

    let removed = up.run(&["host", "remove", "near", "--yes"]);
    assert_eq!(removed.exit, 0, "{removed:?}");
    assert_eq!(fs::read_to_string(&file).unwrap().trim_end(), CONFIGURATION.trim_end());

    fs::write(&file, CONFIGURATION.replace("[[vm]]", "[[vn]]")).unwrap();
    let refused = up.run(&["config", "reload"]);
    assert!(refused.exit == 3 && refused.stderr.contains("has no key `vn`"), "{refused:?}");
    assert_eq!(up.run(&["host", "show", "far"]).exit, 0, "the old configuration stays in force");
}

#[test]
fn without_a_controller_the_next_command_is_named() {
    let ran = mainstay(&["status"], &[("MAINSTAY_SOCKET", "/nowhere/api.sock")]);
    assert_eq!(ran.exit, 4);
    assert!(ran.stderr.contains("no controller answers at /nowhere/api.sock; start one with `mainstay up`"), "{ran:?}");
}

/// What `config check` says of a configuration of `cases`: an input on which Mainstay failed once.
fn check_case(name: &str) -> serde_json::Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mainstay.toml");
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases").join(name).join("mainstay.toml");
    fs::copy(&case, &file).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap(); // passwords stand in it
    mainstay(&["config", "check", "--json", "-c", file.to_str().unwrap()], &[]).json()
}

#[test]
fn ipv6_address() {
    let report = check_case("ipv6-address");
    // Hosts without a fence device are warned of; of the addresses nothing is to be said.
    let problems = report["problems"].as_array().unwrap();
    assert!(report["valid"] == true && problems.iter().all(|problem| problem["code"] == "MS1422"), "{report}");
}

#[test]
fn fence_delay_beyond_timeout() {
    let report = check_case("fence-delay-beyond-timeout");
    let errors = report["problems"].as_array().unwrap();
    let told: Vec<_> = errors.iter().map(|error| (error["code"].as_str(), error["line"].as_u64())).collect();
    assert_eq!(told, [(Some("MS1412"), Some(12)), (Some("MS1412"), Some(15))], "{report}");
    assert!(report["valid"] == false && report.to_string().contains("is killed after"), "{report}");
}

#[test]
fn every_mistake_in_a_configuration_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mainstay.toml");
    fs::write(&file, CONFIGURATION.replace("match", "mtach").replace("address =", "adress =")).unwrap();
    let ran = mainstay(&["config", "check", "--json", "-c", file.to_str().unwrap()], &[]);
    assert_eq!(ran.exit, 1);
    let report = ran.json();
    let lines: Vec<_> = report["problems"].as_array().unwrap().iter().map(|problem| problem["line"].as_u64()).collect();
    assert_eq!((report["valid"].as_bool(), lines), (Some(false), vec![Some(13), Some(15), Some(16)]), "{report}");

    let ran = mainstay(&["up", "-c", file.to_str().unwrap()], &[]);
    assert!(ran.exit == 1 && ran.stderr.contains("did you mean `address`?"), "{ran:?}");

    let device = "\n[fence.power]\nagent = \"fence_nowhere\"\n";
    fs::write(&file, CONFIGURATION.replace("\n[[vm]]", "fence = \"power\"\n\n[[vm]]") + device).unwrap();
    let report = mainstay(&["config", "check", "--json", "-c", file.to_str().unwrap()], &[]).json();
    let errors: Vec<_> =
        report["problems"].as_array().unwrap().iter().filter(|one| one["severity"] == "error").collect();
    assert!(errors.len() == 1 && errors[0]["code"] == "MS1412" && errors[0]["line"] == 19, "{report}");

    let wrong = CONFIGURATION.replace("[[vm]]", "fence = \"power\"\nmemory = 1\n\n[[vm]]").replace("match", "mtach");
    fs::write(&file, wrong + device).unwrap();
    let report = mainstay(&["config", "check", "--json", "-c", file.to_str().unwrap()], &[]).json();
    let codes: Vec<_> = report["problems"].as_array().unwrap().iter().map(|problem| &problem["code"]).collect();
    assert!(codes.len() >= 3 && codes.iter().any(|code| **code == "MS1412"), "nothing hides the agent's: {report}");

    let example = mainstay(&["config", "example"], &[]);
    fs::write(&file, example.stdout).unwrap();
    let report = mainstay(&["config", "check", "--json", "-c", file.to_str().unwrap()], &[]).json();
    let codes = report["problems"].as_array().unwrap().iter().map(|problem| problem["code"].as_str().unwrap());
    assert!(
        codes.clone().all(|code| ["MS1411", "MS1412"].contains(&code)),
        "all but its password files and agents is right: {report}"
    );
}

/// A user wrote these, `config check` called each right, and `up` refused them one after the other.
#[test]
fn what_up_refuses_is_refused_by_check_and_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (file, token) = (path("mainstay.toml"), path("token"));
    fs::write(&token, "short\n").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let text = format!(
        r#"
[controller]
state_directory = "{state}"
log = "info,=,=x"
api_listen = "127.0.0.1:7710"
api_token_file = "{token}"
[site.paris.libvirt]
uri = "qemu+tcp://{{address}}/system?keepalive_intervall=5"
[site.paris.host.h1]
address = "10.0.0.999"
[site.paris.host.h2]
address = "10.0.0.12"
uri = "qemu+tcp://{{address}}:99999/system"
[site.paris.host.h3]
address = "10.0.0.13"
[site.paris.host.h4]
address = "10.0.0.13"
[site.paris.host.h5]
uri = "qemu:///system"
[site.paris.host.h6]
uri = "qemu+unix:///system"
[[vm]]
match = "*"
"#,
        state = path("state").display(),
        token = token.display(),
    );
    fs::write(&file, text).unwrap();
    let wanted = [
        "`log` is no filter: invalid filter directive",
        "has fewer than 16 characters",
        "option \"keepalive_intervall\" is not known",
        "`site.paris.host.h1.address` is \"10.0.0.999\"; expected an address",
        "port \"99999\" is no number from 1 to 65535",
        "hosts `h3` and `h4` have one address, `10.0.0.13`: they are one machine",
        "hosts `h5` and `h6` are reached at one place, `qemu+unix:///system`: they are one machine",
    ];
    let report = mainstay(&["config", "check", "--json", "-c", file.to_str().unwrap()], &[]).json();
    let problems = report["problems"].as_array().unwrap();
    let checked: Vec<&str> = problems.iter().map(|problem| problem["message"].as_str().unwrap()).collect();
    assert_eq!(checked.len(), wanted.len(), "{checked:#?}");
    for (found, wanted) in checked.iter().zip(wanted) {
        assert!(found.contains(wanted), "{found} is not {wanted}");
    }
    let ran = mainstay(&["up", "-c", file.to_str().unwrap()], &[]);
    assert!(ran.exit == 1 && ran.stderr.contains("has 7 errors"), "{ran:?}");
}

/// A password that every user of the machine can read is none.
#[test]
fn a_secret_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (file, password) = (folder.path().join("mainstay.toml"), folder.path().join("password"));
    let mode = |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    fs::write(&password, "a secret\n").unwrap();
    let device = |option: &str| {
        let text = CONFIGURATION.replace("\n[[vm]]", "fence = \"power\"\n\n[[vm]]");
        fs::write(&file, format!("{text}\n[fence.power]\nagent = \"fence_dummy\"\noptions = {{ {option} }}\n"))
            .unwrap();
    };
    let refused = || {
        let ran = mainstay(&["config", "check", "--json", "-c", file.to_str().unwrap()], &[]);
        let report = ran.json();
        let open = report["problems"].as_array().unwrap().iter().filter(|problem| problem["code"] == "MS1413");
        open.map(|problem| problem["line"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    device(&format!("password_file = \"{}\"", password.display()));
    let line = fs::read_to_string(&file).unwrap().lines().count() as u64;
    for (open, found) in [(0o644, vec![line]), (0o602, vec![line]), (0o640, vec![]), (0o600, vec![])] {
        mode(&password, open);
        assert_eq!(refused(), found, "{open:o}");
    }
    // The key with which a hypervisor is reached is a secret as well.
    let key = folder.path().join("clientkey.pem");
    fs::write(&key, "no real key\n").unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let uri = format!("qemu+tls://127.0.0.1:9/system?pkipath={}", folder.path().display());
    fs::write(&file, text.replace("qemu+tcp://127.0.0.1:9/system", &uri)).unwrap();
    let line_of_uri = 1 + text.lines().position(|line| line.starts_with("uri = ")).unwrap() as u64;
    for (open, found) in [(0o644, vec![line_of_uri]), (0o640, vec![])] {
        mode(&key, open);
        assert_eq!(refused(), found, "{open:o}");
    }
    fs::write(&file, text).unwrap();
    mode(&file, 0o666);
    assert_eq!(refused(), [1], "who can write it runs programs as the controller");
    mode(&file, 0o644);
    assert_eq!(refused(), Vec::<u64>::new(), "it holds no secret");
    device("password = \"a secret\"");
    assert_eq!(refused(), [line]);
    mode(&file, 0o640);
    assert_eq!(refused(), Vec::<u64>::new());
}
