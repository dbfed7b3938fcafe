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
    io,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// A controller that is not done by then is not counted as slow, but as broken.
const LIMIT: Duration = Duration::from_secs(300);
/// After all is online: the first look at 10,000 definitions is over, recovery points come at their own pace.
const SETTLE: Duration = Duration::from_secs(30);
/// The rack that loses its power.
const LOST_RACK: usize = 3;

/// All that is measured on the process. `steady` is how long it is watched while nothing happens.
pub fn rows(mainstay: &Path, size: Size, steady: Duration) -> io::Result<Vec<Row>> {
    let stage = Stage::set(size)?;
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

    let (before, stored) = (controller.usage()?, stage.stored()?);
    controller.watch(steady)?;
    let (after, grown) = (controller.usage()?, stage.stored()?.saturating_sub(stored));
    let mut rows = vec![Row::shown("the process: start to all online", size, Amount::Time(boot))];
    rows.extend(steady_rows(size, &before, &after, grown, steady));
    rows.extend(burst(&mut controller, &world)?);
    rows.extend(loss(&mut controller, &world, &stage)?);
    controller.stop()?;
    Ok(rows)
}

fn steady_rows(size: Size, before: &Usage, after: &Usage, grown: u64, steady: Duration) -> Vec<Row> {
    let share = |cpu: Duration| Amount::Percent(cpu.as_secs_f64() * 100.0 / steady.as_secs_f64());
    let (user, system) = (after.user - before.user, after.system - before.system);
    let per_hour = grown as f64 * 3_600.0 / steady.as_secs_f64();
    vec![
        Row::amount("the process, steady: of one core", size, share(user + system), Amount::Percent(25.0)),
        Row::shown("  of that in the kernel (both ends of loopback)", size, share(system)),
        Row::amount("the process, steady: memory", size, Amount::Bytes(after.resident), Amount::Bytes(250_000_000)),
        Row::shown("the process, steady: open files", size, Amount::Count(after.files)),
        Row::shown("the process, steady: the store grows each hour by", size, Amount::Bytes(per_hour as u64)),
    ]
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
    let cpu = after.user + after.system - before.user - before.system;
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
    let started = world.starts.load(Ordering::Relaxed) - starts;
    let expected = size.workloads / size.hosts * lost;
    let right = back.is_ok() && started == expected && world.doubled.load(Ordering::Relaxed) == 0;
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
