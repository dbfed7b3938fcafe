//! The store has a bound, and what is deleted gives its space back.

#![allow(clippy::unwrap_used, reason = "in a test, a failure is the report")]

use std::fs;
use std::path::Path;

use mainstay_store::{Batch, Change, Event, EventQuery, Keep, Kind, Sample, Store, Subject};
use sqlx::{Connection, SqliteConnection};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

fn event(at_ms: u64, workload: &str, text: String, incident: Option<u64>) -> Event {
    let subject = Subject { kind: "workload".to_owned(), id: workload.to_owned() };
    Event { at_ms, subject, severity: 0, code: "outcome".to_owned(), text, incident }
}

fn change(kind: Kind, key: String, body: Option<String>) -> Change {
    Change { kind, key, body }
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map(|file| file.len()).unwrap_or_default()
}

fn log(path: &Path) -> u64 {
    size(&path.with_extension("db-wal"))
}

/// A VM's definition with the records of its recovery points, as long as libvirt writes them, and as alike.
fn definition(workload: &str, newest: u64) -> String {
    let devices =
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><target dev='vda' bus='virtio'/></disk>";
    let xml = format!("<domain type='kvm'><name>{workload}</name><devices>{}</devices></domain>", devices.repeat(50));
    let record = |point: u64| format!("<domainsnapshot><name>ms-{point}</name>{xml}</domainsnapshot>");
    let records: String = (newest.saturating_sub(5)..=newest).map(record).collect();
    format!("{{\"xml\":\"{xml}\",\"snapshots\":\"{records}\"}}")
}

/// What the engine and the sensors write of a cluster in which each VM has a recovery point every ten minutes, and keeps six.
/// `script/bench --store` runs it at full scale (10,000 VMs), and only as long as it takes to see that nothing grows any more.
#[tokio::test]
async fn a_week_takes_no_more_room_than_a_day() {
    let number = |name, usual| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (vms, hours): (u64, u64) = (number("MAINSTAY_WEEK_VMS", 8), number("MAINSTAY_WEEK_HOURS", 168));
    let every = number("MAINSTAY_WEEK_MINUTES", 10) * MINUTE_MS;
    // Statistics are kept longest by time, for a day. At full scale the day before is there at the beginning, and the events that
    // are kept come in two hours.
    let begin = if vms > 1_000 { DAY_MS } else { 0 };
    let settled_after = begin
        + if hours > 48 {
            2 * DAY_MS
        } else if begin > 0 {
            hours * HOUR_MS / 2
        } else {
            26 * HOUR_MS
        };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mainstay.db");
    let store = Store::open(&path).await.unwrap();
    // The shares of 10,000 VMs in what is kept by default.
    let kept = 500_000 * vms / 10_000;
    let (mut settled, mut longest_log, mut order) = (0, 0, 0);
    let sample =
        |at_ms| move |vm| Sample { workload: format!("vm-{vm:05}"), at_ms, cpu_percent: 12.5, ..Sample::default() };
    for at in (0..begin).step_by(usize::try_from(5 * MINUTE_MS).unwrap()) {
        store.append_samples(&(0..vms).map(sample(at)).collect::<Vec<_>>()).await.unwrap();
    }
    for now in (begin..begin + hours * HOUR_MS).step_by(usize::try_from(every).unwrap()) {
        let number = now / every;
        let at_once = if vms > 1_000 { 500_u64 } else { 50 };
        for begin in (0..vms).step_by(usize::try_from(at_once).unwrap()) {
            let (mut changes, mut events) = (Vec::new(), Vec::new());
            for vm in begin..vms.min(begin + at_once) {
                let name = format!("vm-{vm:05}");
                for (text, point) in [("take", number), ("delete", number.saturating_sub(6))] {
                    order += 1;
                    let body = format!("{{\"order\":{order},\"action\":\"{text}\",\"text\":\"{}\"}}", "x".repeat(400));
                    changes.push(change(Kind::Order, order.to_string(), Some(body)));
                    changes.push(change(Kind::Order, order.to_string(), None));
                    let taken =
                        (text == "take").then(|| format!("{{\"id\":\"ms-{point}\",\"text\":\"{}\"}}", "x".repeat(200)));
                    changes.push(change(Kind::Point, format!("{name}/ms-{point}"), taken));
                    events.push(event(now, &name, format!("{text} recovery point ms-{point} of {name} on h1"), None));
                    events.push(event(
                        now,
                        &name,
                        format!("{text} recovery point ms-{point} of {name} on h1: done"),
                        None,
                    ));
                }
                changes.push(change(Kind::Definition, name.clone(), Some(definition(&name, number))));
            }
            store.commit(&Batch { at_ms: now, changes, events }).await.unwrap();
        }
        for at in (now.next_multiple_of(5 * MINUTE_MS)..now + every).step_by(usize::try_from(5 * MINUTE_MS).unwrap()) {
            store.append_samples(&(0..vms).map(sample(at)).collect::<Vec<_>>()).await.unwrap();
        }
        let keep = Keep {
            events_since_ms: 0,
            notable_events: kept,
            routine_events: kept,
            samples_since_ms: now.saturating_sub(DAY_MS),
        };
        while store.prune(&keep).await.unwrap().more {}
        longest_log = longest_log.max(log(&path));
        if now <= settled_after && now + every > settled_after {
            settled = size(&path);
        }
        if vms > 1_000 && now % HOUR_MS == 0 {
            println!(
                "{vms} VMs, hour {}: {} MB, the log {} MB",
                (now - begin) / HOUR_MS,
                size(&path) / 1_000_000,
                log(&path) / 1_000_000
            );
        }
    }
    let events = store.events(&EventQuery { limit: 10_000, ..EventQuery::default() }).await.unwrap().len() as u64;
    let rows = store.load(&[Kind::Order, Kind::Point]).await.unwrap().len() as u64;
    assert!(events <= kept.max(1) + 1 && rows <= 7 * vms, "{events} events, {rows} rows");
    store.close().await;
    let at_the_end = size(&path);
    println!(
        "{vms} VMs: {settled} bytes after {} hours, {at_the_end} after {hours}, the log at most {longest_log}",
        (settled_after - begin) / HOUR_MS
    );
    // The log is written back at the end.
    assert!(at_the_end < settled * 5 / 4 + 256 * 1024, "{settled} bytes, then {at_the_end}");
    // At full scale a whole day's statistics are forgotten while a reader may look.
    assert!(longest_log < 256 * 1024 * 1024, "the log grew to {longest_log} bytes");
    let nothing = Keep { events_since_ms: u64::MAX, notable_events: 0, routine_events: 0, samples_since_ms: u64::MAX };
    let store = Store::open(&path).await.unwrap();
    while store.prune(&nothing).await.unwrap().more {}
    store.close().await;
    println!("{vms} VMs: {} bytes when all history is forgotten", size(&path));
}

#[tokio::test]
async fn what_is_deleted_gives_its_space_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mainstay.db");
    let store = Store::open(&path).await.unwrap();
    for at in 0..40 {
        let events = (0..400).map(|_| event(at, "web-1", "x".repeat(4_000), None)).collect();
        store.commit(&Batch { at_ms: at, changes: vec![], events }).await.unwrap();
    }
    let keep = Keep { events_since_ms: 40, notable_events: 10, routine_events: 10, samples_since_ms: 0 };
    let mut pages = 0;
    loop {
        let pruned = store.prune(&keep).await.unwrap();
        pages += pruned.pages;
        if !pruned.more {
            break;
        }
    }
    assert!(pages > 8_000, "only {pages} pages");
    store.close().await;
    assert!(size(&path) < 24 * 1024 * 1024, "{} bytes of 64 million are left", size(&path));
}

/// The scenario: a backup takes long, or somebody reads history; the log must keep what they see, but not for ever.
#[tokio::test]
async fn the_log_shrinks_when_a_long_reader_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mainstay.db");
    let store = Store::open(&path).await.unwrap();
    let mut reader = SqliteConnection::connect(&format!("sqlite:{}?mode=ro", path.display())).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT count(*) FROM events").execute(&mut reader).await.unwrap();
    let body = || Some(format!("\"{}\"", "x".repeat(1_000_000)));
    for number in 0..30 {
        let changes = vec![change(Kind::Host, format!("h{number}"), body())];
        store.commit(&Batch { at_ms: 1, changes, events: vec![] }).await.unwrap();
    }
    assert!(log(&path) > 20_000_000, "the reader holds it");
    reader.close().await.unwrap();
    for _ in 0..3 {
        store
            .commit(&Batch { at_ms: 1, changes: vec![change(Kind::Host, "h0".to_owned(), body())], events: vec![] })
            .await
            .unwrap();
    }
    assert!(log(&path) <= 17_000_000, "{} bytes", log(&path));
}

/// The scenario: the incident of last week, after a busy week.
#[tokio::test]
async fn the_events_of_an_old_incident_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("mainstay.db")).await.unwrap();
    let old = vec![event(1, "web-1", "down".to_owned(), Some(7)), event(2, "web-1", "up".to_owned(), Some(7))];
    store.commit(&Batch { at_ms: 2, changes: vec![], events: old }).await.unwrap();
    let routine = (0..12_000).map(|at| event(at, "web-1", "a recovery point".to_owned(), None)).collect();
    store.commit(&Batch { at_ms: 3, changes: vec![], events: routine }).await.unwrap();
    let keep = Keep { events_since_ms: 0, notable_events: 2, routine_events: 100, samples_since_ms: 0 };
    while store.prune(&keep).await.unwrap().more {}
    let texts = async |query: EventQuery| -> Vec<String> {
        store.events(&query).await.unwrap().into_iter().map(|stored| stored.event.text).collect()
    };
    let of_it = EventQuery { incident: Some(7), ..EventQuery::default() };
    assert_eq!(texts(of_it.clone()).await, ["up", "down"]);
    let subject = Some(Subject { kind: "workload".to_owned(), id: "web-1".to_owned() });
    assert_eq!(texts(EventQuery { subject, limit: 1, ..of_it }).await, ["up"]);
    assert_eq!(
        texts(EventQuery { limit: 1_000, ..EventQuery::default() }).await.len(),
        102,
        "routine is bounded apart"
    );
}
