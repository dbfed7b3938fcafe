//! The real controller process, its real driver and store, over simulated hypervisors: what it takes while nothing happens,
//! and how it takes the loss of a tenth of its hosts at once.
//!
//! Needs root (a network namespace of its own, raw sockets) and iptables: the lost hosts' network swallows every packet, as
//! after a power cut.

mod api;
mod process;
mod stage;

use crate::{
    cluster::Size,
    hypervisors::{RACKS, World, serve},
    report::{Amount, Row},
};
use process::{Controller, Usage};
use stage::Stage;
use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// A controller that is not done by then is not counted as slow, but as broken.
const LIMIT: Duration = Duration::from_secs(300);
/// After all is online: the first look at 10,000 definitions is over, recovery points come at their own pace.
const SETTLE: Duration = Duration::from_secs(30);
/// CPU time is looked at in pieces so long.
const MINUTE: Duration = Duration::from_secs(60);
/// The rack that loses its power.
const LOST_RACK: usize = 3;

/// All that is measured on the process. `steady` is how long it is watched while nothing happens; `readiness`: whether hosts are
/// asked where guests could start.
pub fn rows(mainstay: &Path, size: Size, steady: Duration, readiness: bool) -> io::Result<Vec<Row>> {
    let stage = Stage::set(size, readiness)?;
    let world = Arc::new(World::new(size, stage.power.clone()));
    let served = Arc::clone(&world);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let server = runtime.spawn(serve(served));
    let began = Instant::now();
    let mut controller = Controller::start(mainstay, &stage)?;
    let online = |status: &api::Status| status.online == size.hosts && status.running == size.workloads;
    controller.wait_for(LIMIT, online)?;
    let boot = began.elapsed();
    if server.is_finished() {
        return Err(io::Error::other("the simulated hypervisors have ended"));
    }
    std::thread::sleep(SETTLE);

    let mut rows = vec![Row::shown("the process: start to all online", size, Amount::Time(boot))];
    rows.extend(steady_rows(&mut controller, &world, &stage, steady)?);
    rows.extend(burst(&mut controller, &world)?);
    rows.extend(loss(&mut controller, &world, &stage)?);
    controller.stop()?;
    let unknown = world.unknown();
    for (call, times) in &unknown {
        eprintln!("the simulated hosts do not know {call}: {times} calls were refused");
    }
    let refused = Row::shown("calls that no simulated host knows", size, Amount::Count(unknown.len() as u64));
    rows.push(refused.met_if(unknown.is_empty()));
    Ok(rows)
}

/// While nothing happens. Over ten minutes each guest has its recovery point once; they come in waves, so that the busiest
/// minute is worth a look.
fn steady_rows(controller: &mut Controller, world: &World, stage: &Stage, steady: Duration) -> io::Result<Vec<Row>> {
    let size = world.size;
    let (stored, points) = (stage.stored()?, world.points.load(Ordering::Relaxed));
    let share = |from: &Usage, to: &Usage, time: Duration| {
        Amount::Percent((to.cpu() - from.cpu()).as_secs_f64() * 100.0 / time.as_secs_f64())
    };
    let calls = || (world.calls.load(Ordering::Relaxed), world.readiness.load(Ordering::Relaxed));
    let (before, calls_before) = (controller.usage()?, calls());
    let (mut last, mut busiest, mut left) = (before, Amount::Percent(0.0), steady);
    while !left.is_zero() {
        let piece = left.min(MINUTE);
        controller.watch(piece)?;
        let now = controller.usage()?;
        let minute = share(&last, &now, piece);
        if minute > busiest {
            busiest = minute;
        }
        (last, left) = (now, left - piece);
    }
    let each_second = |count: f64| count / steady.as_secs_f64();
    let points = each_second((world.points.load(Ordering::Relaxed) - points) as f64);
    let (all, ready) = calls();
    let [all, ready] = [all - calls_before.0, ready - calls_before.1].map(|count| each_second(count as f64));
    let grown = each_second(stage.stored()?.saturating_sub(stored) as f64) * 3_600.0;
    let what = format!("the process, steady for {} s, {points:.1} points a second", steady.as_secs());
    let kernel = Amount::Percent((last.system - before.system).as_secs_f64() * 100.0 / steady.as_secs_f64());
    Ok(vec![
        Row::amount(&format!("{what}: of one core"), size, share(&before, &last, steady), Amount::Percent(25.0)),
        Row::shown("  in the busiest minute", size, busiest),
        Row::shown("  in the kernel (both ends of loopback)", size, kernel),
        Row::shown("  calls to hosts in a second", size, Amount::Count(all as u64)),
        Row::shown("  of these, whether they could start guests", size, Amount::Count(ready as u64)),
        Row::amount("the process, steady: memory", size, Amount::Bytes(last.resident), Amount::Bytes(250_000_000)),
        Row::shown("the process, steady: open files", size, Amount::Count(last.files)),
        Row::shown("the process, steady: the store grows each hour by", size, Amount::Bytes(grown as u64)),
    ])
}

/// Every guest tells at the same moment that it rebooted: what that costs, and how long people wait meanwhile.
fn burst(controller: &mut Controller, world: &World) -> io::Result<Vec<Row>> {
    let size = world.size;
    let before = controller.usage()?;
    world.all_reboot();
    let mut longest = Duration::ZERO;
    for _ in 0..20 {
        longest = longest.max(controller.ask()?);
        std::thread::sleep(Duration::from_millis(250));
    }
    let after = controller.usage()?;
    let cpu = after.cpu() - before.cpu();
    let what = format!("{} events at once", size.workloads);
    Ok(vec![
        Row::shown(&format!("{what}: CPU in the 5 seconds after"), size, Amount::Time(cpu)),
        Row::shown(&format!("{what}: the longest wait for a status"), size, Amount::Time(longest)),
        Row::shown(&format!("{what}: memory"), size, Amount::Bytes(after.resident)),
    ])
}

/// A rack loses its power: from the cut until every guest runs again elsewhere.
fn loss(controller: &mut Controller, world: &World, stage: &Stage) -> io::Result<Vec<Row>> {
    let size = world.size;
    let lost = size.hosts / RACKS;
    let (starts, quiet) = (world.starts.load(Ordering::Relaxed), controller.log_length()?);
    let began = Instant::now();
    stage.cut(LOST_RACK)?;
    let all_run = |status: &api::Status| status.online == size.hosts - lost && status.running == size.workloads;
    let back = controller.wait_for(LIMIT, all_run);
    if let Err(error) = &back {
        eprintln!("after the loss: {error}");
    }
    let took = began.elapsed();
    let (down, twice, off) = (world.down(), world.twice(), world.off());
    for (guests, what) in
        [(&down, "are down"), (&twice, "run in two places")].iter().filter(|(guests, _)| !guests.is_empty())
    {
        eprintln!("{} guests {what}, such as {}", guests.len(), guests[..guests.len().min(5)].join(", "));
    }
    let rack: BTreeSet<usize> = (0..size.hosts).filter(|host| host % RACKS == LOST_RACK).collect();
    if off != rack {
        eprintln!("{} hosts were switched off that were well", off.difference(&rack).count());
    }
    let started = world.starts.load(Ordering::Relaxed) - starts;
    let expected = size.workloads / size.hosts * lost;
    let safe = twice.is_empty() && off == rack && world.doubled.load(Ordering::Relaxed) == 0;
    let right = back.is_ok() && down.is_empty() && started == expected && safe;
    let steps = controller.steps_since(quiet)?;
    let longest = steps.iter().map(|step| step.took).max().unwrap_or_default();
    let decided = steps.iter().max_by_key(|step| step.orders).map(|step| step.took).unwrap_or_default();
    let ordered = steps.iter().map(|step| step.orders).max().unwrap_or_default();
    let what = format!("loss of {lost} hosts: the step that orders most ({ordered})");
    let limit = Some(Duration::from_millis(300));
    Ok(vec![
        Row::times(&what, size, vec![decided], limit),
        Row::times(
            &format!("loss of {lost} hosts: the longest of all {} steps", steps.len()),
            size,
            vec![longest],
            limit,
        ),
        Row::shown(&format!("loss of {lost} hosts: {started} guests run again after"), size, Amount::Time(took))
            .met_if(right),
    ])
}
