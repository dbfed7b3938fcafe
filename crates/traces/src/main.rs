//! `script/same-traces` builds this in two commits, and compares what it prints: of every scenario and seed a line with a hash
//! of its trace, of what broke and of what was expected. It uses only what has been public for long, so that old commits build it.
//!
//! ```text
//! traces SCENARIOS SEEDS           a line for each
//! traces --time FOLDER             how many simulated hours a CPU second gives in that scenario
//! traces --seed PROFILE SEED       the whole trace of one
//! ```

#![forbid(unsafe_code)]

use mainstay_sim::{
    Report,
    fuzz::{Profile, replay},
    scenario,
};
use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Error, Write, stdout},
    path::Path,
    thread,
};

// Measured as it is soaked.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *words {
        ["--time", folder] => time(Path::new(folder)),
        ["--seed", name, seed] => whole(name, number(seed)?),
        [folder, seeds] => lines(Path::new(folder), number(seeds)?),
        _ => Err(Error::other("traces SCENARIOS SEEDS | --time FOLDER | --seed PROFILE SEED")),
    }
}

fn number(text: &str) -> io::Result<u64> {
    text.parse().map_err(Error::other)
}

fn whole(name: &str, seed: u64) -> io::Result<()> {
    let profile = Profile::named(name).ok_or_else(|| Error::other(format!("no profile {name}")))?;
    let report = replay(seed, profile, None);
    let mut out = stdout().lock();
    report.trace.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    writeln!(out, "{report}")
}

fn lines(scenarios: &Path, seeds: u64) -> io::Result<()> {
    let mut folders: Vec<_> = fs::read_dir(scenarios)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.sort();
    let mut out = stdout().lock();
    for folder in folders.iter().filter(|folder| folder.join("setup.toml").exists()) {
        let report = scenario::run(folder).map_err(Error::other)?;
        writeln!(out, "{} {}", report.scenario, hash(&report))?;
    }
    for profile in Profile::ALL {
        for seed in 0..seeds {
            // A controller that panics does so in both commits.
            let hashed = thread::spawn(move || hash(&replay(seed, profile, None))).join();
            writeln!(out, "{profile} {seed} {}", hashed.unwrap_or_else(|_| "panicked".to_owned()))?;
        }
    }
    Ok(())
}

fn hash(report: &Report) -> String {
    let mut hasher = DefaultHasher::new();
    report.trace.hash(&mut hasher);
    format!("{report} {:?}", report.at_stake).hash(&mut hasher);
    format!("{:016x} {} lines, {}", hasher.finish(), report.trace.len(), report.passed)
}

fn time(folder: &Path) -> io::Result<()> {
    let began = cpu_ms()?;
    let report = scenario::run(folder).map_err(Error::other)?;
    let spent_s = (cpu_ms()? - began).max(1) as f64 / 1_000.0;
    let hours = report.end_s / 3_600.0;
    let passed = if report.passed { "passed" } else { "failed" };
    writeln!(stdout(), "{hours} h in {spent_s:.2} CPU s: {:.1} h/s ({passed}), {}", hours / spent_s, hash(&report))
}

/// CPU time of this process, in steps of the kernel's clock.
fn cpu_ms() -> io::Result<u64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
    Ok(ticks.sum::<u64>() * 10)
}
