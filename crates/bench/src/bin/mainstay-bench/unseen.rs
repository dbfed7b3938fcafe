//! Faults that Pacemaker's VirtualDomain agent does not look for: a QEMU stopped by SIGSTOP, a guest paused on an I/O error, a
//! hung guest; and a panic, which both see. Mainstay meets them one by one; Pacemaker all at once, each on its own guest,
//! with time to notice.

use crate::{
    FAULTY, LIMIT,
    report::{Report, Row, Seen},
};
use mainstay_bench::{Controller, Error, Result, Stage, Talk, seconds};
use mainstay_lab::Heartbeat;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};
use tokio::time::sleep;

/// What Pacemaker has not seen after this it does not see: sixty rounds of its monitor, twice what Mainstay ever takes.
const NOTICE_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at a guest's counter, which itself moves ten times a second.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Each fault on its guest, on a host of its own as far as there are hosts.
const GUESTS: [(Row, &str); 3] = [(Row::Stopped, "web-1"), (Row::Hung, "db-1"), (Row::Panicked, "web-2")];

pub(crate) async fn with_mainstay(
    stage: &Stage,
    controller: &mut Controller,
    talk: Talk,
    report: &mut Report,
) -> Result<()> {
    for (row, guest) in GUESTS {
        let back = stage.restarted_after(guest, LIMIT, || harm(stage, row, guest)).await?;
        talk.more(&format!("{}: answering after {}", row.title(), seconds(back.answered)));
        report.mainstay(row, vec![back.answered]);
    }
    let seen = io_error(stage, controller, talk).await?;
    report.mainstay(Row::IoError, vec![seen]);
    Ok(())
}

async fn harm(stage: &Stage, row: Row, guest: &str) -> Result<()> {
    match row {
        Row::Stopped => stage.lab.guest_stop(guest).await.map(drop)?,
        Row::Hung => stage.lab.guest_hang(guest).await?,
        Row::Panicked => stage.lab.guest_panic(guest).await?,
        Row::IoError => stage.lab.guest_io_error(guest).await?,
        Row::Kill | Row::Host | Row::Management => {}
    }
    Ok(())
}

/// The disk fails, is believed to have failed, and is repaired; then the guest must write again. Counted is the time that the
/// guest was away beyond the time that its disk was.
async fn io_error(stage: &Stage, controller: &mut Controller, talk: Talk) -> Result<Duration> {
    let guest = &stage.lab.guest_names()[FAULTY];
    let before = stage.lab.wait_guest_answers(guest, LIMIT).await?;
    let at = Instant::now();
    stage.lab.guest_io_error(guest).await?;
    controller
        .wait("seeing that a guest's disk failed", LIMIT, |view| {
            view.workloads.iter().find(|vm| vm.workload.as_str() == guest && vm.health != "running").map(drop)
        })
        .await?;
    let seen = at.elapsed();
    let healed = Instant::now();
    stage.lab.guest_io_heal(guest).await?;
    while !writes_again(stage, guest, &before).await? {
        if healed.elapsed() > LIMIT {
            return Err(Error::Wrong(format!("{guest} did not write again after its disk was repaired")));
        }
        sleep(LOOK_EVERY).await;
    }
    let time = healed.elapsed();
    let row = Row::IoError.title();
    talk.more(&format!("{row}: seen after {}, writing {} after the disk was repaired", seconds(seen), seconds(time)));
    Ok(time)
}

/// Waits until libvirt says that the guest is paused.
async fn held(stage: &Stage, guest: &str) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < LIMIT {
        for host in stage.lab.where_runs(guest)? {
            if stage.lab.virsh(&host, &["domstate", guest]).await?.starts_with("paused") {
                return Ok(());
            }
        }
        sleep(LOOK_EVERY).await;
    }
    Err(Error::Wrong(format!("{guest} was not paused although its disk fails")))
}

async fn writes_again(stage: &Stage, guest: &str, before: &Heartbeat) -> Result<bool> {
    let now = stage.lab.guest_probe(guest).await?;
    Ok(now.is_some_and(|now| now.last_errno == 0 && now.disk_counter > before.disk_counter + 10))
}

pub(crate) async fn with_pacemaker(stage: &Stage, talk: Talk, report: &mut Report) -> Result<()> {
    let faulty = stage.lab.guest_names()[FAULTY].clone();
    let mut waiting: BTreeMap<&str, (Row, Heartbeat)> = BTreeMap::new();
    for (row, guest) in GUESTS.into_iter().chain([(Row::IoError, faulty.as_str())]) {
        waiting.insert(guest, (row, stage.lab.wait_guest_answers(guest, LIMIT).await?));
    }
    let at = SystemTime::now();
    for (guest, (row, _)) in &waiting {
        harm(stage, *row, guest).await?;
    }
    // The disk is repaired once the guest is held: whoever looks could let it go on.
    held(stage, &faulty).await?;
    stage.lab.guest_io_heal(&faulty).await?;
    while !waiting.is_empty() && at.elapsed().unwrap_or_default() < NOTICE_WITHIN {
        let mut back = Vec::new();
        for (guest, (row, before)) in &waiting {
            let again = match row {
                Row::IoError => writes_again(stage, guest, before).await?,
                _ => stage.lab.guest_probe(guest).await?.is_some_and(|now| now.boot_id != before.boot_id),
            };
            if again {
                back.push(*guest);
            }
        }
        for guest in back {
            if let Some((row, _)) = waiting.remove(guest) {
                let time = at.elapsed().unwrap_or_default();
                talk.more(&format!("{}: answering after {}", row.title(), seconds(time)));
                report.peer(row, vec![time]);
            }
        }
        sleep(LOOK_EVERY).await;
    }
    for (row, _) in waiting.into_values() {
        talk.more(&format!("{}: nothing within {}", row.title(), seconds(NOTICE_WITHIN)));
        report.peer_seen(row, Seen::NothingWithin(NOTICE_WITHIN));
    }
    Ok(())
}
