//! History: events are appended with the batch they belong to, and read by people.

use sqlx::{SqliteConnection, SqlitePool};

use crate::store::signed;

/// No answer holds more; who wants more asks again with `until_ms`.
const MOST: u32 = 10_000;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// About what.
    pub subject: Subject,
    /// How bad; the greater, the worse.
    pub severity: u8,
    /// What kind of event.
    pub code: String,
    /// One sentence.
    pub text: String,
    /// The incident it is part of.
    pub incident: Option<u64>,
}

/// What an event is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// `host`, `workload`, `cluster`.
    pub kind: String,
    /// Its name; empty for the cluster.
    pub id: String,
}

/// An event with its number, which grows by time of writing and is never used again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its number.
    pub seq: u64,
    /// The event.
    pub event: Event,
}

/// Which events to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventQuery {
    /// Not older.
    pub since_ms: u64,
    /// Not newer.
    pub until_ms: u64,
    /// Written after this one: for a follower.
    pub after_seq: u64,
    /// About this only.
    pub subject: Option<Subject>,
    /// At least as bad.
    pub severity: u8,
    /// Of this incident only.
    pub incident: Option<u64>,
    /// At most so many, the newest.
    pub limit: u32,
}

impl Default for EventQuery {
    /// The newest hundred.
    fn default() -> Self {
        Self { since_ms: 0, until_ms: u64::MAX, after_seq: 0, subject: None, severity: 0, incident: None, limit: 100 }
    }
}

type Columns = (i64, i64, String, String, i64, String, String, Option<i64>);

/// What every question for events has in common.
macro_rules! select {
    () => {
        "SELECT seq, at_ms, subject_kind, subject_id, severity, code, text, incident FROM events \
         WHERE at_ms BETWEEN ?1 AND ?2 AND seq > ?3 AND severity >= ?4 "
    };
}

pub(crate) async fn append(transaction: &mut SqliteConnection, event: &Event) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO events (at_ms, subject_kind, subject_id, severity, code, text, incident) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(signed(event.at_ms))
    .bind(&event.subject.kind)
    .bind(&event.subject.id)
    .bind(i64::from(event.severity))
    .bind(&event.code)
    .bind(&event.text)
    .bind(event.incident.map(signed))
    .execute(transaction)
    .await
    .map(drop)
}

pub(crate) async fn select(readers: &SqlitePool, query: &EventQuery) -> Result<Vec<StoredEvent>, sqlx::Error> {
    // A statement each, so that each goes by its index.
    let statement = match (&query.subject, query.incident) {
        (None, None) => concat!(select!(), "ORDER BY at_ms DESC, seq DESC LIMIT ?5"),
        (Some(_), None) => {
            concat!(select!(), "AND subject_kind = ?6 AND subject_id = ?7 ORDER BY at_ms DESC, seq DESC LIMIT ?5")
        }
        (None, Some(_)) => concat!(select!(), "AND incident = ?6 ORDER BY seq DESC LIMIT ?5"),
        (Some(_), Some(_)) => {
            concat!(select!(), "AND subject_kind = ?6 AND subject_id = ?7 AND incident = ?8 ORDER BY seq DESC LIMIT ?5")
        }
    };
    let mut select = sqlx::query_as::<_, Columns>(statement)
        .bind(signed(query.since_ms))
        .bind(signed(query.until_ms))
        .bind(signed(query.after_seq))
        .bind(i64::from(query.severity))
        .bind(query.limit.min(MOST));
    if let Some(subject) = &query.subject {
        select = select.bind(&subject.kind).bind(&subject.id);
    }
    if let Some(incident) = query.incident {
        select = select.bind(signed(incident));
    }
    Ok(select.fetch_all(readers).await?.into_iter().map(stored).collect())
}

fn stored((seq, at_ms, kind, id, severity, code, text, incident): Columns) -> StoredEvent {
    let severity = u8::try_from(severity).unwrap_or(u8::MAX);
    let incident = incident.map(i64::unsigned_abs);
    let event = Event { at_ms: at_ms.unsigned_abs(), subject: Subject { kind, id }, severity, code, text, incident };
    StoredEvent { seq: seq.unsigned_abs(), event }
}
