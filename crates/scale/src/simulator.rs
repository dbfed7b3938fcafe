//! How fast the simulator is: the real controller in the simulated world, checked after every step, on a cluster of five hosts
//! and thirty VMs.

use crate::{
    clock::timed,
    cluster::Size,
    report::{Amount, Row},
};
use mainstay_sim::scenario;
use std::{fmt::Write, fs, io, time::Duration};

const CLUSTER: Size = Size { hosts: 5, workloads: 30 };
/// Simulated in one run.
const HOURS: u64 = 50;
/// CPU time for that.
const AT_MOST: Duration = Duration::from_secs(1);
const HOURS_A_YEAR: f64 = 8_766.0;

/// Rows for a cluster at rest, and for one whose guests are probed as well while something goes wrong every few minutes.
///
/// # Errors
/// If the temporary folder of the scenario can't be written, or the run is not what it should be.
pub fn rows() -> io::Result<Vec<Row>> {
    let at_rest = run("", "")?;
    let busy = run("probe = { ping = true, address = \"192.0.2.1\" }\n", &troubles())?;
    let years_an_hour = HOURS as f64 / HOURS_A_YEAR / busy.as_secs_f64() * 3_600.0;
    let what = format!("{HOURS} simulated hours, heartbeats each second");
    Ok(vec![
        Row::times(&what, CLUSTER, vec![at_rest], Some(AT_MOST)),
        Row::times(&format!("{what}, guests probed, 600 faults"), CLUSTER, vec![busy], None),
        Row::shown("simulated years a CPU hour gives, with these faults", CLUSTER, Amount::Count(years_an_hour as u64)),
    ])
}

/// Every five minutes a guest dies, is found hung, or a host hangs, in turn.
fn troubles() -> String {
    (0..HOURS * 12 - 2).fold(String::new(), |mut script, number| {
        let (at, host, guest) = (5 + number * 5, number % CLUSTER.hosts as u64, number * 7 % CLUSTER.workloads as u64);
        _ = match number % 12 {
            11 => writeln!(script, "at {at}m freeze h{host}\nat {}s thaw h{host}", at * 60 + 90),
            number if number % 2 == 0 => writeln!(script, "at {at}m guest-kill vm-{guest}"),
            _ => writeln!(script, "at {at}m guest-hang vm-{guest}"),
        };
        script
    })
}

fn run(policy: &str, script: &str) -> io::Result<Duration> {
    let mut setup = format!("[world]\nlasts = \"{HOURS}h\"\n");
    for host in 0..CLUSTER.hosts {
        _ = writeln!(setup, "[world.host.h{host}]\nmemory = \"64GiB\"");
    }
    for guest in 0..CLUSTER.workloads {
        _ = writeln!(setup, "[world.vm.vm-{guest}]\non = \"h{}\"", guest % CLUSTER.hosts);
    }
    setup += "\n[detection]\nheartbeat_every = \"1s\"\n[site.lab]\nshared_storage = true\n[site.lab.libvirt]\n";
    for host in 0..CLUSTER.hosts {
        _ = writeln!(setup, "[site.lab.host.h{host}]\nfence = \"power\"");
    }
    _ = write!(setup, "[fence.power]\nagent = \"fence_sim\"\n[[vm]]\nmatch = \"*\"\n{policy}");
    let folder = tempfile::tempdir()?;
    for (name, text) in [("setup.toml", &*setup), ("script.txt", script), ("expect.txt", "vm-0 runs\n")] {
        fs::write(folder.path().join(name), text)?;
    }
    let (report, time) = timed(|| scenario::run(folder.path()));
    let report = report.map_err(io::Error::other)?;
    if report.passed { Ok(time) } else { Err(io::Error::other(report.to_string())) }
}
