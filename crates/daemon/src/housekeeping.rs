//! Keeps what is stored short: samples are written now and then, and what is old is forgotten in small steps.

use crate::{Clock, StatsBoard, memory::Memory, pump::with_causes};
use mainstay_model::Span;
use mainstay_store::Keep;
use std::{path::Path, time::Duration};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

/// Samples of statistics are written so often.
const SAMPLE_EVERY: Duration = Duration::from_secs(60);
/// Samples are kept so long.
const KEEP_SAMPLES: Span = Span::hours(48);
/// Events beyond this many are forgotten, however young.
const KEEP_EVENTS: u64 = 1_000_000;
/// What is old is forgotten so often.
const FORGET_EVERY: Duration = Duration::from_secs(600);

/// Works for ever. `keep` is how long events, closed incidents and pictures are kept.
pub(crate) async fn keep_house(
    memory: Memory,
    stats: StatsBoard,
    clock: Clock,
    keep: watch::Receiver<Span>,
    pictures: &Path,
) {
    let (mut sample, mut forget) = (interval(SAMPLE_EVERY), interval(FORGET_EVERY));
    sample.set_missed_tick_behavior(MissedTickBehavior::Delay);
    forget.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = sample.tick() => {
                if let Err(error) = memory.store().append_samples(&stats.samples(clock.now())).await {
                    tracing::warn!(error = with_causes(&error), "statistics were not written");
                }
            }
            _ = forget.tick() => {
                let keep = *keep.borrow();
                stats.forget(clock.now());
                forget_rows(&memory, clock, keep).await;
                forget_pictures(pictures, keep).await;
            }
        }
    }
}

async fn forget_rows(memory: &Memory, clock: Clock, keep: Span) {
    let now = clock.now();
    let keep = Keep {
        events_since_ms: (now - keep).0,
        events: KEEP_EVENTS,
        finished_since_ms: (now - keep).0,
        samples_since_ms: (now - KEEP_SAMPLES).0,
    };
    loop {
        match memory.store().prune(&keep).await {
            Ok(pruned) if pruned.more => {}
            Ok(_) => return,
            Err(error) => return tracing::warn!(error = with_causes(&error), "what is old could not be deleted"),
        }
    }
}

async fn forget_pictures(directory: &Path, keep: Span) {
    // No directory: no picture was ever taken.
    let Ok(mut entries) = tokio::fs::read_dir(directory).await else { return };
    while let Ok(Some(entry)) = entries.next_entry().await {
        let Ok(modified) = entry.metadata().await.and_then(|metadata| metadata.modified()) else { continue };
        if modified.elapsed().is_ok_and(|age| age > keep.as_duration())
            && let Err(error) = tokio::fs::remove_file(entry.path()).await
        {
            tracing::warn!(path = %entry.path().display(), %error, "an old picture could not be deleted");
        }
    }
}
