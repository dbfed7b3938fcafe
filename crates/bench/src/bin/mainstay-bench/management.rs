//! libvirtd frozen while its guests are well: the right answer is an alarm, and hands off the host.

use crate::{
    LIMIT,
    report::{Report, Row, Seen},
};
use mainstay_bench::{Controller, Error, Result, Stage, Talk, seconds};
use mainstay_model::{Code, HostId, Subject};
use std::time::{Duration, Instant, SystemTime};
use tokio::time::sleep;

const HOST: &str = "h2";
/// Pacemaker's monitor runs into its timeout, then its stop does, and then it fences; measured: 90 s.
const FENCED_WITHIN: Duration = Duration::from_secs(150);
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(crate) async fn with_mainstay(
    stage: &Stage,
    controller: &mut Controller,
    talk: Talk,
    report: &mut Report,
) -> Result<()> {
    let at = SystemTime::now();
    let began = Instant::now();
    stage.lab.libvirtd_stop(HOST).await?;
    let subject = Subject::Host(HostId::from(HOST));
    let stands = |view: &mainstay_engine::view::ClusterView| {
        view.alarms.iter().any(|alarm| alarm.code == Code::MANAGEMENT_FAULT && alarm.subject == subject)
    };
    controller.wait("an alarm about a frozen libvirtd", LIMIT, |view| stands(view).then_some(())).await?;
    let alarm = began.elapsed();
    stage.lab.libvirtd_cont(HOST).await?;
    controller.wait("the end of that alarm", LIMIT, |view| (!stands(view)).then_some(())).await?;
    if stage.switched_off_since(HOST, at)? {
        return Err(Error::Wrong(format!("{HOST} was switched off although its guests were well")));
    }
    for guest in stage.guests_on(HOST)? {
        stage.lab.wait_guest_answers(&guest, Duration::from_secs(2)).await?;
    }
    talk.more(&format!("an alarm after {}, no fence, guests untouched", seconds(alarm)));
    report.mainstay_seen(Row::Management, Seen::AlarmAfter(alarm));
    Ok(())
}

pub(crate) async fn with_pacemaker(stage: &Stage, talk: Talk, report: &mut Report) -> Result<()> {
    let at = SystemTime::now();
    stage.lab.libvirtd_stop(HOST).await?;
    let began = Instant::now();
    while !stage.switched_off_since(HOST, at)? && began.elapsed() < FENCED_WITHIN {
        sleep(LOOK_EVERY).await;
    }
    let seen = match stage.switched_off_since(HOST, at)? {
        true => Seen::FencedAfter(began.elapsed()),
        false => {
            stage.lab.libvirtd_cont(HOST).await?;
            Seen::NothingWithin(FENCED_WITHIN)
        }
    };
    talk.more(&seen.to_string());
    report.peer_seen(Row::Management, seen);
    Ok(())
}
