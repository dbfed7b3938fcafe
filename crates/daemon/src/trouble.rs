//! Alarms of the process itself, which no fact tells: its memory can't be written, a sensor hangs. They stand beside the
//! engine's in every view, and so reach whoever is told of alarms, but are kept in memory only: the first of them says that
//! nothing else can be.

use mainstay_model::{Alarm, Code, Event, EventKind, Severity, Subject, Time};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// The alarms that stand. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Troubles(Arc<Mutex<BTreeMap<(Subject, Code), Alarm>>>);

impl Troubles {
    /// Raises an alarm, or puts its text right. Returns the event to tell, if it is a new one.
    pub fn raise(&self, alarm: Alarm) -> Option<Event> {
        let event = event(&alarm, alarm.raised_at, alarm.severity, format!("alarm {}: {}", alarm.code, alarm.text));
        let mut standing = self.lock();
        let key = (alarm.subject.clone(), alarm.code);
        let since = standing.get(&key).map(|before| before.raised_at);
        standing.insert(key, Alarm { raised_at: since.unwrap_or(alarm.raised_at), ..alarm });
        since.is_none().then_some(event)
    }

    /// Clears an alarm. Returns the event to tell, if it stood.
    pub fn clear(&self, subject: &Subject, code: Code, now: Time) -> Option<Event> {
        let alarm = self.lock().remove(&(subject.clone(), code))?;
        Some(event(&alarm, now, Severity::Green, format!("alarm {} cleared: {}", alarm.code, alarm.text)))
    }

    /// All that stand.
    pub fn all(&self) -> Vec<Alarm> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(Subject, Code), Alarm>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn event(alarm: &Alarm, at: Time, severity: Severity, text: String) -> Event {
    Event { at, subject: alarm.subject.clone(), severity, kind: EventKind::Alarm, text, incident: None, by: None }
}
