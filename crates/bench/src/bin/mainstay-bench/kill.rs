//! QEMU killed → started again: one guest after the other, so that no back-off of an earlier kill is measured.

use crate::LIMIT;
use mainstay_bench::{Result, Stage, Talk, seconds};
use std::time::{Duration, SystemTime};

/// Kills as many guests as told, in turn; each is given time to answer first.
pub(crate) async fn measure(stage: &Stage, runs: u8, talk: Talk) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for guest in stage.lab.guest_names().iter().cycle().take(runs.into()) {
        stage.lab.wait_guest_answers(guest, LIMIT).await?;
        let at = SystemTime::now();
        stage.lab.guest_kill(guest).await?;
        let time = stage.process_since(guest, at, LIMIT).await?;
        talk.more(&format!("{guest}: {}", seconds(time)));
        times.push(time);
        stage.lab.wait_guest_answers(guest, LIMIT).await?;
    }
    Ok(times)
}
