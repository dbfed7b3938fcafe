//! Completion in a shell: commands, and names that only the controller knows.
#![allow(clippy::unwrap_used, reason = "a helper that fails ends the test")]

mod common;

use common::*;
use std::time::{Duration, Instant};

/// Far longer than an answer takes, also on a machine that is overloaded many times.
const WITHIN: Duration = Duration::from_secs(300);

/// What a shell would offer after these words.
fn offered(words: &[&str], socket: &str) -> Vec<String> {
    let index = (words.len() - 1).to_string();
    let environment = [
        ("COMPLETE", "bash"),
        ("_CLAP_COMPLETE_INDEX", &*index),
        ("_CLAP_COMPLETE_COMP_TYPE", "9"),
        ("_CLAP_COMPLETE_SPACE", "true"),
        ("_CLAP_IFS", "\n"),
        ("MAINSTAY_SOCKET", socket),
    ];
    let ran = mainstay(&[&["--"], words].concat(), &environment);
    ran.stdout.lines().map(str::to_owned).collect()
}

/// The same once the controller was asked in time: a shell is not kept waiting, and on a loaded machine nothing is offered then.
fn offered_soon(words: &[&str], socket: &str) -> Vec<String> {
    let began = Instant::now();
    loop {
        let names = offered(words, socket);
        if !names.is_empty() || began.elapsed() > WITHIN {
            return names;
        }
    }
}

#[test]
fn names_are_live() {
    let server = Server::start(Fixed::new(well()));
    let socket = server.folder.path().join("api.sock");
    let socket = socket.to_str().unwrap();
    assert_eq!(offered_soon(&["mainstay", "vm", "move", "we"], socket), ["web-1", "web-2"]);
    assert_eq!(offered_soon(&["mainstay", "vm", "move", "web-1", "--to", "h"], socket), ["h1", "h2"]);
    assert_eq!(offered_soon(&["mainstay", "incidents", "show", ""], socket)[0], "i7");
    assert!(offered_soon(&["mainstay", "explain", "MS110"], socket).contains(&"MS1104".to_owned()));
    assert_eq!(offered_soon(&["mainstay", "snap"], socket), ["snapshot"]);
    let points = offered_soon(&["mainstay", "snapshot", "revert", "web-1", ""], socket);
    assert_eq!(points[..2], ["before-upgrade", "ms-0540"]);
}

#[test]
fn without_a_controller_nothing_is_offered_and_nothing_hangs() {
    let names = offered(&["mainstay", "vm", "move", "we"], "/nowhere/api.sock");
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn the_script_asks_this_program() {
    let ran = mainstay(&["completion", "bash"], &[]);
    assert!(ran.exit == 0 && ran.stdout.contains("COMPLETE=\"bash\""), "{ran:?}");
}

#[test]
fn man_pages_are_written_for_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let ran = mainstay(&["man", folder.path().to_str().unwrap()], &[]);
    assert_eq!(ran.exit, 0, "{ran:?}");
    assert!(folder.path().join("mainstay-vm-move.1").is_file());
}
