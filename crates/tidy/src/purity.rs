//! No clock, no chance, no async, no I/O and no unordered map where decisions are made: same inputs, same bytes out.

use crate::tree::{files, report};

/// Words that have no place in code of the engine, the model and the simulator.
const BANNED: &[(&str, &str)] = &[
    ("tokio", "async belongs to the daemon"),
    ("async fn", "async belongs to the daemon"),
    (".await", "async belongs to the daemon"),
    ("Instant::now", "time is an argument"),
    ("SystemTime", "time is an argument"),
    ("rand::", "chance is a seed"),
    ("RandomState", "chance is a seed"),
    ("HashMap", "order reaches decisions: BTreeMap"),
    ("HashSet", "order reaches decisions: BTreeSet"),
    ("std::thread", "one thread, one order"),
    ("TcpStream", "no sockets"),
    ("UdpSocket", "no sockets"),
    ("UnixStream", "no sockets"),
    ("std::process", "no processes"),
    ("std::env", "what is configured arrives as a value"),
    ("tracing::", "what happened is an event, not a log line"),
];

/// Runs many worlds side by side and takes the time; no world sees it.
const OUTSIDE: &[&str] = &["crates/sim/src/fuzz/mod.rs", "crates/sim/src/fuzz/soak.rs"];

#[test]
fn the_engine_the_model_and_the_simulator_are_pure() {
    let mut findings = Vec::new();
    for folder in ["crates/engine/src", "crates/model/src", "crates/sim/src"] {
        for source in
            files(folder, ".rs").iter().filter(|source| !source.is_test() && !OUTSIDE.contains(&&*source.path))
        {
            for (line, code) in source.code() {
                for (word, why) in BANNED.iter().filter(|(word, _)| code.contains(word)) {
                    findings.push(format!("{}:{line}: {word} ({why})", source.path));
                }
            }
        }
    }
    report(findings, "Pass it in as a value.");
}

/// Where talking to a terminal is the purpose.
const TALKERS: &[&str] =
    &["crates/cli/", "crates/bench/", "crates/scale/", "crates/soak/", "crates/traces/", "/examples/"];

#[test]
fn only_the_command_line_prints() {
    let mut findings = Vec::new();
    for source in files("crates", ".rs") {
        if source.is_test() || TALKERS.iter().any(|talker| source.path.contains(talker)) {
            continue;
        }
        for (line, code) in source.code() {
            for word in ["println!(", "eprintln!(", "print!(", "eprint!(", "dbg!("] {
                if code.split('"').next().is_some_and(|start| start.contains(word)) {
                    findings.push(format!("{}:{line}: {word}…)", source.path));
                }
            }
        }
    }
    findings.dedup();
    report(findings, "Use tracing in the daemon and the drivers, an event in the engine; the command line prints.");
}
