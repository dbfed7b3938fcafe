//! What is put in comes out again, in order; what is old can be forgotten; and a backup is a store.

use mainstay_store::{Batch, Change, Event, EventQuery, Keep, Kind, Row, Sample, Store, Subject};
use tempfile::TempDir;

async fn fresh() -> (TempDir, Store) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(&dir.path().join("mainstay.db")).await.expect("a new store");
    (dir, store)
}

fn change(kind: Kind, key: &str, body: Option<&str>) -> Change {
    Change { kind, key: key.to_owned(), body: body.map(str::to_owned) }
}

fn event(at_ms: u64, host: &str, severity: u8) -> Event {
    let subject = Subject { kind: "host".to_owned(), id: host.to_owned() };
    Event { at_ms, subject, severity, code: "seen".to_owned(), text: format!("{host} at {at_ms}"), incident: None }
}

fn batch(at_ms: u64, changes: Vec<Change>, events: Vec<Event>) -> Batch {
    Batch { at_ms, changes, events }
}

async fn texts(store: &Store, query: EventQuery) -> Vec<String> {
    store.events(&query).await.expect("events").into_iter().map(|stored| stored.event.text).collect()
}

#[tokio::test]
async fn rows_come_back_by_kind_and_key_also_after_a_restart() {
    let (dir, store) = fresh().await;
    let changes = vec![
        change(Kind::Workload, "web-1", Some(r#"{"on":"h1"}"#)),
        change(Kind::Host, "h2", Some("{}")),
        change(Kind::Host, "h1", Some(r#"{"health":"online"}"#)),
        change(Kind::Host, "h3", Some("{}")),
        change(Kind::Host, "h3", None),
    ];
    store.commit(&batch(1, changes, vec![])).await.unwrap();
    store.commit(&batch(2, vec![change(Kind::Host, "h1", Some(r#"{"health":"lost"}"#))], vec![])).await.unwrap();
    let row = |kind, key: &str, body: &str| Row { kind, key: key.to_owned(), body: body.to_owned() };
    let expected = [
        row(Kind::Host, "h1", r#"{"health":"lost"}"#),
        row(Kind::Host, "h2", "{}"),
        row(Kind::Workload, "web-1", r#"{"on":"h1"}"#),
    ];
    assert_eq!(store.load(Kind::ALL).await.unwrap(), expected);
    store.close().await;
    let again = Store::open(&dir.path().join("mainstay.db")).await.unwrap();
    assert_eq!(again.load(Kind::ALL).await.unwrap(), expected);
}

#[tokio::test]
async fn every_kind_has_its_own_table() {
    let (_dir, store) = fresh().await;
    let changes = Kind::ALL.iter().map(|&kind| change(kind, "same key", Some("{}"))).collect();
    store.commit(&batch(1, changes, vec![])).await.unwrap();
    let kinds: Vec<_> = store.load(Kind::ALL).await.unwrap().into_iter().map(|row| row.kind).collect();
    assert_eq!(kinds, Kind::ALL);
}

#[tokio::test]
async fn a_batch_with_a_bad_row_leaves_nothing() {
    let (_dir, store) = fresh().await;
    let changes = vec![change(Kind::Host, "h1", Some("{}")), change(Kind::Host, "h2", Some("no JSON"))];
    store.commit(&batch(1, changes, vec![event(1, "h1", 0)])).await.unwrap_err();
    assert_eq!(store.load(Kind::ALL).await.unwrap(), []);
    assert_eq!(store.events(&EventQuery::default()).await.unwrap(), []);
    store.commit(&batch(2, vec![change(Kind::Host, "h1", Some("{}"))], vec![])).await.unwrap();
    assert_eq!(store.load(Kind::ALL).await.unwrap().len(), 1, "the store works on");
}

#[tokio::test]
async fn events_are_found_by_subject_time_severity_and_number() {
    let (_dir, store) = fresh().await;
    let events = vec![event(10, "h1", 0), event(20, "h2", 2), event(30, "h1", 1), event(30, "h1", 2)];
    store.commit(&batch(30, vec![], events)).await.unwrap();
    let all = EventQuery::default();
    assert_eq!(texts(&store, all.clone()).await, ["h1 at 30", "h1 at 30", "h2 at 20", "h1 at 10"]);
    assert_eq!(texts(&store, EventQuery { since_ms: 15, until_ms: 25, ..all.clone() }).await, ["h2 at 20"]);
    let h1 = Some(Subject { kind: "host".to_owned(), id: "h1".to_owned() });
    assert_eq!(texts(&store, EventQuery { subject: h1.clone(), until_ms: 29, ..all.clone() }).await, ["h1 at 10"]);
    assert_eq!(texts(&store, EventQuery { subject: h1, severity: 2, ..all.clone() }).await, ["h1 at 30"]);
    assert_eq!(texts(&store, EventQuery { limit: 1, ..all.clone() }).await.len(), 1);
    let newest = store.events(&all).await.unwrap()[0].seq;
    store.commit(&batch(31, vec![], vec![event(5, "h9", 0)])).await.unwrap();
    assert_eq!(texts(&store, EventQuery { after_seq: newest, ..all }).await, ["h9 at 5"]);
}

#[tokio::test]
async fn what_is_old_is_forgotten_in_steps() {
    let (_dir, store) = fresh().await;
    let events = (0..2_500).map(|at| event(at, "h1", 0)).collect();
    store.commit(&batch(60, vec![], events)).await.unwrap();
    let keep = Keep { events_since_ms: 100, notable_events: 500, routine_events: 500, samples_since_ms: 0 };
    let first = store.prune(&keep).await.unwrap();
    assert!(first.events >= 1_000 && first.events <= 2_000 && first.more, "{first:?}");
    while store.prune(&keep).await.unwrap().more {}
    let left = store.events(&EventQuery { limit: 5_000, ..EventQuery::default() }).await.unwrap();
    assert_eq!((left.len(), left[0].event.at_ms, left[499].event.at_ms), (500, 2_499, 2_000));
}

#[tokio::test]
async fn samples_are_kept_per_workload() {
    let (_dir, store) = fresh().await;
    let sample = |workload: &str, at_ms| Sample {
        workload: workload.to_owned(),
        at_ms,
        cpu_percent: 12.5,
        read_bps: 1.0,
        write_bps: 2.0,
        receive_bps: 3.0,
        send_bps: 4.0,
    };
    store.append_samples(&[sample("web-1", 10), sample("web-1", 20), sample("db-1", 20)]).await.unwrap();
    store.append_samples(&[sample("web-1", 20)]).await.unwrap();
    assert_eq!(store.samples("web-1", 0, 10).await.unwrap(), [sample("web-1", 20), sample("web-1", 10)]);
    assert_eq!(store.samples("web-1", 15, 10).await.unwrap(), [sample("web-1", 20)]);
    let keep = Keep { events_since_ms: 0, notable_events: 10, routine_events: 10, samples_since_ms: 15 };
    assert_eq!(store.prune(&keep).await.unwrap().samples, 1);
    assert_eq!(store.samples("web-1", 0, 10).await.unwrap(), [sample("web-1", 20)]);
}

#[tokio::test]
async fn a_backup_is_a_store_and_never_overwrites() {
    let (dir, store) = fresh().await;
    store.commit(&batch(1, vec![change(Kind::Host, "h1", Some("{}"))], vec![event(1, "h1", 0)])).await.unwrap();
    let target = dir.path().join("backup.db");
    store.backup_to(&target).await.unwrap();
    store.commit(&batch(2, vec![change(Kind::Host, "h2", Some("{}"))], vec![])).await.unwrap();
    store.backup_to(&target).await.unwrap_err();
    let copy = Store::open(&target).await.unwrap();
    assert_eq!(copy.load(Kind::ALL).await.unwrap().len(), 1);
    assert_eq!(copy.events(&EventQuery::default()).await.unwrap().len(), 1);
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("partial")), "{left:?}");
}

#[tokio::test]
async fn many_at_once_wait_for_each_other() {
    let (_dir, store) = fresh().await;
    let store = std::sync::Arc::new(store);
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let store = store.clone();
            let changes = vec![change(Kind::Host, &format!("h{number}"), Some("{}"))];
            tokio::spawn(async move { store.commit(&batch(number, changes, vec![event(number, "h1", 0)])).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(store.load(Kind::ALL).await.unwrap().len(), 50);
}
