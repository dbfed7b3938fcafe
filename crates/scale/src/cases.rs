//! What is measured, each on a cluster of its own.

use crate::{
    clock::{resident, timed},
    cluster::{Cluster, Size, host_name, workload_name},
    report::{Amount, Row},
};
use mainstay_engine::{Input, Step};
use mainstay_model::{Action, Activity, DomainChange, DomainState, Fact, HostChannel, OffReason, Outcome, Span};
use std::time::Duration;

/// Single steps are too short for one reading of the clock: so many are one sample.
const BATCH: usize = 50;

/// After the loss of some hosts at once: the steps in which they are believed lost and their fencing is ordered, and the
/// one step in which they are proved off and everything is started elsewhere.
pub fn loss(size: Size, lost: usize, runs: usize, at_most: Option<Duration>) -> Vec<Row> {
    let mut cluster = Cluster::settled(size);
    let mut noticed = Duration::ZERO;
    let proofs = cluster.lose(lost, |cluster, inputs| {
        let (mut twin, inputs) = (cluster.clone(), inputs.to_vec());
        noticed = noticed.max(timed(|| twin.step(inputs)).1);
    });
    let mut starts = 0;
    let samples = (0..runs)
        .map(|_| {
            let (mut twin, proofs) = (cluster.clone(), proofs.clone());
            let (step, time) = timed(|| twin.step(proofs));
            starts = started(&step);
            time
        })
        .collect();
    let hosts = if lost == 1 { "a host".to_owned() } else { format!("{lost} hosts") };
    let expected = (0..size.workloads).filter(|workload| cluster.home(*workload) < lost).count();
    vec![
        Row::times(&format!("loss of {hosts}: believed, fencing ordered"), size, vec![noticed], None),
        Row::times(&format!("loss of {hosts}: proved off, {starts} starts ordered"), size, samples, at_most)
            .met_if(starts == expected)
            .plotted("Mainstay", lost == 1),
    ]
}

fn started(step: &Step) -> usize {
    step.orders.iter().filter(|order| matches!(order.action, Action::Start { .. })).count()
}

/// One step on one fact of each kind. A crash is more than a fact: its step holds all of the recovery, from the incident
/// over the place to the start in the journal.
pub fn facts(size: Size, samples: usize, at_most: Duration) -> Vec<Row> {
    let bound = Some(at_most);
    let mut cluster = Cluster::settled(size);
    let mut row = |what: &str, at_most: Option<Duration>, fact: &dyn Fn(&Cluster, usize) -> Input| {
        let times = (0..samples).map(|sample| {
            let steps: Vec<Input> = (0..BATCH).map(|n| fact(&cluster, sample * BATCH + n)).collect();
            cluster.now = cluster.now + Span::millis(1);
            let ((), time) = timed(|| {
                for input in steps {
                    cluster.step(vec![input]);
                }
            });
            time / BATCH as u32
        });
        let times = times.collect();
        Row::times(&format!("one fact: {what}"), size, times, at_most)
    };
    let workload = |n: usize| n * 7919 % size.workloads;
    let state = |cluster: &Cluster, n: usize, state| {
        let (workload, change) = (workload(n), DomainChange::State(state));
        let host = host_name(cluster.home(workload));
        Input::Fact(Fact::Domain { host, workload: workload_name(workload), change })
    };
    vec![
        row("a host is heard", bound, &|_, n| {
            Input::Fact(Fact::HostHeard { host: host_name(n % size.hosts), channel: HostChannel::Hypervisor })
        }),
        row("a guest is heard", bound, &|cluster, n| cluster.guest_heard(workload(n))),
        row("activity of a guest", bound, &|cluster, n| {
            let (workload, counter) = (workload(n), n as u64);
            Input::Fact(Fact::Activity {
                host: host_name(cluster.home(workload)),
                activities: vec![(workload_name(workload), counters(counter))],
            })
        }),
        row("a domain is as it was", bound, &|cluster, n| state(cluster, n, DomainState::Running)),
        row("a domain crashed, its start is ordered", None, &|cluster, n| {
            state(cluster, n, DomainState::Off(OffReason::Crashed))
        }),
    ]
}

fn counters(counter: u64) -> Activity {
    Activity { cpu_ms: counter, disk_written: counter, ..Activity::default() }
}

/// The load of sensors as the daemon has them: what share of one core the controller core takes.
pub fn steady(size: Size, seconds: u64) -> [Row; 2] {
    let mut cluster = Cluster::settled(size);
    let (mut busy, mut longest) = (Duration::ZERO, Duration::ZERO);
    let ticks = seconds * 100;
    for tick in 0..ticks {
        cluster.now = cluster.now + Span::millis(10);
        // Heartbeats on two channels each 500 ms, lists each 3 s, guests asked each second, counters each 2 s.
        let due = |every: usize, all: usize| (0..all).skip(tick as usize % every).step_by(every);
        let mut inputs = cluster.heard(due(50, size.hosts));
        inputs.extend(due(300, size.hosts).map(|host| cluster.inventory(host)));
        inputs.extend(due(100, size.workloads).map(|workload| cluster.guest_heard(workload)));
        inputs.extend(due(200, size.hosts).map(|host| {
            let activities =
                cluster.living_on(host).map(|workload| (workload_name(workload), counters(tick))).collect();
            Input::Fact(Fact::Activity { host: host_name(host), activities })
        }));
        let time = timed(|| cluster.step(inputs)).1;
        (busy, longest) = (busy + time, longest.max(time));
    }
    let percent = Amount::Percent(busy.as_secs_f64() * 100.0 / seconds as f64);
    [
        Row::amount("steady state: of one CPU, by the controller core", size, percent, Amount::Percent(25.0)),
        Row::times("steady state: the longest step", size, vec![longest], None),
    ]
}

/// What the process grows by with a controller of this size. To be measured first, while nothing else was freed.
pub fn memory(size: Size) -> Option<Row> {
    let before = resident()?;
    let cluster = Cluster::settled(size);
    let grown = resident()?.saturating_sub(before);
    drop(cluster);
    Some(Row::amount("memory of the controller core", size, Amount::Bytes(grown), Amount::Bytes(250_000_000)))
}

/// All that is started after a loss comes up: what the outcomes of those starts cost, each in a step of its own.
pub fn outcomes(size: Size, lost: usize) -> Row {
    let mut cluster = Cluster::settled(size);
    let proofs = cluster.lose(lost, |_, _| {});
    let step = cluster.step(proofs);
    let times = step.orders.iter().map(|order| {
        cluster.now = cluster.now + Span::millis(1);
        let outcome = Input::Outcome { id: order.id, outcome: Outcome::done() };
        timed(|| cluster.step(vec![outcome])).1
    });
    let times = times.collect();
    Row::times(&format!("outcome of a start, after the loss of {lost} hosts"), size, times, None)
}
