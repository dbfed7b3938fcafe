//! What people see: every look at a cluster, as golden text, through the real API and the real binary.

mod common;

use common::*;

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
