//! What people see: every look at a cluster, as golden text, through the real API and the real binary.

mod common;

use common::*;
use mainstay_engine::view::Verdict;
use mainstay_model::Severity;

#[test]
fn all_is_well() {
    let server = Server::start(Fixed::new(well()));
    let ran = server.run(&["status"]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    insta::assert_snapshot!(ran.stdout.replace(&std::process::id().to_string(), "PID"));
}

#[test]
fn something_needs_a_person() {
    let server = Server::start(Fixed::new(trouble()));
    let ran = server.run(&["status"]);
    assert_eq!(ran.exit, 3, "{ran:?}");
    insta::assert_snapshot!(ran.stdout.replace(&std::process::id().to_string(), "PID"));
}

#[test]
fn listings_and_details() {
    let server = Server::start(Fixed::new(trouble()));
    let commands: [&[&str]; 12] = [
        &["host", "list"],
        &["host", "show", "h2"],
        &["vm", "list"],
        &["vm", "show", "db-1"],
        &["alarm", "list"],
        &["snapshot", "list", "web-1"],
        &["incidents"],
        &["incidents", "show", "i7"],
        &["events", "--limit", "10"],
        &["stats", "web-1"],
        &["explain", "web-1"],
        &["ready"],
    ];
    let mut text = String::new();
    for words in commands {
        let ran = server.run(words);
        assert_eq!(ran.exit, 0, "{words:?}: {ran:?}");
        text.push_str(&format!("$ mainstay {}\n{}\n", words.join(" "), ran.stdout));
    }
    insta::assert_snapshot!(text.replace(&std::process::id().to_string(), "PID"));
}

#[test]
fn every_listing_speaks_json_with_version_age_and_leader() {
    let server = Server::start(Fixed::new(trouble()));
    let listings: [&[&str]; 10] = [
        &["status"],
        &["host", "list"],
        &["vm", "list"],
        &["alarm", "list"],
        &["snapshot", "list", "web-1"],
        &["incidents"],
        &["events"],
        &["stats"],
        &["ready"],
        &["what-if", "maintenance", "h1"],
    ];
    for words in listings {
        let answer = server.run(&[words, &["--json"]].concat()).json();
        assert_eq!((answer["version"].as_u64(), answer["age_ms"].as_u64()), (Some(1), Some(0)), "{words:?}");
        assert!(answer["leader"]["name"] == "lab" && !answer["data"].is_null(), "{words:?}: {answer}");
    }
}

/// The scenario: the disk of the controller's state is full. The verdict names that, and not only that its data is old.
#[test]
fn a_controller_that_can_remember_nothing_says_so_first() {
    let mut view = well();
    view.verdict = Verdict {
        severity: Severity::Red,
        text: "the controller can remember nothing, so it starts nothing: disk full (MS1002)".to_owned(),
        next: Some("mainstay explain MS1002".to_owned()),
    };
    let trouble = Some("disk full".to_owned());
    let server = Server::start(Fixed { last_step: ago(60), trouble, ..Fixed::new(view) });
    let status = server.run(&["status"]);
    assert!(status.exit == 4 && status.stdout.contains("so it starts nothing: disk full (MS1002)"), "{status:?}");
    let list = server.run(&["vm", "list"]);
    assert!(list.exit == 4 && list.stderr.contains("MS1002") && list.stderr.contains("disk full"), "{list:?}");
    let nagios = server.run(&["status", "--nagios"]);
    assert!(
        nagios.exit == 3 && nagios.stdout.starts_with("MAINSTAY UNKNOWN - the controller can remember"),
        "{nagios:?}"
    );
}

#[test]
fn monitoring_gets_one_line_and_its_own_exit_codes() {
    let line = |view| {
        let ran = Server::start(Fixed::new(view)).run(&["status", "--nagios"]);
        (ran.exit, ran.stdout)
    };
    let (exit, text) = line(well());
    assert_eq!(exit, 0);
    insta::assert_snapshot!(text, @"MAINSTAY OK - All 3 VMs run, on 2 hosts; each has a fresh recovery point. | hosts=2 hosts_in_service=2 vms=3 vms_well=3 alarms_red=0 alarms_yellow=0 incidents=0");
    let (exit, text) = line(trouble());
    assert_eq!(exit, 2);
    insta::assert_snapshot!(text, @"MAINSTAY CRITICAL - 1 of 3 VMs is down: h2 was lost 12 s ago and nobody can fence it. | hosts=2 hosts_in_service=1 vms=4 vms_well=2 alarms_red=1 alarms_yellow=1 incidents=1");
    let away = mainstay(&["status", "--nagios"], &[("MAINSTAY_SOCKET", "/nowhere/api.sock")]);
    assert!(away.exit == 3 && away.stdout.starts_with("MAINSTAY UNKNOWN - no controller answers"), "{away:?}");
}

#[test]
fn the_running_configuration_is_shown_without_its_secrets() {
    let server = Server::start(Fixed::new(well()));
    let ran = server.run(&["config", "show", "--running"]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    assert!(ran.stdout.contains("fence_sim") && ran.stdout.contains("***"), "{ran:?}");
    assert!(!ran.stdout.contains("hunter2"), "{ran:?}");
}

#[test]
fn what_if_config_says_what_the_file_changes() {
    let server = Server::start(Fixed::new(well()));
    let file = server.folder.path().join("new.toml");
    let run = |text: &str| {
        std::fs::write(&file, text).unwrap();
        server.run(&["what-if", "config", file.to_str().unwrap()]).stderr
    };
    assert_eq!(run(RUNNING), "the file says what is in force already\n");
    let changed = RUNNING.replace("[[vm]]", "[detection]\nheartbeat_every = \"2s\"\n[site.lab.host.h2]\n[[vm]]");
    let told = run(&changed);
    assert!(told.contains("detection.heartbeat_every: ") && told.contains("hosts.h2: added"), "{told}");
}

#[test]
fn the_way_to_a_console_is_a_command_that_can_be_typed() {
    let server = Server::start(Fixed::new(well()));
    let ran = server.run(&["vm", "console", "web-1", "--print"]);
    assert_eq!((ran.exit, &*ran.stdout), (0, "virsh --connect qemu+tcp://10.0.0.1/system console 'a b'\n"), "{ran:?}");
    let paused = server.run(&["vm", "pause", "web-1"]);
    assert!(paused.exit == 0 && paused.stderr.contains("Pause"), "{paused:?}");
    let reset = server.run(&["vm", "reset", "web-1"]);
    assert!(reset.exit == 2 && reset.stderr.contains("What it has not written to disk is lost."), "{reset:?}");
}

/// A guest's owner chose its name, and a hypervisor its errors. What they hold must not reach an operator's terminal.
#[test]
fn no_byte_of_others_steers_a_terminal() {
    let evil = "x\u{1b}[2J\u{1b}]0;owned\u{7}\ry\u{202e}z\u{9b}31m";
    let mut view = trouble();
    view.name = evil.to_owned();
    view.hosts[0].evidence = vec![evil.to_owned()];
    view.hosts[0].doing = Some(evil.to_owned());
    view.workloads[0].workload = evil.into();
    view.workloads[0].evidence = vec![evil.to_owned()];
    for alarm in &mut view.alarms {
        (alarm.text, alarm.advice) = (evil.to_owned(), evil.to_owned());
    }
    view.verdict.text = evil.to_owned();
    let server = Server::start(Fixed::new(view));
    let host = server.run(&["host", "list", "--json"]).json()["data"][0]["host"].as_str().unwrap().to_owned();
    for words in [
        &["status"][..],
        &["status", "--json"],
        &["host", "list"],
        &["host", "show", &host],
        &["vm", "list"],
        &["vm", "list", "--json"],
        &["alarm", "list"],
        &["vm", "show", evil],
        &["explain", evil],
    ] {
        let ran = server.run(words);
        for said in [&ran.stdout, &ran.stderr] {
            let wrong: Vec<char> = said
                .chars()
                .filter(|c| c.is_control() && *c != '\n' || ('\u{202a}'..='\u{202e}').contains(c))
                .collect();
            assert!(wrong.is_empty(), "{words:?}: {wrong:?} in {said}");
        }
    }
}
