//! A host's power cut → its guests started elsewhere: every guest of the host is a sample.

use crate::LIMIT;
use mainstay_bench::{Error, Result, Stage, Talk, seconds};
use std::time::{Duration, SystemTime};

/// Cuts the power of the first host, in turn, that has guests; gives the time of each of them.
pub(crate) async fn cut(stage: &Stage, round: usize, talk: Talk) -> Result<Vec<Duration>> {
    let mut hosts = stage.lab.host_names();
    let turn = round % hosts.len();
    hosts.rotate_left(turn);
    let mut target = None;
    for host in hosts {
        let guests = stage.guests_on(&host)?;
        if !guests.is_empty() {
            target = Some((host, guests));
            break;
        }
    }
    let Some((host, guests)) = target else { return Err(Error::Wrong("no host has a guest".to_owned())) };
    for guest in stage.lab.guest_names() {
        stage.lab.wait_guest_answers(&guest, LIMIT).await?;
    }
    let at = SystemTime::now();
    stage.lab.power_cut(&host).await?;
    let mut times = Vec::new();
    for guest in &guests {
        let time = stage.process_since(guest, at, LIMIT).await?;
        talk.more(&format!("{host} cut: {guest} {}", seconds(time)));
        times.push(time);
    }
    for guest in &guests {
        stage.lab.wait_guest_answers(guest, LIMIT).await?;
    }
    Ok(times)
}
