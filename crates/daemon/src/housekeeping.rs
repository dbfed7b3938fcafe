//! Keeps what is stored short: samples are written now and then, and what is old is forgotten in small steps.

use crate::{Clock, StatsBoard, memory::Memory, pump::with_causes};
use mainstay_model::Span;
use mainstay_store::Keep;
use std::{path::Path, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at},
};

/// The store is written to this often, so that it can tell when something else wrote to its file.
const BEAT_EVERY: Duration = Duration::from_secs(60);
/// Of so many beats, one writes samples of statistics.
const BEATS_A_SAMPLE: u64 = 5;
/// Samples are kept so long: at 10,000 VMs they take 200 MB.
const KEEP_SAMPLES: Span = Span::hours(24);
/// Events beyond this many are forgotten, however young: those that people look for later, and routine. Together they take
/// at most some 300 MB.
const KEEP_EVENTS: u64 = 500_000;
/// What is old is forgotten so often.
const FORGET_EVERY: Duration = Duration::from_secs(600);

/// Works for ever. `keep` is how long events and pictures are kept.
pub(crate) async fn keep_house(
    memory: Memory,
    stats: StatsBoard,
    clock: Clock,
    keep: watch::Receiver<Span>,
    pictures: &Path,
) {
    // Not at once: a controller that just began has more urgent things to write.
    let first = Instant::now() + BEAT_EVERY;
    let (mut beat, mut beats, mut forget) = (interval_at(first, BEAT_EVERY), 0_u64, interval_at(first, FORGET_EVERY));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    forget.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {
                beats += 1;
                let samples = if beats % BEATS_A_SAMPLE == 0 { stats.samples(clock.now()) } else { Vec::new() };
                if let Err(error) = memory.store().append_samples(&samples).await {
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
        notable_events: KEEP_EVENTS,
        routine_events: KEEP_EVENTS,
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
