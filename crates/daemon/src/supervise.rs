//! Sensors are begun anew when they fail, and when they hang: a host that nobody asks any more would look well for ever.
//!
//! ```text
//!   begun ──▶ each part beats within its bound ──▶ …
//!     ▲            │ panicked, or a part stood still
//!     └── alarm ◀──┘
//! ```
//! A sensor that waits because the engine takes nothing in is not judged: that has an alarm of its own.

use crate::{Clock, News, memory::Journal, memory::Memory, pump::log, pump::with_causes, trouble::Troubles};
use mainstay_engine::{Input, Step};
use mainstay_model::{Alarm, Code, Event, Severity, Subject};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinSet,
    time::{Instant, sleep},
};

/// A sensor that failed begins anew after this, so that one which fails at once does not keep a processor busy.
const REST: Duration = Duration::from_secs(1);
/// Beats are looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The alarm of a sensor that was begun anew stands so long after the last time.
const REMEMBERED: Duration = Duration::from_secs(600);

/// When the parts of one sensor last turned. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pulse(Arc<Mutex<BTreeMap<&'static str, Beat>>>);

#[derive(Clone, Copy, Debug)]
struct Beat {
    last: Instant,
    bound: Duration,
}

/// A part of a sensor that turns, for as long as this lives.
pub(crate) struct Part {
    pulse: Pulse,
    name: &'static str,
    bound: Duration,
}

impl Pulse {
    /// A part begins: from now on it has to beat within `bound`.
    pub fn part(&self, name: &'static str, bound: Duration) -> Part {
        let part = Part { pulse: self.clone(), name, bound };
        part.beat();
        part
    }

    /// A part that stands still.
    fn stuck(&self) -> Option<&'static str> {
        let beats = self.lock();
        beats.iter().find(|(_, beat)| beat.last.elapsed() > beat.bound).map(|(name, _)| *name)
    }

    /// None can be blamed for the time until now.
    fn excuse(&self) {
        self.lock().values_mut().for_each(|beat| beat.last = Instant::now());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Beat>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    /// It turns.
    pub fn beat(&self) {
        self.pulse.lock().insert(self.name, Beat { last: Instant::now(), bound: self.bound });
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.pulse.lock().remove(self.name);
    }
}

/// What a supervisor tells with, and how it sees whether the engine takes facts in.
#[derive(Clone)]
pub(crate) struct Supervisor {
    pub facts: mpsc::Sender<Input>,
    pub clock: Clock,
    pub memory: Memory,
    pub news: broadcast::Sender<News>,
    pub troubles: Troubles,
}

impl Supervisor {
    /// Runs a sensor for ever.
    pub async fn watch<F>(self, subject: Subject, sensor: impl Fn(Pulse) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut failed: Option<Instant> = None;
        loop {
            let pulse = Pulse::default();
            let mut task = JoinSet::new();
            task.spawn(sensor(pulse.clone()));
            let why = loop {
                tokio::select! {
                    ended = task.join_next() => match ended {
                        Some(Err(error)) if error.is_panic() => break format!("failed ({error})"),
                        _ => return,
                    },
                    () = sleep(LOOK_EVERY) => {}
                }
                if self.facts.capacity() == 0 {
                    pulse.excuse();
                }
                if let Some(part) = pulse.stuck() {
                    break format!("hung ({part})");
                }
                if failed.is_some_and(|at| at.elapsed() > REMEMBERED) {
                    failed = None;
                    self.tell(self.troubles.clear(&subject, Code::SENSOR_FAULT, self.clock.now())).await;
                }
            };
            drop(task);
            failed = Some(Instant::now());
            let whose = if subject == Subject::Cluster { "the guests".to_owned() } else { subject.to_string() };
            let alarm = Alarm {
                code: Code::SENSOR_FAULT,
                subject: subject.clone(),
                severity: Severity::Yellow,
                text: format!("what watches {whose} {why}, and was begun anew"),
                advice: "nothing now; the controller's log has the details, which we would like to hear of".to_owned(),
                raised_at: self.clock.now(),
                acknowledged: None,
            };
            tracing::error!(%subject, why, "a sensor is begun anew");
            self.tell(self.troubles.raise(alarm)).await;
            sleep(REST).await;
        }
    }

    /// Puts an event on record and before those who watch.
    pub async fn tell(&self, event: Option<Event>) {
        let Some(event) = event else { return };
        log(&event);
        let step = Step { events: vec![event.clone()], ..Step::default() };
        if let Err(error) = self.memory.persist(event.at, &step).await {
            tracing::error!(error = with_causes(&error), "this event is not on record");
        }
        let _ = self.news.send(News::Event(Arc::new(event)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_model::Time;
    use mainstay_store::Store;
    use std::sync::atomic::{AtomicU32, Ordering};

    async fn supervisor(directory: &std::path::Path, room: usize) -> (Supervisor, mpsc::Receiver<Input>) {
        let clock = Clock::start(Time(0));
        let store = Store::open(&directory.join("mainstay.db")).await.unwrap();
        let (memory, _) = Memory::open(store, Time(0)).await.unwrap();
        let (facts, inputs) = mpsc::channel(room);
        let (news, troubles) = (broadcast::channel(16).0, Troubles::default());
        (Supervisor { facts, clock, memory, news, troubles }, inputs)
    }

    #[tokio::test]
    async fn a_sensor_that_panics_begins_anew_and_is_told_of() {
        let directory = tempfile::tempdir().unwrap();
        let (supervisor, _inputs) = supervisor(directory.path(), 1).await;
        let begun = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&begun);
        let troubles = supervisor.troubles.clone();
        let sensor = move |_| {
            let count = Arc::clone(&count);
            async move { assert!(count.fetch_add(1, Ordering::SeqCst) > 1, "the first two times it fails") }
        };
        supervisor.watch(Subject::Cluster, sensor).await;
        assert_eq!(begun.load(Ordering::SeqCst), 3);
        assert!(troubles.all()[0].text.contains("the guests failed"), "{:?}", troubles.all());
    }

    #[tokio::test]
    async fn a_sensor_that_hangs_begins_anew_and_is_told_of() {
        let directory = tempfile::tempdir().unwrap();
        let (supervisor, _inputs) = supervisor(directory.path(), 1).await;
        let (troubles, memory) = (supervisor.troubles.clone(), supervisor.memory.clone());
        let begun = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&begun);
        let sensor = move |pulse: Pulse| {
            let again = count.fetch_add(1, Ordering::SeqCst) > 0;
            async move {
                let _well = pulse.part("heartbeat", Duration::from_secs(60));
                let _part = pulse.part("inventory", Duration::from_millis(10));
                if !again {
                    std::future::pending::<()>().await;
                }
            }
        };
        supervisor.watch(Subject::Host("h1".into()), sensor).await;
        assert_eq!(begun.load(Ordering::SeqCst), 2);
        assert!(troubles.all()[0].text.contains("watches h1 hung (inventory)"), "{:?}", troubles.all());
        let events = memory.events(&crate::EventQuery::default()).await.unwrap();
        assert!(events.iter().any(|event| event.text.contains("hung")), "on record too: {events:?}");
    }

    #[tokio::test]
    async fn a_sensor_that_waits_for_the_engine_is_not_blamed() {
        let directory = tempfile::tempdir().unwrap();
        let (supervisor, mut inputs) = supervisor(directory.path(), 1).await;
        let (facts, troubles) = (supervisor.facts.clone(), supervisor.troubles.clone());
        facts.send(Input::Tick).await.unwrap();
        let sensor = move |pulse: Pulse| {
            let facts = facts.clone();
            async move {
                let _part = pulse.part("inventory", Duration::from_millis(10));
                let _ = facts.send(Input::Tick).await;
            }
        };
        let watched = tokio::spawn(supervisor.watch(Subject::Cluster, sensor));
        sleep(LOOK_EVERY + REST).await;
        inputs.recv().await.unwrap();
        watched.await.unwrap();
        assert_eq!(troubles.all(), []);
    }
}
