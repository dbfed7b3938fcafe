//! A lab leaves nothing behind: neither after `down`, nor after its creator was killed in the middle of building it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in a test, a failure is the report; a creator tells its name"
)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mainstay_lab::{DiskKind, Lab, LabSpec, ScratchLab};
use support::{SOON, up};

const CREATOR: &str = "MAINSTAY_LAB_TEST_CREATOR";
/// Instead of a name: the creator chooses it as every test does.
const OWN: &str = "own";

fn spec_with_every_kind_of_disk(name: &str) -> LabSpec {
    let mut spec = LabSpec::new(name, 2, 2);
    spec.guests[0].disk = DiskKind::Faulty;
    spec.guests[1].disk = DiskKind::Small;
    spec
}

/// Not a test of its own: the process that `a_killed_creator…` kills. Does nothing unless it is asked to.
#[tokio::test]
async fn creator() {
    if let Ok(name) = std::env::var(CREATOR) {
        let spec = if name == OWN { ScratchLab::spec("own", 1, 0) } else { spec_with_every_kind_of_disk(&name) };
        println!("lab {}", spec.name);
        let _lab = up(spec).await;
        std::future::pending::<()>().await;
    }
}

/// Starts a creator that builds a lab with its own process in the name; returns when its host is on.
fn own_lab_built() -> (Child, String) {
    let mut creator = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "creator", "--nocapture"])
        .env(CREATOR, OWN)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(creator.stdout.take().unwrap()).lines().map_while(Result::ok);
    let name = lines.find_map(|line| line.split("lab ").nth(1).map(str::to_owned)).expect("it says its lab's name");
    assert!(lines.any(|line| line.contains("host h1 is on")), "the creator ended before its host was on");
    // What it says later is read too: a line into a closed pipe would end it before it has removed its lab.
    std::thread::spawn(move || lines.for_each(drop));
    (creator, name)
}

/// Ctrl-C and SIGTERM end a test program with its labs; what a killed one left, the next one removes.
#[test]
fn no_end_of_a_test_program_leaves_a_lab_for_ever() {
    let (mut killed, left) = own_lab_built();
    killed.kill().unwrap();
    killed.wait().unwrap();
    let dir = |name: &str| Lab::attach(name).unwrap().layout().dir.clone();
    let left_dir = dir(&left);
    assert!(!traces(&left, &left_dir).is_empty());

    let (mut ended, own) = own_lab_built();
    let own_dir = dir(&own);
    assert_eq!(traces(&left, &left_dir), [""; 0], "the next test program removes it");
    assert!(Command::new("kill").args(["-TERM", &ended.id().to_string()]).status().unwrap().success());
    assert_eq!(ended.wait().unwrap().code(), Some(130));
    assert_eq!(traces(&own, &own_dir), [""; 0]);
}

#[tokio::test]
async fn a_killed_creator_leaves_nothing_that_remove_does_not_find() {
    let name = ScratchLab::spec("crash", 1, 0).name;
    let mut creator = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "creator", "--nocapture"])
        .env(CREATOR, &name)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(creator.stdout.take().unwrap()).lines();
    let begun = lines.map_while(Result::ok).any(|line| line.contains("guest web-1 started"));
    creator.kill().unwrap();
    creator.wait().unwrap();
    assert!(begun, "the creator ended before it had started a guest");

    let lab = Lab::attach(&name).unwrap();
    let dir = lab.layout().dir.clone();
    let left = traces(&name, &dir);
    for kind in ["namespace", "control group", "mount", "process", "loop device", "folder", "registration"] {
        assert!(left.iter().any(|trace| trace.starts_with(kind)), "the search finds no {kind}, so it proves nothing");
    }
    // What runs, runs on without its creator: host, guest, and the server of its disk.
    let earlier = lab.wait_guest_answers("web-1", SOON).await.unwrap();
    let counting =
        async { while lab.wait_guest_answers("web-1", SOON).await.unwrap().disk_counter <= earlier.disk_counter {} };
    tokio::time::timeout(SOON, counting).await.expect("the guest still writes to its disk");
    lab.freeze("h2").await.unwrap();
    drop(lab);

    Lab::remove(&name).await.unwrap();
    assert_eq!(traces(&name, &dir), [""; 0]);
    Lab::remove(&name).await.expect("removing what is not there is no error");
    Lab::attach(&name).unwrap_err();
}

#[tokio::test]
async fn two_labs_live_side_by_side_and_one_outlives_the_other() {
    let (first, second) = (ScratchLab::spec("first", 1, 0).name, ScratchLab::spec("second", 1, 0).name);
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("lab");
    let (one, two) = tokio::join!(up(LabSpec::new(&first, 1, 1)), up(LabSpec::new(&second, 1, 1).in_dir(&dir)));
    let first_dir = one.layout().dir.clone();
    assert_eq!(one.host_address("h1").unwrap(), two.host_address("h1").unwrap());
    drop(one);
    assert_eq!(traces(&first, &first_dir), [""; 0]);
    assert!(two.guest_probe("web-1").await.unwrap().is_some(), "the other lab must not notice");
    drop(two);
    assert_eq!(traces(&second, &dir), [""; 0]);
}

#[tokio::test]
async fn a_folder_that_is_no_lab_is_not_emptied() {
    let folder = tempfile::tempdir().unwrap();
    let precious = folder.path().join("thesis.txt");
    fs::write(&precious, "years of work").unwrap();
    let spec = ScratchLab::spec("folder", 1, 0).in_dir(folder.path());
    let refused = Lab::up(spec, mainstay_lab::PowerRunner::Task, |_| ()).await.unwrap_err();
    assert!(refused.to_string().contains("no lab"), "{refused}");
    assert!(precious.exists());
}

/// Everything on this machine that belongs to the lab `name` in `dir`.
fn traces(name: &str, dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut note = |kind: &str, what: String| found.push(format!("{kind}: {what}"));
    for namespace in names_in("/run/netns") {
        if namespace.starts_with(&format!("mainstay-lab.{name}.")) {
            note("namespace", namespace);
        }
    }
    for cgroup in ["/sys/fs/cgroup/freezer/mainstay-lab", "/sys/fs/cgroup/mainstay-lab"] {
        if Path::new(cgroup).join(name).exists() {
            note("control group", format!("{cgroup}/{name}"));
        }
    }
    let dir_text = dir.display().to_string();
    for mount in fs::read_to_string("/proc/self/mounts").unwrap().lines().filter(|line| line.contains(&dir_text)) {
        note("mount", mount.to_owned());
    }
    for process in names_in("/proc").iter().filter(|name| name.parse::<u32>().is_ok()) {
        let words = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&words).contains(&dir_text) {
            note("process", format!("{process} {}", String::from_utf8_lossy(&words).replace('\0', " ")));
        }
    }
    for device in names_in("/sys/block") {
        let file = fs::read_to_string(format!("/sys/block/{device}/loop/backing_file")).unwrap_or_default();
        if file.contains(&dir_text) {
            note("loop device", format!("{device} {file}"));
        }
    }
    if dir.exists() {
        note("folder", dir_text);
    }
    if Lab::list().iter().any(|known| known == name) {
        note("registration", name.to_owned());
    }
    found
}

fn names_in(folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
